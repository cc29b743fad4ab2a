import { type RootRef, type WireExpansion, type WireGrid, type WireNode, type PackedFloats } from '../../protocol';
import {
  type By,
  expand,
  findPath,
  headBySource,
  makeRoot,
  nodeJson,
  rootId,
  sourceAttribution,
  type TreeNode,
  type View,
} from '../attribution';
import { type PromptRun } from '../engine';
import { GLYPHS, nodeLabel, shortLabel } from '../text';

const MAX_NODES = 200_000;
/** Nodes met so far, by id, so that opening one does not walk its path again. */
const met = new WeakMap<PromptRun, Map<string, TreeNode>>();

function nodesOf(run: PromptRun): Map<string, TreeNode> {
  let nodes = met.get(run);
  if (!nodes || nodes.size > MAX_NODES) {
    nodes = new Map();
    met.set(run, nodes);
  }
  return nodes;
}

/** The node of an id, from what was met or by following its path. Throws UsageError for ids that do not exist. */
export async function nodeOf(run: PromptRun, root: RootRef, id: string): Promise<TreeNode> {
  const nodes = nodesOf(run);
  const have = nodes.get(id);
  if (have) return have;
  const node = id === rootId(root) ? await makeRoot(run, root) : ((await findPath(run, root, id)).at(-1) as TreeNode);
  nodes.set(id, node);
  return node;
}

/** Numbers as base64 of little-endian float32. */
export function pack(rows: ArrayLike<number>[]): PackedFloats {
  const columns = rows[0]?.length ?? 0;
  const all = new Float32Array(rows.length * columns);
  rows.forEach((r, i) => all.set(Float32Array.from(r), i * columns));
  return { shape: [rows.length, columns], base64: Buffer.from(all.buffer).toString('base64') };
}

/** Looks up the label of a feature. */
export type LabelOf = (site: string, feature: number) => string | undefined;

export function wireNode(run: PromptRun, node: TreeNode, labelOf: LabelOf): WireNode {
  const json = nodeJson(run, node);
  const { children: _children, tokenMinus: _minus, cut: _cut, ...plain } = json;
  const names = { glyph: GLYPHS[node.kind], label: nodeLabel(json), short: shortLabel(json) };
  const title = node.site !== undefined && node.feature !== undefined ? labelOf(node.site, node.feature) : undefined;
  return { ...plain, ...names, ...(title === undefined ? {} : { title }), opens: node.open !== undefined };
}

/** Opens a node: its `limit` strongest children, and the sum of the others. Throws RemainderError when sums do not hold. */
export async function expandNode(
  run: PromptRun,
  root: RootRef,
  id: string,
  options: { view: View; by: By; limit: number },
  labelOf: LabelOf,
): Promise<WireExpansion> {
  const node = await nodeOf(run, root, id);
  const expansion = await expand(run, node, options);
  if (!expansion)
    return { id, value: node.value, children: [], cut: { count: 0, sum: 0 }, remainder: 0, scale: 0, errorShare: 0 };
  const nodes = nodesOf(run);
  let scale = 0;
  let errors = 0;
  for (const c of expansion.children) {
    scale += Math.abs(c.contribution);
    if (c.kind === 'error') errors += Math.abs(c.contribution);
  }
  const shown = expansion.children.slice(0, options.limit);
  for (const c of shown) nodes.set(c.id, c);
  const rest = expansion.children.slice(options.limit);
  return {
    id,
    value: node.value,
    ...(expansion.view ? { view: expansion.view } : {}),
    children: shown.map((c) => wireNode(run, c, labelOf)),
    cut: { count: rest.length, sum: rest.reduce((s, c) => s + c.contribution, 0) },
    remainder: expansion.remainder,
    scale,
    errorShare: scale === 0 ? 0 : errors / scale,
  };
}

/** Head × source behind an attention node; null for nodes that do not open through attention. */
export async function gridOf(run: PromptRun, root: RootRef, id: string): Promise<WireGrid | null> {
  const opening = await (await nodeOf(run, root, id)).open?.();
  if (opening?.type !== 'attention') return null;
  const { layer, position: destination } = opening;
  const S = run.trace.tokens.length;
  const { pattern } = run.trace.layers[layer];
  const contributions = headBySource(run, layer, destination, opening.direction);
  const rows = contributions.map((_, h) => {
    const at = (h * S + destination) * S;
    return pattern.subarray(at, at + destination + 1);
  });
  return { layer, destination, contributions: pack(contributions), pattern: pack(rows) };
}

export const sourcesOf = async (run: PromptRun, root: RootRef, id: string): Promise<number[]> =>
  sourceAttribution(run, await nodeOf(run, root, id));
