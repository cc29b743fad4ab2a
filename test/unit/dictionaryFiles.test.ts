/**
 * Dictionary files of other tools, made with torch and numpy (test/fixtures/formats/make.py), against what they must give in float64; and files
 * that are damaged or ask for code, which are refused by name.
 */
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openDictionary } from '../../server/src/dictionaries';
import { EngineError } from '../../server/src/errors';
import {
  findDictionaries,
  InertRecord,
  openDictionarySource,
  openNpz,
  openTorch,
  type TorchTensor,
} from '../../server/src/formats';
import { Runtime } from '../../server/src/runtime';

const FORMATS = join(import.meta.dirname, '..', 'fixtures', 'formats');
const ref = JSON.parse(readFileSync(join(FORMATS, 'ref.json'), 'utf8')) as {
  x: number[][];
  files: Record<string, { feature_acts: number[][]; recon: number[][] }>;
};
const KK = Object.keys(ref.files).find((f) => f.startsWith('kk/')) ?? '';

let runtime: Runtime;
beforeAll(() => (runtime = new Runtime('cpu')));
afterAll(() => runtime.close());

test.each(Object.keys(ref.files))('%s encodes and reconstructs as in torch', async (name) => {
  const want = ref.files[name];
  // bfloat16 and float16 are widened exactly; the rest is float32 arithmetic.
  const dictionary = await openDictionary(join(FORMATS, name), runtime);
  const x = Float32Array.from(ref.x.flat());
  const acts = await dictionary.encode(x);
  const recon = await dictionary.decode(acts, x);
  for (const [r, row] of want.feature_acts.entries()) {
    const dense = new Array<number>(row.length).fill(0);
    for (let i = acts.offsets[r]; i < acts.offsets[r + 1]; i++) dense[acts.features[i]] = acts.activations[i];
    row.forEach((v, f) => expect(dense[f]).toBeCloseTo(v, 4));
  }
  want.recon.flat().forEach((v, i) => expect(recon[i]).toBeCloseTo(v, 4));
  dictionary.close();
});

test('sites and processing come from configurations, pickled ones too, or from names', async () => {
  const said = async (name: string): Promise<unknown[]> => {
    const { config, weights } = await openDictionarySource(join(FORMATS, name));
    weights.close();
    return [
      config.hook_name,
      config.transcoder,
      config.architecture,
      config.model_from_pretrained_kwargs?.fold_value_biases,
    ];
  };
  expect(await said(KK)).toEqual(['blocks.3.attn.hook_z', false, 'standard', true]);
  expect(await said('transcoder.pt')).toEqual(['blocks.2.ln2.hook_normalized', true, 'standard', true]);
  expect(await said('gemma-scope-2b-pt-att/layer_1/width_16k/average_l0_10/params.npz')).toEqual([
    'blocks.1.attn.hook_z',
    false,
    'jumprelu',
    undefined,
  ]);
  expect(await said('ct/layer_1.safetensors')).toEqual(['blocks.1.ln2.hook_normalized', true, 'standard', undefined]);
  expect((await said('bare.pt'))[0]).toBe('');
});

test('the published attention SAEs know their name on Neuronpedia; others say none', async () => {
  const idOf = async (name: string): Promise<string | null> => {
    const { config, weights } = await openDictionarySource(join(FORMATS, name));
    weights.close();
    return config.neuronpedia_id;
  };
  expect(await idOf(KK)).toBe('gpt2-small/3-att-kk');
  expect(await idOf('bare.pt')).toBeNull();
});

test('a folder of them is found: a set by layers, runs without their configurations', () => {
  expect(findDictionaries(join(FORMATS, 'ct')).map((f) => basename(f))).toEqual([
    'layer_0.safetensors',
    'layer_1.safetensors',
  ]);
  expect(findDictionaries(join(FORMATS, 'kk')).map((f) => basename(f))).toEqual([basename(KK)]);
  expect(findDictionaries(join(FORMATS, 'bare.pt'))).toEqual([join(FORMATS, 'bare.pt')]);
});

test('a pickled configuration is an inert record; dtypes and devices are names', async () => {
  const file = await openTorch(join(FORMATS, 'transcoder.pt'));
  const cfg = (file.value as Map<string, unknown>).get('cfg');
  expect(cfg).toBeInstanceOf(InertRecord);
  const record = cfg as InertRecord;
  expect(record.type.full).toBe('sae_training.config.LanguageModelSAERunnerConfig');
  const state = record.state as Map<string, unknown>;
  expect([state.get('hook_point_layer'), state.get('is_transcoder'), state.get('lr'), state.get('steps')]).toEqual([
    2,
    true,
    0.0004,
    [1, 2],
  ]);
  expect(state.get('dtype')).toMatchObject({ module: 'torch', name: 'float32' });
  file.close();
});

test('views share storages and keep their strides', async () => {
  const file = await openTorch(join(FORMATS, 'bare.pt'));
  const t = (file.value as Map<string, unknown>).get('W_enc') as TorchTensor;
  expect([t.shape, t.stride]).toEqual([
    [8, 20],
    [1, 8],
  ]);
  file.close();
});

describe('refused by name, and nothing is run', () => {
  const dir = mkdtempSync(join(tmpdir(), 'formats-'));

  test.each([
    ['system.pt', /asks for a call of posix\.system; calls are refused/],
    ['getattr.pt', /asks for a call of (__builtin__|builtins)\.getattr/],
    ['eval-legacy.pt', /asks for a call of (__builtin__|builtins)\.eval/],
    ['objects.npz', /array "W_enc": element type "\|O" is not supported/],
  ])('%s', async (name, message) => {
    await expect(openDictionarySource(join(FORMATS, 'hostile', name))).rejects.toThrow(message);
    expect(existsSync('owned')).toBe(false);
  });

  const changed = (name: string, change: (b: Buffer) => Buffer): string => {
    const out = join(dir, `${Math.random().toString(36).slice(2)}-${basename(name)}`);
    writeFileSync(out, change(readFileSync(join(FORMATS, name))));
    return out;
  };

  test('what is cut off, empty, or something else', async () => {
    for (const name of ['bare.pt', 'legacy.pt', 'fortran.npz'])
      await expect(openDictionarySource(changed(name, (b) => b.subarray(0, b.length - 400)))).rejects.toThrow(
        EngineError,
      );
    await expect(openDictionarySource(changed('bare.pt', () => Buffer.alloc(0)))).rejects.toThrow(
      /not a dictionary file|too short/,
    );
    await expect(openDictionarySource(changed('ref.json', (b) => b))).rejects.toThrow(
      /not a dictionary file that is read/,
    );
    await expect(
      openDictionarySource(changed('bare.pt', () => Buffer.from([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0]))),
    ).rejects.toThrow(/convert it to safetensors/);
    await expect(openDictionarySource(join(dir, 'gone.pt'))).rejects.toThrow(/gone\.pt.*does not exist/);
  });

  test('a configuration whose sizes are not those of the tensors', async () => {
    const out = join(dir, 'kk');
    mkdirSync(out);
    cpSync(join(FORMATS, dirname(KK)), out, { recursive: true });
    const config = readdirSync(out).find((f) => f.endsWith('_cfg.json')) ?? '';
    writeFileSync(
      join(out, config),
      readFileSync(join(out, config), 'utf8').replace('"dict_size": 20', '"dict_size": 24'),
    );
    await expect(openDictionarySource(join(out, basename(KK)))).rejects.toThrow(
      /says d_sae is 24, its tensors have 20/,
    );
  });

  test('npz: arrays by name, whatever else is there', async () => {
    const file = await openNpz(join(FORMATS, 'deflated.npz'));
    expect([...file.tensors.keys()].sort()).toEqual(['b_dec', 'b_enc', 'threshold', 'w_dec', 'w_enc']);
    expect(() => file.read('nothing')).toThrow(/array "nothing" is missing/);
    file.close();
  });
});
