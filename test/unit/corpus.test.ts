/** Feature dashboards: counts against a count by hand, contexts that give their tokens again, interruption, and what is refused. */
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { binOf, Corpus, IndexFile, listCorpus, SiteStatistics, TOP } from '../../server/src/corpus';
import { activationAt, type FeatureActs } from '../../server/src/dictionaries';
import { Engine } from '../../server/src/engine';

const DEMO = join(import.meta.dirname, '..', '..', 'demo');
const folder = (): string => mkdtempSync(join(tmpdir(), 'corpus-'));

/** Feature activations from a dense table [S][features]. */
function actsOf(dense: number[][]): FeatureActs {
  const features: number[] = [];
  const activations: number[] = [];
  const offsets = [0];
  for (const row of dense) {
    row.forEach((a, f) => {
      if (a > 0) {
        features.push(f);
        activations.push(a);
      }
    });
    offsets.push(features.length);
  }
  return {
    features: Int32Array.from(features),
    activations: Float32Array.from(activations),
    offsets: Int32Array.from(offsets),
    norms: [],
  };
}

test('statistics are those of a count by hand, whatever the order of the contexts', () => {
  const row = fc.array(fc.integer({ min: -3, max: 40 }), { minLength: 3, maxLength: 3 });
  const context = fc.array(row, { minLength: 1, maxLength: 6 });
  fc.assert(
    fc.property(fc.array(context, { minLength: 1, maxLength: 40 }), fc.boolean(), (contexts, reversed) => {
      const forward = new SiteStatistics();
      const other = new SiteStatistics();
      const acts = contexts.map((c) => actsOf(c.map((r) => r.map((a) => a / 4))));
      acts.forEach((a, i) => forward.add(a, i, 1));
      const order = acts.map((_, i) => (reversed ? acts.length - 1 - i : i));
      for (const i of order) other.add(acts[i], i, 1);
      for (let f = 0; f < 3; f++) {
        const all = contexts.flatMap((c, i) =>
          c.flatMap((r, p) => (p >= 1 && r[f] > 0 ? [{ context: i, position: p, a: r[f] / 4 }] : [])),
        );
        const s = forward.features.get(f);
        expect(s?.active ?? 0).toBe(all.length);
        expect(s?.sum ?? 0).toBeCloseTo(
          all.reduce((n, x) => n + x.a, 0),
          9,
        );
        if (!s) continue;
        const best = contexts
          .map((_, i) => Math.max(0, ...all.filter((x) => x.context === i).map((x) => x.a)))
          .filter((a) => a > 0)
          .sort((a, b) => b - a);
        expect(s.top().map((o) => o.activation)).toEqual(best.slice(0, TOP));
        expect(s.bins().reduce((n, b) => n + b.count, 0)).toBe(all.length);
        for (const b of s.bins()) {
          const inBin = all.filter((x) => x.a >= b.from && x.a < b.to);
          expect(b.count).toBe(inBin.length);
          expect(inBin.map((x) => [x.context, x.position])).toContainEqual([b.example?.context, b.example?.position]);
        }
        for (const o of s.top()) {
          const p = o.position;
          expect(o.window[13]).toBe(o.activation);
          const before = p === 0 ? 0 : activationAt(acts[o.context], p - 1, f);
          expect(Math.abs(o.window[12] - Math.min((o.activation * 255) / 64, before))).toBeLessThan(o.activation / 127);
        }
        expect(other.features.get(f)?.bins()).toEqual(s.bins());
      }
    }),
    { numRuns: 60 },
  );
  expect([binOf(1e-9), binOf(1), binOf(1.5), binOf(1e9)]).toEqual([0, 12, 13, 23]);
});

describe('on the demo model', () => {
  let engine: Engine;
  const cache = folder();
  const signal = new AbortController().signal;
  const options = { signal, maxTokens: 1e6, step: (): Promise<void> => Promise.resolve() };
  const corpusOf = (dir: string, length = 32, root = cache): Corpus => new Corpus(engine, dir, length, root);
  const STORY = 'When John and Mary went to the shops, John gave the bag to Mary. '.repeat(9);

  function texts(): string {
    const dir = folder();
    mkdirSync(join(dir, 'node_modules'));
    mkdirSync(join(dir, '.hidden'));
    mkdirSync(join(dir, 'sub'));
    for (const skipped of ['node_modules/a.txt', '.hidden/b.txt', 'c.py']) writeFileSync(join(dir, skipped), 'John');
    writeFileSync(join(dir, 'ioi.prompts'), '# names\nJohn gave the bag to\n@bos false\nMary went to the shops\n');
    writeFileSync(join(dir, 'sub', 'story.txt'), `${STORY}\n${STORY}`);
    writeFileSync(
      join(dir, 'long.prompts'),
      ['John', 'gave', 'to'].map((w) => `${w}\n${'Mary '.repeat(200).trim()}\n`).join(''),
    );
    writeFileSync(
      join(dir, 'rows.jsonl'),
      '{"text": "Mary went to the park."}\nnot json\n{"prompt": "John gave"}\n{}\n',
    );
    return dir;
  }

  beforeAll(async () => {
    engine = await Engine.open({
      model: join(DEMO, 'model'),
      dictionaries: ['blocks.2.attn.hook_z', 'blocks.3.hook_resid_post'].map((d) => join(DEMO, 'saes', d)),
      contract: 'auto',
      provider: 'cpu',
    });
  });
  afterAll(() => engine.close());

  test('prompts, rows and running text become contexts that spell the text and give their own tokens again', async () => {
    const dir = texts();
    const corpus = corpusOf(dir);
    expect(corpus.state).toBe('none');
    expect(corpus.dashboard('blocks.2.attn.hook_z', 74)).toBeNull();
    const meta = await corpus.build(options);
    const file = IndexFile.open(corpus.path);
    const all = Array.from({ length: meta.contexts }, (_, i) => file.context(i));
    expect(new Set(all.map((c) => c.file))).toEqual(
      new Set(['ioi.prompts', 'long.prompts', 'rows.jsonl', 'sub/story.txt']),
    );
    const story = all.filter((c) => c.file === 'sub/story.txt');
    expect(story.map((c) => c.text).join('')).toBe(`${STORY}\n${STORY}`);
    expect(Math.max(...story.map((c) => c.tokens.length))).toBe(32);
    for (const c of all) expect(engine.prompt(c.text, c.bos).tokens).toEqual(c.tokens);
    expect(all.filter((c) => c.file === 'ioi.prompts').map((c) => [c.line, c.bos])).toEqual([
      [1, true],
      [3, false],
    ]);
    expect(all.filter((c) => c.file === 'rows.jsonl').map((c) => [c.line, c.text])).toEqual([
      [0, 'Mary went to the park.'],
      [2, 'John gave'],
    ]);
    expect(meta.tokens).toBe(all.reduce((n, c) => n + c.tokens.length - Number(c.bos), 0));
    file.close();
  });

  test('a dashboard is what running every context by hand gives', async () => {
    const corpus = corpusOf(texts());
    const meta = await corpus.build(options);
    const file = IndexFile.open(corpus.path);
    const site = 'blocks.2.attn.hook_z';
    const count = new Map<number, { n: number; max: number }>();
    for (let i = 0; i < meta.contexts; i++) {
      const c = file.context(i);
      const acts = await (await engine.run(c.tokens)).acts(site);
      for (let k = acts.offsets[Number(c.bos)]; k < acts.features.length; k++) {
        const have = count.get(acts.features[k]) ?? { n: 0, max: 0 };
        count.set(acts.features[k], { n: have.n + 1, max: Math.max(have.max, acts.activations[k]) });
      }
    }
    expect(count.size).toBeGreaterThan(20);
    expect(file.liveFeatures().get(site)).toBe(count.size);
    for (const [feature, { n, max }] of count) {
      const d = corpus.dashboard(site, feature);
      expect([d?.active, d?.max]).toEqual([n, max]);
      expect(d?.density).toBe(n / meta.tokens);
      for (const e of d?.top.slice(0, 2) ?? []) {
        const run = await engine.run(engine.prompt(e.prompt.text, e.prompt.bos).tokens);
        expect(activationAt(await run.acts(site), e.position, feature)).toBeCloseTo(e.activation, 4);
        expect(e.tokens[e.position - e.from].activation).toBe(e.activation);
      }
    }
    const dead = Array.from({ length: 100 }, (_, f) => f).find((f) => !count.has(f)) ?? -1;
    expect(corpus.dashboard(site, dead)).toMatchObject({ active: 0, density: 0, max: 0, top: [], bins: [] });
    expect(() => corpus.dashboard(site, 1e6)).toThrow(/has no feature/);
    file.close();
    corpus.close();
  });

  test('features are found by the words of their strongest examples, beginnings of words too', async () => {
    const corpus = corpusOf(texts());
    expect(corpus.search('shops', 5)).toBeNull();
    await corpus.build(options);
    const found = corpus.search('sho', 5) ?? [];
    expect(found.length).toBeGreaterThan(0);
    for (const f of found) expect(f.text).toMatch(/shops/);
    expect(found[0].text).toMatch(/⟦ shops⟧/);
    for (const odd of ['zebra', '"; DROP TABLE words', '* ( NEAR', '']) expect(corpus.search(odd, 5)).toEqual([]);
    corpus.close();
  });

  test('interrupted at any context and gone on with: the same index as in one go', async () => {
    const dir = texts();
    const whole = corpusOf(dir, 16, folder());
    const meta = await whole.build(options);
    const rows = (c: Corpus): unknown => {
      const file = IndexFile.open(c.path);
      const out = [...file.load()].map(([site, features]) => [
        site,
        [...features].sort((a, b) => a[0] - b[0]).map(([f, s]) => [f, Buffer.from(s.bytes).toString('base64')]),
      ]);
      file.close();
      return out;
    };
    const parts = corpusOf(dir, 16, folder());
    for (let stops = 0; parts.state !== 'ready'; stops++) {
      const abort = new AbortController();
      let steps = 0;
      const step = (): Promise<void> => {
        if (++steps > 3) abort.abort();
        return Promise.resolve();
      };
      await parts.build({ ...options, signal: abort.signal, step }).catch((e: Error) => {
        expect(e.message).toMatch(/interrupted/);
      });
      expect(stops).toBeLessThan(50);
    }
    expect(meta.skipped).toBe(3);
    expect(parts.meta()).toEqual(meta);
    expect(rows(parts)).toEqual(rows(whole));
    expect(readdirSync(join(parts.path, '..'))).toEqual([parts.path.slice(parts.path.lastIndexOf('/') + 1)]);
    // Stopped after the last step but before the file was put in its place: nothing is computed again.
    parts.close();
    renameSync(parts.path, parts.path.replace(/db$/, 'building.db'));
    const never = (): Promise<void> => Promise.reject(new Error('computed again'));
    expect(await parts.build({ ...options, step: never })).toEqual(meta);
    whole.close();
    parts.close();
  });

  test('characters of several tokens and code units are not torn apart, wherever a context ends', async () => {
    const dir = folder();
    const text = 'John 👩‍👩‍👧 gave é東京🙂 to Mary. '.repeat(120);
    writeFileSync(join(dir, 'emoji.txt'), text);
    for (const length of [16, 17, 18, 19]) {
      const corpus = corpusOf(dir, length, folder());
      const meta = await corpus.build(options);
      expect(meta.skipped).toBe(0);
      const file = IndexFile.open(corpus.path);
      const all = Array.from({ length: meta.contexts }, (_, i) => file.context(i));
      expect(all.map((c) => c.text).join('')).toBe(text);
      for (const c of all) expect(c.tokens.length).toBeLessThanOrEqual(length);
      file.close();
    }
  });

  test('a changed file makes it outdated; building again begins anew; the limit of tokens is kept', async () => {
    const dir = texts();
    const corpus = corpusOf(dir);
    const before = await corpus.build(options);
    expect(corpus.dashboard('blocks.2.attn.hook_z', 74)?.outdated).toBe(false);
    writeFileSync(join(dir, 'more.md'), 'Mary gave John a ring.');
    utimesSync(join(dir, 'more.md'), 1, 1);
    const again = corpusOf(dir);
    expect(again.dashboard('blocks.2.attn.hook_z', 74)?.outdated).toBe(true);
    const after = await again.build(options);
    expect(after.contexts).toBe(before.contexts + 1);
    rmSync(dir, { recursive: true });
    const gone = corpusOf(dir).dashboard('blocks.2.attn.hook_z', 74);
    expect([gone?.outdated, gone?.corpus.contexts]).toEqual([true, after.contexts]);
    const limited = await corpusOf(texts(), 16).build({ ...options, maxTokens: 20 });
    expect(limited.limited).toBe(true);
    expect(limited.tokens).toBeLessThan(20 + 128);
    corpus.close();
    again.close();
  });

  test('what cannot be done is refused by name', async () => {
    await expect(corpusOf('/nowhere/texts').build(options)).rejects.toThrow(/nowhere.*does not exist/);
    await expect(corpusOf(folder()).build(options)).rejects.toThrow(/holds no text/);
    const crowded = folder();
    for (let i = 0; i < 4; i++) writeFileSync(join(crowded, `${i}.txt`), 'x'.repeat(10 * i));
    expect(() => listCorpus(crowded, { files: 3, fileBytes: 1e6, depth: 3 })).toThrow(/more than 3 text files/);
    expect(listCorpus(crowded, { files: 9, fileBytes: 25, depth: 3 }).tooLarge).toEqual(['3.txt']);

    const dir = texts();
    const corpus = corpusOf(dir);
    const building = corpus.path.replace(/db$/, 'building.db');
    writeFileSync(`${building}.pid`, String(process.ppid));
    await expect(corpus.build(options)).rejects.toThrow(/another process .* is building this index/);
    writeFileSync(`${building}.pid`, '999999999');
    mkdirSync(`${building}.lock`);
    writeFileSync(building, 'half a file');
    await corpus.build(options);
    expect(existsSync(`${building}.pid`)).toBe(false);
    corpus.close();
    rmSync(corpus.path);
    writeFileSync(corpus.path, 'not a database');
    expect(() => corpusOf(dir).dashboard('blocks.2.attn.hook_z', 74)).toThrow(/not an index this version reads/);
  });
});
