/** Notes as a new user makes them: on a token, found again after an edit elsewhere, in the list, on a feature. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { workbenchAddress } from '../../examples/workbench/server';
import { browserPath, NO_BROWSER, shot } from '../support/browser';
import {
  clickWord,
  folderOf,
  lensesOf,
  openWindow,
  packageForTests,
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

  test(
    'closed, edited elsewhere, opened again: it is where it belongs, and in the list',
    { timeout: 90_000 },
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
      await shot(w.page, 'notes-list');
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
