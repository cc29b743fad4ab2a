/** Comment threads on tokens of prompt files, kept in the file beside. */
import * as vscode from 'vscode';
import { LANGUAGE } from '../../../server/protocol';
import type { Note, NoteComment, NoteTarget } from '../../../server/protocol/notes';
import { log, NothingHere, showError } from '../log';
import { type Server } from '../server';
import { author, newId, NOTES_ENDING, promptFileOf, sidecarOf, tagsOf } from './files';

const CONTROLLER = 'attentionCircuits.notes';
const SETTLE_MS = 300;

/** A comment as it is shown, with what it is in the file. */
class ShownComment implements vscode.Comment {
  mode = vscode.CommentMode.Preview;
  readonly author: vscode.CommentAuthorInformation;
  readonly timestamp: Date | undefined;
  body: string;

  constructor(
    readonly said: NoteComment,
    readonly thread: vscode.CommentThread,
  ) {
    this.author = { name: said.author };
    const at = new Date(said.at);
    this.timestamp = Number.isNaN(at.getTime()) ? undefined : at;
    this.body = said.text;
  }
}

interface Shown {
  thread: vscode.CommentThread;
  note: Note;
}

/** Shows the notes of open prompt files and carries out what is done with them. */
export class NoteThreads implements vscode.Disposable {
  private readonly controller: vscode.CommentController;
  /** Threads by document and note. */
  private readonly shown = new Map<string, Map<string, Shown>>();
  private readonly timers = new Map<string, NodeJS.Timeout>();
  private readonly changed = new vscode.EventEmitter<void>();
  /** Some notes file is another. */
  readonly onDidChange = this.changed.event;
  private readonly disposables: vscode.Disposable[];

  constructor(private readonly server: Server) {
    this.controller = vscode.comments.createCommentController(CONTROLLER, 'Notes');
    this.controller.options = { prompt: 'Add a note', placeHolder: 'A note; words after # are tags' };
    this.controller.commentingRangeProvider = {
      provideCommentingRanges: (d: vscode.TextDocument) =>
        d.languageId === LANGUAGE && d.uri.scheme === 'file' && d.lineCount > 0
          ? [new vscode.Range(0, 0, d.lineCount - 1, 0)]
          : [],
    };
    const watcher = vscode.workspace.createFileSystemWatcher(`**/*${NOTES_ENDING}`);
    const fileChanged = (uri: vscode.Uri): void => {
      this.changed.fire();
      const prompts = promptFileOf(uri).toString();
      for (const d of vscode.workspace.textDocuments) if (d.uri.toString() === prompts) this.soon(d);
    };
    this.disposables = [
      this.controller,
      watcher,
      watcher.onDidChange(fileChanged),
      watcher.onDidCreate(fileChanged),
      watcher.onDidDelete(fileChanged),
      vscode.workspace.onDidOpenTextDocument((d) => this.soon(d)),
      vscode.workspace.onDidChangeTextDocument((e) => this.soon(e.document)),
      vscode.workspace.onDidCloseTextDocument((d) => this.forget(d.uri.toString())),
      vscode.workspace.onDidSaveTextDocument((d) => void this.reanchor(d)),
    ];
    for (const d of vscode.workspace.textDocuments) this.soon(d);
  }

  private soon(d: vscode.TextDocument): void {
    if (d.languageId !== LANGUAGE || d.uri.scheme !== 'file') return;
    const key = d.uri.toString();
    clearTimeout(this.timers.get(key));
    this.timers.set(
      key,
      setTimeout(() => {
        this.show(d).catch((e: Error) => {
          log().error(`notes: ${e.message}`);
          void showError(e.message);
        });
      }, SETTLE_MS),
    );
  }

  private forget(key: string): void {
    clearTimeout(this.timers.get(key));
    this.timers.delete(key);
    for (const { thread } of this.shown.get(key)?.values() ?? []) thread.dispose();
    this.shown.delete(key);
  }

  /** Brings the threads of a document to where its notes belong now. */
  private async show(d: vscode.TextDocument): Promise<void> {
    if (d.isClosed) return;
    const file = sidecarOf(d.uri);
    const { notes, readOnly } = await this.server.request('attentionCircuits/notes', { file, text: d.getText() });
    if (d.isClosed) return;
    const key = d.uri.toString();
    const have = this.shown.get(key) ?? new Map<string, Shown>();
    this.shown.set(key, have);
    const left = new Set(have.keys());
    for (const { note, place } of notes) {
      left.delete(note.id);
      const range = place
        ? new vscode.Range(d.positionAt(place.start), d.positionAt(place.end))
        : new vscode.Range(0, 0, 0, 0);
      const known = have.get(note.id);
      const thread = known?.thread ?? this.controller.createCommentThread(d.uri, range, []);
      this.fill(thread, note, place === null, readOnly);
      if (!thread.range?.isEqual(range)) thread.range = range;
      have.set(note.id, { thread, note });
    }
    for (const id of left) {
      have.get(id)?.thread.dispose();
      have.delete(id);
    }
  }

  private fill(thread: vscode.CommentThread, note: Note, orphaned: boolean, readOnly: string | null): void {
    const tags = tagsOf(note).map((t) => `#${t}`);
    const about = note.target.type === 'token' ? `‘${note.target.text}’` : '';
    thread.label = [
      orphaned ? `Orphaned: ${about} is not in the file any more` : about,
      ...tags,
      ...(readOnly === null ? [] : [`read-only: ${readOnly}`]),
    ].join(' · ');
    thread.contextValue = `${note.resolved ? 'resolved' : 'open'}${orphaned ? ' orphaned' : ''}`;
    thread.state = note.resolved ? vscode.CommentThreadState.Resolved : vscode.CommentThreadState.Unresolved;
    thread.canReply = readOnly === null;
    const same =
      thread.comments.length === note.comments.length &&
      thread.comments.every((c, i) => c instanceof ShownComment && c.body === note.comments[i].text);
    if (!same) thread.comments = note.comments.map((c) => new ShownComment(c, thread));
    if (orphaned) thread.collapsibleState = vscode.CommentThreadCollapsibleState.Expanded;
  }

  private ofThread(thread: vscode.CommentThread): Shown | null {
    for (const of of this.shown.values()) for (const s of of.values()) if (s.thread === thread) return s;
    return null;
  }

  private document(thread: vscode.CommentThread): vscode.TextDocument {
    const d = vscode.workspace.textDocuments.find((x) => x.uri.toString() === thread.uri.toString());
    if (!d) throw new NothingHere('the prompt file is not open any more.');
    return d;
  }

  private async targetAt(d: vscode.TextDocument, range: vscode.Range): Promise<NoteTarget> {
    // A comment on a line as a whole is one on the word where it begins.
    const exact = range.isEmpty ? (d.getWordRangeAtPosition(range.start) ?? d.lineAt(range.start.line).range) : range;
    const params = { text: d.getText(), start: d.offsetAt(exact.start), end: d.offsetAt(exact.end) };
    const { target } = await this.server.request('attentionCircuits/noteAnchor', params);
    if (!target)
      throw new NothingHere('notes belong to tokens within one prompt: comments, directives and answers have none.');
    return target;
  }

  private async change(
    thread: vscode.CommentThread,
    id: string,
    change: Parameters<typeof this.server.request<'attentionCircuits/changeNote'>>[1]['change'],
  ): Promise<void> {
    await this.server.request('attentionCircuits/changeNote', { file: sidecarOf(thread.uri), id, change });
    await this.show(this.document(thread));
    this.changed.fire();
  }

  /** What was written is not lost when it cannot be kept. */
  private async keeping(text: string, job: () => Promise<void>): Promise<void> {
    try {
      await job();
    } catch (e) {
      if (e instanceof NothingHere) throw e;
      const copy = { title: 'Copy Text', run: () => vscode.env.clipboard.writeText(text) };
      await showError(`the note was not kept: ${(e as Error).message}`, copy);
    }
  }

  /** A reply, or the first comment of a new note. */
  add(reply: vscode.CommentReply): Promise<void> {
    return this.keeping(reply.text, () => this.put(reply));
  }

  private async put({ thread, text }: vscode.CommentReply): Promise<void> {
    const shown = this.ofThread(thread);
    const comment = { author: author(), at: new Date().toISOString(), text };
    if (shown) return this.change(thread, shown.note.id, { type: 'add', target: shown.note.target, comment });
    const target = await this.targetAt(this.document(thread), thread.range ?? new vscode.Range(0, 0, 0, 0));
    const id = newId();
    const key = thread.uri.toString();
    const of = this.shown.get(key) ?? new Map<string, Shown>();
    this.shown.set(key, of);
    of.set(id, { thread, note: { v: 1, id, target, resolved: false, comments: [comment] } });
    try {
      await this.change(thread, id, { type: 'add', target, comment });
    } catch (e) {
      of.delete(id);
      throw e;
    }
  }

  /** Begins a note on the selection. */
  addHere(): void {
    const editor = vscode.window.activeTextEditor;
    if (editor?.document.languageId !== LANGUAGE)
      throw new NothingHere('open a prompt file and select what the note is about.');
    const { document, selection } = editor;
    const range = selection.isEmpty ? (document.getWordRangeAtPosition(selection.start) ?? selection) : selection;
    const thread = this.controller.createCommentThread(document.uri, new vscode.Range(range.start, range.end), []);
    thread.collapsibleState = vscode.CommentThreadCollapsibleState.Expanded;
    thread.label = `‘${document.getText(range)}’`;
  }

  private need(thread: vscode.CommentThread): Note {
    const shown = this.ofThread(thread);
    if (!shown) throw new NothingHere('this note is not kept yet.');
    return shown.note;
  }

  async remove(comment: vscode.Comment): Promise<void> {
    if (!(comment instanceof ShownComment)) return;
    await this.change(comment.thread, this.need(comment.thread).id, { type: 'remove', was: comment.said });
  }

  async removeThread(thread: vscode.CommentThread): Promise<void> {
    const shown = this.ofThread(thread);
    if (!shown) return thread.dispose();
    await this.change(thread, shown.note.id, { type: 'delete' });
  }

  async resolve(thread: vscode.CommentThread, resolved: boolean): Promise<void> {
    await this.change(thread, this.need(thread).id, { type: 'resolve', resolved });
  }

  /** Puts a comment into editing, or out of it without a change. */
  edit(comment: vscode.Comment, editing: boolean): void {
    if (!(comment instanceof ShownComment)) return;
    const { thread, said } = comment;
    thread.comments = thread.comments.map((c) => {
      if (c !== comment) return c;
      const next = new ShownComment(said, thread);
      next.mode = editing ? vscode.CommentMode.Editing : vscode.CommentMode.Preview;
      return next;
    });
  }

  async saveEdit(comment: vscode.Comment): Promise<void> {
    if (!(comment instanceof ShownComment)) return;
    const { thread, said, body } = comment;
    this.edit(comment, false);
    await this.keeping(body, () => this.change(thread, this.need(thread).id, { type: 'edit', was: said, text: body }));
  }

  /** A saved prompt file takes its notes along: each remembers where its tokens stand and what is around them now. */
  private async reanchor(d: vscode.TextDocument): Promise<void> {
    const of = this.shown.get(d.uri.toString());
    if (!of || of.size === 0) return;
    try {
      const file = sidecarOf(d.uri);
      const text = d.getText();
      const { notes, readOnly } = await this.server.request('attentionCircuits/notes', { file, text });
      if (readOnly !== null) return;
      for (const { note, place } of notes) {
        if (!place || note.target.type !== 'token') continue;
        const { target } = await this.server.request('attentionCircuits/noteAnchor', { text, ...place });
        if (!target || JSON.stringify(target) === JSON.stringify(note.target)) continue;
        await this.server.request('attentionCircuits/changeNote', {
          file,
          id: note.id,
          change: { type: 'anchor', target },
        });
      }
    } catch (e) {
      log().error(`notes of ${d.uri.fsPath}: ${(e as Error).message}`);
    }
  }

  dispose(): void {
    for (const key of [...this.shown.keys()]) this.forget(key);
    for (const d of this.disposables) d.dispose();
    this.changed.dispose();
  }
}
