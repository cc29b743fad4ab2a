/** Tokenizer files, parsed: only byte-level BPE that leaves the text as it is gets to the library. */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { InputFileError, UnsupportedError } from '../errors';

const MAX_BYTES = 64_000_000;
const MAX_ID = 10_000_000;

/** What is absent, or says that nothing is to be done. */
const nothing = z.union([z.null(), z.literal(''), z.literal(false)]).optional();
const id = z.number().int().min(0).max(MAX_ID);

/** Tens of thousands of entries are checked by a loop: a schema for each takes longer than parsing the JSON. */
const vocab = z.custom<Record<string, number>>(
  (x) =>
    typeof x === 'object' &&
    x !== null &&
    !Array.isArray(x) &&
    Object.values(x).every((v) => typeof v === 'number' && Number.isInteger(v) && v >= 0 && v <= MAX_ID),
  'expected ids by token',
);
const merges = z.custom<(string | [string, string])[]>(
  (x) =>
    Array.isArray(x) &&
    x.every(
      (m) => typeof m === 'string' || (Array.isArray(m) && m.length === 2 && m.every((s) => typeof s === 'string')),
    ),
  'expected pairs of tokens',
);

const addedToken = z.object({
  id,
  content: z.string().min(1).max(1000),
  single_word: z.boolean().default(false),
  lstrip: z.boolean().default(false),
  rstrip: z.boolean().default(false),
  normalized: z.boolean().default(false),
  special: z.boolean().default(false),
});

/** A byte-level pre-tokenizer as GPT-2 has it. */
const byteLevel = z.object({
  type: z.literal('ByteLevel'),
  add_prefix_space: z.literal(false),
  use_regex: z.literal(true).optional(),
});

const specSchema = z.object({
  added_tokens: z.array(addedToken).max(100_000).default([]),
  normalizer: z.union([z.null(), z.object({ type: z.literal('NFC') })]).optional(),
  pre_tokenizer: byteLevel,
  model: z.object({
    type: z.literal('BPE').optional(),
    dropout: nothing,
    continuing_subword_prefix: nothing,
    end_of_word_suffix: nothing,
    byte_fallback: nothing,
    ignore_merges: nothing,
    vocab,
    merges,
  }),
});
type Spec = z.infer<typeof specSchema>;

const configSchema = z.object({ add_prefix_space: z.boolean().nullable().optional() });

const BYTE_LEVEL = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true };

function readJson(path: string): unknown {
  const { size } = statSync(path);
  if (size > MAX_BYTES) throw new InputFileError(path, `${size} bytes, more than the limit of ${MAX_BYTES}`);
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as unknown;
  } catch (e) {
    throw new InputFileError(path, `not valid JSON (${(e as Error).message})`);
  }
}

function parse<T>(path: string, schema: z.ZodType<T>, value: unknown): T {
  const r = schema.safeParse(value);
  if (r.success) return r.data;
  const [issue] = r.error.issues;
  throw new UnsupportedError(
    `${path}: "${issue.path.join('.')}": ${issue.message}; byte-level BPE as GPT-2 has it is supported`,
  );
}

function vocabAndMerges(vocabPath: string, mergesPath: string): Spec {
  const ids = parse(vocabPath, vocab, readJson(vocabPath));
  const { size } = statSync(mergesPath);
  if (size > MAX_BYTES) throw new InputFileError(mergesPath, `${size} bytes, more than the limit of ${MAX_BYTES}`);
  const pairs = readFileSync(mergesPath, 'utf8')
    .split('\n')
    .filter((l, i) => l.trim() !== '' && !(i === 0 && l.startsWith('#version')));
  const content = '<|endoftext|>';
  const flags = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: true };
  const added_tokens = Object.hasOwn(ids, content) ? [{ id: ids[content], content, ...flags }] : [];
  return {
    added_tokens,
    pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false },
    model: { vocab: ids, merges: pairs },
  };
}

/**
 * The tokenizer of a Hugging Face folder as the library takes it: `tokenizer.json`, or `vocab.json` with `merges.txt`. Null when there is
 * neither. Throws InputFileError, and UnsupportedError for what is no byte-level BPE.
 */
export function readTokenizerSpec(folder: string): { path: string; spec: object } | null {
  const at = (name: string): string => join(folder, name);
  const json = existsSync(at('tokenizer.json'));
  if (!json && !(existsSync(at('vocab.json')) && existsSync(at('merges.txt')))) return null;
  const path = at(json ? 'tokenizer.json' : 'vocab.json');
  const { added_tokens, normalizer, model } = json
    ? parse(path, specSchema, readJson(path))
    : vocabAndMerges(path, at('merges.txt'));
  if (existsSync(at('tokenizer_config.json'))) {
    const config = parse(at('tokenizer_config.json'), configSchema, readJson(at('tokenizer_config.json')));
    if (config.add_prefix_space === true)
      throw new UnsupportedError(`${at('tokenizer_config.json')}: add_prefix_space is not supported`);
  }
  const bpe = { type: 'BPE', dropout: null, unk_token: null, fuse_unk: false, byte_fallback: false };
  const spec = {
    version: '1.0',
    added_tokens,
    normalizer: normalizer ?? null,
    pre_tokenizer: BYTE_LEVEL,
    post_processor: null,
    decoder: BYTE_LEVEL,
    model: { ...bpe, vocab: model.vocab, merges: model.merges },
  };
  return { path, spec };
}
