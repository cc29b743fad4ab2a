import { type RowNorm } from './normalisation';

/**
 * Active features of S rows, sparse. Row s owns entries offsets[s] … offsets[s+1]−1, features ascending.
 * `activations` are the magnitudes, equal to the pre-activations for every architecture read here.
 */
export interface FeatureActs {
  offsets: Int32Array;
  features: Int32Array;
  activations: Float32Array;
  /** The frozen normalisation of each row. */
  norms: RowNorm[];
}

/** Number of rows. */
export function rowCount(a: FeatureActs): number {
  return a.offsets.length - 1;
}

/** Index into `features` of a feature at a row, or −1 when it is inactive there. */
export function findActive(a: FeatureActs, position: number, feature: number): number {
  let lo = a.offsets[position];
  let hi = a.offsets[position + 1] - 1;
  while (lo <= hi) {
    const mid = (lo + hi) >> 1;
    if (a.features[mid] === feature) return mid;
    if (a.features[mid] < feature) lo = mid + 1;
    else hi = mid - 1;
  }
  return -1;
}

/** Activation of a feature at a row, 0 when inactive. */
export function activationAt(a: FeatureActs, position: number, feature: number): number {
  const i = findActive(a, position, feature);
  return i < 0 ? 0 : a.activations[i];
}

/** Builds the sparse form from rows given in order, each a list of (feature, activation) in any order. */
export function fromRows(rows: [number, number][][], norms: RowNorm[]): FeatureActs {
  const total = rows.reduce((n, r) => n + r.length, 0);
  const acts: FeatureActs = {
    offsets: new Int32Array(rows.length + 1),
    features: new Int32Array(total),
    activations: new Float32Array(total),
    norms,
  };
  let at = 0;
  rows.forEach((r, s) => {
    for (const [f, a] of [...r].sort((p, q) => p[0] - q[0])) {
      acts.features[at] = f;
      acts.activations[at++] = a;
    }
    acts.offsets[s + 1] = at;
  });
  return acts;
}

/** First `rows` rows of an older set followed by a new one: what causality leaves unchanged, and the rest. */
export function joinActs(old: FeatureActs, rows: number, suffix: FeatureActs): FeatureActs {
  const keep = old.offsets[rows];
  const offsets = new Int32Array(rows + suffix.offsets.length);
  offsets.set(old.offsets.subarray(0, rows + 1));
  for (let i = 1; i < suffix.offsets.length; i++) offsets[rows + i] = keep + suffix.offsets[i];
  const features = new Int32Array(keep + suffix.features.length);
  features.set(old.features.subarray(0, keep));
  features.set(suffix.features, keep);
  const activations = new Float32Array(features.length);
  activations.set(old.activations.subarray(0, keep));
  activations.set(suffix.activations, keep);
  return { offsets, features, activations, norms: [...old.norms.slice(0, rows), ...suffix.norms] };
}
