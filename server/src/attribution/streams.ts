import { dot, dotWeights } from '../maths';
import { type NodeKind, type PromptState, type StreamPoint, type View } from './types';

/** One term of a decomposed stream: who wrote it and what it adds along the direction. */
export interface Term {
  /** Name within the parent, unique among its siblings. */
  key: string;
  kind: NodeKind;
  position: number;
  contribution: number;
  site?: string;
  layer?: number;
  feature?: number;
  activation?: number;
  name?: string;
}

/** `hook_resid_pre` of a layer; for the layer count itself, the stream after the last block. */
export function residPre(layer: number, nLayers: number): StreamPoint {
  const sites = layer < nLayers ? [`blocks.${layer}.hook_resid_pre`] : [];
  if (layer > 0) sites.push(`blocks.${layer - 1}.hook_resid_post`);
  return { attn: layer, mlp: layer, sites };
}

/** `hook_resid_mid` of a layer: what the MLP and its transcoder read. */
export function residMid(layer: number): StreamPoint {
  return { attn: layer + 1, mlp: layer, sites: [] };
}

/** The residual dictionary on exactly this point of the stream, or undefined. */
export function dictionaryOn(state: PromptState, point: StreamPoint): string | undefined {
  return point.sites.find((s) => state.dictionary(s)?.kind === 'residual');
}

async function siteTerms(
  state: PromptState,
  site: string,
  kind: NodeKind,
  position: number,
  g: Float64Array,
): Promise<Term[]> {
  const dictionary = state.dictionary(site);
  if (!dictionary) throw new Error(`no dictionary on ${site}`);
  const { layer } = dictionary;
  const w = await state.writes(site, position);
  const d = g.length;
  const terms: Term[] = [];
  for (let i = 0; i < w.features.length; i++) {
    terms.push({
      key: `${site}/${w.features[i]}@${position}`,
      kind,
      position,
      site,
      layer,
      feature: w.features[i],
      activation: w.activations[i],
      contribution: dotWeights(g, w.rows, d, 0, i * d),
    });
  }
  terms.push({
    position,
    key: `b_dec:${site}`,
    kind: 'bias',
    name: 'b_dec',
    site,
    layer,
    contribution: dot(g, w.bias),
  });
  if (w.skip) terms.push({ position, key: `skip:${site}`, kind: 'skip', site, layer, contribution: dot(g, w.skip) });
  terms.push({ position, key: `error:${site}`, kind: 'error', site, layer, contribution: dot(g, w.error) });
  return terms;
}

/** Names of the sites whose dictionaries open a layer's attention and MLP. */
export const attentionSite = (layer: number): string => `blocks.${layer}.attn.hook_z`;
export const transcoderSite = (layer: number): string => `blocks.${layer}.ln2.hook_normalized`;

async function componentTerms(
  state: PromptState,
  point: StreamPoint,
  position: number,
  g: Float64Array,
): Promise<Term[]> {
  const d = g.length;
  const terms: Term[] = [
    { position, key: 'embed', kind: 'token-embedding', contribution: dot(g, state.embedding(position)) },
    { position, key: 'pos', kind: 'position-embedding', contribution: dot(g, state.positionEmbedding(position)) },
  ];
  const opaque = (kind: 'attn' | 'mlp', layer: number, out: Float32Array): Term => ({
    key: `${kind}:${layer}`,
    kind,
    position,
    layer,
    contribution: dot(g, out, d, 0, position * d),
  });
  for (let l = 0; l < point.attn; l++) {
    if (state.dictionary(attentionSite(l))) {
      terms.push(...(await siteTerms(state, attentionSite(l), 'attention-feature', position, g)));
      terms.push({
        position,
        key: `b_O:${l}`,
        kind: 'bias',
        name: 'b_O',
        layer: l,
        contribution: dot(g, state.constants(l).b_O),
      });
    } else terms.push(opaque('attn', l, state.trace.layers[l].attn_out));
    if (l >= point.mlp) continue;
    if (state.dictionary(transcoderSite(l))) {
      terms.push(...(await siteTerms(state, transcoderSite(l), 'transcoder-feature', position, g)));
    } else terms.push(opaque('mlp', l, state.trace.layers[l].mlp_out));
  }
  return terms;
}

/**
 * Takes the stream at a position apart along a direction g [d_model]: terms whose contributions are dot products of g with each
 * component's own vector. In the residual view the dictionary on exactly that stream is used if one is loaded, else (and always in
 * the component view) what each upstream component wrote. Equations: reference attention-saes §7.2 (i) and (ii).
 */
export async function decomposeStream(
  state: PromptState,
  point: StreamPoint,
  position: number,
  g: Float64Array,
  view: View,
): Promise<{ view: View; terms: Term[] }> {
  const site = view === 'residual' ? dictionaryOn(state, point) : undefined;
  if (site) return { view: 'residual', terms: await siteTerms(state, site, 'residual-feature', position, g) };
  return { view: 'component', terms: await componentTerms(state, point, position, g) };
}
