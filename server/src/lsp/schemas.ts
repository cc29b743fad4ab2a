import { z } from 'zod';
import { type RequestMethod, type Requests } from '../../protocol';
import type { CircuitFile } from '../../protocol/circuit';

const prompt = z.object({ text: z.string(), bos: z.boolean() });
const position = z.number().int().min(0);
const feature = z.number().int().min(0);
const root = z.discriminatedUnion('type', [
  z.object({ type: z.literal('feature'), site: z.string(), feature, position }),
  z.object({ type: z.literal('logit'), tokens: z.array(z.number().int()).min(1).max(2), position }),
]);
const tree = z.discriminatedUnion('type', [
  ...root.options,
  z.object({ type: z.literal('graph'), file: z.string(), node: z.string(), position }),
]);
const comment = z.object({ author: z.string().max(200), at: z.string().max(40), text: z.string().max(100_000) });
const noteTarget = z.discriminatedUnion('type', [
  z.object({
    type: z.literal('token'),
    prompt: z.string().nullable(),
    start: position,
    text: z.string(),
    before: z.string(),
    after: z.string(),
  }),
  z.object({ type: z.literal('feature'), site: z.string(), feature }),
  z.object({ type: z.literal('node'), prompt, root, node: z.string().max(100_000), label: z.string() }),
]);
const node = z.string().max(100_000);
const values = z.record(z.string(), z.union([z.string(), z.number(), z.boolean()]));
const prompts = z.discriminatedUnion('from', [
  z.object({ from: z.literal('document'), uri: z.string() }),
  z.object({
    from: z.literal('generated'),
    count: z.number().int().min(1).max(10_000),
    seed: z.number().int().min(0),
  }),
  z.object({ from: z.literal('prompt'), prompt }),
  z.object({ from: z.literal('none') }),
]);

/** The shape of each request's parameters; what does not fit is refused by name. */
export const schemas = {
  'attentionCircuits/status': z.object({}),
  'attentionCircuits/load': z.object({}),
  'attentionCircuits/reload': z.object({}),
  'attentionCircuits/prompt': z.object({ prompt }),
  'attentionCircuits/locate': z.object({ uri: z.string(), offset: z.number().int().min(0) }),
  'attentionCircuits/features': z.object({ prompt, position, limit: z.number().int().min(1).max(1000) }),
  'attentionCircuits/root': z.object({ prompt, root: tree }),
  'attentionCircuits/expand': z.object({
    prompt,
    root: tree,
    node,
    view: z.enum(['residual', 'component']),
    by: z.enum(['source', 'head']),
    limit: z.number().int().min(1).max(5000),
  }),
  'attentionCircuits/grid': z.object({ prompt, root: tree, node }),
  'attentionCircuits/sources': z.object({ prompt, root: tree, node }),
  'attentionCircuits/validate': z.object({ prompt, root, edge: node }),
  'attentionCircuits/ablate': z.object({
    prompt,
    root,
    features: z
      .array(z.object({ site: z.string(), feature, position: position.optional() }))
      .min(1)
      .max(1000),
  }),
  'attentionCircuits/feature': z.object({ site: z.string(), feature }),
  'attentionCircuits/dashboard': z.object({ site: z.string(), feature }),
  'attentionCircuits/indexCorpus': z.object({}),
  'attentionCircuits/searchFeatures': z.object({
    by: z.enum(['text', 'label', 'prompt']),
    text: z.string().max(100_000),
    limit: z.number().int().min(1).max(1000),
  }),
  'attentionCircuits/attention': z.object({ prompt, layer: position, head: position, destination: position }),
  'attentionCircuits/label': z.object({ site: z.string(), feature, label: z.string().max(2000).optional() }),
  'attentionCircuits/registry': z.object({}),
  'attentionCircuits/hubPlan': z.object({ names: z.array(z.string()).max(100) }),
  'attentionCircuits/hubDownload': z.object({ names: z.array(z.string()).max(100) }),
  'attentionCircuits/neuronpedia': z.object({ id: z.string().regex(/^[\w.-]+\/[\w.-]+$/), feature }),
  'attentionCircuits/identity': z.object({}),
  'attentionCircuits/parseCircuit': z.object({ path: z.string(), text: z.string() }),
  'attentionCircuits/checkCircuit': z.object({
    circuit: z.custom<CircuitFile>((x) => typeof x === 'object' && x !== null),
  }),
  'attentionCircuits/notes': z.object({ file: z.string(), text: z.string().optional() }),
  'attentionCircuits/noteAnchor': z.object({ text: z.string(), start: position, end: position }),
  'attentionCircuits/changeNote': z.object({
    file: z.string().regex(/\.jsonl$/),
    id: z.string().regex(/^[\w-]{1,64}$/),
    change: z.discriminatedUnion('type', [
      z.object({ type: z.literal('add'), target: noteTarget, comment }),
      z.object({ type: z.literal('edit'), was: comment, text: z.string().max(100_000) }),
      z.object({ type: z.literal('remove'), was: comment }),
      z.object({ type: z.literal('delete') }),
      z.object({ type: z.literal('resolve'), resolved: z.boolean() }),
      z.object({ type: z.literal('anchor'), target: noteTarget }),
    ]),
  }),
  'attentionCircuits/tool': z.object({ name: z.string(), input: z.unknown() }),
  'attentionCircuits/tabulate': z.object({
    folder: z.string(),
    out: z.string(),
    table: z.union([
      z.object({ type: z.literal('features'), top: z.number().int().min(1).max(1000) }),
      z.object({
        type: z.literal('evaluation'),
        sections: z.string().max(10_000),
        kind: z.enum(['attention', 'residual', 'transcoder']),
      }),
    ]),
  }),
  'attentionCircuits/verify': z.object({}),
  'attentionCircuits/experiments': z.object({}),
  'attentionCircuits/experiment': z.object({
    id: z.string(),
    values,
    prompts,
  }),
  'attentionCircuits/experimentScript': z.object({
    id: z.string(),
    values,
    prompts,
    tables: z
      .array(
        z.object({
          id: z.string(),
          title: z.string(),
          columns: z.array(z.object({ key: z.string(), title: z.string() })).min(1),
          rows: z.array(z.array(z.union([z.string(), z.number(), z.null()]))),
        }),
      )
      .max(20),
  }),
  'attentionCircuits/treeScript': z.object({ prompt, root, nodes: z.array(node).max(2000) }),
  'attentionCircuits/featureScript': z.object({ site: z.string(), feature }),
  'attentionCircuits/ioi': z.object({
    count: z.number().int().min(1).max(10_000),
    seed: z.number().int().min(0),
    conjunction: z.string(),
  }),
  'attentionCircuits/heat': z.object({ uri: z.string(), site: z.string(), feature }),
} satisfies { [M in RequestMethod]: z.ZodType<Requests[M]['params']> };
