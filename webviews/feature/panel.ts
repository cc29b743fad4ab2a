/** One feature: which heads write it, what it does to the logits, where it fires in the open prompts. */
import type { FeatureExample, FeatureResult, PromptRef } from '../../server/protocol';
import type { CorpusExample } from '../../server/protocol/corpus';
import type { NoteComment } from '../../server/protocol/notes';
import type { PanelArguments, ToPanel } from '../protocol';
import { type Host, RequestError } from '../shared/host';
import { dashboard } from './dashboard';
import { tokenStrip } from '../shared/tokenStrip';
import { busy, button, fill, h, quoted, share, signed } from '../ui';

type FeatureArguments = Extract<PanelArguments, { panel: 'feature' }>;

function headShares(r: FeatureResult): HTMLElement | null {
  if (!r.headShares) return null;
  const rows = r.headShares.map((s, head) => {
    const bar = h('span', { class: 'bar positive' });
    bar.style.width = `${Math.round(100 * s)}%`;
    return h(
      'tr',
      {},
      h('th', { scope: 'row' }, `head ${r.site.layer}.${head}`),
      h('td', {}, share(s)),
      h('td', { class: 'wide' }, bar),
    );
  });
  return h(
    'section',
    {},
    h('h2', { title: 'Norm of the decoder row in each head, over the sum' }, 'Heads'),
    h('table', { class: 'numbers' }, h('tbody', {}, ...rows)),
  );
}

const logits = (title: string, list: FeatureResult['positive']): HTMLElement =>
  h(
    'div',
    {},
    h('h3', {}, title),
    h(
      'table',
      { class: 'numbers' },
      h(
        'tbody',
        {},
        ...list.map((l) =>
          h('tr', {}, h('th', { scope: 'row' }, h('bdi', {}, quoted(l.text))), h('td', {}, signed(l.effect))),
        ),
      ),
    ),
  );

export class FeaturePanel {
  private readonly content = h('div', {});
  private abort = new AbortController();
  private failed = false;
  private corpus = h('div', {});
  /** What has been written about the feature. */
  private readonly notes = h('div', { id: 'notes' });
  /** What Neuronpedia says, once it was asked. */
  private readonly page = h('div', {});

  constructor(
    private readonly host: Host,
    app: HTMLElement,
    private args: FeatureArguments,
  ) {
    fill(app, this.content);
    void this.load();
  }

  receive(m: Exclude<ToPanel, { type: 'init' | 'response' | 'failure' }>): void {
    if (m.type === 'update' && m.args.panel === 'feature') {
      this.args = m.args;
      this.showNotes([]);
      void this.load();
    } else if (m.type === 'labelled' && m.site === this.args.site && m.feature === this.args.feature) void this.load();
    else if (m.type === 'corpus') void this.loadCorpus();
    else if (m.type === 'notes') this.showNotes(m.notes);
    else if (m.type === 'status' && this.failed && m.status.phase !== 'failed' && m.status.phase !== 'loading')
      void this.load();
  }

  private async load(): Promise<void> {
    this.abort.abort();
    this.abort = new AbortController();
    this.failed = false;
    fill(this.corpus);
    fill(this.page);
    const { site, feature } = this.args;
    const title = `Feature ${site}/${feature}`;
    fill(
      this.content,
      h('h1', {}, title),
      h(
        'div',
        { class: 'note', role: 'status' },
        busy('Computing'),
        ' Looking through the open prompts … ',
        button('Cancel', 'Stop', () => this.abort.abort()),
      ),
      this.corpus,
    );
    this.host.remember(this.args, null);
    try {
      void this.loadCorpus();
      this.show(title, await this.host.request('attentionCircuits/feature', { site, feature }, this.abort.signal));
    } catch (e) {
      this.failed = !(e instanceof RequestError && e.cancelled);
      fill(
        this.content,
        h('h1', {}, title),
        h(
          'div',
          { class: 'error', role: 'alert' },
          (e as Error).message,
          ' ',
          button('Try again', 'Ask again', () => void this.load(), 'primary'),
        ),
      );
    }
  }

  private showNotes(notes: readonly NoteComment[]): void {
    const said = notes.map((n) => {
      const by = [n.author, n.at.slice(0, 10)].filter((x) => x !== '').join(', ');
      return h('li', {}, h('bdi', {}, n.text), h('span', { class: 'note' }, ` ${by}`));
    });
    fill(this.notes, said.length > 0 && h('section', {}, h('h2', {}, 'Notes'), h('ul', {}, ...said)));
  }

  /** The indexed texts; by itself, because it is read, not computed. */
  private async loadCorpus(): Promise<void> {
    const { host, args, corpus, abort } = this;
    const { site, feature } = args;
    const rootAt = (position: number): { type: 'feature'; site: string; feature: number; position: number } => ({
      type: 'feature',
      site,
      feature,
      position,
    });
    try {
      const r = await host.request('attentionCircuits/dashboard', { site, feature }, abort.signal);
      const services = {
        host,
        open: (uri: string | null, prompt: PromptRef, position: number): void =>
          host.send({ type: 'open', args: { panel: 'circuit', uri, prompt, root: rootAt(position) } }),
        dfa: async ({ prompt, position }: CorpusExample): Promise<number[]> => {
          const node = `${site}/${feature}@${position}`;
          const q = { prompt, root: rootAt(position), node };
          return (await host.request('attentionCircuits/sources', q, abort.signal)).sources;
        },
      };
      fill(corpus, dashboard(services, r));
    } catch (e) {
      if (!abort.signal.aborted) fill(corpus, h('div', { class: 'error', role: 'alert' }, (e as Error).message));
    }
  }

  private async copyPython(): Promise<void> {
    const { site, feature } = this.args;
    try {
      const { text } = await this.host.request('attentionCircuits/featureScript', { site, feature }, this.abort.signal);
      this.host.send({ type: 'copy', text, what: 'script' });
    } catch (e) {
      this.content.prepend(h('div', { class: 'error', role: 'alert' }, (e as Error).message));
    }
  }

  /** Asks Neuronpedia, because the reader said so, and shows its explanations; each can become the label. */
  private async fetchPage(id: string): Promise<void> {
    const { site, feature } = this.args;
    const title = h('h2', {}, 'On Neuronpedia');
    fill(this.page, h('section', {}, title, h('p', { class: 'note', role: 'status' }, 'Asking …')));
    try {
      const r = await this.host.request('attentionCircuits/neuronpedia', { id, feature }, this.abort.signal);
      const facts = [
        ...(r.density === null ? [] : [`density ${share(r.density)}`]),
        ...(r.max === null ? [] : [`most ${r.max.toFixed(3)}`]),
      ];
      const items = r.explanations.map((e) =>
        h(
          'li',
          {},
          h('bdi', {}, e.text),
          h('span', { class: 'note' }, e.by === '' ? ' ' : ` (${e.by}) `),
          button('Use as label', 'Put it into the label of this feature, to be edited', () =>
            this.host.send({ type: 'label', site, feature, text: e.text }),
          ),
        ),
      );
      const none = h('p', { class: 'note' }, 'It has no explanation of this feature.');
      const note = h('p', { class: 'note' }, `${[id, ...facts].join(' · ')}; its own measurements, not this model’s`);
      fill(
        this.page,
        h('section', { id: 'neuronpedia' }, title, note, items.length === 0 ? none : h('ul', {}, ...items)),
      );
    } catch (e) {
      fill(this.page, h('section', {}, title, h('div', { class: 'error', role: 'alert' }, (e as Error).message)));
    }
  }

  private lens(r: FeatureResult): HTMLElement {
    const title = h(
      'h2',
      { title: 'What it writes along the encoder of the next residual dictionary; weights only' },
      'Residual lens',
    );
    if (!r.lens)
      return h('section', {}, title, h('p', { class: 'note' }, 'No residual dictionary after it is loaded.'));
    const rows = r.lens.entries.map((e) => {
      const open = (): void =>
        this.host.send({ type: 'open', args: { panel: 'feature', site: e.site, feature: e.feature } });
      const name = e.label === undefined ? String(e.feature) : `${e.feature} ${e.label}`;
      const link = h('button', { type: 'button', class: 'link', title: 'Open this feature', onclick: open }, name);
      return h('tr', {}, h('th', { scope: 'row' }, link), h('td', {}, signed(e.weight)));
    });
    const half = Math.ceil(rows.length / 2);
    const column = (part: HTMLElement[]): HTMLElement => h('table', { class: 'numbers' }, h('tbody', {}, ...part));
    return h(
      'section',
      {},
      title,
      h('p', { class: 'note' }, r.lens.site),
      h('div', { class: 'columns' }, column(rows.slice(0, half)), column(rows.slice(half).reverse())),
    );
  }

  private example(e: FeatureExample): HTMLElement {
    const { site, feature } = this.args;
    const open = (position: number): void => {
      const root = { type: 'feature' as const, site, feature, position };
      this.host.send({ type: 'open', args: { panel: 'circuit', uri: e.uri, prompt: e.prompt, root } });
    };
    const where = e.uri.slice(e.uri.lastIndexOf('/') + 1);
    return h(
      'li',
      { class: 'example' },
      h(
        'div',
        { class: 'note' },
        `${decodeURIComponent(where)} · strongest ${e.activations[e.position].toFixed(3)} at ${quoted(e.tokens[e.position].text)} @${e.position} · click a token to root the tree there`,
      ),
      tokenStrip('Activations in a prompt', e.tokens, e.activations, new Set([e.position]), open),
    );
  }

  private show(title: string, r: FeatureResult): void {
    const { site, feature } = this.args;
    fill(
      this.content,
      h('h1', {}, title),
      r.label !== undefined && h('p', { class: 'label-text' }, h('strong', {}, h('bdi', {}, r.label))),
      h(
        'p',
        { class: 'note' },
        `${r.site.kind} dictionary, layer ${r.site.layer}, feature ${feature} of ${r.site.d_sae}`,
      ),
      h(
        'div',
        { class: 'actions' },
        button(
          'Color tokens',
          'Color the tokens of the open files by this feature',
          () => this.host.send({ type: 'heat', site, feature }),
          'primary',
        ),
        button('Label', 'Label this feature in the workspace', () => this.host.send({ type: 'label', site, feature })),
        button(
          'Copy as Python',
          'Copy a script for TransformerLens and SAELens that computes this again',
          () => void this.copyPython(),
        ),
        r.neuronpedia !== null &&
          button('Open on Neuronpedia', 'Open its page in the browser', () =>
            this.host.send({ type: 'neuronpedia', id: r.neuronpedia ?? '', feature }),
          ),
        r.neuronpedia !== null &&
          button(
            'Fetch from Neuronpedia',
            'Ask Neuronpedia for its explanations of this feature',
            () => void this.fetchPage(r.neuronpedia ?? ''),
          ),
        button('Note', 'Write a note on this feature', () =>
          this.host.send({ type: 'note', target: { type: 'feature', site, feature } }),
        ),
        button('Copy name', 'Copy SITE/INDEX', () =>
          this.host.send({ type: 'copy', text: `${site}/${feature}`, what: 'feature name' }),
        ),
      ),
      this.notes,
      h(
        'div',
        { class: 'columns' },
        headShares(r),
        h(
          'section',
          {},
          h(
            'h2',
            {
              title:
                'Write direction through the final LayerNorm gain and W_U, one unit of activation, the scale left out',
            },
            'Direct effect on logits',
          ),
          h('div', { class: 'columns' }, logits('Raises', r.positive), logits('Lowers', r.negative)),
        ),
        this.lens(r),
      ),
      this.page,
      this.corpus,
      h('h2', {}, 'In the open prompt files'),
      r.examples.length === 0
        ? h('p', { class: 'note' }, `Nowhere in the ${r.searched} prompts of the open files.`)
        : h('ul', { class: 'examples' }, ...r.examples.map((e) => this.example(e))),
    );
  }
}
