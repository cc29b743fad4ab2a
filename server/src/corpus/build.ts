import { type Engine } from '../engine';
import { CancelledError } from '../errors';
import { type CorpusContext, contextsOf } from './contexts';
import { type IndexFile, type IndexMeta, type Words } from './database';
import { type CorpusListing, textsOf } from './files';
import { AFTER, BEFORE, SiteStatistics } from './statistics';

export interface BuildOptions {
  signal: AbortSignal;
  /** Tokens of a context, BOS included. */
  length: number;
  /** Tokens after which it ends. */
  maxTokens: number;
  /** Called between contexts: shows how far it is and lets others pass. Throws CancelledError. */
  step(message: string, fraction: number): Promise<void>;
}

const CHECKPOINT_MS = 10_000;
/** Words of a feature come from so many of its strongest occurrences. */
const WORDY = 5;

const fresh = (listing: CorpusListing, engine: Engine, length: number): IndexMeta => ({
  layout: 1,
  folder: listing.folder,
  stamp: listing.stamp,
  length,
  sites: [...engine.dictionaries.keys()],
  files: 0,
  inFile: 0,
  contexts: 0,
  tokens: 0,
  skipped: 0,
  reason: null,
  complete: false,
  limited: false,
});

/**
 * Runs a corpus through the model and all its dictionaries and counts, for every feature, how often, how strongly and where it is active;
 * BOS is left out. State goes into the file at checkpoints and when it is cancelled, from where the next call goes on. Throws the engine's
 * errors.
 */
export async function buildIndex(
  engine: Engine,
  listing: CorpusListing,
  file: IndexFile,
  o: BuildOptions,
): Promise<IndexMeta> {
  const meta = file.meta() ?? fresh(listing, engine, o.length);
  const have = file.load();
  const sites = new Map(meta.sites.map((s): [string, SiteStatistics] => [s, new SiteStatistics(have.get(s))]));
  const builder = new Builder(engine, listing, file, meta, sites, o);
  try {
    await builder.readAll();
  } catch (e) {
    if (e instanceof CancelledError) await builder.checkpoint();
    throw e;
  }
  await builder.checkpoint();
  const breathe = (): Promise<void> => o.step('writing words', 1);
  await file.finish(meta, wordsOf(engine, file, sites), breathe);
  return { ...meta, complete: true };
}

class Builder {
  private pending: (CorpusContext & { id: number })[] = [];
  private saved = Date.now();
  private readonly bytes: number;

  constructor(
    private readonly engine: Engine,
    private readonly listing: CorpusListing,
    private readonly file: IndexFile,
    private readonly meta: IndexMeta,
    private readonly sites: ReadonlyMap<string, SiteStatistics>,
    private readonly o: BuildOptions,
  ) {
    this.bytes = Math.max(
      1,
      listing.files.reduce((n, f) => n + f.size, 0),
    );
  }

  async readAll(): Promise<void> {
    const { meta, listing } = this;
    let before = listing.files.slice(0, meta.files).reduce((n, f) => n + f.size, 0);
    while (meta.files < listing.files.length && !meta.limited) {
      const f = listing.files[meta.files];
      await this.readFile(meta.files, before / this.bytes);
      before += f.size;
      if (meta.limited) break;
      meta.files++;
      meta.inFile = 0;
    }
  }

  private async readFile(index: number, fraction: number): Promise<void> {
    const { meta } = this;
    const f = this.listing.files[index];
    const known = meta.inFile;
    let at = 0;
    let size = 0;
    // Counted when what follows is: a build that stops in between meets them again.
    let skipped: string[] = [];
    const skip = (reason: string): void => void (at >= known && skipped.push(`${f.path}: ${reason}`));
    const countSkipped = (): void => {
      meta.skipped += skipped.length;
      meta.reason ??= skipped[0] ?? null;
      skipped = [];
    };
    for (const text of textsOf(this.listing, f)) {
      for (const c of contextsOf(this.engine, text, meta.length, skip)) {
        size += c.text.length;
        if (at++ < known) continue;
        if (meta.tokens >= this.o.maxTokens) {
          meta.limited = true;
          return;
        }
        await this.o.step(f.path, fraction + Math.min(f.size, size) / this.bytes);
        await this.take(c);
        countSkipped();
        meta.inFile = at;
        if (Date.now() - this.saved > CHECKPOINT_MS) await this.checkpoint();
      }
    }
    countSkipped();
  }

  private async take(c: CorpusContext): Promise<void> {
    const { meta } = this;
    const run = await this.engine.run(c.tokens, undefined, this.o.signal);
    const from = Number(c.bos);
    const all = [];
    for (const site of this.sites.keys()) all.push({ site, acts: await run.acts(site) });
    // Nothing is counted before everything of a context is there: a failure in between leaves it out whole.
    const id = meta.contexts++;
    for (const { site, acts } of all) this.sites.get(site)?.add(acts, id, from);
    meta.tokens += c.tokens.length - from;
    this.pending.push({ ...c, id });
  }

  async checkpoint(): Promise<void> {
    await this.file.checkpoint(this.meta, this.pending, this.sites);
    this.pending = [];
    this.saved = Date.now();
  }
}

function* wordsOf(engine: Engine, file: IndexFile, sites: ReadonlyMap<string, SiteStatistics>): Generator<Words> {
  const tokens = file.allTokens();
  const text = (id: number): string => engine.tokenizer?.text(id) ?? '';
  for (const [site, s] of sites) {
    for (const [feature, statistics] of s.features) {
      const strongest: string[] = [];
      const around: string[] = [];
      for (const { context, position } of statistics.top().slice(0, WORDY)) {
        const of = tokens.get(context) ?? [];
        strongest.push(text(of[position]));
        around.push(
          of
            .slice(Math.max(0, position - BEFORE), position + AFTER + 1)
            .map(text)
            .join(''),
        );
      }
      yield { site, feature, strongest: strongest.join(' '), around: around.join(' … ') };
    }
  }
}
