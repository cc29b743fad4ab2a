/**
 * `npm run soak`: a real workbench in which notes are written while the server is killed and the window is reloaded, again and again. Nothing that
 * was reported as kept may be lost or half-written. ATTENTION_CIRCUITS_SOAK_ROUNDS sets how often (20).
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { workbenchAddress } from '../../examples/workbench/server';
import { browserPath, NO_BROWSER } from '../support/browser';
import {
  clickWord,
  folderOf,
  lensesOf,
  openByLens,
  openWindow,
  packageForTests,
  panelOf,
  runCommand,
} from '../support/workbench';

const ROUNDS = Number(process.env.ATTENTION_CIRCUITS_SOAK_ROUNDS ?? 20);
const PROMPT = '@name clean\nWhen John and Mary went to the shops, John gave the bag to\n';
const WORDS = ['John and', 'Mary', 'went', 'shops', 'gave'];

test('soak', { timeout: ROUNDS * 120_000 }, async () => {
  if (!browserPath) return console.log(`skipped: ${NO_BROWSER}`);
  const folder = folderOf({ 'a.prompts': PROMPT });
  const openFile = join(folder, 'a.prompts');
  const w = await openWindow(packageForTests(), { folder, openFile });
  const { page } = w;
  const notes = join(folder, 'a.prompts.notes.jsonl');
  const texts = (): string[] =>
    !existsSync(notes)
      ? []
      : readFileSync(notes, 'utf8')
          .split('\n')
          .filter((l) => l !== '')
          .flatMap((l) => (JSON.parse(l) as { comments: { text: string }[] }).comments.map((c) => c.text));
  const kill = (): void => void spawnSync('pkill', ['-9', '-f', `${w.server.home}/extensions/.*/dist/server.cjs`]);
  const kept: string[] = [];
  try {
    for (let round = 0; round < ROUNDS; round++) {
      await lensesOf(page)
        .filter({ hasText: /next token/ })
        .first()
        .waitFor({ timeout: 60_000 });
      await clickWord(page, WORDS[round % WORDS.length]);
      await runCommand(page, 'Attention Circuits: Add Note');
      const editor = page.locator('.review-widget .monaco-editor').last();
      await editor.waitFor({ timeout: 20_000 });
      await editor.click();
      const text = `note ${round} #soak`;
      await page.keyboard.type(text);
      const save = page.locator('.review-widget .monaco-button', { hasText: 'Save Note' }).last();
      await save.click();
      // Two rounds in three end in the middle of things.
      if (round % 3 === 1) kill();
      else await expect.poll(texts, { timeout: 20_000 }).toContain(text);
      if (texts().includes(text)) kept.push(text);
      if (round % 5 === 0) {
        await openByLens(page, lensesOf(page).filter({ hasText: /next token/ }));
        await panelOf(page).locator('[role=treeitem]').nth(1).locator('.label').click();
        await page.keyboard.press('ArrowRight');
        kill();
        await panelOf(page).locator('[role=treeitem][aria-level="3"]').first().waitFor({ timeout: 40_000 });
        await page.locator('.tab', { hasText: 'Circuit' }).first().click({ button: 'middle' });
      }
      await page.goto(workbenchAddress(w.server, { folder, openFile }));
      expect(kept.filter((k) => !texts().includes(k))).toEqual([]);
      console.log(`round ${round + 1} of ${ROUNDS}: ${kept.length} notes kept`);
    }
  } finally {
    await w.close();
  }
});
