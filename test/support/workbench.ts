import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Browser, type FrameLocator, type Locator, type Page } from 'playwright-core';
import { makePackage } from '../../examples/workbench/install';
import {
  startWorkbench,
  workbenchAddress,
  type WorkbenchOptions,
  type WorkbenchServer,
} from '../../examples/workbench/server';
import { launchBrowser, shot } from './browser';

const ROOT = join(import.meta.dirname, '..', '..');

/** The package that is tested: the one `npm test` made, or one made now as `npm run package` does. */
export function packageForTests(): string {
  return process.env.ATTENTION_CIRCUITS_VSIX ?? makePackage(join(ROOT, 'dist'));
}

/** A folder with files in it. */
export function folderOf(files: Record<string, string>): string {
  const dir = mkdtempSync(join(tmpdir(), 'attention-circuits-ws-'));
  for (const [name, text] of Object.entries(files)) {
    const path = join(dir, name);
    mkdirSync(join(path, '..'), { recursive: true });
    writeFileSync(path, text);
  }
  return dir;
}

/** The workbench in a browser page. */
export interface Window {
  page: Page;
  server: WorkbenchServer;
  close(): Promise<void>;
}

/** Starts the workbench with the packaged extension and opens a folder. */
export async function openWindow(
  vsix: string,
  at: { folder: string; openFile?: string },
  o: WorkbenchOptions = {},
): Promise<Window> {
  const server = await startWorkbench({
    ...o,
    vsix: [vsix],
    tests: true,
    settings: { 'editor.hover.delay': 100, 'workbench.reduceMotion': 'on', ...o.settings },
  });
  let browser: Browser | undefined;
  try {
    browser = await launchBrowser();
    const page = await (await browser.newContext({ viewport: { width: 1600, height: 950 } })).newPage();
    await page.goto(workbenchAddress(server, at));
    await page.locator('.monaco-workbench').waitFor({ timeout: 60_000 });
    const opened = browser;
    return {
      page,
      server,
      close: async () => {
        await opened.close();
        await server.stop();
      },
    };
  } catch (e) {
    await browser?.close();
    await server.stop();
    throw e;
  }
}

export const lensesOf = (page: Page): Locator => page.locator('.codelens-decoration a:visible');

/** The panel's own page inside the editor's two frames. */
export const panelOf = (page: Page, nth = 0): FrameLocator =>
  page.locator('iframe.webview.ready').nth(nth).contentFrame().locator('iframe#active-frame').contentFrame();

/**
 * Clicks a lens until its circuit panel is open: lenses are drawn anew while the model loads, and a click on one that is being replaced does
 * nothing.
 */
export async function openByLens(page: Page, lens: Locator): Promise<void> {
  const second = panelOf(page).locator('[role=treeitem]').nth(1);
  await lens.first().waitFor({ timeout: 60_000 });
  for (let attempt = 0; attempt < 4; attempt++) {
    await lens.first().click();
    const opened = await second.waitFor({ timeout: 15_000 }).then(
      () => true,
      () => false,
    );
    if (opened) return;
    await shot(page, `failed-lens-${attempt}`);
    const tab = page.locator('.tab', { hasText: 'Circuit' });
    if ((await tab.count()) > 0) await tab.first().click({ button: 'middle' });
  }
  throw new Error('no click on the lens opened its circuit');
}

/**
 * Runs a command from the palette by its title. The palette closes when something else takes the focus, as a page that finishes loading may:
 * then it is opened again, as a person would.
 */
export async function runCommand(page: Page, title: string): Promise<void> {
  const input = page.locator('.quick-input-widget:visible input.input');
  const row = page.locator('.quick-input-list .monaco-list-row', { hasText: title }).first();
  const soon = { timeout: 5_000 };
  for (let attempt = 0; ; attempt++) {
    await page.keyboard.press('F1');
    try {
      await input.waitFor(soon);
      await input.fill(`>${title}`, soon);
      return await row.click(soon);
    } catch (e) {
      if (attempt === 3) throw e;
      await page.keyboard.press('Escape');
    }
  }
}

interface Point {
  x: number;
  y: number;
}

/** Where a word stands on the screen: `across` its nth occurrence in the editor. */
async function wordAt(page: Page, word: string, nth: number, across = 0.5): Promise<Point> {
  const script = `(() => {
    let n = ${nth};
    const word = ${JSON.stringify(word)};
    for (const line of document.querySelectorAll('.editor-instance .view-lines .view-line')) {
      const walker = document.createTreeWalker(line, NodeFilter.SHOW_TEXT);
      for (let t; (t = walker.nextNode());) {
        const text = t.data.replaceAll('\\u00a0', ' ');
        for (let i = text.indexOf(word); i >= 0; i = text.indexOf(word, i + 1)) {
          if (n-- > 0) continue;
          const r = document.createRange();
          r.setStart(t, i);
          r.setEnd(t, i + word.length);
          const b = r.getBoundingClientRect();
          return { x: b.x + b.width * ${across}, y: b.y + b.height / 2 };
        }
      }
    }
    return null;
  })()`;
  const point = await page.evaluate<Point | null>(script);
  if (!point) throw new Error(`"${word}" is not on the screen`);
  return point;
}

/** Clicks on a word in the editor. */
export async function clickWord(page: Page, word: string, nth = 0): Promise<void> {
  const { x, y } = await wordAt(page, word, nth);
  await page.mouse.click(x, y);
}

/** Moves the mouse over a word until a hover with some text is shown; gives its text. */
export async function hoverWord(page: Page, word: string, expected: RegExp, across = 0.5): Promise<string> {
  const hover = page.locator('.monaco-hover:visible .hover-contents');
  const end = Date.now() + 30_000;
  while (Date.now() < end) {
    const { x, y } = await wordAt(page, word, 0, across);
    await page.mouse.move(x + 80, y + 300);
    await page.mouse.move(x, y, { steps: 4 });
    await hover
      .first()
      .waitFor({ timeout: 2000 })
      .catch(() => undefined);
    const text = (await hover.allInnerTexts()).join('\n').replaceAll('\u00a0', ' ');
    if (expected.test(text)) return text;
  }
  throw new Error(`no hover over "${word}" that says ${String(expected)}`);
}
