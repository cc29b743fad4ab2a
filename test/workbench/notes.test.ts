/** Notes as a new user makes them: on a token, found again after an edit elsewhere, in the list, on a feature. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { workbenchAddress } from '../../examples/workbench/server';
import { browserPath, NO_BROWSER, shot } from '../support/browser';
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

if (!browserPath) console.log(`skipped: notes in the workbench: ${NO_BROWSER}`);

const PROMPTS = '@name clean\nWhen John and Mary went to the shops, John gave the bag to\n';
const SOON = { timeout: 15_000 };

describe.skipIf(!browserPath)('notes', () => {
  let w: Window;
  let folder: string;
  beforeAll(async () => {
    folder = folderOf({ 'a.prompts': PROMPTS });
    w = await openWindow(packageForTests(), { folder, openFile: join(folder, 'a.prompts') });
  }, 300_000);
  afterAll(() => w.close());
  afterEach(({ task }) =>
    task.result?.state === 'fail' ? shot(w.page, `failed-${task.name.slice(0, 30)}`) : undefined,
  );
  const sidecar = (): string => {
    try {
      return readFileSync(join(folder, 'a.prompts.notes.jsonl'), 'utf8');
    } catch {
      return '';
    }
  };

  test('a note on the word at the cursor becomes a line of the file beside', { timeout: 90_000 }, async () => {
    await lensesOf(w.page)
      .filter({ hasText: /next token/ })
      .first()
      .waitFor({ timeout: 60_000 });
    await clickWord(w.page, 'Mary');
    await runCommand(w.page, 'Attention Circuits: Add Note');
    const editor = w.page.locator('.review-widget .monaco-editor').first();
    await editor.waitFor({ timeout: 15_000 });
    await editor.click();
    await w.page.keyboard.type('the one who gets it #names');
    await w.page.locator('.review-widget .monaco-button', { hasText: 'Save Note' }).click();
    await expect.poll(sidecar, SOON).toContain('the one who gets it');
    const note = JSON.parse(sidecar()) as { target: object; comments: unknown[] };
    expect(note.target).toMatchObject({ type: 'token', prompt: 'clean', text: 'Mary', before: 'When John and ' });
    await shot(w.page, 'note');
  });

  const asked = async (text: string): Promise<void> => {
    const input = w.page.locator('.quick-input-widget:visible input.input');
    await input.waitFor();
    await input.fill(text);
    await w.page.keyboard.press('Enter');
  };
  const press = (title: string): Promise<void> =>
    panelOf(w.page, -1)
      .locator('vscode-button', { hasText: new RegExp(`^\\s*${title}\\s*$`) })
      .click();
  const inWorkspace = (name: string): string => readFileSync(join(folder, '.attention-circuits', name), 'utf8');

  test('a feature gets a label and a note, its circuit is saved', { timeout: 120_000 }, async () => {
    await openByLens(w.page, lensesOf(w.page).filter({ hasText: /next token/ }));
    const feature = panelOf(w.page)
      .locator('[role=treeitem] .label', { hasText: /^attn 2\./ })
      .first();
    await feature.click();
    await press('Label');
    await asked('reads the name');
    await panelOf(w.page).locator('[role=treeitem] .label', { hasText: 'reads the name · attn 2.' }).first().waitFor();
    await panelOf(w.page).locator('summary').click();
    await press('Save circuit');
    await w.page.locator('.quick-input-widget:visible input.input').waitFor();
    await w.page.keyboard.press('Enter');
    await w.page.locator('.tab', { hasText: '.circuit.json' }).waitFor();
    await w.page.locator('.tab', { hasText: '.circuit.json' }).click({ button: 'middle' });
    await press('Feature');
    await panelOf(w.page, -1).locator('h1', { hasText: 'blocks.2.attn.hook_z' }).waitFor();
    await press('Note');
    await asked('seen in three prompts #todo');
    await panelOf(w.page, -1).locator('#notes li', { hasText: 'seen in three prompts' }).waitFor(SOON);
    expect(inWorkspace('features.notes.jsonl')).toContain('seen in three prompts');
    expect(inWorkspace('labels.jsonl')).toContain('reads the name');
    await shot(w.page, 'note-on-feature');
  });

  test(
    'closed, edited elsewhere, opened again: it is where it belongs, and in the list',
    { timeout: 180_000 },
    async () => {
      writeFileSync(
        join(folder, 'a.prompts'),
        `# first\nSome new prompt\n${PROMPTS.replace('the shops', 'the old mill')}`,
      );
      await w.page.goto(workbenchAddress(w.server, { folder, openFile: join(folder, 'a.prompts') }));
      await w.page.locator('.activitybar [aria-label="Attention Circuits"]').first().click({ timeout: 60_000 });
      const row = w.page.locator('.sidebar .monaco-list-row', { hasText: 'the one who gets it' });
      await row.waitFor({ timeout: 40_000 });
      expect(await row.innerText()).toContain('‘Mary’ in clean');
      await row.click();
      await w.page.locator('.statusbar-item', { hasText: /Ln 4, Col 19 \(4 selected\)/ }).waitFor(SOON);
      await w.page.locator('.sidebar .monaco-list-row', { hasText: 'seen in three prompts' }).waitFor();
      await shot(w.page, 'notes-list');
      // The label is in the hover of the same prompt in its new words, the circuit as it was saved.
      await hoverWord(w.page, 'bag to', /reads the name/, 0.95);
      await w.page.keyboard.press('Escape');
      await w.page.locator('.activitybar [aria-label^="Explorer"]').first().click();
      await w.page.locator('.explorer-viewlet .monaco-list-row', { hasText: '.circuit.json' }).dblclick();
      const saved = panelOf(w.page, -1);
      await saved.locator('#origin', { hasText: 'made with the loaded weights' }).waitFor({ timeout: 30_000 });
      await saved.locator('.rows .label', { hasText: 'reads the name' }).first().waitFor();
      await w.page.locator('.tab', { hasText: '.circuit.json' }).click({ button: 'middle' });
    },
  );

  test('when its token is gone it is orphaned, in sight and not lost', { timeout: 60_000 }, async () => {
    await clickWord(w.page, 'Mary');
    await w.page.keyboard.press('Control+d');
    await w.page.keyboard.type('Bea');
    await w.page.locator('.review-widget', { hasText: 'Orphaned' }).waitFor({ timeout: 20_000 });
    expect(sidecar()).toContain('the one who gets it');
    await shot(w.page, 'note-orphaned');
    await clickWord(w.page, 'gave');
    await w.page.keyboard.press('Control+z');
    await w.page.keyboard.press('Control+z');
    await expect.poll(() => w.page.locator('.review-widget', { hasText: 'Orphaned' }).count(), SOON).toBe(0);
  });
});
