/** Attribution-graph files as circuits: a read-only editor that is offered for JSON files, and a command that opens one in it. */
import * as vscode from 'vscode';
import { NothingHere } from '../log';
import { type PanelManager } from './manager';

export const GRAPH_EDITOR = 'attentionCircuits.graph';

/** Shows graph files in circuit panels. */
export class GraphEditors implements vscode.CustomReadonlyEditorProvider {
  constructor(private readonly panels: PanelManager) {}

  openCustomDocument(uri: vscode.Uri): vscode.CustomDocument {
    return { uri, dispose: () => undefined };
  }

  resolveCustomEditor({ uri }: vscode.CustomDocument, panel: vscode.WebviewPanel): void {
    const root = { type: 'graph' as const, file: uri.fsPath, node: '', position: 0 };
    this.panels.adoptEditor(
      panel,
      { panel: 'circuit', uri: null, prompt: { text: '', bos: false }, root },
      null,
      'graph',
    );
  }
}

/** Opens a graph file as a circuit: the one that is given, that of the active editor, or one that is picked. */
export async function openGraph(_s: unknown, uri?: vscode.Uri): Promise<void> {
  const active = vscode.window.activeTextEditor?.document.uri;
  const here = active && /\.json(\.gz)?$/.test(active.path) ? active : undefined;
  const [picked] =
    uri || here
      ? [uri ?? here]
      : ((await vscode.window.showOpenDialog({ filters: { 'Attribution graphs': ['json', 'gz'] } })) ?? []);
  if (!picked) return;
  if (picked.scheme !== 'file' && picked.scheme !== 'vscode-remote')
    throw new NothingHere('graph files are read from the disk of the machine that runs the extension.');
  await vscode.commands.executeCommand('vscode.openWith', picked, GRAPH_EDITOR, vscode.ViewColumn.Beside);
}
