/** Prompts beside experiment code: lenses' commands, selections, inserted scripts, links from comments to saved circuits. */
import * as vscode from 'vscode';
import type { AttributePromptArguments } from '../../server/protocol';
import type { CircuitEditors } from './circuits';
import { NothingHere } from './log';
import { type PanelManager } from './panels/manager';
import { type Server } from './server';

interface Services {
  server: Server;
  panels: PanelManager;
  circuits: CircuitEditors;
}

/** What makes it worth while to start the server for a Python document. */
const PROMPT_LIKE =
  /\b(to_tokens|to_str_tokens|run_with_cache|run_with_hooks|generate)\s*\(|#\s*(prompt\b|circuit:)|\b\w*(prompt|text|sentence)\w*\s*(:[^=\n]*)?=\s*[[({"'rRuU]/i;

/** Whether a document is Python with prompts in it, as far as can be told cheaply. */
export const hasPrompts = (d: vscode.TextDocument): boolean =>
  d.languageId === 'python' && PROMPT_LIKE.test(d.getText().slice(0, 500_000));

/** The tree of the likeliest next token of a prompt. */
async function attributePrompt(s: Services, args?: AttributePromptArguments): Promise<void> {
  if (!args) return attributeSelection(s);
  const { uri, prompt } = args;
  const { tokens, predictions } = await s.server.request('attentionCircuits/prompt', { prompt });
  const position = tokens.length - 1;
  const [next] = predictions[position];
  s.panels.open({ panel: 'circuit', uri, prompt, root: { type: 'logit', tokens: [next.id], position } });
}

/** The same for what is selected, in any file. */
async function attributeSelection(s: Services): Promise<void> {
  const editor = vscode.window.activeTextEditor;
  const text = editor?.document.getText(editor.selection) ?? '';
  if (!editor || text.trim() === '') throw new NothingHere('select the text of a prompt first.');
  await attributePrompt(s, { uri: editor.document.uri.toString(), prompt: { text, bos: true } });
}

/** The notebook and the cell that a document is, or null. */
function cellOf(uri: string): { notebook: vscode.NotebookDocument; index: number } | null {
  for (const notebook of vscode.workspace.notebookDocuments) {
    const cell = notebook.getCells().find((c) => c.document.uri.toString() === uri);
    if (cell) return { notebook, index: cell.index };
  }
  return null;
}

/** Puts a script where its prompt is: below the cell of a notebook, at the cursor of a Python file; else into a new file. */
export async function insertScript(text: string, from: string | null): Promise<void> {
  const cell = from === null ? null : cellOf(from);
  if (cell) {
    const data = new vscode.NotebookCellData(vscode.NotebookCellKind.Code, text, 'python');
    const edit = new vscode.WorkspaceEdit();
    edit.set(cell.notebook.uri, [vscode.NotebookEdit.insertCells(cell.index + 1, [data])]);
    await vscode.workspace.applyEdit(edit);
    return;
  }
  const open = vscode.window.visibleTextEditors.filter((e) => e.document.languageId === 'python');
  const editor = open.find((e) => e.document.uri.toString() === from) ?? open.at(0);
  if (editor) await editor.edit((b) => b.insert(editor.selection.active, text));
  else
    await vscode.window.showTextDocument(
      await vscode.workspace.openTextDocument({ language: 'python', content: text }),
    );
}

const LINK = /(?:#|<!--|\/\/)\s*circuit:\s*(\S+\.circuit\.json)(?:#(\S+))?/g;

/** Links from comments such as `# circuit: ioi.circuit.json#node`. */
export const circuitLinks: vscode.DocumentLinkProvider = {
  provideDocumentLinks(document) {
    return [...document.getText().matchAll(LINK)].map((m) => {
      const [whole, file, node] = m;
      const start = m.index + whole.indexOf(file);
      const range = new vscode.Range(document.positionAt(start), document.positionAt(m.index + whole.length));
      const args = encodeURIComponent(JSON.stringify([{ from: document.uri.toString(), file, node: node ?? null }]));
      const link = new vscode.DocumentLink(range, vscode.Uri.parse(`command:attentionCircuits.openCircuit?${args}`));
      link.tooltip = node === undefined ? 'Open the saved circuit' : 'Open the saved circuit at this node';
      return link;
    });
  },
};

/** Opens a saved circuit, at a node if one is given. Paths are those of the comment: beside its file, or from the workspace folder. */
async function openCircuit(s: Services, args?: { from: string; file: string; node: string | null }): Promise<void> {
  if (!args) throw new NothingHere('follow a comment such as "# circuit: ioi.circuit.json".');
  const from = vscode.Uri.parse(args.from);
  const folders = (vscode.workspace.workspaceFolders ?? []).map((f) => f.uri);
  const beside = from.with({ scheme: from.scheme === 'vscode-notebook-cell' ? 'file' : from.scheme, fragment: '' });
  const candidates = [
    vscode.Uri.joinPath(beside, '..', args.file),
    ...folders.map((f) => vscode.Uri.joinPath(f, args.file)),
  ];
  for (const uri of candidates) {
    const there = await vscode.workspace.fs.stat(uri).then(
      () => true,
      () => false,
    );
    if (there) return s.circuits.openAt(uri, args.node);
  }
  throw new NothingHere(`there is no ${args.file} beside the file or in the workspace folder.`);
}

export const CODE_COMMANDS = {
  'attentionCircuits.attributePrompt': attributePrompt,
  'attentionCircuits.attributeSelection': attributeSelection,
  'attentionCircuits.openCircuit': openCircuit,
};
