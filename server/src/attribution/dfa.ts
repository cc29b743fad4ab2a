import { addScaled, dot, dotWeights, mean } from '../maths';
import { type PromptState } from './types';

/**
 * DFA of a direction on z of a layer at a destination: contributions[h][s] = A^h[D,s] · (v^h[s] · w^h), for s ≤ D.
 * Reference attention-saes §5.
 */
export function headBySource(state: PromptState, layer: number, D: number, direction: Float64Array): Float64Array[] {
  const { n_heads, d_head } = state.weights.config;
  const S = state.trace.tokens.length;
  const { v, pattern } = state.trace.layers[layer];
  return Array.from({ length: n_heads }, (_, h) =>
    Float64Array.from({ length: D + 1 }, (__, s) => {
      const a = pattern[(h * S + D) * S + s];
      return a === 0 ? 0 : a * dotWeights(direction, v, d_head, h * d_head, (h * S + s) * d_head);
    }),
  );
}

/** Sums of a head × source grid. */
export function sumGrid(grid: Float64Array[]): { byHead: number[]; bySource: number[] } {
  const byHead = grid.map((r) => r.reduce((a, b) => a + b, 0));
  const bySource = Array.from(grid[0], (_, s) => grid.reduce((sum, r) => sum + r[s], 0));
  return { byHead, bySource };
}

/**
 * The direction that a direction on z reads from `hook_resid_pre` at a source token, LayerNorm scale and pattern frozen:
 * g = (1/σ_S) centre(γ₁ ⊙ Σ_h A^h[D,S] W_V^h w^h), all heads or one. Holds for raw and processed weights alike
 * (reference attention-saes §6).
 */
export class SourceDirections {
  private readonly perHead: Float64Array[];

  constructor(
    private readonly state: PromptState,
    private readonly layer: number,
    private readonly destination: number,
    private readonly direction: Float64Array,
  ) {
    const gamma = state.weights.layer(layer).ln1Weight;
    this.perHead = state.weights.valueDirections(layer, direction);
    for (const u of this.perHead) {
      for (let i = 0; i < u.length; i++) u[i] *= gamma[i];
      const m = mean(u);
      for (let i = 0; i < u.length; i++) u[i] -= m;
    }
  }

  private weight(h: number, source: number): number {
    const S = this.state.trace.tokens.length;
    return this.state.trace.layers[this.layer].pattern[(h * S + this.destination) * S + source];
  }

  at(source: number, head?: number): Float64Array {
    const g = new Float64Array(this.perHead[0].length);
    const sigma = this.state.trace.layers[this.layer].ln1_scale[source];
    this.perHead.forEach((u, h) => {
      if (head === undefined || head === h) addScaled(g, this.weight(h, source) / sigma, u);
    });
    return g;
  }

  /** What the value bias that the contract leaves in v adds: Σ_h A^h[D,S] (kept^h · w^h). 0 under the default contract. */
  keptBias(source: number, head?: number): number {
    const { d_head } = this.state.weights.config;
    const { kept } = this.state.constants(this.layer);
    return this.perHead.reduce((sum, _, h) => {
      if (head !== undefined && head !== h) return sum;
      return sum + this.weight(h, source) * dot(kept, this.direction, d_head, h * d_head, h * d_head);
    }, 0);
  }
}
