import { type GraphNode, type PrunedGraph, type Scores } from '../attribution';
import { type Contract } from '../model';
import { cantorPair } from './cantor';

/** A node of an attribution-graph file (reference interop §1.4). Unknown fields travel along. */
export interface GraphFileNode {
  node_id: string;
  feature: number | null;
  layer: string;
  ctx_idx: number;
  feature_type: string;
  jsNodeId: string;
  clerp: string;
  token_prob?: number;
  is_target_logit?: boolean;
  run_idx?: number;
  reverse_ctx_idx?: number;
  influence?: number | null;
  activation?: number | null;
  [extra: string]: unknown;
}

export interface GraphFileLink {
  source: string;
  target: string;
  weight: number;
  [extra: string]: unknown;
}

/** An attribution graph in schema 1. */
export interface GraphFile {
  metadata: Record<string, unknown> & { slug: string; scan: string; prompt_tokens: string[]; prompt: string };
  qParams: Record<string, unknown>;
  nodes: GraphFileNode[];
  links: GraphFileLink[];
  [extra: string]: unknown;
}

/** What a graph file says beside nodes and links. */
export interface GraphDescription {
  slug: string;
  scan: string;
  prompt: string;
  promptTokens: string[];
  nodeThreshold: number;
  edgeThreshold: number;
  maxNodes: number;
  n_layers: number;
  d_vocab: number;
  view: string;
  contract: Contract;
  scores: Scores;
  /** Probability of the root token, where the root is a logit. */
  rootProbability: number | null;
  /** Text of a vocabulary id. */
  text: (id: number) => string;
  /** Hashes of model and dictionaries by name. */
  weights: Record<string, string>;
  cut: { count: number; absoluteWeight: number };
  version: string;
  /** How attention features are typed. */
  attentionType: 'lorsa' | 'cross layer transcoder';
}

const SITE_PREFIX: [RegExp, 'att' | 'res' | 'cro'][] = [
  [/attn\.hook_z$/, 'att'],
  [/hook_resid_(pre|post)$/, 'res'],
  [/ln2\.hook_normalized$/, 'cro'],
];

const prefixOf = (site: string | undefined): 'att' | 'res' | 'cro' | 'logit' =>
  SITE_PREFIX.find(([p]) => p.test(site ?? ''))?.[1] ?? 'logit';

/** Layer as files count it: `hook_resid_post` of a layer reads the stream of the next. */
const fileLayer = (n: GraphNode): number => (n.layer ?? 0) + (n.site?.endsWith('hook_resid_post') ? 1 : 0);

const BIAS_NAMES: Record<string, string> = {
  'b_O:': 'attn_bO',
  'b_dec:att': 'lorsa_bD',
  'b_dec:cro': 'tc_bD',
  'b_dec:res': 'res_bD',
  'c_f:att': 'c_att',
  'c_f:res': 'c_res',
  'c_f:cro': 'c_cro',
  'b_U:logit': 'logit_bU',
  'value-bias:att': 'attn_bV',
};

type Core = Pick<GraphFileNode, 'node_id' | 'feature' | 'layer' | 'feature_type' | 'jsNodeId' | 'clerp'>;

function biasCore(n: GraphNode, n_layers: number): Core {
  const prefix = prefixOf(n.site);
  const kind = n.name === 'b_O' ? 'attn_bO' : (BIAS_NAMES[`${n.name}:${prefix}`] ?? `${n.name}_${prefix}`);
  const layer = n.name === 'b_U' ? n_layers : fileLayer(n);
  const node_id = `${layer}_bias_${kind}_${n.position}`;
  return {
    node_id,
    feature: null,
    layer: String(layer),
    feature_type: 'bias',
    jsNodeId: node_id,
    clerp: `bias ${n.name}`,
  };
}

function errorCore(n: GraphNode): Core {
  const layer = fileLayer(n);
  const at = n.position ?? 0;
  const common = { feature: -1, layer: String(layer), jsNodeId: `${layer}_${at}-0` };
  if (n.kind === 'attn' || (n.kind === 'error' && prefixOf(n.site) === 'att')) {
    return {
      ...common,
      node_id: `${layer}_error_attn_${at}`,
      feature_type: 'lorsa error',
      clerp: n.kind === 'attn' ? `attention of layer ${layer}` : '',
    };
  }
  const type = 'mlp reconstruction error';
  if (n.kind === 'skip')
    return { ...common, node_id: `${layer}_error_skip_${at}`, feature_type: type, clerp: `skip of ${n.site}` };
  if (prefixOf(n.site) === 'res')
    return { ...common, node_id: `${layer}_error_res_${at}`, feature_type: type, clerp: `error of ${n.site}` };
  return {
    ...common,
    node_id: `${layer}_-1_${at}`,
    feature_type: type,
    clerp: n.kind === 'mlp' ? `MLP of layer ${layer}` : '',
  };
}

function core(n: GraphNode, d: GraphDescription): Core {
  const at = n.position ?? 0;
  if (n.kind === 'token-embedding' && n.tokenIds) {
    const id = n.tokenIds[0];
    return {
      node_id: `E_${id}_${at}`,
      feature: at,
      layer: 'E',
      feature_type: 'embedding',
      jsNodeId: `E_${id}-${at}`,
      clerp: d.text(id),
    };
  }
  if (n.kind === 'position-embedding') {
    return {
      node_id: `E_pos_${at}`,
      feature: at,
      layer: 'E',
      feature_type: 'embedding',
      jsNodeId: `E_pos-${at}`,
      clerp: `position ${at}`,
    };
  }
  if (n.tokenIds) {
    const layer = d.n_layers + 1;
    const difference = n.tokenIds.length > 1;
    const vocab = difference ? d.d_vocab : n.tokenIds[0];
    const words = difference
      ? `"${d.text(n.tokenIds[0])}" minus "${d.text(n.tokenIds[1])}"`
      : `"${d.text(n.tokenIds[0])}"`;
    const clerp = `Output ${words} (p=${(d.rootProbability ?? 1).toFixed(3)})`;
    return {
      node_id: `${layer}_${vocab}_${at}`,
      feature: vocab,
      layer: String(layer),
      feature_type: 'logit',
      jsNodeId: `L_${vocab}-${at}`,
      clerp,
    };
  }
  if (n.feature !== undefined) {
    const layer = fileLayer(n);
    const prefix = prefixOf(n.site);
    return {
      node_id: `${layer}_${prefix}_${n.feature}_${at}`,
      feature: cantorPair(layer, n.feature),
      layer: String(layer),
      feature_type: prefix === 'att' ? d.attentionType : 'cross layer transcoder',
      jsNodeId: `${layer}_${n.feature}-0`,
      clerp: '',
    };
  }
  return n.kind === 'bias' ? biasCore(n, d.n_layers) : errorCore(n);
}

function fileNode(n: PrunedGraph['nodes'][number], root: boolean, d: GraphDescription): GraphFileNode {
  const { position, influence, activation, site, kind, value, remainder, split, name } = n;
  const isLogit = n.tokenIds !== undefined && kind !== 'token-embedding';
  return {
    ...core(n, d),
    ctx_idx: position ?? 0,
    token_prob: isLogit ? (d.rootProbability ?? 1) : 0,
    is_target_logit: isLogit && root,
    run_idx: 0,
    reverse_ctx_idx: 0,
    influence,
    activation: activation ?? null,
    dfa: {
      kind,
      ...(site ? { site } : {}),
      ...(name ? { name } : {}),
      ...(value === undefined ? {} : { value, remainder }),
      ...split,
    },
  };
}

/** A pruned graph as a schema-1 file (reference interop §1.10). What only DFA has travels under `metadata.dfa` and `dfa` of nodes. */
export function toGraphFile(g: PrunedGraph, d: GraphDescription): GraphFile {
  const nodes = g.nodes.map((n, i) => fileNode(n, i === 0, d));
  const featureRoot = g.nodes[0].feature !== undefined;
  return {
    metadata: {
      slug: d.slug,
      scan: d.scan,
      prompt_tokens: d.promptTokens,
      prompt: d.prompt,
      node_threshold: d.nodeThreshold,
      schema_version: 1,
      info: {
        description: featureRoot
          ? 'Recursive DFA of a feature: the root is a feature, so scores of viewers that expect logits do not apply.'
          : 'Recursive DFA.',
        generator: { name: 'attention-circuits', version: d.version },
      },
      generation_settings: { max_feature_nodes: d.maxNodes },
      pruning_settings: { node_threshold: d.nodeThreshold, edge_threshold: d.edgeThreshold },
      replacement_score: d.scores.replacement,
      completeness_score: d.scores.completeness,
      dfa: { root: nodes[0].node_id, view: d.view, contract: d.contract, weights: d.weights, cut: d.cut },
    },
    qParams: { pinnedIds: [], supernodes: [], linkType: 'both', clickedId: nodes[0].node_id, sg_pos: '' },
    nodes,
    links: g.edges.map((e) => ({ source: nodes[e.source].node_id, target: nodes[e.target].node_id, weight: e.weight })),
  };
}
