import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { type Engine } from '../engine';
import { InputFileError } from '../errors';

const prompt = z.object({ text: z.string(), answer: z.string(), distractor: z.string() });
const sites = z.array(z.string()).default([]);

const check = z.discriminatedUnion('type', [
  /** Ids of a text, BOS left out. */
  z.object({ type: z.literal('tokens'), text: z.string(), expected: z.array(z.number().int()) }),
  /** Mean of logit[answer] − logit[distractor] at the end, with dictionaries spliced without error term. */
  z.object({
    type: z.literal('logit-difference'),
    prompts: z.array(prompt).min(1),
    splice: sites,
    expected: z.number(),
  }),
  /** Logits (centred where the contract centres them) and probabilities of next tokens at the end. */
  z.object({
    type: z.literal('next'),
    text: z.string(),
    tokens: z.array(z.string()),
    logits: z.array(z.number()),
    probabilities: z.array(z.number()),
    probabilityTolerance: z.number().min(0).default(0.0005),
  }),
  /**
   * The strongest features at a position (the end if left out), in order: by mean activation, by |mean direct contribution| to the logit difference, or by what
   * the logit difference loses in the mean when they are zeroed in a run with the dictionary spliced in without error term.
   */
  z.object({
    type: z.literal('top-features'),
    site: z.string(),
    prompts: z.array(prompt).min(1),
    by: z.enum(['activation', 'attribution', 'ablation']),
    position: z.number().int().min(0).optional(),
    expected: z.array(z.number().int()),
  }),
  /** Activations at [feature, position] pairs; negative positions count from the end. */
  z.object({
    type: z.literal('activations'),
    site: z.string(),
    text: z.string(),
    bos: z.boolean(),
    at: z.array(z.tuple([z.number().int(), z.number().int()])),
    splice: sites,
    expected: z.array(z.number()),
  }),
  /** Direct contributions of [site, feature, position] to a feature's pre-activation, the stream taken as components. */
  z.object({
    type: z.literal('contributions'),
    site: z.string(),
    feature: z.number().int(),
    position: z.number().int().min(0),
    text: z.string(),
    bos: z.boolean(),
    of: z.array(z.tuple([z.string(), z.number().int(), z.number().int()])),
    expected: z.array(z.number()),
  }),
  /** ‖W_dec[f, head]‖ over the sum. */
  z.object({
    type: z.literal('head-shares'),
    site: z.string(),
    feature: z.number().int(),
    expected: z.array(z.number()),
  }),
  /** The features with the largest share of a head, as a set. */
  z.object({
    type: z.literal('head-features'),
    site: z.string(),
    head: z.number().int(),
    expected: z.array(z.number().int()),
  }),
]);

const tableSchema = z.object({
  name: z.string(),
  model: z.object({ n_layers: z.number().int(), d_model: z.number().int(), d_vocab: z.number().int() }),
  rows: z.array(
    z.object({ id: z.string(), description: z.string(), source: z.string(), tolerance: z.number().min(0), check }),
  ),
});

/** Published numbers and how each is computed. */
export type GoldenTable = z.infer<typeof tableSchema>;
export type GoldenCheck = z.infer<typeof check>;

/** Reads a table of expected numbers. Throws InputFileError. */
export function readTable(path: string): GoldenTable {
  let raw: unknown;
  try {
    raw = JSON.parse(readFileSync(path, 'utf8'));
  } catch (e) {
    throw new InputFileError(path, `not a table of expected numbers (${(e as Error).message})`);
  }
  const parsed = tableSchema.safeParse(raw);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw new InputFileError(path, `not a table of expected numbers: ${issue.path.join('.')}: ${issue.message}`);
  }
  return parsed.data;
}

/** The table of a folder that is made for an engine's model; that of GPT-2 small where none is. */
export function tableFor(folder: string, engine: Engine): GoldenTable {
  const { n_layers, d_model, d_vocab } = engine.model.config;
  const fits = ({ model: m }: GoldenTable): boolean =>
    m.n_layers === n_layers && m.d_model === d_model && m.d_vocab === d_vocab;
  const tables = readdirSync(folder)
    .filter((f) => f.endsWith('.json'))
    .map((f) => readTable(join(folder, f)));
  return tables.find(fits) ?? readTable(join(folder, 'gpt2-small.json'));
}
