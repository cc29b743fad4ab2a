import { RemainderError, throwIfCancelled } from '../errors';
import { headBySource, SourceDirections, sumGrid } from './dfa';
import { REMAINDER_LIMIT } from './expand';
import { makeRoot, type RootSpec } from './roots';
import { decomposeStream, residPre } from './streams';
import { type NodeKind, type Opening, type PromptState, type TreeNode, type View } from './types';

/** A node of the whole graph: one for each (kind, site, index, position), however many paths reach it. */
export interface GraphNode {
  key: string;
  kind: NodeKind;
  site?: string;
  layer?: number;
  position?: number;
  feature?: number;
  name?: string;
  tokenIds?: number[];
  activation?: number;
  /** Pre-activation or logit of nodes that were opened. */
  value?: number;
  /** value − Σ incoming weights, for opened nodes. */
  remainder?: number;
  /** DFA of opened attention features, by head and by source token. */
  split?: { byHead: number[]; bySource: number[] };
}

/** A signed direct effect of `source` on the value of `target`. */
export interface GraphEdge {
  source: number;
  target: number;
  weight: number;
}

/** Every opened node with everything that feeds it. Node 0 is the root; sources come after the targets they feed. */
export interface AttributionGraph {
  nodes: GraphNode[];
  edges: GraphEdge[];
  /** Features reached but not opened because of the node limit: left out, with the absolute weight they carried. */
  cut: { count: number; absoluteWeight: number };
}

export interface GraphOptions {
  view: View;
  /** Features opened at most. */
  maxNodes: number;
  signal?: AbortSignal;
  onProgress?: (opened: number, found: number) => void;
}

/** Nodes that carry no share: outside the normalisation of influence. */
export const isConstant = (n: GraphNode): boolean => n.kind === 'bias';
export const isToken = (n: GraphNode): boolean => n.kind === 'token-embedding' || n.kind === 'position-embedding';
/** What the replacement does not explain: reconstruction errors and components without a dictionary. */
export const isError = (n: GraphNode): boolean =>
  n.kind === 'error' || n.kind === 'mlp' || n.kind === 'attn' || n.kind === 'skip';
export const isFeature = (n: GraphNode): boolean => n.feature !== undefined;

/**
 * Depth of what a node reads: attention of layer L reads the stream below 3L+1, transcoders below 3L+2. Every edge goes from a
 * smaller stage to a larger one, so stages order the graph.
 */
export function stage(n: GraphNode): number {
  const layer = n.layer ?? 0;
  if (n.kind === 'logit' || n.kind === 'logit-difference') return Infinity;
  if (n.kind === 'residual-feature') return 3 * layer + (n.site?.endsWith('hook_resid_post') ? 3 : 0);
  if (n.kind === 'attention-feature') return 3 * layer + 1;
  return n.kind === 'transcoder-feature' ? 3 * layer + 2 : -1;
}

interface Incoming {
  node: GraphNode;
  weight: number;
}

/** A constant of the reader: one node for each site, name and position. */
function constantSource(reader: TreeNode, c: { name: string; value: number }, position: number): Incoming {
  const { site, layer } = reader;
  return {
    node: { key: `${c.name}:${site ?? 'logit'}@${position}`, kind: 'bias', name: c.name, site, layer, position },
    weight: c.value,
  };
}

async function streamSources(
  state: PromptState,
  reader: TreeNode,
  o: Extract<Opening, { type: 'stream' }>,
  view: View,
): Promise<Incoming[]> {
  const { position } = o;
  const { terms } = await decomposeStream(state, o.point, position, o.direction, o.residualView ? view : 'component');
  const sources = terms.map(({ key, contribution, ...t }): Incoming => {
    const tokenIds = t.kind === 'token-embedding' ? [state.trace.tokens[position]] : undefined;
    const named = t.feature === undefined ? `${key}@${position}` : key;
    return { node: { ...t, key: named, position, tokenIds }, weight: contribution };
  });
  const constants = o.constants.map((c) => constantSource(reader, c, position));
  return [...sources, ...constants];
}

/** Everything that feeds one node's value: source tokens opened into what their streams hold, equal sources added up. */
async function incoming(
  state: PromptState,
  node: TreeNode,
  view: View,
): Promise<{ sources: Incoming[]; split?: { byHead: number[]; bySource: number[] } }> {
  const opening = await node.open?.();
  if (!opening) return { sources: [] };
  if (opening.type === 'stream') return { sources: await streamSources(state, node, opening, view) };
  const { layer, position: D, direction, constant } = opening;
  const directions = new SourceDirections(state, layer, D, direction);
  const point = residPre(layer, state.weights.config.n_layers);
  const all: Incoming[] = [constantSource(node, constant, D)];
  const split = sumGrid(headBySource(state, layer, D, direction));
  for (let S = 0; S <= D; S++) {
    const kept = directions.keptBias(S);
    const constants = kept === 0 ? [] : [{ name: 'value-bias', value: kept }];
    const at: Opening = {
      type: 'stream',
      point,
      position: S,
      direction: directions.at(S),
      residualView: true,
      constants,
    };
    const sources = await streamSources(state, node, at, view);
    check(`${node.id}~s${S}`, split.bySource[S], sources);
    all.push(...sources);
  }
  return { sources: all, split };
}

function check(id: string, value: number, sources: Incoming[]): number {
  let sum = 0;
  let scale = 0;
  for (const s of sources) {
    sum += s.weight;
    scale += Math.abs(s.weight);
  }
  if (!(Math.abs(value - sum) <= REMAINDER_LIMIT * scale)) throw new RemainderError(id, value - sum, scale);
  return value - sum;
}

/** Grows a graph node by node, always opening next the feature with the largest influence on the root so far. */
class Growth {
  readonly nodes: GraphNode[] = [];
  readonly edges: GraphEdge[] = [];
  readonly rows = new Map<number, GraphEdge[]>();
  private readonly index = new Map<string, number>();
  private readonly influence: number[] = [];

  constructor(
    private readonly state: PromptState,
    private readonly options: GraphOptions,
  ) {}

  private add(node: GraphNode): number {
    let i = this.index.get(node.key);
    if (i === undefined) {
      i = this.nodes.length;
      this.nodes.push(node);
      this.influence.push(0);
      this.index.set(node.key, i);
    }
    return i;
  }

  async open(tree: TreeNode): Promise<void> {
    const { open: _open, id, contribution: _contribution, share: _share, ...own } = tree;
    const target = this.add({ ...own, key: id });
    const { sources, split } = await incoming(this.state, tree, this.options.view);
    this.nodes[target].split = split;
    this.nodes[target].value = tree.value;
    this.nodes[target].remainder = check(id, tree.value, sources);
    const row = new Map<number, GraphEdge>();
    for (const s of sources) {
      const source = this.add(s.node);
      const edge = row.get(source);
      if (edge) edge.weight += s.weight;
      else row.set(source, { source, target, weight: s.weight });
    }
    const edges = [...row.values()];
    this.rows.set(target, edges);
    const total = edges.reduce((sum, e) => (isConstant(this.nodes[e.source]) ? sum : sum + Math.abs(e.weight)), 0);
    const influence = target === 0 ? 1 : this.influence[target];
    for (const e of edges)
      if (total > 0 && !isConstant(this.nodes[e.source]))
        this.influence[e.source] += (influence * Math.abs(e.weight)) / total;
  }

  /** The unopened feature with the largest influence found so far, or null when all are open. */
  next(): number | null {
    let best: number | null = null;
    for (let i = 1; i < this.nodes.length; i++) {
      if (!isFeature(this.nodes[i]) || this.rows.has(i)) continue;
      if (best === null || this.influence[i] > this.influence[best]) best = i;
    }
    return best;
  }
}

/**
 * The whole graph below a root: every reachable feature opened, most influential first, up to `maxNodes`; each opened node's incoming
 * weights sum to its value. Throws RemainderError, CancelledError.
 */
export async function buildGraph(state: PromptState, spec: RootSpec, options: GraphOptions): Promise<AttributionGraph> {
  const growth = new Growth(state, options);
  await growth.open(await makeRoot(state, spec));
  for (let opened = 1; opened <= options.maxNodes; opened++) {
    throwIfCancelled(options.signal);
    const i = growth.next();
    if (i === null) break;
    await growth.open(await makeRoot(state, featureSpec(growth.nodes[i])));
    options.onProgress?.(opened, growth.nodes.length);
    if (opened % 64 === 0) await new Promise((r) => setImmediate(r));
  }
  return finish(growth);
}

function featureSpec({ site, feature, position, key }: GraphNode): RootSpec {
  if (site === undefined || feature === undefined || position === undefined) throw new Error(`${key} is not a feature`);
  return { type: 'feature', site, feature, position };
}

/** Leaves out what was not opened, and orders nodes so that sources come after their targets. */
function finish(growth: Growth): AttributionGraph {
  const { nodes, rows } = growth;
  const cut = { count: 0, absoluteWeight: 0 };
  const kept = nodes.map((n, i) => !isFeature(n) || rows.has(i));
  cut.count = kept.filter((k) => !k).length;
  const order = nodes
    .map((_, i) => i)
    .filter((i) => kept[i])
    .sort((a, b) => Number(b === 0) - Number(a === 0) || stage(nodes[b]) - stage(nodes[a]) || a - b);
  const place = new Map(order.map((i, at) => [i, at]));
  const edges: GraphEdge[] = [];
  for (const row of rows.values()) {
    for (const e of row) {
      const source = place.get(e.source);
      const target = place.get(e.target);
      if (source !== undefined && target !== undefined) edges.push({ source, target, weight: e.weight });
      else cut.absoluteWeight += Math.abs(e.weight);
    }
  }
  return { nodes: order.map((i) => nodes[i]), edges, cut };
}
