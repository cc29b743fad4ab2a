import { type Requests, type RootRef } from '../../protocol';
import { featureSpec } from '../corpus';
import { type Engine } from '../engine';
import { type Case, experimentOf, scriptOf } from '../experiments';
import { pythonScript, treeSpec } from '../python';
import { type NodeJson, nodeJson, rootId } from '../attribution';
import { type CorpusHost } from './corpus';
import { type Analysis, type ModelHost } from './modelHost';
import { nodeOf } from './trees';

/** A script for an experiment's tables. */
export async function experimentScript(
  host: ModelHost,
  engine: Engine,
  cases: Case[],
  q: Requests['attentionCircuits/experimentScript']['params'],
  signal: AbortSignal,
): Promise<string> {
  const { title } = experimentOf(q.id);
  const spec = await host.scheduler.run('interactive', signal, () =>
    scriptOf(q.id, engine, cases, q.values, q.tables, { signal }),
  );
  return pythonScript(host.home, title, q.id, spec);
}

/** A script for nodes of a tree and what lies between them and the root. */
export async function treeScript(
  host: ModelHost,
  a: Analysis,
  root: RootRef,
  nodes: readonly string[],
): Promise<string> {
  const byId = new Map<string, NodeJson>();
  const take = async (id: string): Promise<NodeJson> => {
    const have = byId.get(id);
    if (have) return have;
    const json = nodeJson(a.run, await nodeOf(a.run, root, id));
    byId.set(id, json);
    if (id !== rootId(root)) (await take(id.slice(0, id.lastIndexOf('~')))).children.push(json);
    return json;
  };
  const tree = await take(rootId(root));
  for (const id of nodes) await take(id);
  return pythonScript(host.home, 'A tree', 'tree', treeSpec(a.engine, a.prompt.tokens, root, tree));
}

/** A script for what a feature's view shows: examples, heads, logits, residual lens. */
export async function featureScript(
  host: ModelHost,
  engine: Engine,
  corpus: CorpusHost,
  { site, feature }: { site: string; feature: number },
): Promise<string> {
  const { dashboard } = await corpus.dashboard(site, feature);
  const spec = await featureSpec(engine, site, feature, dashboard);
  return pythonScript(host.home, `Feature ${site}/${feature}`, 'feature', spec);
}
