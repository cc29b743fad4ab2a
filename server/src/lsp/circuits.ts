import type { WireNode } from '../../protocol';
import type { OpenedCircuit } from '../../protocol/circuit';

/** A saved circuit with the labels that the workspace has now, where it has some: labels are not what was computed. */
export function relabelled(
  opened: OpenedCircuit,
  labelOf: (model: string, site: string, feature: number) => string | undefined,
): OpenedCircuit {
  const { circuit } = opened;
  const model = circuit.identity?.model.name;
  if (model === undefined) return opened;
  const titled = (n: WireNode): WireNode => {
    const title = n.site === undefined || n.feature === undefined ? undefined : labelOf(model, n.site, n.feature);
    return title === undefined ? n : { ...n, title };
  };
  const expansions = circuit.tree.expansions.map((e) => ({ ...e, children: e.children.map(titled) }));
  return { ...opened, circuit: { ...circuit, tree: { root: titled(circuit.tree.root), expansions } } };
}
