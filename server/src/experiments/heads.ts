import { headBySource, sumGrid } from '../attribution';
import { allHeadShares } from '../analyses';
import { type Dictionary } from '../dictionaries';
import { UsageError } from '../errors';
import { fixed, mean, number, parseHead, standardError, table, text } from './common';
import { seeded } from './ioi';
import { type Experiment, type ExperimentContext } from './types';

/** Pearson's correlation; NaN when either side does not vary. */
export function correlation(x: readonly number[], y: readonly number[]): number {
  const [mx, my] = [mean(x), mean(y)];
  let [xy, xx, yy] = [0, 0, 0];
  x.forEach((v, i) => {
    xy += (v - mx) * (y[i] - my);
    xx += (v - mx) ** 2;
    yy += (y[i] - my) ** 2;
  });
  return xy / Math.sqrt(xx * yy);
}

/** Mean |DFA| share by head of each feature that fires in the prompts. */
async function dfaShares(context: ExperimentContext, d: Dictionary): Promise<Map<number, number[]>> {
  const sums = new Map<number, number[]>();
  for (const c of context.cases) {
    const run = await context.run(c);
    const acts = await run.acts(d.site);
    for (let p = 0; p < c.tokens.length; p++) {
      for (let i = acts.offsets[p]; i < acts.offsets[p + 1]; i++) {
        const f = acts.features[i];
        const { byHead } = sumGrid(headBySource(run, d.layer, p, d.readDirection(f, acts.norms[p])));
        const have = sums.get(f) ?? byHead.map(() => 0);
        byHead.forEach((v, h) => (have[h] += Math.abs(v)));
        sums.set(f, have);
      }
    }
  }
  for (const [f, v] of sums) {
    const total = v.reduce((a, b) => a + b, 0);
    sums.set(
      f,
      v.map((x) => (total === 0 ? 0 : x / total)),
    );
  }
  return sums;
}

/** For each head the features whose decoder rows lie most in it; and how these weight-based shares agree with DFA over the prompts. */
export const heads: Experiment = {
  id: 'heads',
  title: 'Heads and their features',
  description:
    'For every head the features whose decoder lies most in it; weight-based shares against DFA-based shares on the prompts.',
  needs: 'none',
  parameters: [{ name: 'top', description: 'features of each head', type: 'integer', default: 10, min: 1 }],
  async run(context) {
    const { engine, cases } = context;
    const dictionaries = [...engine.dictionaries.values()]
      .filter((d) => d.kind === 'attention')
      .sort((a, b) => a.layer - b.layer);
    if (dictionaries.length === 0) throw new UsageError('no attention dictionary is loaded');
    const top = number(context, 'top');
    const rows: { head: string; rank: number; feature: string; share: number }[] = [];
    const pairs: { feature: string; head: string; weight: number; dfa: number }[] = [];
    for (const d of dictionaries) {
      const shares = await allHeadShares(engine, d, (f) => context.step(`${d.site}: feature ${f}`, f / d.config.d_sae));
      for (let h = 0; h < engine.model.config.n_heads; h++) {
        const order = shares.map((_, f) => f).sort((a, b) => shares[b][h] - shares[a][h] || a - b);
        order
          .slice(0, top)
          .forEach((f, rank) =>
            rows.push({ head: `${d.layer}.${h}`, rank: rank + 1, feature: `${d.site}/${f}`, share: shares[f][h] }),
          );
      }
      for (const [f, dfa] of await dfaShares(context, d)) {
        dfa.forEach((v, h) =>
          pairs.push({ feature: `${d.site}/${f}`, head: `${d.layer}.${h}`, weight: shares[f][h], dfa: v }),
        );
      }
    }
    const r = correlation(
      pairs.map((p) => p.weight),
      pairs.map((p) => p.dfa),
    );
    return {
      summary: [
        `${dictionaries.length * engine.model.config.n_heads} heads, ${top} features each.`,
        ...(cases.length > 0
          ? [
              `Weight-based and DFA-based shares correlate with r = ${fixed(r, 2)} over ${pairs.length} pairs of a feature that fires in the prompts and a head.`,
            ]
          : []),
      ],
      tables: [
        table(
          'heads',
          'Features of each head',
          { head: 'head', rank: 'rank', feature: 'feature', share: 'decoder share' },
          rows,
        ),
        ...(pairs.length > 0
          ? [
              table(
                'shares',
                'Decoder shares against DFA shares',
                { feature: 'feature', head: 'head', weight: 'decoder share', dfa: '|DFA| share' },
                pairs,
              ),
            ]
          : []),
      ],
      charts:
        pairs.length > 0
          ? [
              {
                type: 'scatter',
                title: 'Decoder share against DFA share',
                table: 'shares',
                x: 'weight',
                y: 'dfa',
                label: 'feature',
                identity: true,
              },
            ]
          : [],
      checks: [],
    };
  },
};

/** How long the sequences and prefixes are. Throws UsageError when they do not fit the model. */
function prefixSizes(context: ExperimentContext): { length: number; longest: number; count: number } {
  const { d_vocab, n_ctx } = context.engine.model.config;
  const length = Math.min(number(context, 'length'), n_ctx - 1);
  const longest = Math.min(number(context, 'longest'), Math.floor(length / 2) - 2);
  if (longest < 1 || d_vocab <= length + 1) throw new UsageError('the sequences are too short for a repeated prefix');
  return { length, longest, count: number(context, 'count') };
}

/** Random distinct tokens in which the `prefix` tokens up to `from` stand a first time just before `to`. */
function* sequences(
  context: ExperimentContext,
): Generator<{ prefix: number; tokens: number[]; from: number; to: number }> {
  const { d_vocab, bosTokenId } = context.engine.model.config;
  const { length, longest, count } = prefixSizes(context);
  const random = seeded(number(context, 'seed'));
  const upTo = (n: number): number => Math.floor(random() * n);
  const head = bosTokenId === null ? [] : [bosTokenId];
  for (let prefix = 1; prefix <= longest; prefix++) {
    for (let i = 0; i < count; i++) {
      const tokens = distinct(random, d_vocab, length, bosTokenId);
      const first = upTo(length - 2 * prefix - 1);
      const second = first + prefix + 1 + upTo(length - prefix - (first + prefix + 1));
      for (let j = 0; j < prefix; j++) tokens[second + j] = tokens[first + j];
      const shift = head.length;
      yield { prefix, tokens: [...head, ...tokens], from: second + prefix - 1 + shift, to: first + prefix + shift };
    }
  }
}

/**
 * Long-prefix induction (reference §12.7): random distinct tokens, a prefix of n tokens repeated later; how much the head attends from the end of
 * the repeat to the token after the first occurrence, by n.
 */
export const prefix: Experiment = {
  id: 'prefix',
  title: 'Prefix length of a head',
  description:
    'On random tokens with a repeated prefix of n tokens: how much a head attends to the token after its first occurrence.',
  needs: 'none',
  parameters: [
    { name: 'head', description: 'LAYER.HEAD', type: 'text', default: '0.0' },
    { name: 'longest', description: 'longest prefix', type: 'integer', default: 9, min: 1 },
    { name: 'count', description: 'sequences for each length', type: 'integer', default: 50, min: 1 },
    { name: 'length', description: 'tokens in a sequence', type: 'integer', default: 64, min: 8 },
    { name: 'seed', description: 'of the generator', type: 'integer', default: 1, min: 0 },
  ],
  data: (context) => Promise.resolve([...sequences(context)]),
  async run(context) {
    const { engine } = context;
    const { layer, head } = parseHead(engine, text(context, 'head'));
    const { longest, count } = prefixSizes(context);
    const scores = new Map<number, number[]>();
    for (const [i, q] of [...sequences(context)].entries()) {
      await context.step(`prefix ${q.prefix}`, i / (longest * count));
      const { trace } = await engine.run(q.tokens, undefined, context.signal);
      const S = q.tokens.length;
      const score = trace.layers[layer].pattern[(head * S + q.from) * S + q.to];
      scores.set(q.prefix, [...(scores.get(q.prefix) ?? []), score]);
    }
    const rows = [...scores].map(([length, v]) => ({ length, mean: mean(v), error: standardError(v) }));
    return {
      summary: [
        `Head ${layer}.${head} attends ${fixed(rows[0].mean, 2)} after a prefix of 1 and ${fixed(rows[rows.length - 1].mean, 2)} after ${longest}.`,
      ],
      tables: [
        table(
          'prefix',
          'Attention to the token after the first occurrence',
          { length: 'prefix length', mean: 'mean', error: '± s.e.' },
          rows,
        ),
      ],
      charts: [{ type: 'line', title: `Head ${layer}.${head}`, table: 'prefix', x: 'length', y: ['mean'] }],
      checks: [],
    };
  },
};

/** Distinct random token ids, none of them BOS. */
function distinct(random: () => number, vocabulary: number, n: number, bos: number | null): number[] {
  const seen = new Set<number>();
  while (seen.size < n) {
    const t = Math.floor(random() * vocabulary);
    if (t !== bos) seen.add(t);
  }
  return [...seen];
}
