/** What is known of the selected node, and what can be done with it. */
import type {
  AblateResult,
  WireChange,
  WireExpansion,
  WireGrid,
  WireNode,
  WirePrediction,
  WireToken,
  WireValidation,
} from '../../server/protocol';
import { button, h, heatTable, quoted, share, signed, strongestColumns, textField, unpack } from '../ui';
import { groupSum, nameOf, rootOf, type Supernode } from './model';

const MAX_COLUMNS = 48;

export interface DetailsInput {
  node: WireNode;
  isRoot: boolean;
  /** The numbers are a graph file's: nothing can be run. */
  fromFile: boolean;
  expansion: WireExpansion | null;
  tokens: readonly WireToken[];
  names: Readonly<Record<string, string>>;
  nodes: ReadonlyMap<string, WireNode>;
  grid: WireGrid | null;
  gridPattern: boolean;
  validation: WireValidation | 'running' | null;
  ablation: AblateResult | 'running' | null;
  pins: readonly string[];
  groups: readonly Supernode[];
  error: string | null;
  renaming: boolean;
}

export interface DetailsEvents {
  validate(): void;
  ablate(ids: string[]): void;
  reroot(): void;
  rename(name: string): void;
  beginRename(): void;
  pin(): void;
  group(): void;
  ungroup(index: number): void;
  renameGroup(index: number, name: string): void;
  select(id: string): void;
  openFeature(): void;
  openAttention(head: number): void;
  whyAttended(): void;
  copyPython(): void;
  label(): void;
  note(): void;
  heat(): void;
  gridPattern(pattern: boolean): void;
  token(position: number): void;
  showLog(): void;
}

const fact = (name: string, value: string, title = ''): HTMLElement =>
  h('div', { class: 'fact', title }, h('dt', {}, name), h('dd', {}, value));

function facts(i: DetailsInput): HTMLElement {
  const { node: n, expansion: e } = i;
  const list: HTMLElement[] = [fact('kind', n.kind)];
  if (n.site !== undefined) list.push(fact('site', n.site));
  if (n.position !== undefined) {
    list.push(fact('token', `${quoted(i.tokens[n.position]?.text ?? '')} @${n.position}`));
  }
  list.push(
    fact('value', signed(n.value), "The node's own quantity: a pre-activation, a logit, or what it adds to its parent"),
  );
  if (!i.isRoot) {
    list.push(fact('contribution', signed(n.contribution), "What it adds to its parent's value"));
    list.push(
      fact('share of parent', share(n.share), 'contribution / Σ|contribution| over all children of the parent'),
    );
  }
  if (n.activation !== undefined) list.push(fact('activation', n.activation.toFixed(4)));
  if (e) {
    const sum = e.children.reduce((s, c) => s + c.contribution, 0) + e.cut.sum;
    list.push(fact('Σ children', signed(sum), 'All children, shown or not'));
    list.push(
      fact(
        'remainder',
        e.remainder.toExponential(2),
        'value − Σ children; above 1e-4 of Σ|children| the node is refused',
      ),
    );
    list.push(fact('error share', share(e.errorShare), 'Σ|reconstruction errors| / Σ|children|'));
  }
  return h('dl', { class: 'facts' }, ...list);
}

const changeRow = (name: string, title: string, c: WireChange): HTMLElement =>
  h(
    'tr',
    { title },
    h('th', { scope: 'row' }, name),
    h('td', {}, signed(c.before)),
    h('td', {}, signed(c.after)),
    h('td', {}, signed(c.change)),
  );

function validationTable(v: WireValidation): HTMLElement {
  const head = h('tr', {}, h('td', {}), ...['before', 'after', 'change'].map((t) => h('th', { scope: 'col' }, t)));
  return h(
    'section',
    { class: 'result', id: 'validation', 'aria-label': 'Validation' },
    h('p', {}, `Removing it should change the parent by ${signed(-v.predicted)}. The model says:`),
    h(
      'table',
      { class: 'numbers' },
      h('thead', {}, head),
      h(
        'tbody',
        {},
        changeRow('direct', 'Taken out of what the parent reads, all else clean: must equal the prediction', v.direct),
        changeRow('frozen', 'Taken out at its own site, attention patterns and LayerNorm scales held', v.frozen),
        changeRow('free', 'Taken out at its own site, everything after it free to react', v.free),
      ),
    ),
  );
}

function predictionRows(a: AblateResult): HTMLElement[] {
  const after = new Map(a.after.map((p) => [p.id, p]));
  const ids = new Map<number, WirePrediction>([...a.before, ...a.after].map((p) => [p.id, p]));
  const before = new Map(a.before.map((p) => [p.id, p]));
  const cell = (p: WirePrediction | undefined): string => (p ? `${p.logit.toFixed(3)} (${share(p.probability)})` : '—');
  return [...ids.values()]
    .slice(0, 8)
    .map((p) =>
      h(
        'tr',
        {},
        h('th', { scope: 'row' }, quoted(p.text)),
        h('td', {}, cell(before.get(p.id))),
        h('td', {}, cell(after.get(p.id))),
      ),
    );
}

function ablationTable(a: AblateResult): HTMLElement {
  const head = h('tr', {}, ...['next token', 'logit before', 'logit after'].map((t) => h('th', { scope: 'col' }, t)));
  return h(
    'section',
    { class: 'result', id: 'ablation', 'aria-label': 'Ablation' },
    h(
      'p',
      {},
      `Without it the root goes from ${signed(a.root.before)} to ${signed(a.root.after)} (${signed(a.root.change)}).`,
    ),
    h('table', { class: 'numbers' }, h('thead', {}, head), h('tbody', {}, ...predictionRows(a))),
  );
}

function gridSection(i: DetailsInput, grid: WireGrid, events: DetailsEvents): HTMLElement {
  const rows = unpack(i.gridPattern ? grid.pattern : grid.contributions);
  const { kept, left, sum } = strongestColumns(rows, MAX_COLUMNS);
  const columns = kept.map((s) => ({ position: s, title: `${quoted(i.tokens[s]?.text ?? '')} @${s}` }));
  const what = i.gridPattern ? 'Attention pattern' : 'DFA';
  const caption = `${what} by head and source token, from @${grid.destination}`;
  const named = rows.map((values, head) => ({ title: `head ${grid.layer}.${head}`, values }));
  return h(
    'section',
    { class: 'result', 'aria-label': 'Head by source' },
    h(
      'div',
      { class: 'actions' },
      button(
        i.gridPattern ? 'Show contributions' : 'Show pattern',
        'Switch between contributions and the attention pattern',
        () => events.gridPattern(!i.gridPattern),
      ),
    ),
    heatTable(caption, named, columns, (row, column) => {
      events.token(column.position);
      if (i.gridPattern) events.openAttention(row);
    }),
    left > 0 && h('p', { class: 'note' }, `${left} weaker source tokens not shown, together ${signed(sum)}.`),
  );
}

function pinsSection(i: DetailsInput, events: DetailsEvents): HTMLElement | null {
  if (i.pins.length === 0 && i.groups.length === 0) return null;
  const item = (id: string): HTMLElement => {
    const n = i.nodes.get(id);
    return h(
      'li',
      {},
      h(
        'button',
        { type: 'button', class: 'link-button', onclick: () => events.select(id) },
        n ? `${n.glyph} ${nameOf(n, i.names)}` : id,
      ),
    );
  };
  const groups = i.groups.map((g, index) =>
    h(
      'li',
      { class: 'supernode' },
      textField(
        'Name of the supernode',
        g.name,
        () => undefined,
        (name) => events.renameGroup(index, name),
      ),
      h('span', { class: 'number' }, ` ${g.members.length} nodes, ${signed(groupSum(g, i.nodes))} `),
      button('×', 'Ungroup', () => events.ungroup(index)),
      h('ul', {}, ...g.members.map(item)),
    ),
  );
  return h(
    'section',
    { class: 'result', 'aria-label': 'Pinned and grouped' },
    i.pins.length > 0 && h('h3', {}, `Pinned (${i.pins.length})`),
    i.pins.length > 0 && h('ul', {}, ...i.pins.map(item)),
    i.pins.length > 1 &&
      h(
        'div',
        { class: 'actions' },
        button('Group pinned', 'Make a supernode of the pinned nodes — G', () => events.group()),
        button('Ablate pinned', 'Run the model without all pinned features', () => events.ablate([...i.pins])),
      ),
    i.groups.length > 0 && h('h3', {}, 'Supernodes'),
    i.groups.length > 0 && h('ul', {}, ...groups),
  );
}

/** What can be done with the node, each with its key. */
function actions(i: DetailsInput, events: DetailsEvents): HTMLElement {
  const { node } = i;
  const isFeature = node.site !== undefined && node.feature !== undefined;
  const canAttend = node.kind === 'attention-feature' || node.kind === 'attn' || node.kind === 'head-source';
  const pinned = i.pins.includes(node.id);
  return h(
    'div',
    { class: 'actions' },
    !i.isRoot &&
      !i.fromFile &&
      button(
        'Validate edge',
        'Run the model without this node and compare with the prediction — V',
        () => events.validate(),
        'primary',
      ),
    isFeature &&
      button('Ablate', 'Set this feature to zero at this token and run the model — A', () => events.ablate([node.id])),
    rootOf(node) !== null &&
      !i.isRoot &&
      button('Re-root here', 'Make this node the root of the tree — R', () => events.reroot()),
    button(pinned ? 'Unpin' : 'Pin', 'Keep this node at hand — P, or Ctrl/Cmd-click', () => events.pin()),
    button('Rename', 'Give this node a name of your own — F2', () => events.beginRename()),
    !i.fromFile &&
      button('Copy as Python', 'Copy a script for TransformerLens and SAELens that computes this number again', () =>
        events.copyPython(),
      ),
    !i.fromFile && button('Note', 'Write a note on this node', () => events.note()),
    isFeature && button('Label', 'Label this feature in the workspace', () => events.label()),
    isFeature && button('Feature', 'Open the feature: heads, logits, where it fires', () => events.openFeature()),
    isFeature && button('Color tokens', 'Color the tokens of the open files by this feature', () => events.heat()),
    i.grid &&
      node.opens &&
      button('Why attended?', 'Split the score of the head that carries most into query and key features', () =>
        events.whyAttended(),
      ),
    canAttend &&
      button('Attention', 'Open the attention view of this layer at this token', () =>
        events.openAttention(node.head ?? 0),
      ),
  );
}

/** The pane beside the outline. */
export function details(i: DetailsInput, events: DetailsEvents): HTMLElement {
  const { node } = i;
  const name = i.renaming
    ? textField(
        'Name',
        nameOf(node, i.names),
        () => undefined,
        (value) => events.rename(value),
      )
    : h('h2', { class: 'node-name' }, `${node.glyph} `, h('bdi', {}, nameOf(node, i.names)));
  return h(
    'div',
    { class: 'details-body' },
    name,
    i.error !== null &&
      h(
        'div',
        { class: 'error', role: 'alert' },
        i.error,
        ' ',
        button('Show log', 'Open the log', () => events.showLog()),
      ),
    actions(i, events),
    facts(i),
    i.validation === 'running' && h('p', { role: 'status' }, 'Running the model …'),
    i.validation !== null && i.validation !== 'running' && validationTable(i.validation),
    i.ablation === 'running' && h('p', { role: 'status' }, 'Running the model …'),
    i.ablation !== null && i.ablation !== 'running' && ablationTable(i.ablation),
    i.grid && gridSection(i, i.grid, events),
    pinsSection(i, events),
  );
}
