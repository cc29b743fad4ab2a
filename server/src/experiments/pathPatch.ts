import { HeadQK } from '../attribution';
import { findActive } from '../dictionaries';
import { type Engine, type PromptRun } from '../engine';
import { UsageError } from '../errors';
import {
  fixed,
  hooked,
  logitDifference,
  mean,
  parseHead,
  parseRole,
  parseSite,
  roleOf,
  roleParameter,
  standardError,
  table,
  text,
} from './common';
import { needAnswers } from './cases';
import { type Experiment } from './types';

type Input = 'query' | 'key' | 'value';

/** Row of a new pattern: the old one with some scores changed by deltas, normalised again. */
function reweighted(row: ArrayLike<number>, delta: ArrayLike<number>): Float64Array {
  const out = Float64Array.from(row, (p, s) => p * Math.exp(delta[s]));
  const total = out.reduce((a, b) => a + b, 0);
  return out.map((x) => x / total);
}

/**
 * z [S, d_head] of one head when one row of its input stream is changed for its query, key or value alone; LayerNorm of that row is
 * recomputed. `stream` is the changed resid_pre [S, d_model], different from the clean one at `position` only.
 */
export async function headWithInput(
  engine: Engine,
  run: PromptRun,
  layer: number,
  head: number,
  input: Input,
  stream: Float32Array,
  position: number,
): Promise<Float64Array> {
  const { d_model: d, d_head } = engine.model.config;
  const { trace } = run;
  const S = trace.tokens.length;
  const clean = trace.layers[layer];
  const { ln1_scale, k, v } = await engine.model.attentionOf(layer, stream);
  const qk = new HeadQK(run, layer, head);
  const rowOf = (x: Float32Array, p: number): Float32Array => x.subarray(p * d, (p + 1) * d);
  const query = (p: number): Float64Array => qk.whole('query', rowOf(clean.resid_pre, p), clean.ln1_scale[p]);
  const changed = qk.whole('query', rowOf(stream, position), ln1_scale[position]);
  const before = query(position);
  const at = (x: Float32Array, s: number, j: number): number => x[(head * S + s) * d_head + j];
  const values = input === 'value' ? v : clean.v;
  const out = new Float64Array(S * d_head);
  for (let D = 0; D < S; D++) {
    let row: ArrayLike<number> = clean.pattern.subarray((head * S + D) * S, (head * S + D) * S + D + 1);
    const delta = new Float64Array(D + 1);
    if (input === 'query' && D === position) {
      for (let s = 0; s <= D; s++)
        for (let j = 0; j < d_head; j++) delta[s] += ((changed[j] - before[j]) * at(clean.k, s, j)) / Math.sqrt(d_head);
      row = reweighted(row, delta);
    } else if (input === 'key' && D >= position) {
      const q = query(D);
      for (let j = 0; j < d_head; j++)
        delta[position] += (q[j] * (at(k, position, j) - at(clean.k, position, j))) / Math.sqrt(d_head);
      row = reweighted(row, delta);
    }
    for (let s = 0; s <= D; s++) for (let j = 0; j < d_head; j++) out[D * d_head + j] += row[s] * at(values, s, j);
  }
  return out;
}

/** Takes a feature's write out of the query, key or value input of chosen heads only, and lets everything after them react (reference §12.2, path-level check). */
export const pathPatch: Experiment = {
  id: 'path-patch',
  title: 'Path patching of a feature',
  description:
    'Takes what a feature wrote out of the query, key or value input of chosen heads only, and measures the logit difference.',
  needs: 'answers',
  parameters: [
    {
      name: 'feature',
      description: 'SITE/INDEX, or LAYER.INDEX of an attention dictionary',
      type: 'text',
      default: '0.151',
    },
    roleParameter('role', 'where it fires', 'S2'),
    { name: 'heads', description: 'heads, such as 2.3,3.1', type: 'text', default: '2.3' },
    {
      name: 'input',
      description: 'which input of the heads',
      type: 'choice',
      default: 'value',
      choices: ['query', 'key', 'value'],
    },
  ],
  async run(context) {
    const { engine, cases } = context;
    needAnswers(cases);
    const given = text(context, 'feature');
    const short = /^(\d+)\.(\d+)$/.exec(given);
    const slash = given.lastIndexOf('/');
    const site = parseSite(engine, short ? short[1] : given.slice(0, Math.max(0, slash)));
    const feature = Number(short ? short[2] : given.slice(slash + 1));
    const dictionary = engine.dictionary(site);
    dictionary.checkFeature(feature);
    const chosen = text(context, 'heads')
      .split(',')
      .map((h) => parseHead(engine, h));
    const early = chosen.find(
      (h) => h.layer <= dictionary.layer && !(dictionary.kind === 'residual' && h.layer === dictionary.layer),
    );
    if (early)
      throw new UsageError(`head ${early.layer}.${early.head} does not read what ${site} writes: it comes before`);
    const role = parseRole(text(context, 'role'));
    const input = text(context, 'input') as Input;
    const { d_model: d, d_head } = engine.model.config;
    const rows: {
      prompt: string;
      template: string;
      activation: number;
      clean: number;
      patched: number;
      effect: number;
    }[] = [];
    for (const [i, c] of cases.entries()) {
      await context.step(`prompt ${c.name}`, i / cases.length);
      const run = await context.run(c);
      const position = roleOf(c, role);
      const clean = await logitDifference(engine, run.trace, c);
      const acts = await run.acts(site);
      const index = findActive(acts, position, feature);
      if (index < 0) {
        rows.push({ prompt: c.name, template: c.template, activation: 0, clean, patched: clean, effect: 0 });
        continue;
      }
      const w = await run.writes(site, position);
      const u = w.rows.subarray(w.features.indexOf(feature) * d, (w.features.indexOf(feature) + 1) * d);
      const hooks = new Map<string, (x: Float32Array) => Float32Array>();
      for (const layer of new Set(chosen.map((h) => h.layer))) {
        const stream = run.trace.layers[layer].resid_pre.slice();
        for (let j = 0; j < d; j++) stream[position * d + j] -= u[j];
        const parts: { head: number; delta: Float64Array }[] = [];
        for (const { head } of chosen.filter((h) => h.layer === layer)) {
          const changed = await headWithInput(engine, run, layer, head, input, stream, position);
          const same = await headWithInput(
            engine,
            run,
            layer,
            head,
            input,
            run.trace.layers[layer].resid_pre,
            position,
          );
          parts.push({ head, delta: changed.map((x, j) => x - same[j]) });
        }
        hooks.set(`blocks.${layer}.attn.hook_z`, (z) => {
          const out = z.slice();
          for (const { head, delta } of parts)
            delta.forEach((x, j) => (out[Math.floor(j / d_head) * d + head * d_head + (j % d_head)] += x));
          return out;
        });
      }
      const patched = await logitDifference(engine, await hooked(context, c, hooks), c);
      rows.push({
        prompt: c.name,
        template: c.template,
        activation: acts.activations[index],
        clean,
        patched,
        effect: patched - clean,
      });
    }
    const templates = [...new Set(rows.map((r) => r.template))].sort().map((template) => {
      const e = rows.filter((r) => r.template === template).map((r) => r.effect);
      return { template, mean: mean(e), error: standardError(e), prompts: e.length };
    });
    const firing = rows.filter((r) => r.activation > 0).length;
    return {
      summary: [
        `${site}/${feature} fires at ${role} in ${firing} of ${cases.length} prompts.`,
        `Without it in the ${input} input of ${text(context, 'heads')} the logit difference changes by ${fixed(mean(rows.map((r) => r.effect)))} on average.`,
      ],
      tables: [
        table(
          'templates',
          'By template',
          { template: 'template', mean: 'mean ΔLD', error: '± s.e.', prompts: 'prompts' },
          templates,
        ),
        table(
          'prompts',
          'Each prompt',
          {
            prompt: 'prompt',
            template: 'template',
            activation: 'activation',
            clean: 'clean',
            patched: 'patched',
            effect: 'ΔLD',
          },
          rows,
        ),
      ],
      charts: [
        { type: 'bar', title: 'Mean ΔLD', table: 'templates', label: 'template', value: 'mean', error: 'error' },
        {
          type: 'scatter',
          title: 'ΔLD by activation',
          table: 'prompts',
          x: 'activation',
          y: 'effect',
          label: 'prompt',
          identity: false,
        },
      ],
      checks: [],
    };
  },
};
