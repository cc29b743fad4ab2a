import { expand, headBySource, makeRoot, openAttention, type RootSpec, sumGrid, type TreeNode } from '../attribution';
import { topPredictions } from '../analyses';
import { fixed, lastLogits, mean, number, standardError, table } from './common';
import { type Case, type Cell, type Experiment, type ExperimentContext } from './types';

/** The answer against the distractor, or the likeliest token where there are none. */
async function rootOf(context: ExperimentContext, c: Case): Promise<RootSpec> {
  const position = c.tokens.length - 1;
  if (c.answer !== null && c.distractor !== null) return { type: 'logit', tokens: [c.answer, c.distractor], position };
  const { trace } = await context.run(c);
  const [top] = topPredictions(await lastLogits(context.engine, trace), 1, context.engine);
  return { type: 'logit', tokens: [c.answer ?? top.id], position };
}

/** Whose a term of the final stream is: a component's name that does not depend on the prompt. */
function componentOf(n: TreeNode): string {
  if (n.kind === 'token-embedding') return 'embedding';
  if (n.kind === 'position-embedding') return 'position';
  if (n.name === 'b_U') return 'b_U';
  const site = n.site ?? '';
  if (n.kind === 'transcoder-feature' || n.kind === 'mlp' || n.kind === 'skip' || site.includes('ln2'))
    return `MLP ${n.layer}`;
  return `attention ${n.layer}`;
}

const add = (map: Map<string, number[]>, key: string, i: number, n: number, value: number): void => {
  const list = map.get(key) ?? new Array<number>(n).fill(0);
  list[i] += value;
  map.set(key, list);
};

interface Mean extends Record<string, Cell> {
  name: string;
  mean: number;
  error: number;
}

const rowsOf = (map: Map<string, number[]>): Mean[] =>
  [...map]
    .map(([name, v]) => ({ name, mean: mean(v), error: standardError(v) }))
    .sort((a, b) => Math.abs(b.mean) - Math.abs(a.mean));

/**
 * Direct logit attribution at the last position, final LayerNorm scale frozen (reference §9): every term of the final stream along the
 * direction of the logit or logit difference, summed by component, by head and by feature; and the logit lens: the same logit read from the
 * stream after each layer with its own scale.
 */
export const dla: Experiment = {
  id: 'dla',
  title: 'Direct logit attribution',
  description: 'What each component, head and feature adds to the logit difference directly; the logit lens by layer.',
  needs: 'prompts',
  parameters: [{ name: 'top', description: 'features shown', type: 'integer', default: 20, min: 1 }],
  async run(context) {
    const { cases, engine } = context;
    const { n_layers, n_heads, d_model } = engine.model.config;
    const n = cases.length;
    const [components, heads, features] = [
      new Map<string, number[]>(),
      new Map<string, number[]>(),
      new Map<string, number[]>(),
    ];
    const lens = Array.from({ length: n_layers + 1 }, () => [] as number[]);
    const values: number[] = [];
    let miss = 0;
    let headMiss = 0;
    for (const [i, c] of cases.entries()) {
      await context.step(`prompt ${c.name}`, i / n);
      const run = await context.run(c);
      const root = await makeRoot(run, await rootOf(context, c));
      const expansion = await expand(run, root, { view: 'component', by: 'source' });
      const opening = await root.open?.();
      if (!expansion || opening?.type !== 'stream') throw new Error('a logit opens as a direction on the stream');
      values.push(root.value);
      for (const child of expansion.children) {
        add(components, componentOf(child), i, n, child.contribution);
        if (child.feature !== undefined) add(features, `${child.site}/${child.feature}`, i, n, child.contribution);
      }
      miss = Math.max(miss, Math.abs(expansion.remainder));
      const position = c.tokens.length - 1;
      for (let l = 0; l < n_layers; l++) {
        const attention = openAttention(run, l, position, opening.direction);
        const { byHead } = sumGrid(headBySource(run, l, position, attention.direction));
        byHead.forEach((v, h) => add(heads, `head ${l}.${h}`, i, n, v));
        const whole = components.get(`attention ${l}`)?.[i] ?? 0;
        headMiss = Math.max(headMiss, Math.abs(whole - byHead.reduce((a, b) => a + b, 0) - attention.constant.value));
      }
      const tokens = root.tokenIds ?? [];
      for (let l = 0; l <= n_layers; l++) {
        const stream = l < n_layers ? run.trace.layers[l].resid_pre : run.trace.resid_post;
        const { logits } = await engine.model.unembed(stream.slice(position * d_model, (position + 1) * d_model));
        lens[l].push(logits[tokens[0]] - (tokens.length > 1 ? logits[tokens[1]] : 0));
      }
    }
    const componentRows = rowsOf(components);
    const headRows = rowsOf(heads).map((r) => {
      const [layer, index] = r.name.slice('head '.length).split('.').map(Number);
      return { ...r, layer, index };
    });
    const lensRows = lens.map((v, l) => ({
      layer: l,
      after: l === 0 ? 'embedding' : `layer ${l - 1}`,
      mean: mean(v),
      error: standardError(v),
    }));
    return {
      summary: [
        `Mean ${fixed(mean(values))} over ${n} prompts.`,
        `The largest component is ${componentRows[0].name} (${fixed(componentRows[0].mean)}), the largest of ${n_layers * n_heads} heads ${headRows[0].name} (${fixed(headRows[0].mean)}).`,
      ],
      tables: [
        table('components', 'By component', { name: 'component', mean: 'mean', error: '± s.e.' }, componentRows),
        table(
          'heads',
          'By head (biases left out)',
          { name: 'head', mean: 'mean', error: '± s.e.', layer: 'layer', index: 'head index' },
          headRows,
        ),
        table(
          'features',
          'By feature',
          { name: 'feature', mean: 'mean', error: '± s.e.' },
          rowsOf(features).slice(0, number(context, 'top')),
        ),
        table('lens', 'Logit lens', { layer: 'layers read', after: 'after', mean: 'mean', error: '± s.e.' }, lensRows),
      ],
      charts: [
        { type: 'bar', title: 'By component', table: 'components', label: 'name', value: 'mean', error: 'error' },
        { type: 'heat', title: 'By head', table: 'heads', row: 'layer', column: 'index', value: 'mean' },
        { type: 'bar', title: 'By feature', table: 'features', label: 'name', value: 'mean', error: 'error' },
        { type: 'line', title: 'Logit lens', table: 'lens', x: 'layer', y: ['mean'] },
      ],
      checks: [
        { name: 'Σ terms = value (largest miss)', miss, limit: 1e-3 },
        { name: 'Σ heads + b_O = attention (largest miss)', miss: headMiss, limit: 1e-3 },
      ],
    };
  },
};
