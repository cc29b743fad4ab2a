import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { Engine } from '../../server/src/engine';

export const FIXTURES = join(__dirname, '..', 'fixtures', 'conformance');
export const TINY = join(FIXTURES, 'gpt2-tiny');

/** The bound of the interface: 2e-4 of max(1, |value|) on the CPU. */
export const BOUND = 2e-4;

export const tokens = JSON.parse(readFileSync(join(TINY, 'tokens.json'), 'utf8')) as number[];

export interface DfaReference {
  layer: number;
  pos: number;
  feature: number;
  act: number;
  pre_act: number;
  bias: number;
  by_source: number[];
  by_head: number[];
  by_head_source: number[][];
  src: number;
  resid_sae: { top: [number, number, number][]; all: number; b_dec: number; error: number };
  components: { embed: number; pos_embed: number; attn_out: number[]; mlp_out: number[] };
  attn_sae: { top: [number, number, number][]; all?: number; b_dec: number; error: number; b_O: number }[];
}

export interface Reference {
  model: {
    logits: number[][];
    resid_pre: number[][][];
    ln1_scale: number[][];
    ln_final_scale: number[];
    pattern: number[][][][];
    z: number[][][];
  };
  sae: Record<string, { acts: number[][]; recon: number[][]; l0: number[]; recon_err: number[] }>;
  dfa: DfaReference[];
  dla: {
    pos: number;
    token: number;
    logit: number;
    b_U: number;
    components: { embed: number; pos_embed: number; attn_out: number[]; mlp_out: number[] };
    heads: number[][];
    b_O: number[];
    attn_features: [number, number, number, number][];
    total: number;
  };
  splice: Record<string, { recon: { logits: number[][] }; with_error: { logits: number[][] } }>;
  ablate: Record<string, { feature: number; last_pos: { logits: number[][] }; all_pos: { logits: number[][] } }>;
}

export const reference = JSON.parse(readFileSync(join(TINY, 'ref-float64.json'), 'utf8')) as Reference;

/** Fails unless every number is within the interface's bound of its reference. */
export function expectClose(got: ArrayLike<number>, want: ArrayLike<number>, what: string, bound = BOUND): void {
  expect(got.length, `${what}: length`).toBe(want.length);
  for (let i = 0; i < want.length; i++) {
    const limit = bound * Math.max(1, Math.abs(want[i]));
    if (!(Math.abs(got[i] - want[i]) <= limit)) expect.fail(`${what}[${i}]: ${got[i]}, expected ${want[i]} ± ${limit}`);
  }
}

export function expectRows(got: Float32Array, want: number[][], what: string): void {
  expectClose(got, want.flat(), what);
}

export const openTiny = (dictionaries = [join(TINY, 'saes')]): Promise<Engine> =>
  Engine.open({ model: join(TINY, 'model'), dictionaries, contract: 'auto', provider: 'cpu' });
