/** Runs the suite of test/workbench/host inside the extension host of a real workbench, against the packaged extension. */
import { cpSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { startWorkbench, workbenchAddress } from '../../examples/workbench/server';
import { browserPath, launchBrowser, NO_BROWSER } from '../support/browser';
import { folderOf, packageForTests } from '../support/workbench';
import type { HostResult } from './host/index';

const ROOT = join(import.meta.dirname, '..', '..');
const LIMIT_MS = 180_000;

async function runInHost(): Promise<HostResult[]> {
  const folder = folderOf({});
  cpSync(join(ROOT, 'examples', 'ioi.prompts'), join(folder, 'ioi.prompts'));
  const file = join(folder, 'results.json');
  const server = await startWorkbench({
    vsix: [packageForTests()],
    tests: true,
    env: { ATTENTION_CIRCUITS_RESULTS: file },
  });
  const browser = await launchBrowser();
  try {
    // Tests start only with an extension under development; an empty one stands in, the packaged one is installed.
    const empty = join(server.home, 'empty-extension');
    mkdirSync(empty);
    const manifest = { name: 'empty', publisher: 'test', version: '0.0.1', engines: { vscode: '*' } };
    writeFileSync(join(empty, 'package.json'), JSON.stringify(manifest));
    const page = await (await browser.newContext({ viewport: { width: 1400, height: 900 } })).newPage();
    await page.exposeFunction('codeAutomationLog', () => undefined);
    const ended = new Promise<void>((resolve) => void page.exposeFunction('codeAutomationExit', () => resolve()));
    const tests = join(ROOT, 'dist', 'hostTests.cjs');
    await page.goto(workbenchAddress(server, { folder, development: empty, tests }));
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((_, reject) => {
      timer = setTimeout(() => reject(new Error(`no result in ${LIMIT_MS} ms:\n${server.output()}`)), LIMIT_MS);
    });
    await Promise.race([ended, late]).finally(() => clearTimeout(timer));
    if (!existsSync(file)) throw new Error(`no test ran:\n${server.output()}`);
    return JSON.parse(readFileSync(file, 'utf8')) as HostResult[];
  } finally {
    await browser.close();
    await server.stop();
  }
}

if (!browserPath) console.log(`skipped: workbench tests: ${NO_BROWSER}`);
const results = browserPath ? await runInHost() : [];

describe.skipIf(!browserPath)('packaged extension', () => {
  test('the suite ran', () => expect(results.length).toBeGreaterThan(12));
  test.each(results)('$title', ({ error }) => expect(error).toBeUndefined());
});
