import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { CancelledError } from '../../server/src/errors';
import { type CacheWriter, openCached } from '../../server/src/store';
import { cli, tiny } from '../support/cli';

let dir: string;
let source: string;
const before = process.env.ATTENTION_CIRCUITS_CACHE;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'attention-circuits-cache-'));
  source = join(dir, 'source');
  writeFileSync(source, 'weights');
  process.env.ATTENTION_CIRCUITS_CACHE = join(dir, 'cache');
});
afterEach(() => {
  process.env.ATTENTION_CIRCUITS_CACHE = before;
  rmSync(dir, { recursive: true, force: true });
});

const left = (): string[] => readdirSync(join(dir, 'cache'));
const put = (w: CacheWriter): Promise<void> => w.put('t', [2, 3], Float32Array.of(1, 2, 3, 4, 5, 6));

test('imports once, reads rows, and gives the hash of what was imported', async () => {
  let fills = 0;
  const fill = (w: CacheWriter): Promise<void> => (fills++, put(w));
  const a = await openCached('kind', [source], fill);
  const b = await openCached('kind', [source], fill);
  expect(fills).toBe(1);
  expect([...b.row('t', 1)]).toEqual([4, 5, 6]);
  expect(a.sha256).toBe(b.sha256);
  expect(a.sha256).toMatch(/^[0-9a-f]{64}$/);
});

test('a failed import leaves nothing', async () => {
  const fails = openCached('kind', [source], async (w) => {
    await put(w);
    throw new Error('damaged');
  });
  await expect(fails).rejects.toThrow('damaged');
  expect(left()).toEqual([]);
});

test('a cancelled import stops between pieces and leaves nothing', async () => {
  const controller = new AbortController();
  const big = openCached('kind', [source], (w) => w.put('t', [1 << 23], new Float32Array(1 << 23)), {
    signal: controller.signal,
    onProgress: () => controller.abort(),
  });
  await expect(big).rejects.toThrow(CancelledError);
  expect(left()).toEqual([]);
});

test('what a killed process left is swept by the next import', async () => {
  mkdirSync(join(dir, 'cache', '.import-999999999-aaaa'), { recursive: true });
  await openCached('kind', [source], put);
  expect(left().filter((n) => n.startsWith('.import'))).toEqual([]);
});

test('two processes that import the same files at once both succeed', async () => {
  const env = { ATTENTION_CIRCUITS_CACHE: join(dir, 'cache') };
  const both = await Promise.all([1, 2].map(() => cli(['activations', ...tiny, '--json'], env)));
  expect(both.map((r) => r.code)).toEqual([0, 0]);
  expect(both[0].stdout).toBe(both[1].stdout);
});
