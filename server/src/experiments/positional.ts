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

/** What is compared: two sets of positions, and what they are called. */
interface Comparison {
  names: [string, string];
  /** The positions of a prompt, with the set that each belongs to. */
  places: (c: Case) => { set: 0 | 1; position: number }[];
}

/** The same role in ABBA and in BABA prompts; or, in every prompt, the name that stands first and the name that stands second. */
function comparisonOf(context: ExperimentContext): Comparison {
  const role = parseRole(text(context, 'role'));
  if (text(context, 'compare') === 'order')
    return {
      names: ['ABBA', 'BABA'],
      places: ({ roles, template }) => {
        const position = roles[role];
        return position === undefined || template === 'all' ? [] : [{ set: template === 'ABBA' ? 0 : 1, position }];
      },
    };
  return {
    names: ['first name', 'second name'],
    places: ({ roles: { IO, S1 } }) =>
      IO === undefined || S1 === undefined
        ? []
        : [
            { set: 0, position: Math.min(IO, S1) },
            { set: 1, position: Math.max(IO, S1) },
          ],
  };
}

/**
 * Which features of the attention dictionaries tell ABBA from BABA at a role, or the name before the conjunction from the one after it: mean
 * activation in each, and their separation (area under the ROC curve, 0.5 = not at all), on the given prompts and on generated ones with each
 * conjunction; the sentences differ in nothing else.
 */
export const positional: Experiment = {
  id: 'positional',
  title: 'Positional features',
  description:
    'Finds attention features that tell ABBA from BABA at a role, or the first name from the second, with prompts generated for each conjunction.',
  needs: 'none',
  parameters: [
    {
      name: 'compare',
      description: 'order: ABBA with BABA at the role; side: the first name with the second, in every prompt',
      type: 'choice',
      default: 'order',
      choices: ['order', 'side'],
    },
    {
      name: 'role',
      description: 'which position, when orders are compared',
      type: 'choice',
      default: 'S2',
      choices: ['IO', 'S1', 'S2', 'END'],
    },
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
    const { names, places } = comparisonOf(context);
    const all = groups(context);
    if (all.length === 0) throw new UsageError('give prompts with answers, or at least one conjunction');
    const sites = [...engine.dictionaries.values()].filter((d) => d.kind === 'attention').map((d) => d.site);
    const found = new Map<
      string,
      { site: string; feature: number; scores: (number | null)[]; means: [number, number] }
    >();
    for (const [g, group] of all.entries()) {
      const usable = group.cases.filter((c) => places(c).length > 0);
      const sizes = [0, 0];
      const acts = new Map<string, Map<number, [number[], number[]]>>();
      for (const [i, c] of usable.entries()) {
        await context.step(`${group.conjunction}: prompt ${c.name}`, (g + i / usable.length) / all.length);
        const run = await context.run(c);
        for (const { set } of places(c)) sizes[set]++;
        for (const site of sites) {
          const a = await run.acts(site);
          const bySite = acts.get(site) ?? new Map<number, [number[], number[]]>();
          acts.set(site, bySite);
          for (const { set, position } of places(c)) {
            for (let k = a.offsets[position]; k < a.offsets[position + 1]; k++) {
              const found = bySite.get(a.features[k]) ?? [[], []];
              found[set].push(a.activations[k]);
              bySite.set(a.features[k], found);
            }
          }
        }
      }
      for (const [site, bySite] of acts) {
        if (sizes.includes(0)) continue;
        for (const [feature, active] of bySite) {
          // Where a feature is not listed it is not active.
          const [a, b] = active.map((x, set) => [...x, ...new Array<number>(sizes[set] - x.length).fill(0)]);
          const key = `${site}/${feature}`;
          const entry = found.get(key) ?? {
            site,
            feature,
            scores: all.map(() => null),
            means: [0, 0] as [number, number],
          };
          entry.scores[g] = separation(a, b);
          if (g === 0) entry.means = [mean(a), mean(b)];
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
        a: x.means[0],
        b: x.means[1],
        ...Object.fromEntries(x.scores.map((s, i) => [`g${i}`, s])),
      }));
    const columns = Object.fromEntries(all.map((g, i) => [`g${i}`, `separation, ${g.conjunction}`]));
    const best = rows[0];
    return {
      summary: [
        best
          ? `The strongest is ${best.feature}: mean activation ${fixed(best.a)} at ${names[0]}, ${fixed(best.b)} at ${names[1]} (${all[0].conjunction}).`
          : 'No feature tells them apart.',
        'A separation of 1 or 0 tells them apart in every pair, 0.5 not at all.',
      ],
      tables: [
        table(
          'features',
          `Features: ${names.join(' against ')}`,
          { feature: 'feature', a: `mean, ${names[0]}`, b: `mean, ${names[1]}`, ...columns },
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
