import { UnsupportedError, UsageError } from '../errors';
import { type DictionaryConfig, openDictionarySource } from '../formats';
import { addScaled, dot, mean } from '../maths';
import { floats, ints, type Results, type Runtime } from '../runtime';
import { type CachedWeights, type ImportOptions } from '../store';
import { ActsBuilder, type FeatureActs } from './activations';
import { encoderGraph, rowsGraph } from './graphs';
import { importDictionary } from './import';
import { normaliseRows, type RowNorm, rowNorm } from './normalisation';

/** What a dictionary decomposes, and so how attribution walks through it. */
export type DictionaryKind = 'attention' | 'residual' | 'transcoder';

const ENCODE_ROWS = 64;
const GATHER_ROWS = 4096;

function siteOf(path: string, c: DictionaryConfig): { kind: DictionaryKind; layer: number } {
  // A file that does not say what it reads can be encoded and decoded; a model refuses it.
  if (c.hook_name === '') return { kind: 'residual', layer: -1 };
  const m = /^blocks\.(\d+)\.(.+)$/.exec(c.hook_name);
  const layer = m ? Number(m[1]) : -1;
  const hook = m?.[2];
  if (c.transcoder) {
    if (hook === 'ln2.hook_normalized') {
      const out = c.hook_name_out ?? `blocks.${layer}.hook_mlp_out`;
      if (out !== `blocks.${layer}.hook_mlp_out`) {
        throw new UnsupportedError(
          `${path}: a transcoder from ${c.hook_name} to ${out} is not supported (to blocks.${layer}.hook_mlp_out is)`,
        );
      }
      return { kind: 'transcoder', layer };
    }
  } else if (hook === 'attn.hook_z') return { kind: 'attention', layer };
  else if (hook === 'hook_resid_pre' || hook === 'hook_resid_post') return { kind: 'residual', layer };
  throw new UnsupportedError(
    `${path}: a ${c.transcoder ? 'transcoder' : 'dictionary'} on ${c.hook_name} is not supported ` +
      '(attn.hook_z, hook_resid_pre, hook_resid_post, and transcoders on ln2.hook_normalized are)',
  );
}

/** Adds n rows of a sparse encoder's output, which is in row-major order. */
function addSparse(built: ActsBuilder, n: number, out: Results): void {
  const value = floats(out, 'value');
  const where = ints(out, 'where');
  for (let r = 0, i = 0; r < n; r++) {
    for (; i < value.length && where[i] === r; i++) built.add(where[value.length + i], value[i]);
    built.endRow();
  }
}

/** Adds n rows of a TopK encoder's output, without the values that are not positive. */
function addTop(built: ActsBuilder, n: number, out: Results): void {
  const value = floats(out, 'topValue');
  const index = ints(out, 'topIndex');
  const k = value.length / n;
  for (let r = 0; r < n; r++) {
    const order = Array.from({ length: k }, (_, i) => r * k + i).filter((i) => value[i] > 0);
    for (const i of order.sort((a, b) => index[a] - index[b])) built.add(index[i], value[i]);
    built.endRow();
  }
}

/**
 * One SAE or transcoder: encodes rows, gives single encoder columns and decoder rows, and says what each feature writes.
 * Knows nothing of the model beyond the name of its hook.
 */
export class Dictionary {
  readonly kind: DictionaryKind;
  readonly layer: number;
  readonly b_dec: Float32Array;
  private readonly c: Float32Array;
  private readonly rowScale: Float32Array | null;
  private readonly decScale: Float32Array | null;
  private readonly skipMatrix: Float32Array | null;
  private readonly columns = new Map<number, Float32Array>();

  constructor(
    readonly path: string,
    readonly config: DictionaryConfig,
    readonly cached: CachedWeights,
    private readonly runtime: Runtime,
  ) {
    const { kind, layer } = siteOf(path, config);
    this.kind = kind;
    this.layer = layer;
    const optional = (n: string): Float32Array | null => (n in cached.tensors ? cached.read(n) : null);
    this.b_dec = cached.read('b_dec');
    this.c = cached.read('c');
    this.rowScale = optional('rowScale');
    this.decScale = optional('decScale');
    this.skipMatrix = optional('W_skip');
  }

  /** The site's name: the hook that the dictionary reads. */
  get site(): string {
    return this.config.hook_name;
  }

  /** Checks a feature index. Throws UsageError. */
  checkFeature(feature: number): void {
    if (!Number.isInteger(feature) || feature < 0 || feature >= this.config.d_sae) {
      throw new UsageError(`${this.site} has no feature ${feature}: its features are 0 to ${this.config.d_sae - 1}`);
    }
  }

  /** Active features of rows x [S, d_in], in the order of the rows. */
  async encode(x: Float32Array): Promise<FeatureActs> {
    const { d_in, normalisation } = this.config;
    const S = x.length / d_in;
    const norms = Array.from({ length: S }, (_, s) => rowNorm(normalisation, x, d_in, s * d_in));
    const input = normalisation === 'none' ? x : normaliseRows(x, d_in, norms);
    const session = await this.runtime.session(this.cached.dir, 'encode', () => encoderGraph(this.config, this.cached));
    const built = new ActsBuilder();
    for (let start = 0; start < S; start += ENCODE_ROWS) {
      const n = Math.min(ENCODE_ROWS, S - start);
      const feeds = { x: { data: input.subarray(start * d_in, (start + n) * d_in), dims: [n, d_in] } };
      if (this.config.architecture === 'topk') addTop(built, n, await session.run(feeds, ['topValue', 'topIndex']));
      else addSparse(built, n, await session.run(feeds, ['value', 'where']));
    }
    return built.build(norms);
  }

  /**
   * What features add to the output, one row each: activation · decoder row, with the row's normalisation. `position[i]` is the row
   * of `norms` that entry i belongs to. Returns [n, d_out].
   */
  async writes(
    features: Int32Array,
    activations: Float32Array,
    positions: Int32Array,
    norms: RowNorm[],
  ): Promise<Float32Array> {
    const { d_out } = this.config;
    const out = new Float32Array(features.length * d_out);
    const session = await this.runtime.cpuSession(this.cached.dir, 'rows', () => rowsGraph(this.cached, 'W_dec'));
    for (let start = 0; start < features.length; start += GATHER_ROWS) {
      const index = features.subarray(start, start + GATHER_ROWS);
      const rows = floats(await session.run({ index: { data: index, dims: [index.length] } }, ['rows']), 'rows');
      for (let i = 0; i < index.length; i++) {
        const e = start + i;
        const s = activations[e] * norms[positions[e]].outScale * (this.decScale ? this.decScale[index[i]] : 1);
        for (let j = 0, o = i * d_out, t = e * d_out; j < d_out; j++) out[t + j] = s * rows[o + j];
      }
    }
    return out;
  }

  /** What the decoder bias adds to a row of the output [d_out]: outScale · b_dec + shift. */
  biasWrite(n: RowNorm): Float64Array {
    return Float64Array.from(this.b_dec, (b) => b * n.outScale + n.shift);
  }

  /** What the linear skip of a skip transcoder adds for an input row, or null. */
  skipWrite(x: Float32Array, offset: number): Float64Array | null {
    const m = this.skipMatrix;
    if (!m) return null;
    const { d_in, d_out } = this.config;
    return Float64Array.from({ length: d_out }, (_, j) => dot(m, x, d_in, j * d_in, offset));
  }

  /**
   * Reconstruction of rows x [S, d_in] from given activations: Σ writes + bias (+ skip), accumulated in double. Returns [S, d_out].
   */
  async decode(acts: FeatureActs, x: Float32Array): Promise<Float32Array> {
    const { d_in, d_out } = this.config;
    const S = acts.offsets.length - 1;
    const positions = new Int32Array(acts.features.length);
    for (let s = 0; s < S; s++) positions.fill(s, acts.offsets[s], acts.offsets[s + 1]);
    const writes = await this.writes(acts.features, acts.activations, positions, acts.norms);
    const out = new Float32Array(S * d_out);
    for (let s = 0; s < S; s++) {
      const sum = this.biasWrite(acts.norms[s]);
      for (let i = acts.offsets[s]; i < acts.offsets[s + 1]; i++) addScaled(sum, 1, writes, i * d_out);
      const skip = this.skipWrite(x, s * d_in);
      if (skip) addScaled(sum, 1, skip);
      out.set(sum, s * d_out);
    }
    return out;
  }

  private column(feature: number): Float32Array {
    let w = this.columns.get(feature);
    if (!w) {
      if (this.columns.size > 4096) this.columns.clear();
      w = this.cached.row('W_encT', feature);
      this.columns.set(feature, w);
    }
    return w;
  }

  /**
   * The direction that a feature reads on its site with the row's normalisation frozen [d_in]: pre-activation = x·direction + constant.
   */
  readDirection(feature: number, n: RowNorm): Float64Array {
    const w = this.column(feature);
    const scale = n.inScale * (this.rowScale ? this.rowScale[feature] : 1);
    const m = this.config.normalisation === 'layer_norm' ? mean(w) : 0;
    return Float64Array.from(w, (v) => (v - m) * scale);
  }

  /** c_f: the constant part of a pre-activation (b_enc − b_dec·w_f, scaled as the architecture does). */
  constant(feature: number): number {
    return this.c[feature];
  }

  /** Pre-activation of any feature on one row of x, active or not, in double. */
  preActivation(feature: number, x: Float32Array, offset: number, n: RowNorm): number {
    return dot(this.readDirection(feature, n), x, this.config.d_in, 0, offset) + this.constant(feature);
  }

  close(): void {
    this.cached.close();
  }
}

/** Opens a SAELens folder or a dictionary file, importing it into the cache on first use. */
export async function openDictionary(
  path: string,
  runtime: Runtime,
  options: ImportOptions & {
    /** Its name on Neuronpedia, for one whose configuration says none. */
    neuronpedia?: string;
  } = {},
): Promise<Dictionary> {
  const folder = await openDictionarySource(path);
  const config = { ...folder.config, neuronpedia_id: folder.config.neuronpedia_id ?? options.neuronpedia ?? null };
  try {
    return new Dictionary(path, config, await importDictionary(folder, options), runtime);
  } finally {
    folder.weights.close();
  }
}
