import { featuresAt } from '../analyses';
import { type CorpusContext, contextsOf, listCorpus } from '../corpus';
import { type Engine } from '../engine';
import { throwIfCancelled } from '../errors';
import { eachText, type FolderOptions, type FolderResult, needTokenizer, weightsOf } from './common';
import { type Columns, type Row, writeTable } from './table';

export interface AnnotateOptions extends FolderOptions {
  /** Features of each dictionary at each token. */
  top: number;
  /** Tokens of a context of running text. */
  length: number;
}

/** Columns of the result, one row for each feature shown at each token. */
const COLUMNS: Columns = [
  ['file', 'STRING'],
  ['line', 'INT32'],
  ['position', 'INT32'],
  ['token_id', 'INT32'],
  ['token', 'STRING'],
  ['site', 'STRING'],
  ['layer', 'INT32'],
  ['feature', 'INT32'],
  ['activation', 'DOUBLE'],
  ['head', 'INT32'],
  ['source_position', 'INT32'],
];

async function rowsOf(engine: Engine, c: CorpusContext, top: number, signal: AbortSignal): Promise<Row[]> {
  const run = await engine.run(c.tokens, undefined, signal);
  const rows: Row[] = [];
  for (let position = 0; position < c.tokens.length; position++) {
    throwIfCancelled(signal);
    const id = c.tokens[position];
    const token = engine.tokenizer?.text(id) ?? null;
    for (const f of await featuresAt(run, engine.dictionaries.values(), position, top))
      rows.push([
        c.file,
        c.line,
        position,
        id,
        token,
        f.site,
        f.layer,
        f.feature,
        f.activation,
        f.head?.head ?? null,
        f.head?.source ?? null,
      ]);
  }
  return rows;
}

/**
 * Annotates the texts of a folder or file: for every token the strongest features of every dictionary, as CSV or Parquet for pandas; goes on
 * after an interruption. Throws UsageError, InputFileError, CancelledError.
 */
export async function annotateCorpus(engine: Engine, folder: string, o: AnnotateOptions): Promise<FolderResult> {
  needTokenizer(engine, 'annotating');
  const listing = listCorpus(folder);
  const skipped: string[] = [];
  function* contexts(): Generator<{ context: CorpusContext; fraction: number }> {
    for (const { text, file, fraction } of eachText(listing))
      for (const context of contextsOf(engine, text, o.length, (reason) => skipped.push(`${file.path}: ${reason}`)))
        yield { context, fraction };
  }
  const { items, rows } = await writeTable({
    out: o.out,
    columns: COLUMNS,
    identity: ['annotate', listing.folder, listing.stamp, weightsOf(engine), o.top, o.length],
    items: contexts(),
    rowsOf: async ({ context, fraction }) => {
      await o.step?.(context.file, fraction);
      return rowsOf(engine, context, o.top, o.signal);
    },
    signal: o.signal,
  });
  return { contexts: items, rows, skipped: skipped.length, reason: skipped[0] ?? null, out: o.out };
}
