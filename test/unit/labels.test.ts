/** The label file: readable diffs, nothing lost, merges seen. */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Labels, parseLabels } from '../../server/src/store';

const fresh = (): string => join(mkdtempSync(join(tmpdir(), 'labels-')), 'folder', 'labels.jsonl');

test('one line a feature in an order that does not depend on when it was labelled; an empty label removes it', async () => {
  const path = fresh();
  const labels = new Labels(path);
  expect(labels.of('m', 's', 1)).toBeUndefined();
  await labels.set('m', 'blocks.10.attn.hook_z', 3, 'late');
  await labels.set('m', 'blocks.2.attn.hook_z', 20, 'b');
  await labels.set('m', 'blocks.2.attn.hook_z', 3, ' a\n"quoted" ');
  expect(
    readFileSync(path, 'utf8')
      .trim()
      .split('\n')
      .map((l) => (JSON.parse(l) as { site: string; feature: number }).feature),
  ).toEqual([3, 20, 3]);
  expect(new Labels(path).of('m', 'blocks.2.attn.hook_z', 3)).toBe('a\n"quoted"');
  expect(labels.of('other model', 'blocks.2.attn.hook_z', 3)).toBeUndefined();
  await labels.set('m', 'blocks.2.attn.hook_z', 3, '');
  expect(labels.of('m', 'blocks.2.attn.hook_z', 3)).toBeUndefined();
  expect(readdirSync(dirname(path))).toEqual(['labels.jsonl']);
});

test('what another version or another hand wrote is kept', async () => {
  const path = fresh();
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(
    path,
    '{"model":"m","site":"s","feature":1,"label":"x","by":"me"}\n\n{"model":"m","site":"s","feature":2,"label":"y","tags":[1]}\n',
  );
  await new Labels(path).set('m', 's', 1, 'z');
  expect(parseLabels(path, readFileSync(path, 'utf8'))).toEqual([
    { model: 'm', site: 's', feature: 1, label: 'z', by: 'me' },
    { model: 'm', site: 's', feature: 2, label: 'y', tags: [1] },
  ]);
});

test('both sides of a merge are shown; an unresolved one and a damaged line are named and never written over', async () => {
  const path = fresh();
  mkdirSync(dirname(path), { recursive: true });
  const two =
    '{"model":"m","site":"s","feature":1,"label":"mine"}\n{"model":"m","site":"s","feature":1,"label":"theirs"}\n';
  writeFileSync(path, two);
  expect(new Labels(path).of('m', 's', 1)).toBe('mine | theirs');
  for (const [damage, message] of [
    ['<<<<<<< HEAD\n', /line 3: an unresolved merge/],
    ['{"model":"m"\n', /line 3: not a JSON object/],
    ['{"model":"m","site":"s","feature":-1,"label":"x"}\n', /line 3: expected/],
  ] as const) {
    writeFileSync(path, two + damage);
    expect(() => new Labels(path).of('m', 's', 1)).toThrow(message);
    await expect(new Labels(path).set('m', 's', 2, 'x')).rejects.toThrow(message);
    expect(readFileSync(path, 'utf8')).toBe(two + damage);
  }
});

test('any labels come back as they were set', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.record({ feature: fc.nat(5), label: fc.string({ unit: 'grapheme' }) }), { maxLength: 8 }),
      async (list) => {
        const labels = new Labels(fresh());
        const expected = new Map<number, string>();
        for (const { feature, label } of list) {
          await labels.set('m', 's', feature, label);
          expected.set(feature, label.trim());
        }
        for (const [feature, label] of expected)
          expect(labels.of('m', 's', feature)).toBe(label === '' ? undefined : label);
      },
    ),
    { numRuns: 20 },
  );
});

test('two windows on one file lose nothing', async () => {
  const path = fresh();
  const [a, b] = [new Labels(path), new Labels(path)];
  await Promise.all(Array.from({ length: 30 }, (_, i) => (i % 2 ? a : b).set('m', 's', i, `label ${i}`)));
  expect(parseLabels(path, readFileSync(path, 'utf8'))).toHaveLength(30);
});

test('a file with lines of a newer version is read and never written', async () => {
  const path = fresh();
  mkdirSync(dirname(path), { recursive: true });
  const text = '{"v":2,"model":"m","site":"s","feature":1,"label":"known","colour":"red"}\n';
  writeFileSync(path, text);
  const labels = new Labels(path);
  expect(labels.of('m', 's', 1)).toBe('known');
  await expect(labels.set('m', 's', 2, 'x')).rejects.toThrow(/newer version/);
  expect(readFileSync(path, 'utf8')).toBe(text);
});
