import { expand, makeRoot } from '../../server/src/attribution';
import { outputHook, runSpliced } from '../../server/src/analyses';
import { type Engine, type PromptRun } from '../../server/src/engine';
import { type Hooks, type Trace } from '../../server/src/model';

export interface IoiSentence {
  kind: 'ioi';
  text: string;
  prompt: string;
  io: string;
  s: string;
  order: string;
  conjunction: string;
}

export interface PronounSentence {
  kind: 'pronoun';
  text: string;
  prompt: string;
  name: string;
  pronoun: 'She' | 'He';
}

/** Sum of next-token cross-entropies of a run in nats, and how many there are. */
export async function crossEntropy(engine: Engine, trace: Trace): Promise<{ sum: number; count: number }> {
  const { d_model: d, d_vocab } = engine.model.config;
  const n = trace.tokens.length - 1;
  const { logits } = await engine.model.unembed(trace.resid_post.subarray(0, n * d));
  let sum = 0;
  for (let r = 0; r < n; r++) {
    const row = logits.subarray(r * d_vocab, (r + 1) * d_vocab);
    const max = row.reduce((a, b) => Math.max(a, b), -Infinity);
    sum += max + Math.log(row.reduce((s, l) => s + Math.exp(l - max), 0)) - row[trace.tokens[r + 1]];
  }
  return { sum, count: n };
}

/** The site set to zero, in the contract's terms. */
const zeroHooks = (engine: Engine, site: string): Hooks =>
  new Map([[outputHook(engine.dictionary(site)), (x: Float32Array) => new Float32Array(x.length)]]);

export interface DictionaryQuality {
  site: string;
  d_in: number;
  d_sae: number;
  l0: number;
  /** Features that never fire on the sentences, as a share. */
  dead: number;
  /** Cross-entropies in nats a token. */
  clean: number;
  spliced: number;
  zeroed: number;
  /** (zeroed − spliced) / (zeroed − clean) */
  recovered: number;
}

/** Clean cross-entropy of several runs: nats in all, and how many tokens. */
export async function cleanLoss(engine: Engine, runs: PromptRun[]): Promise<{ sum: number; count: number }> {
  const total = { sum: 0, count: 0 };
  for (const run of runs) {
    const c = await crossEntropy(engine, run.trace);
    total.sum += c.sum;
    total.count += c.count;
  }
  return total;
}

/** L0, dead features and loss recovered of one dictionary over sentences whose clean loss is known. */
export async function dictionaryQuality(
  engine: Engine,
  site: string,
  runs: PromptRun[],
  loss: { sum: number; count: number },
): Promise<DictionaryQuality> {
  const { d_in, d_sae } = engine.dictionary(site).config;
  const fired = new Uint8Array(d_sae);
  let active = 0;
  let positions = 0;
  let [splicedSum, zeroedSum] = [0, 0];
  for (const run of runs) {
    const acts = await run.acts(site);
    active += acts.features.length;
    positions += run.trace.tokens.length;
    for (const f of acts.features) fired[f] = 1;
    const spliced = await runSpliced(engine, run, { splice: [site], errorTerm: false, interventions: [] });
    splicedSum += (await crossEntropy(engine, spliced)).sum;
    zeroedSum += (await crossEntropy(engine, await engine.model.runWithHooks(run.trace, zeroHooks(engine, site)))).sum;
  }
  const [clean, spliced, zeroed] = [loss.sum / loss.count, splicedSum / loss.count, zeroedSum / loss.count];
  return {
    site,
    d_in,
    d_sae,
    l0: active / positions,
    dead: 1 - fired.reduce((a, b) => a + b, 0) / d_sae,
    clean,
    spliced,
    zeroed,
    recovered: (zeroed - spliced) / (zeroed - clean),
  };
}

const firstToken = (engine: Engine, word: string): number => engine.prompt(` ${word}`, false).tokens[0];

/** Whether the indirect object's first token is the top prediction, and the logit difference to the subject's. */
export async function ioiResult(
  engine: Engine,
  trace: Trace,
  s: IoiSentence,
): Promise<{ right: boolean; difference: number }> {
  const d = engine.model.config.d_model;
  const { logits } = await engine.model.unembed(trace.resid_post.slice(-d));
  const [io, subject] = [firstToken(engine, s.io), firstToken(engine, s.s)];
  let best = 0;
  logits.forEach((l, i) => {
    if (l > logits[best]) best = i;
  });
  return { right: best === io, difference: logits[io] - logits[subject] };
}

/** The logit difference with a layer's attention set to zero. */
export async function withoutAttention(engine: Engine, run: PromptRun, layer: number, s: IoiSentence): Promise<number> {
  const hooks: Hooks = new Map([[`blocks.${layer}.attn.hook_z`, (x: Float32Array) => new Float32Array(x.length)]]);
  return (await ioiResult(engine, await engine.model.runWithHooks(run.trace, hooks), s)).difference;
}

/** Absolute contribution of each layer's attention features to the logit difference at the end of a prompt. */
export async function attentionShares(engine: Engine, run: PromptRun, s: IoiSentence): Promise<number[]> {
  const position = run.trace.tokens.length - 1;
  const tokens = [firstToken(engine, s.io), firstToken(engine, s.s)];
  const root = await makeRoot(run, { type: 'logit', tokens, position });
  const children = (await expand(run, root, { view: 'component', by: 'source' }))?.children ?? [];
  const byLayer = new Array<number>(engine.model.config.n_layers).fill(0);
  let all = 0;
  for (const c of children) {
    all += Math.abs(c.contribution);
    if (c.kind === 'attention-feature') byLayer[c.layer ?? 0] += Math.abs(c.contribution);
  }
  return byLayer.map((v) => v / all);
}

/**
 * What each source token gives to the logit difference of two tokens at the end of a prompt through the attention features there:
 * Σ over features of contribution × (source's part of the pre-activation).
 */
export async function sourcesOfDifference(run: PromptRun, tokens: [number, number]): Promise<number[]> {
  const position = run.trace.tokens.length - 1;
  const root = await makeRoot(run, { type: 'logit', tokens, position });
  const children = (await expand(run, root, { view: 'component', by: 'source' }))?.children ?? [];
  const sources = new Array<number>(position + 1).fill(0);
  for (const c of children.filter((x) => x.kind === 'attention-feature')) {
    for (const s of (await expand(run, c, { view: 'component', by: 'source' }))?.children ?? []) {
      if (s.kind === 'source-token') sources[s.position ?? 0] += (c.contribution * s.contribution) / c.value;
    }
  }
  return sources;
}
