import { type Command } from 'commander';
import { annotateCorpus } from '../../corpus';
import { type CommonOptions, type Context, openEngine, withModel } from '../common';
import { Progress, writeJson, writeText } from '../output';
import { wholeNumber } from '../parse';

interface AnnotateCommandOptions extends CommonOptions {
  corpus: string;
  out: string;
  top: string;
  context: string;
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
      const progress = new Progress('annotating', (n) => `${Math.round(100 * n)}%`);
      try {
        const length = Math.min(wholeNumber('--context', o.context), engine.model.config.n_ctx);
        const step = (_message: string, fraction: number): Promise<void> => {
          progress.update(fraction, 1);
          return Promise.resolve();
        };
        const options = { out: o.out, top: wholeNumber('--top', o.top), length, signal: context.signal, step };
        const r = await annotateCorpus(engine, o.corpus, options).finally(() => progress.end());
        if (o.json) return await writeJson(r);
        const left = r.skipped > 0 ? `; ${r.skipped} stretches were left out: ${r.reason}` : '';
        await writeText(`${r.out}: ${r.rows} rows of ${r.contexts} contexts${left}`);
      } finally {
        await engine.close();
      }
    });
}
