import { existsSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { type ActivationsJson } from '../../server/src/cli/commands/activations';
import { cli, tiny } from '../support/cli';
import { expectClose, reference } from '../support/conformance';

/** Debian's chromium package carries a software Vulkan driver. */
const DRIVER = process.env.TEST_VULKAN_DRIVER ?? '/usr/lib/chromium/vk_swiftshader_icd.json';
const env = { VK_ICD_FILENAMES: DRIVER };
const present = existsSync(DRIVER);
if (!present)
  console.log(
    `skipped: WebGPU tests need a Vulkan driver, ${DRIVER} is not there (set TEST_VULKAN_DRIVER, or install chromium and libvulkan1)`,
  );

describe.skipIf(!present)('WebGPU on a software Vulkan driver', () => {
  test('agrees with TransformerLens and SAELens within 1e-3', { timeout: 300_000 }, async () => {
    const r = await cli(['activations', ...tiny, '--json', '--logits', '--provider', 'webgpu'], env);
    expect(r.stderr).not.toMatch(/cannot be used/);
    const a = JSON.parse(r.stdout) as ActivationsJson;
    expectClose((a.logits as unknown as number[][]).flat(), reference.model.logits.flat(), 'logits', 1e-3);
    let worst = 0;
    for (const [site, want] of Object.entries(reference.sae)) {
      a.sites[site].positions.forEach((p, i) => {
        const dense = new Float64Array(want.acts[i].length);
        for (const f of p.features) dense[f.index] = f.activation;
        expectClose(dense, want.acts[i], `${site} ${i}`, 1e-3);
        want.acts[i].forEach((v, f) => (worst = Math.max(worst, Math.abs(v - dense[f]))));
      });
    }
    console.log(`WebGPU: worst difference of an activation ${worst.toExponential(1)}`);
  });

  test('auto does not take a software adapter, and says so', async () => {
    const r = await cli(['activations', ...tiny, '--json', '--provider', 'auto'], env);
    expect(r.code).toBe(0);
    expect(r.stderr).toMatch(/provider cpu; passed over/);
  });
});

test('a provider that this machine does not have is refused by name, not replaced', async () => {
  const r = await cli(['activations', ...tiny, '--json', '--provider', 'cuda']);
  if (r.code === 0) {
    // This machine has CUDA: then the answer is a whole document, not a notice of a replacement.
    expect(r.stderr).not.toMatch(/passed over/);
    expect(JSON.parse(r.stdout)).toHaveProperty('sites');
    return;
  }
  expect(r.code).toBe(5);
  expect(r.stdout).toBe('');
  expect(r.stderr).toMatch(/the provider asked for cannot be used\. cuda:/);
});
