import { expand, makeRoot, type RootSpec, type TreeNode } from '../attribution';
import { type PromptRun } from '../engine';
import { type Cell } from './types';

/** Which position of one prompt stands for which of the other. */
export type Alignment = 'position' | 'token';

/**
 * Positions of `right` by those of `left`: counted from the end, or by the same token with the same number among its like. What has no
 * partner is left out.
 */
export function align(left: readonly number[], right: readonly number[], by: Alignment): Map<number, number> {
  const shift = right.length - left.length;
  if (by === 'position')
    return new Map(left.flatMap((_, p): [number, number][] => (p + shift >= 0 ? [[p, p + shift]] : [])));
  const nth = (tokens: readonly number[], p: number): string =>
    `${tokens[p]} ${tokens.slice(0, p).filter((t) => t === tokens[p]).length}`;
  const places = new Map(right.map((_, p) => [nth(right, p), p]));
  return new Map(
    left.flatMap((_, p): [number, number][] => {
      const q = places.get(nth(left, p));
      return q === undefined ? [] : [[p, q]];
    }),
  );
}

export interface BranchOptions {
  depth: number;
  /** Children shown of each node. */
  top: number;
  by: Alignment;
}

/** A node in one or both trees, and its contribution to its parent. */
export interface Branch extends Record<string, Cell> {
  branch: string;
  level: number;
  left: number | null;
  right: number | null;
  difference: number;
}

type Pair = [left: TreeNode | undefined, right: TreeNode | undefined];

/** The trees of one root in two prompts, node beside node: matched by what they are and by aligned positions; the largest in either first. */
export async function branches(
  [left, right]: [PromptRun, PromptRun],
  [leftRoot, rightRoot]: [RootSpec, RootSpec],
  o: BranchOptions,
): Promise<Branch[]> {
  const back = new Map([...align(left.trace.tokens, right.trace.tokens, o.by)].map(([l, r]) => [r, l]));
  /** A key of the right tree with the left prompt's positions. */
  const inLeft = (key: string): string =>
    key.replace(/(@|s)(\d+)$/, (_, mark: string, p: string) => `${mark}${back.get(Number(p)) ?? `right ${p}`}`);
  const childrenOf = async (run: PromptRun, n: TreeNode | undefined): Promise<TreeNode[]> =>
    (n && (await expand(run, n, { view: 'component', by: 'source' })))?.children ?? [];
  const out: Branch[] = [];
  const walk = async ([a, b]: Pair, level: number): Promise<void> => {
    if (level > o.depth) return;
    const pairs = new Map<string, Pair>();
    for (const n of await childrenOf(left, a)) pairs.set(n.key, [n, undefined]);
    for (const n of await childrenOf(right, b)) pairs.set(inLeft(n.key), [pairs.get(inLeft(n.key))?.[0], n]);
    const size = ([x, y]: Pair): number => Math.max(Math.abs(x?.contribution ?? 0), Math.abs(y?.contribution ?? 0));
    const shown = [...pairs.values()].sort((x, y) => size(y) - size(x)).slice(0, o.top);
    for (const pair of shown) {
      out.push(rowOf(pair, level, left, right));
      await walk(pair, level + 1);
    }
  };
  await walk([await makeRoot(left, leftRoot), await makeRoot(right, rightRoot)], 1);
  return out;
}

function rowOf([a, b]: Pair, level: number, left: PromptRun, right: PromptRun): Branch {
  const at = (n: TreeNode | undefined, run: PromptRun): string | null =>
    n?.position === undefined ? null : `${JSON.stringify(run.tokenText(n.position) ?? '')} @${n.position}`;
  const n = a ?? b;
  const what = (n?.key ?? '').replace(/(@|^s)\d+$/, '');
  const places = [...new Set([at(a, left), at(b, right)])].filter((x) => x !== null);
  return {
    branch: `${'\u2003'.repeat(level - 1)}${what === '' ? '←' : what} ${places.join(' | ')}`,
    level,
    left: a?.contribution ?? null,
    right: b?.contribution ?? null,
    difference: (b?.contribution ?? 0) - (a?.contribution ?? 0),
  };
}
