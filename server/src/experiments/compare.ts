import { expand, makeRoot, type TreeNode } from '../attribution';
import { topPredictions } from '../analyses';
import { UsageError } from '../errors';
import { type Alignment, branches } from './branches';
import { fixed, lastLogits, number, table, text } from './common';
import { type Case, type Experiment, type ExperimentContext } from './types';

/** Key of a root's child that means the same in both prompts: positions left out. */
const keyOf = (n: TreeNode): string => n.key.replace(/@\d+$/, '');

async function childrenOf(
  context: ExperimentContext,
  c: Case,
  tokens: number[],
): Promise<{ value: number; parts: Map<string, number>; remainder: number }> {
  const run = await context.run(c);
  const root = await makeRoot(run, { type: 'logit', tokens, position: c.tokens.length - 1 });
  const e = await expand(run, root, { view: 'component', by: 'source' });
  return {
    value: root.value,
    parts: new Map((e?.children ?? []).map((n) => [keyOf(n), n.contribution])),
    remainder: e?.remainder ?? 0,
  };
}

async function activationsAtEnd(context: ExperimentContext, c: Case): Promise<Map<string, number>> {
  const run = await context.run(c);
  const out = new Map<string, number>();
  const p = c.tokens.length - 1;
  for (const site of context.engine.dictionaries.keys()) {
    const a = await run.acts(site);
    for (let i = a.offsets[p]; i < a.offsets[p + 1]; i++) out.set(`${site}/${a.features[i]}`, a.activations[i]);
  }
  return out;
}

/** Left, right and difference of two maps, largest difference first. */
function sideBySide(
  left: ReadonlyMap<string, number>,
  right: ReadonlyMap<string, number>,
  top: number,
): { name: string; left: number; right: number; difference: number }[] {
  const names = [...new Set([...left.keys(), ...right.keys()])];
  return names
    .map((name) => ({ name, left: left.get(name) ?? 0, right: right.get(name) ?? 0 }))
    .map((r) => ({ ...r, difference: r.right - r.left }))
    .sort((a, b) => Math.abs(b.difference) - Math.abs(a.difference))
    .slice(0, top);
}

const nameOf = (p: { text: string | null; id: number }): string => JSON.stringify(p.text ?? p.id);

/** Answer and distractor of a case, or one token. */
const tokensOf = (c: Case, likeliest: number): number[] =>
  c.answer !== null && c.distractor !== null ? [c.answer, c.distractor] : [c.answer ?? likeliest];

/** The first two prompts beside each other: predictions, features at the last position, and the tree of the first one's answer. */
export const compare: Experiment = {
  id: 'compare',
  title: 'Two prompts side by side',
  description:
    'Left, right and difference of two prompts: predictions, features, and the parts of the logit or logit difference.',
  needs: 'two',
  parameters: [
    { name: 'top', description: 'rows shown', type: 'integer', default: 20, min: 1 },
    { name: 'depth', description: 'levels of the trees', type: 'integer', default: 3, min: 1 },
    { name: 'children', description: 'children shown of each node of the trees', type: 'integer', default: 4, min: 1 },
    {
      name: 'align',
      description: 'what is compared in the trees: positions from the end, or equal tokens',
      type: 'choice',
      default: 'position',
      choices: ['position', 'token'],
    },
  ],
  async data(context, tables) {
    const { engine, cases } = context;
    const logits = await lastLogits(engine, (await context.run(cases[0])).trace);
    const all = topPredictions(logits, engine.model.config.d_vocab, engine);
    const ids = new Map(all.map((p) => [nameOf(p), p.id]));
    const rows = tables.find((t) => t.id === 'predictions')?.rows ?? [];
    const predictions = Object.fromEntries(rows.map((r) => [String(r[0]), ids.get(String(r[0]))]));
    return { tokens: tokensOf(cases[0], all[0].id), predictions };
  },
  async run(context) {
    const { cases, engine } = context;
    if (cases.length !== 2) throw new UsageError(`comparing needs two prompts, there are ${cases.length}`);
    const top = number(context, 'top');
    const [l, r] = cases;
    const logits = await Promise.all(cases.map(async (c) => lastLogits(engine, (await context.run(c)).trace)));
    const [best] = topPredictions(logits[0], 1, engine);
    const tokens = tokensOf(l, best.id);
    const probabilities = logits.map(
      (x) => new Map(topPredictions(x, engine.model.config.d_vocab, engine).map((p) => [nameOf(p), p.probability])),
    );
    const [left, right] = [await childrenOf(context, l, tokens), await childrenOf(context, r, tokens)];
    const columns = { name: 'name', left: l.name, right: r.name, difference: 'difference' };
    return {
      summary: [
        `The logit${tokens.length > 1 ? ' difference' : ''} of ${l.name}'s answer is ${fixed(left.value)} in ${l.name} and ${fixed(right.value)} in ${r.name}: ${fixed(right.value - left.value)}.`,
      ],
      tables: [
        table('predictions', 'Next-token probabilities', columns, sideBySide(probabilities[0], probabilities[1], top)),
        table(
          'features',
          'Activations at the last position',
          columns,
          sideBySide(await activationsAtEnd(context, l), await activationsAtEnd(context, r), top),
        ),
        table('tree', 'Parts of the value', columns, sideBySide(left.parts, right.parts, top)),
        table(
          'branches',
          'The trees; each number is a part of the node above',
          { branch: 'node', left: l.name, right: r.name, difference: 'difference', level: 'level' },
          await branches(
            [await context.run(l), await context.run(r)],
            [
              { type: 'logit', tokens, position: l.tokens.length - 1 },
              { type: 'logit', tokens, position: r.tokens.length - 1 },
            ],
            {
              depth: number(context, 'depth'),
              top: number(context, 'children'),
              by: text(context, 'align') as Alignment,
            },
          ),
        ),
      ],
      charts: [
        { type: 'bar', title: 'Difference of the parts', table: 'tree', label: 'name', value: 'difference' },
        { type: 'bar', title: 'Difference of the activations', table: 'features', label: 'name', value: 'difference' },
      ],
      checks: [
        {
          name: 'Σ parts = value (largest miss)',
          miss: Math.max(Math.abs(left.remainder), Math.abs(right.remainder)),
          limit: 1e-3,
        },
      ],
    };
  },
};
