import { type NodeJson, type RootSpec } from '../attribution';
import { type Engine } from '../engine';

const TOLERANCE = 2e-3;

interface ScriptNode extends Pick<NodeJson, 'id' | 'kind' | 'site' | 'layer' | 'position' | 'head' | 'feature'> {
  children: ScriptNode[];
}

/** What a script needs to compute a tree's contributions again: all that are shown, or those on the path to one node. */
export function treeSpec(engine: Engine, tokens: readonly number[], root: RootSpec, tree: NodeJson): unknown {
  const expected: Record<string, { contribution: number }> = {};
  const strip = (n: NodeJson): ScriptNode => {
    expected[n.id] = { contribution: n.contribution };
    const { id, kind, site, layer, position, head, feature } = n;
    return { id, kind, site, layer, position, head, feature, children: n.children.map(strip) };
  };
  const stripped = strip(tree);
  return {
    model: { path: engine.model.weights.path, contract: engine.contract },
    sites: [...engine.dictionaries.values()].map(({ site, kind, layer, path }) => ({ site, kind, layer, path })),
    cases: [{ name: 'prompt', tokens }],
    values: {},
    data: { tree: stripped, root },
    expected: { tree: expected },
    tolerance: TOLERANCE,
  };
}
