import { join } from 'node:path';
import { type PromptRef, type ServerSettings, type WireStatus, type WireToken } from '../../protocol';
import { Engine, type GivenDictionary, type Prompt, type PromptRun } from '../engine';
import { CancelledError, EngineError, throwIfCancelled } from '../errors';
import { Hub, resolveDictionaryNames, resolveModelName } from '../hub';
import { traceBytes } from '../model';
import { wireTokens } from './documents';
import { ImportedLabels, Labels } from '../store';
import { Scheduler, type Priority } from '../scheduler';

/** Shows how far a long job is; made by whoever owns the connection. */
export interface ProgressSink {
  report(message: string, fraction?: number): void;
  done(): void;
  readonly signal: AbortSignal;
}

export interface ModelHostOptions {
  home: string;
  settings: ServerSettings;
  onStatus: (status: WireStatus) => void;
  log: (line: string) => void;
  progress: (title: string) => Promise<ProgressSink>;
}

/** A prompt with everything computed from it. */
export interface Analysis {
  prompt: Prompt;
  run: PromptRun;
  engine: Engine;
}

interface Loaded {
  engine: Promise<Engine>;
  abort: AbortController;
}

/** Jobs over fewer items show no progress. */
const SHORT_JOB = 20;

const keyOf = (p: PromptRef): string => `${p.bos ? 'b' : '-'}${p.text}`;

/**
 * Owns the model: loads it when first needed, keeps analysed prompts up to a memory limit (least recently used go first), and loads
 * anew when settings change. Everything heavy goes through its scheduler.
 */
export class ModelHost {
  readonly scheduler = new Scheduler();
  private loaded: Loaded | null = null;
  private readonly kept = new Map<string, Analysis>();
  private state: Pick<WireStatus, 'phase' | 'message'> = { phase: 'idle', message: null };
  private opened: Engine | null = null;
  private notices: string[] = [];
  private labelFile: Labels;
  private imported = new ImportedLabels();
  private hubOf: Hub | null = null;

  constructor(private readonly o: ModelHostOptions) {
    this.labelFile = new Labels(o.settings.labels);
    this.importLabels(o.settings.importedLabels);
  }

  /** Folder of the installed extension. */
  get home(): string {
    return this.o.home;
  }

  get settings(): ServerSettings {
    return this.o.settings;
  }

  /** Published models and dictionaries, as the settings reach them. */
  get hub(): Hub {
    const { registry, hub } = this.o.settings;
    this.hubOf ??= new Hub(this.o.home, { registries: registry, ...hub });
    return this.hubOf;
  }

  /** The workspace's labels. */
  get labels(): Labels {
    return this.labelFile;
  }

  /** Features by their labels, the workspace's own first. */
  featuresLabelled(engine: Engine, part: string): { site: string; feature: number }[] {
    const own = this.labelFile.matching(engine.model.config.modelName, part);
    const seen = new Set(own.map((f) => `${f.site}/${f.feature}`));
    return [...own, ...this.imported.matching(part).filter((f) => !seen.has(`${f.site}/${f.feature}`))];
  }

  /** Reads label files of other tools, beside everything else; what cannot be read is said in the log. */
  private importLabels(paths: readonly string[]): void {
    const labels = new ImportedLabels();
    this.imported = labels;
    if (paths.length === 0) return;
    labels
      .load(paths)
      .then((r) => {
        this.o.log(`${r.labels} labels from ${paths.join(', ')}`);
        for (const p of r.problems) this.o.log(p);
        this.o.onStatus(this.status);
      })
      .catch((e: unknown) => this.o.log(`labels: ${(e as Error).message}`));
  }

  /** The workspace's label of a feature, if there is one that can be read. */
  ownLabel(model: string, site: string, feature: number): string | undefined {
    try {
      return this.labelFile.of(model, site, feature);
    } catch (e) {
      this.o.log((e as Error).message);
      return undefined;
    }
  }

  /** A feature's label, the workspace's own first. */
  labelOf(engine: Engine, site: string, feature: number): string | undefined {
    const own = this.ownLabel(engine.model.config.modelName, site, feature);
    const other = own === undefined ? this.imported.of(site, feature) : undefined;
    return own ?? (other && `${other.label} (${other.from})`);
  }

  /** The engine if it is there now. */
  get ready(): Engine | null {
    return this.opened;
  }

  get status(): WireStatus {
    const e = this.opened;
    const sites = [...(e?.dictionaries.values() ?? [])]
      .map(({ site, kind, layer, config }) => ({ site, kind, layer, d_sae: config.d_sae }))
      .sort((a, b) => a.layer - b.layer || a.site.localeCompare(b.site));
    return {
      ...this.state,
      message: this.state.message ?? (this.notices.length > 0 ? this.notices.join('\n') : null),
      model: e?.model.config.modelName ?? null,
      path: e?.model.weights.path ?? null,
      provider: e?.runtime.provider ?? null,
      sites,
      n_layers: e?.model.config.n_layers ?? 0,
      n_heads: e?.model.config.n_heads ?? 0,
      n_ctx: e?.model.config.n_ctx ?? 0,
      pid: process.pid,
      memory: process.memoryUsage.rss(),
      prompts: this.kept.size,
    };
  }

  private publish(phase: WireStatus['phase'], message: string | null = null): void {
    this.state = { phase, message };
    this.o.onStatus(this.status);
  }

  /** The engine, loaded on first need. Rejects with the reader's or runtime's error; the next call tries again. */
  engine(): Promise<Engine> {
    if (this.loaded) return this.loaded.engine;
    const abort = new AbortController();
    const engine = this.open(abort);
    this.loaded = { engine, abort };
    engine.catch(() => {
      if (this.loaded?.engine === engine) this.loaded = null;
    });
    return engine;
  }

  private sources(): { model: string; dictionaries: (string | GivenDictionary)[] } {
    const { model, dictionaries } = this.o.settings;
    if (model !== 'demo' && model !== '') {
      const { registry } = this.hub;
      return { model: resolveModelName(registry, model), dictionaries: resolveDictionaryNames(registry, dictionaries) };
    }
    const demo = join(this.o.home, 'demo');
    return { model: join(demo, 'model'), dictionaries: dictionaries.length > 0 ? dictionaries : [join(demo, 'saes')] };
  }

  private async open(abort: AbortController): Promise<Engine> {
    this.notices = [];
    this.publish('loading', `loading ${this.o.settings.model}`);
    const progress = await this.o.progress('Loading model');
    const stop = (): void => abort.abort();
    progress.signal.addEventListener('abort', stop, { once: true });
    const start = Date.now();
    try {
      const sources = this.sources();
      const engine = await Engine.open({
        ...sources,
        contract: this.o.settings.contract,
        provider: this.o.settings.provider,
        notice: (line) => {
          this.notices.push(line);
          this.o.log(line);
        },
        onImport: (path, done, total) => progress.report(`importing ${path}`, total > 0 ? done / total : undefined),
        signal: abort.signal,
      });
      if (abort.signal.aborted) {
        await engine.close();
        throw new CancelledError();
      }
      this.opened = engine;
      this.o.log(
        `${sources.model}: ready in ${Date.now() - start} ms on ${engine.runtime.provider}, ${engine.dictionaries.size} dictionaries`,
      );
      this.publish('ready');
      return engine;
    } catch (e) {
      if (e instanceof CancelledError) this.publish('idle', 'loading was cancelled');
      else this.publish('failed', (e as Error).message);
      if (!(e instanceof EngineError)) this.o.log((e as Error).stack ?? String(e));
      throw e;
    } finally {
      progress.signal.removeEventListener('abort', stop);
      progress.done();
    }
  }

  /** Takes new settings; drops the model if they name another one. */
  async configure(settings: ServerSettings): Promise<void> {
    const identity = (s: ServerSettings): string =>
      JSON.stringify([s.model, s.dictionaries, s.contract, s.provider, s.registry]);
    const changed = identity(settings) !== identity(this.o.settings);
    const before = this.o.settings;
    this.o.settings = settings;
    this.hubOf = null;
    if (settings.importedLabels.join('\n') !== before.importedLabels.join('\n'))
      this.importLabels(settings.importedLabels);
    if (settings.labels !== this.labelFile.path) this.labelFile = new Labels(settings.labels);
    if (changed) await this.drop();
    else this.trim();
  }

  /** Lets go of the model and everything computed with it, and cancels the jobs that still use it. */
  async drop(): Promise<void> {
    const old = this.loaded;
    this.loaded = null;
    this.opened = null;
    this.kept.clear();
    this.publish('idle');
    if (!old) return;
    old.abort.abort();
    await this.scheduler
      .run('interactive', new AbortController().signal, async () => (await old.engine).close())
      .catch((e: unknown) => this.o.log(`closing the model: ${(e as Error).message}`));
  }

  /**
   * A prompt's tokens without running the model: from what is kept, else from the tokenizer. Null without a model, and for a prompt that is
   * too long or not spelled exactly.
   */
  tokensOf(p: PromptRef): WireToken[] | null {
    const kept = this.kept.get(keyOf(p));
    if (kept) return wireTokens(kept.engine, kept.prompt);
    if (!this.opened) return null;
    try {
      return wireTokens(this.opened, this.opened.prompt(p.text, p.bos));
    } catch (e) {
      if (e instanceof EngineError) return null;
      throw e;
    }
  }

  /** A prompt that is analysed already, or null. Looking does not make it more recent. */
  keptOf(p: PromptRef): Analysis | null {
    return this.kept.get(keyOf(p)) ?? null;
  }

  /**
   * Tokens and forward pass of a prompt, from what is kept if possible, else as a heavy job. What a kept prompt shares from its start is
   * not computed again. Rejects with UsageError for prompts that are empty or too long.
   */
  async analyse(p: PromptRef, priority: Priority, signal: AbortSignal): Promise<Analysis> {
    const engine = await this.engine();
    const key = keyOf(p);
    const have = this.kept.get(key);
    if (have) {
      this.kept.delete(key);
      this.kept.set(key, have);
      return have;
    }
    return this.scheduler.run(priority, signal, async () => {
      const again = this.kept.get(key);
      if (again) return again;
      if (this.opened !== engine) throw new CancelledError();
      const prompt = engine.prompt(p.text, p.bos);
      const { tokens } = prompt;
      const run = await engine.run(tokens, this.nearest(tokens), signal);
      const analysis = { prompt, run, engine };
      this.kept.set(key, analysis);
      this.trim();
      this.o.onStatus(this.status);
      return analysis;
    });
  }

  /** The kept run that shares the longest start with these tokens. */
  private nearest(tokens: readonly number[]): PromptRun | undefined {
    let best: PromptRun | undefined;
    let most = 1;
    for (const { prompt, run } of this.kept.values()) {
      const have = prompt.tokens;
      let n = 0;
      while (n < tokens.length && have[n] === tokens[n]) n++;
      if (n > most) {
        most = n;
        best = run;
      }
    }
    return best;
  }

  private trim(): void {
    const limit = this.o.settings.memoryLimitMB * 2 ** 20;
    let total = [...this.kept.values()].reduce((n, k) => n + traceBytes(k.run.trace), 0);
    for (const [key, k] of this.kept) {
      if (total <= limit || this.kept.size === 1) return;
      total -= traceBytes(k.run.trace);
      this.kept.delete(key);
    }
  }

  /** A job with progress. It is cancelled there, by the request's own signal, or when the model goes. */
  async withProgress<T>(
    title: string,
    signal: AbortSignal,
    job: (both: AbortSignal, report: (message: string, fraction: number) => void) => Promise<T>,
  ): Promise<T> {
    const progress = await this.o.progress(title);
    try {
      const model = this.loaded ? [this.loaded.abort.signal] : [];
      return await job(AbortSignal.any([signal, progress.signal, ...model]), (m, f) => progress.report(m, f));
    } finally {
      progress.done();
    }
  }

  /** A step for each item in turn; many items show progress. */
  async eachWithProgress<T>(
    title: string,
    items: readonly T[],
    signal: AbortSignal,
    step: (item: T, signal: AbortSignal) => Promise<void>,
  ): Promise<void> {
    const all = async (both: AbortSignal, report: (message: string, fraction: number) => void): Promise<void> => {
      for (const [i, item] of items.entries()) {
        throwIfCancelled(both);
        report(`${i} of ${items.length}`, i / items.length);
        await step(item, both);
      }
    };
    if (items.length > SHORT_JOB) return this.withProgress(title, signal, all);
    return all(signal, () => undefined);
  }

  /** A heavy job over an analysed prompt. */
  async heavy<T>(p: PromptRef, priority: Priority, signal: AbortSignal, job: (a: Analysis) => Promise<T>): Promise<T> {
    const a = await this.analyse(p, priority, signal);
    return this.scheduler.run(priority, signal, () => job(a));
  }
}
