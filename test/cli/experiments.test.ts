/** The experiments from the command line: on the conformance checkpoint by token ids, and refused by name where text is needed. */
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { NodeJson } from '../../server/src/attribution';
import type { ExperimentResult } from '../../server/src/experiments';
import { cli, tiny, tinyJson } from '../support/cli';

const ANSWERS = ['--answer', '5', '--distractor', '9'];

describe('by token ids, without a tokenizer', () => {
  test('direct logit attribution is the tree’s value, and its sums hold', async () => {
    const r = await tinyJson<ExperimentResult>('dla', ...ANSWERS);
    const last = Number(tiny[tiny.length - 1].split(',').length) - 1;
    const { root } = await tinyJson<{ root: NodeJson }>(
      'tree',
      '--root',
      `logitdiff:5|9@${last}`,
      '--view',
      'component',
    );
    const [components] = r.tables;
    const at = components.columns.findIndex((c) => c.key === 'mean');
    expect(components.rows.reduce((s, row) => s + Number(row[at]), 0)).toBeCloseTo(root.value, 3);
    for (const c of r.checks) expect(c.miss).toBeLessThan(c.limit);
  });

  test.each([
    ['evaluate', ['--error-term']],
    ['ablation', ['--site', '0', '--role', 'END', '--max-features', '3']],
    ['qk', ['--head', '1.0', '--from', '5', '--to', '2', '--minus', '3']],
    ['heads', ['--top', '2']],
    ['prefix', ['--head', '1.0', '--count', '2', '--longest', '2', '--length', '12']],
  ])('%s runs', async (id, options) => {
    const r = await tinyJson<ExperimentResult>(id, ...ANSWERS, ...options);
    expect(r.experiment).toBe(id);
    expect(r.tables[0].rows.length).toBeGreaterThan(0);
    for (const c of r.checks) expect(c.miss).toBeLessThan(c.limit);
  });

  test('two prompts are compared when both are given', async () => {
    const ids = tiny[tiny.length - 1];
    const options = [...tiny.slice(0, -1), `${ids};${ids}`, ...ANSWERS, '--json'];
    const r = JSON.parse((await cli(['compare', ...options])).stdout) as ExperimentResult;
    const at = r.tables[2].columns.findIndex((c) => c.key === 'difference');
    for (const row of r.tables[2].rows) expect(row[at]).toBe(0);
  });

  test.each([
    ['ioi', tiny.slice(0, -2), 3, /no tokenizer/],
    ['positional', tiny.slice(0, -2), 3, /no tokenizer/],
    ['noise', [...tiny, ...ANSWERS], 2, /has no position S2/],
    ['evaluate', tiny, 2, /no answer and distractor/],
    ['dla', tiny.slice(0, -2), 2, /needs prompts: give --file/],
  ])('%s says what it needs', async (id, options, code, message) => {
    const r = await cli([id, ...options]);
    expect(r.stderr).toMatch(message);
    expect(r.code).toBe(code);
    expect(r.stdout).toBe('');
  });
});

test('ioi writes a prompt file, which the experiments read; one table as CSV', async () => {
  const file = join(mkdtempSync(join(tmpdir(), 'ioi-')), 'ioi.prompts');
  expect((await cli(['ioi', '--model', 'demo', '--count', '4', '--seed', '2', '--out', file])).code).toBe(0);
  expect(readFileSync(file, 'utf8')).toMatch(/^# 4 sentences .*\n\n@name ABBA-1\n/);
  const r = await cli(['dla', '--model', 'demo', '--file', file, '--csv', 'lens']);
  const lines = r.stdout.trim().split('\r\n');
  expect(lines[0]).toBe('layer,after,mean,error');
  expect(lines).toHaveLength(6);
  const none = await cli(['dla', '--model', 'demo', '--file', file, '--csv', 'nothing']);
  expect([none.code, none.stderr]).toEqual([2, expect.stringContaining('there are components, heads, features, lens')]);
});

test('a prompt file that is not understood is refused with its line', async () => {
  const file = join(mkdtempSync(join(tmpdir(), 'ioi-')), 'bad.prompts');
  writeFileSync(file, 'John gave\n@wat\n');
  const r = await cli(['dla', '--model', 'demo', '--file', file]);
  expect(r.code).toBe(3);
  expect(r.stderr).toMatch(/line 2: unknown directive @wat/);
});
