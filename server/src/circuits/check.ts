import type { CircuitCheck, CircuitFile, Difference, Identity } from '../../protocol/circuit';
import { expand, findPath, makeRoot, rootId, type TreeNode } from '../attribution';
import { type Engine } from '../engine';
import { EngineError, throwIfCancelled } from '../errors';
import { identityOf } from './file';

const TOLERANCE = 1e-3;
const MOST = 200;

/** How two identities differ, in words. */
function changes(stored: Identity | null, now: Identity): string[] {
  if (!stored) return ['the file does not say which weights it was made with'];
  const out: string[] = [];
  if (stored.model.sha256 !== now.model.sha256)
    out.push(`the model is another one (${now.model.name}; it was ${stored.model.name})`);
  const sites = new Map(now.dictionaries.map((d) => [d.site, d.sha256]));
  for (const { site, sha256 } of stored.dictionaries) {
    const have = sites.get(site);
    if (have === undefined) out.push(`there is no dictionary on ${site} now`);
    else if (have !== sha256) out.push(`the dictionary on ${site} is another one`);
    sites.delete(site);
  }
  for (const site of sites.keys()) out.push(`there was no dictionary on ${site}`);
  for (const [flag, value] of Object.entries(now.contract))
    if (stored.contract[flag] !== value) out.push(`${flag} is ${value}, it was ${stored.contract[flag]}`);
  return out;
}

/**
 * Computes every number of a circuit again with the loaded model: the root's value, and value and children of each opened node. Differences are
 * relative to max(1, |stored|). A node that cannot be found any more counts as a difference without a number. Throws CancelledError, and the
 * engine's errors where the prompt itself cannot be analysed.
 */
export async function checkCircuit(engine: Engine, circuit: CircuitFile, signal?: AbortSignal): Promise<CircuitCheck> {
  const { prompt, root: spec, tree } = circuit;
  const run = await engine.run(engine.prompt(prompt.text, prompt.bos).tokens, undefined, signal);
  const root = await makeRoot(run, spec);
  const result: CircuitCheck = {
    identity: changes(circuit.identity, identityOf(engine)),
    numbers: 0,
    worst: 0,
    tolerance: TOLERANCE,
    differences: [],
  };
  const note = (d: Difference): void => {
    if (result.differences.length < MOST) result.differences.push(d);
  };
  const compare = (node: string, what: string, stored: number, got: number | null): void => {
    result.numbers++;
    const miss = got === null ? Infinity : Math.abs(stored - got) / Math.max(1, Math.abs(stored));
    if (!(miss <= TOLERANCE)) note({ node, what, stored, got });
    if (Number.isFinite(miss)) result.worst = Math.max(result.worst, miss);
  };
  compare(tree.root.id, 'value', tree.root.value, root.value);
  const find = async (id: string): Promise<TreeNode | null> => {
    if (id === rootId(spec)) return root;
    try {
      return (await findPath(run, spec, id)).at(-1) ?? null;
    } catch (e) {
      if (e instanceof EngineError) return null;
      throw e;
    }
  };
  for (const e of tree.expansions) {
    throwIfCancelled(signal);
    const found = await find(e.id);
    const now = found && (await expand(run, found, { view: e.view, by: e.by }));
    compare(e.id, 'value', e.value, found?.value ?? null);
    const children = new Map(now?.children.map((c) => [c.id, c.contribution]) ?? []);
    for (const c of e.children) compare(c.id, 'contribution', c.contribution, children.get(c.id) ?? null);
  }
  return result;
}
