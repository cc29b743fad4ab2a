/** A circuit saved from the panel, edited, undone, kept over a reload, and opened where its model is missing. */
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { FrameLocator, Locator } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { CircuitFile } from '../../server/protocol/circuit';
import { browserPath, NO_BROWSER, shot } from '../support/browser';
import {
  folderOf,
  lensesOf,
  openByLens,
  openWindow,
  packageForTests,
  panelOf,
  runCommand,
  type Window,
} from '../support/workbench';

if (!browserPath) console.log(`skipped: saved circuits in the workbench: ${NO_BROWSER}`);

/** A graph as circuit-tracer writes it. */
const GRAPH = {
  metadata: { slug: 'other', scan: 's', prompt: 'a b', prompt_tokens: ['a', ' b'], schema_version: 1 },
  qParams: {},
  nodes: [
    { node_id: 'E_1_0', feature: 0, layer: 'E', ctx_idx: 0, feature_type: 'embedding', jsNodeId: 'E', clerp: '' },
    {
      node_id: '4_9_1',
      feature: 9,
      layer: '4',
      ctx_idx: 1,
      feature_type: 'logit',
      jsNodeId: 'L',
      clerp: 'Output " yes" (p=0.7)',
    },
  ],
  links: [{ source: 'E_1_0', target: '4_9_1', weight: 1.5 }],
};
const SOON = { timeout: 15_000 };
const PROMPT = 'When John and Mary went to the shops, John gave the bag to\n-> " Mary" | " John"\n';

describe.skipIf(!browserPath)('saved circuits', () => {
  let w: Window;
  let folder: string;
  beforeAll(async () => {
    folder = folderOf({ 'a.prompts': PROMPT, 'other.json': JSON.stringify(GRAPH) });
    const settings = { 'files.autoSave': 'off', 'files.hotExit': 'onExitAndWindowClose' };
    w = await openWindow(packageForTests(), { folder }, { settings });
    await w.page.locator('.explorer-viewlet .monaco-list-row', { hasText: 'a.prompts' }).dblclick();
  }, 300_000);
  afterAll(() => w.close());
  afterEach(({ task }) =>
    task.result?.state === 'fail' ? shot(w.page, `failed-${task.name.slice(0, 30)}`) : undefined,
  );

  const saved = (): string | undefined => readdirSync(folder).find((f) => f.endsWith('.circuit.json'));
  const read = (): CircuitFile => JSON.parse(readFileSync(join(folder, saved() ?? ''), 'utf8')) as CircuitFile;
  const tab = (): Locator => w.page.locator('.tab', { hasText: '.circuit.json' });
  const dirty = async (): Promise<boolean> => / dirty( |$)/.test((await tab().getAttribute('class')) ?? '');
  /** The page of the file's editor: the frame whose heading says that its numbers are stored. */
  const editor = (): FrameLocator => panelOf(w.page, 0);
  const rows = (): Locator => editor().locator('[role=treeitem]');

  test('saved from the panel, it opens as an editor of its own', { timeout: 120_000 }, async () => {
    await openByLens(w.page, lensesOf(w.page).filter({ hasText: 'Attribute ‘ Mary’ − ‘ John’' }));
    await panelOf(w.page).locator('summary').click();
    await panelOf(w.page).locator('vscode-button', { hasText: 'Save circuit' }).click();
    const input = w.page.locator('.quick-input-widget:visible input.input');
    await input.waitFor();
    await w.page.keyboard.press('Enter');
    await expect.poll(saved, SOON).toBeDefined();
    expect(read()).toMatchObject({ format: 'attention-circuit', version: 1, root: { tokens: [616, 564] } });
    expect(read().identity?.model.name).toContain('demo');
    await tab().waitFor();
    // The panel that it was saved from is closed, so that one page is left.
    await w.page.locator('.tab', { hasText: /^Circuit$/ }).click({ button: 'middle' });
    await editor().locator('#origin', { hasText: 'made with the loaded weights' }).waitFor({ timeout: 30_000 });
    await rows().nth(1).waitFor();
    expect(await dirty()).toBe(false);
  });

  test('a pin and an opened node are edits: undo, redo, save', { timeout: 60_000 }, async () => {
    await rows().nth(1).locator('.label').click();
    await w.page.keyboard.press('p');
    await expect.poll(dirty, SOON).toBe(true);
    await runCommand(w.page, 'Undo');
    await expect.poll(dirty, SOON).toBe(false);
    await expect.poll(() => editor().locator('.pinned, [aria-label="Pinned and grouped"] li').count(), SOON).toBe(0);
    await runCommand(w.page, 'Redo');
    await expect.poll(dirty, SOON).toBe(true);
    await rows().nth(1).locator('.label').click();
    await w.page.keyboard.press('ArrowRight');
    await editor().locator('[role=treeitem][aria-level="3"]').first().waitFor();
    await expect.poll(() => editor().locator('[aria-busy=true]').count(), SOON).toBe(0);
    await w.page.keyboard.press('Control+s');
    await expect.poll(dirty, SOON).toBe(false);
    expect(read().tree.expansions).toHaveLength(2);
    expect(read().view).toMatchObject({ pins: [read().tree.expansions[0].children[0].id] });
    await shot(w.page, 'saved-circuit');
  });

  test(
    'an unsaved edit outlives a reload of the window without a word, and is not in the file until it is saved',
    { timeout: 180_000 },
    async () => {
      const before = readFileSync(join(folder, saved() ?? ''), 'utf8');
      await rows().nth(1).locator('.label').click();
      await w.page.keyboard.press('F2');
      await editor().locator('.details vscode-text-field input').fill('moves the name');
      await w.page.keyboard.press('Enter');
      await expect.poll(dirty, SOON).toBe(true);
      // The editor's copy of the unsaved file, not what it keeps of the page.
      const find = `grep -rlZ 'moves the name' . | xargs -0r grep -l '"format": "attention-circuit"'`;
      const grep = (): string =>
        spawnSync('sh', ['-c', find], { cwd: join(w.server.home, 'user-data'), encoding: 'utf8' }).stdout;
      await expect.poll(grep, { timeout: 20_000 }).not.toBe('');
      const reloaded = w.page.waitForEvent('load', { timeout: 60_000 });
      await runCommand(w.page, 'Developer: Reload Window');
      await reloaded;
      await rows().nth(1).locator('.label', { hasText: 'moves the name' }).waitFor({ timeout: 60_000 });
      await expect.poll(dirty, SOON).toBe(true);
      expect(readFileSync(join(folder, saved() ?? ''), 'utf8')).toBe(before);
      await shot(w.page, 'circuit-after-reload');
      await tab().click();
      await w.page.keyboard.press('Control+s');
      await expect.poll(dirty, SOON).toBe(false);
      expect(JSON.stringify(read().view)).toContain('moves the name');
    },
  );

  test('a graph file of another tool opens as a circuit', { timeout: 60_000 }, async () => {
    await w.page.locator('.explorer-viewlet .monaco-list-row', { hasText: 'other.json' }).dblclick();
    await w.page.locator('.view-line', { hasText: 'schema_version' }).first().waitFor();
    await runCommand(w.page, 'Attention Circuits: Open Graph File as Circuit');
    const graph = w.page
      .locator('iframe.webview.ready')
      .last()
      .contentFrame()
      .locator('iframe#active-frame')
      .contentFrame();
    await graph.locator('#origin', { hasText: '2 nodes, 1 links' }).waitFor({ timeout: 20_000 });
    await graph.locator('[role=treeitem]', { hasText: 'embedding @0 ‘a’' }).waitFor();
    await shot(w.page, 'graph-editor');
  });

  test(
    'where the model is missing, everything stored is shown, and what is not says so',
    { timeout: 120_000 },
    async () => {
      const circuit = read();
      const other = folderOf({
        'x.circuit.json': JSON.stringify(circuit),
        'newer.circuit.json': JSON.stringify({ ...circuit, version: 9 }),
        '.vscode/settings.json': JSON.stringify({ 'attentionCircuits.model': '/not/here' }),
      });
      const o = await openWindow(packageForTests(), { folder: other });
      // A file that is opened before the extensions are known opens as text: then it is closed and opened again.
      const openFile = async (name: string): Promise<void> => {
        for (let attempt = 0; attempt < 10; attempt++) {
          await o.page.locator('.explorer-viewlet .monaco-list-row', { hasText: name }).dblclick();
          const shown = o.page.locator('.breadcrumbs-below-tabs, .editor-actions', { hasText: 'Saved Circuit' });
          const asCircuit = await Promise.race([
            shown
              .first()
              .waitFor({ timeout: 10_000 })
              .then(() => true),
            o.page
              .locator('.view-line', { hasText: 'attention-circuit' })
              .first()
              .waitFor({ timeout: 10_000 })
              .then(() => false),
          ]).catch(() => false);
          if (asCircuit) return;
          await o.page.locator('.tab', { hasText: name }).first().click({ button: 'middle' });
        }
      };
      try {
        await openFile('x.circuit.json');
        const page = panelOf(o.page);
        await page.locator('[role=treeitem]').nth(1).waitFor({ timeout: 60_000 });
        expect(await page.locator('[role=treeitem]').nth(1).innerText()).toContain('moves the name');
        await page.locator('#origin', { hasText: '/not/here' }).waitFor({ timeout: 30_000 });
        const closed = page.locator('[role=treeitem][aria-level="3"][aria-expanded=false]').first();
        await closed.locator('.label').click();
        await o.page.keyboard.press('ArrowRight');
        await page
          .locator('[role=alert]', { hasText: 'not stored in the circuit' })
          .first()
          .waitFor({ timeout: 20_000 });
        await shot(o.page, 'circuit-without-model');
        await openFile('newer.circuit.json');
        await panelOf(o.page)
          .locator('#origin', { hasText: 'It cannot be saved: it is of version 9' })
          .waitFor({ timeout: 60_000 });
        expect(existsSync(join(other, 'newer.circuit.json'))).toBe(true);
      } catch (e) {
        await shot(o.page, 'failed-without-model');
        throw e;
      } finally {
        await o.close();
      }
    },
  );
});
