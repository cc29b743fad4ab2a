/** Saved circuits, as they lie in `*.circuit.json` and cross the wire. */
import type { PromptRef, RootRef, WireExpansion, WireNode, WirePrediction, WireToken } from './tree';

export const CIRCUIT_FORMAT = 'attention-circuit';
export const CIRCUIT_VERSION = 1;

/** What numbers were computed with. Hashes are of the imported weights. */
export interface Identity {
  model: { name: string; sha256: string };
  dictionaries: { site: string; sha256: string }[];
  contract: Record<string, boolean>;
}

/** An opened node, with how it was opened: views of the stream and of attention are different openings. */
export interface StoredExpansion extends WireExpansion {
  view: 'residual' | 'component';
  by: 'source' | 'head';
}

/** A circuit: what was expanded, pinned, grouped and named, on which prompt, with which weights, and every number that was shown. */
export interface CircuitFile {
  format: typeof CIRCUIT_FORMAT;
  version: number;
  generator: string;
  identity: Identity | null;
  prompt: PromptRef;
  root: RootRef;
  tokens: WireToken[];
  predictions: WirePrediction[][];
  tree: { root: WireNode; expansions: StoredExpansion[] };
  /** The reader's marks and choices, as the panel keeps them. */
  view: Record<string, unknown>;
}

/** A circuit file as it was read. */
export interface OpenedCircuit {
  circuit: CircuitFile;
  /** Why it must not be written: it is of a newer version. */
  readOnly: string | null;
}

/** A stored number beside the one computed now. */
export interface Difference {
  node: string;
  what: string;
  stored: number;
  got: number | null;
}

/** What computing a circuit again gave. */
export interface CircuitCheck {
  /** What is not as it was: model, dictionaries, contract. Empty when everything is. */
  identity: string[];
  numbers: number;
  /** Largest |stored − got| / max(1, |stored|). */
  worst: number;
  tolerance: number;
  differences: Difference[];
}
