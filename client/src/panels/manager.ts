import * as vscode from 'vscode';
import { type PanelArguments } from '../../../webviews/protocol';
import { type Server } from '../server';
import { Panel, type PanelFile, type PanelServices, titleOf } from './panel';
import { parsePanelState } from './state';

/** View types, one per kind of panel. */
export const VIEW_TYPES: Readonly<Record<PanelArguments['panel'], string>> = {
  circuit: 'attentionCircuits.circuit',
  feature: 'attentionCircuits.feature',
  attention: 'attentionCircuits.attention',
  experiment: 'attentionCircuits.experiment',
};

/** Opens panels, one of a kind, and restores them after a reload. */
export class PanelManager implements vscode.Disposable {
  private readonly panels = new Set<Panel>();
  /** Panels of files, which stay with their file. */
  private readonly editors = new Set<Panel>();
  private readonly services: PanelServices;
  private readonly serializers: vscode.Disposable[];

  constructor(
    context: vscode.ExtensionContext,
    server: Server,
    services: Pick<PanelServices, 'heat' | 'saveCircuit' | 'notesOn'>,
  ) {
    this.services = {
      extensionUri: context.extensionUri,
      server,
      ...services,
      open: (args) => this.open(args),
    };
    this.serializers = Object.values(VIEW_TYPES).map((type) =>
      vscode.window.registerWebviewPanelSerializer(type, {
        deserializeWebviewPanel: (panel, state: unknown) => this.restore(panel, state),
      }),
    );
  }

  /** Shows something: in the last panel of its kind, or in a new one beside the editor. */
  open(args: PanelArguments): void {
    const have = [...this.panels].findLast((p) => p.arguments.panel === args.panel);
    if (have) {
      have.show(args);
      have.webviewPanel.reveal(undefined, true);
      return;
    }
    const beside = [...this.panels].at(-1)?.webviewPanel.viewColumn ?? vscode.ViewColumn.Beside;
    const column = { viewColumn: beside, preserveFocus: true };
    this.adopt(vscode.window.createWebviewPanel(VIEW_TYPES[args.panel], titleOf(args), column), args, null);
  }

  private adopt(webviewPanel: vscode.WebviewPanel, args: PanelArguments, ui: unknown): void {
    webviewPanel.iconPath = vscode.Uri.joinPath(this.services.extensionUri, 'media', 'icon.svg');
    const panel = new Panel(webviewPanel, args, ui, this.services);
    this.panels.add(panel);
    webviewPanel.onDidDispose(() => this.panels.delete(panel));
  }

  /** Shows something in the page of a custom editor, which stays with its file. */
  adoptEditor(webviewPanel: vscode.WebviewPanel, args: PanelArguments, ui: unknown, file: PanelFile | 'graph'): Panel {
    const panel = new Panel(webviewPanel, args, ui, this.services, file);
    this.editors.add(panel);
    webviewPanel.onDidDispose(() => this.editors.delete(panel));
    return panel;
  }

  private restore(webviewPanel: vscode.WebviewPanel, value: unknown): Promise<void> {
    const state = parsePanelState(value);
    if (state) this.adopt(webviewPanel, state.args, state.ui);
    else webviewPanel.dispose();
    return Promise.resolve();
  }

  /** Tells every panel that a feature has another label. */
  labelled(site: string, feature: number, label: string | null): void {
    for (const p of [...this.panels, ...this.editors]) p.tell({ type: 'labelled', site, feature, label });
  }

  /** Tells the panels of features that other notes are there. */
  notesChanged(): void {
    for (const p of this.panels) void p.tellNotes();
  }

  /** Tells every panel that the index of texts is another. */
  corpusChanged(): void {
    for (const p of this.panels) p.tell({ type: 'corpus' });
  }

  dispose(): void {
    for (const s of this.serializers) s.dispose();
    for (const p of this.panels) p.webviewPanel.dispose();
  }
}
