import { type Command, Option } from 'commander';
import { annotateCorpus, evaluateFolder, type FolderResult } from '../../batch';
import { type CommonOptions, type Context, openEngine, withModel } from '../common';
import { Progress, writeJson, writeText } from '../output';
import { wholeNumber } from '../parse';

interface AnnotateCommandOptions extends CommonOptions {
  corpus: string;
  out: string;
  top: string;
  context: string;
}

interface EvaluateFolderCommandOptions extends CommonOptions {
  corpus: string;
  out: string;
  sections: string;
  kind: string;
}

const KINDS = ['attention', 'residual', 'transcoder'] as const;

async function tell(r: FolderResult, json: boolean | undefined): Promise<void> {
  if (json) return writeJson(r);
  const left = r.skipped > 0 ? `; ${r.skipped} were left out: ${r.reason}` : '';
  await writeText(`${r.out}: ${r.rows} rows of ${r.contexts} contexts${left}`);
}

/** Shows how far a job is. */
function watched(title: string): { step: (message: string, fraction: number) => Promise<void>; end: () => void } {
  const progress = new Progress(title, (n) => `${Math.round(100 * n)}%`);
  const step = (_message: string, fraction: number): Promise<void> => {
    progress.update(fraction, 1);
    return Promise.resolve();
  };
  return { step, end: () => progress.end() };
}

/** `evaluate-folder`: what splicing keeps of every prompt of a folder, for pandas. */
export function addEvaluateFolder(program: Command, context: Context): void {
  withModel(program.command('evaluate-folder'))
    .description(
      'splice the dictionaries of sets of layers for every prompt of a folder and write what is kept as CSV or Parquet; a stopped run goes on',
    )
    .requiredOption('--corpus <path>', 'folder or file of .prompts and .jsonl')
    .requiredOption('--out <file>', 'what to write, .csv or .parquet')
    .option('--sections <sets>', 'sets of layers, such as 0,3;5-6 (each layer, then all)', '')
    .addOption(new Option('--kind <kind>', 'which dictionaries').choices(KINDS).default('attention'))
    .action(async (o: EvaluateFolderCommandOptions) => {
      const engine = await openEngine(context, o);
      const { step, end } = watched('evaluating');
      try {
        const kind = KINDS.find((k) => k === o.kind) ?? 'attention';
        const options = { out: o.out, sections: o.sections, kind, signal: context.signal, step };
        await tell(await evaluateFolder(engine, o.corpus, options).finally(end), o.json);
      } finally {
        await engine.close();
      }
    });
}

/** `annotate`: the strongest features at every token of a folder, for pandas. */
export function addAnnotate(program: Command, context: Context): void {
  withModel(program.command('annotate'))
    .description(
      'write the strongest features at every token of a folder of texts as CSV or Parquet; a stopped run goes on',
    )
    .requiredOption('--corpus <path>', 'folder or file of .prompts, .txt, .md and .jsonl')
    .requiredOption('--out <file>', 'what to write, .csv or .parquet')
    .option('--top <n>', 'features of each dictionary at each token', '5')
    .option('--context <n>', 'tokens of a context of running text', '128')
    .action(async (o: AnnotateCommandOptions) => {
      const engine = await openEngine(context, o);
      const { step, end } = watched('annotating');
      try {
        const length = Math.min(wholeNumber('--context', o.context), engine.model.config.n_ctx);
        const options = { out: o.out, top: wholeNumber('--top', o.top), length, signal: context.signal, step };
        await tell(await annotateCorpus(engine, o.corpus, options).finally(end), o.json);
      } finally {
        await engine.close();
      }
    });
}
