/** Notes find their tokens again after edits, reordering and another tokenisation, or say that they are orphaned; nothing written is lost. */
import { type ChildProcess, fork } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { NoteChange } from '../../server/protocol';
import type { Note } from '../../server/protocol/notes';
import { InputFileError } from '../../server/src/errors';
import { changeNote } from '../../server/src/lsp/notes';
import { anchorAt, NotesFile, notesText, parseNotes, placeOf } from '../../server/src/notes';
import { parsePrompts } from '../../server/src/prompts';

const dir = mkdtempSync(join(tmpdir(), 'notes-'));
const FILE = `@name clean
When John and Mary went to the shops, John gave the bag to
@name corrupted
When Tom and Mary went to the shops, Anna gave the bag to
The cat sat on the mat and the dog sat on the rug
`;

const anchor = (source: string, text: string, nth = 0): NonNullable<ReturnType<typeof anchorAt>> => {
  let at = -1;
  for (let i = 0; i <= nth; i++) at = source.indexOf(text, at + 1);
  const a = anchorAt(parsePrompts(source).prompts, at, at + text.length);
  if (!a) throw new Error(`${text} is in no prompt`);
  return a;
};
/** The text around where an anchor is found. */
const around = (source: string, a: ReturnType<typeof anchor>): string | null => {
  const p = placeOf(parsePrompts(source).prompts, a);
  return p && `${source.slice(p.start - 6, p.start)}[${source.slice(p.start, p.end)}]${source.slice(p.end, p.end + 5)}`;
};
const note = (id: string, text = 'x'): Note => ({
  v: 1,
  id,
  target: anchor(FILE, ' Mary'),
  resolved: false,
  comments: [{ author: 'a', at: '2026-01-01T00:00:00.000Z', text }],
});

describe('anchors', () => {
  test('each range of a prompt is found again where it is, whichever it is', () => {
    const { prompts } = parsePrompts(FILE);
    fc.assert(
      fc.property(fc.constantFrom(...prompts), fc.nat(60), fc.integer({ min: 1, max: 12 }), (p, from, length) => {
        const start = p.start + Math.min(from, p.text.length - 1);
        const end = Math.min(start + length, p.start + p.text.length);
        const a = anchorAt(prompts, start, end);
        expect(a && placeOf(prompts, a)).toEqual({ start, end });
      }),
    );
  });

  test('the second John stays the second John when words before and after change', () => {
    const a = anchor(FILE, ' John', 1);
    const edited = FILE.replace('When John and Mary went', 'Yesterday, when John and Mary walked').replace(
      'the bag to',
      'the keys to',
    );
    expect(around(edited, a)).toBe('shops,[ John] gave');
  });

  test('prompts in another order, other lines between, and a name that changed', () => {
    const a = anchor(FILE, ' Anna');
    const [x, y] = [FILE.indexOf('@name corrupted'), FILE.indexOf('The cat')];
    const moved = `# new\n${FILE.slice(y)}${FILE.slice(x, y)}${FILE.slice(0, x)}`;
    expect(around(moved, a)).toBe('shops,[ Anna] gave');
    expect(around(FILE.replace('@name corrupted', '@name twin'), a)).toBe('shops,[ Anna] gave');
  });

  test('what is gone is orphaned, not put somewhere else; back again, it is found again', () => {
    const a = anchor(FILE, ' Anna');
    expect(around(FILE.replace(' Anna', ' Bea'), a)).toBeNull();
    // The same word in quite another prompt is not it.
    const b = anchor(FILE, ' the', 4);
    expect(around('I like the sea\n', b)).toBeNull();
    expect(around(FILE, a)).toBe('shops,[ Anna] gave');
  });

  test('comments, directives, answers and ranges over two prompts have no anchor', () => {
    const { prompts } = parsePrompts('# note\n@name a\none two\n-> " x"\nthree\n');
    for (const [start, end] of [
      [0, 4],
      [8, 12],
      [16, 40],
      [3, 3],
    ])
      expect(anchorAt(prompts, start, end)).toBeNull();
  });
});

describe('files', () => {
  test('one line a note, in an order that does not depend on when they were written; unknown keys stay', () => {
    const notes = ['b', 'c', 'a'].map((id) => ({ ...note(id), more: { kept: [1] } }));
    const text = notesText(notes);
    expect(text).toBe(notesText([...notes].reverse()));
    expect(text.split('\n')).toHaveLength(4);
    expect(notesText(parseNotes('x', text).notes)).toBe(text);
    expect(text).toContain('"more":{"kept":[1]}');
  });

  test('both sides of a merge count: other notes stay, comments on one note come together', () => {
    const [ours, theirs] = [note('a', 'ours'), note('a', 'theirs')];
    const { notes } = parseNotes('x', notesText([ours]) + notesText([theirs, note('b')]));
    expect(notes.map((n) => n.id)).toEqual(['a', 'b']);
    expect(notes[0].comments.map((c) => c.text)).toEqual(['ours', 'theirs']);
  });

  test('merge marks, lines that are none, and lines of a newer version: nothing is written', async () => {
    const path = join(dir, 'odd.notes.jsonl');
    const cases: [string, RegExp][] = [
      [`<<<<<<< ours\n${notesText([note('a')])}`, /line 1: an unresolved merge/],
      [`${notesText([note('a')])}{"v": 1}\n`, /line 2: "id"/],
      [`${notesText([note('a')])}not json\n`, /line 2: not a JSON object/],
    ];
    for (const [text, message] of cases) {
      writeFileSync(path, text);
      await expect(new NotesFile(path).change('b', () => note('b'))).rejects.toThrow(message);
      expect(readFileSync(path, 'utf8')).toBe(text);
    }
    const newer = `${notesText([note('a')])}{"v":2,"id":"z","holo":true}\n`;
    writeFileSync(path, newer);
    expect(new NotesFile(path).read()).toMatchObject({
      notes: [{ id: 'a' }],
      readOnly: expect.stringMatching(/newer version/) as string,
    });
    await expect(new NotesFile(path).change('b', () => note('b'))).rejects.toBeInstanceOf(InputFileError);
    expect(readFileSync(path, 'utf8')).toBe(newer);
  });

  test('two windows that write at the same time lose nothing of each other', async () => {
    const path = join(dir, 'two.notes.jsonl');
    const ids = Array.from({ length: 40 }, (_, i) => `n${i}`);
    const windows = [new NotesFile(path), new NotesFile(path)];
    await Promise.all(ids.map((id, i) => windows[i % 2].change(id, () => note(id))));
    expect(
      new NotesFile(path)
        .read()
        .notes.map((n) => n.id)
        .sort(),
    ).toEqual([...ids].sort());
  });
});

test('a change that is asked for twice, as after a crash before the answer, leaves the same as once', async () => {
  const file = join(dir, 'twice.notes.jsonl');
  const comment = { author: 'a', at: '2026-01-01T00:00:00.000Z', text: 'x' };
  const { target } = note('n');
  const changes: NoteChange[] = [
    { type: 'add', target, comment },
    { type: 'add', target, comment: { ...comment, at: '2026-01-02T00:00:00.000Z' } },
    { type: 'edit', was: comment, text: 'y' },
    { type: 'resolve', resolved: true },
    { type: 'remove', was: { ...comment, text: 'y' } },
    { type: 'remove', was: { ...comment, at: '2026-01-02T00:00:00.000Z' } },
    { type: 'delete' },
  ];
  for (const change of changes) {
    const once = await changeNote(file, 'n', change);
    const text = readFileSync(file, 'utf8');
    expect(await changeNote(file, 'n', change)).toEqual(once);
    expect(readFileSync(file, 'utf8')).toBe(text);
  }
  // What somebody else wrote meanwhile is not taken for it.
  await changeNote(file, 'n', { type: 'add', target, comment });
  await changeNote(file, 'n', { type: 'edit', was: comment, text: 'theirs' });
  await expect(changeNote(file, 'n', { type: 'edit', was: comment, text: 'mine' })).rejects.toThrow(
    'changed elsewhere',
  );
  await expect(changeNote(file, 'n', { type: 'remove', was: comment })).rejects.toThrow('changed elsewhere');
});

describe('a process that is killed while it writes', () => {
  const writer = join(import.meta.dirname, '..', 'support', 'writer.mjs');

  /** Starts a process that writes without end and tells of each write that is done; kills it after a while. */
  const killed = async (child: ChildProcess, afterMs: number): Promise<Set<string>> => {
    const told = new Set<string>();
    let gone = false;
    child.on('message', (id: string) => told.add(id));
    const exit = new Promise<void>((done) =>
      child.once('exit', () => {
        gone = true;
        done();
      }),
    );
    await new Promise<void>((done) => {
      child.once('message', () => setTimeout(done, afterMs));
      child.once('exit', () => done());
    });
    if (!gone) child.kill('SIGKILL');
    await exit;
    return told;
  };

  test(
    '200 times: each note and label that was reported is there, and nothing is half-written',
    { timeout: 300_000 },
    async () => {
      const notes = join(dir, 'killed.notes.jsonl');
      const labels = join(dir, 'killed-labels.jsonl');
      const reported = new Set<string>();
      // Four at once, so that locks of the dead are met by the living.
      for (let round = 0; round < 50; round++) {
        const children = [0, 1, 2, 3].map((k) =>
          killed(fork(writer, [notes, labels, `r${round}w${k}-`], { stdio: 'ignore' }), (round * 7 + k * 3) % 29),
        );
        for (const told of await Promise.all(children)) for (const id of told) reported.add(id);
        const { notes: now } = new NotesFile(notes).read();
        const have = new Set([
          ...now.map((n) => n.id),
          ...readFileSync(labels, 'utf8')
            .split('\n')
            .map((l) => (l === '' ? '' : (JSON.parse(l) as { label: string }).label)),
        ]);
        expect([...reported].filter((id) => !have.has(id))).toEqual([]);
      }
      expect(reported.size).toBeGreaterThan(200);
      expect(await new NotesFile(notes).change('last', () => note('last'))).toMatchObject({ id: 'last' });
      // What the dead left aside is small and is never taken for the file.
      expect(readdirSync(dir).filter((f) => f.startsWith('killed') && !/\.(tmp|lock|new)|\.\d+/.test(f))).toHaveLength(
        2,
      );
    },
  );
});
