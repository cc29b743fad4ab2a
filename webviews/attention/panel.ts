/** One head: its pattern over the prompt, and from one destination what it attends to and what that contributes. */
import type { AttentionResult, WireStatus } from '../../server/protocol';
import type { PanelArguments, ToPanel } from '../protocol';
import { type Host, RequestError } from '../shared/host';
import { tokenStrip } from '../shared/tokenStrip';
import { busy, button, dropdown, fill, h, heatTable, quoted, strongestColumns, unpack } from '../ui';

type AttentionArguments = Extract<PanelArguments, { panel: 'attention' }>;

const MAX_COLUMNS = 40;
/** Larger patterns are drawn for the rows around the destination only. */
const MAX_ROWS = 40;

export class AttentionPanel {
  private readonly content = h('div', {});
  private abort = new AbortController();
  private failed = false;
  private stale = false;

  constructor(
    private readonly host: Host,
    app: HTMLElement,
    private args: AttentionArguments,
    private status: WireStatus,
  ) {
    fill(app, this.content);
    void this.load();
  }

  receive(m: Exclude<ToPanel, { type: 'init' | 'response' | 'failure' }>): void {
    if (m.type === 'update' && m.args.panel === 'attention') this.go(m.args);
    else if (m.type === 'token') this.go({ ...this.args, destination: m.position });
    else if (m.type === 'stale') {
      this.stale = m.stale;
      void this.load();
    } else if (m.type === 'status') {
      this.status = m.status;
      if (this.failed && m.status.phase !== 'failed' && m.status.phase !== 'loading') void this.load();
    }
  }

  private go(args: AttentionArguments): void {
    this.args = args;
    void this.load();
  }

  private async load(): Promise<void> {
    this.abort.abort();
    this.abort = new AbortController();
    this.failed = false;
    const { prompt, layer, head, destination } = this.args;
    if (this.content.children.length === 0) fill(this.content, busy('Computing'));
    this.host.remember(this.args, null);
    try {
      this.show(
        await this.host.request('attentionCircuits/attention', { prompt, layer, head, destination }, this.abort.signal),
      );
    } catch (e) {
      if (e instanceof RequestError && e.cancelled) return;
      this.failed = true;
      fill(
        this.content,
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

  private pickers(): HTMLElement {
    const { layer, head } = this.args;
    const numbers = (n: number): [string, string][] =>
      Array.from({ length: Math.max(1, n) }, (_, i) => [String(i), String(i)]);
    return h(
      'div',
      { class: 'toolbar', role: 'toolbar', 'aria-label': 'Head' },
      dropdown('Layer', numbers(Math.max(this.status.n_layers, layer + 1)), String(layer), (l) =>
        this.go({ ...this.args, layer: Number(l) }),
      ),
      dropdown('Head', numbers(Math.max(this.status.n_heads, head + 1)), String(head), (x) =>
        this.go({ ...this.args, head: Number(x) }),
      ),
    );
  }

  private show(r: AttentionResult): void {
    const { layer, head, destination } = this.args;
    const pattern = unpack(r.pattern);
    const title = (p: number): string => `${quoted(r.tokens[p].text)} @${p}`;
    const from = Math.max(0, Math.min(destination - MAX_ROWS / 2, pattern.length - MAX_ROWS));
    const shown = pattern.slice(from, from + MAX_ROWS);
    const { kept, left } = strongestColumns(shown, MAX_COLUMNS);
    const columns = kept.map((position) => ({ position, title: title(position) }));
    const rows = shown.map((values, i) => ({ title: title(from + i), values }));
    const dfa = r.strongest && unpack(r.strongest.contributions);
    const strongest = dfa && strongestColumns(dfa, MAX_COLUMNS);
    fill(
      this.content,
      h('h1', {}, `Attention of head ${layer}.${head}`),
      this.stale && h('div', { class: 'warning', role: 'status' }, 'The prompt was edited: this is the earlier text.'),
      this.pickers(),
      h('p', { class: 'note' }, `From ${title(destination)}. Click a token to look from there.`),
      tokenStrip(
        'Attention from the chosen token',
        r.tokens,
        Array.from(pattern[destination]),
        new Set([destination]),
        (p) => this.go({ ...this.args, destination: p }),
      ),
      h(
        'section',
        { class: 'result' },
        heatTable(`Pattern of head ${layer}.${head}: from each row's token to each column's`, rows, columns, (row) =>
          this.go({ ...this.args, destination: from + row }),
        ),
      ),
      left > 0 && h('p', { class: 'note' }, `${left} weaker source tokens not shown.`),
      dfa && strongest && r.strongest
        ? h(
            'section',
            { class: 'result' },
            heatTable(
              `DFA of feature ${layer}.${r.strongest.feature} (activation ${r.strongest.activation.toFixed(3)}), the strongest at ${title(destination)}`,
              dfa.map((values, i) => ({ title: `head ${layer}.${i}`, values })),
              strongest.kept.map((position) => ({ position, title: title(position) })),
              (row) => this.go({ ...this.args, head: row }),
            ),
          )
        : h('p', { class: 'note' }, `No attention feature of layer ${layer} is active at ${title(destination)}.`),
    );
  }
}
