import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { Database, type SQLiteValue, type Statement } from 'node-sqlite3-wasm';
import { z } from 'zod';
import { InputFileError, RuntimeFailure } from '../errors';
import { type CorpusContext } from './contexts';
import { FeatureStatistics, type SiteStatistics } from './statistics';

const LAYOUT = 1;
const LOCK_TRIES = 200;
const LOCK_WAIT_MS = 5;

const SCHEMA = `
  CREATE TABLE meta (value TEXT NOT NULL);
  CREATE TABLE contexts (id INTEGER PRIMARY KEY, file TEXT NOT NULL, line INTEGER NOT NULL, bos INTEGER NOT NULL, text TEXT NOT NULL, tokens BLOB NOT NULL);
  CREATE TABLE features (site TEXT NOT NULL, feature INTEGER NOT NULL, data BLOB NOT NULL, PRIMARY KEY (site, feature)) WITHOUT ROWID;
  CREATE VIRTUAL TABLE words USING fts5(strongest, around, site UNINDEXED, feature UNINDEXED, tokenize = "unicode61");
`;

const metaSchema = z.object({
  layout: z.literal(LAYOUT),
  folder: z.string(),
  /** The listing that it was made from. */
  stamp: z.string(),
  /** Tokens of a context. */
  length: z.number().int(),
  sites: z.array(z.string()),
  /** Files that are wholly in, and contexts of the next that are. */
  files: z.number().int(),
  inFile: z.number().int(),
  /** Contexts, and tokens in them but BOS. */
  contexts: z.number().int(),
  tokens: z.number().int(),
  /** Stretches that could not be analysed, and the first reason. */
  skipped: z.number().int(),
  reason: z.string().nullable(),
  complete: z.boolean(),
  /** It ends at the limit of tokens, before the corpus does. */
  limited: z.boolean(),
});

/** What an index holds and how far it is. */
export type IndexMeta = z.infer<typeof metaSchema>;

/** The words at a feature's strongest occurrences, and those around them. */
export interface Words {
  site: string;
  feature: number;
  strongest: string;
  around: string;
}

const BATCH = 500;

/** Tokens as they are stored. */
const pack = (tokens: readonly number[]): Uint8Array => new Uint8Array(Int32Array.from(tokens).buffer);
const unpack = (b: Uint8Array): number[] => [...new Int32Array(b.slice().buffer)];

/** The process that writes a file is named beside it; a dead one's mark counts for nothing. */
function claim(path: string): void {
  const mark = `${path}.pid`;
  const other = existsSync(mark) ? Number(readFileSync(mark, 'utf8')) : NaN;
  if (Number.isInteger(other) && other !== process.pid && alive(other))
    throw new RuntimeFailure(`another process (${other}) is building this index; it can be used when that is done`);
  writeFileSync(mark, String(process.pid));
}

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (e) {
    return (e as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/**
 * The index of a corpus in one SQLite file: contexts, a row of statistics for each feature, and the words around the strongest occurrences.
 * An index under construction is written by one process, in transactions, each of which leaves a state to go on from.
 */
export class IndexFile {
  private readonly statements = new Map<string, Statement>();

  private constructor(
    readonly path: string,
    private readonly db: Database,
    private readonly writing: boolean,
  ) {}

  /** Opens a finished index. Throws InputFileError for a file that is none. */
  static open(path: string): IndexFile {
    // A finished index is never written again, so a lock is what a killed reader left.
    rmSync(`${path}.lock`, { recursive: true, force: true });
    return IndexFile.load(path, false);
  }

  /** Opens an index to go on writing it, or makes an empty one. Throws RuntimeFailure when another process writes it. */
  static write(path: string): IndexFile {
    mkdirSync(dirname(path), { recursive: true });
    claim(path);
    rmSync(`${path}.lock`, { recursive: true, force: true });
    if (existsSync(path)) {
      try {
        return IndexFile.load(path, true);
      } catch (e) {
        if (!(e instanceof InputFileError)) throw e;
        rmSync(path);
      }
    }
    rmSync(`${path}-journal`, { force: true });
    const db = new Database(path);
    db.exec(SCHEMA);
    return new IndexFile(path, db, true);
  }

  private static load(path: string, writing: boolean): IndexFile {
    let db: Database | null = null;
    try {
      db = new Database(path, { fileMustExist: true, readOnly: !writing });
      const file = new IndexFile(path, db, writing);
      if (!writing) file.readMeta();
      else db.all('SELECT count(*) FROM meta, contexts, features WHERE 0');
      return file;
    } catch (e) {
      db?.close();
      throw new InputFileError(path, `not an index this version reads (${(e as Error).message})`);
    }
  }

  /** Reads several things under one lock, which is most of what a read costs. */
  together<T>(job: () => T): T {
    this.db.exec('BEGIN');
    try {
      return job();
    } finally {
      this.db.exec('COMMIT');
    }
  }

  private statement(sql: string): Statement {
    let s = this.statements.get(sql);
    if (!s) this.statements.set(sql, (s = this.db.prepare(sql)));
    return s;
  }

  /** Reads, waiting for other readers; one that was killed leaves its lock, which is taken away after a second. */
  private all(sql: string, values: SQLiteValue[] = []): Record<string, SQLiteValue>[] {
    for (let tries = 0; ; tries++) {
      try {
        return this.statement(sql).all(values) as Record<string, SQLiteValue>[];
      } catch (e) {
        if (this.writing || tries > LOCK_TRIES || !/locked/.test((e as Error).message)) throw e;
        if (tries === LOCK_TRIES) rmSync(`${this.path}.lock`, { recursive: true, force: true });
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, LOCK_WAIT_MS);
      }
    }
  }

  /** What it holds; null for one that has just been made. */
  meta(): IndexMeta | null {
    const [row] = this.all('SELECT value FROM meta');
    return row ? metaSchema.parse(JSON.parse(row.value as string)) : null;
  }

  /** What a finished index holds. Throws when there is nothing. */
  readMeta(): IndexMeta {
    const meta = this.meta();
    if (!meta) throw new Error('it is empty');
    return meta;
  }

  /** The statistics so far. */
  load(): Map<string, SiteStatistics['features']> {
    const out = new Map<string, Map<number, FeatureStatistics>>();
    for (const r of this.all('SELECT site, feature, data FROM features')) {
      const site = out.get(r.site as string) ?? new Map<number, FeatureStatistics>();
      out.set(r.site as string, site.set(r.feature as number, new FeatureStatistics((r.data as Uint8Array).slice())));
    }
    return out;
  }

  /** Adds contexts and the statistics that have changed, all or nothing. */
  async checkpoint(
    meta: IndexMeta,
    contexts: readonly (CorpusContext & { id: number })[],
    sites: ReadonlyMap<string, SiteStatistics>,
  ): Promise<void> {
    await this.transaction(() => {
      this.insert(
        'INSERT INTO contexts VALUES (?, ?, ?, ?, ?, ?)',
        contexts.map((c) => [c.id, c.file, c.line, Number(c.bos), c.text, pack(c.tokens)]),
      );
      for (const [site, s] of sites) {
        const rows = [...s.changed].map((f): SQLiteValue[] => [site, f, s.features.get(f)?.bytes ?? null]);
        this.insert('INSERT OR REPLACE INTO features VALUES (?, ?, ?)', rows);
      }
      this.setMeta(meta);
      return Promise.resolve();
    });
    for (const s of sites.values()) s.changed.clear();
  }

  private insert(sql: string, rows: readonly SQLiteValue[][]): void {
    const statement = this.db.prepare(sql);
    try {
      for (const r of rows) statement.run(r);
    } finally {
      statement.finalize();
    }
  }

  private setMeta(meta: IndexMeta): void {
    this.db.run('DELETE FROM meta');
    this.db.run('INSERT INTO meta VALUES (?)', [JSON.stringify(meta)]);
  }

  private async transaction(job: () => Promise<void>): Promise<void> {
    this.db.exec('BEGIN IMMEDIATE');
    try {
      await job();
      this.db.exec('COMMIT');
    } catch (e) {
      this.db.exec('ROLLBACK');
      throw e;
    }
  }

  /** Writes the words that features are found by, and marks the index as complete. `breathe` is called now and then. */
  finish(meta: IndexMeta, words: Iterable<Words>, breathe: () => Promise<void>): Promise<void> {
    return this.transaction(async () => {
      this.db.run('DELETE FROM words');
      let rows: SQLiteValue[][] = [];
      const flush = (): void => {
        this.insert('INSERT INTO words VALUES (?, ?, ?, ?)', rows);
        rows = [];
      };
      for (const w of words) {
        rows.push([w.strongest, w.around, w.site, w.feature]);
        if (rows.length < BATCH) continue;
        flush();
        await breathe();
      }
      flush();
      this.setMeta({ ...meta, complete: true });
    });
  }

  /** A feature's statistics, or null if it has never been active. */
  feature(site: string, feature: number): FeatureStatistics | null {
    const [row] = this.all('SELECT data FROM features WHERE site = ? AND feature = ?', [site, feature]);
    return row ? new FeatureStatistics((row.data as Uint8Array).slice()) : null;
  }

  /** How many features of each dictionary have been active. */
  liveFeatures(): Map<string, number> {
    const rows = this.all('SELECT site, count(*) AS n FROM features GROUP BY site');
    return new Map(rows.map((r) => [r.site as string, Number(r.n)]));
  }

  /** Tokens of every context. */
  allTokens(): Map<number, number[]> {
    const rows = this.all('SELECT id, tokens FROM contexts');
    return new Map(rows.map((r) => [Number(r.id), unpack(r.tokens as Uint8Array)]));
  }

  context(id: number): CorpusContext {
    const [r] = this.all('SELECT * FROM contexts WHERE id = ?', [id]);
    if (!r) throw new InputFileError(this.path, `names context ${id}, which it does not hold`);
    return {
      file: r.file as string,
      line: Number(r.line),
      bos: r.bos === 1,
      text: r.text as string,
      tokens: unpack(r.tokens as Uint8Array),
    };
  }

  /** Features whose strongest occurrences are at, or around, words that begin so; the strongest's own words count most. */
  search(text: string, limit: number): { site: string; feature: number }[] {
    const words = text.match(/[\p{L}\p{N}]+/gu) ?? [];
    if (words.length === 0) return [];
    const query = words.map((w) => `"${w}"*`).join(' ');
    return this.all('SELECT site, feature FROM words WHERE words MATCH ? ORDER BY bm25(words, 8.0, 1.0) LIMIT ?', [
      query,
      limit,
    ]).map((r) => ({ site: r.site as string, feature: Number(r.feature) }));
  }

  close(): void {
    for (const s of this.statements.values()) s.finalize();
    this.statements.clear();
    this.db.close();
    if (this.writing) rmSync(`${this.path}.pid`, { force: true });
  }
}
