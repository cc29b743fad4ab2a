import { z } from 'zod';
import { featuresAt, topPredictions, validateEdge } from '../analyses';
import { expand, findPath, makeRoot, nodeJson, rootId, type RootSpec, type TreeNode } from '../attribution';
import { type Engine, type PromptRun } from '../engine';
import { UsageError } from '../errors';
import { nodeLabel } from '../text';

/** What a tool works with. */
export interface ToolContext {
  engine: Engine;
  signal: AbortSignal;
  /** The analysed prompt; kept by whoever asks often. */
  run(text: string, bos: boolean): Promise<PromptRun>;
  /** A feature's label, if there is one. */
  labelOf(site: string, feature: number): string | undefined;
  /** Features whose label holds a text. */
  labelled(part: string): { site: string; feature: number }[];
}

/** One tool: what it is for, what it takes, and what it does. */
export interface Tool<S extends z.ZodObject = z.ZodObject> {
  name: string;
  title: string;
  description: string;
  input: S;
  run(context: ToolContext, input: z.infer<S>): Promise<unknown>;
}

const MOST = 100;

const prompt = z.string().min(1).max(100_000).describe('The text of the prompt');
const bos = z.boolean().default(true).describe('Whether the beginning-of-sequence token goes in front');
const token = z.union([z.string(), z.number().int().min(0)]);
const limit = z.number().int().min(1).max(MOST).default(10).describe('How many to give, strongest first');
const position = z
  .number()
  .int()
  .min(0)
  .optional()
  .describe('Token position, 0 is the first (BOS); the last token if left out');
const root = z
  .discriminatedUnion('type', [
    z.object({
      type: z.literal('logit'),
      token: token.optional().describe('Text (with its leading space) or id; the likeliest next token if left out'),
      minus: token.optional().describe('A second token: the root is the logit difference'),
      position,
    }),
    z.object({ type: z.literal('feature'), site: z.string(), feature: z.number().int().min(0), position }),
  ])
  .default({ type: 'logit' })
  .describe('What is attributed');

type Root = z.infer<typeof root>;

async function specOf(run: PromptRun, c: ToolContext, r: Root): Promise<RootSpec> {
  const at = r.position ?? run.trace.tokens.length - 1;
  if (at >= run.trace.tokens.length)
    throw new UsageError(`the prompt has ${run.trace.tokens.length} tokens, no position ${at}`);
  if (r.type === 'feature') return { type: 'feature', site: r.site, feature: r.feature, position: at };
  const idOf = (t: string | number): number => {
    if (typeof t === 'number') return t;
    if (!c.engine.tokenizer) throw new UsageError('the model has no tokenizer: give token ids');
    return c.engine.tokenizer.single(t);
  };
  const { logits } = await run.logitsAt(at);
  const first = r.token === undefined ? topPredictions(logits, 1, c.engine)[0].id : idOf(r.token);
  const tokens = r.minus === undefined ? [first] : [first, idOf(r.minus)];
  const wrong = tokens.find((t) => t >= logits.length);
  if (wrong !== undefined) throw new UsageError(`there is no token ${wrong}; the vocabulary has ${logits.length}`);
  return { type: 'logit', tokens, position: at };
}

function shown(run: PromptRun, c: ToolContext, n: TreeNode): object {
  const json = nodeJson(run, n);
  const label = n.site !== undefined && n.feature !== undefined ? c.labelOf(n.site, n.feature) : undefined;
  return {
    id: n.id,
    what: nodeLabel(json),
    ...(label === undefined ? {} : { label }),
    contribution: n.contribution,
    value: n.value,
    ...(json.activation === undefined ? {} : { activation: json.activation }),
    opens: n.open !== undefined,
  };
}

async function opened(
  run: PromptRun,
  c: ToolContext,
  node: TreeNode,
  o: { view: 'residual' | 'component'; by: 'source' | 'head'; limit: number },
): Promise<object> {
  const e = await expand(run, node, o);
  if (!e) return { node: shown(run, c, node), children: [], note: 'this node does not open' };
  const rest = e.children.slice(o.limit);
  return {
    node: shown(run, c, node),
    children: e.children.slice(0, o.limit).map((n) => shown(run, c, n)),
    notShown: { count: rest.length, sum: rest.reduce((s, n) => s + n.contribution, 0) },
    remainder: e.remainder,
    note: 'value = sum of the children shown + notShown.sum + remainder',
  };
}

const view = z
  .enum(['residual', 'component'])
  .default('component')
  .describe('What the stream opens into: features of residual dictionaries, or what wrote it');
const by = z
  .enum(['source', 'head'])
  .default('source')
  .describe('Attention by source token, or by head and source token');

const tool = <S extends z.ZodObject>(t: Tool<S>): Tool => t;

export const TOOLS: readonly Tool[] = [
  tool({
    name: 'attribute_token',
    title: 'Attribute a token',
    description:
      'Explains a logit, a logit difference or a feature of a prompt: its strongest direct contributions (attention, transcoder and residual features, embeddings, errors, biases), which add up to its value. Give an id of the answer to expand_node to go on, or to validate_edge to check it against the model.',
    input: z.object({ prompt, bos, root, view, by, limit }),
    run: async (c, q) => {
      const run = await c.run(q.prompt, q.bos);
      const spec = await specOf(run, c, q.root);
      return {
        root: spec,
        tokens: run.trace.tokens.map((t) => run.vocabularyText(t) ?? t),
        ...(await opened(run, c, await makeRoot(run, spec), q)),
      };
    },
  }),
  tool({
    name: 'expand_node',
    title: 'Expand a node',
    description:
      'Opens one node of a tree of attribute_token by its id: a feature into source tokens, a source token into what its stream holds.',
    input: z.object({
      prompt,
      bos,
      root,
      node: z.string().max(100_000).describe('An id of an earlier answer'),
      view,
      by,
      limit,
    }),
    run: async (c, q) => {
      const run = await c.run(q.prompt, q.bos);
      const spec = await specOf(run, c, q.root);
      const node = q.node === rootId(spec) ? await makeRoot(run, spec) : (await findPath(run, spec, q.node)).at(-1);
      if (!node) throw new UsageError(`the tree has no node ${q.node}`);
      return opened(run, c, node, q);
    },
  }),
  tool({
    name: 'validate_edge',
    title: 'Validate an edge',
    description:
      'Runs the model without a node of the tree and compares the change of its parent with the prediction: direct (must be equal), frozen (attention and normalisation held), free (everything reacts).',
    input: z.object({
      prompt,
      bos,
      root,
      node: z.string().max(100_000).describe('An id of an earlier answer, not the root'),
    }),
    run: async (c, q) => {
      const run = await c.run(q.prompt, q.bos);
      return validateEdge(c.engine, run, await specOf(run, c, q.root), q.node);
    },
  }),
  tool({
    name: 'features_at_token',
    title: 'Features at a token',
    description:
      'The strongest active features of every dictionary at a token of a prompt, with the head and source token that carry each attention feature, and the next-token predictions there.',
    input: z.object({ prompt, bos, position, limit: limit.describe('How many of each dictionary') }),
    run: async (c, q) => {
      const run = await c.run(q.prompt, q.bos);
      const at = q.position ?? run.trace.tokens.length - 1;
      if (at >= run.trace.tokens.length)
        throw new UsageError(`the prompt has ${run.trace.tokens.length} tokens, no position ${at}`);
      const features = await featuresAt(run, c.engine.dictionaries.values(), at, q.limit);
      const { logits } = await run.logitsAt(at);
      return {
        tokens: run.trace.tokens.map((t) => run.vocabularyText(t) ?? t),
        position: at,
        features: features.map((f) => ({ ...f, label: c.labelOf(f.site, f.feature) })),
        predictions: topPredictions(logits, 5, c.engine),
      };
    },
  }),
  tool({
    name: 'read_labels',
    title: 'Read labels',
    description: 'The label of a feature, or the features whose label holds a text.',
    input: z.object({
      site: z.string().optional(),
      feature: z.number().int().min(0).optional(),
      text: z.string().max(1000).optional().describe('Part of a label'),
    }),
    run: (c, q) => {
      if (q.site !== undefined && q.feature !== undefined)
        return Promise.resolve({ site: q.site, feature: q.feature, label: c.labelOf(q.site, q.feature) ?? null });
      if (q.text === undefined) throw new UsageError('give site and feature, or a text');
      const found = c.labelled(q.text).slice(0, MOST);
      return Promise.resolve({ features: found.map((f) => ({ ...f, label: c.labelOf(f.site, f.feature) ?? null })) });
    },
  }),
];

/** The tool of a name. Throws UsageError. */
export function toolNamed(name: string): Tool {
  const found = TOOLS.find((t) => t.name === name);
  if (found) return found;
  throw new UsageError(`there is no tool ${name}; there are ${TOOLS.map((t) => t.name).join(', ')}`);
}
