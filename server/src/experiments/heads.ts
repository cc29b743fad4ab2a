import { headBySource, sumGrid } from '../attribution';
import { type Dictionary, IDENTITY_NORM } from '../dictionaries';
import { UsageError } from '../errors';
import { type Engine } from '../engine';
import { fixed, mean, number, parseHead, standardError, table, text } from './common';
import { seeded } from './ioi';
import { type Experiment, type ExperimentContext } from './types';

const BLOCK = 512;

/** Decoder head shares of all features of an attention dictionary: [d_sae][n_heads], ‖W_dec[f, h]‖ over Σ_h (reference §9). */
async function allShares(engine: Engine, d: Dictionary, context: ExperimentContext): Promise<number[][]> {
  const { n_heads, d_head, d_model } = engine.model.config;
  const out: number[][] = [];
  for (let start = 0; start < d.config.d_sae; start += BLOCK) {
    await context.step(`${d.site}: feature ${start}`, start / d.config.d_sae);
    const n = Math.min(BLOCK, d.config.d_sae - start);
    const features = Int32Array.from({ length: n }, (_, i) => start + i);
    const rows = await d.writes(features, new Float32Array(n).fill(1), new Int32Array(n), [IDENTITY_NORM]);
    for (let i = 0; i < n; i++) {
      const norms = Array.from({ length: n_heads }, (_, h) => {
        let sum = 0;
        for (let j = 0; j < d_head; j++) sum += rows[i * d_model + h * d_head + j] ** 2;
        return Math.sqrt(sum);
      });
      const total = norms.reduce((a, b) => a + b, 0);
      out.push(norms.map((x) => (total === 0 ? 0 : x / total)));
    }
  }
  return out;
}

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
      const shares = await allShares(engine, d, context);
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
  async run(context) {
    const { engine } = context;
    const { layer, head } = parseHead(engine, text(context, 'head'));
    const { d_vocab, bosTokenId, n_ctx } = engine.model.config;
    const length = Math.min(number(context, 'length'), n_ctx - 1);
    const random = seeded(number(context, 'seed'));
    const upTo = (n: number): number => Math.floor(random() * n);
    const count = number(context, 'count');
    const longest = Math.min(number(context, 'longest'), Math.floor(length / 2) - 2);
    if (longest < 1 || d_vocab <= length + 1) throw new UsageError('the sequences are too short for a repeated prefix');
    const rows = [];
    for (let n = 1; n <= longest; n++) {
      const scores: number[] = [];
      for (let i = 0; i < count; i++) {
        await context.step(`prefix ${n}`, (n - 1 + i / count) / longest);
        const tokens = distinct(random, d_vocab, length, bosTokenId);
        const a1 = upTo(length - 2 * n - 1);
        const a2 = a1 + n + 1 + upTo(length - n - (a1 + n + 1));
        for (let j = 0; j < n; j++) tokens[a2 + j] = tokens[a1 + j];
        const all = bosTokenId === null ? tokens : [bosTokenId, ...tokens];
        const shift = all.length - tokens.length;
        const { trace } = await engine.run(all, undefined, context.signal);
        const S = all.length;
        scores.push(trace.layers[layer].pattern[(head * S + a2 + n - 1 + shift) * S + a1 + n + shift]);
      }
      rows.push({ length: n, mean: mean(scores), error: standardError(scores) });
    }
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
