import { createHash } from 'node:crypto';
import { appendFileSync, existsSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { extname } from 'node:path';
import { parquetWriteBuffer } from 'hyparquet-writer';
import { featuresAt } from '../analyses';
import { type Engine } from '../engine';
import { throwIfCancelled, UnsupportedError, UsageError } from '../errors';
import { writeAtomically } from '../store';
import { csv } from '../text';
import { contextsOf } from './contexts';
import { listCorpus, textsOf } from './files';

export interface AnnotateOptions {
  /** `.csv` or `.parquet`. */
  out: string;
  /** Features of each dictionary at each token. */
  top: number;
  /** Tokens of a context of running text. */
  length: number;
  signal: AbortSignal;
  step?: (message: string, fraction: number) => Promise<void>;
}

/** What came of it. */
export interface AnnotateResult {
  contexts: number;
  rows: number;
  skipped: number;
  reason: string | null;
  out: string;
}

/** Columns of the result, one row for each feature shown at each token. */
const COLUMNS = [
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
] as const;

type Row = (string | number | null)[];

async function rowsOf(
  engine: Engine,
  c: { file: string; line: number; tokens: number[] },
  top: number,
  signal: AbortSignal,
): Promise<Row[]> {
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

function encoded(out: string, rows: readonly Row[]): Uint8Array {
  if (extname(out) === '.csv') {
    const names = COLUMNS.map(([name]) => name);
    return Buffer.from(`${csv(names, rows)}\r\n`);
  }
  const columnData = COLUMNS.map(([name, type], i) => ({ name, type, data: rows.map((r) => r[i]), nullable: true }));
  return new Uint8Array(parquetWriteBuffer({ columnData }));
}

/** The contexts that an interrupted run has written, if it was of the same files, weights and settings; what is half-written is cut off. */
function written(part: string, head: string): Row[][] {
  if (!existsSync(part)) return [];
  const source = readFileSync(part, 'utf8');
  const whole = source.lastIndexOf('\n') + 1;
  const [first, ...lines] = source.slice(0, whole).split('\n').slice(0, -1);
  if (first !== head) return [];
  truncateSync(part, Buffer.byteLength(source.slice(0, whole)));
  return lines.map((l) => JSON.parse(l) as Row[]);
}

/**
 * Annotates the texts of a folder or file: for every token the strongest features of every dictionary, as CSV or Parquet for pandas. Works in
 * `OUT.part`, a line a context, and goes on there after an interruption; the result appears as a whole. Throws UsageError, InputFileError,
 * CancelledError.
 */
export async function annotateCorpus(engine: Engine, folder: string, o: AnnotateOptions): Promise<AnnotateResult> {
  if (!['.csv', '.parquet'].includes(extname(o.out)))
    throw new UsageError(`${o.out}: expected a name that ends in .csv or .parquet`);
  if (!engine.tokenizer) throw new UnsupportedError('annotating text needs a tokenizer; the model has none');
  const listing = listCorpus(folder);
  const weights = [
    engine.model.weights.cached.sha256,
    ...[...engine.dictionaries.values()].map((d) => d.cached.sha256),
  ];
  const identity = JSON.stringify([listing.folder, listing.stamp, weights, engine.contract, o.top, o.length]);
  const head = createHash('sha256').update(identity).digest('hex');
  const part = `${o.out}.part`;
  const rows = written(part, head);
  if (rows.length === 0) writeFileSync(part, `${head}\n`);
  const known = rows.length;
  const skipped: string[] = [];
  let contexts = 0;
  for (const [i, file] of listing.files.entries()) {
    for (const text of textsOf(listing, file)) {
      for (const c of contextsOf(engine, text, o.length, (reason) => skipped.push(`${file.path}: ${reason}`))) {
        if (contexts++ < known) continue;
        throwIfCancelled(o.signal);
        await o.step?.(file.path, i / listing.files.length);
        const found = await rowsOf(engine, c, o.top, o.signal);
        appendFileSync(part, `${JSON.stringify(found)}\n`);
        rows.push(found);
      }
    }
  }
  const all = rows.flat();
  writeAtomically(o.out, encoded(o.out, all));
  rmSync(part, { force: true });
  return { contexts, rows: all.length, skipped: skipped.length, reason: skipped[0] ?? null, out: o.out };
}
