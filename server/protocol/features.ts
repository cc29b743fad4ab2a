/** Features and heads as hovers, panels and decorations show them. Types only. */
import type { PackedFloats, PromptRef, WireToken } from './tree';

/** A feature at a token, as hovers and lists show it. */
export interface WireFeature {
  site: string;
  kind: 'attention' | 'residual' | 'transcoder';
  layer: number;
  feature: number;
  activation: number;
  /** The workspace's label. */
  label?: string;
  /** Attention features: the head that carries most, its share of Σ|head sums|, and its strongest source. */
  head?: { head: number; share: number; source: number; sourceText: string };
}

export interface WireSite {
  site: string;
  kind: 'attention' | 'residual' | 'transcoder';
  layer: number;
  d_sae: number;
}

export interface FeatureResult {
  site: WireSite;
  feature: number;
  label?: string;
  /** ‖W_dec[f]‖ by head over the sum, attention dictionaries only. */
  headShares: number[] | null;
  positive: { id: number; text: string; effect: number }[];
  negative: { id: number; text: string; effect: number }[];
  /** Its dictionary's name on Neuronpedia, such as gpt2-small/5-att-kk, where the dictionary says it. */
  neuronpedia: string | null;
  /** What reads it in the next residual dictionary, weights only; null where none is loaded. */
  lens: { site: string; entries: { site: string; feature: number; weight: number; label?: string }[] } | null;
  /** Strongest activations in the open prompt files. */
  examples: FeatureExample[];
  /** Prompts looked at. */
  searched: number;
}

export interface FeatureExample {
  uri: string;
  prompt: PromptRef;
  tokens: WireToken[];
  activations: number[];
  /** Position of the strongest. */
  position: number;
}

export interface AttentionResult {
  tokens: WireToken[];
  /** All destinations × sources of the head's pattern [S, S]. */
  pattern: PackedFloats;
  /** DFA of the active attention feature with the largest activation at the destination, [n_heads, destination + 1]; null if none. */
  strongest: { feature: number; activation: number; contributions: PackedFloats } | null;
}

/** Activation of one feature over the tokens of a document. Offsets are document offsets in UTF-16. */
export interface HeatResult {
  version: number;
  max: number;
  tokens: { start: number; end: number; activation: number }[];
}

/** A token of a document. */
export interface LocatedToken {
  prompt: PromptRef;
  /** UTF-16 offset of the prompt in the document. */
  offset: number;
  /** Whether its text stands there as it is, without escapes. */
  verbatim: boolean;
  token: WireToken;
  tokens: WireToken[];
}
