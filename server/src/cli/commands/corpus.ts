import { resolve } from 'node:path';
import { type Command } from 'commander';
import { featureDetails, residualLens } from '../../analyses';
import {
  Corpus,
  type CorpusExample,
  type FeatureDashboard,
  featureSpec,
  featuresOfPrompt,
  type FoundFeature,
  textOf,
} from '../../corpus';
import { type Engine } from '../../engine';
import { UsageError } from '../../errors';
import { pythonScript } from '../../python';
import { ImportedLabels } from '../../store';
import { bar, csv, percent, quote, signed, table } from '../../text';
import { type CommonOptions, type Context, openEngine, withModel } from '../common';
import { notice, Progress, writeJson, writeText } from '../output';
import { siteFeature, wholeNumber } from '../parse';

interface CorpusOptions extends CommonOptions {
  corpus: string;
  context: string;
  csv?: boolean;
}

/** Tokens of a context unless told otherwise. */
const LENGTH = 128;

const withCorpus = (c: Command): Command =>
  withModel(c)
    .requiredOption('--corpus <path>', 'folder of .prompts, .txt, .md and .jsonl files, or one such file')
    .option('--context <n>', 'tokens of a context, BOS included', String(LENGTH));

/** Opens the engine and the folder's index, and closes both. */
async function withIndex(
  context: Context,
  o: CorpusOptions,
  job: (engine: Engine, corpus: Corpus) => Promise<void>,
): Promise<void> {
  if (o.json && o.csv) throw new UsageError('give one of --json and --csv');
  const engine = await openEngine(context, o);
  const length = Math.min(wholeNumber('--context', o.context, 2), engine.model.config.n_ctx);
  const corpus = new Corpus(engine, resolve(o.corpus), length);
  try {
    await job(engine, corpus);
  } finally {
    corpus.close();
    await engine.close();
  }
}

const missing = (o: CorpusOptions): UsageError =>
  new UsageError(`${o.corpus} has no index for this model and these dictionaries: run attention-circuits index first`);

const exampleLine = (e: CorpusExample): string[] => [
  e.activation.toFixed(3),
  quote(textOf(e)),
  `${e.file}:${e.line + 1}`,
];

function addIndex(program: Command, context: Context): void {
  withCorpus(program.command('index'))
    .description('index a folder of texts: what every feature fires on; an interrupted run goes on where it was')
    .option('--max-tokens <n>', 'tokens after which it ends', '2000000')
    .action((o: CorpusOptions & { maxTokens: string }) =>
      withIndex(context, o, async (_engine, corpus) => {
        const progress = new Progress('indexing', (n) => `${Math.round(100 * n)}%`);
        const step = (_message: string, fraction: number): Promise<void> => {
          progress.update(fraction, 1);
          return new Promise((r) => setImmediate(r));
        };
        const maxTokens = wholeNumber('--max-tokens', o.maxTokens, 1);
        const meta = await corpus.build({ signal: context.signal, maxTokens, step }).finally(() => progress.end());
        if (o.json) return writeJson({ ...meta, index: corpus.path });
        const skipped = meta.skipped > 0 ? [`${meta.skipped} stretches were left out: ${meta.reason}`] : [];
        const limited = meta.limited ? ['it ends at --max-tokens, before the texts do'] : [];
        const size = `${meta.contexts} contexts, ${meta.tokens} tokens, ${meta.sites.length} dictionaries`;
        await writeText([`${meta.folder}: ${size}`, ...limited, ...skipped].join('\n'));
      }),
    );
}

function dashboardText(name: string, d: FeatureDashboard): string[] {
  const most = Math.max(...d.bins.map((b) => b.count));
  const bins = d.bins.map((b) => [
    `${b.from.toPrecision(3)}–${b.to === null ? '' : b.to.toPrecision(3)}`,
    String(b.count),
    bar(b.count / most, 16),
    b.example ? quote(textOf(b.example)) : '',
  ]);
  return [
    `${name}: active at ${d.active} of ${d.corpus.tokens} tokens (${percent(d.density)}), mean ${d.mean.toFixed(3)}, max ${d.max.toFixed(3)}`,
    ...(d.outdated ? ['the files have changed since the index was made'] : []),
    '',
    'strongest',
    ...table(d.top.map(exampleLine)).map((l) => `  ${l}`),
    '',
    'by activation',
    ...table(bins).map((l) => `  ${l}`),
  ];
}

function addFeature(program: Command, context: Context): void {
  withCorpus(program.command('feature'))
    .description(
      'a feature’s dashboard over an indexed folder: examples, histogram, density, heads, logits, residual lens',
    )
    .requiredOption('--feature <site/index>', 'the feature')
    .option('--csv', 'print the examples as CSV')
    .option('--python', 'print a script for TransformerLens and SAELens that computes the same and compares')
    .action((o: CorpusOptions & { feature: string; python?: boolean }) =>
      withIndex(context, o, async (engine, corpus) => {
        const { site, feature } = siteFeature('--feature', o.feature);
        const dashboard = corpus.dashboard(site, feature);
        if (!dashboard) throw missing(o);
        if (o.python) {
          const spec = await featureSpec(engine, site, feature, dashboard);
          return writeText(pythonScript(context.home, `Feature ${site}/${feature}`, 'feature', spec));
        }
        const details = await featureDetails(engine, site, feature, 10);
        const lens = await residualLens(engine, site, feature, 10);
        if (o.json) return writeJson({ site, feature, ...details, lens, dashboard });
        if (o.csv) {
          const bins = dashboard.bins.flatMap((b) => (b.example ? [{ kind: 'interval', ...b.example }] : []));
          const rows = [...dashboard.top.map((e) => ({ kind: 'top', ...e })), ...bins];
          const header = ['kind', 'activation', 'file', 'line', 'position', 'text'];
          const cells = rows.map((e) => [e.kind, e.activation, e.file, e.line + 1, e.position, textOf(e)]);
          return writeText(csv(header, cells));
        }
        const list = (title: string, all: typeof details.positive): string =>
          `${title}: ${all.map((e) => `${quote(e.text ?? String(e.id))} ${signed(e.effect)}`).join('  ')}`;
        await writeText(
          [
            ...dashboardText(`${site}/${feature}`, dashboard),
            '',
            ...(details.headShares
              ? [`heads: ${details.headShares.map((s, h) => `${h}: ${percent(s)}`).join('  ')}`]
              : []),
            list('raises', details.positive),
            list('lowers', details.negative),
            lens
              ? `read by ${lens.site}: ${lens.entries.map((e) => `${e.feature} ${signed(e.weight)}`).join('  ')}`
              : 'residual lens: no residual dictionary after it is loaded',
          ].join('\n'),
        );
      }),
    );
}

function addSearch(program: Command, context: Context): void {
  withCorpus(program.command('search'))
    .description('find features by the words at their strongest examples, by label, or by a prompt they fire in')
    .option('--text <words>', 'words, or beginnings of words, at or around the strongest examples')
    .option('--prompt <text>', 'a prompt')
    .option('--label <text>', 'part of a label in --labels')
    .option(
      '--labels <file>',
      'label files: of this extension, Neuronpedia (.jsonl, .jsonl.gz) or feature-circuits',
      '.attention-circuits/labels.jsonl',
    )
    .option('--limit <n>', 'features shown', '20')
    .option('--csv', 'print CSV')
    .action((o: CorpusOptions & { text?: string; label?: string; labels: string; limit: string }) =>
      withIndex(context, o, async (engine, corpus) => {
        if ([o.text, o.prompt, o.label].filter((x) => x !== undefined).length !== 1)
          throw new UsageError('give one of --text, --label and --prompt');
        const limit = wholeNumber('--limit', o.limit, 1);
        let found: FoundFeature[] | null;
        if (o.label !== undefined) {
          const labels = new ImportedLabels();
          for (const p of (await labels.load([resolve(o.labels)])).problems) notice(p);
          const hits = labels.matching(o.label).slice(0, limit);
          found = hits.map(({ site, feature, label }) => ({ site, feature, label, activation: null, text: label }));
        } else if (o.prompt === undefined) found = corpus.search(o.text ?? '', limit);
        else {
          const { tokens } = engine.prompt(o.prompt, engine.model.config.bosTokenId !== null);
          found = await featuresOfPrompt(await engine.run(tokens), engine.dictionaries.keys(), limit);
        }
        if (!found) throw missing(o);
        if (o.json) return writeJson({ features: found });
        const rows = found.map((f) => [f.site, String(f.feature), (f.activation ?? 0).toFixed(3), quote(f.text)]);
        if (o.csv) return writeText(csv(['site', 'feature', 'activation', 'text'], rows));
        await writeText(found.length === 0 ? 'no feature found' : table(rows).join('\n'));
      }),
    );
}

/** Feature dashboards over a folder of texts. */
export function addCorpus(program: Command, context: Context): void {
  addIndex(program, context);
  addFeature(program, context);
  addSearch(program, context);
}
