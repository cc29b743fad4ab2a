import { closeSync, mkdirSync, openSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { formulaTensor } from './random';

/** A tensor to be written: its shape and a way to make any run of its elements. */
export interface TensorSource {
  shape: number[];
  make: (start: number, count: number) => Float32Array;
}

const CHUNK = 1 << 22;

/** Writes a float32 safetensors file piece by piece. */
export function writeSafetensors(path: string, tensors: Record<string, TensorSource>): void {
  const header: Record<string, unknown> = {};
  let at = 0;
  for (const [name, { shape }] of Object.entries(tensors)) {
    const bytes = 4 * shape.reduce((a, b) => a * b, 1);
    header[name] = { dtype: 'F32', shape, data_offsets: [at, at + bytes] };
    at += bytes;
  }
  const text = Buffer.from(JSON.stringify(header));
  const size = Buffer.alloc(8);
  size.writeBigUInt64LE(BigInt(text.length));
  const fd = openSync(path, 'w');
  writeSync(fd, size);
  writeSync(fd, text);
  for (const { shape, make } of Object.values(tensors)) {
    const n = shape.reduce((a, b) => a * b, 1);
    for (let start = 0; start < n; start += CHUNK) {
      const piece = make(start, Math.min(CHUNK, n - start));
      writeSync(fd, new Uint8Array(piece.buffer, piece.byteOffset, piece.byteLength));
    }
  }
  closeSync(fd);
}

/** A tensor given as numbers. */
export const given = (shape: number[], values: Float32Array): TensorSource => ({
  shape,
  make: (start, count) => values.subarray(start, start + count),
});

/** A tensor by formula. */
export const normal = (name: string, seed: number, shape: number[], s: number, m = 0): TensorSource => ({
  shape,
  make: (start, count) => formulaTensor(name, seed, m, s, count, start),
});

export interface ModelShape {
  n_layer: number;
  n_head: number;
  n_embd: number;
  n_positions: number;
  vocab_size: number;
}

/** Writes a random GPT-2 folder whose attention is peaked and whose logits are spread, as in a trained model. */
export function writeModel(dir: string, c: ModelShape, seed: number): void {
  mkdirSync(dir, { recursive: true });
  writeFileSync(
    join(dir, 'config.json'),
    JSON.stringify({
      model_type: 'gpt2',
      activation_function: 'gelu_new',
      layer_norm_epsilon: 1e-5,
      bos_token_id: 0,
      ...c,
    }),
  );
  const d = c.n_embd;
  const f = 4 * d;
  const t: Record<string, TensorSource> = {};
  const add = (name: string, shape: number[], s: number, m = 0): void => {
    t[name] = normal(name, seed, shape, s, m);
  };
  add('wte.weight', [c.vocab_size, d], 0.14);
  add('wpe.weight', [c.n_positions, d], 0.05);
  for (let l = 0; l < c.n_layer; l++) {
    const p = `h.${l}.`;
    add(`${p}ln_1.weight`, [d], 0.1, 1);
    add(`${p}ln_1.bias`, [d], 0.1);
    add(`${p}attn.c_attn.weight`, [d, 3 * d], 1.8 / Math.sqrt(d));
    add(`${p}attn.c_attn.bias`, [3 * d], 0.1);
    add(`${p}attn.c_proj.weight`, [d, d], 0.4 / Math.sqrt(d));
    add(`${p}attn.c_proj.bias`, [d], 0.05);
    add(`${p}ln_2.weight`, [d], 0.1, 1);
    add(`${p}ln_2.bias`, [d], 0.1);
    add(`${p}mlp.c_fc.weight`, [d, f], 1 / Math.sqrt(d));
    add(`${p}mlp.c_fc.bias`, [f], 0.1);
    add(`${p}mlp.c_proj.weight`, [f, d], 0.3 / Math.sqrt(d));
    add(`${p}mlp.c_proj.bias`, [d], 0.05);
  }
  add('ln_f.weight', [d], 0.1, 1.5);
  add('ln_f.bias', [d], 0.1);
  writeSafetensors(join(dir, 'model.safetensors'), t);
}

export interface DictionaryShape {
  hook_name: string;
  architecture: string;
  d_in: number;
  d_sae: number;
  d_out?: number;
  normalize_activations?: string;
  rescale_acts_by_decoder_norm?: boolean;
  k?: number;
  apply_b_dec_to_input?: boolean;
  /** Mean of b_enc, in units of the pre-activation: how sparse the features are. */
  bias: number;
}

/**
 * Writes a random SAELens folder: W_dec rows of norm about 1, W_enc = 0.8 W_decᵀ + 0.6 of an independent draw, so that mixing the two
 * shows.
 */
export function writeDictionary(dir: string, c: DictionaryShape, seed: number): void {
  mkdirSync(dir, { recursive: true });
  const { hook_name, bias, ...config } = c;
  const transcoder = c.architecture.includes('transcoder');
  const layer = /\d+/.exec(hook_name)?.[0];
  const out = transcoder ? { hook_name_out: `blocks.${layer}.hook_mlp_out` } : {};
  writeFileSync(
    join(dir, 'cfg.json'),
    JSON.stringify({
      normalize_activations: 'none',
      apply_b_dec_to_input: !transcoder,
      ...config,
      ...(transcoder ? { d_out: c.d_out ?? c.d_in } : {}),
      metadata: { sae_lens_version: '6.18.0', model_name: 'gpt2', hook_name, ...out },
    }),
  );
  const { d_in, d_sae } = c;
  const d_out = transcoder ? (c.d_out ?? d_in) : d_in;
  const own = (name: string): string => `${hook_name}.${name}`;
  const W_dec = normal(own('W_dec'), seed, [d_sae, d_out], 1 / Math.sqrt(d_out));
  let decoder: Float32Array | undefined;
  const mixed: TensorSource = {
    shape: [d_in, d_sae],
    make: (start, count) => {
      decoder ??= W_dec.make(0, d_sae * d_out);
      const out = formulaTensor(own('W_enc'), seed, 0, 0.6 / Math.sqrt(d_in), count, start);
      for (let k = 0; k < count; k++) {
        const i = Math.floor((start + k) / d_sae);
        const f = (start + k) % d_sae;
        if (i < d_out) out[k] += 0.8 * decoder[f * d_out + i];
      }
      return out;
    },
  };
  const t: Record<string, TensorSource> = { W_enc: mixed, W_dec, b_dec: normal(own('b_dec'), seed, [d_out], 0.05) };
  const vector = (name: string, s: number, m = 0): void => {
    t[name] = normal(own(name), seed, [d_sae], s, m);
  };
  if (c.architecture === 'gated') {
    vector('b_gate', 0.1, bias);
    vector('b_mag', 0.1);
    vector('r_mag', 0.2);
  } else vector('b_enc', 0.1, bias);
  if (c.architecture.startsWith('jumprelu')) vector('threshold', 0.05, 0.15);
  if (c.architecture === 'skip_transcoder')
    t.W_skip = normal(own('W_skip'), seed, [d_out, d_in], 0.2 / Math.sqrt(d_in));
  writeSafetensors(join(dir, 'sae_weights.safetensors'), t);
}
