/** From a model's name to its features: tiny weights in the published layouts and under their names, fetched from a hub on loopback. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { HubEntry } from '../../server/protocol/hub';
import { cli, CLI } from '../support/cli';
import { type HubServer, startHub } from '../support/hubServer';
import { publishedRef, publishedRepos } from '../support/published';

const dir = mkdtempSync(join(tmpdir(), 'hub-cli-'));
const env = { HF_HOME: dir, HF_HUB_CACHE: join(dir, 'hub'), HF_TOKEN: '', HTTP_PROXY: '', http_proxy: '' };
const SETS = ['gpt2-small-hook-z-kk', 'gpt2-small-res-jb', 'gpt2-small-transcoders-dunefsky'];
const JSON_ON_CPU = ['--provider', 'cpu', '--json'];
let hub: HubServer;
beforeAll(async () => {
  hub = await startHub(publishedRepos());
});
afterAll(async () => {
  await hub.close();
  rmSync(dir, { recursive: true });
});

const entries = async (): Promise<HubEntry[]> =>
  (JSON.parse((await cli(['models', '--json'], env)).stdout) as { entries: HubEntry[] }).entries;

test('models lists what can be had, without any request; what is not here is said where it is asked for', async () => {
  const listed = await cli(['models'], env);
  expect(listed.stdout).toMatch(/hub:gpt2 +GPT-2 Small +openai-community\/gpt2 +549 MB +about 549 MB to fetch/);
  expect(listed.stdout).toMatch(/hub:gpt2-small-hook-z-kk .* 2\.1\d GB/);
  const missing = await cli(['run', '--model', 'hub:gpt2', '--prompt', 'a', '--json'], env);
  expect([missing.code, missing.stderr]).toEqual([2, expect.stringMatching(/attention-circuits download gpt2/)]);
  expect(hub.requests).toEqual([]);
});

test('download says what it would do, does it, and goes on after being killed', async () => {
  const dry = await cli(['download', 'hub:gpt2', '--endpoint', hub.url, '--dry-run'], env);
  expect(dry.stdout).toMatch(/^would fetch 4 files/);
  expect(readdirSync(dir)).toEqual([]);
  // Half of the weights arrive, then the process is killed.
  const weights = publishedRepos()['openai-community/gpt2']['model.safetensors'];
  let half: () => void = () => undefined;
  const waiting = new Promise<void>((arrived) => (half = arrived));
  hub.misbehave = (asked, response) => {
    if (!asked.path.endsWith('model.safetensors') || asked.range === 'bytes=0-0') return false;
    response.writeHead(200, { 'content-length': weights.length });
    response.write(weights.subarray(0, weights.length >> 1), half);
    return true;
  };
  const child = spawn(process.execPath, [CLI, 'download', 'gpt2', '--endpoint', hub.url], {
    env: { ...process.env, ...env },
    stdio: 'ignore',
  });
  await waiting;
  const blobs = join(dir, 'hub', 'models--openai-community--gpt2', 'blobs');
  await expect.poll(() => readdirSync(blobs).filter((f) => f.endsWith('.incomplete'))).toHaveLength(1);
  child.kill('SIGKILL');
  await once(child, 'exit');
  hub.misbehave = null;
  const state = (await entries()).find((e) => e.name === 'gpt2');
  expect(state).toMatchObject({ here: 0 });
  const done = await cli(['download', 'gpt2', ...SETS, '--endpoint', hub.url], env);
  expect([done.code, done.stderr]).toEqual([0, expect.any(String)]);
  expect((await entries()).filter((e) => e.missingBytes === 0).map((e) => e.name)).toEqual(['gpt2', ...SETS]);
});

test.each(SETS)('%s by its name gives the activations that torch gives', async (set) => {
  const { text, tokens, feature_acts } = publishedRef();
  const r = await cli(
    ['activations', '--model', 'hub:gpt2', '--sae', `hub:${set}`, '--prompt', text, ...JSON_ON_CPU],
    env,
  );
  expect([r.code, r.stderr]).toEqual([0, '']);
  const got = JSON.parse(r.stdout) as {
    tokens: { id: number }[];
    sites: Record<string, { positions: { features: { index: number; activation: number }[] }[] }>;
  };
  expect(got.tokens.map((t) => t.id)).toEqual(tokens);
  expect(Object.keys(feature_acts[set]).length).toBeGreaterThan(1);
  for (const [site, want] of Object.entries(feature_acts[set])) {
    const dense = want.map((row) => row.map(() => 0));
    got.sites[site].positions.forEach(({ features }, s) => {
      for (const { index, activation } of features) dense[s][index] = activation;
    });
    want.forEach((row, s) => row.forEach((a, f) => expect(dense[s][f]).toBeCloseTo(a, 4)));
  }
});

test('all three sets together, one dictionary of a set, and a registry of one’s own', async () => {
  const { text } = publishedRef();
  const all = SETS.flatMap((s) => ['--sae', `hub:${s}`]);
  const root = ['--root', 'logit:" to"@14', '--depth', '2', ...JSON_ON_CPU];
  const tree = await cli(['tree', '--model', 'hub:gpt2', ...all, '--prompt', text, ...root], env);
  expect([tree.code, tree.stderr]).toEqual([0, '']);
  const one = ['--sae', 'hub:gpt2-small-hook-z-kk/blocks.5.hook_z'];
  const acts = await cli(['activations', '--model', 'hub:gpt2', ...one, '--prompt', text, '--json'], env);
  expect((JSON.parse(acts.stdout) as { sites: object }).sites).toHaveProperty(['blocks.5.attn.hook_z']);
  const own = join(dir, 'own.json');
  const mine = {
    name: 'mine',
    title: 'Mine',
    repo: 'openai-community/gpt2',
    files: ['config.json'],
    parameters: 1,
    bytes: 1,
  };
  writeFileSync(own, JSON.stringify({ format: 'attention-circuits-registry', version: 1, models: [mine] }));
  const listed = await cli(['models', '--registry', own], env);
  expect(listed.stdout).toMatch(/hub:mine +Mine .* here/);
  const run = await cli(['run', '--model', 'hub:mine', '--registry', own, '--prompt', text, ...JSON_ON_CPU], env);
  expect([run.code, run.stderr]).toEqual([0, '']);
});
