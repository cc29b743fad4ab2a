/**
 * `npm run soak`: a real workbench in which notes, labels and a saved circuit are written while the server is killed and the window is reloaded,
 * again and again. Nothing that was reported as kept may be lost or half-written. ATTENTION_CIRCUITS_SOAK_ROUNDS sets how often (20).
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Locator } from 'playwright-core';
import { expect, test } from 'vitest';
import { workbenchAddress } from '../../examples/workbench/server';
import type { CircuitFile } from '../../server/protocol/circuit';
import { browserPath, NO_BROWSER, shot } from '../support/browser';
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
const SOON = { timeout: 20_000 };

test('soak', { timeout: ROUNDS * 180_000 }, async () => {
  if (!browserPath) return console.log(`skipped: ${NO_BROWSER}`);
  const folder = folderOf({ 'a.prompts': PROMPT });
  const openFile = join(folder, 'a.prompts');
  const w = await openWindow(packageForTests(), { folder, openFile });
  const { page } = w;

  const objects = (file: string): unknown[] =>
    !existsSync(join(folder, file))
      ? []
      : readFileSync(join(folder, file), 'utf8')
          .split('\n')
          .filter((l) => l !== '')
          .map((l) => JSON.parse(l) as unknown);
  const notes = (): string[] =>
    objects('a.prompts.notes.jsonl').flatMap((n) =>
      (n as { comments: { text: string }[] }).comments.map((c) => c.text),
    );
  const labels = (): string[] =>
    objects('.attention-circuits/labels.jsonl').map((l) => String((l as { label?: string }).label));
  const circuitFile = (): string | undefined => readdirSync(folder).find((f) => f.endsWith('.circuit.json'));
  const names = (): string[] => {
    const file = circuitFile();
    const text = file === undefined ? '{"view":{}}' : readFileSync(join(folder, file), 'utf8');
    return Object.values(((JSON.parse(text) as CircuitFile).view.names ?? {}) as Record<string, string>);
  };

  const kill = (): void => void spawnSync('pkill', ['-9', '-f', `${w.server.home}/extensions/.*/dist/server.cjs`]);
  const closePanels = async (): Promise<void> => {
    const tabs = page.locator('.tab', { hasText: /Circuit$|\.circuit\.json/ });
    while ((await tabs.count()) > 0) await tabs.first().click({ button: 'middle' });
  };
  const circuitRow = async (): Promise<Locator> => {
    await openByLens(page, lensesOf(page).filter({ hasText: /next token/ }));
    return panelOf(page).locator('[role=treeitem][aria-level="2"][aria-expanded=false]').first();
  };

  /** Writes a note; the server may die before it is kept, and another one keeps it. */
  const writeNote = async (round: number): Promise<string> => {
    await clickWord(page, WORDS[round % WORDS.length]);
    await runCommand(page, 'Attention Circuits: Add Note');
    const editor = page.locator('.review-widget .monaco-editor').last();
    await editor.waitFor(SOON);
    await editor.click();
    const text = `note ${round} #soak`;
    await page.keyboard.type(text);
    await page.locator('.review-widget .monaco-button', { hasText: 'Save Note' }).last().click();
    if (round % 3 === 1) kill();
    await expect.poll(notes, SOON).toContain(text);
    return text;
  };

  /** Opens a node and labels it; the server dies while the node is being opened, and the panel goes on with the next. */
  const writeLabel = async (round: number): Promise<string> => {
    const row = await circuitRow();
    await row.locator('.label').click();
    await page.keyboard.press('ArrowRight');
    if (round % 3 === 0) kill();
    await panelOf(page).locator('[role=treeitem][aria-level="3"]').first().waitFor({ timeout: 40_000 });
    await panelOf(page)
      .locator('vscode-button', { hasText: /^\s*Label\s*$/ })
      .click();
    const input = page.locator('.quick-input-widget:visible input.input');
    await input.waitFor(SOON);
    const text = `label ${round}`;
    await input.fill(text);
    await page.keyboard.press('Enter');
    if (round % 3 === 2) kill();
    await expect.poll(labels, SOON).toContain(text);
    await closePanels();
    return text;
  };

  const saveCircuit = async (): Promise<void> => {
    await circuitRow();
    await panelOf(page).locator('summary').click();
    await panelOf(page).locator('vscode-button', { hasText: 'Save circuit' }).click();
    await page.locator('.quick-input-widget:visible input.input').waitFor(SOON);
    await page.keyboard.press('Enter');
    await expect.poll(circuitFile, SOON).toBeDefined();
    await closePanels();
  };

  /** Edits and saves the saved circuit; in every second round the window goes away at once, and the file may be the one before. */
  const writeCircuit = async (round: number): Promise<string | null> => {
    await page.locator('.explorer-viewlet .monaco-list-row', { hasText: '.circuit.json' }).dblclick();
    const label = panelOf(page).locator('[role=treeitem]').nth(1).locator('.label');
    await label.click({ timeout: 60_000 });
    await page.keyboard.press('F2');
    const text = `name ${round}`;
    await panelOf(page).locator('.details vscode-text-field input').fill(text);
    await page.keyboard.press('Enter');
    await label.filter({ hasText: text }).waitFor(SOON);
    await page.keyboard.press('Control+s');
    if (round % 2 === 1) return null;
    await expect.poll(names, SOON).toContain(text);
    return text;
  };

  const kept = { notes: [] as string[], labels: [] as string[], names: [] as string[] };
  try {
    for (let round = 0; round < ROUNDS; round++) {
      await lensesOf(page)
        .filter({ hasText: /next token/ })
        .first()
        .waitFor({ timeout: 60_000 });
      if (round === 0) await saveCircuit();
      // A feature has one label: the last one written.
      kept.labels = [await writeLabel(round)];
      kept.notes.push(await writeNote(round));
      const before = kept.names;
      const name = await writeCircuit(round);
      kept.names = name === null ? [] : [name];
      await page.goto(workbenchAddress(w.server, { folder, openFile }));
      expect(kept.notes.filter((k) => !notes().includes(k))).toEqual([]);
      expect(kept.labels.filter((k) => !labels().includes(k))).toEqual([]);
      if (name === null) expect([...before, `name ${round}`]).toContain(names()[0]);
      else expect(names()).toEqual(kept.names);
      console.log(
        `round ${round + 1} of ${ROUNDS}: ${kept.notes.length} notes, a label and a circuit as they were kept`,
      );
    }
  } catch (e) {
    await shot(page, 'failed-soak');
    throw e;
  } finally {
    await w.close();
  }
});
