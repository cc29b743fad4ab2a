/**
 * The wire contract between the editor's extension and the language server. Types and names only.
 *
 * Requests are self-contained: a prompt travels as its text, a node as the path that is its id. The server keeps what it has computed
 * and answers repeated requests from it; after a crash or an eviction it computes again, so nothing has to be released or restored.
 */

import type { CircuitCheck, CircuitFile, Identity, OpenedCircuit } from './circuit';
import type { CorpusSummary, DashboardResult, FoundFeature } from './corpus';
import type { ExperimentInfo, ExperimentResult, ExperimentValues, Table } from './experiments';
import type { HubEntry, HubPlan, NeuronpediaPage } from './hub';
import type { Note, NoteComment, NotesResult, NoteTarget } from './notes';
import type { VerifyRow } from './verify';

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

/** Where the model stands. Sent by the server whenever it changes. */
export interface WireStatus {
  phase: 'idle' | 'loading' | 'ready' | 'failed';
  /** Name and folder of the model. */
  model: string | null;
  path: string | null;
  provider: string | null;
  sites: WireSite[];
  n_layers: number;
  n_heads: number;
  n_ctx: number;
  /** Process id of the server; null while none runs. */
  pid: number | null;
  /** Resident memory of the server process, bytes. */
  memory: number;
  /** Prompts kept. */
  prompts: number;
  /** What went wrong, or what was assumed. */
  message: string | null;
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

/** Where an experiment's prompts come from. */
export type ExperimentPrompts =
  | { from: 'document'; uri: string }
  | { from: 'generated'; count: number; seed: number }
  | { from: 'prompt'; prompt: PromptRef }
  | { from: 'none' };

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
  token: WireToken;
  tokens: WireToken[];
}

type WithPrompt<T = object> = T & { prompt: PromptRef };
type WithRoot<T = object> = WithPrompt<T & { root: RootRef }>;
type WithTree<T = object> = WithPrompt<T & { root: TreeRoot }>;

export type NoteChange =
  | { type: 'add'; target: NoteTarget; comment: NoteComment }
  | { type: 'edit'; was: NoteComment; text: string }
  | { type: 'remove'; was: NoteComment }
  | { type: 'delete' }
  | { type: 'resolve'; resolved: boolean }
  | { type: 'anchor'; target: NoteTarget };

/** Requests of the client, by method: what they ask and what they get. All can be cancelled. */
export interface Requests {
  /** The status now; never starts anything. */
  'attentionCircuits/status': { params: Record<string, never>; result: WireStatus };
  /** Loads the model if it is not. Fails with the reason. */
  'attentionCircuits/load': { params: Record<string, never>; result: WireStatus };
  /** Drops the model and loads it anew. */
  'attentionCircuits/reload': { params: Record<string, never>; result: WireStatus };
  'attentionCircuits/prompt': { params: WithPrompt; result: PromptResult };
  /** The token of a prompt file at an offset, for commands without arguments; null between prompts. */
  'attentionCircuits/locate': { params: { uri: string; offset: number }; result: LocatedToken | null };
  'attentionCircuits/features': {
    params: WithPrompt<{ position: number; limit: number }>;
    result: { features: WireFeature[] };
  };
  'attentionCircuits/root': { params: WithTree; result: RootResult };
  'attentionCircuits/expand': {
    params: WithTree<{ node: string; view: View; by: By; limit: number }>;
    result: WireExpansion;
  };
  'attentionCircuits/grid': { params: WithTree<{ node: string }>; result: WireGrid | null };
  /** Direct contribution of each prompt position to a node's value [S]: own position for what is read there, sources for attention. */
  'attentionCircuits/sources': { params: WithTree<{ node: string }>; result: { sources: number[] } };
  'attentionCircuits/validate': { params: WithRoot<{ edge: string }>; result: WireValidation };
  'attentionCircuits/ablate': {
    params: WithRoot<{ features: { site: string; feature: number; position?: number }[] }>;
    result: AblateResult;
  };
  'attentionCircuits/feature': { params: { site: string; feature: number }; result: FeatureResult };
  /** What the indexed folder of texts shows of a feature; read, not computed. */
  'attentionCircuits/dashboard': { params: { site: string; feature: number }; result: DashboardResult };
  /** Indexes the folder of the settings, in the background; goes on where a stopped build was. */
  'attentionCircuits/indexCorpus': { params: Record<string, never>; result: CorpusSummary };
  'attentionCircuits/searchFeatures': {
    params: { by: 'text' | 'label' | 'prompt'; text: string; limit: number };
    result: { state: DashboardResult['state']; features: FoundFeature[] };
  };
  'attentionCircuits/attention': {
    params: WithPrompt<{ layer: number; head: number; destination: number }>;
    result: AttentionResult;
  };
  /** The workspace's label of a feature; with `label`, sets it first (an empty one removes it). */
  'attentionCircuits/label': {
    params: { site: string; feature: number; label?: string };
    result: { label: string | null };
  };
  /** Published numbers against those of the loaded model and dictionaries. */
  'attentionCircuits/verify': { params: Record<string, never>; result: { table: string; rows: VerifyRow[] } };
  /** Published models and dictionaries, and what is on this machine of them. Requests nothing from elsewhere. */
  'attentionCircuits/registry': { params: Record<string, never>; result: { entries: HubEntry[] } };
  /** Asks the Hub how much would be fetched for names of the registry. */
  'attentionCircuits/hubPlan': { params: { names: string[] }; result: HubPlan };
  /** Fetches models and dictionaries, with progress that can be cancelled; goes on where an interrupted one was. */
  'attentionCircuits/hubDownload': { params: { names: string[] }; result: HubPlan };
  /** What Neuronpedia says of a feature; the only request that asks it. */
  'attentionCircuits/neuronpedia': { params: { id: string; feature: number }; result: NeuronpediaPage };
  /** What numbers computed now depend on. */
  'attentionCircuits/identity': { params: Record<string, never>; result: Identity };
  /** A saved circuit from the text of its file; needs no model. */
  'attentionCircuits/parseCircuit': { params: { path: string; text: string }; result: OpenedCircuit };
  /** Computes a saved circuit again and compares. */
  'attentionCircuits/checkCircuit': { params: { circuit: CircuitFile }; result: CircuitCheck };
  /** Notes of a file; with the text of a prompt file, those on tokens with their places in it. Needs no model. */
  'attentionCircuits/notes': { params: { file: string; text?: string }; result: NotesResult };
  /** What a note on a range of a prompt file's text would be tied to; null outside of prompts. */
  'attentionCircuits/noteAnchor': {
    params: { text: string; start: number; end: number };
    result: { target: NoteTarget | null };
  };
  /**
   * Changes a note: `add` puts a comment (and makes the note if there is none), `edit` replaces one that reads `was`, `remove` takes it away (the last
   * takes the note with it), `resolve` and `anchor` change the rest.
   */
  'attentionCircuits/changeNote': {
    params: { file: string; id: string; change: NoteChange };
    result: { note: Note | null };
  };
  /** A tool of assistants by its name: the answer as JSON text. */
  'attentionCircuits/tool': { params: { name: string; input: unknown }; result: { text: string } };
  /** The strongest features at every token of a folder of texts, into a .csv or .parquet file; a stopped run goes on. */
  'attentionCircuits/annotate': {
    params: { folder: string; out: string; top: number };
    result: { contexts: number; rows: number; skipped: number; reason: string | null };
  };
  /** What experiments there are. */
  'attentionCircuits/experiments': { params: Record<string, never>; result: { experiments: ExperimentInfo[] } };
  /** Runs one on the prompts of a document, on generated sentences, or on one prompt. */
  'attentionCircuits/experiment': {
    params: { id: string; values: ExperimentValues; prompts: ExperimentPrompts };
    result: ExperimentResult;
  };
  /** A script for TransformerLens and SAELens that makes a result's tables again and compares them. */
  'attentionCircuits/experimentScript': {
    params: { id: string; values: ExperimentValues; prompts: ExperimentPrompts; tables: Table[] };
    result: { text: string };
  };
  /** The same for nodes of a tree, by their ids; those between them and the root come along. */
  'attentionCircuits/treeScript': { params: WithRoot<{ nodes: string[] }>; result: { text: string } };
  /** The same for what a feature's view shows. */
  'attentionCircuits/featureScript': { params: { site: string; feature: number }; result: { text: string } };
  /** Generated sentences as the text of a prompt file. */
  'attentionCircuits/ioi': { params: { count: number; seed: number; conjunction: string }; result: { text: string } };
  'attentionCircuits/heat': { params: { uri: string; site: string; feature: number }; result: HeatResult };
}

/** Notifications of the client. */
export interface ClientNotifications {
  /** The cursor moved in a prompt file, or (null) left all of them. Moves the lens of the token under it. */
  'attentionCircuits/cursor': { uri: string; offset: number } | null;
  /** Settings changed. */
  'attentionCircuits/settings': ServerSettings;
  /** The hover's second part was folded or unfolded. */
  'attentionCircuits/hoverDetails': { open: boolean };
}

/** Notifications of the server. */
export interface ServerNotifications {
  'attentionCircuits/status': WireStatus;
}

export type RequestMethod = keyof Requests;

/** Settings under `attentionCircuits`, as the client sends them. Paths are absolute. */
export interface ServerSettings {
  /** `demo`, a folder, or `hub:NAME` of the registry. */
  model: string;
  /** Files, folders, and `hub:NAME` or `hub:NAME/ID`. */
  dictionaries: string[];
  contract: 'auto' | 'default' | 'none';
  provider: 'auto' | 'cpu' | 'webgpu' | 'cuda';
  memoryLimitMB: number;
  hoverFeatures: number;
  codeLens: { prompt: boolean; answers: boolean; features: boolean; token: boolean };
  inlayHints: boolean;
  /** File of the workspace's labels; empty without a workspace folder. */
  labels: string;
  /** Label files of other tools, shown where the workspace has no label of its own. */
  importedLabels: string[];
  /** Registry files beside our own. */
  registry: string[];
  /** How the Hub is reached: address (empty for the environment's or the Hub's own), whether at all, proxy (empty for the environment's). */
  hub: { endpoint: string; offline: boolean; proxy: string; neuronpedia: string };
  /** Texts for feature dashboards: a folder or a file (empty without one), tokens of a context, tokens at most. */
  corpus: { folder: string; contextLength: number; maxTokens: number };
}

/** Sent once with the `initialize` request. */
export interface InitializationOptions {
  settings: ServerSettings;
  /** Folder of the installed extension, where the demo model lies. */
  home: string;
}

/** Commands that hovers and lenses carry. */
export const Commands = {
  attribute: 'attentionCircuits.attribute',
  attributePrompt: 'attentionCircuits.attributePrompt',
  openFeature: 'attentionCircuits.openFeature',
  showFeatures: 'attentionCircuits.showFeatures',
  toggleHoverDetails: 'attentionCircuits.toggleHoverDetails',
  chooseModel: 'attentionCircuits.chooseModel',
  labelFeature: 'attentionCircuits.labelFeature',
  copyPython: 'attentionCircuits.copyPython',
} as const;

/** Where a command's prompt is: by content, or (from hovers, which must stay small) by an offset of its document. */
export type PromptPlace = { uri: string } & ({ prompt: PromptRef } | { offset: number });

/** Argument of the command that attributes a prompt's next token; the document where the prompt stands verbatim, or null. */
export interface AttributePromptArguments {
  uri: string | null;
  prompt: PromptRef;
}

/** Argument of the attribute command. */
export type AttributeArguments = PromptPlace & {
  root: RootRef;
  /** A token whose features the panel offers as further roots. */
  offer?: number;
};

/** Argument of the features command. */
export type ShowFeaturesArguments = PromptPlace & { position: number };

/** Argument of the open-feature command. */
export interface OpenFeatureArguments {
  site: string;
  feature: number;
}

/** Settings section and prefix of every command, view and setting. */
export const SECTION = 'attentionCircuits';
/** Language id of prompt files. */
export const LANGUAGE = 'prompts';
