import { UsageError } from '../errors';
import { activationAt } from '../dictionaries';
import { openFeature, openLogit } from './openings';
import { type NodeKind, type PromptState, type TreeNode } from './types';

/** What a tree starts from. */
export type RootSpec =
  | { type: 'feature'; site: string; feature: number; position: number }
  /** One token: its logit at the position. Two: the difference, first minus second. */
  | { type: 'logit'; tokens: number[]; position: number };

/** The root's id: the same for every way of writing it. */
export function rootId(spec: RootSpec): string {
  if (spec.type === 'feature') return `${spec.site}/${spec.feature}@${spec.position}`;
  return `${spec.tokens.length > 1 ? 'logitdiff' : 'logit'}:${spec.tokens.join('|')}@${spec.position}`;
}

const FEATURE_KINDS: Record<string, NodeKind> = {
  attention: 'attention-feature',
  residual: 'residual-feature',
  transcoder: 'transcoder-feature',
};

/** Kind of the nodes of a site's features. */
export function featureKind(state: PromptState, site: string): NodeKind {
  const d = state.dictionary(site);
  if (!d) throw new UsageError(`no dictionary is loaded on ${site}`);
  return FEATURE_KINDS[d.kind];
}

function checkPosition(state: PromptState, position: number): void {
  const S = state.trace.tokens.length;
  if (!Number.isInteger(position) || position < 0 || position >= S) {
    throw new UsageError(`position ${position} is outside the prompt (0 to ${S - 1})`);
  }
}

/** Pre-activation of a feature in the forward pass: the encoder's own output where it is active. */
export async function preActivation(
  state: PromptState,
  site: string,
  feature: number,
  position: number,
): Promise<{ activation: number; preActivation: number }> {
  const dictionary = state.dictionary(site);
  if (!dictionary) throw new UsageError(`no dictionary is loaded on ${site}`);
  dictionary.checkFeature(feature);
  checkPosition(state, position);
  const acts = await state.acts(site);
  const activation = activationAt(acts, position, feature);
  if (activation > 0) return { activation, preActivation: activation };
  const p = dictionary.preActivation(
    feature,
    state.siteInput(site),
    position * dictionary.config.d_in,
    acts.norms[position],
  );
  return { activation: 0, preActivation: p };
}

/** Makes the root node, its value read from the forward pass. Throws UsageError for what the run does not have. */
export async function makeRoot(state: PromptState, spec: RootSpec): Promise<TreeNode> {
  checkPosition(state, spec.position);
  const id = rootId(spec);
  const { position } = spec;
  if (spec.type === 'feature') {
    const { site, feature } = spec;
    const kind = featureKind(state, site);
    const { activation, preActivation: value } = await preActivation(state, site, feature, position);
    const layer = state.dictionary(site)?.layer;
    const open = (): ReturnType<typeof openFeature> => openFeature(state, site, feature, position);
    return {
      id,
      key: '',
      kind,
      site,
      layer,
      feature,
      position,
      activation,
      value,
      contribution: value,
      share: 1,
      open,
    };
  }
  const { tokens } = spec;
  for (const t of tokens) {
    if (!Number.isInteger(t) || t < 0 || t >= state.weights.config.d_vocab) {
      throw new UsageError(`token ${t} is outside the vocabulary (0 to ${state.weights.config.d_vocab - 1})`);
    }
  }
  const { logits } = await state.logitsAt(position);
  const value = tokens.length > 1 ? logits[tokens[0]] - logits[tokens[1]] : logits[tokens[0]];
  const kind = tokens.length > 1 ? 'logit-difference' : 'logit';
  const open = (): ReturnType<typeof openLogit> => openLogit(state, tokens, position);
  return { id, key: '', kind, position, tokenIds: tokens, value, contribution: value, share: 1, open };
}
