import { z } from 'zod';
import { InputFileError, UsageError } from '../errors';
import { readJsonObject } from '../formats';

const repo = z.string().regex(/^[\w.-]+\/[\w.-]+$/, 'expected OWNER/NAME');
const revision = z
  .string()
  .regex(/^[\w.-]+$/, 'expected a branch, a tag or a commit')
  .default('main');
/** A path inside a repository. */
const path = z
  .string()
  .min(1)
  .refine((p) => p.split('/').every((part) => part !== '' && part !== '.' && part !== '..') && !p.includes('\\'), {
    message: 'expected a path inside the repository',
  });
const name = z.string().regex(/^[\w.-]+$/, 'expected letters, digits, ".", "_" and "-"');
const count = z.number().int().positive();

const contract = z.object({
  fold_ln: z.boolean(),
  center_writing_weights: z.boolean(),
  center_unembed: z.boolean(),
  fold_value_biases: z.boolean(),
});

const model = z.object({
  name,
  title: z.string(),
  repo,
  revision,
  /** Without these it cannot be used. */
  files: z.array(path).min(1),
  /** Fetched where the repository has them. */
  optional: z.array(path).default([]),
  parameters: count,
  /** About how large the files are. */
  bytes: count,
});

const dictionary = z.object({
  id: z.string().regex(/^[\w.-]+$/),
  /** What is opened: a file or a folder. */
  path,
  files: z.array(path).min(1),
  parameters: count,
  neuronpedia: z.string().nullable().default(null),
});

const dictionarySet = z.object({
  name,
  title: z.string(),
  /** The model's name in a registry. */
  model: name,
  kind: z.enum(['attention', 'residual', 'transcoder']),
  repo,
  revision,
  /** Processing of the model that the set expects; null where its own configuration says it. */
  contract: contract.nullable().default(null),
  dictionaries: z.array(dictionary).min(1).max(1000),
});

const schema = z.object({
  format: z.literal('attention-circuits-registry'),
  version: z.literal(1),
  models: z.array(model).max(1000).default([]),
  dictionarySets: z.array(dictionarySet).max(1000).default([]),
});

export type RegistryModel = z.infer<typeof model>;
export type RegistrySet = z.infer<typeof dictionarySet>;
export type RegistryDictionary = z.infer<typeof dictionary>;

/** Published models and dictionaries by name. */
export interface Registry {
  models: RegistryModel[];
  dictionarySets: RegistrySet[];
}

/** Reads one registry file. Throws InputFileError with the entry that is wrong. */
function readRegistryFile(file: string): Registry {
  const parsed = schema.safeParse(readJsonObject(file));
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new InputFileError(file, `"${issue.path.join('.')}": ${issue.message}`);
}

/** Several registry files as one; a later entry replaces an earlier one of its name. Throws InputFileError. */
export function readRegistry(files: readonly string[]): Registry {
  const all = files.map(readRegistryFile);
  const merged = <T extends { name: string }>(lists: T[][]): T[] => [
    ...new Map(lists.flat().map((x) => [x.name, x])).values(),
  ];
  return {
    models: merged(all.map((r) => r.models)),
    dictionarySets: merged(all.map((r) => r.dictionarySets)),
  };
}

/** What stands in front of a name where a path could stand as well. */
export const HUB_PREFIX = 'hub:';

/** The model of a name. Throws UsageError, listing those there are. */
export function modelNamed(r: Registry, name: string): RegistryModel {
  const found = r.models.find((m) => m.name === name);
  if (found) return found;
  throw new UsageError(`no published model is named ${name}; there are ${r.models.map((m) => m.name).join(', ')}`);
}

/** The set of a name, or with NAME/ID only one dictionary of it. Throws UsageError, listing those there are. */
export function setNamed(r: Registry, name: string): RegistrySet {
  const [setName, id] = name.split('/');
  const found = r.dictionarySets.find((s) => s.name === setName);
  if (!found)
    throw new UsageError(
      `no published dictionaries are named ${setName}; there are ${r.dictionarySets.map((s) => s.name).join(', ')}`,
    );
  if (id === undefined) return found;
  const dictionaries = found.dictionaries.filter((d) => d.id === id);
  if (dictionaries.length === 0)
    throw new UsageError(
      `${setName} has no dictionary ${id}; it has ${found.dictionaries.map((d) => d.id).join(', ')}`,
    );
  return { ...found, dictionaries };
}
