/** What a person sees and does in a real workbench with the packaged extension. Pictures: ATTENTION_CIRCUITS_SHOTS=folder. */
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { workbenchAddress } from '../../examples/workbench/server';
import { accessibilityProblems, AXE, browserPath, NO_BROWSER, shot } from '../support/browser';
import {
  clickWord,
  folderOf,
  hoverWord,
  lensesOf,
  openByLens,
  openWindow,
  packageForTests,
  panelOf,
  runCommand,
  type Window,
} from '../support/workbench';

const EXAMPLE = readFileSync(join(import.meta.dirname, '..', '..', 'examples', 'ioi.prompts'), 'utf8');

if (!browserPath) console.log(`skipped: workbench tests: ${NO_BROWSER}`);

describe.skipIf(!browserPath)('a person at the editor', () => {
  let w: Window;
  let vsix: string;
  let folder: string;
  beforeAll(async () => {
    vsix = packageForTests();
    folder = folderOf({ 'ioi.prompts': EXAMPLE });
    w = await openWindow(
      vsix,
      { folder, openFile: join(folder, 'ioi.prompts') },
      { settings: { 'files.autoSave': 'off' } },
    );
  }, 300_000);
  afterAll(() => w.close());
  afterEach(({ task }) =>
    task.result?.state === 'fail' ? shot(w.page, `failed-${task.name.slice(0, 30)}`) : undefined,
  );

  const items = (): ReturnType<typeof lensesOf> => panelOf(w.page).locator('[role=treeitem]');

  test('lenses are drawn with their titles', async () => {
    await lensesOf(w.page).filter({ hasText: 'Attribute ‘ Mary’ − ‘ John’' }).first().waitFor({ timeout: 40_000 });
    await lensesOf(w.page)
      .filter({ hasText: /next token, \d+%/ })
      .first()
      .waitFor();
  });

  test('the hover over a token lists its features, the head and the source token', async () => {
    const text = await hoverWord(w.page, 'bag to', /Attention layer 2/, 0.95);
    expect(text).toMatch(/‘ to’ · id 259 · position 14/);
    expect(text).toMatch(/2\.74 · 1\.08 · head 2\.3 \(\d+%\) from ‘ Mary’ @4/);
    await shot(w.page, 'hover');
  });

  test('the second part of the hover unfolds', async () => {
    await hoverWord(w.page, 'bag to', /residual and transcoder features/);
    await w.page.locator('.monaco-hover:visible a', { hasText: 'residual and transcoder' }).click();
    await w.page.keyboard.press('Escape');
    await hoverWord(w.page, 'bag to', /Transcoder/);
    await w.page.keyboard.press('Escape');
  });

  test(
    'a lens opens the panel; two hops; the source token is lit in the editor; validate',
    { timeout: 120_000 },
    async () => {
      await openByLens(w.page, lensesOf(w.page).filter({ hasText: '−' }));
      await items().nth(1).locator('.label').click();
      await w.page.keyboard.press('ArrowRight');
      await panelOf(w.page).locator('[role=treeitem][aria-level="3"]').first().waitFor();
      await w.page.keyboard.press('ArrowDown');
      await w.page.keyboard.press('ArrowRight');
      await panelOf(w.page).locator('[role=treeitem][aria-level="4"]').first().waitFor();
      const lit = w.page.locator('.view-overlays [class*="ced-"]');
      await expect.poll(() => lit.count()).toBeGreaterThan(0);
      await w.page.keyboard.press('ArrowUp');
      await w.page.keyboard.press('v');
      const direct = panelOf(w.page).locator('#validation tr', { hasText: 'direct' }).locator('td').last();
      await direct.waitFor();
      expect(await direct.innerText()).toBe('−2.356');
      await shot(w.page, 'circuit');
    },
  );

  test('clicking a token in the editor filters the tree', async () => {
    await clickWord(w.page, 'Mary went');
    await panelOf(w.page).locator('#filter').waitFor();
    expect(await panelOf(w.page).locator('#filter').innerText()).toMatch(/‘ (Mary|went)’/);
    await panelOf(w.page).locator('#filter vscode-button').click();
  });

  test('the panel has nothing for axe to complain about', async () => {
    const page =
      w.page.frames().find((f) => f.parentFrame()?.url().includes('webview') && f.name() === 'active-frame') ??
      w.page.frames().at(-1);
    await page?.evaluate(AXE);
    expect(await accessibilityProblems(panelOf(w.page))).toEqual([]);
  });

  test('the tree is exported as JSON into the folder', async () => {
    const panel = panelOf(w.page);
    await panel.locator('summary').click();
    await panel.locator('vscode-button', { hasText: 'JSON' }).click();
    const input = w.page.locator('.quick-input-widget:visible input.input');
    await input.waitFor();
    await w.page.keyboard.press('Enter');
    const saved = (): string | undefined => readdirSync(folder).find((f) => f.endsWith('.json'));
    await expect.poll(saved).toBeDefined();
    expect(JSON.parse(readFileSync(join(folder, saved() ?? ''), 'utf8'))).toMatchObject({
      root: { type: 'logit', tokens: [616, 564] },
    });
    await panel.locator('summary').click();
  });

  test('a feature is labelled in the tree, and the label is a line of the workspace’s file and of the hover', async () => {
    const panel = panelOf(w.page);
    await panel.locator('vscode-button', { hasText: /^\s*Label\s*$/ }).click();
    await w.page.locator('.quick-input-widget:visible input.input').fill('reads the name');
    await w.page.keyboard.press('Enter');
    await panel.locator('.rows .label', { hasText: 'reads the name · attn 2.74' }).first().waitFor();
    const file = join(folder, '.attention-circuits', 'labels.jsonl');
    expect(readFileSync(file, 'utf8')).toContain('"feature":74,"label":"reads the name"');
    await hoverWord(w.page, 'bag to', /reads the name/, 0.95);
    await w.page.keyboard.press('Escape');
  });

  test('an edit of the prompt marks the panel, then replaces the tree', async () => {
    await clickWord(w.page, 'shops');
    await w.page.keyboard.press('Control+d');
    await w.page.keyboard.type('museum');
    await panelOf(w.page).locator('.token', { hasText: 'museum' }).waitFor({ timeout: 20_000 });
    expect(await panelOf(w.page).locator('.warning').count()).toBe(0);
    // What was measured on the old text is not shown beside the new one.
    expect(await panelOf(w.page).locator('#validation').count()).toBe(0);
    await runCommand(w.page, 'File: Revert File');
    await panelOf(w.page).locator('.token', { hasText: 'shops' }).waitFor({ timeout: 20_000 });
  });

  test('a reload of the window brings the panel back at the same place', async () => {
    await items().nth(1).locator('.label').click();
    if ((await items().nth(1).getAttribute('aria-expanded')) === 'false') await w.page.keyboard.press('ArrowRight');
    await panelOf(w.page).locator('[role=treeitem][aria-level="3"]').first().waitFor();
    // Only rows in the window are drawn: the first ones are compared.
    const first = async (): Promise<string[]> =>
      (await panelOf(w.page).locator('.rows .label').allInnerTexts()).slice(0, 15);
    const labels = await first();
    const remembered = panelOf(w.page).locator('[aria-selected=true] .label');
    expect(await remembered.innerText()).toContain('attn 2.74 ‘ to’ @14');
    // The address without a file to open: with one, the editor opens only that.
    await w.page.goto(workbenchAddress(w.server, { folder }));
    await panelOf(w.page).locator('[role=treeitem][aria-level="3"]').first().waitFor({ timeout: 50_000 });
    await expect.poll(first).toEqual(labels);
    expect(await panelOf(w.page).locator('[aria-selected=true] .label').innerText()).toContain('attn 2.74 ‘ to’ @14');
  });

  test.skipIf(process.platform !== 'linux')(
    'the server is killed: it is started again, and the open panel goes on',
    async () => {
      const server = `${w.server.home}/extensions/.*/dist/server.cjs`;
      const pids = (): string => spawnSync('pgrep', ['-f', server], { encoding: 'utf8' }).stdout.trim();
      const before = pids();
      expect(before).not.toBe('');
      // A question that the process has, and will not answer: the next process is asked.
      spawnSync('pkill', ['-STOP', '-f', server]);
      const closed = panelOf(w.page).locator('[role=treeitem][aria-expanded=false]').first();
      await closed.locator('.label').click();
      const id = await closed.getAttribute('id');
      await w.page.keyboard.press('ArrowRight');
      await panelOf(w.page).locator('[aria-busy=true]').first().waitFor();
      spawnSync('pkill', ['-9', '-f', server]);
      await panelOf(w.page).locator(`[id="${id}"][aria-expanded=true]`).waitFor({ timeout: 20_000 });
      await expect.poll(() => panelOf(w.page).locator('[aria-busy=true]').count(), { timeout: 20_000 }).toBe(0);
      expect(await panelOf(w.page).locator('[role=alert]').count()).toBe(0);
      await expect.poll(pids, { timeout: 20_000 }).not.toBe('');
      expect(pids()).not.toBe(before);
      await items().nth(1).locator('.label').click();
      await w.page.keyboard.press('a');
      await panelOf(w.page).locator('#ablation').waitFor({ timeout: 20_000 });
    },
  );

  test('the features view follows the cursor', async () => {
    await w.page.locator('.activitybar [aria-label="Attention Circuits"]').first().click();
    await clickWord(w.page, 'gave');
    await w.page.locator('.sidebar .monaco-list-row', { hasText: 'blocks.2.attn.hook_z' }).first().waitFor();
    const feature = w.page.locator('.sidebar .monaco-list-row', { hasText: /head 2\.\d \(\d+%\) from ‘/ });
    await feature.first().waitFor();
    await shot(w.page, 'features-view');
  });

  test('tokens are coloured by a feature from the feature view, which opens beside the circuit', async () => {
    await panelOf(w.page)
      .locator('vscode-button', { hasText: /^\s*Feature\s*$/ })
      .click();
    await w.page.locator('.tab', { hasText: 'Feature blocks.2.attn.hook_z/74' }).waitFor();
    const feature = w.page
      .locator('iframe.webview.ready')
      .last()
      .contentFrame()
      .locator('iframe#active-frame')
      .contentFrame();
    await feature.locator('.example').first().waitFor({ timeout: 20_000 });
    const before = await w.page.locator('.view-overlays [class*="ced-"]').count();
    await feature.locator('vscode-button', { hasText: 'Color tokens' }).click();
    await expect.poll(() => w.page.locator('.view-overlays [class*="ced-"]').count()).toBeGreaterThan(before);
    await shot(w.page, 'feature-and-heat-map');
  });

  test('another tab hides the circuit; coming back, it is as it was left', async () => {
    const tab = w.page.locator('.tab', { hasText: /^Circuit/ });
    await tab.click();
    const panel = panelOf(w.page);
    await panel.locator('[role=treeitem][aria-level="3"]').first().waitFor({ timeout: 20_000 });
    expect(await panel.locator('[aria-selected=true] .label').innerText()).toContain('attn 2.74 ‘ to’ @14');
    await w.page.locator('.tab', { hasText: 'Feature blocks.2.attn.hook_z/74' }).click();
  });

  test('texts are indexed from the palette; a feature is found by a word, and its dashboard shows where it fires', async () => {
    await clickWord(w.page, 'John gave');
    await runCommand(w.page, 'Attention Circuits: Index Texts for Feature Dashboards');
    const rows = w.page.locator('.quick-input-list .monaco-list-row');
    await rows.filter({ hasText: 'The first workspace folder' }).click();
    const feature = w.page.locator('iframe.webview.ready').last();
    const panel = feature.contentFrame().locator('iframe#active-frame').contentFrame();
    await panel.locator('.dashboard', { hasText: /Active at 6 of 42 tokens/ }).waitFor({ timeout: 40_000 });
    await runCommand(w.page, 'Attention Circuits: Search Features');
    const input = w.page.locator('.quick-input-widget:visible input.input');
    await input.waitFor();
    await input.fill('shops');
    const found = rows.filter({ hasText: '⟦ shops⟧' }).first();
    await found.waitFor({ timeout: 20_000 });
    await shot(w.page, 'search-features');
    await found.click();
    await panel.locator('h1', { hasNotText: '/74' }).waitFor();
    await panel.locator('.dashboard .examples .dfa .token').first().waitFor({ timeout: 20_000 });
    expect(await panel.locator('.dashboard').innerText()).toMatch(/Active at \d+ of \d+ tokens/);
    await shot(w.page, 'dashboard');
  });

  test('an experiment from the palette, guided to its result', async () => {
    await clickWord(w.page, 'John gave');
    await runCommand(w.page, 'Attention Circuits: Experiment: Attribute Logits Directly');
    const rows = w.page.locator('.quick-input-list .monaco-list-row');
    await rows.filter({ hasText: 'The prompts of this file' }).click();
    await rows.filter({ hasText: 'with these settings' }).click();
    await w.page.locator('.tab', { hasText: 'Experiment: dla' }).waitFor();
    const panel = w.page
      .locator('iframe.webview.ready')
      .last()
      .contentFrame()
      .locator('iframe#active-frame')
      .contentFrame();
    await panel.locator('table.numbers').first().waitFor({ timeout: 30_000 });
    expect(await panel.locator('main').innerText()).toContain('the prompts of ioi.prompts');
    await shot(w.page, 'experiment');
  });

  test('an untrusted folder cannot name the model: the demo model answers', async () => {
    const settings = JSON.stringify({
      'attentionCircuits.model': '/nowhere/evil',
      'attentionCircuits.server.nodePath': '/nowhere/node',
    });
    const untrusted = folderOf({ 'x.prompts': 'John gave the bag to\n', '.vscode/settings.json': settings });
    const t = await openWindow(
      vsix,
      { folder: untrusted, openFile: join(untrusted, 'x.prompts') },
      { trust: true, settings: { 'security.workspace.trust.startupPrompt': 'never' } },
    );
    try {
      await lensesOf(t.page)
        .filter({ hasText: /next token, \d+%/ })
        .first()
        .waitFor({ timeout: 60_000 });
      await t.page.getByText('Restricted Mode').first().waitFor();
    } finally {
      await t.close();
    }
    expect(existsSync('/nowhere')).toBe(false);
  });
});
