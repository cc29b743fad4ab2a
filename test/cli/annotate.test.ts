/** A folder annotated for pandas: every row is what the engine says of that token; interrupted anywhere, the result is the same. */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, statSync, writeFileSync } from 'node:fs';
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
