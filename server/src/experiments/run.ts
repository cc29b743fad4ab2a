import { ablation } from './ablation';
import { compare } from './compare';
import { dla } from './dla';
import { evaluate } from './evaluate';
import { heads, prefix } from './heads';
import { noise } from './noise';
import { pathPatch } from './pathPatch';
import { positional } from './positional';
import { qk } from './qk';
import {
  type Case,
  type Experiment,
  type ExperimentContext,
  type ExperimentResult,
  type ExperimentValues,
} from './types';
import { throwIfCancelled, UsageError } from '../errors';
import { RunCache } from './runCache';

export const EXPERIMENTS: readonly Experiment[] = [
  evaluate,
  ablation,
  noise,
  positional,
  qk,
  pathPatch,
  heads,
  prefix,
  compare,
  dla,
];

/** An experiment by its id. Throws UsageError. */
export function experimentOf(id: string): Experiment {
  const e = EXPERIMENTS.find((x) => x.id === id);
  if (!e) throw new UsageError(`there is no experiment ${id}; there are ${EXPERIMENTS.map((x) => x.id).join(', ')}`);
  return e;
}

/** Settings with defaults filled in and checked. Throws UsageError naming the setting. */
export function completeValues(e: Experiment, given: ExperimentValues): ExperimentValues {
  const unknown = Object.keys(given).find((k) => !e.parameters.some((p) => p.name === k));
  if (unknown !== undefined) throw new UsageError(`${e.id} has no setting ${unknown}`);
  return Object.fromEntries(
    e.parameters.map((p): [string, string | number | boolean] => {
      const value = given[p.name] ?? p.default;
      const fail = (want: string): never => {
        throw new UsageError(`${e.id}: ${p.name} expects ${want}, got ${JSON.stringify(value)}`);
      };
      if (p.type === 'flag') return [p.name, value === true || value === 'true'];
      if (p.type === 'integer' || p.type === 'number') {
        const n = Number(value);
        const whole = p.type === 'integer';
        if (
          String(value).trim() === '' ||
          !Number.isFinite(n) ||
          (whole && !Number.isInteger(n)) ||
          n < (p.min ?? -Infinity)
        ) {
          fail(`a ${whole ? 'whole ' : ''}number${p.min === undefined ? '' : ` of at least ${p.min}`}`);
        }
        return [p.name, n];
      }
      if (p.type === 'choice' && !p.choices?.includes(String(value))) fail(`one of ${p.choices?.join(', ')}`);
      return [p.name, String(value)];
    }),
  );
}

export interface RunOptions {
  signal: AbortSignal;
  step?: (message: string, fraction: number) => Promise<void>;
}

/** What an experiment works with. `values` are complete. */
export function contextOf(
  engine: ExperimentContext['engine'],
  cases: Case[],
  values: ExperimentValues,
  o: RunOptions,
): ExperimentContext {
  const runs = new RunCache(engine, o.signal);
  return {
    engine,
    cases,
    values,
    signal: o.signal,
    step: async (message, fraction) => {
      throwIfCancelled(o.signal);
      await o.step?.(message, fraction);
    },
    run: (c) => runs.get(c),
  };
}

/** Runs an experiment on cases and adds what made it. Throws the engine's errors; never returns part of a result. */
export async function runExperiment(
  e: Experiment,
  engine: ExperimentContext['engine'],
  cases: Case[],
  given: ExperimentValues,
  o: RunOptions,
): Promise<ExperimentResult> {
  const values = completeValues(e, given);
  const found = await e.run(contextOf(engine, cases, values, o));
  const settings = {
    values,
    model: engine.model.config.modelName,
    contract: { ...engine.contract } as Record<string, boolean>,
    prompts: cases.length,
  };
  return { version: 1, experiment: e.id, title: e.title, settings, ...found };
}
