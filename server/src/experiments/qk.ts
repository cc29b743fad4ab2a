import { HeadQK, type QKTerm } from '../attribution';
import { UsageError } from '../errors';
import { fixed, mean, number, parseHead, parseRole, table, text } from './common';
import { type Experiment } from './types';

const nameOf = (t: QKTerm): string => {
  if (t.feature !== undefined) return `${t.site}/${t.feature}`;
  return t.key.replace(/@\d+$/, '');
};

/** 1 − Var(x − y)/Var(x). */
export function varianceExplained(x: readonly number[], y: readonly number[]): number {
  const variance = (v: number[]): number => mean(v.map((z) => (z - mean(v)) ** 2));
  return 1 - variance(x.map((v, i) => v - y[i])) / variance([...x]);
}

/**
 * Why a head attends: its score from one role to another, minus the score to a third (softmax sees only differences), split into pairs of what
 * wrote the query and what wrote the key, biases included. Sums are checked against the pattern of the forward pass. Variance explained by the
 * k largest pairs = 1 − Var(score − Σ pairs)/Var(score) over the prompts. Reference §8.
 */
export const qk: Experiment = {
  id: 'qk',
  title: 'Why a head attends',
  description:
    'Splits the score of a head between two roles into pairs of query-side and key-side features and biases.',
  needs: 'prompts',
  parameters: [
    { name: 'head', description: 'LAYER.HEAD', type: 'text', default: '2.3' },
    { name: 'from', description: 'role of the destination, or a position', type: 'text', default: 'END' },
    { name: 'to', description: 'role of the source, or a position', type: 'text', default: 'IO' },
    { name: 'minus', description: 'role or position of the source to subtract', type: 'text', default: 'S1' },
    { name: 'top', description: 'pairs shown', type: 'integer', default: 20, min: 1 },
  ],
  async run(context) {
    const { engine, cases } = context;
    if (cases.length === 0) throw new UsageError('there is no prompt');
    const { layer, head } = parseHead(engine, text(context, 'head'));
    const at = (c: (typeof cases)[number], name: string): number => {
      const given = text(context, name);
      const p = /^\d+$/.test(given) ? Number(given) : c.roles[parseRole(given)];
      if (p === undefined || p >= c.tokens.length) throw new UsageError(`prompt ${c.name} has no position ${given}`);
      return p;
    };
    const byPair = new Map<string, { query: string; key: string; values: number[]; to: number[]; minus: number[] }>();
    const scores: { to: number; minus: number; total: number; measured: number }[] = [];
    for (const [i, c] of cases.entries()) {
      await context.step(`prompt ${c.name}`, i / cases.length);
      const h = new HeadQK(await context.run(c), layer, head);
      const [from, to, minus] = [at(c, 'from'), at(c, 'to'), at(c, 'minus')];
      if (to > from || minus > from) throw new UsageError(`prompt ${c.name}: a head attends to earlier positions only`);
      const [a, b] = [await h.score(from, to), await h.score(from, minus)];
      scores.push({
        to: a.score,
        minus: b.score,
        total: a.score - b.score,
        measured: h.measuredDifference(from, to, minus),
      });
      for (const [side, d] of [['to', a] as const, ['minus', b] as const]) {
        d.query.forEach((q, x) =>
          d.key.forEach((k, y) => {
            const id = `${nameOf(q)} × ${nameOf(k)}`;
            const have = byPair.get(id) ?? {
              query: nameOf(q),
              key: nameOf(k),
              values: cases.map(() => 0),
              to: cases.map(() => 0),
              minus: cases.map(() => 0),
            };
            have[side][i] += d.pairs[x][y];
            have.values[i] += (side === 'to' ? 1 : -1) * d.pairs[x][y];
            byPair.set(id, have);
          }),
        );
      }
    }
    const ordered = [...byPair.values()].sort((a, b) => Math.abs(mean(b.values)) - Math.abs(mean(a.values)));
    const totals = scores.map((s) => s.total);
    const byVariance = [...byPair.values()].sort(
      (a, b) => mean(b.values.map((v) => v * v)) - mean(a.values.map((v) => v * v)),
    );
    const explained = [1, 2, 4, 8, 16, 32]
      .filter((k) => k <= byVariance.length)
      .map((k) => ({
        pairs: k,
        explained:
          cases.length < 2
            ? null
            : varianceExplained(
                totals,
                totals.map((_, i) => byVariance.slice(0, k).reduce((s, p) => s + p.values[i], 0)),
              ),
      }));
    const rows = ordered.slice(0, number(context, 'top')).map((p) => {
      const [to, minus] = [mean(p.to), mean(p.minus)];
      const verdict =
        mean(p.values) >= 0
          ? to > 0
            ? `boosts ${text(context, 'to')}`
            : `inhibits ${text(context, 'minus')}`
          : minus > 0
            ? `boosts ${text(context, 'minus')}`
            : `inhibits ${text(context, 'to')}`;
      return { query: p.query, key: p.key, mean: mean(p.values), to, minus, verdict };
    });
    const shown = ordered.slice(0, number(context, 'top'));
    const rest = ordered.slice(number(context, 'top'));
    const misses = scores.filter((s) => !Number.isNaN(s.measured)).map((s) => Math.abs(s.total - s.measured));
    return {
      summary: [
        `Head ${layer}.${head}: the score from ${text(context, 'from')} to ${text(context, 'to')} exceeds that to ${text(context, 'minus')} by ${fixed(mean(totals))} on average over ${cases.length} prompts.`,
        `The ${rows.length} largest pairs make ${fixed(rows.reduce((s, r) => s + r.mean, 0))} of it; ${rest.length} others together ${fixed(rest.reduce((s, p) => s + mean(p.values), 0))}.`,
        ...(misses.length < scores.length
          ? [
              `In ${scores.length - misses.length} of ${scores.length} prompts the pattern is too small to check the sum against it.`,
            ]
          : []),
      ],
      tables: [
        table(
          'pairs',
          'Pairs',
          {
            query: 'query side',
            key: 'key side',
            mean: 'mean difference',
            to: `to ${text(context, 'to')}`,
            minus: `to ${text(context, 'minus')}`,
            verdict: 'verdict',
          },
          rows,
        ),
        table(
          'byPrompt',
          'Pairs in each prompt',
          { pair: 'pair', prompt: 'prompt', value: 'difference' },
          shown.flatMap((p) =>
            cases.map((c, i) => ({
              pair: `${p.query} × ${p.key}`,
              prompt: c.name,
              value: p.values[i],
            })),
          ),
        ),
        table(
          'explained',
          'Variance explained over the prompts',
          { pairs: 'largest pairs', explained: '1 − Var(rest)/Var' },
          explained,
        ),
        table(
          'prompts',
          'Each prompt',
          { prompt: 'prompt', total: 'Σ pairs', measured: 'from the pattern' },
          cases.map((c, i) => ({
            prompt: c.name,
            total: totals[i],
            measured: Number.isNaN(scores[i].measured) ? null : scores[i].measured,
          })),
        ),
      ],
      charts: [
        { type: 'heat', title: 'Pairs', table: 'pairs', row: 'query', column: 'key', value: 'mean' },
        {
          type: 'heat',
          title: 'Pairs in each prompt',
          table: 'byPrompt',
          row: 'pair',
          column: 'prompt',
          value: 'value',
        },
        {
          type: 'scatter',
          title: 'Σ pairs against the pattern',
          table: 'prompts',
          x: 'measured',
          y: 'total',
          label: 'prompt',
          identity: true,
        },
      ],
      checks:
        misses.length === 0
          ? []
          : [{ name: 'Σ pairs = log pattern difference (largest miss)', miss: Math.max(...misses), limit: 1e-2 }],
    };
  },
};
