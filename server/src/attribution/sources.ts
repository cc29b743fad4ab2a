import { dot } from '../maths';
import { headBySource, sumGrid } from './dfa';
import { openAttention } from './openings';
import { type AttentionOpening, type PromptState, type TreeNode } from './types';

/**
 * Direct contribution of each prompt position to a node's value [S], constants left out. For attention: the DFA by source. For a
 * direction g on the stream at P: what attention wrote at P counts for the source it came from (Σ over layers of the layer's own DFA along
 * W_O g), everything else written at P (embeddings, MLPs) for P. A leaf counts for its own position.
 */
export async function sourceAttribution(state: PromptState, node: TreeNode): Promise<number[]> {
  const S = state.trace.tokens.length;
  const out = new Array<number>(S).fill(0);
  const opening = await node.open?.();
  if (!opening) {
    if (node.position !== undefined) out[node.position] = node.value;
    return out;
  }
  const add = (o: AttentionOpening): void => {
    sumGrid(headBySource(state, o.layer, o.position, o.direction)).bySource.forEach((v, s) => (out[s] += v));
  };
  if (opening.type === 'attention') {
    add(opening);
    return out;
  }
  const { point, position, direction } = opening;
  const d = direction.length;
  out[position] += dot(direction, state.embedding(position)) + dot(direction, state.positionEmbedding(position));
  for (let l = 0; l < point.attn; l++) {
    add(openAttention(state, l, position, direction));
    if (l < point.mlp) out[position] += dot(direction, state.trace.layers[l].mlp_out, d, 0, position * d);
  }
  return out;
}
