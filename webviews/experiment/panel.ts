/** The result of an experiment: what was found, charts, tables, checks, and the settings that made it. */
import type { ExperimentResult } from '../../server/protocol/experiments';
import type { PanelArguments, ToPanel } from '../protocol';
import { announce, type Host, RequestError } from '../shared/host';
import { busy, button, fill, h } from '../ui';
import { drawChart } from './charts';
import { csv, resultTable } from './table';

type ExperimentArguments = Extract<PanelArguments, { panel: 'experiment' }>;

const isResult = (x: unknown): x is ExperimentResult =>
  typeof x === 'object' && x !== null && 'version' in x && x.version === 1 && 'tables' in x && Array.isArray(x.tables);

function source(a: ExperimentArguments): string {
  const { prompts } = a;
  if (prompts.from === 'document')
    return `the prompts of ${decodeURIComponent(prompts.uri.slice(prompts.uri.lastIndexOf('/') + 1))}`;
  if (prompts.from === 'generated') return `${prompts.count} generated sentences, seed ${prompts.seed}`;
  return prompts.from === 'prompt' ? 'one prompt' : 'no prompts of its own';
}

export class ExperimentPanel {
  private readonly content = h('div', {});
  private abort = new AbortController();

  constructor(
    private readonly host: Host,
    app: HTMLElement,
    private args: ExperimentArguments,
    remembered: unknown,
  ) {
    fill(app, this.content);
    if (isResult(remembered)) this.show(remembered);
    else void this.run();
  }

  receive(m: Exclude<ToPanel, { type: 'init' | 'response' | 'failure' }>): void {
    if (m.type !== 'update' || m.args.panel !== 'experiment') return;
    this.args = m.args;
    void this.run();
  }

  private async run(): Promise<void> {
    this.abort.abort();
    this.abort = new AbortController();
    const { id, values, prompts } = this.args;
    const cancel = button('Cancel', 'Stop the experiment', () => this.abort.abort());
    fill(
      this.content,
      h('h1', {}, id),
      h('div', { class: 'note', role: 'status' }, busy('Running'), ` Running on ${source(this.args)} … `, cancel),
    );
    try {
      const result = await this.host.request(
        'attentionCircuits/experiment',
        { id, values, prompts },
        this.abort.signal,
      );
      this.show(result);
      this.host.remember(this.args, result);
      announce(result.summary.join(' '));
    } catch (e) {
      const message = e instanceof RequestError && e.cancelled ? 'Cancelled.' : (e as Error).message;
      const again = button('Run again', 'Run with the same settings', () => void this.run(), 'primary');
      fill(this.content, h('h1', {}, id), h('div', { class: 'error', role: 'alert' }, message, ' ', again));
    }
  }

  private save(name: string, format: 'json' | 'csv', data: string): void {
    this.host.send({ type: 'save', name, format, data });
  }

  private async copyPython(r: ExperimentResult): Promise<void> {
    const { prompts } = this.args;
    const q = { id: r.experiment, values: r.settings.values, prompts, tables: r.tables };
    try {
      const { text } = await this.host.request('attentionCircuits/experimentScript', q, this.abort.signal);
      this.host.send({ type: 'copy', text, what: 'script' });
    } catch (e) {
      this.content.prepend(h('div', { class: 'error', role: 'alert' }, (e as Error).message));
    }
  }

  private show(r: ExperimentResult): void {
    const settings = Object.entries(r.settings.values).map(([k, v]) =>
      h('div', { class: 'fact' }, h('dt', {}, k), h('dd', {}, String(v))),
    );
    const checks = r.checks.map((c) => {
      const holds = c.miss <= c.limit;
      return h(
        'li',
        { class: holds ? '' : 'error' },
        `${holds ? '✓' : '✕'} ${c.name}: ${c.miss.toExponential(1)} (at most ${c.limit.toExponential(0)})`,
      );
    });
    fill(
      this.content,
      h('h1', {}, r.title),
      h('p', { class: 'note' }, `${r.settings.model}, ${source(this.args)}`),
      ...r.summary.map((s) => h('p', {}, s)),
      checks.length > 0 && h('ul', { class: 'checks', 'aria-label': 'Sums that must hold' }, ...checks),
      h(
        'div',
        { class: 'actions' },
        button('Run again', 'Run with the same settings', () => void this.run()),
        button(
          'Copy as Python',
          'Copy a script for TransformerLens and SAELens that computes these tables again and compares them',
          () => void this.copyPython(r),
        ),
        button('JSON', 'Save the result with its settings', () =>
          this.save(r.experiment, 'json', JSON.stringify(r, null, 1)),
        ),
      ),
      h('div', { class: 'columns charts' }, ...r.charts.map((c) => drawChart(c, r))),
      ...r.tables.map((t) => resultTable(t, () => this.save(`${r.experiment}-${t.id}`, 'csv', csv(t)))),
      settings.length > 0 && h('details', {}, h('summary', {}, 'Settings'), h('dl', { class: 'facts' }, ...settings)),
    );
  }
}
