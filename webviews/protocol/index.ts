/** What a panel and the extension say to each other. Types only. */
import type { ExperimentPrompts, PromptRef, RequestMethod, TreeRoot, WireStatus } from '../../server/protocol';
import type { NoteComment, NoteTarget } from '../../server/protocol/notes';
import type { ExperimentValues } from '../../server/protocol/experiments';

/** What a panel shows; enough to show it again after a reload. */
export type PanelArguments =
  | { panel: 'circuit'; uri: string | null; prompt: PromptRef; root: TreeRoot; offer?: number; select?: string }
  | { panel: 'feature'; site: string; feature: number }
  | { panel: 'experiment'; id: string; values: ExperimentValues; prompts: ExperimentPrompts }
  | { panel: 'attention'; uri: string | null; prompt: PromptRef; layer: number; head: number; destination: number };

/** Defaults from the settings. */
export interface PanelDefaults {
  view: 'residual' | 'component';
  top: number;
}

/** What is kept across reloads: the arguments, and whatever the panel wants to remember of itself. */
export interface PanelState {
  version: 1;
  args: PanelArguments;
  ui: unknown;
}

/** The extension to a panel. Nothing is sent before the panel's `ready`. */
export type ToPanel =
  | { type: 'init'; args: PanelArguments; ui: unknown; defaults: PanelDefaults; status: WireStatus }
  | { type: 'response'; id: number; result: unknown }
  | { type: 'failure'; id: number; error: string; cancelled: boolean }
  /** The prompt's text in the editor is no longer (or again) what the panel shows. */
  | { type: 'stale'; stale: boolean }
  /** The edited prompt, to show instead. */
  | { type: 'update'; args: PanelArguments }
  /** A token of the prompt was clicked in the editor. */
  | { type: 'token'; position: number }
  /** The same circuit with other marks: undo, redo, revert. */
  | { type: 'restore'; args: PanelArguments; ui: unknown }
  /** Where the numbers come from. */
  | { type: 'note'; note: string }
  /** A feature has another label in the workspace. */
  | { type: 'labelled'; site: string; feature: number; label: string | null }
  /** What has been written about the feature that is shown. */
  | { type: 'notes'; notes: NoteComment[] }
  /** The index of texts is being built, or is another. */
  | { type: 'corpus' }
  | { type: 'status'; status: WireStatus };

/** A panel to the extension. */
export type FromPanel =
  | { type: 'ready' }
  | { type: 'request'; id: number; method: RequestMethod; params: unknown }
  | { type: 'cancel'; id: number }
  /** Highlight tokens of the panel's prompt in the editor; none to clear. */
  | { type: 'highlight'; ranges: { start: number; end: number }[]; reveal: boolean }
  | { type: 'open'; args: PanelArguments }
  /** What the page is to be given when it is made anew: the editor throws hidden pages away. */
  | { type: 'remember'; args: PanelArguments; ui: unknown }
  /** Save the circuit into a file of its own. */
  | { type: 'saveCircuit' }
  /** Ask for a note on a feature or a node. */
  | { type: 'note'; target: NoteTarget }
  /** Ask for a feature's label; `text` is offered. */
  | { type: 'label'; site: string; feature: number; text?: string }
  /** Index texts for dashboards: those of the settings, or others to be asked for. */
  | { type: 'index'; here: boolean }
  /** Open a feature's page in the browser. */
  | { type: 'neuronpedia'; id: string; feature: number }
  | { type: 'openFile'; folder: string; file: string; line: number }
  | { type: 'heat'; site: string; feature: number }
  | { type: 'copy'; text: string; what: string }
  /** Put a script into the notebook or file beside. */
  | { type: 'insert'; text: string }
  /** `data` is text, or base64 for PNG. */
  | { type: 'save'; name: string; format: 'svg' | 'png' | 'json' | 'csv'; data: string }
  | { type: 'showLog' };
