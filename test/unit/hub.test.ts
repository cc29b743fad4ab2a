/**
 * Fetching from a hub, against a server of the Hub's protocol on loopback: what arrives is byte for byte what the server has, in the cache's
 * layout; whatever goes wrong leaves the old state or nothing, says what it was, and is gone on with.
 */
import { randomBytes } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { scanCacheDir } from '@huggingface/hub';
import { CancelledError, DownloadError, UsageError } from '../../server/src/errors';
import { Hub, HUB_PREFIX, readRegistry, resolveDictionaryNames, resolveModelName } from '../../server/src/hub';
import { type DownloadSeams } from '../../server/src/hub/download';
import { COMMIT, type HubServer, startHub } from '../support/hubServer';

const HOME = join(import.meta.dirname, '..', '..');
const WEIGHTS = randomBytes(3_000_000);
const REPOS = {
  'owner/model': {
    'config.json': Buffer.from('{"a": 1}'),
    'model.safetensors': WEIGHTS,
    'tokenizer.json': Buffer.from('{}'),
  },
  'owner/saes': { 'a.pt': randomBytes(20_000), 'a_cfg.json': Buffer.from('{}'), 'sub/b.pt': randomBytes(30_000) },
};
const REGISTRY = {
  format: 'attention-circuits-registry',
  version: 1,
  models: [
    {
      name: 'tiny',
      title: 'Tiny',
      repo: 'owner/model',
      files: ['config.json', 'model.safetensors'],
      optional: ['tokenizer.json', 'generation_config.json'],
      parameters: 750_000,
      bytes: WEIGHTS.length,
    },
  ],
  dictionarySets: [
    {
      name: 'tiny-saes',
      title: 'Tiny SAEs',
      model: 'tiny',
      kind: 'attention',
      repo: 'owner/saes',
      contract: { fold_ln: true, center_writing_weights: false, center_unembed: false, fold_value_biases: true },
      dictionaries: [
        { id: 'a', path: 'a.pt', files: ['a.pt', 'a_cfg.json'], parameters: 5000, neuronpedia: 'tiny/0-a' },
        { id: 'b', path: 'sub/b.pt', files: ['sub/b.pt'], parameters: 7500 },
      ],
    },
  ],
};

const dir = mkdtempSync(join(tmpdir(), 'hub-'));
const registryFile = join(dir, 'registry.json');
const before = { ...process.env };
let server: HubServer;
let cache: string;

beforeAll(async () => {
  writeFileSync(registryFile, JSON.stringify(REGISTRY));
  server = await startHub(REPOS);
});
afterAll(async () => {
  await server.close();
  rmSync(dir, { recursive: true });
});
beforeEach(() => {
  cache = mkdtempSync(join(dir, 'cache-'));
  process.env.HF_HUB_CACHE = cache;
  process.env.HF_HOME = cache;
  for (const name of ['HF_TOKEN', 'HF_HUB_OFFLINE', 'HF_ENDPOINT', 'HTTP_PROXY', 'http_proxy'])
    delete process.env[name];
});
afterEach(() => {
  server.misbehave = null;
  server.requests.length = 0;
  process.env = { ...before };
});

const hubWith = (seams: DownloadSeams = {}, settings: Partial<ConstructorParameters<typeof Hub>[1]> = {}): Hub =>
  new Hub(
    HOME,
    {
      registries: [registryFile],
      endpoint: server.url,
      offline: false,
      proxy: '',
      neuronpedia: server.url,
      ...settings,
    },
    { retryMs: 1, ...seams },
  );
const never = (): AbortSignal => new AbortController().signal;
const fetchAll = (hub: Hub, names: string[]): Promise<unknown> => hub.fetch(names, { signal: never() });
const stateOf = (hub: Hub, name: string): unknown => hub.entries().find((e) => e.name === name);
const filesOf = (repo: string): string => join(cache, `models--owner--${repo}`, 'snapshots', COMMIT);
const weights = (): string => join(filesOf('model'), 'model.safetensors');
/** Files of the cache that are neither whole nor names of whole ones. */
const parts = (): string[] =>
  readdirSync(cache, { recursive: true, encoding: 'utf8' }).filter((f) => /\.(incomplete|lock|tmp)/.test(f));

describe('what arrives', () => {
  test('is what the server has, in the layout of the Hub’s own cache; only what is missing is fetched', async () => {
    const hub = hubWith();
    expect(stateOf(hub, 'tiny')).toMatchObject({ here: 0, files: 2, missingBytes: WEIGHTS.length });
    expect(await hub.plan(['tiny'], never())).toMatchObject({ files: 3, bytes: WEIGHTS.length + 10, cache });
    expect(existsSync(join(cache, 'models--owner--model'))).toBe(false);
    const seen: number[] = [];
    await hub.fetch(['tiny', 'tiny-saes'], { signal: never(), onProgress: (done) => seen.push(done) });
    expect(readFileSync(weights()).equals(WEIGHTS)).toBe(true);
    expect(readFileSync(join(filesOf('saes'), 'sub', 'b.pt'))).toEqual(REPOS['owner/saes']['sub/b.pt']);
    expect(readFileSync(join(cache, 'models--owner--model', 'refs', 'main'), 'utf8')).toBe(COMMIT);
    expect(seen).toEqual([...seen].sort((a, b) => a - b));
    expect(seen.at(-1)).toBe(
      Object.values(REPOS)
        .flatMap((r) => Object.values(r))
        .reduce((n, b) => n + b.length, 0),
    );
    expect(parts()).toEqual([]);
    const scanned = await scanCacheDir(cache);
    expect(scanned.warnings).toEqual([]);
    expect(scanned.repos.map((r) => r.id.name).sort()).toEqual(['owner/model', 'owner/saes']);
    expect(stateOf(hub, 'tiny')).toMatchObject({ here: 2, missingBytes: 0 });

    server.requests.length = 0;
    expect(await hub.fetch(['tiny'], { signal: never() })).toMatchObject({ files: 0, bytes: 0 });
    expect(server.requests.some((r) => r.path.includes('/resolve/'))).toBe(false);
  });

  test('is found by name without any request; one of a set by NAME/ID', async () => {
    const hub = hubWith();
    expect(() => resolveModelName(hub.registry, 'hub:tiny')).toThrow(/hub:tiny is not on this machine.*download tiny/);
    await fetchAll(hub, ['tiny', 'tiny-saes/b']);
    server.requests.length = 0;
    expect(resolveModelName(hub.registry, 'hub:tiny')).toBe(filesOf('model'));
    expect(resolveModelName(hub.registry, '/some/folder')).toBe('/some/folder');
    expect(resolveDictionaryNames(hub.registry, ['x.pt', 'hub:tiny-saes/b'])).toEqual([
      { path: 'x.pt' },
      { path: join(filesOf('saes'), 'sub', 'b.pt'), contract: REGISTRY.dictionarySets[0].contract },
    ]);
    expect(() => resolveDictionaryNames(hub.registry, ['hub:tiny-saes'])).toThrow(/not on this machine/);
    expect(stateOf(hub, 'tiny-saes')).toMatchObject({ files: 3, here: 1, missingBytes: 20_000 });
    expect(server.requests).toEqual([]);
  });

  test('comes with the user’s token, and without one where there is none', async () => {
    process.env.HF_TOKEN = 'hf_abc';
    await fetchAll(hubWith(), ['tiny']);
    expect(new Set(server.requests.map((r) => r.authorization))).toEqual(new Set(['Bearer hf_abc']));
    delete process.env.HF_TOKEN;
    server.requests.length = 0;
    writeFileSync(join(cache, 'token'), 'hf_file\n');
    await hubWith().plan(['tiny-saes'], never());
    expect(server.requests[0].authorization).toBe('Bearer hf_file');
    rmSync(join(cache, 'token'));
    server.requests.length = 0;
    await hubWith().plan(['tiny-saes'], never());
    expect(server.requests[0].authorization).toBeNull();
    process.env.HF_TOKEN = 'sk-other';
    await expect(hubWith().plan(['tiny'], never())).rejects.toThrow(/does not begin with hf_/);
  });

  test('goes through the proxy that is set', async () => {
    const proxied = hubWith({}, { endpoint: 'http://127.0.0.1:45454', proxy: server.url });
    await expect(proxied.plan(['tiny'], never())).rejects.toThrow();
    expect(server.requests.map((r) => [r.method, r.path])).toContainEqual(['CONNECT', '127.0.0.1:45454']);
    process.env.HTTP_PROXY = server.url;
    server.requests.length = 0;
    await expect(hubWith({}, { endpoint: 'http://127.0.0.1:45454' }).plan(['tiny'], never())).rejects.toThrow();
    expect(server.requests).toHaveLength(1);
  });
});

describe('what goes wrong', () => {
  test('a connection that is cut, again and again, is gone on with where it was', async () => {
    let cuts = 0;
    const ranges: (string | null)[] = [];
    server.misbehave = (asked, response) => {
      if (!asked.path.endsWith('model.safetensors') || asked.range === 'bytes=0-0') return false;
      ranges.push(asked.range);
      if (cuts++ >= 4) return false;
      const from = Number(/bytes=(\d+)/.exec(asked.range ?? '')?.[1] ?? 0);
      response.writeHead(asked.range === null ? 200 : 206, { 'content-length': WEIGHTS.length - from });
      response.write(WEIGHTS.subarray(from, from + 600_000), () => setImmediate(() => response.destroy()));
      return true;
    };
    await fetchAll(hubWith(), ['tiny']);
    expect(readFileSync(weights()).equals(WEIGHTS)).toBe(true);
    expect(ranges).toHaveLength(5);
    const starts = ranges.map((r) => Number(/bytes=(\d+)/.exec(r ?? '')?.[1] ?? 0));
    expect(starts).toEqual([...starts].sort((a, b) => a - b));
    expect(starts[4]).toBeGreaterThan(0);
  });

  test('one that brings nothing more ends with the reason; what came is kept and used the next time', async () => {
    let sent = false;
    server.misbehave = (asked, response) => {
      if (!asked.path.endsWith('model.safetensors') || asked.range === 'bytes=0-0') return false;
      if (sent) return (response.destroy(), true);
      sent = true;
      response.writeHead(200, { 'content-length': WEIGHTS.length });
      response.write(WEIGHTS.subarray(0, 1_000_000), () => setImmediate(() => response.destroy()));
      return true;
    };
    const failed = await fetchAll(hubWith(), ['tiny']).catch((e: unknown) => e);
    expect(failed).toBeInstanceOf(DownloadError);
    expect((failed as Error).message).toMatch(/model\.safetensors: (the connection ends at byte|no connection)/);
    expect(existsSync(weights())).toBe(false);
    expect(existsSync(join(cache, 'models--owner--model', 'refs'))).toBe(false);
    const kept = join(cache, 'models--owner--model', 'blobs');
    const [part] = readdirSync(kept).filter((f) => f.endsWith('.incomplete'));
    const { size } = statSync(join(kept, part));
    expect(size).toBeGreaterThan(0);
    server.misbehave = null;
    server.requests.length = 0;
    expect(await hubWith().plan(['tiny'], never())).toMatchObject({ bytes: WEIGHTS.length - size + 2 });
    await fetchAll(hubWith(), ['tiny']);
    expect(readFileSync(weights()).equals(WEIGHTS)).toBe(true);
    expect(server.requests.map((r) => r.range)).toContain(`bytes=${size}-${WEIGHTS.length - 1}`);
  });

  test.each([
    [401, /may need a token/],
    [403, /may need a token/],
    [404, /no such repository/],
    [429, /too many requests/],
    [503, /the server failed/],
  ])('status %i is said with its meaning, and nothing is left', async (status, meaning) => {
    server.misbehave = (asked, response) => {
      if (!asked.path.includes('/resolve/')) return false;
      response.writeHead(status).end();
      return true;
    };
    const failed = (await fetchAll(hubWith(), ['tiny']).catch((e: unknown) => e)) as DownloadError;
    expect(failed).toBeInstanceOf(DownloadError);
    expect([failed.status, failed.code]).toEqual([status, 5]);
    expect(failed.message).toMatch(meaning);
    expect(failed.message).toContain(server.url);
    expect(existsSync(filesOf('model'))).toBe(false);
  });

  test('429 and failures of the server are waited for as they ask', async () => {
    let refused = 0;
    server.misbehave = (asked, response) => {
      if (!asked.path.endsWith('model.safetensors') || refused++ > 2) return false;
      response.writeHead(refused === 1 ? 429 : 502, { 'retry-after': '0' }).end();
      return true;
    };
    await fetchAll(hubWith(), ['tiny']);
    expect(readFileSync(weights()).equals(WEIGHTS)).toBe(true);
    expect(refused).toBeGreaterThan(3);
  });

  test('other bytes than the repository’s are removed', async () => {
    server.misbehave = (asked, response) => {
      if (!asked.path.endsWith('model.safetensors') || asked.range === 'bytes=0-0') return false;
      const other = Buffer.from(WEIGHTS);
      other[1_234_567] ^= 1;
      response.writeHead(200, { 'content-length': other.length }).end(other);
      return true;
    };
    await expect(fetchAll(hubWith(), ['tiny'])).rejects.toThrow(/not those of the repository.*removed/);
    expect(existsSync(weights())).toBe(false);
    expect(parts()).toEqual([]);
  });

  test('a size that differs, and a file that the repository lacks, are refused by name', async () => {
    server.misbehave = (asked, response) => {
      if (!asked.path.endsWith('model.safetensors')) return false;
      response.writeHead(206, { 'content-range': 'bytes 0-0/17', etag: '"x"' }).end('x');
      return true;
    };
    await expect(fetchAll(hubWith(), ['tiny'])).rejects.toThrow(/expected 3000000 bytes, the server has 17/);
    server.misbehave = (asked, response) => {
      if (!asked.path.includes('paths-info')) return false;
      response.writeHead(200, { 'content-type': 'application/json' }).end('[]');
      return true;
    };
    await expect(fetchAll(hubWith(), ['tiny'])).rejects.toThrow(/has no file config\.json/);
  });

  test('answers that are no hub’s', async () => {
    server.misbehave = (_asked, response) => (response.writeHead(200).end('<html>'), true);
    await expect(fetchAll(hubWith(), ['tiny'])).rejects.toThrow(/not the Hub's/);
    server.misbehave = (_asked, response) => (
      response.writeHead(200, { 'content-type': 'application/json' }).end('{"sha": "../../etc"}'),
      true
    );
    await expect(fetchAll(hubWith(), ['tiny'])).rejects.toThrow(/names no commit/);
  });

  test('too small a disk is said before anything is fetched; one that fills keeps no half file', async () => {
    await expect(fetchAll(hubWith({ free: () => 1e6 }), ['tiny'])).rejects.toThrow(/the disk has 0\.00 GB free/);
    expect(server.requests.some((r) => r.path.includes('/resolve/'))).toBe(false);
    const write = (): number => {
      throw Object.assign(new Error('no space'), { code: 'ENOSPC' });
    };
    await expect(fetchAll(hubWith({ write }), ['tiny'])).rejects.toThrow(/the disk is full/);
    expect(parts()).toEqual([]);
    expect(existsSync(weights())).toBe(false);
  });

  test('cancelled at any moment: the error is CancelledError, and the next one completes', async () => {
    for (const after of [/\/revision\//, /paths-info/, /resolve.*config\.json/, /resolve.*safetensors/]) {
      const controller = new AbortController();
      server.misbehave = (asked) => {
        if (after.test(asked.path)) controller.abort();
        return false;
      };
      await expect(hubWith().fetch(['tiny'], { signal: controller.signal })).rejects.toBeInstanceOf(CancelledError);
      expect(existsSync(join(cache, 'models--owner--model', 'refs'))).toBe(false);
    }
    server.misbehave = null;
    await fetchAll(hubWith(), ['tiny']);
    expect(readFileSync(weights()).equals(WEIGHTS)).toBe(true);
  });

  test('two at once fetch each file once', async () => {
    await Promise.all([fetchAll(hubWith(), ['tiny']), fetchAll(hubWith(), ['tiny'])]);
    const whole = server.requests.filter((r) => r.path.endsWith('model.safetensors') && r.range !== 'bytes=0-0');
    expect(whole).toHaveLength(1);
    expect(readFileSync(weights()).equals(WEIGHTS)).toBe(true);
  });

  test('offline, by setting or environment: no request; the hub must be encrypted or on this machine', async () => {
    await expect(hubWith({}, { offline: true }).plan(['tiny'], never())).rejects.toThrow(/offline/);
    process.env.HF_HUB_OFFLINE = '1';
    await expect(hubWith().plan(['tiny'], never())).rejects.toThrow(/offline/);
    expect(server.requests).toEqual([]);
    await expect(hubWith({}, { endpoint: 'http://example.org' }).plan(['tiny'], never())).rejects.toBeInstanceOf(
      UsageError,
    );
  });
});

describe('registries', () => {
  test('ours names the published models and sets, each file once', () => {
    const r = readRegistry([join(HOME, 'server', 'registry', 'registry.json')]);
    expect(r.models.map((m) => m.name)).toEqual(['gpt2', 'gpt2-medium', 'gpt2-large', 'gpt2-xl']);
    const [kk, res, tc] = r.dictionarySets;
    expect([kk, res, tc].map((s) => s.dictionaries.length)).toEqual([12, 13, 12]);
    // Layers 5 and 7 are twice as wide (reference weight-formats §6).
    const width = (d: { files: string[] }): string => /_ds(\d+)_/.exec(d.files[0])?.[1] ?? '';
    expect(kk.dictionaries.map(width)).toEqual(
      Array.from({ length: 12 }, (_, l) => (l === 5 || l === 7 ? '49152' : '24576')),
    );
    for (const s of r.dictionarySets) {
      const files = s.dictionaries.flatMap((d) => d.files);
      expect(new Set(files).size).toBe(files.length);
    }
  });

  test.each([
    [{ models: [{ ...REGISTRY.models[0], files: ['../x'] }] }, /models\.0\.files\.0.*inside the repository/],
    [{ models: [{ ...REGISTRY.models[0], repo: 'https://x' }] }, /expected OWNER\/NAME/],
    [{ version: 2 }, /version/],
  ])('a wrong entry is named', (change, message) => {
    const file = join(dir, 'wrong.json');
    writeFileSync(file, JSON.stringify({ ...REGISTRY, ...change }));
    expect(() => readRegistry([file])).toThrow(message);
  });

  test('names that do not exist list those that do', () => {
    const hub = hubWith();
    expect(() => resolveModelName(hub.registry, `${HUB_PREFIX}gpt3`)).toThrow(/there are gpt2, .*tiny/);
    expect(() => resolveDictionaryNames(hub.registry, [`${HUB_PREFIX}tiny-saes/c`])).toThrow(/it has a, b/);
  });
});
