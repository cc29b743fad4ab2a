import type { NoteChange } from '../../protocol';
import { type Note, NOTES_VERSION, type NotesResult, type NoteTarget } from '../../protocol/notes';
import { UsageError } from '../errors';
import { anchorAt, NotesFile, placeOf } from '../notes';
import { parsePrompts } from '../prompts';

/** Notes of a file, those on tokens with their places in a text. */
export function notesOf(file: string, text: string | undefined): NotesResult {
  const { notes, readOnly } = new NotesFile(file).read();
  const prompts = text === undefined ? [] : parsePrompts(text).prompts;
  const placed = notes.map((note) => ({
    note,
    place: note.target.type === 'token' ? placeOf(prompts, note.target) : null,
  }));
  return { notes: placed, readOnly };
}

/** The anchor of a range of a text. */
export const noteAnchor = (text: string, start: number, end: number): NoteTarget | null =>
  anchorAt(parsePrompts(text).prompts, start, end);

function apply(now: Note | null, id: string, c: NoteChange): Note | null {
  if (c.type === 'delete') return null;
  if (c.type === 'add') {
    if (now) return { ...now, comments: [...now.comments, c.comment] };
    return { v: NOTES_VERSION, id, target: c.target, resolved: false, comments: [c.comment] };
  }
  if (!now) throw new UsageError('the note is not there any more; it was removed elsewhere');
  if (c.type === 'resolve') return { ...now, resolved: c.resolved };
  if (c.type === 'anchor') return { ...now, target: c.target };
  const at = now.comments.findIndex((x) => x.at === c.was.at && x.author === c.was.author && x.text === c.was.text);
  if (at < 0) throw new UsageError('the comment has changed elsewhere; it was not written over');
  const comments = now.comments.flatMap((x, i) => (i !== at ? [x] : c.type === 'edit' ? [{ ...x, text: c.text }] : []));
  return comments.length === 0 ? null : { ...now, comments };
}

/** Changes one note on the disk. Throws UsageError for what was changed elsewhere, InputFileError. */
export const changeNote = (file: string, id: string, change: NoteChange): Promise<Note | null> =>
  new NotesFile(file).change(id, (now) => apply(now, id, change));
