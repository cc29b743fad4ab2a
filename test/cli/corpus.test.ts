/** Feature dashboards from the command line, and an index that survives being killed. */
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { FeatureDashboard, FoundFeature } from '../../server/src/corpus';
import { CLI, cli, tiny } from '../support/cli';

const dir = mkdtempSync(join(tmpdir(), 'texts-'));
const cache = mkdtempSync(join(tmpdir(), 'cache-'));
const env = { ATTENTION_CIRCUITS_CACHE: cache };
const SENTENCE = 'When John and Mary went to the shops, John gave the bag to Mary. ';
writeFileSync(join(dir, 'story.txt'), SENTENCE.repeat(60));
const options = ['--model', 'demo', '--corpus', dir, '--context', '16'];
const feature = ['feature', ...options, '--feature', 'blocks.2.attn.hook_z/74'];

test('killed while it builds, then built: the dashboard is there, and what is left beside it is gone', async () => {
  const child = spawn(process.execPath, [CLI, 'index', ...options], {
    env: { ...process.env, ...env },
    stdio: 'ignore',
  });
  const corpora = join(cache, 'corpora');
  const begun = (): boolean => existsSync(corpora) && readdirSync(corpora).some((f) => f.endsWith('.building.db'));
  while (!begun()) await new Promise((r) => setTimeout(r, 20));
  const gone = new Promise((r) => child.on('close', r));
  child.kill('SIGKILL');
  await gone;
  const early = await cli(feature, env);
  expect(early.code).toBe(2);
  expect(early.stderr).toMatch(/has no index .* run attention-circuits index first/);
  const built = JSON.parse((await cli(['index', ...options, '--json'], env)).stdout) as { tokens: number };
  expect(readdirSync(corpora)).toHaveLength(1);
  const shown = JSON.parse((await cli([...feature, '--json'], env)).stdout) as {
    dashboard: FeatureDashboard;
    lens: { site: string; entries: unknown[] };
    headShares: number[];
  };
  expect(shown.dashboard.corpus.tokens).toBe(built.tokens);
  expect(shown.dashboard.active).toBeGreaterThan(0);
  expect(shown.dashboard.active).toBe(shown.dashboard.bins.reduce((n, b) => n + b.count, 0));
  expect(shown.lens.site).toBe('blocks.3.hook_resid_pre');
  expect(shown.headShares.reduce((a, b) => a + b, 0)).toBeCloseTo(1, 6);
}, 120_000);

test('as text and as CSV', async () => {
  const text = (await cli(feature, env)).stdout;
  expect(text).toMatch(/active at \d+ of \d+ tokens/);
  expect(text).toMatch(/story\.txt:1/);
  const rows = (await cli([...feature, '--csv'], env)).stdout.trim().split('\r\n');
  expect(rows[0]).toBe('kind,activation,file,line,position,text');
  expect(rows.slice(1).map((r) => r.split(',')[0])).toContain('interval');
});

test('search by text and by prompt', async () => {
  const search = async (...how: string[]): Promise<FoundFeature[]> => {
    const r = await cli(['search', ...options, ...how, '--json'], env);
    return (JSON.parse(r.stdout) as { features: FoundFeature[] }).features;
  };
  for (const f of await search('--text', 'shops', '--limit', '5')) expect(f.text).toContain('shops');
  const labels = join(dir, 'labels.jsonl');
  const label = {
    model: 'attention-circuits-demo',
    site: 'blocks.2.attn.hook_z',
    feature: 74,
    label: 'reads the Name',
  };
  writeFileSync(labels, `${JSON.stringify(label)}\n`);
  expect(await search('--label', 'name', '--labels', labels)).toMatchObject([{ site: label.site, feature: 74 }]);
  const fired = await search('--prompt', 'John gave the bag to', '--limit', '8');
  const strengths = fired.map((f) => f.activation ?? 0);
  expect(strengths).toHaveLength(8);
  expect([...strengths].sort((a, b) => b - a)).toEqual(strengths);
  expect((await cli(['search', ...options], env)).stderr).toMatch(/give one of --text, --label and --prompt/);
  expect((await cli(['search', ...options, '--text', 'x', '--json', '--csv'], env)).stderr).toMatch(/--json and --csv/);
});

test('a model without a tokenizer is refused by name', async () => {
  const r = await cli(['index', ...tiny.slice(0, -2), '--corpus', dir], env);
  expect(r.code).toBe(3);
  expect(r.stderr).toMatch(/needs a tokenizer/);
});
