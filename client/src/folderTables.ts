/** Commands that make tables of folders for pandas: the features of every token, or what splicing keeps of every prompt. */
import * as vscode from 'vscode';
import type { FolderTable } from '../../server/protocol';
import { type Server } from './server';

interface Services {
  server: Server;
}

/** Asks for the texts and the file to write; makes the table and says what came of it. */
async function tabulate(s: Services, texts: string, ending: string, table: FolderTable): Promise<void> {
  const pick = { canSelectFolders: true, canSelectFiles: true, title: texts };
  const [folder] = (await vscode.window.showOpenDialog(pick)) ?? [];
  if (!folder) return;
  const out = await vscode.window.showSaveDialog({
    defaultUri: folder.with({ path: `${folder.path}.${ending}.parquet` }),
    filters: { Parquet: ['parquet'], CSV: ['csv'] },
    title: 'Table to write',
  });
  if (!out) return;
  const params = { folder: folder.fsPath, out: out.fsPath, table };
  const r = await s.server.request('attentionCircuits/tabulate', params);
  const left = r.skipped > 0 ? ` ${r.skipped} were left out (${r.reason ?? ''}).` : '';
  const size = `${r.rows.toLocaleString()} rows of ${r.contexts.toLocaleString()} contexts`;
  void vscode.window.showInformationMessage(`Attention Circuits: ${size} in ${out.fsPath}.${left}`);
}

const annotateFolder = (s: Services): Promise<void> =>
  tabulate(s, 'Texts to annotate', 'features', { type: 'features', top: 5 });

async function evaluateFolder(s: Services): Promise<void> {
  const kinds = ['attention', 'residual', 'transcoder'] as const;
  const kind = await vscode.window.showQuickPick(kinds, {
    title: 'Evaluate a folder of prompts',
    placeHolder: 'Which dictionaries are spliced in?',
  });
  const known = kinds.find((k) => k === kind);
  if (!known) return;
  const sections = await vscode.window.showInputBox({
    title: 'Sets of layers',
    prompt: 'Such as 0,3;5-6. Empty: each layer, then all.',
  });
  if (sections === undefined) return;
  await tabulate(s, 'Prompts to evaluate', 'evaluation', { type: 'evaluation', sections, kind: known });
}

export const FOLDER_COMMANDS = {
  'attentionCircuits.annotateFolder': annotateFolder,
  'attentionCircuits.evaluateFolder': evaluateFolder,
};
