/** Where notes lie, and what they say in one line. */
import { randomBytes } from 'node:crypto';
import { userInfo } from 'node:os';
import * as vscode from 'vscode';
import type { Note } from '../../../server/protocol/notes';

export const NOTES_ENDING = '.notes.jsonl';

/** The notes file beside a prompt file. */
export const sidecarOf = (document: vscode.Uri): string => `${document.fsPath}${NOTES_ENDING}`;

/** The prompt file that a notes file belongs to. */
export const promptFileOf = (notes: vscode.Uri): vscode.Uri =>
  notes.with({ path: notes.path.slice(0, -NOTES_ENDING.length) });

/** The workspace's notes on features and tree nodes, or null without a folder. */
export function workspaceNotes(): string | null {
  const [folder] = vscode.workspace.workspaceFolders ?? [];
  return folder ? vscode.Uri.joinPath(folder.uri, '.attention-circuits', 'features.notes.jsonl').fsPath : null;
}

export const newId = (): string => randomBytes(6).toString('hex');

/** The name that a comment is signed with. */
export function author(): string {
  try {
    return userInfo().username;
  } catch {
    return '';
  }
}

/** Words after # in a note's comments. */
export const tagsOf = (n: Note): string[] => [
  ...new Set(n.comments.flatMap((c) => [...c.text.matchAll(/(?<![\w#])#([\p{L}\p{N}_-]+)/gu)].map((m) => m[1]))),
];

/** What a note is about. */
export function subjectOf({ target: t }: Note): string {
  if (t.type === 'token') return `‘${t.text}’${t.prompt === null ? '' : ` in ${t.prompt}`}`;
  return t.type === 'feature' ? `${t.site}/${t.feature}` : t.label;
}
