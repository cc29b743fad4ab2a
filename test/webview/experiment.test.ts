/** The experiment panel in a real browser page, with experiments run by the real server. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Browser } from 'playwright-core';
import { accessibilityProblems, browserPath, launchBrowser, NO_BROWSER, shot } from '../support/browser';
import { Session } from '../support/lspClient';
import { openPanel, type PanelPage } from '../support/panelPage';

const URI = 'file:///ioi.prompts';
const generated = { from: 'generated' as const, count: 8, seed: 1 };
const args = (id: string, values = {}): Parameters<typeof openPanel>[2] => ({
  panel: 'experiment',
  id,
  values,
  prompts: generated,
});

if (!browserPath) console.log(`skipped: panel tests: ${NO_BROWSER}`);

describe.skipIf(!browserPath)('experiment panel', () => {
  let browser: Browser;
  let server: Session;
  beforeAll(async () => {
    server = await Session.start();
    await server.open(URI, 'When John and Mary went to the shops, John gave the bag to\n-> " Mary" | " John"');
    browser = await launchBrowser();
  });
  afterAll(async () => {
    await browser.close();
    await server.stop();
  });

  const done = (p: PanelPage): Promise<void> => p.page.locator('table.numbers').first().waitFor({ timeout: 40_000 });

  test.each([
    ['evaluate', {}],
    ['ablation', { 'max-features': 5 }],
    ['noise', {}],
    ['positional', { conjunctions: 'and', count: 6 }],
    ['qk', {}],
    ['path-patch', {}],
    ['heads', { top: 2 }],
    ['prefix', { longest: 2, count: 2 }],
    ['dla', {}],
  ])('%s: summary, charts and tables are drawn, and axe finds nothing', async (id, values) => {
    const p = await openPanel(browser, server, args(id, values));
    await done(p);
    expect(await p.page.locator('main p').count()).toBeGreaterThan(1);
    for (const canvas of await p.page.locator('canvas').all()) {
      expect(await canvas.getAttribute('aria-label')).toMatch(/the table ".+" lists the same/);
      const inked = `(c) => new Uint32Array(c.getContext('2d').getImageData(0, 0, c.width, c.height).data.buffer).some((x) => x !== 0)`;
      await expect.poll(() => canvas.evaluate(`(${inked})(document.querySelector('canvas'))`)).toBe(true);
    }
    expect(await p.page.locator('.checks .error').count()).toBe(0);
    expect(await accessibilityProblems(p.page)).toEqual([]);
    await shot(p.page, `experiment-${id}`);
    await p.page.close();
  });

  test('two prompts of a file side by side, their trees node beside node', async () => {
    const uri = 'file:///two.prompts';
    const text = ['John and Mary', 'Mary and John']
      .map((n) => `When ${n} went to the shops, John gave the bag to\n-> " Mary" | " John"\n`)
      .join('');
    await server.open(uri, text);
    const p = await openPanel(browser, server, {
      panel: 'experiment',
      id: 'compare',
      values: { align: 'token' },
      prompts: { from: 'document', uri },
    });
    await done(p);
    const trees = p.page.getByRole('region', { name: /The trees/ });
    await trees.locator('td', { hasText: '" Mary" @4 | " Mary" @2' }).first().waitFor();
    expect(await accessibilityProblems(p.page)).toEqual([]);
    await trees.scrollIntoViewIfNeeded();
    await shot(p.page, 'experiment-compare');
    await p.page.close();
  });

  test('thousands of rows: only those in the window are drawn; the keyboard reaches the last; sorting goes to the top', async () => {
    const p = await openPanel(browser, server, args('heads', { top: 400 }));
    await done(p);
    const region = p.page.getByRole('region', { name: 'Features of each head' });
    expect(await region.locator('table').getAttribute('aria-rowcount')).toBe('6401');
    expect(await region.locator('tbody tr').count()).toBeLessThan(120);
    await region.focus();
    await p.page.keyboard.press('End');
    await region.locator('tr[aria-rowindex="6401"]').waitFor();
    expect(await region.locator('tr[aria-rowindex="6401"] td').nth(1).innerText()).toBe('400');
    expect(await region.locator('tbody tr').count()).toBeLessThan(120);
    await region.locator('th button', { hasText: 'decoder share' }).click();
    const first = region.locator('tr[aria-rowindex="2"] td').nth(3);
    await first.waitFor();
    const most = Number(await first.innerText());
    expect(most).toBeGreaterThanOrEqual(Number(await region.locator('tr[aria-rowindex="9"] td').nth(3).innerText()));
    await p.page.close();
  });

  test('copied as Python: a script with the tables', async () => {
    const p = await openPanel(browser, server, args('dla', { top: 3 }));
    await done(p);
    await p.page.locator('vscode-button', { hasText: 'Copy as Python' }).click();
    await expect.poll(() => p.sent.find((m) => m.type === 'copy')).toMatchObject({ what: 'script' });
    const { text } = p.sent.find((m) => m.type === 'copy') as { text: string };
    expect(text).toContain('HookedTransformer');
    const [, spec] = /SPEC = json\.loads\(r'''(.*)'''\)/.exec(text) ?? [];
    const { components } = (JSON.parse(spec) as { expected: Record<string, Record<string, Record<string, number>>> })
      .expected;
    const rows = p.page.locator('section', { hasText: 'By component' }).first().locator('tbody tr');
    for (const row of await rows.all()) {
      const [name, shown] = await row.locator('td').allInnerTexts();
      expect(components[name].mean).toBeCloseTo(Number(shown), 2);
    }
    expect(await rows.count()).toBeGreaterThan(3);
    await p.page.close();
  });

  test('tables sort by their headings, and are saved as CSV; the result as JSON with its settings', async () => {
    const p = await openPanel(browser, server, args('dla', { top: 7 }));
    await done(p);
    const section = p.page.locator('section', { hasText: 'By component' }).first();
    const means = async (): Promise<number[]> =>
      (await section.locator('tbody td:nth-child(2)').allInnerTexts()).map(Number);
    await section.locator('th button', { hasText: 'mean' }).click();
    const down = await means();
    expect(down).toEqual([...down].sort((a, b) => b - a));
    expect(await section.locator('th').nth(1).getAttribute('aria-sort')).toBe('descending');
    await section.locator('th button', { hasText: 'mean' }).click();
    expect(await means()).toEqual([...down].reverse());
    await section.locator('vscode-button', { hasText: 'CSV' }).click();
    await expect
      .poll(() => p.sent.find((m) => m.type === 'save'))
      .toMatchObject({
        format: 'csv',
        name: 'dla-components',
        data: expect.stringMatching(/^name,mean,error\r\n/) as string,
      });
    await p.page.locator('vscode-button', { hasText: 'JSON' }).click();
    await expect
      .poll(() => p.sent.find((m) => m.type === 'save' && m.format === 'json'))
      .toMatchObject({ data: expect.stringContaining('"top": 7') as string });
    await p.page.close();
  });

  test('a reload shows the stored result without running again', async () => {
    const p = await openPanel(browser, server, args('dla'));
    await done(p);
    await expect.poll(() => p.state()?.ui).toBeTruthy();
    const state = p.state();
    await p.page.close();
    const again = await openPanel(browser, server, args('dla'), { ui: state?.ui });
    await done(again);
    expect(again.requests).toEqual([]);
    await again.page.close();
  });

  test('what cannot be done is said, and can be run again', async () => {
    const document = { from: 'document' as const, uri: URI };
    const p = await openPanel(browser, server, { panel: 'experiment', id: 'compare', values: {}, prompts: document });
    await p.page.locator('[role=alert]', { hasText: 'needs two prompts, there are 1' }).waitFor();
    await p.page.locator('vscode-button', { hasText: 'Run again' }).waitFor();
    await p.page.close();
  });
});
