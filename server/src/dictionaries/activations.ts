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

/** Collects the sparse form row by row, in order. */
export class ActsBuilder {
  private readonly features: number[] = [];
  private readonly activations: number[] = [];
  private readonly offsets: number[] = [0];

  /** An entry of the current row; features must come in ascending order. */
  add(feature: number, activation: number): void {
    this.features.push(feature);
    this.activations.push(activation);
  }

  endRow(): void {
    this.offsets.push(this.features.length);
  }

  build(norms: RowNorm[]): FeatureActs {
    return {
      offsets: Int32Array.from(this.offsets),
      features: Int32Array.from(this.features),
      activations: Float32Array.from(this.activations),
      norms,
    };
  }
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
