import { readFileSync, statSync } from 'node:fs';
import { z } from 'zod';
import { type Note, NOTES_VERSION } from '../../protocol/notes';
import { InputFileError } from '../errors';
import { withLock, writeAtomically } from '../store';

const MAX_BYTES = 50e6;

const count = z.number().int().min(0);
const root = z.discriminatedUnion('type', [
  z.object({ type: z.literal('feature'), site: z.string(), feature: count, position: count }),
  z.object({ type: z.literal('logit'), tokens: z.array(count).min(1).max(2), position: count }),
]);
const target = z.discriminatedUnion('type', [
  z.looseObject({
    type: z.literal('token'),
    prompt: z.string().nullable(),
    start: count,
    text: z.string(),
    before: z.string(),
    after: z.string(),
  }),
  z.looseObject({ type: z.literal('feature'), site: z.string(), feature: count }),
  z.looseObject({
    type: z.literal('node'),
    prompt: z.object({ text: z.string(), bos: z.boolean() }),
    root,
    node: z.string(),
    label: z.string(),
  }),
]);
/** Keys that this version does not know are kept. */
const noteSchema = z.looseObject({
  v: z.number().int().min(1),
  id: z.string().min(1),
  target,
  resolved: z.boolean().default(false),
  comments: z.array(z.looseObject({ author: z.string(), at: z.string(), text: z.string() })).min(1),
});

interface Line {
  id: string;
  /** Null for a line of a newer version, which is kept as it is. */
  note: Note | null;
  text: string;
}

const versionOf = (value: unknown): number => {
  const v = typeof value === 'object' && value !== null ? (value as Record<string, unknown>).v : undefined;
  return typeof v === 'number' ? v : 0;
};

function lines(path: string, source: string): Line[] {
  return source.split('\n').flatMap((text, i): Line[] => {
    if (text.trim() === '') return [];
    if (/^(<{7}|={7}|>{7})/.test(text))
      throw new InputFileError(
        path,
        `line ${i + 1}: an unresolved merge; keep the lines of both sides and take the marks out`,
      );
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch {
      throw new InputFileError(path, `line ${i + 1}: not a JSON object`);
    }
    if (versionOf(value) > NOTES_VERSION) return [{ id: `newer ${i}`, note: null, text }];
    const parsed = noteSchema.safeParse(value);
    if (!parsed.success) {
      const [issue] = parsed.error.issues;
      throw new InputFileError(path, `line ${i + 1}: "${issue.path.join('.')}": ${issue.message}`);
    }
    return [{ id: parsed.data.id, note: parsed.data, text }];
  });
}

/** Order of notes: by what they are about and where, then by id; it does not depend on when they were written. */
function order(a: Note, b: Note): number {
  const key = ({ target: t }: Note): [string, number] => {
    if (t.type === 'token') return [`1 ${t.prompt ?? ''} ${t.prompt === null ? t.before : ''}`, t.start];
    return t.type === 'feature' ? [`2 ${t.site}`, t.feature] : [`3 ${t.prompt.text} ${t.node}`, 0];
  };
  const [x, y] = [key(a), key(b)];
  return x[0].localeCompare(y[0], 'en', { numeric: true }) || x[1] - y[1] || a.id.localeCompare(b.id);
}

/** The text of a notes file: one line a note, in a stable order. */
export const notesText = (notes: readonly Note[]): string =>
  [...notes]
    .sort(order)
    .map((n) => `${JSON.stringify(n)}\n`)
    .join('');

/** Notes of a file's text, several lines of one id (as a merge leaves them) as one; and why it must not be written. Throws InputFileError. */
export function parseNotes(path: string, source: string): { notes: Note[]; readOnly: string | null } {
  const all = lines(path, source);
  const merged = new Map<string, Note>();
  for (const { note } of all) {
    if (!note) continue;
    const have = merged.get(note.id);
    const said = new Set(have?.comments.map((c) => JSON.stringify(c)));
    merged.set(
      note.id,
      have
        ? {
            ...have,
            resolved: have.resolved && note.resolved,
            comments: [...have.comments, ...note.comments.filter((c) => !said.has(JSON.stringify(c)))].sort((a, b) =>
              a.at.localeCompare(b.at),
            ),
          }
        : note,
    );
  }
  const newer = all.filter((l) => l.note === null).length;
  const readOnly =
    newer > 0 ? `${newer} of its lines are of a newer version of this program, which would be lost` : null;
  return { notes: [...merged.values()], readOnly };
}

/** A notes file. Writes are atomic, under a lock, and change one note of what is on the disk then: two windows do not lose each other's edits. */
export class NotesFile {
  constructor(readonly path: string) {}

  /** Throws InputFileError. */
  read(): { notes: Note[]; readOnly: string | null } {
    const s = statSync(this.path, { throwIfNoEntry: false });
    if (!s) return { notes: [], readOnly: null };
    if (s.size > MAX_BYTES) throw new InputFileError(this.path, `has ${s.size} bytes, more than ${MAX_BYTES}`);
    return parseNotes(this.path, readFileSync(this.path, 'utf8'));
  }

  /** Changes the note of an id: gets it as it is on the disk (null if it is not), gives what it should be (null to remove it). */
  async change(id: string, to: (now: Note | null) => Note | null): Promise<Note | null> {
    return withLock(this.path, () => {
      const { notes, readOnly } = this.read();
      if (readOnly !== null) throw new InputFileError(this.path, `is not written: ${readOnly}`);
      const next = to(notes.find((n) => n.id === id) ?? null);
      const others = notes.filter((n) => n.id !== id);
      writeAtomically(this.path, notesText(next ? [...others, next] : others));
      return next;
    });
  }
}
