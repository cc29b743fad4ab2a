/**
 * Dictionary files of every layout, changed at random from valid ones: bytes anywhere, the header of a safetensors file as JSON, the instructions of a
 * pickle. Each is read or refused by an error of ours; none crashes, hangs or takes much memory. `npm run fuzz` tries each for a minute.
 */
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import fc from 'fast-check';
import { describe, test } from 'vitest';
import { openDictionarySource } from '../../server/src/formats';
import { changedText, FUZZ_TIMEOUT_MS, fuzzing, survives, textChanges } from '../support/fuzz';

const FORMATS = join(import.meta.dirname, '..', 'fixtures', 'formats');
const dir = mkdtempSync(join(tmpdir(), 'fuzz-'));

async function open(name: string, bytes: Uint8Array): Promise<void> {
  const path = join(dir, basename(name));
  writeFileSync(path, bytes);
  const source = await openDictionarySource(path);
  try {
    for (const tensor of ['W_enc', 'W_dec', 'b_enc', 'b_dec']) source.weights.read(tensor);
  } finally {
    source.weights.close();
  }
}

describe('changed bytes', () => {
  /** Most of a file is numbers, where a change is only another number: changes prefer the structure, at the beginning and the end. */
  const edit = fc.tuple(fc.constantFrom('head', 'tail', 'anywhere'), fc.nat(), fc.nat(255));
  const change = fc.record({
    edits: fc.array(edit, { minLength: 1, maxLength: 8 }),
    cut: fc.option(fc.nat(), { nil: null, freq: 8 }),
  });
  test.each(['transcoder.pt', 'protocol-4.pt', 'protocol-5.pt', 'transcoder-legacy.pt', 'deflated.npz', 'fortran.npz'])(
    '%s',
    { timeout: FUZZ_TIMEOUT_MS },
    async (name) => {
      const valid = readFileSync(join(FORMATS, name));
      await open(name, valid);
      await fc.assert(
        fc.asyncProperty(change, ({ edits, cut }) => {
          const bytes = Buffer.from(valid);
          for (const [where, at, to] of edits) {
            const near = at % Math.min(bytes.length, 3000);
            bytes[where === 'head' ? near : where === 'tail' ? bytes.length - 1 - near : at % bytes.length] = to;
          }
          return survives(() => open(name, cut === null ? bytes : bytes.subarray(0, cut % bytes.length)));
        }),
        fuzzing,
      );
    },
  );
});

test('the header of a safetensors file', { timeout: FUZZ_TIMEOUT_MS }, async () => {
  const valid = readFileSync(join(FORMATS, 'ct', 'layer_0.safetensors'));
  const length = Number(valid.readBigUInt64LE(0));
  const header = valid.subarray(8, 8 + length).toString('utf8');
  await open('layer_0.safetensors', valid);
  await fc.assert(
    fc.asyncProperty(textChanges, fc.option(fc.nat(255), { nil: null, freq: 8 }), (changes, size) => {
      const text = Buffer.from(changedText(header, changes));
      const start = Buffer.alloc(8);
      start.writeBigUInt64LE(BigInt(text.length));
      if (size !== null) start[size % 8] = size;
      return survives(() => open('layer_0.safetensors', Buffer.concat([start, text, valid.subarray(8 + length)])));
    }),
    fuzzing,
  );
});
