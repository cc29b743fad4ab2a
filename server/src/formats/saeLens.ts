import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { InputFileError, UnsupportedError } from '../errors';
import { readJsonObject } from './jsonFile';
import { openSafetensors } from './safetensors';
import { type TensorFile } from './tensorFile';

/** Activation rule of a dictionary. */
export type Architecture = 'standard' | 'jumprelu' | 'topk' | 'gated';
/** Input normalisation applied at run time. */
export type Normalisation = 'none' | 'constant_norm_rescale' | 'layer_norm';

/** What a dictionary's configuration says, old and new layouts unified (reference weight-formats §7). */
export interface DictionaryConfig {
  architecture: Architecture;
  /** True for transcoders, which read one site and write to another. */
  transcoder: boolean;
  /** True when a linear skip `x W_skipᵀ` belongs to the output. */
  skip: boolean;
  d_in: number;
  d_sae: number;
  d_out: number;
  hook_name: string;
  /** Where a transcoder writes; null for SAEs. */
  hook_name_out: string | null;
  apply_b_dec_to_input: boolean;
  normalisation: Normalisation;
  /** TopK only. */
  k: number | null;
  rescale_acts_by_decoder_norm: boolean;
  /** Model the dictionary was trained on, as it names it. */
  model_name: string | null;
  neuronpedia_id: string | null;
  /** Processing flags of the model it was trained on, where the configuration lists them. */
  model_from_pretrained_kwargs: Record<string, unknown> | null;
}

/** An opened dictionary folder. */
export interface DictionaryFolder {
  path: string;
  config: DictionaryConfig;
  weights: TensorFile;
  files: string[];
}

const ARCHITECTURES: Record<string, { architecture: Architecture; transcoder: boolean; skip: boolean }> = {
  standard: { architecture: 'standard', transcoder: false, skip: false },
  jumprelu: { architecture: 'jumprelu', transcoder: false, skip: false },
  topk: { architecture: 'topk', transcoder: false, skip: false },
  gated: { architecture: 'gated', transcoder: false, skip: false },
  transcoder: { architecture: 'standard', transcoder: true, skip: false },
  skip_transcoder: { architecture: 'standard', transcoder: true, skip: true },
  jumprelu_transcoder: { architecture: 'jumprelu', transcoder: true, skip: false },
};

class Fields {
  constructor(
    private readonly path: string,
    private readonly raw: Record<string, unknown>,
  ) {}
  private fail(key: string, expected: string): never {
    throw new InputFileError(this.path, `"${key}": expected ${expected}, found ${JSON.stringify(this.raw[key])}`);
  }
  count(key: string, fallback?: number): number {
    const v = this.raw[key] ?? fallback;
    return typeof v === 'number' && Number.isSafeInteger(v) && v > 0 ? v : this.fail(key, 'a positive whole number');
  }
  flag(key: string, fallback: boolean): boolean {
    const v = this.raw[key] ?? fallback;
    return typeof v === 'boolean' ? v : this.fail(key, 'true or false');
  }
  text(key: string): string | null {
    const v = this.raw[key] ?? null;
    return v === null || typeof v === 'string' ? v : this.fail(key, 'a string');
  }
  record(key: string): Record<string, unknown> | null {
    const v = this.raw[key] ?? null;
    if (v === null) return null;
    return typeof v === 'object' && !Array.isArray(v) ? (v as Record<string, unknown>) : this.fail(key, 'an object');
  }
}

/** Old, flat configurations brought to the keys of the new ones. */
function modernise(raw: Record<string, unknown>): Record<string, unknown> {
  const c: Record<string, unknown> = { ...(raw.metadata as Record<string, unknown> | undefined), ...raw };
  c.hook_name ??= raw.hook_point;
  c.activation_fn ??= raw.activation_fn_str ?? 'relu';
  c.architecture ??= 'standard';
  const n = raw.normalize_activations;
  c.normalize_activations = n === true ? 'expected_average_only_in' : n === false || n == null ? 'none' : n;
  if (c.activation_fn === 'topk') {
    c.architecture = 'topk';
    const kwargs = raw.activation_fn_kwargs as { k?: unknown } | undefined;
    c.k = kwargs?.k ?? raw.k;
  }
  return c;
}

function isOld(raw: Record<string, unknown>): boolean {
  const metadata = raw.metadata as Record<string, unknown> | undefined;
  const version = raw.sae_lens_version ?? metadata?.sae_lens_version;
  return typeof version !== 'string' || Number.parseInt(version, 10) < 6;
}

function parseNormalisation(path: string, value: unknown): Normalisation {
  if (value === 'none' || value === 'constant_norm_rescale' || value === 'layer_norm') return value;
  // Without a registry's known scale the weights of this mode are used as they are.
  if (value === 'expected_average_only_in') return 'none';
  throw new UnsupportedError(
    `${path}: normalize_activations ${JSON.stringify(value)} is not supported ` +
      '(none, expected_average_only_in, constant_norm_rescale, layer_norm are)',
  );
}

function parseConfig(path: string): DictionaryConfig & { finetuned: boolean } {
  const raw = readJsonObject(path);
  const old = isOld(raw);
  const c: Record<string, unknown> = old
    ? modernise(raw)
    : {
        ...(raw.metadata as Record<string, unknown> | undefined),
        ...raw,
        normalize_activations: raw.normalize_activations ?? 'none',
      };
  const f = new Fields(path, c);
  const { architecture } = c;
  const known = typeof architecture === 'string' && Object.hasOwn(ARCHITECTURES, architecture);
  const kind = known ? ARCHITECTURES[architecture] : null;
  if (!kind) {
    throw new UnsupportedError(
      `${path}: architecture ${JSON.stringify(c.architecture)} is not supported (${Object.keys(ARCHITECTURES).join(', ')} are)`,
    );
  }
  if (old && c.activation_fn !== 'relu' && c.activation_fn !== 'topk') {
    throw new UnsupportedError(
      `${path}: activation_fn ${JSON.stringify(c.activation_fn)} is not supported (relu and topk are)`,
    );
  }
  const hook = f.text('hook_name');
  if (hook === null)
    throw new InputFileError(path, '"hook_name" is missing: which activation does the dictionary read?');
  if (c.hook_head_index != null)
    throw new UnsupportedError(
      `${path}: hook_head_index ${JSON.stringify(c.hook_head_index)}: single-head dictionaries are not supported`,
    );
  const d_in = f.count('d_in');
  const apply = f.flag('apply_b_dec_to_input', !kind.transcoder);
  if (kind.transcoder && apply)
    throw new UnsupportedError(`${path}: apply_b_dec_to_input must be false for a transcoder`);
  return {
    ...kind,
    d_in,
    d_sae: f.count('d_sae'),
    d_out: kind.transcoder ? f.count('d_out', 768) : d_in,
    hook_name: hook,
    hook_name_out: kind.transcoder ? f.text('hook_name_out') : null,
    apply_b_dec_to_input: apply,
    normalisation: parseNormalisation(path, c.normalize_activations),
    k: kind.architecture === 'topk' ? f.count('k', 100) : null,
    rescale_acts_by_decoder_norm: f.flag('rescale_acts_by_decoder_norm', false),
    model_name: f.text('model_name'),
    neuronpedia_id: f.text('neuronpedia_id'),
    model_from_pretrained_kwargs: f.record('model_from_pretrained_kwargs'),
    finetuned: f.flag('finetuning_scaling_factor', false),
  };
}

function tensorShapes(c: DictionaryConfig): Record<string, number[]> {
  const { d_in, d_sae, d_out } = c;
  const shapes: Record<string, number[]> = { W_enc: [d_in, d_sae], W_dec: [d_sae, d_out], b_dec: [d_out] };
  if (c.architecture === 'gated') Object.assign(shapes, { b_gate: [d_sae], b_mag: [d_sae], r_mag: [d_sae] });
  else shapes.b_enc = [d_sae];
  if (c.architecture === 'jumprelu') shapes.threshold = [d_sae];
  if (c.skip) shapes.W_skip = [d_out, d_in];
  return shapes;
}

/**
 * Opens a SAELens folder (`cfg.json`, `sae_weights.safetensors`), layouts before and after version 6, and checks tensor shapes.
 * Throws InputFileError for what is damaged or missing and UnsupportedError, by name, for what is not implemented.
 */
export function openDictionaryFolder(path: string): DictionaryFolder {
  if (!existsSync(path)) throw new InputFileError(path, 'the dictionary folder does not exist');
  const configPath = join(path, 'cfg.json');
  const weightsPath = join(path, 'sae_weights.safetensors');
  const { finetuned, ...config } = parseConfig(configPath);
  const weights = openSafetensors(weightsPath);
  try {
    for (const [name, shape] of Object.entries(tensorShapes(config))) {
      const t = weights.tensors.get(name);
      if (!t)
        throw new InputFileError(weightsPath, `tensor "${name}" is missing (architecture ${config.architecture})`);
      if (t.shape.length !== shape.length || t.shape.some((s, i) => s !== shape[i])) {
        throw new InputFileError(
          weightsPath,
          `tensor "${name}": expected shape [${shape.join(', ')}] from cfg.json, found [${t.shape.join(', ')}]`,
        );
      }
    }
    if (weights.tensors.has('scaling_factor') && weights.read('scaling_factor').some((s) => s !== 1)) {
      throw new UnsupportedError(
        finetuned
          ? `${weightsPath}: finetuning_scaling_factor with a scaling_factor other than 1 is not supported`
          : `${weightsPath}: tensor "scaling_factor" is not all ones although finetuning_scaling_factor is false`,
      );
    }
    return { path, config, weights, files: [configPath, weightsPath] };
  } catch (e) {
    weights.close();
    throw e;
  }
}
