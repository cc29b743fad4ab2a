/**
 * Scripts for TransformerLens and SAELens. Run against stand-ins of both (test/python/standins), which are a second implementation of the
 * model, its processing and the dictionaries: every number of every table must come out again.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { EXPERIMENTS } from '../../server/src/experiments';
import { cli } from '../support/cli';

const STANDINS = join(import.meta.dirname, '..', 'python', 'standins');
const python = ['python3', '/usr/bin/python3'].find((p) => spawnSync(p, ['-c', 'import torch']).status === 0);
if (!python) console.log('skipped: scripts are not run, because no python3 here has torch');

const dir = mkdtempSync(join(tmpdir(), 'scripts-'));
const HOSTILE = `John'''); import os; os.system("touch ${join(dir, 'owned')}") # \\ gave the bag to`;
const two = join(dir, 'two.prompts');
writeFileSync(
  two,
  ['John and Mary went to the shops, John', 'Mary and John went to the shops, John']
    .map((s) => `When ${s} gave the bag to\n-> " Mary" | " John"\n`)
    .join(''),
);
const hostile = join(dir, 'hostile.prompts');
writeFileSync(hostile, `${HOSTILE}\n`);

const RUNS: [string, ...string[]][] = [
  ['evaluate', '--ioi', '2'],
  ['evaluate', '--ioi', '2', '--kind', 'transcoder'],
  ['ablation', '--ioi', '2', '--max-features', '4'],
  ['ablation', '--ioi', '2', '--max-features', '2', '--union'],
  ['noise', '--ioi', '2'],
  ['noise', '--ioi', '2', '--corruption', 'names', '--hook', 'z'],
  ['positional', '--ioi', '4', '--count', '4', '--conjunctions', 'and', '--top', '5'],
  ['positional', '--ioi', '4', '--count', '4', '--conjunctions', 'and', '--top', '5', '--compare', 'side'],
  ['qk', '--ioi', '2'],
  ['path-patch', '--ioi', '2', '--input', 'key'],
  ['path-patch', '--ioi', '2', '--input', 'value'],
  ['heads', '--ioi', '1', '--top', '2'],
  ['prefix', '--count', '2', '--longest', '2', '--head', '2.3'],
  ['compare', '--file', two],
  ['dla', '--ioi', '2'],
];

test('every experiment is among those that are run', () => {
  expect([...new Set(RUNS.map(([id]) => id))].sort()).toEqual(EXPERIMENTS.map((e) => e.id).sort());
});

async function scriptOf(...args: string[]): Promise<string> {
  const r = await cli([args[0], '--model', 'demo', ...args.slice(1), '--python']);
  if (r.code !== 0) throw new Error(r.stderr);
  return r.stdout;
}

function runScript(source: string): { code: number | null; out: string } {
  const path = join(mkdtempSync(join(dir, 'script-')), 'script.py');
  writeFileSync(path, source);
  const env = { ...process.env, PYTHONPATH: STANDINS, PYTHONDONTWRITEBYTECODE: '1' };
  const r = spawnSync(python ?? '', [path], { encoding: 'utf8', env });
  return { code: r.status, out: r.stdout + r.stderr };
}

describe('a script names what it needs and carries no code from prompts', () => {
  test('versions in the header; the specification is one literal', async () => {
    const source = await scriptOf('dla', '--file', hostile);
    expect(source).toMatch(/transformer-lens==2\.\d+\.\d+ sae-lens==6\.\d+\.\d+/);
    const spec = /json\.loads\(r'''(.*)'''\)/.exec(source)?.[1] ?? '';
    expect(spec).not.toContain("'");
    expect(JSON.parse(spec)).toMatchObject({ cases: [{ name: '1' }] });
    expect((await cli(['dla', '--model', 'demo', '--ioi', '1', '--python', '--json'])).stderr).toMatch(/--python/);
  });
});

describe.skipIf(!python)('run against the stand-ins', () => {
  test.each(RUNS.map((r) => [r.slice(0, 7).join(' '), r] as const))('%s', { timeout: 120_000 }, async (_name, args) => {
    const r = runScript(await scriptOf(...args));
    expect(r.out).toMatch(/[1-9]\d* numbers compared, .* 0 beyond the tolerance/);
    expect(r.code).toBe(0);
  });

  test('generated sentences, and a hostile prompt', async () => {
    expect(runScript(await scriptOf('ioi', '--count', '3')).out).toMatch(/^.*3 numbers compared.* 0 beyond/m);
    expect(runScript(await scriptOf('dla', '--file', hostile)).out).toMatch(/ 0 beyond the tolerance/);
    expect(spawnSync('ls', [join(dir, 'owned')]).status).not.toBe(0);
  });

  test('a feature’s dashboard', { timeout: 120_000 }, async () => {
    const texts = mkdtempSync(join(dir, 'texts-'));
    writeFileSync(
      join(texts, 'story.txt'),
      'When John and Mary went to the shops, John gave the bag to Mary. '.repeat(5),
    );
    const corpus = ['--corpus', texts, '--context', '24'];
    await cli(['index', '--model', 'demo', ...corpus]);
    const source = await scriptOf('feature', ...corpus, '--feature', 'blocks.2.attn.hook_z/74');
    expect(runScript(source).out).toMatch(/[3-9]\d numbers compared, .* 0 beyond the tolerance/);
  });

  const PROMPT = ['--prompt', 'When John and Mary went to the shops, John gave the bag to'];
  test.each([
    [
      'a logit difference by components',
      ['--root', 'logitdiff:" Mary"|" John"@14', '--view', 'component', '--depth', '4', '--top', '3'],
    ],
    [
      'a logit by residual features and heads',
      ['--root', 'logit:" Mary"@14', '--view', 'residual', '--by', 'head', '--depth', '4', '--top', '3'],
    ],
    ['a transcoder feature', ['--root', 'blocks.0.ln2.hook_normalized/199@4', '--depth', '3', '--top', '4']],
    [
      'opaque attention',
      [
        '--root',
        'logitdiff:" Mary"|" John"@14',
        '--sae',
        'demo/saes/blocks.0.attn.hook_z',
        '--view',
        'component',
        '--depth',
        '3',
        '--top',
        '3',
      ],
    ],
  ])('the tree of %s', { timeout: 60_000 }, async (_name, options) => {
    const r = runScript(await scriptOf('tree', ...PROMPT, ...options));
    expect(r.out).toMatch(/[1-9]\d+ numbers compared, .* 0 beyond the tolerance/);
  });

  test('a wrong number is said to differ', async () => {
    const source = (await scriptOf('dla', '--ioi', '1')).replace(
      /"embedding":\{"mean":-?[\d.]+/,
      '"embedding":{"mean":9',
    );
    const r = runScript(source);
    expect(r.code).toBe(1);
    expect(r.out).toMatch(/embedding .* <- differs/);
  });
});
