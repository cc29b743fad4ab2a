import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { type Browser, chromium, type FrameLocator, type Page } from 'playwright-core';

const PATHS = [
  process.env.CHROMIUM_PATH,
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
  'C:\\Program Files\\Google\\Chrome\\Application\\chrome.exe',
];

/** A browser on this machine, or undefined. `npm test` installs one where it can. */
export const browserPath = PATHS.find((p) => p !== undefined && existsSync(p));

/** Why browser tests are skipped. */
export const NO_BROWSER = 'no Chromium or Chrome found: install one, or name it in CHROMIUM_PATH';

export const launchBrowser = (): Promise<Browser> =>
  chromium.launch({
    executablePath: browserPath,
    args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--no-first-run', '--disable-sync'],
  });

/** Saves a picture where ATTENTION_CIRCUITS_SHOTS says, if it says so. */
export async function shot(page: Page, name: string): Promise<void> {
  const dir = process.env.ATTENTION_CIRCUITS_SHOTS;
  if (!dir) return;
  mkdirSync(dir, { recursive: true });
  await page.screenshot({ path: join(dir, `${name}.png`) });
}

const axeSource = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

interface AxeResult {
  violations: { id: string; help: string; nodes: { html: string }[] }[];
}

/** What axe finds wrong, one line a rule. `within` is a page or a frame of it. */
export async function accessibilityProblems(within: Page | FrameLocator): Promise<string[]> {
  const body = within.locator('body');
  return body.evaluate(async (_, source) => {
    const scope = globalThis as unknown as { axe?: { run(o: object): Promise<AxeResult> }; eval(s: string): void };
    if (!scope.axe) throw new Error(source);
    const { violations } = await scope.axe.run({ resultTypes: ['violations'] });
    return violations.map(
      (v) =>
        `${v.id}: ${v.help}: ${v.nodes
          .slice(0, 3)
          .map((n) => n.html.slice(0, 120))
          .join(' | ')}`,
    );
  }, 'axe is not in the page');
}

/** The accessibility checker's source, to be put into pages before they load. */
export const AXE = axeSource;
