import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import fc from 'fast-check';
import { UsageError } from '../../server/src/errors';
import { openTokenizer, type Tokenizer } from '../../server/src/tokenizer';

const DEMO = join(__dirname, '..', '..', 'demo', 'model');
const demo = openTokenizer(DEMO) as Tokenizer;

/** The same tokenizer as `vocab.json` and `merges.txt`. */
function asVocabAndMerges(): Tokenizer {
  const spec = JSON.parse(readFileSync(join(DEMO, 'tokenizer.json'), 'utf8')) as {
    model: { vocab: Record<string, number>; merges: string[] };
  };
  const dir = mkdtempSync(join(tmpdir(), 'attention-circuits-tokenizer-'));
  writeFileSync(join(dir, 'vocab.json'), JSON.stringify(spec.model.vocab));
  writeFileSync(join(dir, 'merges.txt'), `#version: 0.2\n${spec.model.merges.join('\n')}\n`);
  return openTokenizer(dir) as Tokenizer;
}

const text = fc.oneof(
  fc.string({ unit: 'grapheme' }),
  fc.string({ unit: 'binary' }),
  fc.constantFrom('When John and Mary', ' naïve café — 東京 🙂\n\t  x', "I'll we've  don't 123abc", 'שלום עליכם', 'é́'),
);

describe('tokens of any text', () => {
  test('their bytes spell the text and their ranges cover it in order', () => {
    fc.assert(
      fc.property(text, (t) => {
        const wellFormed = t.isWellFormed() ? t : t.toWellFormed();
        const tokens = demo.encode(wellFormed);
        const bytes = Buffer.concat(tokens.map((x) => Buffer.from(demo.bytes(x.id) ?? [])));
        expect(bytes.toString('utf8')).toBe(wellFormed);
        let at = 0;
        for (const x of tokens) {
          expect(x.start).toBeLessThanOrEqual(at);
          expect(x.end).toBeGreaterThan(x.start);
          at = Math.max(at, x.end);
        }
        expect(at).toBe(wellFormed.length);
      }),
    );
  });
  test('whole-character tokens cut the text exactly', () => {
    const t = 'When John and Mary went to the shops';
    expect(demo.encode(t).map((x) => t.slice(x.start, x.end))).toEqual([
      'When',
      ' John',
      ' and',
      ' Mary',
      ' went',
      ' to',
      ' the',
      ' shops',
    ]);
  });
  test('a character split over tokens gives each its range', () => {
    const t = 'a🙂b';
    const tokens = demo.encode(t);
    const inside = tokens.filter((x) => x.start === 1);
    expect(inside.length).toBeGreaterThan(1);
    expect(inside.every((x) => x.end === 3)).toBe(true);
    expect(demo.text(inside[0].id)).toBe('\ufffd');
  });
  test('vocab.json with merges.txt gives the same tokens as tokenizer.json', () => {
    const other = asVocabAndMerges();
    fc.assert(
      fc.property(text, (t) => {
        expect(other.encode(t.toWellFormed())).toEqual(demo.encode(t.toWellFormed()));
      }),
    );
  });
});

test('an answer of several tokens is refused with its tokens listed', () => {
  expect(demo.text(demo.single(' Mary'))).toBe(' Mary');
  expect(() => demo.single(' Zbigniew')).toThrow(UsageError);
  expect(() => demo.single(' Zbigniew')).toThrow(/" Zbigniew" is \d tokens: /);
});

test('the special token is one token', () => {
  expect(demo.encode('<|endoftext|>')).toEqual([{ id: 896, start: 0, end: 13 }]);
});
