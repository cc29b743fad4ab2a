import { throwIfCancelled } from '../errors';
import { fixed, flag, mean, standardError, table, text } from './common';
import { needAnswers } from './cases';
import { cleanOf, type Left, sectionsOf, sitesOfLayers, spliceAndZero, whatIsLeft } from './measures';
import { type Experiment, type ExperimentContext } from './types';

interface Row {
  ld: number[];
  kl: number[];
  loss: number[];
}

const emptyRow = (): Row => ({ ld: [], kl: [], loss: [] });

const add = (row: Row, x: Left & { kl?: number }): void => {
  row.ld.push(x.ld ?? NaN);
  row.kl.push(x.kl ?? 0);
  if (x.loss !== null) row.loss.push(x.loss);
};

/** part/whole, or null where the whole is under a hundredth of the clean value: the quotient of two noises says nothing. */
const fraction = (part: number, whole: number, clean: number): number | null =>
  Math.abs(whole) < 0.01 * Math.abs(clean) ? null : part / whole;

/**
 * Splices the dictionaries of sets of layers into the model, as in the paper's evaluation of cross-sections, and measures what is kept:
 * recovered = (LD − LD_zero)/(LD_clean − LD_zero) of the means; loss recovered = (CE_zero − CE)/(CE_zero − CE_clean); either is null where
 * zeroing changes the clean value by less than 1%. Reference §12.1, §13.
 */
export const evaluate: Experiment = {
  id: 'evaluate',
  title: 'Dictionaries on a circuit',
  description: 'Splices the dictionaries of sets of layers and measures what of the logit difference is kept.',
  needs: 'answers',
  parameters: [
    {
      name: 'sections',
      description: 'sets of layers, such as 0,3;5-6 (empty: each layer, then all)',
      type: 'text',
      default: '',
    },
    {
      name: 'kind',
      description: 'which dictionaries',
      type: 'choice',
      default: 'attention',
      choices: ['attention', 'residual', 'transcoder'],
    },
    {
      name: 'error-term',
      description: 'add the error term back (a check: nothing may change)',
      type: 'flag',
      default: false,
    },
  ],
  async run(context) {
    const { cases, engine } = context;
    needAnswers(cases);
    const sections = sectionsOf(engine, text(context, 'sections'))
      .map((layers) => ({ layers, sites: sitesOfLayers(engine, text(context, 'kind'), layers) }))
      .filter((s) => s.sites.length > 0);
    const clean = emptyRow();
    const spliced = sections.map(emptyRow);
    const zero = sections.map(emptyRow);
    for (const [i, c] of cases.entries()) {
      const run = await context.run(c);
      const before = await cleanOf(engine, run.trace, c);
      add(clean, before);
      for (const [j, { layers, sites }] of sections.entries()) {
        await context.step(`prompt ${c.name}, layers ${layers.join(',')}`, (i + j / sections.length) / cases.length);
        const runs = await spliceAndZero(engine, run, sites, flag(context, 'error-term'), context.signal);
        add(spliced[j], await whatIsLeft(engine, runs.spliced, before, c));
        add(zero[j], await whatIsLeft(engine, runs.zero, before, c));
      }
    }
    const rows = sections.map(({ layers }, j) => {
      const [ld, ldZero, ldClean] = [spliced[j].ld, zero[j].ld, clean.ld].map(mean);
      const [ce, ceZero, ceClean] = [spliced[j].loss, zero[j].loss, clean.loss].map(mean);
      return {
        layers: layers.join(','),
        ld,
        error: standardError(spliced[j].ld),
        zero: ldZero,
        recovered: fraction(ld - ldZero, ldClean - ldZero, ldClean),
        ratio: ld / ldClean,
        loss: ce,
        lossRecovered: fraction(ceZero - ce, ceZero - ceClean, ceClean),
        kl: mean(spliced[j].kl),
      };
    });
    const sites = await siteRows(context);
    const ldClean = mean(clean.ld);
    const worst = [...rows].sort((a, b) => a.ratio - b.ratio)[0];
    return {
      summary: [
        `Clean logit difference ${fixed(ldClean)} ± ${fixed(standardError(clean.ld))} over ${cases.length} prompts.`,
        ...(worst
          ? [
              `The weakest set is layers ${worst.layers}: ${fixed(worst.ld)} is left, ${fixed(100 * worst.ratio, 0)}% of the clean value.`,
            ]
          : ['No such dictionary is loaded.']),
      ],
      tables: [
        table(
          'sections',
          'Sets of layers',
          {
            layers: 'layers',
            ld: 'LD',
            error: '± s.e.',
            zero: 'LD zero-ablated',
            recovered: '(LD−zero)/(clean−zero)',
            ratio: 'LD/clean',
            loss: 'loss (nats)',
            lossRecovered: 'loss recovered',
            kl: 'KL at END',
          },
          rows,
        ),
        table('sites', 'Dictionaries', { site: 'site', l0: 'L0', error: '|x − x̂| / |x|' }, sites),
      ],
      charts: [
        {
          type: 'bar',
          title: 'Logit difference with dictionaries spliced',
          table: 'sections',
          label: 'layers',
          value: 'ld',
          error: 'error',
          lines: [
            { label: 'clean', value: ldClean },
            ...(rows.length > 0
              ? [{ label: `zero-ablated (layers ${rows[rows.length - 1].layers})`, value: rows[rows.length - 1].zero }]
              : []),
          ],
        },
        { type: 'bar', title: 'Reconstruction error', table: 'sites', label: 'site', value: 'error' },
      ],
      checks: flag(context, 'error-term')
        ? [
            {
              name: 'with the error term nothing changes',
              miss: Math.max(...rows.map((r) => Math.abs(r.ld - ldClean))),
              limit: 1e-3,
            },
          ]
        : [],
    };
  },
};

async function siteRows(context: ExperimentContext): Promise<{ site: string; l0: number; error: number }[]> {
  const kind = text(context, 'kind');
  const rows = [];
  for (const d of [...context.engine.dictionaries.values()].filter((x) => x.kind === kind)) {
    let active = 0;
    const errors: number[] = [];
    for (const c of context.cases) {
      throwIfCancelled(context.signal);
      const run = await context.run(c);
      active += (await run.acts(d.site)).features.length;
      errors.push(...(await run.reconstructionErrors(d.site)));
    }
    rows.push({ site: d.site, l0: active / errors.length, error: mean(errors) });
  }
  return rows;
}
