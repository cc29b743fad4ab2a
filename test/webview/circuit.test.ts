/** The circuit panel in a real browser page under its security policy, with answers of the real server. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Browser, Locator } from 'playwright-core';
import type { RootRef } from '../../server/protocol';
import { accessibilityProblems, browserPath, launchBrowser, NO_BROWSER, shot } from '../support/browser';
import { Session } from '../support/lspClient';
import { openPanel, type PanelPage, themes } from '../support/panelPage';

const TEXT = 'When John and Mary went to the shops, John gave the bag to';
const prompt = { text: TEXT, bos: true };
const root: RootRef = { type: 'logit', tokens: [616, 564], position: 14 };
const args = { panel: 'circuit' as const, uri: 'file:///x.prompts', prompt, root };

if (!browserPath) console.log(`skipped: panel tests: ${NO_BROWSER}`);

describe.skipIf(!browserPath)('circuit panel', () => {
  let browser: Browser;
  let server: Session;
  beforeAll(async () => {
    server = await Session.start();
    browser = await launchBrowser();
  });
  afterAll(async () => {
    await browser.close();
    await server.stop();
  });

  const items = (p: PanelPage): Locator => p.page.locator('[role=treeitem]');
  const selected = (p: PanelPage): Locator => p.page.locator('[role=treeitem][aria-selected=true]');
  const number = (text: string): number =>
    Number(
      text
        .replace(/[a-z ]/g, '')
        .replace('−', '-')
        .replace('+', ''),
    );

  async function opened(
    o: Parameters<typeof openPanel>[3] = {},
    a: Parameters<typeof openPanel>[2] = args,
  ): Promise<PanelPage> {
    const p = await openPanel(browser, server, a, o);
    await items(p).nth(1).waitFor();
    return p;
  }

  test('the root’s children, what is cut away and the remainder on the screen add up to its value', async () => {
    const p = await opened();
    const numbers = await p.page.locator('.rows .row .number:nth-child(3)').allTextContents();
    const [value, ...parts] = numbers.map(number);
    expect(value).toBeCloseTo(5.686, 3);
    // Each number shown is rounded to three digits after the point.
    expect(Math.abs(parts.reduce((a, b) => a + b, 0) - value)).toBeLessThan(0.0005 * numbers.length);
    const cut = p.page.locator('.row.cut');
    expect(await cut.textContent()).toMatch(/\d+ not shown \(beyond the top\) together [+−]/);
    const before = await items(p).count();
    await cut.click();
    expect(await items(p).count()).toBeGreaterThan(before);
    await p.page.close();
  });

  test('rows are a tree to a screen reader: level, place among siblings, all numbers in the label', async () => {
    const p = await opened();
    const row = items(p).nth(1);
    expect(await row.getAttribute('aria-level')).toBe('2');
    expect(await row.getAttribute('aria-posinset')).toBe('1');
    expect(Number(await row.getAttribute('aria-setsize'))).toBeGreaterThan(10);
    expect(await row.getAttribute('aria-expanded')).toBe('false');
    expect(await row.textContent()).toMatch(/attn 2\.74 ‘ to’ @14 contribution \+2\.356 share 10% activation 1\.084/);
    const tree = p.page.locator('[role=tree]');
    const active = await tree.getAttribute('aria-activedescendant');
    expect(active).toBe(await selected(p).getAttribute('id'));
    await p.page.close();
  });

  test('by keyboard alone: walk two hops, validate, ablate, pin, rename, group, re-root, go back', async () => {
    const p = await opened();
    const { page } = p;
    await page.locator('[role=tree]').focus();
    const press = async (...keys: string[]): Promise<void> => {
      for (const k of keys) await page.keyboard.press(k);
    };
    await press('ArrowDown', 'ArrowRight');
    await page.locator('[role=treeitem][aria-level="3"]').first().waitFor();
    await press('ArrowRight', 'ArrowRight');
    await page.locator('[role=treeitem][aria-level="4"]').first().waitFor();
    expect(await selected(p).textContent()).toContain('from ‘ Mary’ @4');
    await press('ArrowLeft', 'ArrowLeft');
    expect(await selected(p).textContent()).toContain('attn 2.74');
    await press('v');
    const direct = page.locator('#validation tr', { hasText: 'direct' }).locator('td');
    await direct.first().waitFor();
    expect(await direct.allInnerTexts()).toEqual(['+5.686', '+3.330', '−2.356']);
    await press('a');
    await page.locator('#ablation').waitFor();
    expect(await page.locator('#ablation tbody tr').first().innerText()).toContain('‘ Mary’');
    await press('p');
    expect(await selected(p).textContent()).toContain('pinned');
    await press('ArrowDown', 'ArrowDown', 'p', 'g');
    await page.locator('.supernode').waitFor();
    expect(await page.locator('.supernode .number').innerText()).toMatch(/2 nodes/);
    await press('Home', 'ArrowDown', 'F2');
    await page.keyboard.press('Control+a');
    await page.keyboard.type('name mover');
    await press('Enter');
    expect(await selected(p).locator('.label').innerText()).toBe('name mover');
    await press('r');
    await page.locator('.crumbs li').waitFor();
    expect(await page.locator('.heading .root').innerText()).toContain('= +1.084');
    await page.locator('[role=tree]').focus();
    await press('Backspace');
    await page.locator('.heading .root', { hasText: '+5.686' }).waitFor();
    await page.close();
  });

  test('Ctrl-click pins, Escape clears, clicks while G is held make a supernode', async () => {
    const p = await opened();
    await items(p)
      .nth(2)
      .click({ modifiers: ['ControlOrMeta'] });
    expect(await items(p).nth(2).getAttribute('class')).toContain('pinned');
    await p.page.locator('[role=tree]').focus();
    await p.page.keyboard.press('Escape');
    expect(await items(p).nth(2).getAttribute('class')).not.toContain('pinned');
    await p.page.keyboard.down('g');
    await items(p).nth(1).click();
    await items(p).nth(3).click();
    await p.page.keyboard.up('g');
    expect(await p.page.locator('.supernode .number').innerText()).toMatch(/2 nodes/);
    await p.page.locator('.supernode vscode-button').click();
    expect(await p.page.locator('.supernode').count()).toBe(0);
    await p.page.close();
  });

  test('sliders, search, hiding and views change what is shown, never the sums', async () => {
    const p = await opened();
    const { page } = p;
    const slide = async (label: string, value: number): Promise<void> => {
      await page.getByLabel(label, { exact: true }).fill(String(value));
    };
    const sum = async (): Promise<number> =>
      (await page.locator('.rows .row:not(:first-child) .number:nth-child(3)').allTextContents())
        .map(number)
        .reduce((a, b) => a + b, 0);
    await slide('Top', 2);
    expect(await page.locator('.kind-attention-feature, .kind-transcoder-feature').count()).toBe(2);
    expect(Math.abs((await sum()) - 5.686)).toBeLessThan(0.02);
    await page.locator('summary').click();
    await page.locator('vscode-checkbox', { hasText: 'Hide errors' }).click();
    await page.locator('vscode-checkbox', { hasText: 'Hide constants' }).click();
    expect(await page.locator('.kind-error, .kind-bias').count()).toBe(0);
    expect(await page.locator('.row.cut').textContent()).toMatch(/errors/);
    expect(Math.abs((await sum()) - 5.686)).toBeLessThan(0.02);
    await slide('Top', 20);
    await page.getByRole('textbox', { name: 'Search nodes' }).click();
    await page.keyboard.type('attn 2.71');
    await expect.poll(() => page.locator('.rows .row:not(.cut)').count()).toBeLessThan(5);
    await page.close();
  });

  test('the token strip is coloured by the selected node; a click filters the tree; the editor’s click too', async () => {
    const p = await opened();
    const mary = p.page.locator('.token', { hasText: 'Mary' });
    await expect.poll(() => mary.getAttribute('class')).toMatch(/pos-\d/);
    expect(await mary.getAttribute('aria-label')).toMatch(/‘ Mary’ @4: \+\d/);
    await items(p).nth(1).locator('.twisty').click();
    await p.page.locator('[role=treeitem][aria-level="3"]').first().waitFor();
    await mary.click();
    expect(await p.page.locator('#filter').innerText()).toContain('‘ Mary’ @4');
    const labels = await p.page.locator('.rows .row:not(.cut) .label').allInnerTexts();
    expect(labels).toEqual(['logit of ‘ Mary’ minus ‘ John’ @14', 'attn 2.74 ‘ to’ @14', 'from ‘ Mary’ @4']);
    await p.page.locator('#filter vscode-button').click();
    await p.send({ type: 'token', position: 2 });
    await p.page.locator('#filter', { hasText: '‘ John’ @2' }).waitFor();
    await p.page.close();
  });

  test('a node and the whole tree are copied as Python', async () => {
    const p = await opened();
    await items(p).nth(1).click();
    const copied = (): string[] => p.sent.flatMap((m) => (m.type === 'copy' ? [m.text] : []));
    await p.page.locator('.details vscode-button', { hasText: 'Copy as Python' }).click();
    await expect.poll(() => copied().length).toBe(1);
    await p.page.locator('summary').click();
    await p.page.locator('.toolbar vscode-button', { hasText: 'Copy as Python' }).click();
    await expect.poll(() => copied().length).toBe(2);
    const count = (text: string): number => text.match(/"contribution"/g)?.length ?? 0;
    expect(count(copied()[0])).toBe(2);
    expect(count(copied()[1])).toBeGreaterThan(5);
    await p.page.close();
  });

  test('hovering a node sends its source range to the editor', async () => {
    const p = await opened();
    await items(p).nth(1).locator('.twisty').click();
    await p.page.locator('.label', { hasText: 'from ‘ Mary’ @4' }).hover();
    await expect
      .poll(() => p.sent.findLast((m) => m.type === 'highlight'))
      .toMatchObject({ ranges: [{ start: 13, end: 18 }] });
    await p.page.close();
  });

  test('an attention node opens into head × source, contributions or pattern', async () => {
    const p = await opened();
    await items(p).nth(1).click();
    const table = p.page.locator('.heat-table');
    await table.waitFor();
    expect(await table.locator('tbody tr').count()).toBe(4);
    expect(await table.locator('caption').innerText()).toContain('DFA by head and source token');
    await p.page.locator('vscode-button', { hasText: 'Show pattern' }).click();
    expect(await table.locator('caption').innerText()).toContain('Attention pattern');
    await shot(p.page, 'panel-circuit');
    await p.page.close();
  });

  test('a reload restores the panel at the same place', async () => {
    const p = await opened();
    await items(p).nth(1).click();
    await p.page.keyboard.press('ArrowRight');
    await p.page.locator('[role=treeitem][aria-level="3"]').first().waitFor();
    await p.page.keyboard.press('ArrowDown');
    await p.page.keyboard.press('p');
    const labels = await p.page.locator('.rows .label').allInnerTexts();
    const at = await selected(p).getAttribute('id');
    await expect.poll(() => (p.state()?.ui as { pins?: string[] } | undefined)?.pins?.length).toBe(1);
    const state = p.state();
    await p.page.close();
    const again = await opened({ ui: state?.ui }, state?.args);
    await expect.poll(() => again.page.locator('.rows .label').allInnerTexts()).toEqual(labels);
    expect(await selected(again).getAttribute('id')).toBe(at);
    await again.page.close();
  });

  test('exports: SVG stands alone, PNG is a PNG, JSON carries the sums, the text copy too', async () => {
    const p = await opened();
    const saved = async (format: 'SVG' | 'PNG' | 'JSON'): Promise<string> => {
      await p.page.locator('vscode-button', { hasText: format }).click();
      const found = (): { data: string } | undefined =>
        p.sent.find((m) => m.type === 'save' && m.format === format.toLowerCase()) as { data: string } | undefined;
      await expect.poll(() => found() !== undefined).toBe(true);
      return found()?.data ?? '';
    };
    await p.page.locator('summary').click();
    const svg = await saved('SVG');
    expect(svg).toMatch(/^<svg .*attn 2\.74/s);
    expect(svg).not.toContain('var(');
    expect(svg).not.toContain('class=');
    const png = Buffer.from(await saved('PNG'), 'base64');
    expect(png.subarray(1, 4).toString()).toBe('PNG');
    const json = JSON.parse(await saved('JSON')) as {
      tree: {
        expansions: { value: number; remainder: number; cut: { sum: number }; children: { contribution: number }[] }[];
      };
    };
    const [e] = json.tree.expansions;
    expect(e.children.reduce((s, c) => s + c.contribution, 0) + e.cut.sum + e.remainder).toBeCloseTo(e.value, 9);
    await p.page.locator('vscode-button', { hasText: /^\s*Copy\s*$/ }).click();
    await expect
      .poll(() => p.sent.find((m) => m.type === 'copy'))
      .toMatchObject({ text: expect.stringContaining('+2.356 (10.0%) ▲ blocks.2.attn.hook_z/74') as string });
    await p.page.close();
  });

  test('the diagram shows the same nodes', async () => {
    const p = await opened();
    const count = await items(p).count();
    await p.page.locator('summary').click();
    await p.page.locator('vscode-checkbox', { hasText: 'Diagram' }).click();
    await p.page.locator('svg.diagram').waitFor();
    expect(await p.page.locator('svg.diagram .box').count()).toBe(count);
    await shot(p.page, 'panel-diagram');
    await p.page.close();
  });

  test('features firing at the token are offered as roots', async () => {
    const logit: RootRef = { type: 'logit', tokens: [564], position: 9 };
    const p = await opened({}, { ...args, root: logit, offer: 10 });
    expect(await p.page.locator('.offers').innerText()).toContain('Firing at ‘ John’ @10');
    await p.page.locator('.offers vscode-button').first().click();
    await p.page.locator('.crumbs li', { hasText: 'logit of ‘ John’ @9' }).waitFor();
    await p.page.close();
  });

  test('an edited prompt is marked, then replaced', async () => {
    const p = await opened();
    await p.send({ type: 'stale', stale: true });
    await p.page.locator('.warning', { hasText: 'earlier text' }).waitFor();
    const edited = { text: 'When John and Mary went to the museum, John gave the bag to', bos: true };
    await p.send({ type: 'update', args: { ...args, prompt: edited } });
    await p.send({ type: 'stale', stale: false });
    await p.page.locator('.token', { hasText: 'museum' }).waitFor();
    expect(await p.page.locator('.warning').count()).toBe(0);
    await p.page.close();
  });

  test('a refused node says so at the node, a failed server on top; both can be tried again', async () => {
    let broken = true;
    const p = await openPanel(browser, server, args, {
      answer: (method, params) =>
        broken ? Promise.reject(new Error('the server stopped')) : server.request(method as never, params as never),
    });
    await p.page.locator('[role=alert]', { hasText: 'the server stopped' }).waitFor();
    broken = false;
    await p.send({ type: 'status', status: await server.request('attentionCircuits/status', {}) });
    await items(p).nth(1).waitFor();
    broken = true;
    await items(p).nth(1).locator('.twisty').click();
    await p.page.locator('.row.refused[aria-level="2"]').waitFor();
    broken = false;
    await items(p).nth(1).locator('.twisty').click();
    await p.page.locator('[role=treeitem][aria-level="3"]').first().waitFor();
    await p.page.close();
  });

  test('text of prompts is text: no markup, no script, direction characters visible', async () => {
    const evil = { text: '<img src=x onerror=alert(1)> \u202e </script>', bos: true };
    const p = await opened({}, { ...args, prompt: evil, root: { type: 'logit', tokens: [1], position: 3 } });
    expect(await p.page.locator('main img').count()).toBe(0);
    expect((await p.page.locator('.token').allInnerTexts()).join('')).toContain('<');
    await p.page.close();
  });

  test.each(themes)('nothing for axe to complain about in the %s theme', async (theme) => {
    const p = await opened({ theme });
    await items(p).nth(1).click();
    await p.page.locator('.heat-table').waitFor();
    await p.page.keyboard.press('v');
    await p.page.locator('#validation').waitFor();
    await p.page.keyboard.press('p');
    await p.page.locator('summary').click();
    expect(await accessibilityProblems(p.page)).toEqual([]);
    await shot(p.page, `panel-${theme}`);
    await p.page.close();
  });

  test('thousands of rows: only those in the window are drawn, and scrolling reaches the last', async () => {
    const p = await opened({ ui: { choices: { top: 50, view: 'component', by: 'head' } } });
    await p.page.locator('[role=tree]').focus();
    await p.page.keyboard.press('ArrowDown');
    await p.page.keyboard.press('*');
    const rows = (): Promise<number> =>
      p.page.locator('.rows').evaluate((e) => (e as unknown as { clientHeight: number }).clientHeight / 24);
    await expect.poll(rows, { timeout: 20_000 }).toBeGreaterThan(500);
    expect(await items(p).count()).toBeLessThan(80);
    await p.page.keyboard.press('End');
    await expect.poll(async () => Number(await selected(p).getAttribute('aria-posinset'))).toBeGreaterThan(20);
    await p.page.close();
  });
});
