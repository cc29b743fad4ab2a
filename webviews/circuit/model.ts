/** The state of the circuit panel and what follows from it. Pure: no DOM, no messages. */
import type { By, TreeRoot, View, WireExpansion, WireNode } from '../../server/protocol';

export type Sort = 'size' | 'value' | 'position' | 'layer';

/** What the reader has chosen; kept across reloads. */
export interface Choices {
  view: View;
  by: By;
  top: number;
  /** Children below this share of their parent are cut away. */
  threshold: number;
  sort: Sort;
  hideErrors: boolean;
  hideConstants: boolean;
  diagram: boolean;
  followEditor: boolean;
}

/** Nodes that the reader has put under one name. */
export interface Supernode {
  name: string;
  members: string[];
}

/** What is kept of a panel across reloads. */
export interface Saved {
  choices: Choices;
  expanded: string[];
  selected: string | null;
  pins: string[];
  groups: Supernode[];
  names: Record<string, string>;
  history: { root: TreeRoot; label: string }[];
  scroll: number;
}

/** What is known of the tree. */
export interface Tree {
  root: WireNode;
  nodes: Map<string, WireNode>;
  expansions: Map<string, WireExpansion>;
}

/** A line of the outline. */
export type Row =
  | {
      type: 'node';
      node: WireNode;
      level: number;
      expanded: boolean;
      position: number;
      of: number;
      expansion: WireExpansion | null;
    }
  /** Everything cut away under a node, with its sum. */
  | {
      type: 'cut';
      id: string;
      parent: string;
      level: number;
      position: number;
      of: number;
      count: number;
      sum: number;
      hidden: string;
    };

export const DEFAULTS: Choices = {
  view: 'residual',
  by: 'source',
  top: 10,
  threshold: 0,
  sort: 'size',
  hideErrors: false,
  hideConstants: false,
  diagram: false,
  followEditor: true,
};

const LIMITED: ReadonlySet<string> = new Set([
  'attention-feature',
  'residual-feature',
  'transcoder-feature',
  'source-token',
  'head-source',
]);

/** How an expansion is asked for and kept: views and ways of taking attention apart are different expansions of one node. */
export const expansionKey = (id: string, view: View, by: By): string => `${view} ${by} ${id}`;

const SORTS: Record<Sort, (a: WireNode, b: WireNode) => number> = {
  size: (a, b) => Math.abs(b.contribution) - Math.abs(a.contribution),
  value: (a, b) => b.contribution - a.contribution,
  position: (a, b) => (a.position ?? -1) - (b.position ?? -1),
  layer: (a, b) => (a.layer ?? -1) - (b.layer ?? -1),
};

export interface Shown {
  children: WireNode[];
  cut: { count: number; sum: number; hidden: string };
}

/**
 * The children of an expansion that the choices leave, and everything else as one number. `extra` more than the top are shown.
 * Σ children + cut.sum + remainder = value always.
 */
export function shownChildren(e: WireExpansion, c: Choices, extra = 0): Shown {
  const children: WireNode[] = [];
  let count = e.cut.count;
  let { sum } = e.cut;
  let taken = 0;
  const hidden: string[] = [];
  const hide = (why: string, n: WireNode): void => {
    count++;
    sum += n.contribution;
    if (!hidden.includes(why)) hidden.push(why);
  };
  for (const n of e.children) {
    if (c.hideErrors && n.kind === 'error') hide('errors', n);
    else if (c.hideConstants && n.kind === 'bias') hide('constants', n);
    else if (Math.abs(n.share) < c.threshold) hide('below the threshold', n);
    else if (LIMITED.has(n.kind) && taken++ >= c.top + extra) hide('beyond the top', n);
    else children.push(n);
  }
  if (e.cut.count > 0 && !hidden.includes('beyond the top')) hidden.push('beyond the top');
  return { children: children.sort(SORTS[c.sort]), cut: { count, sum, hidden: hidden.join(', ') } };
}

export interface RowInput {
  tree: Tree;
  choices: Choices;
  expanded: ReadonlySet<string>;
  extra: ReadonlyMap<string, number>;
  names: Readonly<Record<string, string>>;
  search: string;
  /** Only nodes at this position, and what leads to them. */
  position: number | null;
}

/** Name of a node: the reader's own, or what it is. */
export const nameOf = (n: WireNode, names: Readonly<Record<string, string>>): string =>
  names[n.id] ?? (n.title === undefined ? n.label : `${n.title} · ${n.label}`);

/** The same where room is short. */
export const shortOf = (n: WireNode, names: Readonly<Record<string, string>>): string =>
  names[n.id] ?? (n.title === undefined ? n.short : `${n.title} · ${n.short}`);

/** The lines of the outline from top to bottom. */
export function rows(input: RowInput): Row[] {
  const { tree, choices, expanded, extra, names } = input;
  const needle = input.search.trim().toLowerCase();
  const filtering = needle !== '' || input.position !== null;
  const matches = (n: WireNode): boolean =>
    (needle === '' || nameOf(n, names).toLowerCase().includes(needle)) &&
    (input.position === null || n.position === input.position);
  const walk = (n: WireNode, level: number, position: number, of: number): Row[] => {
    const expansion = tree.expansions.get(expansionKey(n.id, choices.view, choices.by)) ?? null;
    const open = expanded.has(n.id) && n.opens;
    const own: Row = { type: 'node', node: n, level, expanded: open, position, of, expansion };
    if (!open || !expansion) return [own];
    const { children, cut } = shownChildren(expansion, choices, extra.get(n.id) ?? 0);
    const total = children.length + (cut.count > 0 ? 1 : 0);
    const below = children.map((c, i) => walk(c, level + 1, i + 1, total));
    const kept = filtering
      ? below.filter((list) => list.length > 1 || list.some((r) => r.type === 'node' && matches(r.node)))
      : below;
    const out: Row[] = [own, ...kept.flat()];
    if (cut.count > 0)
      out.push({ type: 'cut', id: `${n.id}~cut`, parent: n.id, level: level + 1, position: total, of: total, ...cut });
    if (filtering && level > 1 && kept.length === 0 && !matches(n)) return [own];
    return out;
  };
  return walk(tree.root, 1, 1, 1);
}

/** A row with the rows under it. */
export interface Item {
  row: Row;
  children: Item[];
}

/** Rows back into the tree that they list. */
export function itemsOf(rows: readonly Row[]): Item {
  const root: Item = { row: rows[0], children: [] };
  const path = [root];
  for (const row of rows.slice(1)) {
    const item: Item = { row, children: [] };
    path.length = row.level - 1;
    path[path.length - 1].children.push(item);
    path.push(item);
  }
  return root;
}

/** Sum of a supernode's members as they stand in the tree, members below other members counted once. */
export function groupSum(group: Supernode, nodes: ReadonlyMap<string, WireNode>): number {
  const outer = group.members.filter((m) => !group.members.some((o) => o !== m && m.startsWith(`${o}~`)));
  return outer.reduce((s, id) => s + (nodes.get(id)?.contribution ?? 0), 0);
}

/** The root that a node stands for, or null for nodes that a tree cannot start from. */
export function rootOf(n: WireNode): TreeRoot | null {
  if (n.root) return n.root;
  if (n.site !== undefined && n.feature !== undefined && n.position !== undefined) {
    return { type: 'feature', site: n.site, feature: n.feature, position: n.position };
  }
  return null;
}

/** The tree as indented text with all sums, as it is shown. */
export function outlineText(list: readonly Row[], names: Readonly<Record<string, string>>): string {
  const number = (x: number): string => `${x < 0 ? '−' : '+'}${Math.abs(x).toFixed(3)}`;
  return list
    .map((r) => {
      const indent = '  '.repeat(r.level - 1);
      if (r.type === 'cut') return `${indent}${number(r.sum)} … ${r.count} not shown (${r.hidden})`;
      const { node, expansion } = r;
      const share = r.level === 1 ? '' : ` (${(100 * node.share).toFixed(1)}%)`;
      const rest = r.expanded && expansion ? `; remainder ${expansion.remainder.toExponential(1)}` : '';
      return `${indent}${number(node.contribution)}${share} ${node.glyph} ${nameOf(node, names)}${rest}`;
    })
    .join('\n');
}

const isStrings = (x: unknown): x is string[] => Array.isArray(x) && x.every((s) => typeof s === 'string');
const isRecord = (x: unknown): x is Record<string, unknown> => typeof x === 'object' && x !== null && !Array.isArray(x);

/** What an earlier page remembered; parts that are not what they should be are left out. */
export function parseSaved(value: unknown): Partial<Saved> {
  if (!isRecord(value)) return {};
  const saved: Partial<Saved> = {};
  const { choices, expanded, selected, pins, groups, names, history, scroll } = value;
  if (isRecord(choices)) {
    const known = Object.entries(choices).filter(
      ([k, v]) => k in DEFAULTS && typeof v === typeof DEFAULTS[k as keyof Choices],
    );
    saved.choices = { ...DEFAULTS, ...Object.fromEntries(known) };
  }
  if (isStrings(expanded)) saved.expanded = expanded;
  if (typeof selected === 'string') saved.selected = selected;
  if (isStrings(pins)) saved.pins = pins;
  if (Array.isArray(groups)) {
    saved.groups = groups.filter(
      (g): g is Supernode => isRecord(g) && typeof g.name === 'string' && isStrings(g.members),
    );
  }
  if (isRecord(names)) {
    saved.names = Object.fromEntries(
      Object.entries(names).filter((e): e is [string, string] => typeof e[1] === 'string'),
    );
  }
  if (Array.isArray(history)) {
    saved.history = history.filter(
      (h): h is Saved['history'][number] => isRecord(h) && isRecord(h.root) && typeof h.label === 'string',
    );
  }
  if (typeof scroll === 'number') saved.scroll = scroll;
  return saved;
}
