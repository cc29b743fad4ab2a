import type { FeatureDashboard } from '../../protocol/corpus';
import { featureDetails, residualLens } from '../analyses';
import { type Engine } from '../engine';

const TOP = 10;

/** What a script needs to compute a feature's dashboard again: activations of the strongest examples, heads, logits, residual lens. */
export async function featureSpec(
  engine: Engine,
  site: string,
  feature: number,
  dashboard: FeatureDashboard | null,
): Promise<unknown> {
  const details = await featureDetails(engine, site, feature, TOP);
  const lens = await residualLens(engine, site, feature, TOP);
  const examples = dashboard?.top ?? [];
  const table = <T>(list: readonly T[], name: (x: T, i: number) => string, row: (x: T) => object): object =>
    Object.fromEntries(list.map((x, i) => [name(x, i), row(x)]));
  return {
    model: { path: engine.model.weights.path, contract: engine.contract },
    sites: [...engine.dictionaries.values()].map(({ site: name, kind, layer, path }) => ({
      site: name,
      kind,
      layer,
      path,
    })),
    cases: [],
    values: {},
    data: {
      site,
      feature,
      examples: examples.map(({ prompt, position }) => ({
        tokens: engine.prompt(prompt.text, prompt.bos).tokens,
        position,
      })),
    },
    expected: {
      examples: table(
        examples,
        (_, i) => String(i),
        ({ activation }) => ({ activation }),
      ),
      heads: table(
        details.headShares ?? [],
        (_, h) => String(h),
        (share) => ({ share }),
      ),
      logits: table(
        [...details.positive, ...details.negative],
        (e) => String(e.id),
        ({ effect }) => ({ effect }),
      ),
      lens: table(
        lens?.entries ?? [],
        (e) => `${e.site}/${e.feature}`,
        ({ weight }) => ({ weight }),
      ),
    },
    tolerance: 2e-3,
  };
}
