/** What is left of a prompt's answer and text when its dictionaries are spliced in, or their hook points zeroed. */
import { outputHook, runSpliced } from '../analyses';
import { type Engine, type PromptRun } from '../engine';
import { type Trace } from '../model';
import { divergence, lastLogits, losses, mean, parseLayers, replaceRows } from './common';

/** First tokens of an answer and a distractor, where there are such. */
export interface Answers {
  answer: number | null;
  distractor: number | null;
}

/** Logit difference at the last position (null without answers), and mean cross-entropy of the next tokens in nats (null for a single token). */
export interface Left {
  ld: number | null;
  loss: number | null;
}

/** The run that others are compared with. */
export interface Clean extends Left {
  logits: Float32Array;
}

async function leftOf(engine: Engine, trace: Trace, logits: Float32Array, a: Answers): Promise<Left> {
  const each = await losses(engine, trace);
  const ld = a.answer === null || a.distractor === null ? null : logits[a.answer] - logits[a.distractor];
  return { ld, loss: each.length === 0 ? null : mean(each) };
}

export async function cleanOf(engine: Engine, trace: Trace, a: Answers): Promise<Clean> {
  const logits = await lastLogits(engine, trace);
  return { logits, ...(await leftOf(engine, trace, logits, a)) };
}

/** What a changed run keeps; `kl` is KL(clean ‖ changed) of the next token at the last position, in nats. */
export async function whatIsLeft(
  engine: Engine,
  trace: Trace,
  clean: Clean,
  a: Answers,
): Promise<Left & { kl: number }> {
  const logits = await lastLogits(engine, trace);
  return { ...(await leftOf(engine, trace, logits, a)), kl: divergence(clean.logits, logits) };
}

/** Runs a prompt with dictionaries spliced in, and with the hook points of their outputs at zero. */
export async function spliceAndZero(
  engine: Engine,
  run: PromptRun,
  sites: string[],
  errorTerm: boolean,
  signal: AbortSignal,
): Promise<{ spliced: Trace; zero: Trace }> {
  const { trace } = run;
  const rows = trace.tokens.map((_, i) => ({ from: i, to: i }));
  const zeros = sites.map(
    (s) => [outputHook(engine.dictionary(s)), replaceRows(null, rows, engine.model.config.d_model)] as const,
  );
  return {
    spliced: await runSpliced(engine, run, { splice: sites, errorTerm, interventions: [] }, signal),
    zero: await engine.model.runWithHooks(trace, new Map(zeros), { signal }),
  };
}

/** Sites of some layers, of a kind, that have a dictionary. */
export const sitesOfLayers = (engine: Engine, kind: string, layers: readonly number[]): string[] =>
  [...engine.dictionaries.values()].filter((d) => d.kind === kind && layers.includes(d.layer)).map((d) => d.site);

/** Sets of layers from `0,3;5-6`; each layer and all of them where nothing is given. Throws UsageError. */
export function sectionsOf(engine: Engine, given: string): number[][] {
  const { n_layers } = engine.model.config;
  if (given.trim() !== '') return given.split(';').map((s) => parseLayers(s, n_layers));
  return [...Array.from({ length: n_layers }, (_, l) => [l]), Array.from({ length: n_layers }, (_, l) => l)];
}
