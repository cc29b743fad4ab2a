/** What the indexed texts show of a feature: how often and how strongly it is active, and where, with the DFA of each example. */
import type { PromptRef, WireToken } from '../../server/protocol';
import type { CorpusExample, DashboardResult, FeatureDashboard } from '../../server/protocol/corpus';
import { type Host } from '../shared/host';
import { tokenStrip } from '../shared/tokenStrip';
import { button, checkbox, h, share } from '../ui';

/** What the dashboard needs of its panel. */
export interface DashboardServices {
  host: Host;
  /** Roots a tree at a token of an example. */
  open(uri: string | null, prompt: PromptRef, position: number): void;
  /** Direct contributions of an example's positions to the feature at its strongest token [S]. */
  dfa(e: CorpusExample): Promise<number[]>;
}

/** Whether DFA is shown beside the activations; kept while the page lives. */
let withDfa = true;

const tokensOf = (e: CorpusExample): WireToken[] =>
  e.tokens.map((t, i) => ({ position: e.from + i, id: 0, text: t.text }));

const rangeText = (b: FeatureDashboard['bins'][number]): string =>
  `${b.from === 0 ? '0' : b.from.toPrecision(2)}${b.to === null ? ' and more' : `–${b.to.toPrecision(2)}`}`;

class Examples {
  private readonly waiting: { e: CorpusExample; place: HTMLElement }[] = [];
  private running = false;

  constructor(
    private readonly s: DashboardServices,
    private readonly d: FeatureDashboard,
  ) {}

  /** One example: where it is, its activations, and room for its DFA. */
  show(e: CorpusExample): HTMLElement {
    const values = new Array<number>(e.from).fill(0);
    e.tokens.forEach((t, i) => (values[e.from + i] = t.activation));
    const { folder } = this.d.corpus;
    const place = h('div', { class: 'dfa' });
    this.waiting.push({ e, place });
    return h(
      'div',
      { class: 'example' },
      h(
        'div',
        { class: 'note' },
        `${e.activation.toFixed(3)} · `,
        h(
          'button',
          {
            type: 'button',
            class: 'link',
            title: 'Open the file there',
            onclick: () => this.s.host.send({ type: 'openFile', folder, file: e.file, line: e.line }),
          },
          `${e.file === '' ? folder.slice(folder.lastIndexOf('/') + 1) : e.file}:${e.line + 1}`,
        ),
      ),
      tokenStrip('Activations', tokensOf(e), values, new Set([e.position]), (position) =>
        this.s.open(e.uri, e.prompt, position),
      ),
      place,
    );
  }

  /** Computes the DFA of what is shown, one after another, until the page shows something else. */
  async fill(): Promise<void> {
    if (this.running) return;
    this.running = true;
    for (let next = this.waiting.shift(); next; next = this.waiting.shift()) {
      const { e, place } = next;
      if (!withDfa || !place.isConnected) {
        this.waiting.unshift(next);
        break;
      }
      try {
        const sources = await this.s.dfa(e);
        place.append(
          h('span', { class: 'note' }, 'DFA '),
          tokenStrip('Direct contribution of each source token', tokensOf(e), sources, new Set([e.position]), null),
        );
      } catch (error) {
        place.textContent = (error as Error).message;
      }
    }
    this.running = false;
  }
}

const NO_INDEX: Record<Exclude<DashboardResult['state'], 'ready'>, string> = {
  unset: 'No folder of texts is open.',
  none: 'The texts are not indexed for this model and these dictionaries yet.',
  partial: 'Indexing was stopped; it can go on where it was.',
  building: 'The texts are being indexed; see the status bar.',
};

function without(host: Host, r: DashboardResult): HTMLElement[] {
  if (r.state === 'ready') return [];
  return [
    h('p', { class: 'note' }, `${NO_INDEX[r.state]} ${r.folder}`),
    h(
      'div',
      { class: 'actions' },
      r.state === 'none' || r.state === 'partial'
        ? button(
            r.state === 'none' ? 'Index now' : 'Go on',
            'Run the texts through the model in the background',
            () => host.send({ type: 'index', here: true }),
            'primary',
          )
        : null,
      r.state === 'building'
        ? null
        : button('Other texts', 'Choose a folder or file', () => host.send({ type: 'index', here: false })),
    ),
  ];
}

function histogram(d: FeatureDashboard, examples: Examples): HTMLElement {
  const most = Math.max(...d.bins.map((b) => b.count));
  const rows = d.bins.map((b) => {
    const bar = h('span', { class: 'bar positive' });
    bar.style.width = `${Math.max(1, Math.round((100 * b.count) / most))}%`;
    return h(
      'tr',
      {},
      h('th', { scope: 'row' }, rangeText(b)),
      h('td', {}, String(b.count)),
      h('td', { class: 'wide' }, bar),
      h('td', { class: 'text' }, b.example ? examples.show(b.example) : null),
    );
  });
  const head = ['activation', 'tokens', 'of the most', 'one of them, drawn evenly'].map((t) =>
    h('th', { scope: 'col' }, t),
  );
  return h('table', { class: 'numbers histogram' }, h('thead', {}, h('tr', {}, ...head)), h('tbody', {}, ...rows));
}

/** The dashboard of a feature, or why there is none. */
export function dashboard(s: DashboardServices, r: DashboardResult): HTMLElement {
  const { dashboard: d } = r;
  const title = h('h2', {}, 'In the indexed texts');
  if (!d) return h('section', { class: 'dashboard' }, title, ...without(s.host, r));
  const examples = new Examples(s, d);
  const section = h(
    'section',
    { class: 'dashboard' },
    title,
    h(
      'p',
      { class: 'note' },
      d.active === 0
        ? `Active at none of ${d.corpus.tokens.toLocaleString()} tokens.`
        : `Active at ${d.active.toLocaleString()} of ${d.corpus.tokens.toLocaleString()} tokens (density ${share(d.density)}), mean ${d.mean.toFixed(3)}, most ${d.max.toFixed(3)} · ${d.corpus.folder}`,
    ),
    h(
      'div',
      { class: 'actions' },
      checkbox('DFA', withDfa, (on) => {
        withDfa = on;
        section.classList.toggle('without-dfa', !on);
        void examples.fill();
      }),
      button('Other texts', 'Choose another folder or file', () => s.host.send({ type: 'index', here: false })),
      d.outdated &&
        button('Index again', 'Files have changed since the index was made', () =>
          s.host.send({ type: 'index', here: true }),
        ),
    ),
    h('h3', {}, 'Strongest'),
    h('ul', { class: 'examples' }, ...d.top.map((e) => h('li', {}, examples.show(e)))),
    h('h3', {}, 'By activation'),
    histogram(d, examples),
  );
  section.classList.toggle('without-dfa', !withDfa);
  setTimeout(() => void examples.fill());
  return section;
}
