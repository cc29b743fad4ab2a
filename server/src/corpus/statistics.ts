import { activationAt, type FeatureActs } from '../dictionaries';

/** Strongest examples that are kept, at most one a context. */
export const TOP = 16;
/** Half octaves of activation, from 2^−6 to 2^6; what is smaller or larger counts in the first or last. */
export const BINS = 24;
const LOWEST = -6;
/** Tokens of an example before and after its own. */
export const BEFORE = 13;
export const AFTER = 8;
const WINDOW = BEFORE + 1 + AFTER;

/*
 * One feature's numbers, little-endian in one buffer, which is also its row in the index:
 * active u32, pad u32, sum f64, bins u32 × BINS, then slots: TOP strongest, then one for each bin.
 * A slot: context u32 (plus 1; 0 is an empty slot), activation f32, position u16, window u8 × WINDOW (activation over the slot's own, in 64ths,
 * up to four times it).
 */
const HEAD = 16;
const SLOTS = HEAD + 4 * BINS;
const SLOT = 10 + WINDOW;
export const BYTES = SLOTS + SLOT * (TOP + BINS);

/** An activation of a feature in a context. */
export interface Occurrence {
  context: number;
  position: number;
  activation: number;
  /** Activations from `position − BEFORE` to `position + AFTER`, to 1/64 of the own and at most four times it. */
  window: number[];
}

export interface Bin {
  from: number;
  to: number;
  count: number;
  /** One occurrence, drawn evenly from all of the bin. */
  example: Occurrence | null;
}

/** The half octave of an activation. */
export const binOf = (activation: number): number =>
  Math.max(0, Math.min(BINS - 1, Math.floor(2 * (Math.log2(activation) - LOWEST))));

/** A mixing of three numbers to one: the draw of a bin's example, the same however the corpus was gone through. */
function draw(context: number, position: number, feature: number): number {
  let h = Math.imul(context ^ 0x9e3779b9, 0x85ebca6b) ^ Math.imul(position + 0x7f4a7c15, 0xc2b2ae35) ^ feature;
  h = Math.imul(h ^ (h >>> 16), 0x7feb352d);
  h = Math.imul(h ^ (h >>> 15), 0x846ca68b);
  return (h ^ (h >>> 16)) >>> 0;
}

/** What a corpus shows of one feature: how often, how strongly, and where. */
export class FeatureStatistics {
  private readonly view: DataView;
  /** Smallest activation among the top slots when all are taken. */
  private weakest: number;

  constructor(readonly bytes: Uint8Array = new Uint8Array(BYTES)) {
    if (bytes.byteLength !== BYTES) throw new RangeError(`a feature's row has ${bytes.byteLength} bytes, not ${BYTES}`);
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.weakest = this.weakestTop().activation;
  }

  /** Tokens at which it is active. */
  get active(): number {
    return this.view.getUint32(0, true);
  }

  /** Σ activation. */
  get sum(): number {
    return this.view.getFloat64(8, true);
  }

  get max(): number {
    let max = 0;
    for (let i = 0; i < TOP; i++) max = Math.max(max, this.activation(SLOTS + i * SLOT));
    return max;
  }

  private activation = (slot: number): number => this.view.getFloat32(slot + 4, true);

  private weakestTop(): { slot: number; activation: number } {
    let slot = SLOTS;
    for (let i = 1; i < TOP; i++) {
      const s = SLOTS + i * SLOT;
      if (this.activation(s) < this.activation(slot)) slot = s;
    }
    return { slot, activation: this.activation(slot) };
  }

  private write(slot: number, feature: number, acts: FeatureActs, context: number, position: number, a: number): void {
    this.view.setUint32(slot, context + 1, true);
    this.view.setFloat32(slot + 4, a, true);
    this.view.setUint16(slot + 8, position, true);
    const S = acts.offsets.length - 1;
    for (let i = 0; i < WINDOW; i++) {
      const p = position - BEFORE + i;
      const other = p < 0 || p >= S ? 0 : activationAt(acts, p, feature);
      this.view.setUint8(slot + 10 + i, Math.min(255, Math.round((64 * other) / a)));
    }
  }

  /** Counts an activation. */
  count(feature: number, acts: FeatureActs, context: number, position: number, activation: number): void {
    const { view } = this;
    view.setUint32(0, this.active + 1, true);
    view.setFloat64(8, this.sum + activation, true);
    const bin = binOf(activation);
    view.setUint32(HEAD + 4 * bin, view.getUint32(HEAD + 4 * bin, true) + 1, true);
    const slot = SLOTS + SLOT * (TOP + bin);
    const have = view.getUint32(slot, true);
    if (have === 0 || draw(context, position, feature) < draw(have - 1, view.getUint16(slot + 8, true), feature))
      this.write(slot, feature, acts, context, position, activation);
  }

  /** Takes the strongest activation of a context among the top, if it is strong enough. */
  offer(feature: number, acts: FeatureActs, context: number, position: number, activation: number): void {
    if (activation <= this.weakest) return;
    this.write(this.weakestTop().slot, feature, acts, context, position, activation);
    this.weakest = this.weakestTop().activation;
  }

  private occurrence(slot: number): Occurrence | null {
    const context = this.view.getUint32(slot, true);
    if (context === 0) return null;
    const activation = this.activation(slot);
    return {
      context: context - 1,
      activation,
      position: this.view.getUint16(slot + 8, true),
      window: Array.from({ length: WINDOW }, (_, i) => (this.view.getUint8(slot + 10 + i) / 64) * activation),
    };
  }

  /** The strongest occurrences, strongest first, one a context. */
  top(): Occurrence[] {
    return Array.from({ length: TOP }, (_, i) => this.occurrence(SLOTS + i * SLOT))
      .filter((o) => o !== null)
      .sort((a, b) => b.activation - a.activation || a.context - b.context);
  }

  /** The bins that are not empty. */
  bins(): Bin[] {
    return Array.from({ length: BINS }, (_, i) => ({
      from: i === 0 ? 0 : 2 ** (LOWEST + i / 2),
      to: i === BINS - 1 ? Infinity : 2 ** (LOWEST + (i + 1) / 2),
      count: this.view.getUint32(HEAD + 4 * i, true),
      example: this.occurrence(SLOTS + SLOT * (TOP + i)),
    })).filter((b) => b.count > 0);
  }
}

/** Statistics of all features of a dictionary that have been active; each takes about 1.4 KB. */
export class SiteStatistics {
  constructor(readonly features = new Map<number, FeatureStatistics>()) {}

  /** Features that have changed since the last checkpoint. */
  readonly changed = new Set<number>();

  /** Counts a context's activations from position `from` on. */
  add(acts: FeatureActs, context: number, from: number): void {
    const strongest = new Map<number, { position: number; activation: number }>();
    for (let p = from; p + 1 < acts.offsets.length; p++) {
      for (let i = acts.offsets[p]; i < acts.offsets[p + 1]; i++) {
        const feature = acts.features[i];
        const activation = acts.activations[i];
        let s = this.features.get(feature);
        if (!s) this.features.set(feature, (s = new FeatureStatistics()));
        s.count(feature, acts, context, p, activation);
        const best = strongest.get(feature);
        if (!best || activation > best.activation) strongest.set(feature, { position: p, activation });
      }
    }
    for (const [feature, { position, activation }] of strongest) {
      this.features.get(feature)?.offer(feature, acts, context, position, activation);
      this.changed.add(feature);
    }
  }
}
