import { existsSync, mkdirSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { Engine } from '../server/src/engine';
import { writeDictionary, writeModel } from './synthetic/files';

/** GPT-2 small's shape. */
const SHAPE = { n_layer: 12, n_head: 12, n_embd: 768, n_positions: 1024, vocab_size: 50257 };
export const WIDTH = 24576;
const NEEDED = 9e9;
const SEED = 20261122;

export interface BenchFiles {
  dir: string;
  model: string;
  attention: string[];
  residual: string[];
}

/** Token ids of a prompt. */
export const benchPrompt = (length: number, seed = 1): number[] =>
  Array.from({ length }, (_, i) => (i === 0 ? 50256 : (Math.imul(i * 31 + seed, 2654435761) >>> 0) % 50257));

/** Root mean square of each hook's activations on a prompt: what the encoder bias is set by. */
async function rmsByHook(model: string): Promise<Map<string, number>> {
  const engine = await Engine.open({ model, dictionaries: [], contract: 'default', provider: 'cpu' });
  const { trace } = await engine.run(benchPrompt(64));
  const rms = (x: Float32Array): number => Math.sqrt(x.reduce((s, v) => s + v * v, 0) / x.length);
  const out = new Map<string, number>();
  trace.layers.forEach((l, i) => {
    out.set(`blocks.${i}.attn.hook_z`, rms(l.z));
    out.set(`blocks.${i}.hook_resid_pre`, rms(l.resid_pre));
  });
  await engine.close();
  return out;
}

/**
 * Makes, once, a random GPT-2-small checkpoint and twelve attention and twelve residual SAEs of width 24,576 with about 33 active
 * features a token (formula and rule: conformance README). Throws when the disk has too little room.
 */
export async function makeFiles(log: (line: string) => void): Promise<BenchFiles> {
  const dir =
    process.env.ATTENTION_CIRCUITS_BENCH ??
    join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'attention-circuits-bench');
  process.env.ATTENTION_CIRCUITS_CACHE = join(dir, 'cache');
  const model = join(dir, 'model');
  const folder = (hook: string): string => join(dir, 'saes', hook);
  const layers = Array.from({ length: SHAPE.n_layer }, (_, l) => l);
  const files = {
    dir,
    model,
    attention: layers.map((l) => folder(`blocks.${l}.attn.hook_z`)),
    residual: layers.map((l) => folder(`blocks.${l}.hook_resid_pre`)),
  };
  if (existsSync(join(dir, 'complete'))) return files;
  mkdirSync(dir, { recursive: true });
  const fs = statfsSync(dir);
  const free = fs.bavail * fs.bsize;
  if (free < NEEDED) {
    throw new Error(
      `the benchmark needs ${NEEDED / 1e9} GB in ${dir}, ${(free / 1e9).toFixed(1)} GB are free; set ATTENTION_CIRCUITS_BENCH`,
    );
  }
  for (const part of ['model', 'saes', 'cache']) rmSync(join(dir, part), { recursive: true, force: true });
  log(`making the random checkpoint in ${dir} (once)`);
  writeModel(model, SHAPE, SEED);
  const rms = await rmsByHook(model);
  for (const [hook, r] of rms) {
    log(`making ${hook}`);
    writeDictionary(
      folder(hook),
      { hook_name: hook, architecture: 'standard', d_in: 768, d_sae: WIDTH, bias: -3 * r },
      SEED,
    );
  }
  log('importing');
  const engine = await Engine.open({
    model,
    dictionaries: [...files.attention, ...files.residual],
    contract: 'default',
    provider: 'cpu',
  });
  await engine.close();
  writeFileSync(join(dir, 'complete'), '');
  return files;
}
