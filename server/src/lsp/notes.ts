import type { NoteChange } from '../../protocol';
import { type Note, type NoteComment, NOTES_VERSION, type NotesResult, type NoteTarget } from '../../protocol/notes';
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

const sameComment = (a: NoteComment, b: NoteComment): boolean =>
  a.at === b.at && a.author === b.author && a.text === b.text;

/** A note after a change. The same change once more leaves it as it is: a client that got no answer asks again. */
function apply(now: Note | null, id: string, c: NoteChange): Note | null {
  if (c.type === 'delete') return null;
  if (c.type === 'add') {
    if (now?.comments.some((x) => sameComment(x, c.comment))) return now;
    if (now) return { ...now, comments: [...now.comments, c.comment] };
    return { v: NOTES_VERSION, id, target: c.target, resolved: false, comments: [c.comment] };
  }
  if (!now && c.type === 'remove') return null;
  if (!now) throw new UsageError('the note is not there any more; it was removed elsewhere');
  if (c.type === 'resolve') return { ...now, resolved: c.resolved };
  if (c.type === 'anchor') return { ...now, target: c.target };
  const at = now.comments.findIndex((x) => sameComment(x, c.was));
  const same = now.comments.find((x) => x.at === c.was.at && x.author === c.was.author);
  const done = c.type === 'edit' ? same?.text === c.text : same === undefined;
  if (at < 0 && done) return now;
  if (at < 0) throw new UsageError('the comment has changed elsewhere; it was not written over');
  const comments = now.comments.flatMap((x, i) => (i !== at ? [x] : c.type === 'edit' ? [{ ...x, text: c.text }] : []));
  return comments.length === 0 ? null : { ...now, comments };
}

/** Changes one note on the disk. Throws UsageError for what was changed elsewhere, InputFileError. */
export const changeNote = (file: string, id: string, change: NoteChange): Promise<Note | null> =>
  new NotesFile(file).change(id, (now) => apply(now, id, change));
