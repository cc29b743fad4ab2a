import { statSync } from 'node:fs';
import type { GraphRoot, RootResult, WireExpansion, WireNode } from '../../protocol';
import { type NodeKind } from '../attribution';
import { InputFileError, UsageError } from '../errors';
import { cantorUnpair, type GraphFile, type GraphFileNode, importGraphFile } from '../interop';
import { GLYPHS, quote } from '../text';

const KEPT = 4;

/** What a graph file calls its kinds of nodes, as the panel knows them. */
const KINDS: [RegExp, NodeKind][] = [
  [/error/, 'error'],
  [/^lorsa$/, 'attention-feature'],
  [/transcoder/, 'transcoder-feature'],
  [/^embedding$/, 'token-embedding'],
  [/^logit$/, 'logit'],
];

interface In {
  source: GraphFileNode;
  weight: number;
}

interface Indexed {
  stamp: string;
  file: string;
  graph: GraphFile;
  nodes: ReadonlyMap<string, GraphFileNode>;
  into: ReadonlyMap<string, In[]>;
}

const isObject = (x: unknown): x is Record<string, unknown> => typeof x === 'object' && x !== null && !Array.isArray(x);
const finite = (x: unknown): number | undefined => (typeof x === 'number' && Number.isFinite(x) ? x : undefined);

/** What our own exports keep beside a node. */
const ownOf = (n: GraphFileNode): Record<string, unknown> => (isObject(n.dfa) ? n.dfa : {});

function kindOf(n: GraphFileNode): NodeKind {
  const own = ownOf(n).kind;
  if (typeof own === 'string' && own in GLYPHS) return own as NodeKind;
  return KINDS.find(([pattern]) => pattern.test(n.feature_type))?.[1] ?? 'bias';
}

function indexed(file: string, stamp: string): Indexed {
  const graph = importGraphFile(file);
  const nodes = new Map(graph.nodes.map((n) => [n.node_id, n]));
  const into = new Map<string, In[]>();
  for (const { source, target, weight } of graph.links) {
    const from = nodes.get(source);
    if (from) into.set(target, [...(into.get(target) ?? []), { source: from, weight }]);
  }
  for (const list of into.values()) list.sort((a, b) => Math.abs(b.weight) - Math.abs(a.weight));
  return { stamp, file, graph, nodes, into };
}

/** Attribution-graph files as trees: what is linked into a node is its children, opened as far as one looks. */
export class GraphFiles {
  private readonly kept = new Map<string, Indexed>();

  private open(file: string): Indexed {
    const s = statSync(file, { throwIfNoEntry: false });
    if (!s) throw new InputFileError(file, 'the file does not exist');
    const stamp = `${s.mtimeMs} ${s.size}`;
    const have = this.kept.get(file);
    if (have?.stamp === stamp) return have;
    const g = indexed(file, stamp);
    this.kept.delete(file);
    this.kept.set(file, g);
    for (const old of [...this.kept.keys()].slice(0, -KEPT)) this.kept.delete(old);
    return g;
  }

  private node(g: Indexed, id: string): GraphFileNode {
    const n = g.nodes.get(id);
    if (!n) throw new UsageError(`${g.file} has no node ${JSON.stringify(id)}`);
    return n;
  }

  private token(g: Indexed, n: GraphFileNode): string | undefined {
    return g.graph.metadata.prompt_tokens[n.ctx_idx];
  }

  private name(g: Indexed, n: GraphFileNode): string {
    const token = this.token(g, n);
    const at = `@${n.ctx_idx}${token === undefined ? '' : ` ${quote(token)}`}`;
    if (n.feature_type === 'logit') return n.clerp || n.node_id;
    if (n.feature_type === 'embedding') return `embedding ${at}`;
    if (/error/.test(n.feature_type)) return `${n.feature_type}, layer ${n.layer} ${at}`;
    if (
      /transcoder|lorsa/.test(n.feature_type) &&
      n.feature !== null &&
      Number.isSafeInteger(n.feature) &&
      n.feature >= 0
    )
      return `${n.feature_type === 'lorsa' ? 'attn' : 'mlp'} ${n.layer}.${cantorUnpair(n.feature).index} ${at}`;
    return `${n.clerp || n.node_id} ${at}`;
  }

  /** Value of a node: as the file says, else what is linked into it. */
  private valueOf(g: Indexed, n: GraphFileNode): number {
    const sum = (g.into.get(n.node_id) ?? []).reduce((s, l) => s + l.weight, 0);
    return finite(ownOf(n).value) ?? sum;
  }

  private wire(g: Indexed, n: GraphFileNode, id: string, weight: number, scale: number): WireNode {
    const kind = kindOf(n);
    const label = this.name(g, n);
    const opens = (g.into.get(n.node_id) ?? []).length > 0;
    const titled = n.clerp !== '' && n.clerp !== label && !/error|embedding|logit/.test(n.feature_type);
    return {
      id,
      kind,
      glyph: GLYPHS[kind],
      label,
      short: label,
      ...(titled ? { title: n.clerp } : {}),
      position: n.ctx_idx,
      ...(/^\d+$/.test(n.layer) ? { layer: Number(n.layer) } : {}),
      ...(finite(n.activation) === undefined ? {} : { activation: finite(n.activation) }),
      value: opens ? this.valueOf(g, n) : weight,
      contribution: weight,
      share: scale === 0 ? 0 : weight / scale,
      opens,
      ...(opens ? { root: { type: 'graph', file: g.file, node: n.node_id, position: n.ctx_idx } } : {}),
    };
  }

  /** The node that a file begins with: our root, else the likeliest target. */
  private start(g: Indexed): GraphFileNode {
    const { metadata, nodes } = g.graph;
    const own = isObject(metadata.dfa) && typeof metadata.dfa.root === 'string' ? g.nodes.get(metadata.dfa.root) : null;
    const logits = nodes
      .filter((n) => n.feature_type === 'logit')
      .sort((a, b) => (b.token_prob ?? 0) - (a.token_prob ?? 0));
    const first = own ?? logits[0] ?? nodes.find((n) => (g.into.get(n.node_id) ?? []).length > 0) ?? nodes.at(0);
    if (!first) throw new InputFileError(g.file, 'the graph has no nodes');
    return first;
  }

  /** The node that a tree starts from, the prompt, and what else could be started from. Throws InputFileError, UsageError. */
  root(r: GraphRoot): RootResult {
    const g = this.open(r.file);
    const start = r.node === '' ? this.start(g) : this.node(g, r.node);
    const { metadata, nodes } = g.graph;
    const imported = isObject(metadata.dfa) && isObject(metadata.dfa.import) ? metadata.dfa.import : null;
    const warnings = Array.isArray(imported?.warnings) ? imported.warnings.map(String) : [];
    const sums =
      finite(ownOf(start).value) === undefined
        ? ['the file does not say what its nodes amount to: a value here is the sum of what is linked into it']
        : ['what pruning took away is one line'];
    const value = this.valueOf(g, start);
    const others = nodes.filter((n) => n.feature_type === 'logit' && n.node_id !== start.node_id).slice(0, 12);
    return {
      tokens: metadata.prompt_tokens.map((text, position) => ({ position, id: -1, text })),
      predictions: metadata.prompt_tokens.map(() => []),
      root: { ...this.wire(g, start, start.node_id, value, Math.abs(value)), share: 1 },
      note: `Numbers of the file ${r.file} (${nodes.length} nodes, ${g.graph.links.length} links); ${[...sums, ...warnings].join('; ')}.`,
      alternatives: others.map((n) => ({
        label: this.name(g, n),
        root: { type: 'graph', file: r.file, node: n.node_id, position: n.ctx_idx },
      })),
    };
  }

  /** What is linked into a node, strongest first; what pruning took away, where the file says the node's value. */
  expand(r: GraphRoot, id: string, limit: number): WireExpansion {
    const g = this.open(r.file);
    const n = this.node(g, id.slice(id.lastIndexOf('~') + 1));
    const links = g.into.get(n.node_id) ?? [];
    const sum = links.reduce((s, l) => s + l.weight, 0);
    const value = this.valueOf(g, n);
    const remainder = finite(ownOf(n).remainder) ?? 0;
    const pruned = value - sum - remainder;
    const scale = links.reduce((s, l) => s + Math.abs(l.weight), 0);
    const errors = links.reduce((s, l) => s + (kindOf(l.source) === 'error' ? Math.abs(l.weight) : 0), 0);
    const rest = links.slice(limit);
    const children = links
      .slice(0, limit)
      .map((l) => this.wire(g, l.source, `${id}~${l.source.node_id}`, l.weight, scale));
    if (Math.abs(pruned) > 1e-6 * Math.max(1, scale)) children.push(prunedNode(id, pruned, scale));
    return {
      id,
      value,
      children,
      cut: { count: rest.length, sum: rest.reduce((s, l) => s + l.weight, 0) },
      remainder,
      scale,
      errorShare: scale === 0 ? 0 : errors / scale,
    };
  }

  /** What a node reads directly at each token [S]. */
  sources(r: GraphRoot, id: string): number[] {
    const g = this.open(r.file);
    const out = g.graph.metadata.prompt_tokens.map(() => 0);
    const n = this.node(g, id.slice(id.lastIndexOf('~') + 1));
    for (const { source, weight } of g.into.get(n.node_id) ?? [])
      if (source.ctx_idx >= 0 && source.ctx_idx < out.length) out[source.ctx_idx] += weight;
    return out;
  }
}

const prunedNode = (parent: string, sum: number, scale: number): WireNode => ({
  id: `${parent}~pruned`,
  kind: 'bias',
  glyph: GLYPHS.bias,
  label: 'pruned away in the file',
  short: 'pruned away in the file',
  value: sum,
  contribution: sum,
  share: scale === 0 ? 0 : sum / scale,
  opens: false,
});
