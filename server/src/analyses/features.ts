import { headBySource, sumGrid } from '../attribution';
import { activationAt, type Dictionary, type DictionaryKind, IDENTITY_NORM } from '../dictionaries';
import { type Engine, type PromptRun } from '../engine';
import { dot } from '../maths';
import { headSharesOf } from './heads';

/** A feature active at a token. */
export interface FiringFeature {
  site: string;
  kind: DictionaryKind;
  layer: number;
  feature: number;
  activation: number;
  /** Attention: the head with the largest |sum|, its share of Σ_h |sum_h|, and the source where that head's part is largest in size. */
  head?: { head: number; share: number; source: number };
}

function carrier(run: PromptRun, layer: number, position: number, direction: Float64Array): FiringFeature['head'] {
  const grid = headBySource(run, layer, position, direction);
  const { byHead } = sumGrid(grid);
  const total = byHead.reduce((s, x) => s + Math.abs(x), 0);
  const head = byHead.reduce((best, x, h) => (Math.abs(x) > Math.abs(byHead[best]) ? h : best), 0);
  const source = grid[head].reduce((best, x, s) => (Math.abs(x) > Math.abs(grid[head][best]) ? s : best), 0);
  return { head, share: total === 0 ? 0 : Math.abs(byHead[head]) / total, source };
}

/** The strongest active features of every dictionary at a position: `limit` a site, by layer, then activation. */
export async function featuresAt(
  run: PromptRun,
  dictionaries: Iterable<Dictionary>,
  position: number,
  limit: number,
): Promise<FiringFeature[]> {
  const out: FiringFeature[] = [];
  const ordered = [...dictionaries].sort((a, b) => a.layer - b.layer);
  for (const d of ordered) {
    const acts = await run.acts(d.site);
    const here: FiringFeature[] = [];
    for (let i = acts.offsets[position]; i < acts.offsets[position + 1]; i++) {
      const { site, kind, layer } = d;
      here.push({ site, kind, layer, feature: acts.features[i], activation: acts.activations[i] });
    }
    here.sort((a, b) => b.activation - a.activation || a.feature - b.feature);
    for (const f of here.slice(0, limit)) {
      if (d.kind === 'attention') {
        f.head = carrier(run, d.layer, position, d.readDirection(f.feature, acts.norms[position]));
      }
      out.push(f);
    }
  }
  return out;
}

/** Activations of one feature over a prompt [S]. */
export async function activationsOf(run: PromptRun, site: string, feature: number): Promise<number[]> {
  const acts = await run.acts(site);
  return Array.from({ length: acts.offsets.length - 1 }, (_, s) => activationAt(acts, s, feature));
}

/** What a feature is, whatever the prompt. */
export interface FeatureDetails {
  /** ‖W_dec[f, head]‖ over Σ_heads, attention dictionaries only (reference attention-saes §8). */
  headShares: number[] | null;
  /** Strongest direct effects on the logits of one unit of activation: write · γ_f · W_U, LayerNorm scale left out. */
  positive: { id: number; text: string | null; effect: number }[];
  negative: { id: number; text: string | null; effect: number }[];
}

/** A feature that reads, and the weight with which it reads what another writes. */
export interface LensEntry {
  site: string;
  feature: number;
  weight: number;
}

/**
 * Residual lens, weights only (reference attention-saes §9): what a feature writes into the stream, d_f W_O, along every encoder column of the
 * next residual dictionary after it; LayerNorm and normalisation left out. The `top` largest each way, or null where no such dictionary is
 * loaded. Throws UsageError for unknown sites and features.
 */
export async function residualLens(
  engine: Engine,
  site: string,
  feature: number,
  top: number,
): Promise<{ site: string; entries: LensEntry[] } | null> {
  const d = engine.dictionary(site);
  d.checkFeature(feature);
  const after = (r: Dictionary): number => (r.site.endsWith('hook_resid_post') ? r.layer + 1 : r.layer);
  const from = d.kind === 'residual' ? after(d) + 1 : d.layer + 1;
  const [next] = [...engine.dictionaries.values()]
    .filter((r) => r.kind === 'residual' && after(r) >= from)
    .sort((a, b) => after(a) - after(b) || a.site.length - b.site.length);
  if (!next) return null;
  const written = await writtenBy(engine, d, feature);
  const weights = Float64Array.from({ length: next.config.d_sae }, (_, f) =>
    dot(next.readDirection(f, IDENTITY_NORM), written),
  );
  const entries = [...weights].map((weight, f) => ({ site: next.site, feature: f, weight }));
  entries.sort((a, b) => b.weight - a.weight);
  const shown = 2 * top >= entries.length ? entries : [...entries.slice(0, top), ...entries.slice(-top)];
  return { site: next.site, entries: shown };
}

/** What one unit of a feature writes into the stream [d_model]. */
async function writtenBy(engine: Engine, d: Dictionary, feature: number): Promise<Float32Array> {
  const row = await d.writes(Int32Array.of(feature), Float32Array.of(1), Int32Array.of(0), [IDENTITY_NORM]);
  return d.kind === 'attention' ? engine.model.project(d.layer, row) : row;
}

/** Decoder head shares and direct logit effects of a feature. Throws UsageError for unknown sites and features. */
export async function featureDetails(
  engine: Engine,
  site: string,
  feature: number,
  top: number,
): Promise<FeatureDetails> {
  const d = engine.dictionary(site);
  d.checkFeature(feature);
  const { d_model, d_head, n_heads } = engine.model.config;
  const row = await d.writes(Int32Array.of(feature), Float32Array.of(1), Int32Array.of(0), [IDENTITY_NORM]);
  let headShares: number[] | null = null;
  let written = row;
  if (d.kind === 'attention') {
    headShares = headSharesOf(row, n_heads, d_head);
    written = await engine.model.project(d.layer, row);
  }
  const rows = new Float32Array(2 * d_model);
  rows.set(written);
  const { logits } = await engine.model.unembed(rows, Float32Array.of(1, 1));
  const V = engine.model.config.d_vocab;
  const effects = Array.from({ length: V }, (_, id) => ({ id, effect: logits[id] - logits[V + id] }));
  effects.sort((a, b) => b.effect - a.effect);
  const named = (e: { id: number; effect: number }): FeatureDetails['positive'][number] => ({
    ...e,
    text: engine.tokenizer?.text(e.id) ?? null,
  });
  return {
    headShares,
    positive: effects.slice(0, top).map(named),
    negative: effects.slice(-top).reverse().map(named),
  };
}
