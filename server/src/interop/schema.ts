import { z } from 'zod';

const qk = z.looseObject({
  pair_wise_contributors: z.array(z.tuple([z.string(), z.string(), z.number()])),
  top_q_marginal_contributors: z.array(z.tuple([z.string(), z.number()])),
  top_k_marginal_contributors: z.array(z.tuple([z.string(), z.number()])),
});

const node = z.looseObject({
  node_id: z.string(),
  feature: z.number().int().nullable(),
  layer: z.union([z.string(), z.number().int()]),
  ctx_idx: z.number().int(),
  feature_type: z.string(),
  jsNodeId: z.string(),
  clerp: z.string(),
  token_prob: z.number().optional(),
  is_target_logit: z.boolean().optional(),
  run_idx: z.number().int().optional(),
  reverse_ctx_idx: z.number().int().optional(),
  influence: z.number().nullish(),
  activation: z.number().nullish(),
  qk_tracing_results: qk.nullish(),
});

const graph = z.looseObject({
  metadata: z.looseObject({
    slug: z.string(),
    scan: z.string(),
    prompt_tokens: z.array(z.string()),
    prompt: z.string(),
    node_threshold: z.number().optional(),
    schema_version: z.number().int().optional(),
    info: z.looseObject({}).optional(),
    generation_settings: z.looseObject({}).optional(),
    pruning_settings: z.looseObject({}).optional(),
  }),
  qParams: z.looseObject({
    pinnedIds: z.array(z.string()).optional(),
    supernodes: z.array(z.array(z.string())).optional(),
    linkType: z.string().optional(),
    clickedId: z.string().optional(),
    sg_pos: z.string().optional(),
  }),
  nodes: z.array(node),
  links: z.array(z.looseObject({ source: z.string(), target: z.string(), weight: z.number() })),
});

const MOST = 20;

/**
 * What in an attribution graph breaks the rules of the published JSON Schema (reference interop §1.2–§1.6), beyond it ids that occur twice and
 * links without ends, and logit labels that viewers cannot read; none for a graph that every viewer takes.
 */
export function graphViolations(value: unknown): string[] {
  const parsed = graph.safeParse(value);
  if (!parsed.success) return parsed.error.issues.slice(0, MOST).map((i) => `${i.path.join('.')}: ${i.message}`);
  const { nodes, links } = parsed.data;
  const ids = new Set<string>();
  const out: string[] = [];
  nodes.forEach((n, i) => {
    if (ids.has(n.node_id)) out.push(`nodes.${i}: the id ${n.node_id} occurs twice`);
    ids.add(n.node_id);
    if (n.feature_type === 'logit' && !n.clerp.includes('(p='))
      out.push(`nodes.${i}: the label of a logit has no "(p="`);
  });
  links.forEach((l, i) => {
    for (const end of [l.source, l.target]) if (!ids.has(end)) out.push(`links.${i}: there is no node ${end}`);
  });
  return out.slice(0, MOST);
}
