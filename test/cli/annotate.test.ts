/** A folder annotated for pandas: every row is what the engine says of that token; interrupted anywhere, the result is the same. */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parquetReadObjects } from 'hyparquet';
import { expect, test } from 'vitest';
import { cli, CLI } from '../support/cli';

const TEXT = 'When John and Mary went to the shops, John gave the bag to';
const dir = mkdtempSync(join(tmpdir(), 'annotate-'));
const corpus = join(dir, 'texts');
const CPU = ['--model', 'demo', '--provider', 'cpu'];
spawnSync('mkdir', [corpus]);
writeFileSync(join(corpus, 'a.prompts'), `${TEXT}\nThe bag, "the" shop\n`);
writeFileSync(
  join(corpus, 'b.jsonl'),
  Array.from({ length: 40 }, (_, i) => JSON.stringify({ text: `${TEXT} Mary. ${'John '.repeat(i)}` })).join('\n'),
);

const annotate = (out: string, ...more: string[]): ReturnType<typeof cli> =>
  cli(['annotate', ...CPU, '--corpus', corpus, '--out', out, '--top', '2', ...more]);

test('rows are the strongest features of each dictionary at each token; CSV and Parquet hold the same', async () => {
  const [csv, parquet] = [join(dir, 'a.csv'), join(dir, 'a.parquet')];
  const made = await annotate(csv, '--json');
  expect([made.code, made.stderr]).toEqual([0, '']);
  expect((await annotate(parquet)).code).toBe(0);
  const bytes = readFileSync(parquet);
  const file = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength);
  const rows = (await parquetReadObjects({ file })) as Record<string, string | number>[];
  const lines = readFileSync(csv, 'utf8').trimEnd().split('\r\n');
  expect(lines).toHaveLength(rows.length + 1);
  expect(lines[0]).toBe('file,line,position,token_id,token,site,layer,feature,activation,head,source_position');
  const acts = await cli(['activations', ...CPU, '--prompt', TEXT, '--json']);
  const site = 'blocks.2.attn.hook_z';
  const { sites } = JSON.parse(acts.stdout) as {
    sites: Record<string, { positions: { features: { index: number; activation: number }[] }[] }>;
  };
  for (const position of [1, 4, 14]) {
    const got = rows.filter(
      (r) => r.file === 'a.prompts' && r.line === 0 && r.site === site && r.position === position,
    );
    const want = sites[site].positions[position].features.slice(0, 2);
    expect(got.map((r) => r.feature)).toEqual(want.map((f) => f.index));
    got.forEach((r, i) => expect(r.activation).toBeCloseTo(want[i].activation, 9));
  }
});

test('killed, then run again: the same result, and nothing is left beside it', { timeout: 120_000 }, async () => {
  const whole = join(dir, 'whole.csv');
  expect((await annotate(whole)).code).toBe(0);
  const out = join(dir, 'killed.csv');
  for (const lines of [3, 12]) {
    const child = spawn(process.execPath, [CLI, 'annotate', ...CPU, '--corpus', corpus, '--out', out, '--top', '2'], {
      stdio: 'ignore',
    });
    const enough = (): boolean => existsSync(`${out}.part`) && statSync(`${out}.part`).size > lines * 20_000;
    await expect.poll(enough, { timeout: 30_000, interval: 5 }).toBe(true);
    child.kill('SIGKILL');
    await once(child, 'exit');
    expect(existsSync(out)).toBe(false);
  }
  expect((await annotate(out)).code).toBe(0);
  expect(readFileSync(out, 'utf8')).toBe(readFileSync(whole, 'utf8'));
  expect(existsSync(`${out}.part`)).toBe(false);
});

test('what it cannot write is refused before anything runs', async () => {
  expect(await annotate(join(dir, 'x.txt'))).toMatchObject({
    code: 2,
    stderr: expect.stringMatching(/\.csv or \.parquet/) as string,
  });
});

test('a folder of prompts evaluated: the means of its rows are what the experiment says; rows without answers have no difference', async () => {
  const folder = join(dir, 'prompts');
  mkdirSync(folder);
  const other = 'When Mary and Tom went to the park, Mary gave the key to';
  writeFileSync(
    join(folder, 'a.prompts'),
    `@name clean\n${TEXT}\n-> " Mary" | " John"\n${other}\n-> " Tom" | " Mary"\n`,
  );
  const file = join(folder, 'a.prompts');
  const out = join(dir, 'evaluated.csv');
  const run = (corpus: string): ReturnType<typeof cli> =>
    cli(['evaluate-folder', ...CPU, '--corpus', corpus, '--out', out, '--sections', '0;0-3', '--json']);
  expect(JSON.parse((await run(file)).stdout)).toMatchObject({ contexts: 2, rows: 4, skipped: 0 });
  const rows = (): Record<string, string>[] => {
    const [head, ...lines] = readFileSync(out, 'utf8').trimEnd().split('\r\n');
    const cells = (l: string): string[] =>
      [...l.matchAll(/("(?:[^"]|"")*"|[^,]*)(?:,|$)/g)].map((m) => m[1].replace(/^"|"$/g, ''));
    return lines.map((l) => Object.fromEntries(head.split(',').map((k, i) => [k, cells(l)[i]])));
  };
  const experiment = await cli(['evaluate', ...CPU, '--file', file, '--sections', '0;0-3', '--json']);
  const { tables } = JSON.parse(experiment.stdout) as {
    tables: { columns: { key: string }[]; rows: (string | number)[][] }[];
  };
  const [want] = tables;
  const mean = (layers: string, key: string): number => {
    const of = rows().filter((r) => r.layers === layers);
    return of.reduce((t, r) => t + Number(r[key]), 0) / of.length;
  };
  for (const row of want.rows) {
    const of = (key: string): number => Number(row[want.columns.findIndex((c) => c.key === key)]);
    const layers = String(row[0]);
    expect(mean(layers, 'logit_difference')).toBeCloseTo(of('ld'), 6);
    expect(mean(layers, 'zero_logit_difference')).toBeCloseTo(of('zero'), 6);
    expect(mean(layers, 'loss')).toBeCloseTo(of('loss'), 6);
    expect(mean(layers, 'kl')).toBeCloseTo(of('kl'), 6);
  }
  expect(want.rows).toHaveLength(2);

  const none = await cli(['evaluate-folder', '--model', 'demo', '--corpus', file, '--out', out, '--sections', '9']);
  expect(none).toMatchObject({ code: 2, stderr: expect.stringMatching(/layer 9 does not exist/) as string });
  const attention = join(import.meta.dirname, '..', '..', 'demo', 'saes', 'blocks.0.attn.hook_z');
  const args = ['--corpus', file, '--out', out, '--kind', 'residual'];
  expect(await cli(['evaluate-folder', ...CPU, '--sae', attention, ...args])).toMatchObject({
    code: 2,
    stderr: expect.stringMatching(/no residual dictionary on any layer/) as string,
  });

  const json = [{ prompt: TEXT, answer: ' Mary', distractor: ' John', name: 'j' }, { prompt: TEXT }, { text: TEXT }];
  writeFileSync(join(folder, 'b.jsonl'), json.map((j) => JSON.stringify(j)).join('\n'));
  writeFileSync(join(folder, 'c.txt'), TEXT);
  expect(JSON.parse((await run(folder)).stdout)).toMatchObject({ contexts: 4, rows: 8, skipped: 0 });
  const [clean, j, bare] = ['clean', 'j', ''].map((name) => rows().filter((r) => r.name === name && r.layers === '0'));
  expect(j[0].logit_difference).toBe(clean[0].logit_difference);
  const unnamed = bare.find((r) => r.file === 'b.jsonl');
  expect(unnamed).toMatchObject({ answer: '', logit_difference: '', kl: clean[0].kl });
});
