import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { InputFileError, UnsupportedError } from '../errors';
import { readJsonObject } from './jsonFile';
import { openSafetensors, shardFiles } from './safetensors';
import { type TensorFile } from './tensorFile';

/** Dimensions of a GPT-2 checkpoint, in TransformerLens' names. */
export interface Gpt2Config {
  n_layers: number;
  n_heads: number;
  d_model: number;
  d_head: number;
  d_mlp: number;
  n_ctx: number;
  d_vocab: number;
  eps: number;
  /** The token put in front of text prompts, or null when the checkpoint names none. */
  bosTokenId: number | null;
  /** `_name_or_path` or `model_type`, for messages and exports. */
  modelName: string;
}

/** An opened Hugging Face folder: its configuration and its tensors under names without the `transformer.` prefix. */
export interface Gpt2Folder {
  path: string;
  config: Gpt2Config;
  weights: TensorFile;
  /** Name in the file of a tensor by its plain name. */
  nameOf(plain: string): string;
  /** True when `lm_head.weight` is its own matrix, not the embedding. */
  untied: boolean;
  /** Every file that the model was read from, for cache keys. */
  files: string[];
}

const size = z.number().int().positive();
const schema = z.object({
  model_type: z.string().optional(),
  _name_or_path: z.string().optional(),
  n_layer: size,
  n_head: size,
  n_embd: size,
  n_positions: size.optional(),
  n_ctx: size.optional(),
  n_inner: size.nullish(),
  vocab_size: size,
  layer_norm_epsilon: z.number().positive().default(1e-5),
  activation_function: z.string().default('gelu_new'),
  tie_word_embeddings: z.boolean().default(true),
  scale_attn_weights: z.boolean().default(true),
  scale_attn_by_inverse_layer_idx: z.boolean().default(false),
  add_cross_attention: z.boolean().default(false),
  bos_token_id: z.number().int().nonnegative().nullish(),
});

function parseConfig(path: string): Gpt2Config & { tied: boolean } {
  const parsed = schema.safeParse(readJsonObject(path));
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw new InputFileError(path, `"${issue.path.join('.')}": ${issue.message}; expected a GPT-2 configuration`);
  }
  const c = parsed.data;
  const refuse = (what: string): never => {
    throw new UnsupportedError(`${path}: ${what}`);
  };
  if (c.model_type !== undefined && c.model_type !== 'gpt2')
    refuse(`model_type "${c.model_type}" is not supported; "gpt2" is`);
  if (c.activation_function !== 'gelu_new' && c.activation_function !== 'gelu_pytorch_tanh') {
    refuse(`activation_function "${c.activation_function}" is not supported; "gelu_new" is`);
  }
  if (!c.scale_attn_weights) refuse('scale_attn_weights false is not supported');
  if (c.scale_attn_by_inverse_layer_idx) refuse('scale_attn_by_inverse_layer_idx true is not supported');
  if (c.add_cross_attention) refuse('add_cross_attention true is not supported');
  if (c.n_embd % c.n_head !== 0)
    throw new InputFileError(path, `n_embd ${c.n_embd} is not a multiple of n_head ${c.n_head}`);
  const n_ctx = c.n_positions ?? c.n_ctx;
  if (n_ctx === undefined) throw new InputFileError(path, '"n_positions" is missing');
  const bos = c.bos_token_id ?? null;
  if (bos !== null && bos >= c.vocab_size)
    throw new InputFileError(path, `bos_token_id ${bos} is outside the vocabulary of ${c.vocab_size}`);
  return {
    n_layers: c.n_layer,
    n_heads: c.n_head,
    d_model: c.n_embd,
    d_head: c.n_embd / c.n_head,
    d_mlp: c.n_inner ?? 4 * c.n_embd,
    n_ctx,
    d_vocab: c.vocab_size,
    eps: c.layer_norm_epsilon,
    bosTokenId: bos,
    modelName: c._name_or_path || 'gpt2',
    tied: c.tie_word_embeddings,
  };
}

/** Tensor names of one layer without their `h.{l}.` prefix, with shapes. */
export function GPT2_LAYER_TENSORS(c: Gpt2Config): [string, number[]][] {
  const d = c.d_model;
  return [
    ['ln_1.weight', [d]],
    ['ln_1.bias', [d]],
    ['attn.c_attn.weight', [d, 3 * d]],
    ['attn.c_attn.bias', [3 * d]],
    ['attn.c_proj.weight', [d, d]],
    ['attn.c_proj.bias', [d]],
    ['ln_2.weight', [d]],
    ['ln_2.bias', [d]],
    ['mlp.c_fc.weight', [d, c.d_mlp]],
    ['mlp.c_fc.bias', [c.d_mlp]],
    ['mlp.c_proj.weight', [c.d_mlp, d]],
    ['mlp.c_proj.bias', [d]],
  ];
}

function expectShape(folder: TensorFile, name: string, shape: number[]): void {
  const t = folder.tensors.get(name);
  if (!t) throw new InputFileError(folder.path, `tensor "${name}" is missing`);
  if (t.shape.length !== shape.length || t.shape.some((s, i) => s !== shape[i])) {
    throw new InputFileError(
      t.file,
      `tensor "${name}": expected shape [${shape.join(', ')}] from config.json, found [${t.shape.join(', ')}]`,
    );
  }
}

/**
 * Opens a Hugging Face GPT-2 folder (`config.json` and `model.safetensors`, sharded or not) and checks every tensor's shape.
 * Mask buffers (`h.{i}.attn.bias`, `masked_bias`) are ignored. Format: reference weight-formats §2.
 * Throws InputFileError, UnsupportedError.
 */
export function openGpt2Folder(path: string): Gpt2Folder {
  if (!existsSync(path)) throw new InputFileError(path, 'the model folder does not exist');
  if (!statSync(path).isDirectory())
    throw new InputFileError(path, 'expected a model folder (config.json, model.safetensors)');
  const configPath = join(path, 'config.json');
  const { tied, ...config } = parseConfig(configPath);
  const single = join(path, 'model.safetensors');
  const index = join(path, 'model.safetensors.index.json');
  const files = existsSync(single) ? [single] : existsSync(index) ? shardFiles(index) : [];
  if (files.length === 0)
    throw new InputFileError(single, 'the file does not exist (nor model.safetensors.index.json)');
  const weights = openSafetensors(files.length === 1 ? files[0] : index, files);
  try {
    const prefix = weights.tensors.has('transformer.wte.weight') ? 'transformer.' : '';
    const nameOf = (plain: string): string => (plain === 'lm_head.weight' ? plain : prefix + plain);
    const d = config.d_model;
    expectShape(weights, nameOf('wte.weight'), [config.d_vocab, d]);
    expectShape(weights, nameOf('wpe.weight'), [config.n_ctx, d]);
    for (let l = 0; l < config.n_layers; l++) {
      for (const [name, shape] of GPT2_LAYER_TENSORS(config)) expectShape(weights, nameOf(`h.${l}.${name}`), shape);
    }
    expectShape(weights, nameOf('ln_f.weight'), [d]);
    expectShape(weights, nameOf('ln_f.bias'), [d]);
    if (!tied) expectShape(weights, 'lm_head.weight', [config.d_vocab, d]);
    return { path, config, weights, nameOf, untied: !tied, files: [configPath, ...files] };
  } catch (e) {
    weights.close();
    throw e;
  }
}
