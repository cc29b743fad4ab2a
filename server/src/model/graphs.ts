import { type External, GraphBuilder } from '../onnx';
import { CachedWeights } from '../store';
import { type LayerConstants, type ModelWeights } from './weights';

const external = (w: CachedWeights, name: string): { shape: number[]; at: External } => {
  const t = w.tensors[name];
  return { shape: t.shape, at: { file: CachedWeights.FILE, offset: t.offset, length: t.length } };
};

/** Adds a matrix of the checkpoint, read in place. */
function matrix(g: GraphBuilder, m: ModelWeights, name: string): string {
  const { shape, at } = external(m.cached, name);
  return g.external(shape, at);
}

/** x minus its mean over the last axis. */
function centre(g: GraphBuilder, x: string, out?: string): string {
  return g.op('Sub', [x, g.op('ReduceMean', [x, g.ints([-1])], { keepdims: 1 })], {}, out);
}

interface Normalised {
  /** (x − mean)/σ ⊙ γ + β. */
  y: string;
  /** (x − mean)/σ. */
  xhat: string;
}

/** LayerNorm with its scale σ as an output, or given (`frozenScale`). */
function layerNorm(
  g: GraphBuilder,
  x: string,
  eps: number,
  gamma: Float32Array,
  beta: Float32Array,
  scale: { out: string } | { frozen: string },
): Normalised {
  const xc = centre(g, x);
  let sigma: string;
  if ('frozen' in scale) sigma = scale.frozen;
  else {
    const variance = g.op('ReduceMean', [g.op('Mul', [xc, xc]), g.ints([-1])], { keepdims: 1 });
    sigma = g.op('Sqrt', [g.op('Add', [variance, g.floats([eps], [])])], {}, scale.out);
  }
  const xhat = g.op('Div', [xc, sigma]);
  const y = g.op('Add', [g.op('Mul', [xhat, g.floats(gamma, [gamma.length])]), g.floats(beta, [beta.length])]);
  return { y, xhat };
}

/** How an attention graph gets its pattern. */
export type AttentionMode = 'full' | 'suffix' | 'frozen';

/**
 * The attention of one layer up to `hook_z`.
 *
 * Inputs: `hook_resid_pre` [T, d_model]; full: `mask` [T, T] added to the scores; suffix: `mask` [T, P+T] and `past_k`, `past_v`
 * [n_heads, P, d_head] of the positions before; frozen: `scale` [T, 1] and `pattern` [n_heads, T, T] instead of computed ones.
 * Outputs: `ln1_scale` [T, 1], `hook_k`, `hook_v` [n_heads, T, d_head], `hook_pattern` [n_heads, T, P+T], `hook_z`
 * [T, n_heads·d_head] (frozen: only `hook_v` and `hook_z`). v and z are those of the contract.
 */
export function attentionGraph(m: ModelWeights, l: number, constants: LayerConstants, mode: AttentionMode): Uint8Array {
  const { d_model: d, n_heads: H, d_head: dh, eps } = m.config;
  const v = m.layer(l);
  const g = new GraphBuilder();
  const x = g.input('hook_resid_pre', 'float32', ['T', d]);
  const scale = mode === 'frozen' ? { frozen: g.input('scale', 'float32', ['T', 1]) } : { out: 'ln1_scale' };
  const { y } = layerNorm(g, x, eps, v.ln1Weight, v.ln1Bias, scale);
  const heads = (flat: string, out?: string): string =>
    g.op('Transpose', [g.op('Reshape', [flat, g.ints([-1, H, dh])])], { perm: [1, 0, 2] }, out);
  const qkv = g.op('Add', [
    g.op('MatMul', [y, matrix(g, m, `h.${l}.attn.c_attn.weight`)]),
    g.floats(v.qkvBias, [3 * d]),
  ]);
  const [q, k, value] = ['q', 'k', 'v'];
  g.op('Split', [qkv, g.ints([d, d, d])], { axis: 1 }, [q, k, value]);
  const newV = heads(g.op('Sub', [value, g.floats(constants.removed, [d])]), 'hook_v');
  g.output('hook_v', 'float32', [H, 'T', dh]);
  let allV = newV;
  let pattern: string;
  if (mode === 'frozen') pattern = g.input('pattern', 'float32', [H, 'T', 'C']);
  else {
    let allK = heads(k, 'hook_k');
    const mask = g.input('mask', 'float32', ['T', 'C']);
    if (mode === 'suffix') {
      allK = g.op('Concat', [g.input('past_k', 'float32', [H, 'P', dh]), allK], { axis: 1 });
      allV = g.op('Concat', [g.input('past_v', 'float32', [H, 'P', dh]), newV], { axis: 1 });
    }
    const scaled = g.op('Mul', [heads(q), g.floats([1 / Math.sqrt(dh)], [])]);
    const scores = g.op('MatMul', [scaled, g.op('Transpose', [allK], { perm: [0, 2, 1] })]);
    pattern = g.op('Softmax', [g.op('Add', [scores, mask])], { axis: -1 }, 'hook_pattern');
    g.output('hook_pattern', 'float32', [H, 'T', 'C']);
    g.output('hook_k', 'float32', [H, 'T', dh]);
    g.output('ln1_scale', 'float32', ['T', 1]);
  }
  const z = g.op('Transpose', [g.op('MatMul', [pattern, allV])], { perm: [1, 0, 2] });
  g.op('Reshape', [z, g.ints([-1, d])], {}, 'hook_z');
  g.output('hook_z', 'float32', ['T', d]);
  return g.build();
}

/**
 * The rest of a layer, from `hook_resid_pre` and `hook_z` [T, d_model] (contract's terms) on.
 *
 * Outputs: `hook_attn_out`, `hook_resid_mid`, `ln2_normalized` ((x − mean)/σ), `hook_mlp_out`, `hook_resid_post` [T, d_model] and
 * `ln2_scale` [T, 1]. With `frozen`, `scale` [T, 1] is an input and the LayerNorm uses it.
 */
export function mlpGraph(
  m: ModelWeights,
  l: number,
  constants: LayerConstants,
  centred: boolean,
  frozen: boolean,
): Uint8Array {
  const { d_model: d, d_mlp, eps } = m.config;
  const v = m.layer(l);
  const g = new GraphBuilder();
  const x = g.input('hook_resid_pre', 'float32', ['T', d]);
  const z = g.input('hook_z', 'float32', ['T', d]);
  const scale = frozen ? { frozen: g.input('scale', 'float32', ['T', 1]) } : { out: 'ln2_scale' };
  const write = (y: string, w: string, b: Float64Array, out: string): string => {
    const product = g.op('MatMul', [y, matrix(g, m, w)]);
    return g.op('Add', [centred ? centre(g, product) : product, g.floats(b, [d])], {}, out);
  };
  write(z, `h.${l}.attn.c_proj.weight`, constants.b_O, 'hook_attn_out');
  g.op('Add', [x, 'hook_attn_out'], {}, 'hook_resid_mid');
  const { y, xhat } = layerNorm(g, 'hook_resid_mid', eps, v.ln2Weight, v.ln2Bias, scale);
  g.op('Identity', [xhat], {}, 'ln2_normalized');
  const pre = g.op('Add', [g.op('MatMul', [y, matrix(g, m, `h.${l}.mlp.c_fc.weight`)]), g.floats(v.fcBias, [d_mlp])]);
  write(g.op('Gelu', [pre], { approximate: 'tanh' }), `h.${l}.mlp.c_proj.weight`, constants.b_out, 'hook_mlp_out');
  g.op('Add', ['hook_resid_mid', 'hook_mlp_out'], {}, 'hook_resid_post');
  for (const name of ['hook_attn_out', 'hook_resid_mid', 'ln2_normalized', 'hook_mlp_out', 'hook_resid_post']) {
    g.output(name, 'float32', ['T', d]);
  }
  if (!frozen) g.output('ln2_scale', 'float32', ['T', 1]);
  return g.build();
}

/**
 * The unembedding: `hook_resid_post` [T, d_model] → `ln_final_scale` [T, 1], `logits` [T, d_vocab] (not centred).
 * With `frozen`, `scale` is an input.
 */
export function unembedGraph(m: ModelWeights, frozen: boolean): Uint8Array {
  const { d_model: d, d_vocab, eps } = m.config;
  const g = new GraphBuilder();
  const x = g.input('hook_resid_post', 'float32', ['T', d]);
  const scale = frozen ? { frozen: g.input('scale', 'float32', ['T', 1]) } : { out: 'ln_final_scale' };
  const { y } = layerNorm(g, x, eps, m.lnFWeight, m.lnFBias, scale);
  g.op('Gemm', [y, matrix(g, m, m.unembedName)], { transB: 1 }, 'logits');
  g.output('logits', 'float32', ['T', d_vocab]);
  if (!frozen) g.output('ln_final_scale', 'float32', ['T', 1]);
  return g.build();
}

/** `rows` [n, d_model] in z space → `written` [n, d_model] = rows W_O, centred where the contract centres. */
export function projectGraph(m: ModelWeights, l: number, centred: boolean): Uint8Array {
  const d = m.config.d_model;
  const g = new GraphBuilder();
  const product = g.op('MatMul', [g.input('rows', 'float32', ['N', d]), matrix(g, m, `h.${l}.attn.c_proj.weight`)]);
  if (centred) centre(g, product, 'written');
  else g.op('Identity', [product], {}, 'written');
  g.output('written', 'float32', ['N', d]);
  return g.build();
}
