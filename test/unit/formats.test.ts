import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import fc from 'fast-check';
import { formulaTensor } from '../../bench/synthetic/random';
import { given, writeSafetensors } from '../../bench/synthetic/files';
import { Engine } from '../../server/src/engine';
import { InputFileError, UnsupportedError } from '../../server/src/errors';
import { openDictionaryFolder, openSafetensors, toFloat32 } from '../../server/src/formats';
import { expectClose, reference, TINY, tokens } from '../support/conformance';

const temp = mkdtempSync(join(tmpdir(), 'attention-circuits-formats-'));
afterAll(() => rmSync(temp, { recursive: true, force: true }));
let count = 0;
const fresh = (): string => join(temp, String(count++));

const logitsOf = async (model: string): Promise<Float32Array> => {
  const engine = await Engine.open({ model, dictionaries: [], contract: 'auto', provider: 'cpu' });
  const run = await engine.run(tokens);
  const { logits } = await engine.model.unembed(run.trace.resid_post);
  await engine.close();
  return logits;
};

type Named = Record<string, { shape: number[]; data: Float32Array }>;

function tinyTensors(): Named {
  const f = openSafetensors(join(TINY, 'model', 'model.safetensors'));
  const out: Named = {};
  for (const [name, t] of f.tensors)
    if (!/\.attn\.bias$/.test(name)) out[name] = { shape: t.shape, data: f.read(name) };
  f.close();
  return out;
}

/** A safetensors file with its tensors stored as 16-bit numbers. */
function writeHalf(path: string, tensors: Named, dtype: 'F16' | 'BF16'): void {
  const header: Record<string, unknown> = {};
  const parts: Buffer[] = [];
  let at = 0;
  for (const [name, { shape, data }] of Object.entries(tensors)) {
    const bytes = Buffer.alloc(2 * data.length);
    data.forEach((v, i) => bytes.writeUInt16LE(dtype === 'BF16' ? bfloat(v) : half(v), 2 * i));
    header[name] = { dtype, shape, data_offsets: [at, at + bytes.length] };
    at += bytes.length;
    parts.push(bytes);
  }
  const text = Buffer.from(JSON.stringify(header));
  const size = Buffer.alloc(8);
  size.writeBigUInt64LE(BigInt(text.length));
  writeFileSync(path, Buffer.concat([size, text, ...parts]));
}

const bits = (v: number): number => new Uint32Array(Float32Array.of(v).buffer)[0];
const bfloat = (v: number): number => ((bits(v) + 0x8000) >>> 16) & 0xffff;
/** Rounds to half precision by searching the two nearest representable values. */
function half(v: number): number {
  const sign = v < 0 || Object.is(v, -0) ? 0x8000 : 0;
  const a = Math.abs(v);
  let lo = 0;
  let hi = 0x7bff;
  const value = (h: number): number => toFloat32(Uint8Array.of(h & 255, h >> 8), 'F16')[0];
  while (hi - lo > 1) {
    const mid = (lo + hi) >> 1;
    if (value(mid) <= a) lo = mid;
    else hi = mid;
  }
  return sign | (a - value(lo) <= value(hi) - a ? lo : hi);
}

describe('16-bit numbers', () => {
  test('known half-precision patterns', () => {
    const patterns = [0x3c00, 0xc000, 0x7bff, 0x0001, 0x0400, 0x8000];
    const bytes = Uint8Array.from(patterns.flatMap((p) => [p & 255, p >> 8]));
    expect([...toFloat32(bytes, 'F16')]).toEqual([1, -2, 65504, 2 ** -24, 2 ** -14, -0]);
    expect(toFloat32(Uint8Array.of(0, 0x7c), 'F16')[0]).toBe(Infinity);
    expect(toFloat32(Uint8Array.of(1, 0x7c), 'F16')[0]).toBeNaN();
  });
  test('bfloat16 is the upper half of float32', () => {
    fc.assert(
      fc.property(fc.float({ noNaN: true }), (v) => {
        const b = bits(v) >>> 16;
        expect(toFloat32(Uint8Array.of(b & 255, b >> 8), 'BF16')[0]).toBe(
          new Float32Array(Uint32Array.of((b << 16) >>> 0).buffer)[0],
        );
      }),
    );
  });
});

describe('the same model in other layouts gives the same logits', () => {
  let clean: Float32Array;
  let tensors: Named;
  const config = join(TINY, 'model', 'config.json');
  const folder = (): string => {
    const dir = fresh();
    cpSync(join(TINY, 'model'), dir, { recursive: true, filter: (f) => !f.endsWith('.safetensors') });
    return dir;
  };
  const write = (path: string, t: Named): void =>
    writeSafetensors(
      path,
      Object.fromEntries(Object.entries(t).map(([n, { shape, data }]) => [n, given(shape, data)])),
    );

  beforeAll(async () => {
    clean = await logitsOf(join(TINY, 'model'));
    tensors = tinyTensors();
    expectClose(clean, reference.model.logits.flat(), 'logits');
  });
  test('with the prefix transformer.', async () => {
    const dir = folder();
    write(
      join(dir, 'model.safetensors'),
      Object.fromEntries(Object.entries(tensors).map(([n, t]) => [`transformer.${n}`, t])),
    );
    expect(await logitsOf(dir)).toEqual(clean);
  });
  test('in shards', async () => {
    const dir = folder();
    const names = Object.keys(tensors);
    const weight_map: Record<string, string> = {};
    for (const [i, part] of [names.slice(0, 9), names.slice(9)].entries()) {
      const file = `model-0000${i + 1}-of-00002.safetensors`;
      write(join(dir, file), Object.fromEntries(part.map((n) => [n, tensors[n]])));
      for (const n of part) weight_map[n] = file;
    }
    const index = join(dir, 'model.safetensors.index.json');
    writeFileSync(index, JSON.stringify({ weight_map }));
    expect(await logitsOf(dir)).toEqual(clean);
    writeFileSync(index, JSON.stringify({ weight_map: { a: '../../elsewhere.safetensors' } }));
    await expect(logitsOf(dir)).rejects.toThrow(/expected a file name in the same folder/);
  });
  test('with an unembedding of its own', async () => {
    const dir = folder();
    write(join(dir, 'model.safetensors'), { ...tensors, 'lm_head.weight': tensors['wte.weight'] });
    writeFileSync(
      join(dir, 'config.json'),
      JSON.stringify({ ...(JSON.parse(readFileSync(config, 'utf8')) as object), tie_word_embeddings: false }),
    );
    expect(await logitsOf(dir)).toEqual(clean);
  });
  test.each(['F16', 'BF16'] as const)('in %s: as the same numbers rounded and stored as float32', async (dtype) => {
    const [a, b] = [folder(), folder()];
    writeHalf(join(a, 'model.safetensors'), tensors, dtype);
    const f = openSafetensors(join(a, 'model.safetensors'));
    write(
      join(b, 'model.safetensors'),
      Object.fromEntries([...f.tensors].map(([n, t]) => [n, { shape: t.shape, data: f.read(n) }])),
    );
    f.close();
    const [got, want] = [await logitsOf(a), await logitsOf(b)];
    expect(got).toEqual(want);
    expectClose(got, clean, dtype, 0.2);
  });
});

test('a file rewritten in place is imported anew', async () => {
  const dir = fresh();
  cpSync(join(TINY, 'model'), dir, { recursive: true });
  const before = await logitsOf(dir);
  const tensors = tinyTensors();
  tensors['ln_f.bias'].data[0] += 1;
  writeSafetensors(
    join(dir, 'model.safetensors'),
    Object.fromEntries(Object.entries(tensors).map(([n, { shape, data }]) => [n, given(shape, data)])),
  );
  expect(await logitsOf(dir)).not.toEqual(before);
});

describe('SAELens configurations', () => {
  const sae = join(TINY, 'saes', 'blocks.1.attn.hook_z');
  const withConfig = (edit: (o: Record<string, unknown>) => Record<string, unknown>): string => {
    const dir = fresh();
    cpSync(sae, dir, { recursive: true });
    const path = join(dir, 'cfg.json');
    writeFileSync(path, JSON.stringify(edit(JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>)));
    return dir;
  };
  const flat = (more: object) => (o: Record<string, unknown>) => ({
    d_in: o.d_in,
    d_sae: o.d_sae,
    hook_point: 'blocks.1.attn.hook_z',
    ...more,
  });

  test('old keys are renamed, old defaults hold', () => {
    const { config } = openDictionaryFolder(withConfig(flat({})));
    expect(config).toMatchObject({
      architecture: 'standard',
      hook_name: 'blocks.1.attn.hook_z',
      apply_b_dec_to_input: true,
      normalisation: 'none',
    });
  });
  test('old activation_fn topk with kwargs becomes topk with that k', () => {
    const { config } = openDictionaryFolder(
      withConfig(flat({ activation_fn_str: 'topk', activation_fn_kwargs: { k: 7 } })),
    );
    expect(config).toMatchObject({ architecture: 'topk', k: 7 });
  });
  test('boolean normalisation of old files', () => {
    expect(openDictionaryFolder(withConfig(flat({ normalize_activations: true }))).config.normalisation).toBe('none');
    expect(openDictionaryFolder(withConfig(flat({ normalize_activations: false }))).config.normalisation).toBe('none');
  });
  test('unknown keys do not matter; a transcoder that subtracts b_dec is refused', () => {
    expect(() => openDictionaryFolder(withConfig((o) => ({ ...o, something_new: 1 })))).not.toThrow();
    expect(() => openDictionaryFolder(withConfig((o) => ({ ...o, architecture: 'transcoder', d_out: 32 })))).toThrow(
      UnsupportedError,
    );
  });
});

test('the safetensors reader survives any bytes: a typed error or a file', () => {
  const good = readFileSync(join(TINY, 'saes', 'blocks.1.attn.hook_z', 'sae_weights.safetensors'));
  const path = join(temp, 'fuzz.safetensors');
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(600), fc.nat(255)), { minLength: 1, maxLength: 6 }),
      fc.option(fc.nat(good.length)),
      (edits, length) => {
        const bytes = Buffer.from(good.subarray(0, length ?? good.length));
        for (const [at, value] of edits) if (at < bytes.length) bytes[at] = value;
        writeFileSync(path, bytes);
        try {
          const f = openSafetensors(path);
          for (const name of f.tensors.keys()) f.read(name);
          f.close();
        } catch (e) {
          expect(e).toBeInstanceOf(InputFileError);
          expect((e as Error).message).toContain(path);
        }
      },
    ),
    { numRuns: 300 },
  );
});

test('formula weights are normal with the mean and deviation asked for, and do not depend on how they are cut', () => {
  const x = formulaTensor('some.tensor', 42, 0.5, 2, 40_000);
  const m = x.reduce((a, b) => a + b, 0) / x.length;
  const s = Math.sqrt(x.reduce((a, b) => a + (b - m) ** 2, 0) / x.length);
  expect(m).toBeCloseTo(0.5, 1);
  expect(s).toBeCloseTo(2, 1);
  expect(formulaTensor('some.tensor', 42, 0.5, 2, 10, 777)).toEqual(x.slice(777, 787));
});
