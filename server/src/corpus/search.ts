import type { FoundFeature } from '../../protocol/corpus';
import { type PromptRun } from '../engine';

/** Features that fire in a prompt beyond its first token, by their strongest activation there. */
export async function featuresOfPrompt(
  run: PromptRun,
  sites: Iterable<string>,
  limit: number,
): Promise<FoundFeature[]> {
  const found: (FoundFeature & { activation: number })[] = [];
  for (const site of sites) {
    const acts = await run.acts(site);
    const best = new Map<number, { position: number; activation: number }>();
    for (let p = 1; p + 1 < acts.offsets.length; p++) {
      for (let i = acts.offsets[p]; i < acts.offsets[p + 1]; i++) {
        const activation = acts.activations[i];
        if (activation > (best.get(acts.features[i])?.activation ?? 0))
          best.set(acts.features[i], { position: p, activation });
      }
    }
    for (const [feature, { position, activation }] of best)
      found.push({ site, feature, activation, text: `⟦${run.tokenText(position) ?? ''}⟧ @${position}` });
  }
  return found.sort((a, b) => b.activation - a.activation).slice(0, limit);
}
