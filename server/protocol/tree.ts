/** Prompts, tokens and nodes of trees as they cross the wire. Types only. */

/** A prompt by content. */
export interface PromptRef {
  text: string;
  /** Whether BOS goes in front. */
  bos: boolean;
}

/** What a tree starts from: a feature's pre-activation; one token's logit; two tokens' logit difference, first minus second. */
export type RootRef =
  | { type: 'feature'; site: string; feature: number; position: number }
  | { type: 'logit'; tokens: number[]; position: number };

/** What a tree of a graph file starts from: a node of the file; an empty id for the file's own root. */
export interface GraphRoot {
  type: 'graph';
  file: string;
  node: string;
  position: number;
}

/** What a panel's tree may start from. */
export type TreeRoot = RootRef | GraphRoot;

export type View = 'residual' | 'component';

export type By = 'source' | 'head';

/** A token of a prompt. `start` and `end` are UTF-16 offsets in the prompt's text; BOS has none. */
export interface WireToken {
  position: number;
  id: number;
  text: string;
  start?: number;
  end?: number;
}

export interface WirePrediction {
  id: number;
  text: string;
  logit: number;
  probability: number;
}

/** A node of a tree, with what is needed to show it. */
export interface WireNode {
  /** Path from the root. */
  id: string;
  kind: string;
  /** Sign of the kind, so that it is told without colour. */
  glyph: string;
  /** Plain text, to be escaped by whoever shows it. */
  label: string;
  /** The same where room is short. */
  short: string;
  /** The workspace's label of the feature. */
  title?: string;
  site?: string;
  layer?: number;
  position?: number;
  head?: number;
  feature?: number;
  token?: string | null;
  tokenId?: number;
  name?: string;
  activation?: number;
  value: number;
  contribution: number;
  /** contribution / Σ|contribution| of the siblings. */
  share: number;
  /** Whether it can be opened. */
  opens: boolean;
  /** What a tree of its own would start from, where that is not told by site, feature and position. */
  root?: TreeRoot;
}

/** A node opened. value = Σ children + cut.sum + remainder. */
export interface WireExpansion {
  id: string;
  value: number;
  view?: View;
  children: WireNode[];
  /** What lies beyond the limit of the request. */
  cut: { count: number; sum: number };
  remainder: number;
  /** Σ|contribution| over all children. */
  scale: number;
  /** Σ|error children| / scale. */
  errorShare: number;
}

/** Float32 numbers as base64 of their little-endian bytes. */
export interface PackedFloats {
  shape: number[];
  base64: string;
}

/** Head × source contributions of an attention node, and the pattern row behind them. */
export interface WireGrid {
  layer: number;
  destination: number;
  /** [n_heads, destination + 1] */
  contributions: PackedFloats;
  /** [n_heads, destination + 1] */
  pattern: PackedFloats;
}

export interface WireChange {
  before: number;
  after: number;
  change: number;
}

export interface WireValidation {
  edge: string;
  parent: string;
  predicted: number;
  direct: WireChange;
  frozen: WireChange;
  free: WireChange;
}

export interface PromptResult {
  tokens: WireToken[];
  /** The five likeliest next tokens at each position. */
  predictions: WirePrediction[][];
}

export interface RootResult extends PromptResult {
  root: WireNode;
  /** Where the numbers come from, when not from the model. */
  note?: string;
  /** Other roots of the same file. */
  alternatives?: { label: string; root: TreeRoot }[];
}

export interface AblateResult {
  position: number;
  before: WirePrediction[];
  after: WirePrediction[];
  /** The root's value in both runs. */
  root: WireChange;
}
