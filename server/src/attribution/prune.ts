import {
  type AttributionGraph,
  type GraphEdge,
  type GraphNode,
  isConstant,
  isError,
  isFeature,
  isToken,
} from './graph';

/** Influence of every node and edge on the weighted roots, by circuit-tracer's rule (reference interop §1.7). */
interface Influence {
  /** I = wÂ + wÂ² + …, per node. */
  nodes: Float64Array;
  /** Â_ts · (I_t + w_t), per edge. */
  edges: Float64Array;
  /** Â per edge: |weight| over the target's sum, constants outside. */
  normalised: Float64Array;
}

/** Scores of a graph (reference interop §1.7). */
export interface Scores {
  /** I(tokens) / (I(tokens) + I(errors)) */
  replacement: number;
  /** Σ (1 − error share of inputs)(I + w) / Σ (I + w) */
  completeness: number;
}

const ROW_FLOOR = 1e-10;

/** Weight of the target: the token's probability for a logit, 1 for a feature or a difference. */
export type RootWeight = number;

/** Nodes must be ordered with sources after their targets, as buildGraph gives them. */
function influence(
  nodes: GraphNode[],
  edges: GraphEdge[],
  active: (e: GraphEdge) => boolean,
  rootWeight: RootWeight,
): Influence {
  const rowSum = new Float64Array(nodes.length);
  const counted = edges.map((e) => active(e) && !isConstant(nodes[e.source]));
  edges.forEach((e, i) => {
    if (counted[i]) rowSum[e.target] += Math.abs(e.weight);
  });
  const normalised = Float64Array.from(edges, (e, i) =>
    counted[i] ? Math.abs(e.weight) / Math.max(ROW_FLOOR, rowSum[e.target]) : 0,
  );
  const byTarget: number[][] = nodes.map(() => []);
  edges.forEach((e, i) => byTarget[e.target].push(i));
  const I = new Float64Array(nodes.length);
  const score = new Float64Array(edges.length);
  for (let t = 0; t < nodes.length; t++) {
    const total = I[t] + (t === 0 ? rootWeight : 0);
    for (const i of byTarget[t]) {
      score[i] = normalised[i] * total;
      I[edges[i].source] += score[i];
    }
  }
  return { nodes: I, edges: score, normalised };
}

/** Replacement and completeness scores of a graph. */
export function graphScores(g: AttributionGraph, rootWeight: RootWeight): Scores {
  const inf = influence(g.nodes, g.edges, () => true, rootWeight);
  let tokens = 0;
  let errors = 0;
  g.nodes.forEach((n, i) => {
    if (isToken(n)) tokens += inf.nodes[i];
    if (isError(n)) errors += inf.nodes[i];
  });
  const errorShare = new Float64Array(g.nodes.length);
  g.edges.forEach((e, i) => {
    if (isError(g.nodes[e.source])) errorShare[e.target] += inf.normalised[i];
  });
  let explained = 0;
  let total = 0;
  g.nodes.forEach((_, i) => {
    const w = inf.nodes[i] + (i === 0 ? rootWeight : 0);
    explained += (1 - errorShare[i]) * w;
    total += w;
  });
  return { replacement: tokens / (tokens + errors), completeness: explained / total };
}

/** The smallest score of those that, largest first, cover `share` of the total. */
function threshold(scores: Float64Array, share: number): number {
  const sorted = [...scores].sort((a, b) => b - a);
  const total = sorted.reduce((a, b) => a + b, 0);
  let sum = 0;
  for (const s of sorted) {
    sum += s;
    if (sum >= share * total) return s;
  }
  return sorted.at(-1) ?? 0;
}

export interface PrunedGraph {
  nodes: (GraphNode & { influence: number | null })[];
  edges: GraphEdge[];
}

/**
 * Prunes as circuit-tracer does: nodes covering `nodeThreshold` of the influence (tokens and the root always stay), edges covering
 * `edgeThreshold` on the re-normalised rest, then features and errors that feed nothing and features that nothing feeds, until none is
 * left. Constants stay with the nodes they belong to. `influence` is the cumulative share in descending order, null for the root.
 */
export function pruneGraph(
  g: AttributionGraph,
  rootWeight: RootWeight,
  nodeThreshold: number,
  edgeThreshold: number,
): PrunedGraph {
  const { nodes, edges } = g;
  const inf = influence(nodes, edges, () => true, rootWeight);
  const nodeCut = threshold(inf.nodes, nodeThreshold);
  const keep = nodes.map((n, i) => i === 0 || isToken(n) || isConstant(n) || inf.nodes[i] >= nodeCut);
  const inner = (e: GraphEdge): boolean => keep[e.source] && keep[e.target];
  const after = influence(nodes, edges, inner, rootWeight);
  const edgeCut = threshold(after.edges, edgeThreshold);
  const keepEdge = edges.map(
    (e, i) => inner(e) && (isConstant(nodes[e.source]) || (after.edges[i] >= edgeCut && after.edges[i] > 0)),
  );
  for (let changed = true; changed;) {
    changed = false;
    const outgoing = new Uint8Array(nodes.length);
    const fed = new Uint8Array(nodes.length);
    edges.forEach((e, i) => {
      if (!keepEdge[i]) return;
      outgoing[e.source] = 1;
      if (!isConstant(nodes[e.source])) fed[e.target] = 1;
    });
    nodes.forEach((n, i) => {
      if (i === 0 || !keep[i] || isToken(n)) return;
      if (!outgoing[i] || (isFeature(n) && !fed[i])) {
        keep[i] = false;
        changed = true;
      }
    });
    edges.forEach((e, i) => {
      if (keepEdge[i] && !inner(e)) keepEdge[i] = false;
    });
  }
  const cumulative = cumulativeShares(inf.nodes);
  const place = new Map<number, number>();
  nodes.forEach((_, i) => {
    if (keep[i]) place.set(i, place.size);
  });
  return {
    nodes: nodes.flatMap((n, i) => (keep[i] ? [{ ...n, influence: i === 0 ? null : cumulative[i] }] : [])),
    edges: edges.flatMap((e, i) =>
      keepEdge[i]
        ? [{ source: place.get(e.source) as number, target: place.get(e.target) as number, weight: e.weight }]
        : [],
    ),
  };
}

function cumulativeShares(scores: Float64Array): Float64Array {
  const order = [...scores.keys()].sort((a, b) => scores[b] - scores[a] || a - b);
  const total = scores.reduce((a, b) => a + b, 0) || 1;
  const out = new Float64Array(scores.length);
  let sum = 0;
  for (const i of order) {
    sum += scores[i];
    out[i] = Math.min(1, sum / total);
  }
  return out;
}
