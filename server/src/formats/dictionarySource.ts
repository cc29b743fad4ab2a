import { closeSync, existsSync, fstatSync, openSync, readdirSync, readFileSync, readSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { parse as parseYaml } from 'yaml';
import { InputFileError, UnsupportedError } from '../errors';
import { zipMembers } from './archive';
import { readJsonObject } from './jsonFile';
import { openNpz } from './npz';
import { InertRecord } from './pickle';
import { type Architecture, type DictionaryConfig, type DictionaryFolder, openDictionaryFolder } from './saeLens';
import { openSafetensors } from './safetensors';
import { type TensorFile, type TensorInfo } from './tensorFile';
import { openTorch, torchTensors } from './torchFile';
import { type DictionaryTensors, namedTensors } from './weightNames';

type Flags = Record<string, unknown>;

/** What a file says of itself, beside its tensors. */
interface Said {
  hook: string | null;
  hookOut: string | null;
  transcoder: boolean;
  applyInputBias: boolean;
  flags: Flags | null;
  model: string | null;
  neuronpedia: string | null;
  /** Sizes that a configuration gives. */
  sizes: { d_in?: unknown; d_sae?: unknown };
  k: number | null;
}

/** Processing that published sets expect (reference weight-formats §14). */
const FOLDED: Flags = { fold_ln: true, center_writing_weights: true, center_unembed: true, fold_value_biases: true };
const CENTRED: Flags = { center_writing_weights: true };
const RAW: Flags = {};

const HOOK = /blocks\.(\d+)\.(attn\.hook_z|hook_resid_pre|hook_resid_post|ln2\.hook_normalized)/;

/** The hook that a path names: written out, as in a run of the attention SAEs, or as in Gemma Scope's folders. */
function hookOfPath(path: string): string | null {
  const name = path.replaceAll('\\', '/');
  const [written] = HOOK.exec(basename(name)) ?? HOOK.exec(name) ?? [];
  if (written) return written;
  const [, kk] = /_L(\d+)_Hcat_z_/.exec(name) ?? [];
  if (kk) return `blocks.${kk}.attn.hook_z`;
  const [, layer] = /layer_(\d+)\//.exec(name) ?? [];
  if (layer && /(^|[-_/])att([-_/]|$)/.test(name)) return `blocks.${layer}.attn.hook_z`;
  if (layer && /(^|[-_/])res([-_/]|$)/.test(name)) return `blocks.${layer}.hook_resid_post`;
  return null;
}

/** Plain values of a pickled configuration, whatever its class. */
function plain(x: unknown): Record<string, unknown> {
  const table = x instanceof InertRecord ? x.state : x;
  return table instanceof Map
    ? Object.fromEntries([...table].filter(([k]) => typeof k === 'string') as [string, unknown][])
    : {};
}

const text = (x: unknown): string | null => (typeof x === 'string' && x !== '' ? x : null);

/** The published attention SAEs' name on Neuronpedia (reference interop §3.1). */
function publishedId(model: string | null, hook: string | null, kk: boolean): string | null {
  const [, layer] = /^blocks\.(\d+)\.attn\.hook_z$/.exec(hook ?? '') ?? [];
  return kk && model === 'gpt2-small' && layer !== undefined ? `gpt2-small/${layer}-att-kk` : null;
}

/** A layer as it stands in a hook's name; unreadable ones make a name that no model has, which is refused with it. */
const layerIn = (x: unknown): string => (typeof x === 'number' || typeof x === 'string' ? `${x}` : '?');

function saidBy(path: string, c: Record<string, unknown>, hasOutBias: boolean): Said {
  const layer = layerIn(c.hook_point_layer ?? c.hook_layer ?? c.layer);
  const hookText = text(c.act_name) ?? text(c.hook_name) ?? text(c.hook_point) ?? hookOfPath(path);
  const hook = hookText?.replace('{layer}', layer) ?? null;
  const transcoder = c.is_transcoder === true || hasOutBias;
  const kk = 'act_name' in c || /_Hcat_z_/.test(path);
  return {
    hook,
    hookOut:
      text(c.out_hook_point)?.replace(
        '{layer}',
        c.out_hook_point_layer == null ? layer : layerIn(c.out_hook_point_layer),
      ) ?? null,
    transcoder,
    applyInputBias: c.apply_b_dec_to_input !== false,
    flags: kk || transcoder ? FOLDED : hook?.includes('hook_resid') ? CENTRED : null,
    model: text(c.model_name),
    neuronpedia: publishedId(text(c.model_name), hook, kk),
    sizes: { d_in: c.act_size ?? c.d_in, d_sae: c.dict_size ?? c.d_sae },
    k: typeof c.k === 'number' ? c.k : null,
  };
}

/** A dictionary's parts under one roof: the configuration, and the tensors that the importer reads. */
function assemble(
  path: string,
  t: DictionaryTensors,
  said: Said,
  files: string[],
  close: () => void,
): DictionaryFolder {
  const { d_in, d_sae, d_out } = t;
  for (const [name, is] of Object.entries({ d_in, d_sae })) {
    const want = said.sizes[name as 'd_in' | 'd_sae'];
    if (typeof want === 'number' && want !== is)
      throw new InputFileError(path, `its configuration says ${name} is ${want}, its tensors have ${is}`);
  }
  if (t.has('scaling_factor') && t.read('scaling_factor').some((s) => s !== 1))
    throw new UnsupportedError(`${path}: a scaling_factor other than 1 is not supported`);
  if (!said.transcoder && d_in !== d_out)
    throw new InputFileError(
      path,
      `reads ${d_in} numbers and writes ${d_out}, but nothing says that it is a transcoder`,
    );
  const architecture: Architecture = t.has('b_gate')
    ? 'gated'
    : t.has('threshold')
      ? 'jumprelu'
      : said.k !== null
        ? 'topk'
        : 'standard';
  const skip = said.transcoder && t.has('W_skip');
  const config: DictionaryConfig = {
    architecture,
    transcoder: said.transcoder,
    skip,
    d_in,
    d_sae,
    d_out,
    hook_name: said.hook ?? '',
    hook_name_out: said.hookOut,
    apply_b_dec_to_input: !said.transcoder && said.applyInputBias,
    normalisation: 'none',
    k: architecture === 'topk' ? said.k : null,
    rescale_acts_by_decoder_norm: false,
    model_name: said.model,
    neuronpedia_id: said.neuronpedia,
    model_from_pretrained_kwargs: said.flags,
  };
  const reads: Record<string, () => Float32Array> = Object.fromEntries(
    ['W_enc', 'W_dec', 'b_enc', 'b_dec', 'threshold', 'b_gate', 'b_mag', 'r_mag', 'W_skip'].map((n) => [
      n,
      () => t.read(n),
    ]),
  );
  if (t.has('b_dec_out')) {
    // An input bias is part of the encoder's: (x − b_dec) W_enc + b_enc.
    reads.b_enc = () => foldInputBias(t.read('b_enc'), t.read('b_dec'), t.read('W_enc'));
    reads.b_dec = () => t.read('b_dec_out');
  }
  const weights: TensorFile = {
    path,
    tensors: new Map<string, TensorInfo>(),
    read: (name, start = 0, count) => {
      const all = reads[name]();
      return start === 0 && count === undefined
        ? all
        : all.subarray(start, count === undefined ? undefined : start + count);
    },
    close,
  };
  return { path, config, weights, files };
}

function foldInputBias(b_enc: Float32Array, b_dec: Float32Array, W_enc: Float32Array): Float32Array {
  const sums = Float64Array.from(b_enc);
  const d_sae = b_enc.length;
  for (let i = 0; i < b_dec.length; i++) for (let f = 0; f < d_sae; f++) sums[f] -= b_dec[i] * W_enc[i * d_sae + f];
  return Float32Array.from(sums);
}

async function torchSource(path: string): Promise<DictionaryFolder> {
  const file = await openTorch(path);
  try {
    const { value } = file;
    const outer = value instanceof InertRecord ? value.state : value;
    if (!(outer instanceof Map)) throw new InputFileError(path, 'holds no table of tensors');
    const inner: unknown = outer.get('state_dict') ?? outer;
    if (!(inner instanceof Map)) throw new InputFileError(path, '"state_dict" is no table of tensors');
    const tensors = torchTensors(file, inner as Map<unknown, unknown>);
    const beside = path.replace(/\.[^.]*$/, '_cfg.json');
    const json = existsSync(beside) ? readJsonObject(beside) : {};
    const said = saidBy(
      path,
      { ...plain(outer.get('cfg') ?? outer.get('config')), ...json },
      tensors.tensors.has('b_dec_out'),
    );
    const files = existsSync(beside) ? [path, beside] : [path];
    return assemble(path, namedTensors(tensors, false), said, files, () => file.close());
  } catch (e) {
    file.close();
    throw e;
  }
}

/** Gemma Scope: JumpReLU without an input bias, trained on the raw model (reference weight-formats §10). */
async function npzSource(path: string): Promise<DictionaryFolder> {
  const file = await openNpz(path);
  try {
    const said: Said = {
      hook: hookOfPath(path),
      hookOut: null,
      transcoder: false,
      applyInputBias: false,
      flags: RAW,
      model: null,
      neuronpedia: null,
      sizes: {},
      k: null,
    };
    return assemble(path, namedTensors(file, false), said, [path], () => file.close());
  } catch (e) {
    file.close();
    throw e;
  }
}

/** `config.yaml` of a circuit-tracer set, or null. Throws InputFileError. */
function setConfig(folder: string): Record<string, unknown> | null {
  const path = join(folder, 'config.yaml');
  if (!existsSync(path)) return null;
  if (statSync(path).size > 1e6) throw new InputFileError(path, 'larger than a configuration can be');
  let value: unknown;
  try {
    value = parseYaml(readFileSync(path, 'utf8'), { maxAliasCount: 20 });
  } catch (e) {
    throw new InputFileError(path, `not valid YAML (${(e as Error).message.split('\n')[0]})`);
  }
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : null;
}

/** A layer of a circuit-tracer set, or another single safetensors file of a dictionary. */
function safetensorsSource(path: string): DictionaryFolder {
  if (basename(path) === 'sae_weights.safetensors') return openDictionaryFolder(dirname(path));
  const said = saidBySet(path, setConfig(dirname(path)));
  const file = openSafetensors(path);
  try {
    return assemble(path, namedTensors(file, said.transcoder), said, [path], () => file.close());
  } catch (e) {
    file.close();
    throw e;
  }
}

function saidBySet(path: string, set: Record<string, unknown> | null): Said {
  const [, layer] = /layer_(\d+)\.safetensors$/.exec(path) ?? [];
  const input = text(set?.feature_input_hook);
  if (input !== null && input !== 'ln2.hook_normalized' && input !== 'mlp.hook_in')
    throw new UnsupportedError(`${path}: transcoders that read ${input} are not supported (ln2.hook_normalized is)`);
  const transcoder = layer !== undefined || set !== null;
  const named = transcoder && layer !== undefined;
  return {
    hook: named ? `blocks.${layer}.ln2.hook_normalized` : hookOfPath(path),
    hookOut: named ? `blocks.${layer}.hook_mlp_out` : null,
    transcoder,
    applyInputBias: !transcoder,
    flags: transcoder ? RAW : null,
    model: text(set?.model_name),
    neuronpedia: null,
    sizes: {},
    k: set?.activation === 'topk' && typeof set.k === 'number' ? set.k : null,
  };
}

type Kind = 'torch' | 'npz' | 'safetensors';

/** What a file is, by its content. Throws UnsupportedError naming what is read. */
async function kindOf(path: string): Promise<Kind> {
  const fd = openSync(path, 'r');
  const head = Buffer.alloc(9);
  let size: number;
  try {
    size = fstatSync(fd).size;
    readSync(fd, head, 0, 9, 0);
  } finally {
    closeSync(fd);
  }
  if (head.readUInt32LE() === 0x04034b50) {
    const members = await zipMembers(path);
    return [...members.keys()].some((n) => /(^|\/)data\.pkl$/.test(n)) ? 'torch' : 'npz';
  }
  if (head[8] === 0x7b && head.readBigUInt64LE() < BigInt(size)) return 'safetensors';
  if (head[0] === 0x80 || (head[0] === 0x1f && head[1] === 0x8b) || path.endsWith('.pt')) return 'torch';
  throw new UnsupportedError(`${path}: not a dictionary file that is read (SAELens folder, .pt, .npz, .safetensors)`);
}

/**
 * Opens a dictionary from a SAELens folder or a single file: torch (state dict, or with a configuration), npz, safetensors. Throws InputFileError
 * for what is damaged or missing and UnsupportedError, by name, for what is not implemented. The hook's name is empty when nothing says it.
 */
export async function openDictionarySource(path: string): Promise<DictionaryFolder> {
  if (!existsSync(path)) throw new InputFileError(path, 'the dictionary does not exist');
  if (statSync(path).isDirectory()) return openDictionaryFolder(path);
  const kind = await kindOf(path);
  if (kind === 'torch') return torchSource(path);
  return kind === 'npz' ? npzSource(path) : safetensorsSource(path);
}

/** Files of a folder that are dictionaries by themselves. */
const isDictionaryFile = (name: string): boolean =>
  /\.(pt|npz)$/.test(name) && !/_log_feature_sparsity\.pt$/.test(name);

/** Dictionaries at or directly below a path, sorted by name: SAELens folders, single files, circuit-tracer sets. Throws InputFileError. */
export function findDictionaries(path: string): string[] {
  if (!existsSync(path)) throw new InputFileError(path, 'the dictionary does not exist');
  if (!statSync(path).isDirectory()) return [path];
  if (existsSync(join(path, 'cfg.json'))) return [path];
  const names = readdirSync(path).sort((a, b) => a.localeCompare(b, 'en', { numeric: true }));
  const set = setConfig(path);
  if (set?.model_kind === 'cross_layer_transcoder')
    throw new UnsupportedError(`${path}: cross-layer transcoders are not supported`);
  const layers = names.filter((n) => /^layer_\d+\.safetensors$/.test(n)).map((n) => join(path, n));
  if (layers.length > 0) return layers;
  const found = names.flatMap((n) => {
    const full = join(path, n);
    if (isDictionaryFile(n)) return [full];
    if (existsSync(join(full, 'cfg.json'))) return [full];
    return existsSync(join(full, 'params.npz')) ? [join(full, 'params.npz')] : [];
  });
  if (found.length > 0) return found;
  if (existsSync(join(path, 'sae_weights.safetensors')))
    throw new InputFileError(join(path, 'cfg.json'), 'the file does not exist');
  throw new InputFileError(
    path,
    'holds no dictionary: expected cfg.json and sae_weights.safetensors here or in its folders, or .pt, .npz or layer_N.safetensors files',
  );
}
