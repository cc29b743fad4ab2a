import * as vscode from 'vscode';
import { type RequestMethod } from '../../../server/protocol';
import type { NoteComment } from '../../../server/protocol/notes';
import { type FromPanel, type PanelArguments, type ToPanel } from '../../../webviews/protocol';
import { log, showError } from '../log';
import { insertScript } from '../code';
import { Recorder } from '../circuits/recorder';
import { type Server } from '../server';
import { setting } from '../settings';
import { PromptAnchor } from './anchor';
import { panelHtml } from './html';
import { parseArguments } from './state';

/** What panels may ask the server. */
const ALLOWED: ReadonlySet<string> = new Set<RequestMethod>([
  'attentionCircuits/prompt',
  'attentionCircuits/features',
  'attentionCircuits/root',
  'attentionCircuits/expand',
  'attentionCircuits/grid',
  'attentionCircuits/sources',
  'attentionCircuits/validate',
  'attentionCircuits/ablate',
  'attentionCircuits/feature',
  'attentionCircuits/dashboard',
  'attentionCircuits/neuronpedia',
  'attentionCircuits/attention',
  'attentionCircuits/experiment',
  'attentionCircuits/experimentScript',
  'attentionCircuits/featureScript',
  'attentionCircuits/treeScript',
]);

/** Messages that do something outside the panel. */
const ACTS = ['copy', 'insert', 'saveCircuit', 'note', 'label', 'index', 'neuronpedia', 'openFile', 'heat'] as const;
type Acts = (typeof ACTS)[number];
const isAct = (m: FromPanel): m is Extract<FromPanel, { type: Acts }> => (ACTS as readonly string[]).includes(m.type);

const UPDATE_DELAY_MS = 700;

/** The file whose editor a panel is. */
export interface PanelFile {
  /** An answer from the file, or null to ask the server. Rejects for what cannot be answered. */
  answer(method: RequestMethod, params: unknown): Promise<{ result: unknown } | null>;
  /** The server answered. */
  answered(method: RequestMethod, params: unknown, result: unknown): void;
  /** A feature has another label in the workspace. */
  labelled(site: string, feature: number, label: string | null): void;
  /** The reader changed what is shown. */
  remembered(args: PanelArguments, ui: unknown): void;
}

/** What a panel needs of the rest of the extension. */
export interface PanelServices {
  extensionUri: vscode.Uri;
  server: Server;
  open(args: PanelArguments): void;
  heat(site: string, feature: number): Promise<void>;
  /** What has been written about a feature in the workspace. */
  notesOn(site: string, feature: number): Promise<NoteComment[]>;
  /** Saves the circuit that a panel shows into a new file. */
  saveCircuit(panel: Panel): Promise<void>;
}

export const titleOf = (a: PanelArguments): string => {
  if (a.panel === 'feature') return `Feature ${a.site}/${a.feature}`;
  if (a.panel === 'experiment') return `Experiment: ${a.id}`;
  if (a.panel === 'attention') return `Attention ${a.layer}.${a.head}`;
  return 'Circuit';
};

/** One webview: its page, its messages, its place in the document. */
export class Panel {
  private readonly disposables: vscode.Disposable[] = [];
  private readonly running = new Map<number, vscode.CancellationTokenSource>();
  private readonly highlight: vscode.TextEditorDecorationType;
  private anchor: PromptAnchor | null = null;
  /** What was computed, to be saved. */
  readonly recorder = new Recorder();
  private ready = false;
  private readonly readied = new vscode.EventEmitter<void>();
  /** The page asks what to show: the first time, and whenever it was made anew. */
  readonly onReady = this.readied.event;
  private stale = false;
  private updateTimer: NodeJS.Timeout | undefined;

  constructor(
    readonly webviewPanel: vscode.WebviewPanel,
    private args: PanelArguments,
    private ui: unknown,
    private readonly services: PanelServices,
    /** For the page of a file's editor, which keeps the file's name. */
    private readonly file: PanelFile | 'graph' | null = null,
  ) {
    const { webview } = webviewPanel;
    webview.options = {
      enableScripts: true,
      localResourceRoots: [vscode.Uri.joinPath(services.extensionUri, 'dist', 'webviews')],
    };
    this.highlight = vscode.window.createTextEditorDecorationType({
      backgroundColor: new vscode.ThemeColor('attentionCircuits.sourceHighlight'),
      outline: '1px solid',
      outlineColor: new vscode.ThemeColor('attentionCircuits.sourceHighlightBorder'),
    });
    this.disposables.push(
      this.highlight,
      webview.onDidReceiveMessage((m: FromPanel) => {
        this.receive(m).catch((e: Error) => log().error(`panel: ${e.message}`));
      }),
      vscode.workspace.onDidChangeTextDocument((e) => this.edited(e)),
      vscode.window.onDidChangeTextEditorSelection((e) => this.selected(e)),
      services.server.onStatus((status) => this.post({ type: 'status', status })),
    );
    this.anchorTo(args);
    webview.html = panelHtml(webview, services.extensionUri, args.panel);
    if (!file) webviewPanel.title = titleOf(args);
    webviewPanel.onDidDispose(() => this.dispose());
  }

  private get stored(): PanelFile | null {
    return this.file === 'graph' ? null : this.file;
  }

  get arguments(): PanelArguments {
    return this.args;
  }

  private anchorTo(args: PanelArguments): void {
    const onPrompt = args.panel === 'circuit' || args.panel === 'attention';
    this.anchor = onPrompt && args.uri !== null ? new PromptAnchor(args.uri, args.prompt) : null;
    this.setStale(this.anchor !== null && !this.anchor.present());
  }

  private post(message: ToPanel): void {
    if (this.ready) void this.webviewPanel.webview.postMessage(message);
  }

  /** Sends a message that the panel may act on. */
  tell(message: Extract<ToPanel, { type: 'labelled' | 'corpus' }>): void {
    if (message.type === 'labelled') {
      const { site, feature, label } = message;
      this.recorder.relabel(site, feature, label);
      this.stored?.labelled(site, feature, label);
    }
    this.post(message);
  }

  /** Shows the same with other marks, as undo does. */
  restore(args: PanelArguments, ui: unknown): void {
    this.args = args;
    this.ui = ui;
    this.post({ type: 'restore', args, ui });
  }

  /** Tells the page of a feature what has been written about it. */
  async tellNotes(): Promise<void> {
    const { args } = this;
    if (args.panel !== 'feature') return;
    try {
      const notes = await this.services.notesOn(args.site, args.feature);
      if (args === this.args) this.post({ type: 'notes', notes });
    } catch (e) {
      log().error(`notes on ${args.site}/${args.feature}: ${(e as Error).message}`);
    }
  }

  /** Says where the numbers come from. */
  note(note: string): void {
    this.post({ type: 'note', note });
  }

  /** What the reader has marked. */
  get marks(): unknown {
    return this.ui;
  }

  /** Shows something else in the same panel. */
  show(args: PanelArguments): void {
    this.args = args;
    this.ui = null;
    if (!this.file) this.webviewPanel.title = titleOf(args);
    this.anchorTo(args);
    this.post({ type: 'update', args });
    void this.tellNotes();
  }

  private async receive(m: FromPanel): Promise<void> {
    if (isAct(m)) return this.act(m);
    switch (m.type) {
      case 'ready': {
        this.ready = true;
        const defaults = { view: setting<'residual' | 'component'>('panel.view'), top: setting<number>('panel.top') };
        const { status } = this.services.server;
        this.post({ type: 'init', args: this.args, ui: this.ui, defaults, status });
        this.post({ type: 'stale', stale: this.stale });
        this.readied.fire();
        void this.tellNotes();
        return;
      }
      case 'request':
        return this.forward(m);
      case 'cancel':
        return this.running.get(m.id)?.cancel();
      case 'highlight':
        return this.highlightTokens(m.ranges, m.reveal);
      case 'remember': {
        const args = parseArguments(m.args);
        if (!args) return;
        this.args = args;
        this.ui = m.ui;
        this.stored?.remembered(args, m.ui);
        return;
      }
      case 'open': {
        const args = parseArguments(m.args);
        if (args) this.services.open(args);
        return;
      }
      case 'save':
        return this.save(m);
      case 'showLog':
        return log().show();
    }
  }

  /** What the reader asked for outside the panel. */
  private async act(m: Extract<FromPanel, { type: Acts }>): Promise<void> {
    switch (m.type) {
      case 'copy':
        await vscode.env.clipboard.writeText(m.text);
        vscode.window.setStatusBarMessage(`Attention Circuits: ${m.what} copied`, 3000);
        return;
      case 'insert':
        return insertScript(m.text, this.anchor?.uri ?? null);
      case 'note':
        await vscode.commands.executeCommand('attentionCircuits.addNote', m.target);
        return;
      case 'saveCircuit':
        return this.services.saveCircuit(this);
      case 'label':
        await vscode.commands.executeCommand('attentionCircuits.labelFeature', {
          site: m.site,
          feature: m.feature,
          ...(m.text === undefined ? {} : { text: m.text }),
        });
        return;
      case 'index':
        await vscode.commands.executeCommand('attentionCircuits.indexCorpus', { here: m.here });
        return;
      case 'neuronpedia': {
        const [model, source] = m.id.split('/').map(encodeURIComponent);
        const page = `https://www.neuronpedia.org/${model}/${source}/${Number(m.feature)}`;
        await vscode.env.openExternal(vscode.Uri.parse(page, true));
        return;
      }
      case 'openFile':
        return this.openFile(m.folder, m.file, m.line);
      case 'heat':
        return this.services.heat(m.site, m.feature);
    }
  }

  /** Passes a request on; cancelling in the panel cancels at the server. */
  private async forward(m: Extract<FromPanel, { type: 'request' }>): Promise<void> {
    const { id, method } = m;
    const source = new vscode.CancellationTokenSource();
    this.running.set(id, source);
    try {
      if (!ALLOWED.has(method)) throw new Error(`panels may not request ${method}`);
      const stored = (await this.stored?.answer(method, m.params)) ?? null;
      const result = stored
        ? stored.result
        : await this.services.server.request(method, m.params as never, source.token);
      if (!stored) this.recorder.record(method, m.params, result);
      if (!stored) this.stored?.answered(method, m.params, result);
      this.post({ type: 'response', id, result });
    } catch (e) {
      const cancelled = source.token.isCancellationRequested;
      this.post({ type: 'failure', id, error: (e as Error).message, cancelled });
    } finally {
      this.running.delete(id);
      source.dispose();
    }
  }

  /** Opens a file of the corpus at a line. */
  private async openFile(folder: string, file: string, line: number): Promise<void> {
    const uri = file === '' ? vscode.Uri.file(folder) : vscode.Uri.joinPath(vscode.Uri.file(folder), file);
    try {
      const document = await vscode.workspace.openTextDocument(uri);
      const selection = new vscode.Range(line, 0, line, 0);
      await vscode.window.showTextDocument(document, { selection, viewColumn: vscode.ViewColumn.One });
    } catch (e) {
      void showError((e as Error).message);
    }
  }

  private editors(): vscode.TextEditor[] {
    const uri = this.anchor?.uri;
    return vscode.window.visibleTextEditors.filter((e) => e.document.uri.toString() === uri);
  }

  private highlightTokens(ranges: { start: number; end: number }[], reveal: boolean): void {
    const found = ranges.map((r) => this.anchor?.range(r.start, r.end)).filter((r) => r != null);
    for (const editor of this.editors()) {
      editor.setDecorations(this.highlight, found);
      const onScreen = editor.visibleRanges.some((r) => found.length > 0 && r.contains(found[0]));
      if (reveal && found.length > 0 && !onScreen) {
        editor.revealRange(found[0], vscode.TextEditorRevealType.InCenterIfOutsideViewport);
      }
    }
  }

  private setStale(stale: boolean): void {
    this.stale = stale;
    this.post({ type: 'stale', stale });
  }

  private edited(e: vscode.TextDocumentChangeEvent): void {
    if (!this.anchor || e.document.uri.toString() !== this.anchor.uri) return;
    this.anchor.edited(e);
    const present = this.anchor.present();
    this.setStale(!present);
    clearTimeout(this.updateTimer);
    if (!present) this.updateTimer = setTimeout(() => void this.replace(), UPDATE_DELAY_MS);
  }

  /** Shows the edited prompt once typing has stopped, if the root still has a place in it. */
  private async replace(): Promise<void> {
    const { anchor, args } = this;
    if (!anchor || args.panel !== 'circuit' || anchor.offset < 0) return;
    try {
      const { server } = this.services;
      const found = await server.request('attentionCircuits/locate', { uri: anchor.uri, offset: anchor.offset });
      if (!found || anchor !== this.anchor || anchor.present()) return;
      const before = await server.request('attentionCircuits/prompt', { prompt: args.prompt });
      const old = before.tokens;
      const { position } = args.root;
      const last = found.tokens.length - 1;
      const target = position === old.length - 1 ? last : position;
      const sameToken = found.tokens[target]?.id === old[position]?.id;
      if (anchor !== this.anchor || args.root.type === 'graph' || (target !== last && !sameToken)) return;
      this.show({ ...args, prompt: found.prompt, root: { ...args.root, position: target }, offer: undefined });
    } catch (e) {
      log().debug(`panel not updated: ${(e as Error).message}`);
    }
  }

  /** A click on a token of the panel's prompt in the editor. */
  private selected(e: vscode.TextEditorSelectionChangeEvent): void {
    if (e.kind !== vscode.TextEditorSelectionChangeKind.Mouse || !this.anchor) return;
    const { document } = e.textEditor;
    if (document.uri.toString() !== this.anchor.uri || !this.webviewPanel.visible) return;
    const offset = document.offsetAt(e.selections[0].active);
    const { anchor } = this;
    void this.services.server.request('attentionCircuits/locate', { uri: anchor.uri, offset }).then(
      (found) => {
        const mine = found && 'prompt' in this.args && found.prompt.text === this.args.prompt.text;
        if (mine && anchor.present() && found.offset === anchor.offset) {
          this.post({ type: 'token', position: found.token.position });
        }
      },
      (error: Error) => log().debug(`locating the click: ${error.message}`),
    );
  }

  private async save(m: Extract<FromPanel, { type: 'save' }>): Promise<void> {
    const folder = vscode.workspace.workspaceFolders?.[0]?.uri;
    const name = `${m.name.replace(/[^\w.-]+/g, '-').slice(0, 80)}.${m.format}`;
    const target = await vscode.window.showSaveDialog({
      defaultUri: folder ? vscode.Uri.joinPath(folder, name) : vscode.Uri.file(name),
      filters: { [m.format.toUpperCase()]: [m.format] },
    });
    if (!target) return;
    await vscode.workspace.fs.writeFile(target, Buffer.from(m.data, m.format === 'png' ? 'base64' : 'utf8'));
    vscode.window.setStatusBarMessage(`Attention Circuits: saved ${target.fsPath}`, 5000);
  }

  private dispose(): void {
    clearTimeout(this.updateTimer);
    for (const source of this.running.values()) source.cancel();
    for (const d of this.disposables) d.dispose();
    this.readied.dispose();
  }
}
