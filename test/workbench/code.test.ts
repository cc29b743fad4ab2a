/** Beside experiment code: a Python file and a notebook with prompts, a selection, a link to a saved circuit. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { CircuitFile } from '../../server/protocol/circuit';
import { browserPath, NO_BROWSER, shot } from '../support/browser';
import {
  folderOf,
  hoverWord,
  lensesOf,
  openByLens,
  openWindow,
  packageForTests,
  panelOf,
  type Window,
} from '../support/workbench';

if (!browserPath) console.log(`skipped: code in the workbench: ${NO_BROWSER}`);

const TEXT = 'When John and Mary went to the shops, John gave the bag to';
const PYTHON = `from transformer_lens import HookedTransformer

prompt = "${TEXT}"
other = f"When {prompt}"
_, cache = model.run_with_cache(f"When {x}")
# circuit: there.circuit.json#node
`;
const NOTEBOOK = {
  cells: [{ cell_type: 'code', execution_count: null, metadata: {}, outputs: [], source: [`prompt = "${TEXT}"\n`] }],
  metadata: { language_info: { name: 'python' } },
  nbformat: 4,
  nbformat_minor: 5,
};

describe.skipIf(!browserPath)('experiment code', () => {
  let w: Window;
  let folder: string;
  beforeAll(async () => {
    folder = folderOf({ 'a.py': PYTHON, 'b.ipynb': JSON.stringify(NOTEBOOK) });
    w = await openWindow(
      packageForTests(),
      { folder, openFile: join(folder, 'a.py') },
      { settings: { 'editor.wordWrap': 'on' } },
    );
  }, 300_000);
  afterAll(() => w.close());
  afterEach(({ task }) =>
    task.result?.state === 'fail' ? shot(w.page, `failed-${task.name.slice(0, 30)}`) : undefined,
  );

  test(
    'Python: a lens on the prompt, none on other strings; f-strings say that they are not analysable',
    { timeout: 120_000 },
    async () => {
      const lenses = lensesOf(w.page);
      await lenses.filter({ hasText: 'Attribute next token' }).first().waitFor({ timeout: 60_000 });
      await w.page.locator('.codelens-decoration', { hasText: 'Not analysable: an f-string' }).waitFor();
      await expect.poll(() => lenses.filter({ hasText: 'Attribute next token' }).count(), { timeout: 15_000 }).toBe(1);
      await openByLens(w.page, lenses.filter({ hasText: 'Attribute next token' }));
      expect(await panelOf(w.page).locator('.heading').innerText()).toContain('logit of ‘ Mary’');
      expect(await panelOf(w.page).locator('.warning').count()).toBe(0);
      // The model is there now, so the hover over the string shows what fires.
      await hoverWord(w.page, 'bag to', /Attention layer 2/, 0.95);
      await w.page.keyboard.press('Escape');
      await shot(w.page, 'python');
    },
  );

  test('the reproducing script goes to the cursor', { timeout: 60_000 }, async () => {
    const panel = panelOf(w.page);
    await panel.locator('summary').click();
    await panel.locator('vscode-button', { hasText: 'Insert code' }).click();
    await w.page.locator('.view-line', { hasText: 'HookedTransformerConfig' }).first().waitFor({ timeout: 20_000 });
    await panel.locator('summary').click();
  });

  test('a link in a comment opens the saved circuit at its node', { timeout: 120_000 }, async () => {
    const panel = panelOf(w.page);
    await panel.locator('summary').click();
    await panel.locator('vscode-button', { hasText: 'Save circuit' }).click();
    await w.page.locator('.quick-input-widget:visible input.input').waitFor();
    await w.page.keyboard.press('Enter');
    const saved = (): string | undefined => readdirSync(folder).find((f) => f.endsWith('.circuit.json'));
    await expect.poll(saved, { timeout: 15_000 }).toBeDefined();
    const name = saved() ?? '';
    await w.page.locator('.tab', { hasText: name }).waitFor();
    await w.page.locator('.tab', { hasText: name }).click({ button: 'middle' });
    await w.page.locator('.tab', { hasText: /^Circuit$/ }).click({ button: 'middle' });
    const circuit = JSON.parse(readFileSync(join(folder, name), 'utf8')) as CircuitFile;
    const node = circuit.tree.expansions[0].children[2];
    writeFileSync(join(folder, 'c.py'), `import torch\n\n# circuit: ${name}#${node.id}\n`);
    await w.page.locator('.explorer-viewlet .monaco-list-row', { hasText: 'c.py' }).dblclick();
    const link = w.page.locator('.view-line .detected-link', { hasText: name });
    await link.first().waitFor({ timeout: 20_000 });
    await link.first().click({ modifiers: ['ControlOrMeta'], position: { x: 20, y: 5 } });
    const opened = panelOf(w.page);
    const selected = opened.locator('[role=treeitem][aria-selected=true]');
    await selected.waitFor({ timeout: 30_000 });
    await expect.poll(() => selected.getAttribute('data-id'), { timeout: 15_000 }).toBe(node.id);
    await shot(w.page, 'link-to-circuit');
    await w.page.locator('.tab', { hasText: name }).click({ button: 'middle' });
  });

  test('a notebook: the cell has its lens, and the script becomes a new cell', { timeout: 120_000 }, async () => {
    await w.page.locator('.explorer-viewlet .monaco-list-row', { hasText: 'b.ipynb' }).dblclick();
    const cell = w.page.locator('.notebook-editor .cell-list-container .monaco-list-row');
    await cell.first().waitFor({ timeout: 30_000 });
    const lens = w.page.locator('.notebook-editor .codelens-decoration a', { hasText: 'Attribute next token' });
    await lens.first().waitFor({ timeout: 60_000 });
    await lens.first().click();
    // The notebook has a page of its own, which comes first.
    await panelOf(w.page, -1).locator('[role=treeitem]').nth(1).waitFor({ timeout: 30_000 });
    await panelOf(w.page, -1).locator('summary').click();
    await panelOf(w.page, -1).locator('vscode-button', { hasText: 'Insert code' }).click();
    await w.page.locator('.tab', { hasText: 'b.ipynb' }).click();
    await cell.filter({ hasText: 'computed again with TransformerLens' }).first().waitFor({ timeout: 20_000 });
    await shot(w.page, 'notebook');
  });
});
