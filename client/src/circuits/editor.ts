/** The editor of saved circuits: VS Code's own undo, save, save as, revert, backup and hot exit over a circuit panel. */
import { closeSync, fsyncSync, openSync, renameSync, rmSync, writeSync } from 'node:fs';
import * as vscode from 'vscode';
import type { CircuitCheck, CircuitFile } from '../../../server/protocol/circuit';
import { NothingHere } from '../log';
import { type PanelManager } from '../panels/manager';
import { type Server } from '../server';
import { CircuitDocument } from './document';
import { circuitText } from './text';

export const CIRCUIT_EDITOR = 'attentionCircuits.savedCircuit';

/** Replaces a file as a whole, so that whoever reads it finds the old or the new content. */
async function writeWhole(uri: vscode.Uri, text: string): Promise<void> {
  const bytes = Buffer.from(text);
  if (uri.scheme !== 'file') return vscode.workspace.fs.writeFile(uri, bytes);
  const aside = `${uri.fsPath}.${process.pid}.tmp`;
  const fd = openSync(aside, 'w');
  try {
    for (let done = 0; done < bytes.length;) done += writeSync(fd, bytes, done);
    fsyncSync(fd);
    closeSync(fd);
    renameSync(aside, uri.fsPath);
  } catch (e) {
    rmSync(aside, { force: true });
    throw e;
  }
}

const readText = async (uri: vscode.Uri): Promise<string> =>
  Buffer.from(await vscode.workspace.fs.readFile(uri)).toString('utf8');

const tableOf = (r: CircuitCheck, name: string): string =>
  [
    `# ${name}, computed again`,
    '',
    ...r.identity.map((i) => `- ${i}`),
    '',
    `${r.numbers} numbers; ${r.differences.length} differ by more than ${r.tolerance} of max(1, |stored|); the largest difference is ${r.worst.toExponential(1)}.`,
    '',
    ...(r.differences.length === 0
      ? []
      : [
          '| node | | stored | now |',
          '|---|---|---|---|',
          ...r.differences.map(
            (d) =>
              `| \`${d.node.replaceAll('|', '\\|')}\` | ${d.what} | ${d.stored.toFixed(5)} | ${d.got?.toFixed(5) ?? 'gone'} |`,
          ),
        ]),
    '',
  ].join('\n');

/** Saves the circuit of a panel into a file that the user names, and opens it there. */
export async function saveNew(circuit: CircuitFile): Promise<void> {
  const folder = vscode.workspace.workspaceFolders?.[0]?.uri;
  const name = `${
    circuit.tree.root.label
      .replace(/[^\w.-]+/g, '-')
      .replace(/^-+|-+$/g, '')
      .slice(0, 60) || 'circuit'
  }.circuit.json`;
  const chosen = await vscode.window.showSaveDialog({
    defaultUri: folder ? vscode.Uri.joinPath(folder, name) : vscode.Uri.file(name),
    filters: { 'Saved circuits': ['json'] },
  });
  if (!chosen) return;
  // The editor goes by the whole ending.
  const target = chosen.with({ path: chosen.path.replace(/(\.circuit)?\.json$/, '') + '.circuit.json' });
  await writeWhole(target, circuitText(circuit));
  await vscode.commands.executeCommand('vscode.openWith', target, CIRCUIT_EDITOR);
}

export class CircuitEditors implements vscode.CustomEditorProvider<CircuitDocument> {
  private readonly changed = new vscode.EventEmitter<vscode.CustomDocumentEditEvent<CircuitDocument>>();
  readonly onDidChangeCustomDocument = this.changed.event;
  private readonly open = new Set<CircuitDocument>();
  /** Text on the disk as it was last read or written here. */
  private readonly disk = new WeakMap<CircuitDocument, string>();

  constructor(
    private readonly panels: PanelManager,
    private readonly server: Server,
    private readonly generator: string,
  ) {}

  private async parsed(uri: vscode.Uri, text: string): Promise<CircuitDocument> {
    const opened = await this.server.request('attentionCircuits/parseCircuit', { path: uri.fsPath, text });
    return new CircuitDocument(uri, opened, this.server, this.generator);
  }

  async openCustomDocument(uri: vscode.Uri, context: vscode.CustomDocumentOpenContext): Promise<CircuitDocument> {
    const text = await readText(context.backupId === undefined ? uri : vscode.Uri.parse(context.backupId));
    const document = await this.parsed(uri, text);
    this.disk.set(document, context.backupId === undefined ? text : await readText(uri).catch(() => ''));
    this.open.add(document);
    document.onDidEdit((e) => this.changed.fire(e));
    return document;
  }

  resolveCustomEditor(document: CircuitDocument, webviewPanel: vscode.WebviewPanel): void {
    const panel = this.panels.adoptEditor(webviewPanel, document.args, document.ui, document);
    const listeners = [
      document.onDidRestore(({ args, ui }) => panel.restore(args, ui)),
      document.onDidNote((note) => panel.note(note)),
    ];
    webviewPanel.onDidDispose(() => {
      for (const l of listeners) l.dispose();
      this.open.delete(document);
    });
    panel.onReady(() => document.introduce());
  }

  async saveCustomDocument(document: CircuitDocument): Promise<void> {
    if (document.readOnly !== null) throw new Error(`It is not saved: ${document.readOnly}.`);
    const now = await readText(document.uri).catch(() => null);
    if (now !== null && now !== this.disk.get(document)) {
      const name = vscode.workspace.asRelativePath(document.uri);
      const question = `${name} has changed on disk since it was opened.`;
      const answer = await vscode.window.showWarningMessage(question, { modal: true }, 'Overwrite');
      if (answer !== 'Overwrite') throw new vscode.CancellationError();
    }
    await this.write(document, document.uri);
  }

  private async write(document: CircuitDocument, uri: vscode.Uri): Promise<void> {
    const text = circuitText(document.circuit);
    await writeWhole(uri, text);
    if (uri.toString() === document.uri.toString()) this.disk.set(document, text);
  }

  saveCustomDocumentAs(document: CircuitDocument, destination: vscode.Uri): Promise<void> {
    return this.write(document, destination);
  }

  async revertCustomDocument(document: CircuitDocument): Promise<void> {
    const text = await readText(document.uri);
    document.reload(await this.server.request('attentionCircuits/parseCircuit', { path: document.uri.fsPath, text }));
    this.disk.set(document, text);
  }

  async backupCustomDocument(
    document: CircuitDocument,
    context: vscode.CustomDocumentBackupContext,
  ): Promise<vscode.CustomDocumentBackup> {
    await vscode.workspace.fs.writeFile(context.destination, Buffer.from(circuitText(document.circuit)));
    return {
      id: context.destination.toString(),
      delete: () => void vscode.workspace.fs.delete(context.destination).then(undefined, () => undefined),
    };
  }

  /** Opens a saved circuit beside, with a node selected. */
  async openAt(uri: vscode.Uri, node: string | null): Promise<void> {
    await vscode.commands.executeCommand('vscode.openWith', uri, CIRCUIT_EDITOR, vscode.ViewColumn.Beside);
    const document = [...this.open].find((d) => d.uri.toString() === uri.toString());
    if (document && node !== null) document.reveal(node);
  }

  private active(): CircuitDocument {
    const input = vscode.window.tabGroups.activeTabGroup.activeTab?.input;
    const uri = input instanceof vscode.TabInputCustom ? input.uri.toString() : '';
    const found = [...this.open].find((d) => d.uri.toString() === uri);
    if (!found) throw new NothingHere('open a saved circuit (*.circuit.json) first.');
    return found;
  }

  /** Computes the active circuit again: compares with the stored numbers, and offers to replace them. */
  async check(): Promise<void> {
    const document = this.active();
    const r = await this.server.request('attentionCircuits/checkCircuit', { circuit: document.circuit });
    const name = vscode.workspace.asRelativePath(document.uri);
    const summary =
      r.differences.length === 0
        ? `${r.numbers} numbers of ${name} are as stored.`
        : `${r.differences.length} of ${r.numbers} numbers of ${name} differ.`;
    const show = 'Show';
    const replace = 'Replace Stored Numbers';
    const choices = r.differences.length === 0 && r.identity.length === 0 ? [show] : [show, replace];
    const answer = await vscode.window.showInformationMessage(
      [summary, ...r.identity].join(' Note: '),
      { modal: true },
      ...choices,
    );
    if (answer === replace) await document.recompute();
    if (answer === show) {
      const content = tableOf(r, name);
      await vscode.window.showTextDocument(
        await vscode.workspace.openTextDocument({ language: 'markdown', content }),
        vscode.ViewColumn.Beside,
      );
    }
  }
}
