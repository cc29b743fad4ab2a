import { makeRoot, type RootSpec } from '../attribution';
import { type Engine, type PromptRun, siteInput } from '../engine';
import { throwIfCancelled } from '../errors';
import { type Trace } from '../model';
import { runSpliced } from './interventions';
import { type Prediction, topPredictions } from './predictions';
import { type Change } from './validate';

/** What a model run without some features says, beside the clean run. */
export interface Ablation {
  position: number;
  before: Prediction['top'];
  after: Prediction['top'];
  /** The root's value in both runs. */
  root: Change;
}

const TOP = 8;

async function logitsOf(engine: Engine, trace: Trace, position: number): Promise<Float32Array> {
  const d = engine.model.config.d_model;
  return (await engine.model.unembed(trace.resid_post.slice(position * d, (position + 1) * d))).logits;
}

/**
 * Sets features to zero, error terms kept, and runs the prompt again: predictions at the root's position and the root's value before and
 * after. A feature without a position is zeroed everywhere. Throws UsageError for unknown sites, features and positions.
 */
export async function ablate(
  engine: Engine,
  run: PromptRun,
  root: RootSpec,
  features: { site: string; feature: number; position?: number }[],
  signal?: AbortSignal,
): Promise<Ablation> {
  const interventions = features.map((f) => ({ ...f, change: (): number => 0 }));
  const before = (await makeRoot(run, root)).value;
  const trace = await runSpliced(engine, run, { splice: [], errorTerm: true, interventions }, signal);
  throwIfCancelled(signal);
  const clean = await logitsOf(engine, run.trace, root.position);
  const changed = await logitsOf(engine, trace, root.position);
  let after: number;
  if (root.type === 'logit') {
    after = changed[root.tokens[0]] - (root.tokens.length > 1 ? changed[root.tokens[1]] : 0);
  } else {
    const d = engine.dictionary(root.site);
    const { d_in } = d.config;
    const x = siteInput(trace, d).slice(root.position * d_in, (root.position + 1) * d_in);
    const { norms } = await d.encode(x);
    after = d.preActivation(root.feature, x, 0, norms[0]);
  }
  return {
    position: root.position,
    before: topPredictions(clean, TOP, engine),
    after: topPredictions(changed, TOP, engine),
    root: { before, after, change: after - before },
  };
}
