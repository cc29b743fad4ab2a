import { type NodeJson, type RootSpec } from '../attribution';
import { type Engine } from '../engine';
import { type Expected, scriptBase } from './spec';

interface ScriptNode extends Pick<NodeJson, 'id' | 'kind' | 'site' | 'layer' | 'position' | 'head' | 'feature'> {
  children: ScriptNode[];
}

/** What a script needs to compute a tree's contributions again: all that are shown, or those on the path to one node. */
export function treeSpec(engine: Engine, tokens: readonly number[], root: RootSpec, tree: NodeJson): unknown {
  const expected: Expected[string] = {};
  const strip = (n: NodeJson): ScriptNode => {
    expected[n.id] = { contribution: n.contribution };
    const { id, kind, site, layer, position, head, feature } = n;
    return { id, kind, site, layer, position, head, feature, children: n.children.map(strip) };
  };
  const stripped = strip(tree);
  return {
    ...scriptBase(engine, { tree: expected }),
    cases: [{ name: 'prompt', tokens }],
    values: {},
    data: { tree: stripped, root },
  };
}
