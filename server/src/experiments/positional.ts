import { UsageError } from '../errors';
import { fixed, mean, number, parseRole, table, text } from './common';
import { casesOf } from './cases';
import { ioiFile, ioiSentences } from './ioi';
import { parsePrompts } from '../prompts';
import { type Case, type Experiment, type ExperimentContext } from './types';

/** How well a number tells two groups apart: P(a > b) + ½P(a = b). */
export function separation(a: readonly number[], b: readonly number[]): number {
  let wins = 0;
  for (const x of a) for (const y of b) wins += x > y ? 1 : x === y ? 0.5 : 0;
  return wins / (a.length * b.length);
}

interface Group {
  conjunction: string;
  cases: Case[];
}

/** The given prompts, or generated ones for each conjunction. */
function groups(context: ExperimentContext): Group[] {
  const { engine, cases } = context;
  const conjunctions = text(context, 'conjunctions')
    .split(',')
    .map((c) => c.trim())
    .filter((c) => c !== '');
  const made = conjunctions.map((conjunction): Group => {
    const seed = number(context, 'seed');
    const sentences = ioiSentences(engine, number(context, 'count'), seed, conjunction);
    return { conjunction, cases: casesOf(engine, parsePrompts(ioiFile(sentences, seed)).prompts) };
  });
  return cases.length > 0 ? [{ conjunction: 'the given prompts', cases }, ...made] : made;
}

/**
 * Which features of the attention dictionaries tell ABBA from BABA at a role: mean activation in each, and their separation (area under
 * the ROC curve, 0.5 = not at all), on the given prompts and on generated ones with each conjunction; the sentences differ in nothing else.
 */
export const positional: Experiment = {
  id: 'positional',
  title: 'Positional features',
  description:
    'Finds attention features that tell ABBA from BABA at a role, with prompts generated for each conjunction.',
  needs: 'none',
  parameters: [
    { name: 'role', description: 'which position', type: 'choice', default: 'S2', choices: ['IO', 'S1', 'S2', 'END'] },
    {
      name: 'conjunctions',
      description: 'conjunctions to generate prompts with',
      type: 'text',
      default: 'and,with,alongside,beside,plus',
    },
    { name: 'count', description: 'prompts generated for each', type: 'integer', default: 40, min: 4 },
    { name: 'seed', description: 'of the generator', type: 'integer', default: 1, min: 0 },
    { name: 'top', description: 'features shown', type: 'integer', default: 20, min: 1 },
  ],
  data: (context) =>
    Promise.resolve({
      groups: groups(context).map((g) =>
        g.cases.map(({ name, tokens, template, roles }) => ({ name, tokens, template, roles })),
      ),
    }),
  async run(context) {
    const { engine } = context;
    const role = parseRole(text(context, 'role'));
    const all = groups(context);
    if (all.length === 0) throw new UsageError('give prompts with answers, or at least one conjunction');
    const sites = [...engine.dictionaries.values()].filter((d) => d.kind === 'attention').map((d) => d.site);
    const found = new Map<
      string,
      { site: string; feature: number; scores: (number | null)[]; means: [number, number] }
    >();
    for (const [g, group] of all.entries()) {
      const usable = group.cases.filter((c) => c.roles[role] !== undefined && c.template !== 'all');
      const acts = new Map<string, Map<number, Map<Case, number>>>();
      for (const [i, c] of usable.entries()) {
        await context.step(`${group.conjunction}: prompt ${c.name}`, (g + i / usable.length) / all.length);
        const run = await context.run(c);
        for (const site of sites) {
          const a = await run.acts(site);
          const p = c.roles[role] ?? 0;
          const bySite = acts.get(site) ?? new Map<number, Map<Case, number>>();
          acts.set(site, bySite);
          for (let k = a.offsets[p]; k < a.offsets[p + 1]; k++) {
            const f = a.features[k];
            bySite.set(f, (bySite.get(f) ?? new Map<Case, number>()).set(c, a.activations[k]));
          }
        }
      }
      for (const [site, bySite] of acts) {
        for (const [feature, byCase] of bySite) {
          const of = (t: string): number[] => usable.filter((c) => c.template === t).map((c) => byCase.get(c) ?? 0);
          const [abba, baba] = [of('ABBA'), of('BABA')];
          if (abba.length === 0 || baba.length === 0) continue;
          const key = `${site}/${feature}`;
          const entry = found.get(key) ?? {
            site,
            feature,
            scores: all.map(() => null),
            means: [0, 0] as [number, number],
          };
          entry.scores[g] = separation(abba, baba);
          if (g === 0) entry.means = [mean(abba), mean(baba)];
          found.set(key, entry);
        }
      }
    }
    const strength = (x: { scores: (number | null)[] }): number => Math.abs((x.scores[0] ?? 0.5) - 0.5);
    const rows = [...found.values()]
      .sort(
        (a, b) => strength(b) - strength(a) || Math.abs(b.means[0] - b.means[1]) - Math.abs(a.means[0] - a.means[1]),
      )
      .slice(0, number(context, 'top'))
      .map((x) => ({
        feature: `${x.site}/${x.feature}`,
        abba: x.means[0],
        baba: x.means[1],
        ...Object.fromEntries(x.scores.map((s, i) => [`g${i}`, s])),
      }));
    const columns = Object.fromEntries(all.map((g, i) => [`g${i}`, `separation, ${g.conjunction}`]));
    const best = rows[0];
    return {
      summary: [
        best
          ? `The strongest is ${best.feature}: mean activation ${fixed(best.abba)} in ABBA, ${fixed(best.baba)} in BABA (${all[0].conjunction}).`
          : 'No feature tells them apart.',
        'A separation of 1 or 0 tells the orders apart in every pair of prompts, 0.5 not at all.',
      ],
      tables: [
        table(
          'features',
          `Features at ${role}`,
          { feature: 'feature', abba: 'mean ABBA', baba: 'mean BABA', ...columns },
          rows,
        ),
      ],
      charts: [
        {
          type: 'bar',
          title: `Separation with ${all[0].conjunction}`,
          table: 'features',
          label: 'feature',
          value: 'g0',
          lines: [{ label: 'none', value: 0.5 }],
        },
      ],
      checks: [],
    };
  },
};
