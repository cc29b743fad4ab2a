import { dot } from '../maths';
import { type PromptState, type StreamPoint } from './types';
import { decomposeStream, residPre } from './streams';

/** One node's part of a query or a key. */
export interface QKTerm {
  key: string;
  kind: string;
  site?: string;
  layer?: number;
  feature?: number;
  /** [d_head] */
  vector: Float64Array;
}

/** A score taken apart into pairs of a query-side and a key-side term. */
export interface QKDecomposition {
  query: QKTerm[];
  key: QKTerm[];
  /** pairs[a][b] = q_a · k_b / √d_head. The last term of either side is the constant: β W + b. */
  pairs: Float64Array[];
  /** Σ pairs. */
  score: number;
}

/** Reads a direction [d_model] of the stream through ln1 and a head's matrix: (centre(u) ⊙ γ/σ) W [d_head]. */
function read(u: ArrayLike<number>, gamma: Float32Array, sigma: number, W: Float32Array, d_head: number): Float64Array {
  let m = 0;
  for (let i = 0; i < u.length; i++) m += u[i] / u.length;
  const out = new Float64Array(d_head);
  for (let i = 0; i < u.length; i++) {
    const x = ((u[i] - m) * gamma[i]) / sigma;
    if (x !== 0) for (let j = 0; j < d_head; j++) out[j] += x * W[i * d_head + j];
  }
  return out;
}

/** Query and key parts of one head, from its weights. */
export class HeadQK {
  private readonly weights: { W_Q: Float32Array; W_K: Float32Array };
  private readonly point: StreamPoint;

  constructor(
    private readonly state: PromptState,
    readonly layer: number,
    readonly head: number,
  ) {
    this.weights = state.weights.headQK(layer, head);
    this.point = residPre(layer, state.weights.config.n_layers);
  }

  private get d_head(): number {
    return this.state.weights.config.d_head;
  }

  /** β₁ W + b of the side. */
  private constant(side: 'query' | 'key'): Float64Array {
    const v = this.state.weights.layer(this.layer);
    const { d_model } = this.state.weights.config;
    const W = side === 'query' ? this.weights.W_Q : this.weights.W_K;
    const from = (side === 'query' ? 0 : d_model) + this.head * this.d_head;
    const out = Float64Array.from({ length: this.d_head }, (_, j) => v.qkvBias[from + j]);
    for (let i = 0; i < d_model; i++)
      for (let j = 0; j < this.d_head; j++) out[j] += v.ln1Bias[i] * W[i * this.d_head + j];
    return out;
  }

  /** The query or key [d_head] of a stream row [d_model] with its LayerNorm scale. */
  whole(side: 'query' | 'key', row: ArrayLike<number>, sigma: number): Float64Array {
    const W = side === 'query' ? this.weights.W_Q : this.weights.W_K;
    const out = read(row, this.state.weights.layer(this.layer).ln1Weight, sigma, W, this.d_head);
    const c = this.constant(side);
    return out.map((x, j) => x + c[j]);
  }

  /**
   * The stream at a position as terms of the query or key: what each upstream component wrote there, read through the frozen LayerNorm and
   * the head's matrix; last the constant.
   */
  async terms(side: 'query' | 'key', position: number): Promise<QKTerm[]> {
    const { state, layer, d_head } = this;
    const d = state.weights.config.d_model;
    const W = side === 'query' ? this.weights.W_Q : this.weights.W_K;
    const gamma = state.weights.layer(layer).ln1Weight;
    const sigma = state.trace.layers[layer].ln1_scale[position];
    const { terms } = await decomposeStream(state, this.point, position, new Float64Array(d), 'component');
    const out: QKTerm[] = [];
    for (const t of terms) {
      const u = await this.vectorOf(t, position);
      const { key, kind, site, layer: at, feature } = t;
      out.push({ key, kind, site, layer: at, feature, vector: read(u, gamma, sigma, W, d_head) });
    }
    return [...out, { key: 'constant', kind: 'bias', vector: this.constant(side) }];
  }

  /** What a term of the component view wrote to the stream [d_model]. */
  private async vectorOf(
    t: { kind: string; name?: string; site?: string; layer?: number; feature?: number },
    position: number,
  ): Promise<ArrayLike<number>> {
    const { state } = this;
    const d = state.weights.config.d_model;
    const at = (x: Float32Array): Float32Array => x.subarray(position * d, (position + 1) * d);
    if (t.kind === 'token-embedding') return state.embedding(position);
    if (t.kind === 'position-embedding') return state.positionEmbedding(position);
    if (t.kind === 'attn') return at(state.trace.layers[t.layer ?? 0].attn_out);
    if (t.kind === 'mlp') return at(state.trace.layers[t.layer ?? 0].mlp_out);
    if (t.name === 'b_O') return state.constants(t.layer ?? 0).b_O;
    const w = await state.writes(t.site ?? '', position);
    if (t.feature !== undefined) {
      const i = w.features.indexOf(t.feature);
      return w.rows.subarray(i * d, (i + 1) * d);
    }
    if (t.kind === 'error') return w.error;
    return t.kind === 'skip' && w.skip ? w.skip : w.bias;
  }

  /** The score from a destination to a source, by pairs of terms (reference attention-saes §8). */
  async score(destination: number, source: number): Promise<QKDecomposition> {
    const query = await this.terms('query', destination);
    const key = await this.terms('key', source);
    const scale = 1 / Math.sqrt(this.d_head);
    const pairs = query.map((q) => Float64Array.from(key, (k) => scale * dot(q.vector, k.vector)));
    return { query, key, pairs, score: pairs.reduce((s, r) => s + r.reduce((a, b) => a + b, 0), 0) };
  }

  /**
   * Difference of the scores to two sources as the forward pass has it: log pattern[D,S] − log pattern[D,S′]. NaN where an entry is too small
   * to be read in float32.
   */
  measuredDifference(destination: number, source: number, other: number): number {
    const S = this.state.trace.tokens.length;
    const row = (this.head * S + destination) * S;
    const { pattern } = this.state.trace.layers[this.layer];
    const [a, b] = [pattern[row + source], pattern[row + other]];
    return a > 1e-12 && b > 1e-12 ? Math.log(a) - Math.log(b) : NaN;
  }
}
