/** A saved circuit that is open: its content, its unsaved edits, and what can be answered from it. */
import * as vscode from 'vscode';
import type { RequestMethod } from '../../../server/protocol';
import type { CircuitFile, Identity, OpenedCircuit } from '../../../server/protocol/circuit';
import type { PanelArguments } from '../../../webviews/protocol';
import { type PanelFile } from '../panels/panel';
import { type Server } from '../server';
import { type CircuitArguments, marksOf, Recorder } from './recorder';

interface State {
  args: CircuitArguments;
  ui: Record<string, unknown>;
}

const isRecord = (x: unknown): x is Record<string, unknown> => typeof x === 'object' && x !== null && !Array.isArray(x);

/** How two identities differ, shortly; null when they are the same. */
function difference(stored: Identity | null, now: Identity): string | null {
  if (!stored) return 'the file does not say which weights it was made with';
  if (stored.model.sha256 !== now.model.sha256)
    return `the loaded model (${now.model.name}) is not the one it was made with (${stored.model.name})`;
  const have = new Map(now.dictionaries.map((d) => [d.site, d.sha256]));
  const other = stored.dictionaries.find((d) => have.get(d.site) !== d.sha256);
  if (other) return `the dictionary on ${other.site} is ${have.has(other.site) ? 'another one' : 'not loaded'}`;
  return have.size === stored.dictionaries.length ? null : 'other dictionaries are loaded';
}

/** Answers that a panel can do without when nothing can be computed. */
const EMPTY: Partial<Record<RequestMethod, unknown>> = {
  'attentionCircuits/sources': { sources: [] },
  'attentionCircuits/grid': null,
};

export class CircuitDocument implements vscode.CustomDocument, PanelFile {
  private readonly edited = new vscode.EventEmitter<vscode.CustomDocumentEditEvent<CircuitDocument>>();
  private readonly restored = new vscode.EventEmitter<State>();
  private readonly noted = new vscode.EventEmitter<string>();
  /** The reader changed something. */
  readonly onDidEdit = this.edited.event;
  /** Undo, redo or revert: panels are to show this. */
  readonly onDidRestore = this.restored.event;
  /** Where the numbers come from. */
  readonly onDidNote = this.noted.event;
  private state: State;
  private recorder: Recorder;
  private identity: Identity | null;
  /** The next state that a panel remembers is what it makes of what it was given, not an edit. */
  private settling = true;
  private loaded: Promise<string | null> | null = null;

  constructor(
    readonly uri: vscode.Uri,
    private opened: OpenedCircuit,
    private readonly server: Server,
    private readonly generator: string,
  ) {
    ({ state: this.state, recorder: this.recorder, identity: this.identity } = CircuitDocument.of(opened.circuit));
  }

  private static of(c: CircuitFile): { state: State; recorder: Recorder; identity: Identity | null } {
    const args: CircuitArguments = { panel: 'circuit', uri: null, prompt: c.prompt, root: c.root };
    return { state: { args, ui: c.view }, recorder: Recorder.from(c), identity: c.identity };
  }

  get args(): CircuitArguments {
    return this.state.args;
  }

  get ui(): Record<string, unknown> {
    return this.state.ui;
  }

  /** Why it must not be written, or null. */
  get readOnly(): string | null {
    return this.opened.readOnly;
  }

  /** Content as it would be saved. */
  get circuit(): CircuitFile {
    const { args, ui } = this.state;
    return this.recorder.circuit(args, ui, this.identity, this.generator) ?? this.opened.circuit;
  }

  /** Whether the loaded weights are those of the file: null if so, else why not. Loads the model. */
  private foreign(): Promise<string | null> {
    this.loaded ??= this.server
      .request('attentionCircuits/identity', {})
      .then((now) => difference(this.identity, now))
      .catch((e: Error) => e.message);
    return this.loaded;
  }

  /** Says where the numbers come from, at once and when the loaded model is known. */
  introduce(): void {
    const stored = 'Stored numbers';
    const readOnly = this.readOnly === null ? '' : ` It cannot be saved: ${this.readOnly}.`;
    this.noted.fire(`${stored}.${readOnly}`);
    void this.foreign().then((why) => {
      const can = 'what was not opened then cannot be computed';
      this.noted.fire(
        why === null ? `${stored}, made with the loaded weights.${readOnly}` : `${stored}; ${why}: ${can}.${readOnly}`,
      );
    });
  }

  async answer(method: RequestMethod, params: unknown): Promise<{ result: unknown } | null> {
    const have = this.recorder.recall(method, params);
    if (have !== undefined) return { result: have };
    const why = await this.foreign();
    if (why === null) return null;
    if (method in EMPTY) return { result: EMPTY[method] };
    throw new Error(`This is not stored in the circuit, and ${why}.`);
  }

  answered(method: RequestMethod, params: unknown, result: unknown): void {
    this.recorder.record(method, params, result);
  }

  /** A label is the workspace's: the file bears it when it is saved next, and it is no edit of the file. */
  labelled(site: string, feature: number, label: string | null): void {
    this.recorder.relabel(site, feature, label);
  }

  remembered(args: PanelArguments, ui: unknown): void {
    if (args.panel !== 'circuit' || !isRecord(ui)) return;
    const before = this.state;
    const after: State = { args, ui };
    this.state = after;
    const same = marksOf(before.ui) === marksOf(ui) && JSON.stringify(before.args.root) === JSON.stringify(args.root);
    if (this.settling) {
      this.settling = false;
      return;
    }
    if (same || this.readOnly !== null) return;
    this.edited.fire({
      document: this,
      label: 'Change of the circuit',
      undo: () => this.restore(before),
      redo: () => this.restore(after),
    });
  }

  private restore(state: State): void {
    this.state = state;
    this.settling = true;
    this.restored.fire(state);
  }

  /** Opens the way to a node and selects it. Not an edit. */
  reveal(node: string): void {
    const { args, ui } = this.state;
    // A page that is not there yet is given this when it is made.
    this.restore({ args: { ...args, select: node }, ui });
  }

  /** Takes the content of the disk instead. */
  reload(opened: OpenedCircuit): void {
    this.opened = opened;
    const now = CircuitDocument.of(opened.circuit);
    this.recorder = now.recorder;
    this.identity = now.identity;
    this.loaded = null;
    this.restore(now.state);
    this.introduce();
  }

  /** Forgets the stored numbers: what is shown is computed with the loaded weights. */
  async recompute(): Promise<void> {
    const { recorder, identity } = this;
    const now = await this.server.request('attentionCircuits/identity', {});
    const renewed = new Recorder();
    const set = (r: Recorder, i: Identity | null): void => {
      this.recorder = r;
      this.identity = i;
      this.loaded = null;
      this.restore(this.state);
      this.introduce();
    };
    set(renewed, now);
    this.edited.fire({
      document: this,
      label: 'Compute again',
      undo: () => set(recorder, identity),
      redo: () => set(renewed, now),
    });
  }

  dispose(): void {
    for (const e of [this.edited, this.restored, this.noted]) e.dispose();
  }
}
