/** Requests and notifications by method. Types only. */
import type { CircuitCheck, CircuitFile, Identity, OpenedCircuit } from './circuit';
import type { CorpusSummary, DashboardResult, FoundFeature } from './corpus';
import type { ExperimentInfo, ExperimentPrompts, ExperimentResult, ExperimentValues, Table } from './experiments';
import type { AttentionResult, FeatureResult, HeatResult, LocatedToken, WireFeature } from './features';
import type { HubEntry, HubPlan, NeuronpediaPage } from './hub';
import type { Note, NoteChange, NoteTarget, NotesResult } from './notes';
import type { ServerSettings, WireStatus } from './settings';
import type {
  AblateResult,
  By,
  PromptRef,
  PromptResult,
  RootRef,
  RootResult,
  TreeRoot,
  View,
  WireExpansion,
  WireGrid,
  WireValidation,
} from './tree';
import type { VerifyRow } from './verify';

/** The strongest features at every token; or what splicing the dictionaries of sets of layers keeps of every prompt. */
export type FolderTable =
  | { type: 'features'; top: number }
  | { type: 'evaluation'; sections: string; kind: 'attention' | 'residual' | 'transcoder' };

type WithPrompt<T = object> = T & { prompt: PromptRef };

type WithRoot<T = object> = WithPrompt<T & { root: RootRef }>;

type WithTree<T = object> = WithPrompt<T & { root: TreeRoot }>;

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
  /** A table of a folder of texts or prompts, into a .csv or .parquet file; a stopped run goes on. */
  'attentionCircuits/tabulate': {
    params: { folder: string; out: string; table: FolderTable };
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
