/** The feature view and the attention view in a real browser page, with answers of the real server. */
import { cpSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Browser } from 'playwright-core';
import { contentSecurityPolicy } from '../../client/src/panels/csp';
import { accessibilityProblems, browserPath, launchBrowser, NO_BROWSER, shot } from '../support/browser';
import { Session, SETTINGS } from '../support/lspClient';
import { openPanel, themes } from '../support/panelPage';

const TEXT = 'When John and Mary went to the shops, John gave the bag to';
const prompt = { text: TEXT, bos: true };
const feature = { panel: 'feature' as const, site: 'blocks.2.attn.hook_z', feature: 74 };
const attention = { panel: 'attention' as const, uri: null, prompt, layer: 2, head: 3, destination: 14 };

test('the security policy: nothing by default, our script by nonce, no inline or evaluated code, nothing remote', () => {
  const policy = contentSecurityPolicy('https://webview.example', 'abc');
  expect(policy).toContain("default-src 'none'");
  expect(policy).toContain("script-src 'nonce-abc'");
  expect(policy).not.toMatch(/unsafe-inline|unsafe-eval|\*|http:/);
});

if (!browserPath) console.log(`skipped: panel tests: ${NO_BROWSER}`);

describe.skipIf(!browserPath)('views', () => {
  let browser: Browser;
  let server: Session;
  beforeAll(async () => {
    server = await Session.start();
    await server.open('file:///folder/my%20prompts.prompts', `${TEXT}\nJohn gave`);
    browser = await launchBrowser();
  });
  afterAll(async () => {
    await browser.close();
    await server.stop();
  });

  test('feature: head shares, logits, where it fires; a token roots the tree there', async () => {
    const p = await openPanel(browser, server, feature);
    await p.page.locator('.example').first().waitFor();
    const shares = await p.page
      .locator('section', { hasText: 'Heads' })
      .first()
      .locator('tbody td:nth-child(2)')
      .allInnerTexts();
    expect(shares.map(parseFloat).reduce((a, b) => a + b, 0)).toBeCloseTo(100, -1);
    expect(await p.page.locator('.example .note').first().innerText()).toMatch(
      /^my prompts\.prompts · strongest 1\.084 at ‘ to’ @14/,
    );
    const comment = { author: 'ada', at: '2026-11-23T02:01:00.000Z', text: 'moves <b>names</b>' };
    await p.send({ type: 'notes', notes: [comment] });
    await expect
      .poll(() => p.page.locator('#notes li').allInnerTexts())
      .toEqual(['moves <b>names</b> ada, 2026-11-23']);
    await p.page.locator('.example .token.marked').first().click();
    await expect
      .poll(() => p.sent.find((m) => m.type === 'open'))
      .toMatchObject({
        args: { panel: 'circuit', prompt, root: { type: 'feature', site: feature.site, feature: 74, position: 14 } },
      });
    await p.page.locator('vscode-button', { hasText: 'Color tokens' }).click();
    await expect.poll(() => p.sent.find((m) => m.type === 'heat')).toMatchObject({ site: feature.site, feature: 74 });
    await p.page.close();
  });

  test('dashboard: offered where there is no index; once built, examples with activations and DFA; a click roots the tree', async () => {
    const texts = mkdtempSync(join(tmpdir(), 'texts-'));
    writeFileSync(join(texts, 'story.txt'), `${TEXT} Mary. `.repeat(40));
    const corpus = { folder: texts, contextLength: 32, maxTokens: 1e6 };
    await server.connection.sendNotification('attentionCircuits/settings', { ...SETTINGS, corpus });
    const p = await openPanel(browser, server, feature);
    await p.page.locator('.dashboard', { hasText: 'not indexed' }).waitFor();
    await p.page.locator('vscode-button', { hasText: 'Index now' }).click();
    await expect.poll(() => p.sent.find((m) => m.type === 'index')).toMatchObject({ here: true });
    await server.request('attentionCircuits/indexCorpus', {});
    await p.send({ type: 'corpus' });
    const example = p.page.locator('.dashboard .examples .example').first();
    await example.locator('.dfa .token').first().waitFor();
    await p.page.locator('.histogram .dfa .token').first().waitFor();
    expect(await p.page.locator('.dashboard .note').first().innerText()).toMatch(/^Active at \d+ of \d+ tokens/);
    await shot(p.page, 'feature-dashboard');
    expect(await accessibilityProblems(p.page)).toEqual([]);
    await example.locator('button.link').click();
    await expect.poll(() => p.sent.find((m) => m.type === 'openFile')).toMatchObject({ file: 'story.txt', line: 0 });
    await example.locator('.token.marked').first().click();
    await expect
      .poll(() => p.sent.find((m) => m.type === 'open'))
      .toMatchObject({ args: { panel: 'circuit', uri: null } });
    await p.page.locator('vscode-checkbox', { hasText: 'DFA' }).click();
    expect(await example.locator('.dfa').isVisible()).toBe(false);
    await p.page.locator('section', { hasText: 'Residual lens' }).last().locator('button.link').first().click();
    await expect
      .poll(() => p.sent.findLast((m) => m.type === 'open'))
      .toMatchObject({ args: { panel: 'feature', site: 'blocks.3.hook_resid_pre' } });
    await p.page.close();
  });

  test('a dictionary that is on Neuronpedia offers its page; nothing is opened by itself', async () => {
    const own = join(mkdtempSync(join(tmpdir(), 'saes-')), 'z');
    cpSync(join(import.meta.dirname, '..', '..', 'demo', 'saes', feature.site), own, { recursive: true });
    const config = JSON.parse(readFileSync(join(own, 'cfg.json'), 'utf8')) as { metadata: object };
    config.metadata = { ...config.metadata, neuronpedia_id: 'gpt2-small/2-att-kk' };
    writeFileSync(join(own, 'cfg.json'), JSON.stringify(config));
    const HOSTILE = '<b onclick=alert(1)>names</b>';
    const asked: string[] = [];
    const site = createServer((q, response) => {
      asked.push(q.url ?? '');
      const explanations = [{ description: HOSTILE, typeName: 'np_max-act-logits', explanationModelName: 'm' }];
      response.end(JSON.stringify({ frac_nonzero: 0.0125, maxActApprox: 3.5, explanations, other: 1 }));
    });
    await new Promise<void>((done) => site.listen(0, '127.0.0.1', done));
    const { port } = site.address() as AddressInfo;
    const hub = { ...SETTINGS.hub, offline: false, neuronpedia: `http://127.0.0.1:${port}` };
    const other = await Session.start({ dictionaries: [own], hub });
    const p = await openPanel(browser, other, feature);
    const link = p.page.locator('vscode-button', { hasText: 'Open on Neuronpedia' });
    await link.waitFor();
    expect(p.sent.some((m) => m.type === 'neuronpedia')).toBe(false);
    await link.click();
    await expect
      .poll(() => p.sent.find((m) => m.type === 'neuronpedia'))
      .toMatchObject({ id: 'gpt2-small/2-att-kk', feature: 74 });
    expect(asked).toEqual([]);
    await p.page.locator('vscode-button', { hasText: 'Fetch from Neuronpedia' }).click();
    const page = p.page.locator('#neuronpedia');
    await page.waitFor();
    expect(asked).toEqual(['/api/feature/gpt2-small/2-att-kk/74']);
    expect(await page.innerText()).toContain(HOSTILE);
    expect(await page.innerText()).toMatch(/density 1\.3%.*most 3\.500/);
    await page.locator('vscode-button', { hasText: 'Use as label' }).click();
    await expect.poll(() => p.sent.find((m) => m.type === 'label')).toMatchObject({ feature: 74, text: HOSTILE });
    await p.page.close();
    await other.stop();
    site.close();
  });

  test('attention: pattern and DFA of a head; another token, another head', async () => {
    const p = await openPanel(browser, server, attention);
    const tables = p.page.locator('.heat-table');
    await tables.nth(1).waitFor();
    expect(await tables.nth(0).locator('tbody tr').count()).toBe(15);
    expect(await tables.nth(1).locator('caption').innerText()).toMatch(/DFA of feature 2\.\d+/);
    await p.page.locator('.token', { hasText: 'shops' }).click();
    await p.page.locator('.note', { hasText: 'From ‘ shops’ @8' }).waitFor();
    await p.send({ type: 'token', position: 10 });
    await p.page.locator('.note', { hasText: 'From ‘ John’ @10' }).waitFor();
    await p.page.close();
  });

  test('what does not exist is said, with a way to try again', async () => {
    const p = await openPanel(browser, server, { ...feature, feature: 99_999 });
    await p.page.locator('[role=alert]', { hasText: 'has no feature 99999' }).waitFor();
    await p.page.locator('vscode-button', { hasText: 'Try again' }).waitFor();
    await p.page.close();
  });

  test.each(themes)('nothing for axe to complain about in the %s theme', async (theme) => {
    const f = await openPanel(browser, server, feature, { theme });
    await f.page.locator('.example').first().waitFor();
    expect(await accessibilityProblems(f.page)).toEqual([]);
    await shot(f.page, `feature-${theme}`);
    await f.page.close();
    const a = await openPanel(browser, server, attention, { theme });
    await a.page.locator('.heat-table').nth(1).waitFor();
    expect(await accessibilityProblems(a.page)).toEqual([]);
    await shot(a.page, `attention-${theme}`);
    await a.page.close();
  });
});
