/** A model whose circuit is known by construction: the tree, the QK view, ablations and patches recover it. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { buildTree } from '../../server/src/attribution';
import { type Engine } from '../../server/src/engine';
import {
  caseOfTokens,
  experimentOf,
  type ExperimentResult,
  type ExperimentValues,
  runExperiment,
} from '../../server/src/experiments';
import { GAP, inductionEngine, SIGMA, STRENGTH, V } from '../support/inductionModel';

let engine: Engine;
let close: () => Promise<void>;
beforeAll(async () => ({ engine, close } = await inductionEngine()));
afterAll(() => close());

/** BOS A B C A: the model says B. */
const [A, B, C, OTHER] = [1, 2, 3, 7];
const TOKENS = [0, A, B, C, A];
const END = TOKENS.length - 1;
/** Leak of layer 1's softmax. */
const LEAK = 1e-4;

const one = { ...caseOfTokens(TOKENS, B, OTHER), roles: { END, IO: 2, S1: 3, S2: 2 } };
const run = (id: string, values: ExperimentValues): Promise<ExperimentResult> =>
  runExperiment(experimentOf(id), engine, [one], values, { signal: new AbortController().signal });
const rowsOf = (r: ExperimentResult, id: string): Record<string, string | number | null>[] => {
  const t = r.tables.find((x) => x.id === id);
  return (t?.rows ?? []).map((row) => Object.fromEntries(row.map((v, i) => [t?.columns[i].key ?? '', v])));
};
/** Logit difference, from the norms: what induction writes over the final scale. */
const sigmaF = Math.sqrt((2 * (1 - 1 / V) + 19 / 20 + STRENGTH ** 2 * (1 - 1 / V) - (2 * STRENGTH) / V) / 72 + 1e-5);
const LD = STRENGTH / sigmaF;

test('the tree: difference ← feature "moved B" of layer 1 ← source B ← embedding of B, and nothing else', async () => {
  const state = await engine.run(TOKENS);
  const tree = await buildTree(
    state,
    { type: 'logit', tokens: [B, OTHER], position: END },
    { depth: 3, top: 50, view: 'component', by: 'head' },
  );
  expect(tree.value).toBeCloseTo(LD, 3);
  const [feature, ...others] = tree.children;
  expect([feature.site, feature.feature]).toEqual(['blocks.1.attn.hook_z', B]);
  expect(feature.contribution / tree.value).toBeCloseTo(1, 3);
  for (const o of others) expect(Math.abs(o.contribution)).toBeLessThan(10 * LEAK);
  const [source] = feature.children;
  expect([source.kind, source.head, source.position]).toEqual(['head-source', 0, 2]);
  expect(source.contribution).toBeCloseTo((1 - 1 / V) / SIGMA[1], 3);
  const [embedding] = source.children;
  expect([embedding.kind, embedding.tokenId]).toEqual(['token-embedding', B]);
  expect(embedding.contribution).toBeCloseTo(source.contribution, 3);
});

test('QK: head 1.0 prefers the token after A by the pair "present token × moved A", and the sums are the pattern’s', async () => {
  const r = await run('qk', { head: '1.0', from: 'END', to: '2', minus: '3' });
  const pairs = rowsOf(r, 'pairs');
  expect(pairs.slice(0, 2).map((p) => [p.query, p.key])).toEqual([
    ['embed', `blocks.0.attn.hook_z/${A}`],
    ['embed', `blocks.0.attn.hook_z/${B}`],
  ]);
  expect(pairs[0].mean).toBeCloseTo(GAP[1] * (1 - 1 / V), 2);
  expect(pairs[1].mean).toBeCloseTo(GAP[1] / V, 2);
  expect(pairs[0].verdict).toBe('boosts 2');
  expect(pairs[1].verdict).toBe('inhibits 3');
  for (const p of pairs.slice(2)) expect(Math.abs(Number(p.mean))).toBeLessThan(1e-3);
  expect(r.checks[0].miss).toBeLessThan(1e-3);
  const byPrompt = rowsOf(r, 'byPrompt').filter((x) => x.pair === `embed × blocks.0.attn.hook_z/${A}`);
  expect(byPrompt.map((x) => x.value)).toEqual([pairs[0].mean]);
});

test('ablation: without "moved B" at END the difference is gone; the error term carries nothing', async () => {
  const rows = rowsOf(await run('ablation', { site: '1', role: 'END' }), 'features');
  expect(rows[0].feature).toBe(`blocks.1.attn.hook_z/${B}`);
  expect(rows[0].mean).toBeCloseTo(-LD, 2);
  const error = rows.find((x) => String(x.feature).startsWith('error'));
  expect(Math.abs(Number(error?.mean))).toBeLessThan(1e-2);
});

test('attribution patching is the slope: the derivative of the difference through the final LayerNorm, by the quotient rule', async () => {
  const rows = rowsOf(await run('ablation', { site: '1', role: 'END', estimate: true }), 'features');
  const { trace } = await engine.run(TOKENS);
  const { d_model: d } = engine.model.config;
  // x(s) = x + (s − 1)·u with u what "moved B" writes; LD(s) = w·centre(x(s))/σ(s) with w the answer's embedding minus the distractor's.
  const centre = (v: number[]): number[] => v.map((z) => z - v.reduce((a, b) => a + b, 0) / d);
  const write = new Array<number>(d).fill(0);
  for (let t = 0; t < V; t++) write[t] = STRENGTH * (Number(t === B) - 1 / V);
  const [x, u] = [centre([...trace.resid_post.slice(-d)]), centre(write)];
  const w = centre(write.map((_, i) => Number(i === B) - Number(i === OTHER)));
  const dot = (a: number[], b: number[]): number => a.reduce((s, v, i) => s + v * b[i], 0);
  const sigma = Math.sqrt(dot(x, x) / d + 1e-5);
  const slope = dot(w, u) / sigma - (dot(w, x) * dot(x, u)) / d / sigma ** 3;
  expect(rows[0].estimate).toBeCloseTo(-slope, 1);
  expect(Math.abs(slope)).toBeLessThan(LD / 2);
});

test('path patching: "moved A" at B matters to the key of 1.0, not to its query, and to its value only through LayerNorm', async () => {
  const effect = async (input: string): Promise<number> =>
    Number(
      rowsOf(await run('path-patch', { feature: `0.${A}`, role: 'S2', heads: '1.0', input }), 'prompts')[0].effect,
    );
  expect(await effect('query')).toBeCloseTo(0, 4);
  // Value: the source's row is read with a smaller scale, so more of B is written; the final scale grows with it.
  const larger = (STRENGTH * SIGMA[1]) / SIGMA[0];
  const final = Math.sqrt((2 * (1 - 1 / V) + 19 / 20 + larger ** 2 * (1 - 1 / V) - (2 * larger) / V) / 72 + 1e-5);
  expect(await effect('value')).toBeCloseTo(larger / final - LD, 2);
  // Key: the score to B falls from 1 − 1/V of the gap to 0, still above the others' −1/V.
  const others = 4 * Math.exp(-GAP[1] / V);
  expect(await effect('key')).toBeLessThan(0);
  expect((LD + (await effect('key'))) / LD).toBeLessThan(1.6 / (1 + others));
});

test('direct logit attribution: head 1.0 carries it all; the lens sees nothing before layer 1', async () => {
  const r = await run('dla', {});
  expect(rowsOf(r, 'heads')[0]).toMatchObject({ name: 'head 1.0' });
  expect(rowsOf(r, 'heads')[0].mean).toBeCloseTo(LD, 2);
  const lens = rowsOf(r, 'lens').map((x) => Number(x.mean));
  expect(lens[0]).toBeCloseTo(0, 3);
  expect(lens[1]).toBeCloseTo(0, 3);
  expect(lens[2]).toBeCloseTo(LD, 3);
  for (const c of r.checks) expect(c.miss).toBeLessThan(c.limit);
});

test('heads: every feature lies in head 0; induction needs a prefix of one token', async () => {
  const shares = rowsOf(await run('heads', { top: 3 }), 'heads');
  for (const s of shares.filter((x) => String(x.head).endsWith('.0'))) expect(s.share).toBeCloseTo(1, 6);
  const prefix = rowsOf(await run('prefix', { head: '1.0', longest: 4, count: 5, length: 18 }), 'prefix');
  for (const p of prefix) expect(p.mean).toBeGreaterThan(0.99);
  const other = rowsOf(await run('prefix', { head: '1.1', longest: 2, count: 5, length: 18 }), 'prefix');
  for (const p of other) expect(p.mean).toBeLessThan(0.2);
});
