import { createHash } from 'node:crypto';
import { existsSync, renameSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { type Engine } from '../engine';
import { InputFileError, UnsupportedError } from '../errors';
import { cacheRoot } from '../store';
import type { CorpusExample, CorpusSummary, FeatureDashboard, FoundFeature } from '../../protocol/corpus';
import { buildIndex, type BuildOptions } from './build';
import { IndexFile, type IndexMeta } from './database';
import { listCorpus } from './files';
import { BEFORE, type Occurrence } from './statistics';

/** The text of an example, its strongest token between ⟦ ⟧. */
export const textOf = (e: CorpusExample): string =>
  e.tokens.map((t, i) => (e.from + i === e.position ? `⟦${t.text}⟧` : t.text)).join('');

/** What the outside learns of an index. */
export const summaryOf = ({ folder, contexts, tokens, limited, skipped, reason }: IndexMeta): CorpusSummary => ({
  folder,
  contexts,
  tokens,
  limited,
  skipped,
  reason,
});

const STAMP_MS = 5000;

/**
 * The feature index of a folder for one model with its dictionaries: where it is kept, building it, reading it. The finished file is
 * replaced as a whole; a build goes on in a file beside it.
 */
export class Corpus {
  readonly path: string;
  private readonly building: string;
  private reader: { file: IndexFile; ino: number } | null = null;
  private checked = { at: 0, stamp: '' };

  constructor(
    private readonly engine: Engine,
    readonly folder: string,
    private readonly length: number,
    root = join(cacheRoot(), 'corpora'),
  ) {
    const { model, dictionaries, contract } = engine;
    const identity = [
      model.weights.cached.sha256,
      [...dictionaries.values()].map((d) => [d.site, d.cached.sha256]).sort(),
      contract,
      folder,
      length,
    ];
    const key = createHash('sha256').update(JSON.stringify(identity)).digest('hex').slice(0, 24);
    this.path = join(root, `${key}.db`);
    this.building = join(root, `${key}.building.db`);
  }

  /** Whether there is a finished index, or one that a build would go on with. */
  get state(): 'none' | 'partial' | 'ready' {
    if (existsSync(this.path)) return 'ready';
    return existsSync(this.building) ? 'partial' : 'none';
  }

  /** Builds the index, or goes on building it; an index of files that have changed since is begun anew. */
  async build(o: Omit<BuildOptions, 'length'>): Promise<IndexMeta> {
    if (!this.engine.tokenizer) throw new UnsupportedError('indexing text needs a tokenizer; the model has none');
    const listing = listCorpus(this.folder);
    if (listing.files.length === 0)
      throw new UnsupportedError(`${this.folder} holds no text: .prompts, .txt, .md and .jsonl files are read`);
    let file = IndexFile.write(this.building);
    const old = file.meta();
    if (old && old.stamp !== listing.stamp) {
      file.close();
      rmSync(this.building);
      file = IndexFile.write(this.building);
    }
    let meta: IndexMeta;
    try {
      // A finished file that was not put in its place is only put there.
      meta =
        old?.complete && old.stamp === listing.stamp
          ? old
          : await buildIndex(this.engine, listing, file, { ...o, length: this.length });
    } finally {
      file.close();
    }
    this.close();
    renameSync(this.building, this.path);
    return meta;
  }

  private index(): IndexFile | null {
    const s = statSync(this.path, { throwIfNoEntry: false });
    if (!s) return null;
    if (this.reader?.ino !== s.ino) {
      this.close();
      this.reader = { file: IndexFile.open(this.path), ino: s.ino };
    }
    return this.reader?.file ?? null;
  }

  /** What the finished index holds, or null without one. */
  meta(): IndexMeta | null {
    return this.index()?.readMeta() ?? null;
  }

  /** Whether files have changed since; true as well when they cannot be listed any more. */
  private outdated(meta: IndexMeta): boolean {
    if (Date.now() - this.checked.at > STAMP_MS) {
      let stamp = '';
      try {
        ({ stamp } = listCorpus(this.folder));
      } catch (e) {
        if (!(e instanceof InputFileError)) throw e;
      }
      this.checked = { at: Date.now(), stamp };
    }
    return this.checked.stamp !== meta.stamp;
  }

  private example(index: IndexFile, o: Occurrence): CorpusExample {
    const { file, line, text, bos, tokens } = index.context(o.context);
    const from = Math.max(0, o.position - BEFORE);
    const shown = tokens.slice(from, o.position - BEFORE + o.window.length);
    return {
      file,
      uri: file.endsWith('.prompts') ? pathToFileURL(join(this.folder, file)).href : null,
      line,
      prompt: { text, bos },
      position: o.position,
      activation: o.activation,
      from,
      tokens: shown.map((id, i) => ({
        text: this.engine.tokenizer?.text(id) ?? String(id),
        activation: o.window[from + i - (o.position - BEFORE)],
      })),
    };
  }

  /** A feature's dashboard, or null without an index. Throws UsageError for features that do not exist. */
  dashboard(site: string, feature: number): FeatureDashboard | null {
    this.engine.dictionary(site).checkFeature(feature);
    const index = this.index();
    if (!index) return null;
    return index.together(() => this.read(index, site, feature));
  }

  private read(index: IndexFile, site: string, feature: number): FeatureDashboard {
    const meta = index.readMeta();
    const s = index.feature(site, feature);
    const active = s?.active ?? 0;
    return {
      corpus: summaryOf(meta),
      outdated: this.outdated(meta),
      active,
      density: meta.tokens === 0 ? 0 : active / meta.tokens,
      mean: active === 0 ? 0 : (s?.sum ?? 0) / active,
      max: s?.max ?? 0,
      bins: (s?.bins() ?? []).map((b) => ({
        ...b,
        to: Number.isFinite(b.to) ? b.to : null,
        example: b.example && this.example(index, b.example),
      })),
      top: (s?.top() ?? []).map((o) => this.example(index, o)),
    };
  }

  /** Features by the words at and around their strongest occurrences, best first; null without an index. */
  search(text: string, limit: number): FoundFeature[] | null {
    const index = this.index();
    if (!index) return null;
    return index.together(() =>
      index.search(text, limit).map(({ site, feature }) => {
        const s = index.feature(site, feature);
        const [strongest] = s?.top() ?? [];
        const text = strongest ? textOf(this.example(index, strongest)) : '';
        return { site, feature, activation: s?.max ?? null, text };
      }),
    );
  }

  close(): void {
    this.reader?.file.close();
    this.reader = null;
  }
}
