/** Tables for pandas that are made row by row, and go on after an interruption. */
import { createHash } from 'node:crypto';
import { appendFileSync, existsSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { extname } from 'node:path';
import { parquetWriteBuffer } from 'hyparquet-writer';
import { throwIfCancelled, UsageError } from '../errors';
import { writeAtomically } from '../store';
import { csv } from '../text';

export type Row = (string | number | null)[];
export type Columns = readonly (readonly [name: string, type: 'STRING' | 'INT32' | 'DOUBLE'])[];

/** What can be made anew only by starting again when it is another. */
export interface TableJob<T> {
  /** `.csv` or `.parquet`. */
  out: string;
  columns: Columns;
  /** What the rows depend on; an interrupted run of something else is not gone on with. */
  identity: unknown;
  /** In a fixed order. */
  items: Iterable<T>;
  rowsOf: (item: T) => Promise<Row[]>;
  signal: AbortSignal;
}

function encoded(out: string, columns: Columns, rows: readonly Row[]): Uint8Array {
  if (extname(out) === '.csv') {
    const names = columns.map(([name]) => name);
    return Buffer.from(`${csv(names, rows)}\r\n`);
  }
  const columnData = columns.map(([name, type], i) => ({ name, type, data: rows.map((r) => r[i]), nullable: true }));
  return new Uint8Array(parquetWriteBuffer({ columnData }));
}

/** The items that an interrupted run has written, if it was the same job; what is half-written is cut off. */
function written(part: string, head: string): Row[][] {
  if (!existsSync(part)) return [];
  const source = readFileSync(part, 'utf8');
  const whole = source.lastIndexOf('\n') + 1;
  const [first, ...lines] = source.slice(0, whole).split('\n').slice(0, -1);
  if (first !== head) return [];
  truncateSync(part, Buffer.byteLength(source.slice(0, whole)));
  return lines.map((l) => JSON.parse(l) as Row[]);
}

function checkOut(out: string): void {
  if (!['.csv', '.parquet'].includes(extname(out)))
    throw new UsageError(`${out}: expected a name that ends in .csv or .parquet`);
}

/**
 * Writes a table as CSV or Parquet. Works in `OUT.part`, a line an item, and goes on there after an interruption; the result appears as a whole.
 * Returns the numbers of items and rows. Throws UsageError, CancelledError, and what `rowsOf` throws.
 */
export async function writeTable<T>(job: TableJob<T>): Promise<{ items: number; rows: number }> {
  checkOut(job.out);
  const head = createHash('sha256').update(JSON.stringify(job.identity)).digest('hex');
  const part = `${job.out}.part`;
  const rows = written(part, head);
  if (rows.length === 0) writeFileSync(part, `${head}\n`);
  const known = rows.length;
  let items = 0;
  for (const item of job.items) {
    if (items++ < known) continue;
    throwIfCancelled(job.signal);
    const found = await job.rowsOf(item);
    appendFileSync(part, `${JSON.stringify(found)}\n`);
    rows.push(found);
  }
  const all = rows.flat();
  writeAtomically(job.out, encoded(job.out, job.columns, all));
  rmSync(part, { force: true });
  return { items, rows: all.length };
}
