/** Notes on tokens, features and tree nodes, as they lie in `*.notes.jsonl` and cross the wire. */
import type { PromptRef, RootRef } from './tree';

export const NOTES_VERSION = 1;

/** Where a note on tokens belongs: what the tokens say and what stands around them, in which prompt. */
export interface TokenAnchor {
  type: 'token';
  /** The prompt's @name, where it has one. */
  prompt: string | null;
  /** UTF-16 offset in the prompt's text when it was last found. */
  start: number;
  text: string;
  before: string;
  after: string;
}

export type NoteTarget =
  | TokenAnchor
  | { type: 'feature'; site: string; feature: number }
  | { type: 'node'; prompt: PromptRef; root: RootRef; node: string; label: string };

export interface NoteComment {
  author: string;
  /** ISO 8601. */
  at: string;
  text: string;
}

/** One line of a notes file. Tags are the words after # in its comments. */
export interface Note {
  v: number;
  id: string;
  target: NoteTarget;
  resolved: boolean;
  comments: NoteComment[];
}

/** A note with its place in a text: UTF-16 offsets, or null for what is not about tokens or is orphaned. */
export interface PlacedNote {
  note: Note;
  place: { start: number; end: number } | null;
}

export interface NotesResult {
  notes: PlacedNote[];
  /** Why the file must not be written. */
  readOnly: string | null;
}

export type NoteChange =
  | { type: 'add'; target: NoteTarget; comment: NoteComment }
  | { type: 'edit'; was: NoteComment; text: string }
  | { type: 'remove'; was: NoteComment }
  | { type: 'delete' }
  | { type: 'resolve'; resolved: boolean }
  | { type: 'anchor'; target: NoteTarget };
