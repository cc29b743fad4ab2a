import { UsageError } from '../errors';
import { addScaled, mean } from '../maths';
import { residMid, residPre } from './streams';
import { type AttentionOpening, type Opening, type PromptState } from './types';

/** centre(v): v minus its mean, in place. */
function centred(v: Float64Array): Float64Array {
  const m = mean(v);
  for (let i = 0; i < v.length; i++) v[i] -= m;
  return v;
}

/**
 * How a feature's pre-activation opens: along its encoder column, with the site's normalisation and LayerNorm scale frozen.
 * Reference attention-saes §7.2.
 */
export async function openFeature(
  state: PromptState,
  site: string,
  feature: number,
  position: number,
): Promise<Opening> {
  const dictionary = state.dictionary(site);
  if (!dictionary) throw new UsageError(`no dictionary is loaded on ${site}`);
  const acts = await state.acts(site);
  const direction = dictionary.readDirection(feature, acts.norms[position]);
  const constant = { name: 'c_f', value: dictionary.constant(feature) };
  const { layer } = dictionary;
  if (dictionary.kind === 'attention') return { type: 'attention', layer, position, direction, constant };
  if (dictionary.kind === 'residual') {
    const point = residPre(site.endsWith('hook_resid_post') ? layer + 1 : layer, state.weights.config.n_layers);
    return { type: 'stream', point, position, direction, residualView: false, constants: [constant] };
  }
  const sigma = state.trace.layers[layer].ln2_scale[position];
  const g = centred(direction).map((v) => v / sigma);
  return { type: 'stream', point: residMid(layer), position, direction: g, residualView: false, constants: [constant] };
}

/**
 * How a logit, or the difference of two, opens at a position: g = centre(γ_f ⊙ (W_U[:,t] − W_U[:,u]))/σ_f, the second column being
 * the vocabulary mean for a single centred logit; constant β_f · (the same columns).
 */
export async function openLogit(state: PromptState, tokens: number[], position: number): Promise<Opening> {
  const { weights, contract } = state;
  const column = Float64Array.from(weights.unembedding(tokens[0]));
  if (tokens.length > 1) addScaled(column, -1, weights.unembedding(tokens[1]));
  else if (contract.center_unembed) addScaled(column, -1, weights.meanUnembedding());
  const { scale } = await state.logitsAt(position);
  let bias = 0;
  for (let i = 0; i < column.length; i++) bias += weights.lnFBias[i] * column[i];
  const g = centred(column.map((c, i) => c * weights.lnFWeight[i])).map((v) => v / scale);
  const { n_layers } = weights.config;
  return {
    type: 'stream',
    point: residPre(n_layers, n_layers),
    position,
    direction: g,
    residualView: true,
    constants: [{ name: 'b_U', value: bias }],
  };
}

/** How an opaque attention layer's write opens along a direction on the stream: like a feature whose direction on z is W_O g. */
export function openAttention(state: PromptState, layer: number, position: number, g: Float64Array): AttentionOpening {
  const { contract, weights } = state;
  const direction = weights.outputDirection(layer, contract.center_writing_weights ? centred(Float64Array.from(g)) : g);
  const b_O = state.constants(layer).b_O;
  let constant = 0;
  for (let i = 0; i < g.length; i++) constant += g[i] * b_O[i];
  return { type: 'attention', layer, position, direction, constant: { name: 'b_O', value: constant } };
}
