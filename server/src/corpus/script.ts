import type { FeatureDashboard } from '../../protocol/corpus';
import { featureDetails, residualLens } from '../analyses';
import { type Engine } from '../engine';
import { type Expected, scriptBase } from '../python';

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
  const table = <T>(
    list: readonly T[],
    name: (x: T, i: number) => string,
    row: (x: T) => Record<string, number>,
  ): Expected[string] => Object.fromEntries(list.map((x, i) => [name(x, i), row(x)]));
  const expected = {
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
  };
  return {
    ...scriptBase(engine, expected),
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
  };
}
