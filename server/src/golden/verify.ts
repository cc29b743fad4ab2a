import type { VerifyRow } from '../../protocol/verify';
import { allHeadShares, featureDetails, runSpliced } from '../analyses';
import { expand, makeRoot } from '../attribution';
import { activationAt, type Dictionary } from '../dictionaries';
import { type Engine, type PromptRun, siteInput } from '../engine';
import { throwIfCancelled } from '../errors';
import { type Trace } from '../model';
import { type GoldenCheck, type GoldenTable } from './table';

/** What is compared: names, what is expected of each, what was found. */
interface Found {
  what: string;
  expected: number | string;
  got: number | string;
  /** Where it is not the row's. */
  tolerance?: number;
}

type Prompt = Extract<GoldenCheck, { type: 'logit-difference' }>['prompts'][number];

/** Dictionaries that a check reads. */
function sitesOf(c: GoldenCheck): string[] {
  const own = 'site' in c ? [c.site] : [];
  if (c.type === 'contributions') return [...new Set([...own, ...c.of.map(([site]) => site)])];
  return 'splice' in c ? [...own, ...c.splice] : own;
}

/** What is missing for a check, or null. */
function missing(engine: Engine, table: GoldenTable, c: GoldenCheck): string | null {
  if (!engine.tokenizer) return 'needs a tokenizer';
  const { n_layers, d_model, d_vocab } = engine.model.config;
  const m = table.model;
  if (d_vocab !== m.d_vocab || (c.type !== 'tokens' && (n_layers !== m.n_layers || d_model !== m.d_model)))
    return `needs a model of ${m.n_layers} layers, ${m.d_model} dimensions and ${m.d_vocab} tokens (${table.name}); this one has ${n_layers}, ${d_model}, ${d_vocab}`;
  const without = sitesOf(c).filter((s) => !engine.dictionaries.has(s));
  return without.length > 0 ? `needs a dictionary on ${without.join(', ')}` : null;
}

async function runOf(engine: Engine, text: string, bos = true): Promise<PromptRun> {
  return engine.run(engine.prompt(text, bos && engine.model.config.bosTokenId !== null).tokens);
}

async function spliced(engine: Engine, run: PromptRun, splice: readonly string[]): Promise<Trace> {
  if (splice.length === 0) return run.trace;
  return runSpliced(engine, run, { splice: [...splice], errorTerm: false, interventions: [] });
}

const lastRow = async (engine: Engine, trace: Trace): Promise<Float32Array> =>
  (await engine.model.unembed(trace.resid_post.slice(-engine.model.config.d_model))).logits;

const idOf = (engine: Engine, text: string): number => engine.prompt(text, false).tokens[0];

async function difference(engine: Engine, p: Prompt, splice: readonly string[]): Promise<number> {
  const logits = await lastRow(engine, await spliced(engine, await runOf(engine, p.text), splice));
  return logits[idOf(engine, p.answer)] - logits[idOf(engine, p.distractor)];
}

async function nextTokens(engine: Engine, c: Extract<GoldenCheck, { type: 'next' }>): Promise<Found[]> {
  const logits = await lastRow(engine, (await runOf(engine, c.text)).trace);
  const max = logits.reduce((a, b) => Math.max(a, b), -Infinity);
  const total = logits.reduce((s, x) => s + Math.exp(x - max), 0);
  return c.tokens.flatMap((t, i): Found[] => {
    const logit = logits[idOf(engine, t)];
    return [
      { what: `logit of ${JSON.stringify(t)}`, expected: c.logits[i], got: logit },
      {
        what: `probability of ${JSON.stringify(t)}`,
        expected: c.probabilities[i],
        got: Math.exp(logit - max) / total,
        tolerance: c.probabilityTolerance,
      },
    ];
  });
}

/** What the logit difference loses when each active feature is zeroed in turn. */
async function ablationEffects(
  engine: Engine,
  c: Extract<GoldenCheck, { type: 'top-features' }>,
  p: Prompt,
  position: number,
  signal: AbortSignal,
): Promise<[feature: number, effect: number][]> {
  const run = await runOf(engine, p.text);
  const zeroed = async (feature: number | null): Promise<number> => {
    throwIfCancelled(signal);
    const interventions = feature === null ? [] : [{ site: c.site, feature, position, change: (): number => 0 }];
    const trace = await runSpliced(engine, run, { splice: [c.site], errorTerm: false, interventions });
    const logits = await lastRow(engine, trace);
    return logits[idOf(engine, p.answer)] - logits[idOf(engine, p.distractor)];
  };
  const acts = await run.acts(c.site);
  const base = await zeroed(null);
  const out: [number, number][] = [];
  for (let i = acts.offsets[position]; i < acts.offsets[position + 1]; i++)
    out.push([acts.features[i], base - (await zeroed(acts.features[i]))]);
  return out;
}

async function topFeatures(
  engine: Engine,
  c: Extract<GoldenCheck, { type: 'top-features' }>,
  signal: AbortSignal,
): Promise<Found[]> {
  const sums = new Map<number, number>();
  const add = (f: number, x: number): void => void sums.set(f, (sums.get(f) ?? 0) + x);
  for (const p of c.prompts) {
    const run = await runOf(engine, p.text);
    const end = c.position ?? run.trace.tokens.length - 1;
    if (c.by === 'ablation') {
      for (const [f, x] of await ablationEffects(engine, c, p, end, signal)) add(f, x);
    } else if (c.by === 'activation') {
      const acts = await run.acts(c.site);
      for (let i = acts.offsets[end]; i < acts.offsets[end + 1]; i++) add(acts.features[i], acts.activations[i]);
    } else {
      const tokens = [idOf(engine, p.answer), idOf(engine, p.distractor)];
      const root = await makeRoot(run, { type: 'logit', tokens, position: end });
      const e = await expand(run, root, { view: 'component', by: 'source' });
      for (const n of e?.children ?? [])
        if (n.site === c.site && n.feature !== undefined) add(n.feature, n.contribution);
    }
  }
  const size = c.by === 'ablation' ? (x: number): number => x : Math.abs;
  const top = [...sums].sort((a, b) => size(b[1]) - size(a[1])).map(([f]) => f);
  return [{ what: 'features', expected: c.expected.join(' '), got: top.slice(0, c.expected.length).join(' ') }];
}

async function activations(engine: Engine, c: Extract<GoldenCheck, { type: 'activations' }>): Promise<Found[]> {
  const d = engine.dictionary(c.site);
  const acts = await d.encode(siteInput(await spliced(engine, await runOf(engine, c.text, c.bos), c.splice), d));
  const S = acts.offsets.length - 1;
  return c.at.map(([feature, position], i) => {
    const p = position < 0 ? S + position : position;
    return {
      what: `feature ${feature} @${p}`,
      expected: c.expected[i],
      got: p < S ? activationAt(acts, p, feature) : NaN,
    };
  });
}

async function contributions(engine: Engine, c: Extract<GoldenCheck, { type: 'contributions' }>): Promise<Found[]> {
  const { site, feature, position } = c;
  const run = await runOf(engine, c.text, c.bos);
  const root = await makeRoot(run, { type: 'feature', site, feature, position });
  const children = (await expand(run, root, { view: 'component', by: 'source' }))?.children ?? [];
  return c.of.map(([from, f, at], i) => {
    const node = children.find((n) => n.site === from && n.feature === f && n.position === at);
    return { what: `${from}/${f} @${at}`, expected: c.expected[i], got: node?.contribution ?? NaN };
  });
}

/** The features whose decoder rows lie most in a head. */
function mostInHead(shares: readonly (readonly number[])[], head: number, count: number): number[] {
  const order = shares.map((_, f) => f).sort((a, b) => shares[b][head] - shares[a][head]);
  return order.slice(0, count);
}

/** Decoder head shares of dictionaries, computed once. */
type Shares = (d: Dictionary) => Promise<number[][]>;

function sharesOf(engine: Engine): Shares {
  const known = new Map<Dictionary, Promise<number[][]>>();
  return (d) => {
    const have = known.get(d) ?? allHeadShares(engine, d);
    known.set(d, have);
    return have;
  };
}

async function compute(engine: Engine, c: GoldenCheck, shares: Shares, signal: AbortSignal): Promise<Found[]> {
  switch (c.type) {
    case 'tokens': {
      const { tokens } = engine.prompt(c.text, false);
      return [{ what: JSON.stringify(c.text), expected: c.expected.join(' '), got: tokens.join(' ') }];
    }
    case 'logit-difference': {
      let sum = 0;
      for (const p of c.prompts) sum += await difference(engine, p, c.splice);
      return [{ what: 'logit difference', expected: c.expected, got: sum / c.prompts.length }];
    }
    case 'next':
      return nextTokens(engine, c);
    case 'top-features':
      return topFeatures(engine, c, signal);
    case 'activations':
      return activations(engine, c);
    case 'contributions':
      return contributions(engine, c);
    case 'head-shares': {
      const { headShares } = await featureDetails(engine, c.site, c.feature, 1);
      return c.expected.map((expected, h) => ({ what: `head ${h}`, expected, got: headShares?.[h] ?? NaN }));
    }
    case 'head-features': {
      const found = mostInHead(await shares(engine.dictionary(c.site)), c.head, c.expected.length);
      const order = (x: readonly number[]): string => [...x].sort((a, b) => a - b).join(' ');
      return [{ what: 'features', expected: order(c.expected), got: order(found) }];
    }
  }
}

const agrees = (f: Found, tolerance: number): boolean =>
  typeof f.expected === 'number' && typeof f.got === 'number'
    ? Math.abs(f.expected - f.got) <= tolerance
    : f.expected === f.got;

/**
 * Computes published numbers with the model and dictionaries that are loaded and compares them. Rows whose files are not there say what they
 * need. Throws the engine's errors.
 */
export async function verify(
  engine: Engine,
  table: GoldenTable,
  o: { signal: AbortSignal; step?: (message: string, fraction: number) => Promise<void> },
): Promise<VerifyRow[]> {
  const out: VerifyRow[] = [];
  const shares = sharesOf(engine);
  for (const [i, { id, description, source, tolerance, check }] of table.rows.entries()) {
    throwIfCancelled(o.signal);
    await o.step?.(id, i / table.rows.length);
    const row = { id, description, source, tolerance };
    const needs = missing(engine, table, check);
    if (needs !== null) out.push({ ...row, what: '', expected: null, got: null, outcome: 'missing', needs });
    else
      for (const f of await compute(engine, check, shares, o.signal))
        out.push({ ...row, ...f, outcome: agrees(f, f.tolerance ?? tolerance) ? 'pass' : 'fail', needs: null });
  }
  return out;
}
