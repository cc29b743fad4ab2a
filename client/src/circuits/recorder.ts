/** What a circuit panel has been told, so that it can be saved: the root, and every node as it was opened. */
import type { RequestMethod, Requests, RootRef, TreeRoot, WireNode } from '../../../server/protocol';
import {
  CIRCUIT_FORMAT,
  CIRCUIT_VERSION,
  type CircuitFile,
  type Identity,
  type StoredExpansion,
} from '../../../server/protocol/circuit';
import type { PanelArguments } from '../../../webviews/protocol';

type Root = Requests['attentionCircuits/root'];
type Expand = Requests['attentionCircuits/expand'];

export type CircuitArguments = Extract<PanelArguments, { panel: 'circuit' }>;

const keyOf = (view: string, by: string, id: string): string => `${view} ${by} ${id}`;
const subject = (q: { prompt: unknown; root: unknown }): string => JSON.stringify([q.prompt, q.root]);
const stringsOf = (x: unknown): string[] => (Array.isArray(x) ? x.filter((s) => typeof s === 'string') : []);

/** The marks of a panel that are the reader's own; where she has scrolled and what is selected is not. */
export const marksOf = (ui: Record<string, unknown>): string => {
  const { choices, expanded, pins, groups, names } = ui;
  return JSON.stringify([choices, stringsOf(expanded).sort(), pins, groups, names]);
};

/** Numbers of one root on one prompt; another root begins anew. */
export class Recorder {
  private of = '';
  private result: Root['result'] | null = null;
  private readonly opened = new Map<string, StoredExpansion>();

  /** Begins with what a file holds. */
  static from(c: CircuitFile): Recorder {
    const r = new Recorder();
    r.of = subject(c);
    r.result = { tokens: c.tokens, predictions: c.predictions, root: c.tree.root };
    for (const e of c.tree.expansions) r.opened.set(keyOf(e.view, e.by, e.id), e);
    return r;
  }

  /** Remembers an answer of the server. */
  record(method: RequestMethod, params: unknown, result: unknown): void {
    if (method === 'attentionCircuits/root') {
      const now = subject(params as Root['params']);
      if (now !== this.of) this.opened.clear();
      this.of = now;
      this.result = result as Root['result'];
    } else if (method === 'attentionCircuits/expand') {
      const q = params as Expand['params'];
      if (subject(q) !== this.of) return;
      const { view, by } = q;
      this.opened.set(keyOf(view, by, q.node), { ...(result as Expand['result']), view, by });
    }
  }

  /** A feature has another label: every node of it bears it. */
  relabel(site: string, feature: number, label: string | null): void {
    const titled = (n: WireNode): WireNode => {
      if (n.site !== site || n.feature !== feature) return n;
      const { title: _, ...rest } = n;
      return label === null ? rest : { ...rest, title: label };
    };
    if (this.result) this.result = { ...this.result, root: titled(this.result.root) };
    for (const [key, e] of this.opened) this.opened.set(key, { ...e, children: e.children.map(titled) });
  }

  /** What is remembered of a request, or undefined. */
  recall(method: RequestMethod, params: unknown): Root['result'] | Expand['result'] | undefined {
    if (method === 'attentionCircuits/root')
      return subject(params as Root['params']) === this.of ? (this.result ?? undefined) : undefined;
    if (method !== 'attentionCircuits/expand') return undefined;
    const q = params as Expand['params'];
    return subject(q) === this.of ? this.opened.get(keyOf(q.view, q.by, q.node)) : undefined;
  }

  /** The circuit as it would be saved, or null before its root is known. */
  circuit(
    args: CircuitArguments,
    ui: Record<string, unknown>,
    identity: Identity | null,
    generator: string,
  ): CircuitFile | null {
    const root: TreeRoot = args.root;
    if (!this.result || root.type === 'graph' || subject(args) !== this.of) return null;
    const expanded = new Set(stringsOf(ui.expanded));
    const order = (a: StoredExpansion, b: StoredExpansion): number =>
      keyOf(a.view, a.by, a.id).localeCompare(keyOf(b.view, b.by, b.id));
    const { tokens, predictions, root: node } = this.result;
    return {
      format: CIRCUIT_FORMAT,
      version: CIRCUIT_VERSION,
      generator,
      identity,
      prompt: args.prompt,
      root: root satisfies RootRef,
      tokens,
      predictions,
      tree: { root: node, expansions: [...this.opened.values()].filter((e) => expanded.has(e.id)).sort(order) },
      view: ui,
    };
  }
}
