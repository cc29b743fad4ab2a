/** Published numbers against those of an installation: on the demo model, with numbers of a second implementation (test/python/demo_golden.py). */
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { VerifyRow } from '../../server/protocol/verify';
import { cli } from '../support/cli';

const GOLDEN = join(import.meta.dirname, '..', '..', 'server', 'golden');
const rowsOf = (stdout: string): VerifyRow[] => (JSON.parse(stdout) as { rows: VerifyRow[] }).rows;

test('every number of the demo model agrees, and every kind of check is among them', async () => {
  const r = await cli(['verify', '--model', 'demo', '--json']);
  const rows = rowsOf(r.stdout);
  expect(rows.filter((x) => x.outcome !== 'pass')).toEqual([]);
  expect(r.code).toBe(0);
  const kinds = (file: string): Set<string> =>
    new Set(
      (JSON.parse(readFileSync(join(GOLDEN, file), 'utf8')) as { rows: { check: { type: string } }[] }).rows.map(
        (x) => x.check.type,
      ),
    );
  expect(kinds('demo.json')).toEqual(kinds('gpt2-small.json'));
});

test('a number that differs is named, with exit code 4; a table may be given', async () => {
  const path = join(mkdtempSync(join(tmpdir(), 'golden-')), 'table.json');
  const table = JSON.parse(readFileSync(join(GOLDEN, 'demo.json'), 'utf8')) as {
    rows: { id: string; check: { expected: unknown } }[];
  };
  for (const row of table.rows) if (row.id === 'D2') row.check.expected = 99;
  writeFileSync(path, JSON.stringify(table));
  const r = await cli(['verify', '--model', 'demo', '--table', path]);
  expect(r.code).toBe(4);
  expect(r.stdout).toMatch(/✕ +D2 .*99\.0000/);
  expect(r.stdout).toMatch(/\d+ agree, 1 differ, 0 need files/);
  expect(r.stderr).toMatch(/1 number differs/);
});

test('rows whose files are not here say what they need; a damaged table is refused', async () => {
  const rows = rowsOf(
    (await cli(['verify', '--model', 'demo', '--table', join(GOLDEN, 'gpt2-small.json'), '--json'])).stdout,
  );
  expect(new Set(rows.map((x) => x.outcome))).toEqual(new Set(['missing']));
  expect(rows[0].needs).toMatch(/needs a model of 12 layers, 768 dimensions and 50257 tokens/);
  const few = await cli(['verify', '--model', 'demo', '--sae', 'demo/saes/blocks.0.attn.hook_z', '--json']);
  expect(
    rowsOf(few.stdout)
      .filter((x) => x.outcome === 'missing')
      .map((x) => x.needs),
  ).toContain('needs a dictionary on blocks.2.attn.hook_z');
  const path = join(mkdtempSync(join(tmpdir(), 'golden-')), 'table.json');
  writeFileSync(path, '{"name": "x", "model": {}, "rows": []}');
  const r = await cli(['verify', '--model', 'demo', '--table', path]);
  expect(r.code).toBe(3);
  expect(r.stderr).toMatch(/not a table of expected numbers: model\.n_layers/);
});
