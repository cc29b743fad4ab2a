import { type NodeJson, type NodeKind } from '../attribution';
import { quote } from './format';

/** The sign of each kind of node, so that kinds are told without colour. */
export const GLYPHS: Readonly<Record<NodeKind, string>> = {
  logit: '◎',
  'logit-difference': '◎',
  'attention-feature': '▲',
  'source-token': '←',
  'head-source': '←',
  'residual-feature': '●',
  'transcoder-feature': '■',
  attn: '△',
  mlp: '□',
  skip: '□',
  error: '✕',
  bias: '·',
  'token-embedding': '¶',
  'position-embedding': '¶',
};

/** The token at a node, quoted, with a space in front. */
const tokenOf = (n: NodeJson): string => (n.token == null ? '' : ` ${quote(n.token)}`);
const atOf = (n: NodeJson): string => (n.position === undefined ? '' : ` @${n.position}`);
const targetOf = (n: NodeJson): string => tokenOf(n) || ` ${n.tokenId}`;
const featureOf = (n: NodeJson): string => `${n.site}/${n.feature}${atOf(n)}${tokenOf(n)}`;

function biasLabel(n: NodeJson): string {
  if (n.name === 'b_dec') return `bias b_dec of ${n.site}`;
  return n.name === 'b_O' ? `bias b_O of layer ${n.layer}` : `bias ${n.name}`;
}

const LABELS: Record<NodeKind, (n: NodeJson) => string> = {
  logit: (n) => `logit of${targetOf(n)}${atOf(n)}`,
  'logit-difference': (n) =>
    `logit of${targetOf(n)} minus ${n.tokenMinus?.text == null ? n.tokenMinus?.id : quote(n.tokenMinus.text)}${atOf(n)}`,
  'attention-feature': featureOf,
  'residual-feature': featureOf,
  'transcoder-feature': featureOf,
  'source-token': (n) => `attends to${atOf(n)}${tokenOf(n)}`,
  'head-source': (n) => `head ${n.layer}.${n.head} attends to${atOf(n)}${tokenOf(n)}`,
  attn: (n) => `attention of layer ${n.layer}${atOf(n)}`,
  mlp: (n) => `MLP of layer ${n.layer}${atOf(n)}`,
  skip: (n) => `skip of ${n.site}${atOf(n)}`,
  error: (n) => `error of ${n.site}${atOf(n)}`,
  bias: biasLabel,
  'token-embedding': (n) => `embedding of${targetOf(n)}${atOf(n)}`,
  'position-embedding': (n) => `position${atOf(n)}`,
};

/** A node's name in one line of plain text. */
export const nodeLabel = (n: NodeJson): string => LABELS[n.kind](n);

const STREAMS: Partial<Record<NodeKind, string>> = {
  'attention-feature': 'attn',
  'residual-feature': 'resid',
  'transcoder-feature': 'mlp',
};

/** A node's name where room is short: features as `attn 2.74 @14 ‘ to’`, sources as `‘ Mary’ @4`. */
export function shortLabel(n: NodeJson): string {
  const stream = STREAMS[n.kind];
  if (stream) return `${stream} ${n.layer}.${n.feature}${tokenOf(n)}${atOf(n)}`;
  if (n.kind === 'source-token') return `from${tokenOf(n)}${atOf(n)}`;
  if (n.kind === 'head-source') return `head ${n.layer}.${n.head} from${tokenOf(n)}${atOf(n)}`;
  return nodeLabel(n);
}
