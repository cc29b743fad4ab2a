import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { cli, tiny, type CliResult } from '../support/cli';
import { FIXTURES, TINY } from '../support/conformance';

const temp = mkdtempSync(join(tmpdir(), 'attention-circuits-bad-'));
afterAll(() => rmSync(temp, { recursive: true, force: true }));

const MODEL = join(TINY, 'model');
const SAE = join(TINY, 'saes', 'blocks.1.attn.hook_z');

/** One clear line, nothing on standard output, no stack trace. */
function expectRefusal(r: CliResult, code: number, ...says: (string | RegExp)[]): void {
  expect(r.stdout).toBe('');
  expect(r.stderr).not.toMatch(/\n\s+at /);
  for (const s of says) expect(r.stderr).toMatch(s);
  expect(r.code).toBe(code);
}

let count = 0;
/** A copy of a folder that a test may damage. */
function copyOf(source: string): string {
  const dir = join(temp, String(count++));
  cpSync(source, dir, { recursive: true });
  return dir;
}

type Header = Record<string, { dtype: string; shape: number[]; data_offsets: [number, number] }>;

/** Rewrites a safetensors file's header, its data unchanged. */
function editHeader(path: string, edit: (h: Header) => Header | string): void {
  const bytes = readFileSync(path);
  const n = Number(bytes.readBigUInt64LE(0));
  const result = edit(JSON.parse(bytes.subarray(8, 8 + n).toString()) as Header);
  const text = Buffer.from(typeof result === 'string' ? result : JSON.stringify(result));
  const size = Buffer.alloc(8);
  size.writeBigUInt64LE(BigInt(text.length));
  writeFileSync(path, Buffer.concat([size, text, bytes.subarray(8 + n)]));
}

function editJson(path: string, edit: (o: Record<string, unknown>) => void): void {
  const o = JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>;
  edit(o);
  writeFileSync(path, JSON.stringify(o));
}

const onModel = (model: string): Promise<CliResult> =>
  cli(['activations', '--json', '--model', model, '--tokens', '1,2,3', '--provider', 'cpu']);
const onSae = (sae: string): Promise<CliResult> =>
  cli(['activations', '--json', '--model', MODEL, '--sae', sae, '--tokens', '1,2,3', '--provider', 'cpu']);

describe('model files', () => {
  const weights = (dir: string): string => join(dir, 'model.safetensors');

  test('missing folder, missing files', async () => {
    expectRefusal(await onModel(join(temp, 'nowhere')), 3, /nowhere: the model folder does not exist/);
    const dir = copyOf(MODEL);
    rmSync(weights(dir));
    expectRefusal(await onModel(dir), 3, /model\.safetensors: the file does not exist/);
    rmSync(join(dir, 'config.json'));
    expectRefusal(await onModel(dir), 3, /config\.json: the file does not exist/);
  });
  test('truncated data', async () => {
    const dir = copyOf(MODEL);
    truncateSync(weights(dir), 20_000);
    expectRefusal(await onModel(dir), 3, /model\.safetensors: tensor ".*": data_offsets .* leave the file/);
  });
  test('truncated header, and a header that claims more than the file', async () => {
    const dir = copyOf(MODEL);
    truncateSync(weights(dir), 100);
    expectRefusal(await onModel(dir), 3, /says its header has \d+ bytes, but the file has 100/);
    truncateSync(weights(dir), 4);
    expectRefusal(await onModel(dir), 3, /too short/);
    writeFileSync(weights(dir), Buffer.from('ffffffffffffff7f7b7d', 'hex'));
    expectRefusal(await onModel(dir), 3, /truncated, or not a safetensors file/);
  });
  test('a header that lies about shapes, types, offsets or names', async () => {
    const cases: [RegExp, (h: Header) => Header | string][] = [
      [
        /shape \[16, 32\] of F32 needs 2048 bytes/,
        (h) => ({ ...h, 'wpe.weight': { ...h['wpe.weight'], shape: [16, 32] } }),
      ],
      [/element type "F4" is not supported/, (h) => ({ ...h, 'wpe.weight': { ...h['wpe.weight'], dtype: 'F4' } })],
      [/shape is not a list of sizes/, (h) => ({ ...h, 'wpe.weight': { ...h['wpe.weight'], shape: [-64, -32] } })],
      [
        /overlap another tensor|leave a hole/,
        (h) => ({ ...h, 'wpe.weight': h['wte.weight'] && { ...h['wpe.weight'], data_offsets: [0, 8192] } }),
      ],
      [
        /names a tensor twice/,
        (h) => JSON.stringify(h).replace('{', '{"ln_f.bias":{"dtype":"F32","shape":[],"data_offsets":[0,4]},'),
      ],
      [/not valid JSON/, () => '{"a":'],
      [/not a JSON object/, () => '[1,2]'],
      [
        /tensor "ln_f\.bias" is missing/,
        (h) => Object.fromEntries(Object.entries(h).map(([k, v]) => [k === 'ln_f.bias' ? 'other' : k, v])),
      ],
    ];
    for (const [says, edit] of cases) {
      const dir = copyOf(MODEL);
      editHeader(weights(dir), edit);
      expectRefusal(await onModel(dir), 3, says, /model\.safetensors/);
    }
  });
  test('NaN weights name their tensor', async () => {
    const dir = copyOf(MODEL);
    const bytes = readFileSync(weights(dir));
    const n = Number(bytes.readBigUInt64LE(0));
    const header = JSON.parse(bytes.subarray(8, 8 + n).toString()) as Header;
    bytes.writeFloatLE(NaN, 8 + n + header['h.1.mlp.c_fc.weight'].data_offsets[0] + 40);
    writeFileSync(weights(dir), bytes);
    expectRefusal(await onModel(dir), 3, /tensor "h\.1\.mlp\.c_fc\.weight": element 10 is NaN/);
  });
  test('a configuration that does not fit or is not supported', async () => {
    const cases: [RegExp, (o: Record<string, unknown>) => void][] = [
      [/tensor "wte\.weight": expected shape \[101, 64\]/, (o) => (o.n_embd = 64)],
      [/activation_function "relu" is not supported/, (o) => (o.activation_function = 'relu')],
      [/model_type "llama" is not supported/, (o) => (o.model_type = 'llama')],
      [/scale_attn_by_inverse_layer_idx/, (o) => (o.scale_attn_by_inverse_layer_idx = true)],
      [/"n_layer"/, (o) => delete o.n_layer],
      [/"n_head"/, (o) => (o.n_head = 2.5)],
    ];
    for (const [says, edit] of cases) {
      const dir = copyOf(MODEL);
      editJson(join(dir, 'config.json'), edit);
      expectRefusal(await onModel(dir), 3, says, /config\.json|model\.safetensors/);
    }
  });
});

describe('dictionary files', () => {
  const cfg = (dir: string): string => join(dir, 'cfg.json');

  test('missing, empty folder, truncated, wrong shape, NaN', async () => {
    expectRefusal(await onSae(join(temp, 'nowhere')), 3, /nowhere: the dictionary does not exist/);
    const empty = join(temp, 'empty');
    mkdirSync(empty);
    expectRefusal(await onSae(empty), 3, /holds no dictionary/);
    const cut = copyOf(SAE);
    truncateSync(join(cut, 'sae_weights.safetensors'), 9000);
    expectRefusal(await onSae(cut), 3, /sae_weights\.safetensors: tensor/);
    const wide = copyOf(SAE);
    editJson(cfg(wide), (o) => (o.d_sae = 161));
    expectRefusal(await onSae(wide), 3, /tensor "W_enc": expected shape \[32, 161\] from cfg\.json, found \[32, 160\]/);
    const nan = copyOf(SAE);
    const file = join(nan, 'sae_weights.safetensors');
    const bytes = readFileSync(file);
    bytes.writeFloatLE(Infinity, bytes.length - 4);
    writeFileSync(file, bytes);
    expectRefusal(await onSae(nan), 3, /is Infinity; weights must be finite/);
  });
  test('unknown architecture, activation, normalisation, hook', async () => {
    const cases: [RegExp, (o: Record<string, unknown>) => void][] = [
      [/architecture "matryoshka" is not supported/, (o) => (o.architecture = 'matryoshka')],
      [/normalize_activations "softmax" is not supported/, (o) => (o.normalize_activations = 'softmax')],
      [/"d_in": expected a positive whole number/, (o) => (o.d_in = '32')],
      [
        /blocks\.1\.hook_mlp_out is not supported/,
        (o) => ((o.metadata as Record<string, unknown>).hook_name = 'blocks.1.hook_mlp_out'),
      ],
      [/"hook_name" is missing/, (o) => delete (o.metadata as Record<string, unknown>).hook_name],
      [
        /activation_fn "tanh" is not supported/,
        (o) => Object.assign(o, { metadata: {}, activation_fn_str: 'tanh', hook_name: 'blocks.1.attn.hook_z' }),
      ],
    ];
    for (const [says, edit] of cases) {
      const dir = copyOf(SAE);
      editJson(cfg(dir), edit);
      expectRefusal(await onSae(dir), 3, says, /cfg\.json|blocks/);
    }
  });
  test('a dictionary for another model, and two on one site', async () => {
    const deep = copyOf(SAE);
    editJson(cfg(deep), (o) => ((o.metadata as Record<string, unknown>).hook_name = 'blocks.7.attn.hook_z'));
    expectRefusal(
      await onSae(deep),
      3,
      /does not fit the model .*it reads blocks\.7\.attn\.hook_z, the model has layers 0 to 2/,
    );
    const twice = await cli(['activations', '--model', MODEL, '--sae', SAE, '--sae', SAE, '--tokens', '1', '--json']);
    expectRefusal(twice, 2, /two dictionaries on blocks\.1\.attn\.hook_z/);
  });
  test('encode refuses rows of the wrong width and numbers that are none', async () => {
    const input = join(temp, 'rows.json');
    const sae = join(FIXTURES, 'sae-architectures', 'topk');
    const encode = (x: unknown): Promise<CliResult> => {
      writeFileSync(input, JSON.stringify({ x }));
      return cli(['encode', '--sae', sae, '--input', input, '--json']);
    };
    expectRefusal(await encode([[1, 2]]), 3, /row 0 of "x": expected 32 numbers, found 2/);
    expectRefusal(await encode([new Array(32).fill('a')]), 3, /element 0 is not a finite number/);
    expectRefusal(await encode([]), 3, /at least one row/);
    expectRefusal(
      await cli(['encode', '--sae', sae, '--input', join(temp, 'none.json')]),
      3,
      /none\.json: the file does not exist/,
    );
  });
});

describe('prompts and names', () => {
  const base = ['--model', MODEL, '--sae', SAE, '--json'];
  test.each([
    [['activations', '--tokens', '1,2,101'], /token 101 at position 2 is outside the vocabulary \(0 to 100\)/],
    [
      ['activations', '--tokens', new Array(65).fill('1').join(',')],
      /the prompt has 65 tokens; the model's context holds 64/,
    ],
    [['activations', '--tokens', '1,x'], /--tokens: expected a whole number/],
    [['activations'], /give the prompt either as --prompt TEXT or as --tokens/],
    [
      ['dfa', '--tokens', '1,2', '--feature', 'blocks.1.attn.hook_z/160', '--position', '1'],
      /has no feature 160: its features are 0 to 159/,
    ],
    [
      ['dfa', '--tokens', '1,2', '--feature', 'blocks.0.attn.hook_z/1', '--position', '1'],
      /no dictionary is loaded on blocks\.0\.attn\.hook_z/,
    ],
    [
      ['dfa', '--tokens', '1,2', '--feature', 'blocks.1.attn.hook_z/1', '--position', '2'],
      /position 2 is outside the prompt \(0 to 1\)/,
    ],
    [['tree', '--tokens', '1,2', '--root', 'nonsense'], /expected SITE\/INDEX@P/],
    [['tree', '--tokens', '1,2', '--root', 'logit:500@1'], /token 500 is outside the vocabulary/],
    [['tree', '--tokens', '1,2', '--root', 'logit:" a"@1'], /no tokenizer, give token ids/],
    [['tree', '--tokens', '1,2', '--root', 'logitdiff:5@1'], /expected "\|" and a second token/],
    [
      ['tree', '--tokens', '1,2', '--root', 'logit:5@1', '--view', 'sideways'],
      /Allowed choices are residual, component/,
    ],
    [
      ['run', '--tokens', '1,2', '--splice', 'blocks.9.attn.hook_z'],
      /no dictionary is loaded on blocks\.9\.attn\.hook_z/,
    ],
    [['run', '--tokens', '1,2', '--pin', 'blocks.1.attn.hook_z/1=3'], /expected SITE\/INDEX@POSITION=VALUE/],
    [['run', '--tokens', '1,2', '--ablate', 'blocks.1.attn.hook_z/1@9'], /position 9 is outside the prompt/],
    [['validate', '--tokens', '1,2', '--root', 'logit:5@1', '--edge', 'logit:5@1~nothing'], /has no child "nothing"/],
    [['validate', '--tokens', '1,2', '--root', 'logit:5@1', '--edge', 'logit:5@1'], /is the root: an edge is named by/],
  ])('%j', async (args, says) => {
    expectRefusal(await cli([args[0], ...base, ...args.slice(1)]), 2, says);
  });
  test('text without a tokenizer', async () => {
    expectRefusal(await cli(['activations', ...base, '--prompt', 'hello']), 3, /has no tokenizer .*: give --tokens/);
  });
  test('unknown commands and options', async () => {
    expectRefusal(await cli(['frobnicate']), 2, /unknown command/);
    expectRefusal(await cli(['activations', ...tiny, '--frobnicate']), 2, /unknown option/);
  });
  test('a cache folder that cannot be written says how to choose another', async () => {
    const file = join(temp, 'a-file');
    writeFileSync(file, '');
    const r = await cli(['activations', ...base, '--tokens', '1'], { ATTENTION_CIRCUITS_CACHE: join(file, 'cache') });
    expectRefusal(r, 5, /set ATTENTION_CIRCUITS_CACHE/);
  });
});

describe('graph files', () => {
  const file = join(temp, 'graph.json');
  const read = (content: string | Buffer): Promise<CliResult> => {
    writeFileSync(file, content);
    return cli(['graph', '--import', file, '--json']);
  };
  test.each([
    ['{', /not valid JSON/],
    ['[]', /expected a JSON object/],
    ['{"nodes":[],"links":[]}', /"metadata" is missing/],
    ['{"metadata":{},"nodes":{},"links":[]}', /"nodes" is missing or not a list/],
    [
      '{"metadata":{},"nodes":[{"node_id":"a","ctx_idx":0.5,"feature_type":"logit"}],"links":[]}',
      /nodes\[0\]: "ctx_idx"/,
    ],
    ['{"metadata":{},"nodes":[],"links":[{"source":"a","target":"b","weight":"x"}]}', /links\[0\]: "weight"/],
  ])('%s', async (content, says) => {
    expectRefusal(await read(content), 3, says, /graph\.json/);
  });
  test('broken gzip', async () => {
    expectRefusal(await read(Buffer.from('1f8b0800aaaa', 'hex')), 3, /cannot be unpacked/);
  });
});
