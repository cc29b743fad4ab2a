/** From the palette to a hover with published weights: tiny ones in the published layouts and names, fetched from a hub on loopback. */
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { browserPath, NO_BROWSER, shot } from '../support/browser';
import { type HubServer, startHub } from '../support/hubServer';
import { publishedRef, publishedRepos } from '../support/published';
import {
  folderOf,
  hoverWord,
  lensesOf,
  openWindow,
  packageForTests,
  runCommand,
  type Window,
} from '../support/workbench';

if (!browserPath) console.log(`skipped: choosing a model in the workbench: ${NO_BROWSER}`);

const { text, feature_acts } = publishedRef();
const cache = mkdtempSync(join(tmpdir(), 'hub-workbench-'));

describe.skipIf(!browserPath)('choosing a published model', () => {
  let hub: HubServer;
  let w: Window;
  beforeAll(async () => {
    hub = await startHub(publishedRepos());
    const folder = folderOf({ 'a.prompts': `${text}\n` });
    const env = { HF_ENDPOINT: hub.url, HF_HOME: cache, HF_HUB_CACHE: join(cache, 'hub'), HF_TOKEN: '' };
    w = await openWindow(packageForTests(), { folder, openFile: join(folder, 'a.prompts') }, { env });
  }, 300_000);
  afterAll(async () => {
    await w.close();
    await hub.close();
    rmSync(cache, { recursive: true, force: true });
  });
  afterEach(({ task }) =>
    task.result?.state === 'fail' ? shot(w.page, `failed-${task.name.slice(0, 30)}`) : undefined,
  );
  const rows = (): ReturnType<typeof lensesOf> => w.page.locator('.quick-input-list .monaco-list-row');

  async function chooseGpt2(): Promise<void> {
    await runCommand(w.page, 'Attention Circuits: Choose Model');
    await rows().filter({ hasText: 'GPT-2 Small' }).waitFor();
  }

  test('the palette shows what is here and how large the rest is; nothing has been requested', async () => {
    await lensesOf(w.page).first().waitFor({ timeout: 60_000 });
    await chooseGpt2();
    expect(await rows().filter({ hasText: 'GPT-2 XL' }).innerText()).toMatch(/about 6\.43 GB to download/);
    await shot(w.page, 'choose-model');
    expect(hub.requests).toEqual([]);
    await rows().filter({ hasText: 'GPT-2 Small' }).click();
    await rows().filter({ hasText: 'gpt2-small-hook-z-kk' }).waitFor();
    for (const set of ['res-jb', 'transcoders-dunefsky']) await rows().filter({ hasText: set }).click();
    await w.page.keyboard.press('Enter');
    const dialog = w.page.locator('.monaco-dialog-box');
    await dialog.waitFor({ timeout: 20_000 });
    expect(await dialog.innerText()).toMatch(
      /Download \d+ MB in \d+ files\?[^]*openai-community\/gpt2[^]*127\.0\.0\.1/,
    );
    expect(hub.requests.some((r) => r.path.includes('/resolve/'))).toBe(false);
    await shot(w.page, 'download-question');
    await dialog.locator('.monaco-button', { hasText: 'Cancel' }).click();
    expect(existsSync(join(cache, 'hub')) ? readdirSync(join(cache, 'hub')) : []).toEqual([]);
  });

  test(
    'chosen and downloaded, a hover shows features with the activations that torch gives',
    { timeout: 120_000 },
    async () => {
      await chooseGpt2();
      await rows().filter({ hasText: 'GPT-2 Small' }).click();
      await rows().filter({ hasText: 'gpt2-small-hook-z-kk' }).waitFor();
      for (const set of ['res-jb', 'transcoders-dunefsky']) await rows().filter({ hasText: set }).click();
      await w.page.keyboard.press('Enter');
      await w.page.locator('.monaco-dialog-box .monaco-button', { hasText: 'Download' }).click();
      await w.page.locator('.statusbar-item', { hasText: /gpt2 · cpu/ }).waitFor({ timeout: 60_000 });
      const hover = await hoverWord(w.page, 'bag to', /Attention layer \d+/, 0.95);
      const shown = [...hover.matchAll(/(\d+)\.(\d+) · (\d+\.\d+) · head/g)];
      expect(shown.length).toBeGreaterThan(0);
      for (const [, layer, feature, activation] of shown) {
        const acts = feature_acts['gpt2-small-hook-z-kk'][`blocks.${layer}.attn.hook_z`];
        expect(acts.at(-1)?.[Number(feature)]).toBeCloseTo(Number(activation), 2);
      }
      await shot(w.page, 'published-hover');
      await w.page.keyboard.press('Escape');
    },
  );

  test('chosen again, nothing is requested', async () => {
    hub.requests.length = 0;
    await chooseGpt2();
    expect(await rows().filter({ hasText: 'GPT-2 Small' }).innerText()).toMatch(/on this machine/);
    await rows().filter({ hasText: 'GPT-2 Small' }).click();
    await rows().filter({ hasText: 'gpt2-small-hook-z-kk' }).waitFor();
    await w.page.keyboard.press('Enter');
    await hoverWord(w.page, 'bag to', /Attention layer \d+/, 0.95);
    expect(hub.requests).toEqual([]);
  });
});
