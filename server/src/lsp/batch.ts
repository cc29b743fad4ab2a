import type { FolderTable } from '../../protocol';
import { annotateCorpus, evaluateFolder, type FolderResult } from '../batch';
import { type ModelHost } from './modelHost';

const TITLES: Record<FolderTable['type'], string> = { features: 'Annotating texts', evaluation: 'Evaluating prompts' };

/** Makes a table of a folder behind everything else, with progress that can be cancelled. */
export async function tabulate(
  host: ModelHost,
  q: { folder: string; out: string; table: FolderTable },
  signal: AbortSignal,
): Promise<FolderResult> {
  const engine = await host.engine();
  const { folder, out, table } = q;
  const length = Math.min(host.settings.corpus.contextLength, engine.model.config.n_ctx);
  return host.withProgress(TITLES[table.type], signal, (both, report) =>
    host.scheduler.run('background', both, (turn) => {
      const step = async (message: string, fraction: number): Promise<void> => {
        report(message, fraction);
        await turn.breathe();
      };
      const common = { out, signal: both, step };
      return table.type === 'features'
        ? annotateCorpus(engine, folder, { ...common, top: table.top, length })
        : evaluateFolder(engine, folder, { ...common, sections: table.sections, kind: table.kind });
    }),
  );
}
