import { type Dictionary, type FeatureActs } from '../dictionaries';
import { type Contract, type LayerConstants, type ModelWeights, type Trace } from '../model';

/** What a dictionary's site adds to the residual stream at one position, each part as its own vector. */
export interface SiteWrites {
  /** Active features at the position, ascending. */
  features: Int32Array;
  activations: Float32Array;
  /** What each active feature writes, [n, d_model]. */
  rows: Float32Array;
  /** What the decoder bias writes [d_model]. */
  bias: Float32Array;
  /** What the reconstruction error x − x̂ writes [d_model]. */
  error: Float32Array;
  /** What a skip transcoder's linear part writes [d_model]. */
  skip: Float32Array | null;
}

/**
 * Everything attribution reads of one prompt. The owner computes parts on demand and keeps them; attribution only adds up.
 */
export interface PromptState {
  readonly trace: Trace;
  readonly contract: Contract;
  readonly weights: ModelWeights;
  constants(layer: number): LayerConstants;
  /** The dictionary on a site, or undefined. */
  dictionary(site: string): Dictionary | undefined;
  /** Embedding row of the token at a position, in the contract's terms [d_model]. */
  embedding(position: number): Float32Array;
  positionEmbedding(position: number): Float32Array;
  /** Active features of a dictionary's site. */
  acts(site: string): Promise<FeatureActs>;
  /** What the dictionary reads: [S, d_in]. */
  siteInput(site: string): Float32Array;
  /** What a dictionary's site writes at a position, in stream terms. */
  writes(site: string, position: number): Promise<SiteWrites>;
  /** Logits [d_vocab] at a position in the contract's terms, and the final LayerNorm scale there, from the forward pass. */
  logitsAt(position: number): Promise<{ logits: Float32Array; scale: number }>;
  /** Text of the token at a position, or null without a tokenizer. */
  tokenText(position: number): string | null;
  /** Text of a token id, or null without a tokenizer. */
  vocabularyText(id: number): string | null;
}

/** How the residual stream is taken apart: into the residual dictionary's features, or into what components wrote. */
export type View = 'residual' | 'component';
/** How attention is taken apart: by source token, or by head and source token. */
export type By = 'source' | 'head';

export type NodeKind =
  | 'logit'
  | 'logit-difference'
  | 'attention-feature'
  | 'source-token'
  | 'head-source'
  | 'residual-feature'
  | 'transcoder-feature'
  | 'attn'
  | 'mlp'
  | 'skip'
  | 'error'
  | 'bias'
  | 'token-embedding'
  | 'position-embedding';

/**
 * A point of the residual stream: what attention layers below `attn` and MLP layers below `mlp` have added to the embeddings.
 * `site` names the dictionaries that read exactly this point, most specific first.
 */
export interface StreamPoint {
  attn: number;
  mlp: number;
  sites: string[];
}

/** What a node opens into. */
export type Opening = AttentionOpening | StreamOpening;

/** z of a layer at a destination along a direction on z: one child per source (and head), and the constant. */
export interface AttentionOpening {
  type: 'attention';
  layer: number;
  position: number;
  /** Direction on z, head-major [d_model]. */
  direction: Float64Array;
  constant: { name: string; value: number };
}

/** The stream at a position along a direction. */
export interface StreamOpening {
  type: 'stream';
  point: StreamPoint;
  position: number;
  direction: Float64Array;
  /** Whether the residual view applies here. */
  residualView: boolean;
  constants: { name: string; value: number }[];
}

/** One number in a decomposition, before it is expanded. */
export interface TreeNode {
  /** Path from the root. */
  id: string;
  /** Last step of the path; empty for the root. */
  key: string;
  kind: NodeKind;
  site?: string;
  layer?: number;
  position?: number;
  head?: number;
  feature?: number;
  /** Which bias: b_dec, b_O, c_f, b_U, value bias. */
  name?: string;
  /** Vocabulary ids of logit roots and embedding leaves. */
  tokenIds?: number[];
  activation?: number;
  value: number;
  contribution: number;
  /** contribution / Σ|contribution| over all children of the parent. */
  share: number;
  /** How it opens; absent for leaves. */
  open?: () => Opening | Promise<Opening>;
}
