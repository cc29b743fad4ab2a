import { type Normalisation } from '../formats';
import { mean, norm } from '../maths';

const LAYER_NORM_EPS = 1e-5;

/**
 * The run-time normalisation of one input row, frozen: the encoder sees `inScale · (x − mu)`, the decoder's output is multiplied by
 * `outScale` and `shift` is added to it. Without normalisation these are 1, 0, 1, 0.
 */
export interface RowNorm {
  inScale: number;
  mu: number;
  outScale: number;
  shift: number;
}

export const IDENTITY_NORM: RowNorm = { inScale: 1, mu: 0, outScale: 1, shift: 0 };

/**
 * Normalisation of x[offset .. offset+n): `constant_norm_rescale` multiplies by √n/‖x‖, `layer_norm` subtracts the mean and divides
 * by the unbiased standard deviation + 1e-5 (reference attention-saes §4).
 */
export function rowNorm(mode: Normalisation, x: Float32Array, n: number, offset: number): RowNorm {
  if (mode === 'none') return IDENTITY_NORM;
  if (mode === 'constant_norm_rescale') {
    const scale = Math.sqrt(n) / norm(x, n, offset);
    return { inScale: scale, mu: 0, outScale: 1 / scale, shift: 0 };
  }
  const mu = mean(x, n, offset);
  let ss = 0;
  for (let i = 0; i < n; i++) ss += (x[offset + i] - mu) ** 2;
  const std = Math.sqrt(ss / (n - 1));
  return { inScale: 1 / (std + LAYER_NORM_EPS), mu, outScale: std, shift: mu };
}

/** Normalised copy of rows [S, n]. */
export function normaliseRows(x: Float32Array, n: number, norms: RowNorm[]): Float32Array {
  const out = new Float32Array(x.length);
  norms.forEach((r, s) => {
    for (let i = s * n; i < (s + 1) * n; i++) out[i] = (x[i] - r.mu) * r.inScale;
  });
  return out;
}
