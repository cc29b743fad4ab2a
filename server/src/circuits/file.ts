import { readFileSync, statSync } from 'node:fs';
import { z } from 'zod';
import {
  CIRCUIT_FORMAT,
  CIRCUIT_VERSION,
  type CircuitFile,
  type Identity,
  type OpenedCircuit,
} from '../../protocol/circuit';
import { type Engine } from '../engine';
import { InputFileError } from '../errors';

const MAX_BYTES = 200e6;

const count = z.number().int().min(0);
const node = z.looseObject({
  id: z.string(),
  kind: z.string(),
  glyph: z.string(),
  label: z.string(),
  short: z.string(),
  value: z.number(),
  contribution: z.number(),
  share: z.number(),
  opens: z.boolean(),
  title: z.string().optional(),
  site: z.string().optional(),
  layer: z.number().optional(),
  position: count.optional(),
  head: z.number().optional(),
  feature: count.optional(),
  activation: z.number().optional(),
});
const expansion = z.looseObject({
  id: z.string(),
  value: z.number(),
  view: z.enum(['residual', 'component']),
  by: z.enum(['source', 'head']),
  children: z.array(node).max(10_000),
  cut: z.object({ count, sum: z.number() }),
  remainder: z.number(),
  scale: z.number(),
  errorShare: z.number(),
});
const schema = z.looseObject({
  format: z.literal(CIRCUIT_FORMAT),
  version: z.number().int().min(1),
  generator: z.string().default(''),
  identity: z
    .object({
      model: z.object({ name: z.string(), sha256: z.string() }),
      dictionaries: z.array(z.object({ site: z.string(), sha256: z.string() })),
      contract: z.record(z.string(), z.boolean()),
    })
    .nullable()
    .default(null),
  prompt: z.object({ text: z.string(), bos: z.boolean() }),
  root: z.discriminatedUnion('type', [
    z.object({ type: z.literal('feature'), site: z.string(), feature: count, position: count }),
    z.object({ type: z.literal('logit'), tokens: z.array(count).min(1).max(2), position: count }),
  ]),
  tokens: z.array(
    z.object({ position: count, id: z.number(), text: z.string(), start: count.optional(), end: count.optional() }),
  ),
  predictions: z
    .array(z.array(z.object({ id: z.number(), text: z.string(), logit: z.number(), probability: z.number() })))
    .default([]),
  tree: z.object({ root: node, expansions: z.array(expansion).max(100_000) }),
  view: z.record(z.string(), z.unknown()).default({}),
});

/** A circuit from the text of its file. Throws InputFileError with the part that is wrong. */
export function parseCircuit(path: string, text: string): OpenedCircuit {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (e) {
    const merge = /^(<{7}|={7}|>{7})/m.test(text) ? 'an unresolved merge; choose one side' : (e as Error).message;
    throw new InputFileError(path, `not a saved circuit: ${merge}`);
  }
  const parsed = schema.safeParse(value);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw new InputFileError(path, `not a saved circuit: "${issue.path.join('.')}": ${issue.message}`);
  }
  const circuit = parsed.data as CircuitFile;
  const readOnly =
    circuit.version > CIRCUIT_VERSION
      ? `it is of version ${circuit.version}; this program writes version ${CIRCUIT_VERSION} and would lose what is new`
      : null;
  return { circuit, readOnly };
}

/** A circuit from its file. Throws InputFileError. */
export function readCircuit(path: string): OpenedCircuit {
  const s = statSync(path, { throwIfNoEntry: false });
  if (!s) throw new InputFileError(path, 'the file does not exist');
  if (s.size > MAX_BYTES) throw new InputFileError(path, `has ${s.size} bytes, more than ${MAX_BYTES}`);
  return parseCircuit(path, readFileSync(path, 'utf8'));
}

/** What numbers of an engine depend on. */
export const identityOf = (engine: Engine): Identity => ({
  model: { name: engine.model.config.modelName, sha256: engine.model.weights.cached.sha256 },
  dictionaries: [...engine.dictionaries.values()]
    .map((d) => ({ site: d.site, sha256: d.cached.sha256 }))
    .sort((a, b) => a.site.localeCompare(b.site, 'en', { numeric: true })),
  contract: { ...engine.contract },
});
