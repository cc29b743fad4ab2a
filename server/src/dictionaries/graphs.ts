import { type DictionaryConfig } from '../formats';
import { GraphBuilder } from '../onnx';
import { CachedWeights } from '../store';

const external = (g: GraphBuilder, w: CachedWeights, name: string): string => {
  const t = w.tensors[name];
  return g.external(t.shape, { file: CachedWeights.FILE, offset: t.offset, length: t.length });
};

/**
 * The encoder: `x` [T, d_in], already normalised, b_dec not subtracted (its effect is in the constants).
 *
 * Sparse architectures give `where` [2, n] int32 (row, feature; row-major order) and `value` [n], the pre-activations of the active
 * features. TopK gives `topIndex` [T, k] int32 and `topValue` [T, k], from which values ≤ 0 are still to be dropped.
 * Rules: reference attention-saes §4.
 */
export function encoderGraph(c: DictionaryConfig, w: CachedWeights): Uint8Array {
  const g = new GraphBuilder();
  const x = g.input('x', 'float32', ['T', c.d_in]);
  const W = external(g, w, 'W_encT');
  const constants = external(g, w, 'c');
  const scaled = 'rowScale' in w.tensors;
  // Where nothing scales the product, the constants are added inside it.
  const product = g.op('Gemm', scaled ? [x, W] : [x, W, constants], { transB: 1 });
  const pre = scaled ? g.op('Add', [g.op('Mul', [product, external(g, w, 'rowScale')]), constants]) : product;
  if (c.architecture === 'topk') {
    const index = 'topIndex64';
    g.op('TopK', [pre, g.ints([Math.min(c.k ?? 1, c.d_sae)])], { axis: -1 }, ['topValue', index]);
    g.op('Cast', [index], { to: 6 }, 'topIndex');
    g.output('topValue', 'float32', ['T', 'K']);
    g.output('topIndex', 'int32', ['T', 'K']);
    return g.build();
  }
  const zero = g.floats([0], []);
  let active = g.op('Greater', [pre, zero]);
  if (c.architecture === 'jumprelu')
    active = g.op('And', [active, g.op('Greater', [pre, external(g, w, 'threshold')])]);
  if (c.architecture === 'gated')
    active = g.op('And', [active, g.op('Greater', [g.op('Add', [product, external(g, w, 'gate')]), zero])]);
  const where = g.op('NonZero', [active]);
  g.op('GatherND', [pre, g.op('Transpose', [where], { perm: [1, 0] })], {}, 'value');
  g.op('Cast', [where], { to: 6 }, 'where');
  g.output('where', 'int32', [2, 'N']);
  g.output('value', 'float32', ['N']);
  return g.build();
}

/** Rows of a matrix of the dictionary: `index` [n] int32 → `rows` [n, columns]. */
export function rowsGraph(w: CachedWeights, name: string): Uint8Array {
  const g = new GraphBuilder();
  g.op('Gather', [external(g, w, name), g.input('index', 'int32', ['N'])], { axis: 0 }, 'rows');
  g.output('rows', 'float32', ['N', w.tensors[name].shape[1]]);
  return g.build();
}
