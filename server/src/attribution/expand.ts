import { RemainderError } from '../errors';
import { headBySource, SourceDirections, sumGrid } from './dfa';
import { openAttention, openFeature } from './openings';
import { decomposeStream, residPre } from './streams';
import { type By, type NodeKind, type Opening, type PromptState, type TreeNode, type View } from './types';

/** A remainder above this share of Σ|children| is refused. */
export const REMAINDER_LIMIT = 1e-4;

export interface Expansion {
  /** All children, strongest first; ties by layer, feature, position. */
  children: TreeNode[];
  /** value − Σ children. */
  remainder: number;
  /** Which view a stream was opened in. */
  view?: View;
}

export interface ExpandOptions {
  view: View;
  by: By;
}

/** A node whose place among its siblings is not known yet. */
type Child = Omit<TreeNode, 'id' | 'share' | 'value'> & { id?: string; share?: number; value?: number };

const bias = (c: { name: string; value: number }, at: { layer?: number; position: number }): Child => ({
  key: c.name,
  kind: 'bias',
  name: c.name,
  contribution: c.value,
  ...at,
});

function attentionChildren(state: PromptState, o: Extract<Opening, { type: 'attention' }>, by: By): Child[] {
  const { layer, position: D } = o;
  const grid = headBySource(state, layer, D, o.direction);
  let directions: SourceDirections | null = null;
  const open = (source: number, head?: number) => (): Opening => {
    directions ??= new SourceDirections(state, layer, D, o.direction);
    const kept = directions.keptBias(source, head);
    return {
      type: 'stream',
      point: residPre(layer, state.weights.config.n_layers),
      position: source,
      direction: directions.at(source, head),
      residualView: true,
      constants: kept === 0 ? [] : [{ name: 'value-bias', value: kept }],
    };
  };
  const children: Child[] = [];
  if (by === 'source') {
    sumGrid(grid).bySource.forEach((contribution, s) => {
      children.push({ key: `s${s}`, kind: 'source-token', layer, position: s, contribution, open: open(s) });
    });
  } else {
    grid.forEach((r, head) =>
      r.forEach((contribution, s) => {
        children.push({
          key: `h${head}s${s}`,
          kind: 'head-source',
          layer,
          head,
          position: s,
          contribution,
          open: open(s, head),
        });
      }),
    );
  }
  children.push(bias(o.constant, { layer, position: D }));
  return children;
}

async function streamChildren(
  state: PromptState,
  o: Extract<Opening, { type: 'stream' }>,
  view: View,
): Promise<{ view: View; children: Child[] }> {
  const { position, direction } = o;
  const decomposed = await decomposeStream(state, o.point, position, direction, o.residualView ? view : 'component');
  const children = decomposed.terms.map((t): Child => {
    const child: Child = t;
    const { layer, site, feature } = t;
    if (t.kind === 'attn' && layer !== undefined) child.open = () => openAttention(state, layer, position, direction);
    if (t.kind === 'token-embedding') child.tokenIds = [state.trace.tokens[position]];
    if (site !== undefined && feature !== undefined) {
      child.open = () => openFeature(state, site, feature, position);
      child.value = t.activation;
    }
    return child;
  });
  children.push(...o.constants.map((c) => bias(c, { position })));
  return { view: decomposed.view, children };
}

function strongestFirst(a: TreeNode, b: TreeNode): number {
  return (
    Math.abs(b.contribution) - Math.abs(a.contribution) ||
    (a.layer ?? -1) - (b.layer ?? -1) ||
    (a.feature ?? -1) - (b.feature ?? -1) ||
    (a.position ?? -1) - (b.position ?? -1)
  );
}

/**
 * Opens one node: its children, whose contributions are computed each from its own vector, and what they miss of the value.
 * Returns null for a leaf. Throws RemainderError when the remainder exceeds 1e-4 of Σ|children|.
 */
export async function expand(state: PromptState, node: TreeNode, options: ExpandOptions): Promise<Expansion | null> {
  const opening = await node.open?.();
  if (!opening) return null;
  const { view, children } =
    opening.type === 'attention'
      ? { view: undefined, children: attentionChildren(state, opening, options.by) }
      : await streamChildren(state, opening, options.view);
  let sum = 0;
  let scale = 0;
  for (const c of children) {
    sum += c.contribution;
    scale += Math.abs(c.contribution);
  }
  const remainder = node.value - sum;
  if (!(Math.abs(remainder) <= REMAINDER_LIMIT * scale)) throw new RemainderError(node.id, remainder, scale);
  const nodes = children.map((c): TreeNode => {
    c.id = `${node.id}~${c.key}`;
    c.value ??= c.contribution;
    c.share = scale === 0 ? 0 : c.contribution / scale;
    return c as TreeNode;
  });
  return { children: nodes.sort(strongestFirst), remainder, view };
}

const LIMITED: ReadonlySet<NodeKind> = new Set([
  'attention-feature',
  'residual-feature',
  'transcoder-feature',
  'source-token',
  'head-source',
]);

/** Splits children into those shown (the top k features and sources; everything else always) and those cut away. */
export function cutToTop(children: TreeNode[], top: number): { shown: TreeNode[]; cut: TreeNode[] } {
  const shown: TreeNode[] = [];
  const cut: TreeNode[] = [];
  let taken = 0;
  for (const c of children) {
    if (!LIMITED.has(c.kind) || taken++ < top) shown.push(c);
    else cut.push(c);
  }
  return { shown, cut };
}
