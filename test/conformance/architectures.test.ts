import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'vitest';
import { openDictionary } from '../../server/src/dictionaries';
import { Runtime } from '../../server/src/runtime';
import { expectClose, FIXTURES } from '../support/conformance';

const ref = JSON.parse(readFileSync(join(FIXTURES, 'sae-architectures', 'ref.json'), 'utf8')) as {
  x: number[][];
  saes: Record<string, { feature_acts: number[][]; recon: number[][] }>;
};

describe('every architecture and normalisation agrees with SAELens', () => {
  test.each(Object.keys(ref.saes))('%s', async (name) => {
    const runtime = new Runtime('cpu');
    const d = await openDictionary(join(FIXTURES, 'sae-architectures', name), runtime);
    const x = Float32Array.from(ref.x.flat());
    const acts = await d.encode(x);
    ref.saes[name].feature_acts.forEach((want, r) => {
      const dense = new Float32Array(want.length);
      for (let i = acts.offsets[r]; i < acts.offsets[r + 1]; i++) dense[acts.features[i]] = acts.activations[i];
      expectClose(dense, want, `feature_acts[${r}]`);
    });
    expectClose(await d.decode(acts, x), ref.saes[name].recon.flat(), 'recon');
    await runtime.close();
    d.close();
  });
});
