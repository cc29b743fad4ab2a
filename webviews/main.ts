/** Entry of every panel: waits for what to show, makes the panel of that kind, and hands on what comes. */
import { AttentionPanel } from './attention/panel';
import { parseSaved } from './circuit/model';
import { CircuitPanel } from './circuit/panel';
import { ExperimentPanel } from './experiment/panel';
import { FeaturePanel } from './feature/panel';
import type { ToPanel } from './protocol';
import { Host } from './shared/host';
import { h, registerControls } from './ui';

type Message = Exclude<ToPanel, { type: 'init' | 'response' | 'failure' }>;

registerControls();
const app = document.getElementById('app') ?? document.body;
document.body.append(h('div', { id: 'live', class: 'visually-hidden', 'aria-live': 'polite' }));

let panel: { receive(m: Message): void } | null = null;

function start(m: Extract<ToPanel, { type: 'init' }>): void {
  const { args } = m;
  if (args.panel === 'circuit') panel = new CircuitPanel(host, app, args, parseSaved(m.ui), m.defaults);
  else if (args.panel === 'feature') panel = new FeaturePanel(host, app, args);
  else if (args.panel === 'experiment') panel = new ExperimentPanel(host, app, args, m.ui);
  else panel = new AttentionPanel(host, app, args, m.status);
}

const host = new Host((m) => {
  if (m.type === 'init') start(m);
  else panel?.receive(m);
});
host.send({ type: 'ready' });
