import { type Requests } from '../../protocol';
import { featureSpec } from '../corpus';
import { type Engine } from '../engine';
import { type Case, experimentOf, scriptOf } from '../experiments';
import { pythonScript } from '../python';
import { type CorpusHost } from './corpus';
import { type ModelHost } from './modelHost';

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
