import { UsageError } from '../errors';
import { type Dictionary, type FeatureActs, findActive } from '../dictionaries';
import { type Engine, type PromptRun } from '../engine';
import { type Hook, type HookContext, type Hooks, type Trace } from '../model';

/** A change to one feature's activation; without a position it holds everywhere. */
export interface FeatureIntervention {
  site: string;
  feature: number;
  position?: number;
  /** New activation from the old one. */
  change: (activation: number) => number;
}

export interface SplicePlan {
  /** Sites whose activation is replaced by the dictionary's output. */
  splice: string[];
  /** Whether the error term is added back at the sites of `splice`. Sites spliced only for an intervention always keep it. */
  errorTerm: boolean;
  interventions: FeatureIntervention[];
}

/** The hook point that a dictionary's output replaces. */
export function outputHook(d: Dictionary): string {
  return d.kind === 'transcoder' ? `blocks.${d.layer}.hook_mlp_out` : d.site;
}

interface Change {
  position: number;
  feature: number;
  delta: number;
}

/** What interventions change in the activations of one run. */
function changes(acts: FeatureActs, interventions: FeatureIntervention[]): Change[] {
  const S = acts.offsets.length - 1;
  const pending = new Map<string, Change & { value: number; old: number }>();
  for (const { feature, position, change } of interventions) {
    const positions = position === undefined ? Array.from({ length: S }, (_, p) => p) : [position];
    for (const p of positions) {
      const key = `${feature}@${p}`;
      const at = findActive(acts, p, feature);
      const old = at < 0 ? 0 : acts.activations[at];
      const entry = pending.get(key) ?? { position: p, feature, delta: 0, value: old, old };
      entry.value = change(entry.value);
      entry.delta = entry.value - old;
      pending.set(key, entry);
    }
  }
  return [...pending.values()].filter((c) => c.delta !== 0);
}

/** base [S, d_out] plus Σ delta · what the feature writes per unit of activation. */
async function withChanges(
  d: Dictionary,
  base: Float32Array,
  acts: FeatureActs,
  list: Change[],
): Promise<Float32Array> {
  const out = base.slice();
  const { d_out } = d.config;
  const rows = await d.writes(
    Int32Array.from(list, (c) => c.feature),
    Float32Array.from(list, (c) => c.delta),
    Int32Array.from(list, (c) => c.position),
    acts.norms,
  );
  list.forEach((c, i) => {
    for (let j = 0; j < d_out; j++) out[c.position * d_out + j] += rows[i * d_out + j];
  });
  return out;
}

function spliceHook(d: Dictionary, errorTerm: boolean, interventions: FeatureIntervention[]): Hook {
  return async (x: Float32Array, context: HookContext) => {
    const input = d.kind === 'transcoder' ? (context.ln2_normalized as Float32Array) : x;
    const acts = await d.encode(input);
    const list = changes(acts, interventions);
    if (errorTerm && list.length === 0) return x;
    return withChanges(d, errorTerm ? x : await d.decode(acts, input), acts, list);
  };
}

/**
 * Hooks that splice dictionaries into the model as SAELens does: output = reconstruction with interventions, plus, with the error
 * term, that run's own input minus its un-intervened reconstruction (reference attention-saes §10). Throws UsageError for sites
 * without a dictionary, unknown features and positions.
 */
export function spliceHooks(engine: Engine, plan: SplicePlan, promptLength: number): Hooks {
  const hooks = new Map<string, Hook>();
  for (const i of plan.interventions) {
    engine.dictionary(i.site).checkFeature(i.feature);
    if (i.position !== undefined && !(Number.isInteger(i.position) && i.position >= 0 && i.position < promptLength)) {
      throw new UsageError(`position ${i.position} is outside the prompt (0 to ${promptLength - 1})`);
    }
  }
  for (const site of new Set([...plan.splice, ...plan.interventions.map((i) => i.site)])) {
    const d = engine.dictionary(site);
    const hook = outputHook(d);
    if (hooks.has(hook)) throw new UsageError(`two dictionaries would be spliced at ${hook}`);
    const errorTerm = plan.splice.includes(site) ? plan.errorTerm : true;
    hooks.set(
      hook,
      spliceHook(
        d,
        errorTerm,
        plan.interventions.filter((i) => i.site === site),
      ),
    );
  }
  return hooks;
}

/** Runs the prompt again with dictionaries spliced and features changed. */
export function runSpliced(engine: Engine, run: PromptRun, plan: SplicePlan, signal?: AbortSignal): Promise<Trace> {
  return engine.model.runWithHooks(run.trace, spliceHooks(engine, plan, run.trace.tokens.length), { signal });
}
