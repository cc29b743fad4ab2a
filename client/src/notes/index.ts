/** Notes: threads on tokens, notes on features and nodes, the list of all. */
import { existsSync } from 'node:fs';
import * as vscode from 'vscode';
import type { NoteComment, NoteTarget } from '../../../server/protocol/notes';
import { NothingHere } from '../log';
import { type Server } from '../server';
import { author, newId, workspaceNotes } from './files';
import { type NoteItem, type NotesList } from './list';
import { type NoteThreads } from './threads';

export { NotesList } from './list';
export { NoteThreads } from './threads';

interface Services {
  server: Server;
  threads: NoteThreads;
  notes: NotesList;
}

/** What has been written about a feature in the workspace, oldest first. Needs no model. */
export async function notesOn(server: Server, site: string, feature: number): Promise<NoteComment[]> {
  const file = workspaceNotes();
  if (file === null || !existsSync(file)) return [];
  const { notes } = await server.request('attentionCircuits/notes', { file });
  return notes
    .map((n) => n.note)
    .filter(({ target: t }) => t.type === 'feature' && t.site === site && t.feature === feature)
    .flatMap((n) => n.comments)
    .sort((a, b) => a.at.localeCompare(b.at));
}

/** Asks for a note on a feature or a node and keeps it in the workspace. */
async function noteOn(s: Services, target?: NoteTarget): Promise<void> {
  if (!target) return s.threads.addHere();
  const file = workspaceNotes();
  if (file === null) throw new NothingHere('open a folder first: notes are kept in it.');
  const about = target.type === 'feature' ? `${target.site}/${target.feature}` : 'label' in target ? target.label : '';
  const text = await vscode.window.showInputBox({ title: `Note on ${about}`, prompt: 'Words after # are tags' });
  if (text === undefined || text.trim() === '') return;
  const comment = { author: author(), at: new Date().toISOString(), text };
  await s.server.request('attentionCircuits/changeNote', {
    file,
    id: newId(),
    change: { type: 'add', target, comment },
  });
  s.notes.refresh();
}

/** Commands about notes; those of comment threads are called with them. */
export const NOTE_COMMANDS = {
  'attentionCircuits.addNote': noteOn,
  'attentionCircuits.saveNote': (s: Services, reply: vscode.CommentReply): unknown => s.threads.add(reply),
  'attentionCircuits.deleteComment': (s: Services, c: vscode.Comment): unknown => s.threads.remove(c),
  'attentionCircuits.deleteNote': (s: Services, t: vscode.CommentThread): unknown => s.threads.removeThread(t),
  'attentionCircuits.editComment': (s: Services, c: vscode.Comment): unknown => s.threads.edit(c, true),
  'attentionCircuits.saveComment': (s: Services, c: vscode.Comment): unknown => s.threads.saveEdit(c),
  'attentionCircuits.cancelComment': (s: Services, c: vscode.Comment): unknown => s.threads.edit(c, false),
  'attentionCircuits.resolveNote': (s: Services, t: vscode.CommentThread): unknown => s.threads.resolve(t, true),
  'attentionCircuits.reopenNote': (s: Services, t: vscode.CommentThread): unknown => s.threads.resolve(t, false),
  'attentionCircuits.openNote': (s: Services, item: NoteItem): unknown => s.notes.open(item),
  'attentionCircuits.filterNotes': (s: Services): unknown => s.notes.askFilter(),
  'attentionCircuits.exportNotes': (s: Services): unknown => s.notes.export(),
};
