/** The recursive DFA panel on the page: header, tokens, controls, outline or diagram, details. Shows the store, passes on what is done. */
import type { WireNode, WireStatus } from '../../server/protocol';
import type { PanelDefaults, ToPanel } from '../protocol';
import { type Host } from '../shared/host';
import { tokenStrip } from '../shared/tokenStrip';
import { busy, button, fill, h, quoted, signed, unpack } from '../ui';
import { details, type DetailsEvents } from './details';
import { drawDiagram, pngOf, standaloneSvg } from './diagram';
import { treeKey } from './keys';
import { nameOf, outlineText, parseSaved, type Saved } from './model';
import { Outline, outlineHeader } from './outline';
import { type CircuitArguments, CircuitStore, type Part } from './store';
import { toolbar } from './toolbar';

/** The opened tree and the reader's marks, as JSON. */
function openedJson(store: CircuitStore): string {
  const { choices, prompt, tree } = store;
  const { pins, groups, names } = store.marks;
  const { prompt: text, root } = store.args;
  const opened = { root: tree?.root, expansions: store.opened };
  const marks = { pins, groups, names };
  return JSON.stringify({ prompt: text, tokens: prompt?.tokens, root, choices, tree: opened, ...marks }, null, 1);
}

const shownNodes = (store: CircuitStore): string[] => store.rows.flatMap((r) => (r.type === 'node' ? [r.node.id] : []));

/** Nodes that one script computes again. */
const MAX_SCRIPT_NODES = 500;
export class CircuitPanel {
  private readonly store: CircuitStore;
  private readonly banner = h('div', { id: 'banner' });
  private readonly heading = h('header', { class: 'heading' });
  private readonly strip = h('div', { id: 'strip' });
  private readonly offerBar = h('div', { id: 'offers' });
  private readonly picture = h('div', { class: 'picture', tabindex: 0, role: 'region', 'aria-label': 'Diagram' });
  private readonly pane = h('aside', { class: 'details', 'aria-label': 'Selected node' });
  private readonly outline: Outline;
  private readonly outlineBox: HTMLElement;
  private gridPattern = false;
  private renaming = false;
  private restored = false;

  constructor(
    private readonly host: Host,
    app: HTMLElement,
    args: CircuitArguments,
    saved: Partial<Saved>,
    defaults: PanelDefaults,
  ) {
    const store = new CircuitStore(host, args, saved, defaults, (part) => this.render(part));
    this.store = store;
    this.outline = new Outline({
      select: (id) => this.select(id),
      toggle: (id) => void store.toggle(id),
      more: (parent) => store.more(parent),
      hover: (id) => this.highlight(id),
      pin: (id) => store.marks.pin(id),
      click: (id) => this.click(id),
      key: (e) => this.key(e),
      scrolled: (top) => {
        store.scroll = top;
        store.save();
      },
    });
    this.outlineBox = h('div', { class: 'outline-box' }, outlineHeader(), this.outline.element);
    const tools = toolbar(store.choices, args.root.type === 'graph', {
      choose: (change) => store.choose(change),
      search: (text) => store.find(text),
      collapseAll: () => store.collapseAll(),
      saveCircuit: () => host.send({ type: 'saveCircuit' }),
      copy: () => host.send({ type: 'copy', text: outlineText(store.rows, store.marks.names), what: 'tree' }),
      insertPython: () => void this.copyPython(shownNodes(store), true),
      copyPython: () => void this.copyPython(shownNodes(store)),
      save: (format) => void this.exportAs(format),
    });
    const title = h('h1', { class: 'visually-hidden' }, 'Circuit');
    const split = h('div', { class: 'split' }, this.outlineBox, this.picture, this.pane);
    fill(app, title, this.banner, this.heading, this.strip, this.offerBar, tools, split);
    this.pane.addEventListener('focusout', () => {
      this.renaming = false;
      setTimeout(() => this.renderDetails());
    });
    document.addEventListener('keyup', (e) => {
      if (e.key.toLowerCase() === 'g') store.marks.commitGroup();
    });
    void store.load(saved.expanded === undefined);
  }

  /** Messages of the extension. */
  receive(m: Exclude<ToPanel, { type: 'init' | 'response' | 'failure' }>): void {
    const { store } = this;
    if (m.type === 'stale') {
      store.stale = m.stale;
      this.render('banner');
    } else if (m.type === 'update' && m.args.panel === 'circuit') store.replace(m.args);
    else if (m.type === 'restore' && m.args.panel === 'circuit') store.restore(m.args, parseSaved(m.ui));
    else if (m.type === 'note') store.origin(m.note);
    else if (m.type === 'token' && store.choices.followEditor) store.filter(m.position);
    else if (m.type === 'labelled') store.labelled(m.site, m.feature, m.label);
    else if (m.type === 'status') this.status(m.status);
  }

  /** The server is back after a failure: ask again. */
  private status(s: WireStatus): void {
    const { store } = this;
    if (store.failure !== null && s.phase !== 'failed' && s.phase !== 'loading') void store.load(store.tree === null);
  }

  private select(id: string): void {
    this.renaming = false;
    this.store.select(id);
    this.outline.reveal(id);
  }

  private click(id: string): void {
    if (this.store.marks.groupClick(id)) return;
    this.select(id);
    this.outline.element.focus();
    this.highlight(id, true);
  }

  /** Highlights the text of a node's token in the editor. */
  private highlight(id: string | null, reveal = false): void {
    const node = this.store.node(id ?? this.store.selected);
    const token = node?.position === undefined ? undefined : this.store.prompt?.tokens[node.position];
    const { start, end } = token ?? {};
    const ranges = start === undefined || end === undefined ? [] : [{ start, end }];
    this.host.send({ type: 'highlight', ranges, reveal });
  }

  private key(e: KeyboardEvent): void {
    const { store } = this;
    treeKey(e, store.rows, store.selected, {
      select: (id) => {
        this.select(id);
        this.highlight(id);
      },
      toggle: (id) => void store.toggle(id),
      more: (id) => store.more(id),
      pin: (id) => store.marks.pin(id),
      validate: () => void store.validate(),
      ablate: (id) => void store.ablate([id]),
      reroot: () => store.reroot(),
      back: () => store.back(),
      rename: () => this.beginRename(),
      groupStart: () => (store.marks.grouping ??= new Set()),
      clear: () => store.clear(),
    });
  }

  private beginRename(): void {
    this.renaming = true;
    this.renderDetails(true);
    this.pane.querySelector<HTMLElement>('vscode-text-field')?.focus();
  }

  private async exportAs(format: 'svg' | 'png' | 'json'): Promise<void> {
    const { store } = this;
    const name = store.tree?.root.label ?? 'circuit';
    if (format === 'json') return this.host.send({ type: 'save', name, format, data: openedJson(store) });
    const drawn = drawDiagram(store.rows, null, store.marks.names, () => undefined);
    const stage = h('div', { class: 'stage', 'aria-hidden': 'true' }, drawn);
    document.body.append(stage);
    const text = standaloneSvg(drawn);
    stage.remove();
    if (format === 'svg') return this.host.send({ type: 'save', name, format, data: text });
    const size = (a: string): number => Number(drawn.getAttribute(a));
    this.host.send({ type: 'save', name, format, data: await pngOf(text, size('width'), size('height')) });
  }

  private render(part: Part): void {
    if (part !== 'selection') this.renderBanner();
    if (part === 'banner' || !this.store.tree) return;
    if (part === 'all') this.renderTree();
    this.renderHeading();
    this.renderStrip();
    this.renderDetails();
  }

  private renderBanner(): void {
    const { store } = this;
    const cancel = button('Cancel', 'Stop computing', () => store.cancel());
    const again = button('Try again', 'Ask again', () => void store.load(store.tree === null), 'primary');
    const log = button('Show log', 'Open the log', () => this.host.send({ type: 'showLog' }));
    fill(
      this.banner,
      store.computing && h('div', { class: 'note', role: 'status' }, busy('Computing'), ' Computing … ', cancel),
      store.failure !== null && h('div', { class: 'error', role: 'alert' }, store.failure, ' ', again, ' ', log),
      store.stale &&
        h('div', { class: 'warning', role: 'status' }, 'The prompt was edited: this is the tree of the earlier text.'),
    );
  }

  private renderTree(): void {
    const { store } = this;
    const { rows, selected, loading, errors, choices } = store;
    const { names, pins, groups, grouping } = store.marks;
    this.outlineBox.hidden = choices.diagram;
    this.picture.hidden = !choices.diagram;
    if (choices.diagram) {
      fill(
        this.picture,
        drawDiagram(rows, selected, names, (id) => this.select(id)),
      );
      this.picture.querySelector('.selected')?.scrollIntoView({ block: 'nearest', inline: 'nearest' });
      return;
    }
    const grouped = new Set([...groups.flatMap((g) => g.members), ...(grouping ?? [])]);
    this.outline.update({ rows, selected, pins: new Set(pins), grouped, names, loading, errors });
    if (!this.restored) this.outline.scrollTo(store.scroll);
    this.restored = true;
  }

  private renderHeading(): void {
    const { store } = this;
    if (!store.tree) return;
    const { root } = store.tree;
    const crumbs = store.history.map((c, i) => {
      const go = (): void => store.back(i);
      return h(
        'li',
        {},
        h('button', { type: 'button', class: 'link-button', title: 'Back to this root', onclick: go }, c.label),
      );
    });
    const token = (p: number): string => `${quoted(store.prompt?.tokens[p]?.text ?? '')} @${p}`;
    fill(
      this.heading,
      crumbs.length > 0 && h('nav', { 'aria-label': 'Earlier roots' }, h('ol', { class: 'crumbs' }, ...crumbs)),
      h(
        'div',
        { class: 'root' },
        h('span', { class: 'glyph' }, root.glyph),
        ' ',
        h('strong', {}, h('bdi', {}, nameOf(root, store.marks.names))),
        ` = ${signed(root.value)}`,
      ),
      (store.note ?? store.prompt?.note) !== undefined &&
        h('p', { class: 'note', id: 'origin' }, store.note ?? store.prompt?.note ?? ''),
      store.position !== null &&
        h(
          'div',
          { class: 'note', id: 'filter' },
          `Only nodes at ${token(store.position)}, and what leads to them. `,
          button('Show all', 'Remove the filter', () => store.filter(null)),
        ),
    );
    const at = store.args.offer;
    const offered = store.offers.map((f) =>
      button(`${f.layer}.${f.feature} · ${f.activation.toFixed(2)}`, `Root the tree at ${f.site}/${f.feature}`, () =>
        store.reroot({ type: 'feature', site: f.site, feature: f.feature, position: at ?? 0 }),
      ),
    );
    const others = (store.prompt?.alternatives ?? []).map((x) =>
      button(x.label, 'Root the tree there', () => store.reroot(x.root)),
    );
    const label = 'Features at the token, as roots';
    fill(
      this.offerBar,
      at !== undefined &&
        offered.length > 0 &&
        h('div', { class: 'offers', role: 'group', 'aria-label': label }, `Firing at ${token(at)}:`, ...offered),
      others.length > 0 &&
        h(
          'div',
          { class: 'offers', role: 'group', 'aria-label': 'Other roots of the file' },
          'Other outputs:',
          ...others,
        ),
    );
  }

  private renderStrip(): void {
    const { store } = this;
    if (!store.prompt) return;
    const at = store.position ?? store.node(store.selected)?.position;
    const label = 'Prompt tokens, colored by what each contributes to the selected node';
    fill(
      this.strip,
      tokenStrip(label, store.prompt.tokens, store.measurements.sources, new Set(at === undefined ? [] : [at]), (p) =>
        store.filter(store.position === p ? null : p),
      ),
    );
  }

  /** A script for nodes, on the clipboard. */
  private async copyPython(nodes: string[], insert = false): Promise<void> {
    const { prompt, root } = this.store.args;
    if (root.type === 'graph') return;
    try {
      const q = { prompt, root, nodes: nodes.slice(0, MAX_SCRIPT_NODES) };
      const { text } = await this.host.request('attentionCircuits/treeScript', q);
      this.host.send(insert ? { type: 'insert', text } : { type: 'copy', text, what: 'script' });
    } catch (e) {
      this.banner.append(h('div', { class: 'error', role: 'alert' }, (e as Error).message));
    }
  }

  /** Asks why the head that carries most of the selected node attends to its strongest source, against the runner-up. */
  private whyAttended(): void {
    const { args } = this.store;
    const { grid } = this.store.measurements;
    if (!grid) return;
    const rows = unpack(grid.contributions);
    const sizes = rows.map((r) => r.reduce((t, x) => t + Math.abs(x), 0));
    const head = sizes.indexOf(Math.max(...sizes));
    const order = Array.from(rows[head], (_, s) => s).sort((a, b) => Math.abs(rows[head][b]) - Math.abs(rows[head][a]));
    const [to, minus = to] = order;
    const values = {
      head: `${grid.layer}.${head}`,
      from: String(grid.destination),
      to: String(to),
      minus: String(minus),
      top: 20,
    };
    const prompts = { from: 'prompt' as const, prompt: args.prompt };
    this.host.send({ type: 'open', args: { panel: 'experiment', id: 'qk', values, prompts } });
  }

  private detailsEvents(node: WireNode): DetailsEvents {
    const { store, host } = this;
    const { site, feature } = node;
    const isFeature = site !== undefined && feature !== undefined;
    return {
      validate: () => void store.validate(),
      ablate: (ids) => void store.ablate(ids),
      reroot: () => store.reroot(),
      rename: (name) => {
        this.renaming = false;
        this.outline.element.focus();
        store.marks.rename(node.id, name);
      },
      beginRename: () => this.beginRename(),
      pin: () => store.marks.pin(node.id),
      group: () => store.marks.group(store.marks.pins),
      ungroup: (i) => store.marks.ungroup(i),
      renameGroup: (i, name) => {
        this.outline.element.focus();
        store.marks.renameGroup(i, name);
      },
      select: (id) => this.select(id),
      openFeature: () => {
        if (isFeature) host.send({ type: 'open', args: { panel: 'feature', site, feature } });
      },
      openAttention: (head) => {
        const { uri, prompt } = store.args;
        const destination = store.measurements.grid?.destination ?? node.position ?? 0;
        const layer = store.measurements.grid?.layer ?? node.layer ?? 0;
        const args = { panel: 'attention' as const, uri, prompt, layer, head, destination };
        host.send({ type: 'open', args });
      },
      whyAttended: () => this.whyAttended(),
      copyPython: () => void this.copyPython([node.id]),
      note: () => {
        const { prompt, root } = store.args;
        if (root.type === 'graph') return;
        const { id, label } = node;
        host.send({ type: 'note', target: { type: 'node', prompt, root, node: id, label } });
      },
      label: () => {
        if (isFeature) host.send({ type: 'label', site, feature });
      },
      heat: () => {
        if (isFeature) host.send({ type: 'heat', site, feature });
      },
      gridPattern: (pattern) => {
        this.gridPattern = pattern;
        this.renderDetails();
      },
      token: (position) => store.filter(position),
      showLog: () => host.send({ type: 'showLog' }),
    };
  }

  /** Whether the reader is typing a name in the details; they are not drawn anew meanwhile. */
  private get typing(): boolean {
    const active = document.activeElement;
    return active?.localName === 'vscode-text-field' && this.pane.contains(active);
  }

  private renderDetails(force = false): void {
    if (this.typing && !force) return;
    const { store, gridPattern, renaming } = this;
    const node = store.node(store.selected) ?? store.tree?.root;
    if (!node || !store.tree || !store.prompt) return;
    const { names, pins, groups } = store.marks;
    const { grid, validation, ablation } = store.measurements;
    const input = {
      node,
      isRoot: node.id === store.tree.root.id,
      fromFile: store.args.root.type === 'graph',
      expansion: store.expansionOf(node.id) ?? null,
      tokens: store.prompt.tokens,
      nodes: store.tree.nodes,
      error: store.errors.get(node.id) ?? null,
    };
    const state = { names, grid, gridPattern, validation, ablation, pins, groups, renaming };
    fill(this.pane, details({ ...input, ...state }, this.detailsEvents(node)));
  }
}
