/** What the server is told once, and what it tells of itself. Types and names only. */
import type { WireSite } from './features';

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

/** Settings section and prefix of every command, view and setting. */
export const SECTION = 'attentionCircuits';

/** Language id of prompt files. */
export const LANGUAGE = 'prompts';
