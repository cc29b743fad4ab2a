import { type Dictionary, IDENTITY_NORM } from '../dictionaries';
import { type Engine } from '../engine';

const BLOCK = 512;

/**
 * Decoder head shares of all features of an attention dictionary, [d_sae][n_heads]: ‖W_dec[f, head]‖ over Σ_heads, zeros for a zero row
 * (reference attention-saes §9). `step` is called between blocks of features.
 */
export async function allHeadShares(
  engine: Engine,
  d: Dictionary,
  step?: (feature: number) => Promise<void>,
): Promise<number[][]> {
  const { n_heads, d_head, d_model } = engine.model.config;
  const out: number[][] = [];
  for (let start = 0; start < d.config.d_sae; start += BLOCK) {
    await step?.(start);
    const n = Math.min(BLOCK, d.config.d_sae - start);
    const features = Int32Array.from({ length: n }, (_, i) => start + i);
    const rows = await d.writes(features, new Float32Array(n).fill(1), new Int32Array(n), [IDENTITY_NORM]);
    for (let i = 0; i < n; i++) out.push(headSharesOf(rows.subarray(i * d_model, (i + 1) * d_model), n_heads, d_head));
  }
  return out;
}

/** How much of a row [n_heads · d_head] lies in each head. */
export function headSharesOf(row: Float32Array, n_heads: number, d_head: number): number[] {
  const norms = Array.from({ length: n_heads }, (_, h) => {
    let sum = 0;
    for (let j = 0; j < d_head; j++) sum += row[h * d_head + j] ** 2;
    return Math.sqrt(sum);
  });
  const total = norms.reduce((a, b) => a + b, 0);
  return norms.map((x) => (total === 0 ? 0 : x / total));
}
