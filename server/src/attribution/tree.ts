import { throwIfCancelled, UsageError } from '../errors';
import { cutToTop, expand, type ExpandOptions } from './expand';
import { makeRoot, type RootSpec } from './roots';
import { type NodeKind, type PromptState, type TreeNode, type View } from './types';

/** A node as it is printed and sent (interface: "tree"). */
export interface NodeJson {
  id: string;
  kind: NodeKind;
  site?: string;
  layer?: number;
  position?: number;
  head?: number;
  feature?: number;
  /** Text of the token at the position; of the target for logit roots; null without a tokenizer. */
  token?: string | null;
  /** Vocabulary id behind `token`. */
  tokenId?: number;
  /** For a logit difference, what is subtracted. */
  tokenMinus?: { id: number; text: string | null };
  /** Which bias. */
  name?: string;
  activation?: number;
  value: number;
  contribution: number;
  share: number;
  remainder?: number;
  cut?: { count: number; sum: number };
  view?: View;
  children: NodeJson[];
}

export interface TreeOptions extends ExpandOptions {
  /** Printed levels below the root. */
  depth: number;
  /** Feature and source-token children kept at each node. */
  top: number;
  signal?: AbortSignal;
}

/** A node without its children. */
export function nodeJson(state: PromptState, node: TreeNode): NodeJson {
  const { open: _open, key: _key, tokenIds, ...plain } = node;
  const json: NodeJson = { ...plain, children: [] };
  if (tokenIds) {
    json.tokenId = tokenIds[0];
    json.token = state.vocabularyText(tokenIds[0]);
    if (tokenIds.length > 1) json.tokenMinus = { id: tokenIds[1], text: state.vocabularyText(tokenIds[1]) };
  } else if (node.position !== undefined) {
    json.tokenId = state.trace.tokens[node.position];
    json.token = state.tokenText(node.position);
  }
  return json;
}

async function grow(state: PromptState, node: TreeNode, options: TreeOptions, depth: number): Promise<NodeJson> {
  throwIfCancelled(options.signal);
  const json = nodeJson(state, node);
  if (depth >= options.depth) return json;
  const expansion = await expand(state, node, options);
  if (!expansion) return json;
  const { shown, cut } = cutToTop(expansion.children, options.top);
  json.remainder = expansion.remainder;
  json.cut = { count: cut.length, sum: cut.reduce((s, c) => s + c.contribution, 0) };
  if (expansion.view) json.view = expansion.view;
  for (const child of shown) json.children.push(await grow(state, child, options, depth + 1));
  return json;
}

/** The recursive DFA tree from a root, to a depth. Throws RemainderError at the first node whose sums do not hold. */
export async function buildTree(state: PromptState, spec: RootSpec, options: TreeOptions): Promise<NodeJson> {
  return grow(state, await makeRoot(state, spec), options, 0);
}

async function findChild(state: PromptState, node: TreeNode, id: string): Promise<TreeNode | undefined> {
  const by = /~h\d+s\d+$/.test(id) ? 'head' : 'source';
  for (const view of ['residual', 'component'] as const) {
    const found = (await expand(state, node, { view, by }))?.children.find((c) => c.id === id);
    if (found) return found;
  }
  return undefined;
}

/**
 * Follows an id from its root: the nodes on the path, root first. Ids name their view, so either view's ids are found.
 * Throws UsageError when a step does not exist.
 */
export async function findPath(state: PromptState, spec: RootSpec, id: string): Promise<TreeNode[]> {
  const root = await makeRoot(state, spec);
  if (id !== root.id && !id.startsWith(`${root.id}~`))
    throw new UsageError(`node ${id} is not in the tree of ${root.id}`);
  const path = [root];
  let at = root.id;
  for (const step of id.slice(root.id.length).split('~').slice(1)) {
    at += `~${step}`;
    const child = await findChild(state, path[path.length - 1], at);
    if (!child) throw new UsageError(`node ${path[path.length - 1].id} has no child "${step}"`);
    path.push(child);
  }
  return path;
}
