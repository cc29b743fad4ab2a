import { GPT2_LAYER_TENSORS, type Gpt2Config, type Gpt2Folder, openGpt2Folder } from '../formats';
import { addScaled, dotWeights, matVec, mean, vecMat } from '../maths';
import { type CachedWeights, type ImportOptions, openCached } from '../store';
import { type Contract } from './contract';

/** Vectors made at import, per layer: β₁ W_V, and what it and b_V write through W_O. */
const FOLDED = { ln: 'folded.ln_v', lnOut: 'folded.ln_v_out', biasOut: 'folded.b_v_out' };

/** Vectors of one layer, small enough to keep in memory. */
export interface LayerVectors {
  ln1Weight: Float32Array;
  ln1Bias: Float32Array;
  ln2Weight: Float32Array;
  ln2Bias: Float32Array;
  /** q | k | v, each head-major. */
  qkvBias: Float32Array;
  outBias: Float32Array;
  fcBias: Float32Array;
  projBias: Float32Array;
}

/**
 * What a contract makes of one layer's constants.
 * - `removed` [d_model]: subtracted from v and z (head-major): b_V, and β₁ W_V where LayerNorm is folded.
 * - `kept` [d_model]: the part of β₁ W_V + b_V that v still carries; all zero under the default contract.
 * - `b_O` [d_model]: the attention bias with the removed value bias folded in, centred where the contract centres.
 * - `b_out` [d_model]: the MLP bias, centred likewise.
 */
export interface LayerConstants {
  removed: Float64Array;
  kept: Float64Array;
  b_O: Float64Array;
  b_out: Float64Array;
}

/** A GPT-2 checkpoint imported into the cache, read by the runtime in place and by attribution in rows. */
export class ModelWeights {
  private readonly matrices = new Map<string, Float32Array>();
  private readonly layers: LayerVectors[] = [];
  readonly lnFWeight: Float32Array;
  readonly lnFBias: Float32Array;

  constructor(
    readonly path: string,
    readonly config: Gpt2Config,
    readonly cached: CachedWeights,
    readonly untied: boolean,
  ) {
    for (let l = 0; l < config.n_layers; l++) {
      const read = (n: string): Float32Array => cached.read(`h.${l}.${n}`);
      this.layers.push({
        ln1Weight: read('ln_1.weight'),
        ln1Bias: read('ln_1.bias'),
        ln2Weight: read('ln_2.weight'),
        ln2Bias: read('ln_2.bias'),
        qkvBias: read('attn.c_attn.bias'),
        outBias: read('attn.c_proj.bias'),
        fcBias: read('mlp.c_fc.bias'),
        projBias: read('mlp.c_proj.bias'),
      });
    }
    this.lnFWeight = cached.read('ln_f.weight');
    this.lnFBias = cached.read('ln_f.bias');
  }

  layer(l: number): LayerVectors {
    return this.layers[l];
  }

  private matrix(key: string, load: () => Float32Array): Float32Array {
    let m = this.matrices.get(key);
    if (!m) {
      m = load();
      this.matrices.set(key, m);
    }
    return m;
  }

  /** W_V of a layer, [d_model, n_heads·d_head] row-major, as in the checkpoint. */
  W_V(l: number): Float32Array {
    return this.matrix(`W_V.${l}`, () =>
      valueColumns(this.cached.read(`h.${l}.attn.c_attn.weight`), this.config.d_model),
    );
  }

  /** W_Q and W_K of one head, each [d_model, d_head] row-major, as in the checkpoint. */
  headQK(l: number, h: number): { W_Q: Float32Array; W_K: Float32Array } {
    const { d_model: d, d_head } = this.config;
    const qkv = this.cached.read(`h.${l}.attn.c_attn.weight`);
    const columns = (from: number): Float32Array => {
      const out = new Float32Array(d * d_head);
      for (let r = 0; r < d; r++) out.set(qkv.subarray(r * 3 * d + from, r * 3 * d + from + d_head), r * d_head);
      return out;
    };
    return { W_Q: columns(h * d_head), W_K: columns(d + h * d_head) };
  }

  /** W_O of a layer, [n_heads·d_head, d_model] row-major, as in the checkpoint. */
  W_O(l: number): Float32Array {
    return this.matrix(`W_O.${l}`, () => this.cached.read(`h.${l}.attn.c_proj.weight`));
  }

  /** Row of W_E. */
  embedding(token: number): Float32Array {
    return this.cached.row('wte.weight', token);
  }

  /** Row of W_pos. */
  positionEmbedding(position: number): Float32Array {
    return this.cached.row('wpe.weight', position);
  }

  /** Column of W_U for a token, before γ_f. */
  unembedding(token: number): Float32Array {
    return this.cached.row(this.unembedName, token);
  }

  get unembedName(): string {
    return this.untied ? 'lm_head.weight' : 'wte.weight';
  }

  /** Mean over the vocabulary of the columns of W_U, before γ_f. */
  meanUnembedding(): Float32Array {
    return this.matrix('meanUnembedding', () => this.cached.read('meanUnembedding'));
  }

  /** The constants of a layer under a contract (reference attention-saes §3.1 steps 2 and 4, in double). */
  constants(l: number, contract: Contract): LayerConstants {
    const d = this.config.d_model;
    const v = this.layers[l];
    const folded = (name: string): Float32Array => this.cached.read(`h.${l}.${name}`);
    const removed = new Float64Array(d);
    const kept = new Float64Array(d);
    const b_O = Float64Array.from(v.outBias);
    const part = (fold: boolean, values: Float32Array, written: string): void => {
      addScaled(fold ? removed : kept, 1, values);
      if (fold) addScaled(b_O, 1, folded(written));
    };
    part(contract.fold_value_biases, v.qkvBias.subarray(2 * d), FOLDED.biasOut);
    part(contract.fold_value_biases && contract.fold_ln, folded(FOLDED.ln), FOLDED.lnOut);
    const b_out = Float64Array.from(v.projBias);
    if (contract.center_writing_weights) {
      for (const b of [b_O, b_out]) addScaled(b, -mean(b), new Float64Array(d).fill(1));
    }
    return { removed, kept, b_O, b_out };
  }

  /** W_V w for a direction w on z (head-major), one vector per head: [n_heads][d_model]. */
  valueDirections(l: number, w: Float64Array): Float64Array[] {
    const { d_model: d, n_heads, d_head } = this.config;
    const m = this.W_V(l);
    return Array.from({ length: n_heads }, (_, h) => {
      const out = new Float64Array(d);
      for (let r = 0; r < d; r++) out[r] = dotWeights(w, m, d_head, h * d_head, r * d + h * d_head);
      return out;
    });
  }

  /** W_O g: the direction on z that a direction g on the stream reads. */
  outputDirection(l: number, g: Float64Array): Float64Array {
    const d = this.config.d_model;
    return matVec(this.W_O(l), g, d, d);
  }

  /** Bytes of all weights. */
  get bytes(): number {
    return Object.values(this.cached.tensors).reduce((n, t) => n + t.length, 0);
  }

  close(): void {
    this.cached.close();
  }
}

/** Columns of c_attn that make v, from a row-major [d, 3d] matrix: W_V [d, d]. */
function valueColumns(qkv: Float32Array, d: number): Float32Array {
  const out = new Float32Array(d * d);
  for (let r = 0; r < d; r++) out.set(qkv.subarray(r * 3 * d + 2 * d, (r + 1) * 3 * d), r * d);
  return out;
}

/** What folding needs of a layer's matrices, in double (reference attention-saes §3.1 steps 1 and 4). */
function foldedVectors(folder: Gpt2Folder, l: number): [string, Float64Array][] {
  const d = folder.config.d_model;
  const read = (name: string): Float32Array => folder.weights.read(folder.nameOf(`h.${l}.${name}`));
  const W_O = read('attn.c_proj.weight');
  const ln = vecMat(read('ln_1.bias'), valueColumns(read('attn.c_attn.weight'), d), d, d);
  const b_V = read('attn.c_attn.bias').subarray(2 * d);
  return [
    [FOLDED.ln, ln],
    [FOLDED.lnOut, vecMat(ln, W_O, d, d)],
    [FOLDED.biasOut, vecMat(b_V, W_O, d, d)],
  ];
}

const CHUNK_ROWS = 4096;

function importModel(folder: Gpt2Folder, options: ImportOptions): Promise<CachedWeights> {
  const { config, weights } = folder;
  return openCached(
    'gpt2',
    folder.files,
    async (w) => {
      const copy = async (plain: string, shape: number[], onRows?: (rows: Float32Array) => void): Promise<void> => {
        const cols = shape.slice(1).reduce((a, b) => a * b, 1);
        w.begin(plain, shape);
        for (let r = 0; r < shape[0]; r += CHUNK_ROWS) {
          const rows = weights.read(folder.nameOf(plain), r * cols, Math.min(CHUNK_ROWS, shape[0] - r) * cols);
          onRows?.(rows);
          await w.append(rows);
        }
        w.end();
      };
      const d = config.d_model;
      const sum = new Float64Array(d);
      const accumulate = (rows: Float32Array): void => {
        for (let o = 0; o < rows.length; o += d) addScaled(sum, 1, rows, o);
      };
      await copy('wte.weight', [config.d_vocab, d], folder.untied ? undefined : accumulate);
      await copy('wpe.weight', [config.n_ctx, d]);
      for (let l = 0; l < config.n_layers; l++) {
        for (const [name, shape] of GPT2_LAYER_TENSORS(config)) await copy(`h.${l}.${name}`, shape);
        for (const [name, vector] of foldedVectors(folder, l))
          await w.put(`h.${l}.${name}`, [d], Float32Array.from(vector));
      }
      await copy('ln_f.weight', [d]);
      await copy('ln_f.bias', [d]);
      if (folder.untied) await copy('lm_head.weight', [config.d_vocab, d], accumulate);
      await w.put(
        'meanUnembedding',
        [d],
        Float32Array.from(sum, (s) => s / config.d_vocab),
      );
    },
    options,
  );
}

/** Opens a Hugging Face GPT-2 folder, importing it into the cache on first use. Throws InputFileError, UnsupportedError. */
export async function openModelWeights(path: string, options: ImportOptions = {}): Promise<ModelWeights> {
  const folder = openGpt2Folder(path);
  try {
    return new ModelWeights(path, folder.config, await importModel(folder, options), folder.untied);
  } finally {
    folder.weights.close();
  }
}
