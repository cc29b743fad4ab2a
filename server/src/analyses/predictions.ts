import { type Engine } from '../engine';
import { throwIfCancelled } from '../errors';
import { type Trace } from '../model';

export interface Prediction {
  position: number;
  top: { id: number; text: string | null; logit: number; probability: number }[];
}

const ROWS = 16;

/** The k likeliest of one row of logits [d_vocab], with probabilities. */
export function topPredictions(logits: Float32Array, k: number, engine: Engine): Prediction['top'] {
  let max = -Infinity;
  for (const l of logits) if (l > max) max = l;
  let total = 0;
  for (const l of logits) total += Math.exp(l - max);
  const best: number[] = [];
  for (let i = 0; i < logits.length; i++) {
    if (best.length === k && logits[i] <= logits[best[k - 1]]) continue;
    let at = best.length;
    while (at > 0 && logits[i] > logits[best[at - 1]]) at--;
    best.splice(at, 0, i);
    if (best.length > k) best.pop();
  }
  return best.map((id) => ({
    id,
    text: engine.tokenizer?.text(id) ?? null,
    logit: logits[id],
    probability: Math.exp(logits[id] - max) / total,
  }));
}

/** Next-token predictions at every position, and all logits if they are to be kept. */
export async function predict(
  engine: Engine,
  trace: Trace,
  top: number,
  keepLogits: boolean,
  signal?: AbortSignal,
): Promise<{ predictions: Prediction[]; logits: Float32Array[] }> {
  const { d_model: d, d_vocab } = engine.model.config;
  const S = trace.tokens.length;
  const predictions: Prediction[] = [];
  const kept: Float32Array[] = [];
  for (let start = 0; start < S; start += ROWS) {
    throwIfCancelled(signal);
    const { logits } = await engine.model.unembed(trace.resid_post.slice(start * d, Math.min(S, start + ROWS) * d));
    for (let r = 0; r * d_vocab < logits.length; r++) {
      const row = logits.subarray(r * d_vocab, (r + 1) * d_vocab);
      predictions.push({ position: start + r, top: topPredictions(row, Math.min(top, d_vocab), engine) });
      if (keepLogits) kept.push(row);
    }
  }
  return { predictions, logits: kept };
}
