/** The state of one circuit panel and all that changes it: asks for nodes as they are opened, remembers what the reader chose. */
import type { RootResult, TreeRoot, WireFeature, WireNode } from '../../server/protocol';
import type { PanelArguments, PanelDefaults } from '../protocol';
import { announce, type Host } from '../shared/host';
import { Marks } from './marks';
import { Measurements, wasCancelled } from './measurements';
import { type Choices, DEFAULTS, expansionKey, nameOf, rootOf, type Row, rows, type Saved, type Tree } from './model';

export type CircuitArguments = Extract<PanelArguments, { panel: 'circuit' }>;

/** Which part of the panel a change concerns. */
export type Part = 'all' | 'banner' | 'selection';

/** Children fetched of a node; what lies beyond is one sum. */
const LIMIT = 400;
const MORE = 10;
const SAVE_DELAY_MS = 200;

export class CircuitStore {
  args: CircuitArguments;
  choices: Choices;
  prompt: Omit<RootResult, 'root'> | null = null;
  tree: Tree | null = null;
  selected: string | null;
  readonly marks: Marks;
  readonly measurements: Measurements;
  history: { root: TreeRoot; label: string }[];
  scroll: number;
  /** Where the numbers come from, when the panel is a file's editor. */
  note: string | undefined = undefined;
  search = '';
  /** Only nodes at this position are shown, and what leads to them. */
  position: number | null = null;
  readonly loading = new Set<string>();
  readonly errors = new Map<string, string>();
  offers: WireFeature[] = [];
  failure: string | null = null;
  computing = false;
  stale = false;
  /** The lines of the outline as they are shown. */
  rows: Row[] = [];
  private expanded: Set<string>;
  private readonly extra = new Map<string, number>();
  private abort = new AbortController();
  private saveTimer = 0;

  constructor(
    private readonly host: Host,
    args: CircuitArguments,
    saved: Partial<Saved>,
    defaults: PanelDefaults,
    private readonly changed: (part: Part) => void,
  ) {
    this.args = args;
    this.choices = { ...DEFAULTS, ...defaults, ...saved.choices };
    this.expanded = new Set(saved.expanded ?? []);
    this.selected = saved.selected ?? null;
    this.marks = new Marks(
      saved,
      () => this.keep(),
      () => this.update(),
    );
    this.measurements = new Measurements(
      host,
      () => this.changed('selection'),
      (id, message) => this.errors.set(id, message),
    );
    this.history = saved.history ?? [];
    this.scroll = saved.scroll ?? 0;
  }

  /** Another prompt or root in this panel. */
  replace(args: CircuitArguments): void {
    const sameRoot = JSON.stringify(args.root) === JSON.stringify(this.args.root);
    if (!sameRoot) this.expanded.clear();
    this.args = args;
    this.history = [];
    this.marks.forget();
    if (!sameRoot) this.selected = null;
    this.position = null;
    void this.load(!sameRoot);
  }

  /** The same with other marks: undo, redo, revert. */
  restore(args: CircuitArguments, saved: Partial<Saved>): void {
    this.args = args;
    this.choices = { ...DEFAULTS, ...saved.choices };
    this.expanded = new Set(saved.expanded ?? []);
    this.selected = saved.selected ?? null;
    this.marks.restore(saved);
    this.history = saved.history ?? [];
    this.position = null;
    void this.load(false);
  }

  /** Says where the numbers come from. */
  origin(note: string): void {
    this.note = note;
    this.changed('selection');
  }

  cancel(): void {
    this.abort.abort();
  }

  /** Fetches the prompt, the root and everything that is open. */
  async load(openRoot: boolean): Promise<void> {
    this.abort.abort();
    this.abort = new AbortController();
    const { signal } = this.abort;
    this.failure = null;
    this.computing = true;
    this.measurements.forget();
    this.changed('banner');
    try {
      const { prompt, root } = this.args;
      this.reach();
      const { root: node, ...result } = await this.host.request('attentionCircuits/root', { prompt, root }, signal);
      this.prompt = result;
      this.tree = { root: node, nodes: new Map([[node.id, node]]), expansions: new Map() };
      this.errors.clear();
      if (openRoot || this.expanded.size === 0) this.expanded.add(node.id);
      await this.reopen(node.id, signal);
      await this.fetchOffers(signal);
      if (signal.aborted) return;
      if (!this.node(this.selected)) this.selected = node.id;
      this.computing = false;
      this.update();
      void this.fetchDetails();
      // At once: what is remembered after loading is what the reader was given, not what she did.
      this.remember();
    } catch (e) {
      if (this.abort.signal === signal) this.computing = false;
      this.failure = wasCancelled(e) ? (this.computing ? null : 'Cancelled.') : (e as Error).message;
      this.changed('banner');
    }
  }

  /** Opens the way to a node that is asked for by its id, which is the path to it. */
  private reach(): void {
    const { select } = this.args;
    if (select === undefined) return;
    this.args = { ...this.args, select: undefined };
    this.selected = select;
    for (let at = select.indexOf('~'); at >= 0; at = select.indexOf('~', at + 1))
      this.expanded.add(select.slice(0, at));
  }

  private async fetchOffers(signal: AbortSignal): Promise<void> {
    this.offers = [];
    const { offer, prompt } = this.args;
    if (offer === undefined) return;
    const params = { prompt, position: offer, limit: 4 };
    this.offers = (await this.host.request('attentionCircuits/features', params, signal)).features;
  }

  /** Opens again what was open, from the top down, a level at a time. */
  private async reopen(id: string, signal: AbortSignal): Promise<void> {
    if (!this.expanded.has(id)) return;
    await this.fetch(id, signal);
    const below = this.tree?.expansions.get(this.keyOf(id))?.children ?? [];
    await Promise.all(below.filter((c) => this.expanded.has(c.id)).map((c) => this.reopen(c.id, signal)));
  }

  private keyOf(id: string): string {
    return expansionKey(id, this.choices.view, this.choices.by);
  }

  private async fetch(id: string, signal: AbortSignal): Promise<void> {
    const { tree } = this;
    const key = this.keyOf(id);
    if (!tree || tree.expansions.has(key)) return;
    this.loading.add(id);
    try {
      const { prompt, root } = this.args;
      const { view, by } = this.choices;
      const params = { prompt, root, node: id, view, by, limit: LIMIT };
      const e = await this.host.request('attentionCircuits/expand', params, signal);
      tree.expansions.set(key, e);
      for (const c of e.children) tree.nodes.set(c.id, c);
      this.errors.delete(id);
    } catch (e) {
      if (wasCancelled(e)) return;
      this.errors.set(id, (e as Error).message);
      this.expanded.delete(id);
    } finally {
      this.loading.delete(id);
    }
  }

  node(id: string | null): WireNode | null {
    return id === null ? null : (this.tree?.nodes.get(id) ?? null);
  }

  expansionOf(id: string): ReturnType<Tree['expansions']['get']> {
    return this.tree?.expansions.get(this.keyOf(id));
  }

  /** What is open now, for export. */
  get opened(): NonNullable<ReturnType<CircuitStore['expansionOf']>>[] {
    return [...this.expanded].map((id) => this.expansionOf(id)).filter((e) => e !== undefined);
  }

  select(id: string): void {
    if (id === this.selected) return;
    this.selected = id;
    this.measurements.forget();
    this.update();
    void this.fetchDetails();
    this.remember();
  }

  private async fetchDetails(): Promise<void> {
    const node = this.node(this.selected);
    if (node) await this.measurements.fetch(this.args, node);
  }

  /** Opens or closes a node. */
  async toggle(id: string): Promise<void> {
    if (this.expanded.delete(id)) {
      this.update();
      return this.remember();
    }
    this.expanded.add(id);
    this.loading.add(id);
    this.update();
    await this.fetch(id, this.abort.signal);
    this.update();
    const e = this.expansionOf(id);
    if (e) announce(`${e.children.length + e.cut.count} children, remainder ${e.remainder.toExponential(1)}`);
    this.remember();
  }

  /** Shows more of what was cut away under a node. */
  more(parent: string): void {
    const had = this.extra.get(parent) ?? 0;
    this.extra.set(parent, had + Math.max(MORE, had));
    this.update();
  }

  choose(change: Partial<Choices>): void {
    const refetch = change.view !== undefined || change.by !== undefined;
    this.choices = { ...this.choices, ...change };
    this.save();
    if (!refetch || !this.tree) return this.update();
    const { root } = this.tree;
    void this.reopen(root.id, this.abort.signal).then(() => {
      this.update();
      if (!this.rows.some((r) => r.type === 'node' && r.node.id === this.selected)) this.select(root.id);
    });
  }

  collapseAll(): void {
    this.expanded.clear();
    this.extra.clear();
    if (this.tree) this.select(this.tree.root.id);
    this.update();
    this.remember();
  }

  find(text: string): void {
    this.search = text;
    this.update();
  }

  filter(position: number | null): void {
    this.position = position;
    this.update();
  }

  /** Clears pins, a begun group and the filter. */
  clear(): void {
    this.position = null;
    this.marks.clear();
  }

  /** A feature has another label: every node of it shows it. */
  labelled(site: string, feature: number, label: string | null): void {
    for (const n of this.tree?.nodes.values() ?? []) {
      if (n.site === site && n.feature === feature) n.title = label ?? undefined;
    }
    this.update();
  }

  /** Runs the model without the selected node. */
  async validate(): Promise<void> {
    const node = this.node(this.selected);
    const { prompt, root } = this.args;
    if (!node || node.id === this.tree?.root.id || root.type === 'graph') return;
    await this.measurements.validate(prompt, root, node);
  }

  /** Runs the model without some features. */
  async ablate(ids: string[]): Promise<void> {
    const { prompt, root } = this.args;
    if (root.type === 'graph') return;
    const nodes = ids.map((id) => this.node(id)).filter((n) => n !== null);
    await this.measurements.ablate(prompt, root, nodes, this.node(this.selected));
  }

  /** Makes a feature the root; the present root becomes a breadcrumb. */
  reroot(spec: TreeRoot | null = null): void {
    const node = this.node(this.selected);
    const root = spec ?? (node && rootOf(node));
    if (!root || !this.tree) return;
    this.history = [...this.history, { root: this.args.root, label: nameOf(this.tree.root, this.marks.names) }];
    this.goTo(root);
  }

  /** Back to an earlier root. */
  back(index = this.history.length - 1): void {
    const to = this.history[index];
    if (!to) return;
    this.history = this.history.slice(0, index);
    this.goTo(to.root);
  }

  private goTo(root: TreeRoot): void {
    this.args = { ...this.args, root };
    this.expanded.clear();
    this.selected = null;
    this.position = null;
    this.scroll = 0;
    void this.load(true);
  }

  private keep(): void {
    this.update();
    this.remember();
  }

  private update(): void {
    if (!this.tree) return;
    const { tree, choices, expanded, extra, search, position } = this;
    const { names } = this.marks;
    this.rows = rows({ tree, choices, expanded, extra, names, search, position });
    this.changed('all');
  }

  /** Remembers what is shown, soon: for what changes with every step of a slider or of scrolling. What the reader does by a key or a click is remembered at once. */
  save(): void {
    clearTimeout(this.saveTimer);
    this.saveTimer = window.setTimeout(() => this.remember(), SAVE_DELAY_MS);
  }

  private remember(): void {
    clearTimeout(this.saveTimer);
    const { choices, selected, history, scroll } = this;
    const { pins, groups, names } = this.marks;
    const ui: Saved = { choices, expanded: [...this.expanded], selected, pins, groups, names, history, scroll };
    this.host.remember(this.args, ui);
  }
}
