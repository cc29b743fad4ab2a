import { type FeatureIntervention, outputHook, runSpliced } from '../analyses';
import { type Dictionary } from '../dictionaries';
import { siteTarget } from '../engine';
import { type Trace } from '../model';
import {
  deviation,
  fixed,
  flag,
  hooked,
  logitDifference,
  mean,
  number,
  parseRole,
  parseSite,
  roleOf,
  roleParameter,
  table,
  text,
} from './common';
import { needAnswers } from './cases';
import { type Case, type Experiment, type ExperimentContext } from './types';

/** Scale step of the numerical derivative. */
const STEP = 0.02;

/** Active features at the role's position of any case, strongest first. */
async function featuresAtRole(
  context: ExperimentContext,
  site: string,
  limit: number,
): Promise<{ features: number[]; left: number }> {
  const strongest = new Map<number, number>();
  const role = parseRole(text(context, 'role'));
  for (const c of context.cases) {
    const acts = await (await context.run(c)).acts(site);
    const p = roleOf(c, role);
    for (let i = acts.offsets[p]; i < acts.offsets[p + 1]; i++) {
      strongest.set(acts.features[i], Math.max(strongest.get(acts.features[i]) ?? 0, acts.activations[i]));
    }
  }
  const all = [...strongest].sort((a, b) => b[1] - a[1]).map(([f]) => f);
  return { features: all.slice(0, limit), left: Math.max(0, all.length - limit) };
}

async function withScale(
  context: ExperimentContext,
  c: Case,
  site: string,
  feature: number,
  positions: number[],
  scale: number,
): Promise<number> {
  const run = await context.run(c);
  const interventions = positions.map((position): FeatureIntervention => ({
    site,
    feature,
    position,
    change: (a) => a * scale,
  }));
  const trace = await runSpliced(context.engine, run, { splice: [], errorTerm: true, interventions }, context.signal);
  return logitDifference(context.engine, trace, c);
}

/** The run without the reconstruction error at some positions. */
async function withoutError(context: ExperimentContext, c: Case, d: Dictionary, positions: number[]): Promise<Trace> {
  const run = await context.run(c);
  const recon = await run.recon(d.site);
  const target = siteTarget(run.trace, d);
  const width = target.length / run.trace.tokens.length;
  const replace = (x: Float32Array): Float32Array => {
    const out = x.slice();
    for (const p of positions) for (let i = p * width; i < (p + 1) * width; i++) out[i] += recon[i] - target[i];
    return out;
  };
  return hooked(context, c, new Map([[outputHook(d), replace]]));
}

interface Effects {
  feature: string;
  byCase: { c: Case; effect: number; estimate: number; active: boolean }[];
}

/** The feature's ΔLD in each case; 0 where it is not active. */
async function effectsOf(
  context: ExperimentContext,
  site: string,
  feature: number,
  clean: number[],
  union: number[] | null,
): Promise<Effects> {
  const role = parseRole(text(context, 'role'));
  const byCase: Effects['byCase'] = [];
  for (const [i, c] of context.cases.entries()) {
    const positions = union ? union.filter((p) => p < c.tokens.length) : [roleOf(c, role)];
    const acts = await (await context.run(c)).acts(site);
    const active = positions.some((p) =>
      acts.features.subarray(acts.offsets[p], acts.offsets[p + 1]).includes(feature),
    );
    if (!active) {
      byCase.push({ c, effect: 0, estimate: 0, active });
      continue;
    }
    const effect = (await withScale(context, c, site, feature, positions, 0)) - clean[i];
    let estimate = NaN;
    if (flag(context, 'estimate')) {
      const up = await withScale(context, c, site, feature, positions, 1 + STEP);
      const down = await withScale(context, c, site, feature, positions, 1 - STEP);
      estimate = -(up - down) / (2 * STEP);
    }
    byCase.push({ c, effect, estimate, active });
  }
  return { feature: `${site}/${feature}`, byCase };
}

/**
 * Zeroes each feature that is active at a position role, and the reconstruction error, and records ΔLD = LD without − LD clean, paired per
 * prompt, as the reference's §12.2. `union` zeroes it at the role positions of all prompts in every prompt, as the published script
 * does. The estimate is attribution patching, −a·∂LD/∂a, with a numerical central derivative.
 */
export const ablation: Experiment = {
  id: 'ablation',
  title: 'Ablation at a position role',
  description:
    'Zeroes each feature of a site that is active at a role (S2, END, …), and the error, and records the change of the logit difference.',
  needs: 'answers',
  parameters: [
    { name: 'site', description: 'a site, or a layer for its attention dictionary', type: 'text', default: '2' },
    roleParameter('role', 'which position', 'END'),
    { name: 'max-features', description: 'features tried, strongest first', type: 'integer', default: 30, min: 1 },
    { name: 'estimate', description: 'attribution-patching estimate beside the ablation', type: 'flag', default: true },
    {
      name: 'union',
      description: 'zero at the role positions of all prompts, as the published script does',
      type: 'flag',
      default: false,
    },
  ],
  async run(context) {
    const { cases, engine } = context;
    needAnswers(cases);
    const site = parseSite(engine, text(context, 'site'));
    const role = parseRole(text(context, 'role'));
    const clean: number[] = [];
    for (const c of cases) clean.push(await logitDifference(engine, (await context.run(c)).trace, c));
    const union = flag(context, 'union') ? [...new Set(cases.map((c) => roleOf(c, role)))] : null;
    const { features, left } = await featuresAtRole(context, site, number(context, 'max-features'));
    const effects: Effects[] = [];
    for (const [i, f] of features.entries()) {
      await context.step(`feature ${f}`, i / (features.length + 1));
      effects.push(await effectsOf(context, site, f, clean, union));
    }
    const error: Effects = { feature: `error of ${site}`, byCase: [] };
    for (const [i, c] of cases.entries()) {
      const positions = union ? union.filter((p) => p < c.tokens.length) : [roleOf(c, role)];
      const trace = await withoutError(context, c, engine.dictionary(site), positions);
      error.byCase.push({
        c,
        effect: (await logitDifference(engine, trace, c)) - clean[i],
        estimate: NaN,
        active: true,
      });
    }
    const templates = [...new Set(cases.map((c) => c.template))].sort();
    const rows = [...effects, error].map(({ feature, byCase }) => ({
      feature,
      mean: mean(byCase.map((x) => x.effect)),
      sd: deviation(byCase.map((x) => x.effect)),
      active: byCase.filter((x) => x.active).length / byCase.length,
      estimate: feature.startsWith('error') || !flag(context, 'estimate') ? null : mean(byCase.map((x) => x.estimate)),
      ...Object.fromEntries(
        templates.map((t) => [t, mean(byCase.filter((x) => x.c.template === t).map((x) => x.effect))]),
      ),
    }));
    rows.sort((a, b) => a.mean - b.mean);
    const single = [...effects, error].flatMap(({ feature, byCase }) =>
      byCase
        .filter((x) => x.active)
        .map((x) => ({
          feature,
          prompt: x.c.name,
          template: x.c.template,
          effect: x.effect,
          estimate: Number.isNaN(x.estimate) ? null : x.estimate,
        })),
    );
    const strongest = single.filter((x) => x.feature === rows[0].feature);
    return {
      summary: [
        `Clean logit difference ${fixed(mean(clean))} over ${cases.length} prompts; zeroed at ${role}${union ? ' of all prompts' : ''}.`,
        `The strongest is ${rows[0].feature}: ${fixed(rows[0].mean)} on average.`,
        ...(left > 0 ? [`${left} weaker features were not tried.`] : []),
      ],
      tables: [
        table(
          'features',
          'Mean change of the logit difference',
          {
            feature: 'feature',
            mean: 'mean ΔLD',
            sd: 's.d.',
            active: 'active in',
            estimate: 'estimate',
            ...Object.fromEntries(templates.map((t) => [t, t])),
          },
          rows,
        ),
        table(
          'strongest',
          `${rows[0].feature} in each prompt`,
          { prompt: 'prompt', template: 'template', effect: 'ΔLD' },
          strongest,
        ),
        table(
          'single',
          'Each feature in each prompt',
          { feature: 'feature', prompt: 'prompt', template: 'template', effect: 'ΔLD', estimate: 'estimate' },
          single,
        ),
      ],
      charts: [
        { type: 'bar', title: 'Mean ΔLD by feature', table: 'features', label: 'feature', value: 'mean', error: 'sd' },
        {
          type: 'box',
          title: `ΔLD of ${rows[0].feature} by template`,
          table: 'strongest',
          group: 'template',
          value: 'effect',
        },
        { type: 'histogram', title: 'ΔLD over features and prompts', table: 'single', value: 'effect', bins: 30 },
        ...(flag(context, 'estimate')
          ? [
              {
                type: 'scatter' as const,
                title: 'Estimate against ablation',
                table: 'single',
                x: 'effect',
                y: 'estimate',
                label: 'feature',
                identity: true,
              },
            ]
          : []),
      ],
      checks: [],
    };
  },
};
