import type { CorpusSummary, DashboardResult, FoundFeature } from '../../protocol/corpus';
import { Corpus, featuresOfPrompt, summaryOf } from '../corpus';
import { type Engine } from '../engine';
import { UsageError } from '../errors';
import { type ModelHost } from './modelHost';

type SearchBy = 'text' | 'label' | 'prompt';

/** The feature index of the folder of the settings, for the model that is loaded. */
export class CorpusHost {
  private current: { corpus: Corpus; engine: Engine; folder: string; length: number } | null = null;
  private readonly building = new Map<Corpus, Promise<CorpusSummary>>();

  constructor(private readonly host: ModelHost) {}

  private async corpus(): Promise<Corpus | null> {
    const { folder, contextLength } = this.host.settings.corpus;
    if (folder === '') return null;
    const engine = await this.host.engine();
    const length = Math.min(contextLength, engine.model.config.n_ctx);
    const c = this.current;
    if (c?.engine !== engine || c.folder !== folder || c.length !== length) {
      c?.corpus.close();
      this.current = { corpus: new Corpus(engine, folder, length), engine, folder, length };
    }
    return this.current?.corpus ?? null;
  }

  private stateOf(corpus: Corpus | null): DashboardResult['state'] {
    if (!corpus) return 'unset';
    return this.building.has(corpus) && corpus.state !== 'ready' ? 'building' : corpus.state;
  }

  /** What the index shows of a feature. */
  async dashboard(site: string, feature: number): Promise<DashboardResult> {
    const corpus = await this.corpus();
    const dashboard = corpus?.dashboard(site, feature) ?? null;
    return { state: this.stateOf(corpus), folder: corpus?.folder ?? '', dashboard };
  }

  /** Builds the index behind everything else; a second call for the same texts joins the first, one for others waits its turn. */
  async build(signal: AbortSignal): Promise<CorpusSummary> {
    const corpus = await this.corpus();
    if (!corpus) throw new UsageError('there is no folder to index: open one, or set attentionCircuits.corpus.folder');
    const { maxTokens } = this.host.settings.corpus;
    const running = this.building.get(corpus);
    if (running) return running;
    const build = this.host
      .withProgress('Indexing texts', signal, (both, report) =>
        this.host.scheduler.run('background', both, (turn) =>
          corpus.build({
            signal: both,
            maxTokens,
            step: async (message, fraction) => {
              report(message, fraction);
              await turn.breathe();
            },
          }),
        ),
      )
      .then(summaryOf)
      .finally(() => this.building.delete(corpus));
    this.building.set(corpus, build);
    return build;
  }

  /** Features by words, by label or by a prompt they fire in. */
  async search(
    by: SearchBy,
    text: string,
    limit: number,
    signal: AbortSignal,
  ): Promise<{ state: DashboardResult['state']; features: FoundFeature[] }> {
    const corpus = await this.corpus();
    const engine = await this.host.engine();
    const found = await this.find(engine, corpus, by, text, limit, signal);
    const features = found.map((f) => ({ ...f, label: this.host.labelOf(engine, f.site, f.feature) }));
    return { state: this.stateOf(corpus), features };
  }

  private async find(
    engine: Engine,
    corpus: Corpus | null,
    by: SearchBy,
    text: string,
    limit: number,
    signal: AbortSignal,
  ): Promise<FoundFeature[]> {
    if (text.trim() === '') return [];
    if (by === 'text') return corpus?.search(text, limit) ?? [];
    if (by === 'label') {
      return this.host
        .featuresLabelled(engine, text)
        .filter(({ site }) => engine.dictionaries.has(site))
        .slice(0, limit)
        .map(({ site, feature }) => ({ site, feature, activation: null, text: '' }));
    }
    const bos = engine.model.config.bosTokenId !== null;
    const { run } = await this.host.analyse({ text, bos }, 'interactive', signal);
    return featuresOfPrompt(run, engine.dictionaries.keys(), limit);
  }
}
