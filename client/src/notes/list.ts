/** All notes of the workspace in one view: by file, filtered by words or a tag, opened by a click, exported. */
import * as vscode from 'vscode';
import type { Note, PlacedNote } from '../../../server/protocol/notes';
import { log } from '../log';
import { type PanelManager } from '../panels/manager';
import { type Server } from '../server';
import { NOTES_ENDING, promptFileOf, subjectOf, tagsOf } from './files';
import { type NoteThreads } from './threads';

interface FileItem {
  type: 'file';
  uri: vscode.Uri;
  notes: PlacedNote[];
  problem: string | null;
}
interface NoteItem {
  type: 'note';
  file: FileItem;
  placed: PlacedNote;
}
type Item = FileItem | NoteItem;

const MOST_FILES = 2000;

const matches = (n: Note, filter: string): boolean => {
  const wanted = filter.trim().toLowerCase();
  if (wanted === '') return true;
  if (wanted.startsWith('#')) return tagsOf(n).some((t) => t.toLowerCase() === wanted.slice(1));
  return [subjectOf(n), ...n.comments.map((c) => c.text)].some((t) => t.toLowerCase().includes(wanted));
};

const csvCell = (x: string): string => (/[",\r\n]/.test(x) ? `"${x.replaceAll('"', '""')}"` : x);
const markdownCell = (x: string): string => x.replace(/[\\`*_{}[\]<>#|]/g, '\\$&').replace(/\s*\n\s*/g, ' ');

/** Notes as a Markdown list by file. */
function asMarkdown(files: readonly FileItem[]): string {
  const lines = files.flatMap((f) => [
    `## ${markdownCell(vscode.workspace.asRelativePath(f.uri))}`,
    '',
    ...f.notes.flatMap(({ note, place }) => [
      `- **${markdownCell(subjectOf(note))}**${note.resolved ? ' (resolved)' : ''}${note.target.type === 'token' && !place ? ' (orphaned)' : ''}`,
      ...note.comments.map((c) => `  - ${markdownCell(c.text)} — ${markdownCell(c.author)}, ${c.at.slice(0, 10)}`),
    ]),
    '',
  ]);
  return ['# Notes', '', ...lines].join('\n');
}

/** Notes as CSV, one comment a row. */
function asCsv(files: readonly FileItem[]): string {
  const head = ['file', 'id', 'about', 'kind', 'state', 'tags', 'author', 'at', 'text'];
  const rows = files.flatMap((f) =>
    f.notes.flatMap(({ note, place }) => {
      const state = note.target.type === 'token' && !place ? 'orphaned' : note.resolved ? 'resolved' : 'open';
      return note.comments.map((c) => [
        vscode.workspace.asRelativePath(f.uri),
        note.id,
        subjectOf(note),
        note.target.type,
        state,
        tagsOf(note).join(' '),
        c.author,
        c.at,
        c.text,
      ]);
    }),
  );
  return [head, ...rows].map((r) => `${r.map(csvCell).join(',')}\r\n`).join('');
}

export class NotesList implements vscode.TreeDataProvider<Item>, vscode.Disposable {
  private readonly changed = new vscode.EventEmitter<void>();
  readonly onDidChangeTreeData = this.changed.event;
  private readonly view: vscode.TreeView<Item>;
  private filter = '';

  constructor(
    private readonly server: Server,
    private readonly panels: PanelManager,
    threads: NoteThreads,
  ) {
    this.view = vscode.window.createTreeView('attentionCircuits.notes', {
      treeDataProvider: this,
      showCollapseAll: true,
    });
    threads.onDidChange(() => this.changed.fire());
  }

  /** Shows the list anew. */
  refresh(): void {
    this.changed.fire();
  }

  /** All notes that pass the filter, by file. */
  async files(): Promise<FileItem[]> {
    const found = await vscode.workspace.findFiles(`**/*${NOTES_ENDING}`, '**/node_modules/**', MOST_FILES);
    const uris = found.sort((a, b) => a.path.localeCompare(b.path));
    const all = await Promise.all(uris.map((u) => this.read(u)));
    return all.filter((f) => f.notes.length > 0 || f.problem !== null);
  }

  private async read(uri: vscode.Uri): Promise<FileItem> {
    const text = await this.textOf(promptFileOf(uri));
    try {
      const params = { file: uri.fsPath, ...(text === null ? {} : { text }) };
      const r = await this.server.request('attentionCircuits/notes', params);
      return { type: 'file', uri, notes: r.notes.filter((n) => matches(n.note, this.filter)), problem: r.readOnly };
    } catch (e) {
      log().error(`notes: ${(e as Error).message}`);
      return { type: 'file', uri, notes: [], problem: (e as Error).message };
    }
  }

  private async textOf(uri: vscode.Uri): Promise<string | null> {
    const open = vscode.workspace.textDocuments.find((d) => d.uri.toString() === uri.toString());
    if (open) return open.getText();
    return vscode.workspace.fs.readFile(uri).then(
      (b) => Buffer.from(b).toString('utf8'),
      () => null,
    );
  }

  async getChildren(item?: Item): Promise<Item[]> {
    if (!item) {
      const files = await this.files();
      this.view.message = this.filter === '' ? undefined : `Only notes with ${this.filter}`;
      return files;
    }
    return item.type === 'file' ? item.notes.map((placed) => ({ type: 'note', file: item, placed })) : [];
  }

  getTreeItem(item: Item): vscode.TreeItem {
    if (item.type === 'file') {
      const name = vscode.workspace.asRelativePath(item.uri).slice(0, -NOTES_ENDING.length);
      const t = new vscode.TreeItem(name, vscode.TreeItemCollapsibleState.Expanded);
      t.iconPath = new vscode.ThemeIcon(item.problem === null ? 'note' : 'warning');
      t.description = item.problem ?? `${item.notes.length}`;
      t.tooltip = item.problem ?? item.uri.fsPath;
      return t;
    }
    const { note, place } = item.placed;
    const orphaned = note.target.type === 'token' && place === null;
    const t = new vscode.TreeItem(note.comments[0].text, vscode.TreeItemCollapsibleState.None);
    t.description = `${orphaned ? 'orphaned · ' : ''}${subjectOf(note)}`;
    t.tooltip = note.comments.map((c) => `${c.author}: ${c.text}`).join('\n');
    t.iconPath = new vscode.ThemeIcon(orphaned ? 'debug-disconnect' : note.resolved ? 'pass' : 'comment');
    t.command = { command: 'attentionCircuits.openNote', title: 'Open', arguments: [item] };
    t.contextValue = 'note';
    return t;
  }

  /** Goes to what a note is about. */
  async open(item: NoteItem): Promise<void> {
    const { note, place } = item.placed;
    const t = note.target;
    if (t.type === 'feature') return this.panels.open({ panel: 'feature', site: t.site, feature: t.feature });
    if (t.type === 'node')
      return this.panels.open({ panel: 'circuit', uri: null, prompt: t.prompt, root: t.root, select: t.node });
    const document = await vscode.workspace.openTextDocument(promptFileOf(item.file.uri));
    const selection = place && new vscode.Range(document.positionAt(place.start), document.positionAt(place.end));
    await vscode.window.showTextDocument(document, selection ? { selection } : {});
  }

  /** Asks which notes to show. */
  async askFilter(): Promise<void> {
    const tags = [...new Set((await this.files()).flatMap((f) => f.notes.flatMap((n) => tagsOf(n.note))))].sort();
    const filter = await vscode.window.showInputBox({
      title: 'Show only notes with',
      prompt: `Words, or a tag${
        tags.length > 0
          ? `: ${tags
              .slice(0, 20)
              .map((t) => `#${t}`)
              .join(' ')}`
          : ''
      }; empty for all`,
      value: this.filter,
    });
    if (filter === undefined) return;
    this.filter = filter.trim();
    this.refresh();
  }

  /** Saves the notes that are shown as Markdown or CSV. */
  async export(): Promise<void> {
    const files = await this.files();
    const folder = vscode.workspace.workspaceFolders?.[0]?.uri;
    const target = await vscode.window.showSaveDialog({
      defaultUri: folder ? vscode.Uri.joinPath(folder, 'notes.md') : vscode.Uri.file('notes.md'),
      filters: { Markdown: ['md'], CSV: ['csv'] },
    });
    if (!target) return;
    const text = target.path.endsWith('.csv') ? asCsv(files) : asMarkdown(files);
    await vscode.workspace.fs.writeFile(target, Buffer.from(text));
    await vscode.window.showTextDocument(target);
  }

  dispose(): void {
    this.view.dispose();
    this.changed.dispose();
  }
}

export type { NoteItem };
