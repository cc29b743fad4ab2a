import { GraphBuilder } from '../server/src/onnx';
import { type Runtime, type Session } from '../server/src/runtime';
import { CachedWeights } from '../server/src/store';
import { type Engine } from '../server/src/engine';

const external = (g: GraphBuilder, w: CachedWeights, name: string): string => {
  const t = w.tensors[name];
  return g.external(t.shape, { file: CachedWeights.FILE, offset: t.offset, length: t.length });
};

/** The matrix products of one layer and nothing else: qkv, scores, mixing, output, MLP in and out. */
function layerProducts(engine: Engine, l: number): Uint8Array {
  const { d_model: d, n_heads: H, d_head: dh, d_mlp } = engine.model.config;
  const w = engine.model.weights.cached;
  const g = new GraphBuilder();
  const x = g.input('x', 'float32', ['T', d]);
  const q = g.input('q', 'float32', [H, 'T', dh]);
  const kt = g.input('kt', 'float32', [H, dh, 'T']);
  g.op('MatMul', [x, external(g, w, `h.${l}.attn.c_attn.weight`)], {}, 'qkv');
  g.op('MatMul', [g.op('MatMul', [q, kt]), q], {}, 'z');
  g.op(
    'MatMul',
    [g.op('MatMul', [x, external(g, w, `h.${l}.attn.c_proj.weight`)]), external(g, w, `h.${l}.mlp.c_fc.weight`)],
    {},
    'h',
  );
  g.op('MatMul', ['h', external(g, w, `h.${l}.mlp.c_proj.weight`)], {}, 'y');
  g.output('qkv', 'float32', ['T', 3 * d]);
  g.output('z', 'float32', [H, 'T', dh]);
  g.output('h', 'float32', ['T', d_mlp]);
  g.output('y', 'float32', ['T', d]);
  return g.build();
}

function encoderProduct(w: CachedWeights): Uint8Array {
  const [n, d] = w.tensors.W_encT.shape;
  const g = new GraphBuilder();
  g.op('Gemm', [g.input('x', 'float32', ['T', d]), external(g, w, 'W_encT')], { transB: 1 }, 'y');
  // The product is reduced, so that copying its result out is not part of the figure.
  g.op('ReduceMax', ['y', g.ints([-1])], { keepdims: 0 }, 'm');
  g.output('m', 'float32', ['T']);
  g.output('y', 'float32', ['T', n]);
  return g.build();
}

/** Runs the same matrix products as a forward pass and the encodes of some sites, bare, on the same runtime and weights. */
export async function bareProducts(
  engine: Engine,
  runtime: Runtime,
  sites: string[],
  S: number,
): Promise<() => Promise<void>> {
  const { d_model: d, n_heads: H, d_head: dh, n_layers } = engine.model.config;
  const x = { data: new Float32Array(S * d).fill(0.1), dims: [S, d] };
  const q = { data: new Float32Array(S * d).fill(0.1), dims: [H, S, dh] };
  const kt = { data: new Float32Array(S * d).fill(0.1), dims: [H, dh, S] };
  const layers: Session[] = [];
  for (let l = 0; l < n_layers; l++) {
    layers.push(await runtime.session(engine.model.weights.cached.dir, `bare.${l}`, () => layerProducts(engine, l)));
  }
  const encoders: Session[] = [];
  for (const site of sites) {
    const { cached } = engine.dictionary(site);
    encoders.push(await runtime.session(cached.dir, 'bare', () => encoderProduct(cached)));
  }
  return async () => {
    for (const s of layers) await s.run({ x, q, kt }, ['z', 'y']);
    for (const s of encoders) await s.run({ x }, ['m']);
  };
}
