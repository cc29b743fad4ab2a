import { type Contract } from './contract';

/** Activations of one layer on a prompt of S tokens, in the contract's terms. All row-major. */
export interface LayerTrace {
  /** `hook_resid_pre` [S, d_model] */
  resid_pre: Float32Array;
  /** `ln1.hook_scale` [S] */
  ln1_scale: Float32Array;
  /** `attn.hook_k` [n_heads, S, d_head] */
  k: Float32Array;
  /** `attn.hook_v` [n_heads, S, d_head] */
  v: Float32Array;
  /** `attn.hook_pattern` [n_heads, S (destination), S (source)] */
  pattern: Float32Array;
  /** `attn.hook_z` [S, n_heads·d_head], head-major */
  z: Float32Array;
  /** `hook_attn_out` [S, d_model], with b_O */
  attn_out: Float32Array;
  /** `hook_resid_mid` [S, d_model] */
  resid_mid: Float32Array;
  /** `ln2.hook_scale` [S] */
  ln2_scale: Float32Array;
  /** (resid_mid − mean)/σ [S, d_model], what transcoders on `ln2.hook_normalized` read */
  ln2_normalized: Float32Array;
  /** `hook_mlp_out` [S, d_model] */
  mlp_out: Float32Array;
}

/** One forward pass: what attribution, dictionaries and comparisons read. Never changed after it is made. */
export interface Trace {
  tokens: readonly number[];
  contract: Contract;
  /** Embedding rows plus position rows [S, d_model]: `hook_embed + hook_pos_embed`. */
  embedded: Float32Array;
  layers: LayerTrace[];
  /** `hook_resid_post` of the last layer [S, d_model] */
  resid_post: Float32Array;
}

/** Bytes that a trace keeps, patterns included. */
export function traceBytes(t: Trace): number {
  const own = t.embedded.byteLength + t.resid_post.byteLength;
  return t.layers.reduce((n, l) => n + (Object.values(l) as Float32Array[]).reduce((m, a) => m + a.byteLength, 0), own);
}

/** First rows of a [S, d] array followed by new ones. */
function joinRows(prefix: Float32Array, rows: number, cols: number, suffix: Float32Array): Float32Array {
  const out = new Float32Array(rows * cols + suffix.length);
  out.set(prefix.subarray(0, rows * cols));
  out.set(suffix, rows * cols);
  return out;
}

/** Per head: first `rows` rows of the old block, then the new block. */
function joinHeads(
  prefix: Float32Array,
  suffix: Float32Array,
  heads: number,
  rows: number,
  cols: number,
): Float32Array {
  const oldBlock = prefix.length / heads;
  const newBlock = suffix.length / heads;
  const out = new Float32Array(heads * (rows * cols + newBlock));
  for (let h = 0; h < heads; h++) {
    const at = h * (rows * cols + newBlock);
    out.set(prefix.subarray(h * oldBlock, h * oldBlock + rows * cols), at);
    out.set(suffix.subarray(h * newBlock, (h + 1) * newBlock), at + rows * cols);
  }
  return out;
}

/** Patterns of the first `rows` destinations of an older, possibly longer or shorter prompt, then those of the new ones. */
function joinPatterns(
  prefix: Float32Array,
  suffix: Float32Array,
  heads: number,
  rows: number,
  size: number,
): Float32Array {
  const oldSize = Math.sqrt(prefix.length / heads);
  const out = new Float32Array(heads * size * size);
  for (let h = 0; h < heads; h++) {
    for (let r = 0; r < rows; r++) {
      const from = (h * oldSize + r) * oldSize;
      out.set(prefix.subarray(from, from + r + 1), (h * size + r) * size);
    }
    out.set(suffix.subarray(h * (size - rows) * size, (h + 1) * (size - rows) * size), (h * size + rows) * size);
  }
  return out;
}

/** The layer of a longer prompt whose first P positions equal those of an earlier trace, from the suffix computed alone. */
export function joinLayer(
  old: LayerTrace,
  suffix: LayerTrace,
  P: number,
  S: number,
  heads: number,
  d: number,
): LayerTrace {
  const rows = (name: 'resid_pre' | 'z' | 'attn_out' | 'resid_mid' | 'ln2_normalized' | 'mlp_out'): Float32Array =>
    joinRows(old[name], P, d, suffix[name]);
  return {
    resid_pre: rows('resid_pre'),
    ln1_scale: joinRows(old.ln1_scale, P, 1, suffix.ln1_scale),
    k: joinHeads(old.k, suffix.k, heads, P, d / heads),
    v: joinHeads(old.v, suffix.v, heads, P, d / heads),
    pattern: joinPatterns(old.pattern, suffix.pattern, heads, P, S),
    z: rows('z'),
    attn_out: rows('attn_out'),
    resid_mid: rows('resid_mid'),
    ln2_scale: joinRows(old.ln2_scale, P, 1, suffix.ln2_scale),
    ln2_normalized: rows('ln2_normalized'),
    mlp_out: rows('mlp_out'),
  };
}

/** Rows [from, S) of a [heads, rows, cols] array cut down to its first `rows` rows. */
export function headRows(a: Float32Array, heads: number, rows: number, cols: number): Float32Array {
  const block = a.length / heads;
  if (block === rows * cols) return a;
  const out = new Float32Array(heads * rows * cols);
  for (let h = 0; h < heads; h++) out.set(a.subarray(h * block, h * block + rows * cols), h * rows * cols);
  return out;
}
