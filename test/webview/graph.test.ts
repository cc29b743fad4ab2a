/** Attribution-graph files in the circuit panel: our own with their values and what pruning took away, and those of other tools. */
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { GraphFile } from '../../server/src/interop';
import { accessibilityProblems, browserPath, launchBrowser, NO_BROWSER, shot } from '../support/browser';
import { cli } from '../support/cli';
import { Session } from '../support/lspClient';
import { openPanel, type PanelPage } from '../support/panelPage';

if (!browserPath) console.log(`skipped: graph panel tests: ${NO_BROWSER}`);

const dir = mkdtempSync(join(tmpdir(), 'graph-panel-'));
const TEXT = 'When John and Mary went to the shops, John gave the bag to';
const HOSTILE = '<img src=x onerror="window.hacked=1">';

const node = (node_id: string, feature_type: string, layer: string, ctx_idx: number, more: object): object => ({
  node_id,
  feature: null,
  layer,
  ctx_idx,
  feature_type,
  jsNodeId: node_id,
  clerp: '',
  ...more,
});

/** As circuit-tracer writes it: one feature between two tokens and two outputs. */
const FOREIGN = {
  metadata: { slug: 'other', scan: 'gemma-2-2b', prompt: 'a b', prompt_tokens: ['a', ' b'], schema_version: 1 },
  qParams: {},
  nodes: [
    node('E_1_0', 'embedding', 'E', 0, { feature: 0 }),
    node('2_7_1', 'cross layer transcoder', '2', 1, { feature: 52, clerp: HOSTILE, activation: 3 }),
    node('1_-1_1', 'mlp reconstruction error', '1', 1, { feature: -1 }),
    node('4_9_1', 'logit', '4', 1, { feature: 9, clerp: 'Output " yes" (p=0.700)', token_prob: 0.7 }),
    node('4_8_1', 'logit', '4', 1, { feature: 8, clerp: 'Output " no" (p=0.200)', token_prob: 0.2 }),
  ],
  links: [
    { source: 'E_1_0', target: '2_7_1', weight: 2 },
    { source: '2_7_1', target: '4_9_1', weight: 1.5 },
    { source: '1_-1_1', target: '4_9_1', weight: -0.25 },
    { source: '2_7_1', target: '4_8_1', weight: -1 },
  ],
};

describe.skipIf(!browserPath)('a graph file as a circuit', () => {
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

  const open = async (name: string, content: string): Promise<PanelPage> => {
    const file = join(dir, name);
    writeFileSync(file, content);
    const root = { type: 'graph' as const, file, node: '', position: 0 };
    const p = await openPanel(
      browser,
      server,
      { panel: 'circuit', uri: null, prompt: { text: '', bos: false }, root },
      {
        size: { width: 1100, height: 6000 },
      },
    );
    await p.page.locator('[role=treeitem]').nth(1).waitFor();
    return p;
  };
  const rows = (p: PanelPage): Promise<string[]> => p.page.locator('[role=treeitem]').allTextContents();

  test('another tool’s: what is linked in, walked to the embedding; other outputs as roots; hostile labels are text', async () => {
    const p = await open('other.json', JSON.stringify(FOREIGN));
    expect(await p.page.locator('.heading').innerText()).toMatch(/Output " yes".*= \+1\.250/);
    expect(await p.page.locator('#origin').innerText()).toMatch(
      /5 nodes, 4 links\).*does not say what its nodes amount to/,
    );
    expect((await rows(p))[1]).toContain(HOSTILE);
    expect((await rows(p))[1]).toMatch(/mlp 2\.7 @1 ‘ b’ contribution \+1\.500 share 86%/);
    await p.page.locator('[role=treeitem]').nth(1).locator('.label').click();
    await p.page.keyboard.press('ArrowRight');
    await p.page.locator('[role=treeitem][aria-level="3"]', { hasText: 'embedding @0 ‘a’' }).waitFor();
    for (const absent of ['Validate edge', 'Ablate', 'Copy as Python', 'Label'])
      expect(await p.page.locator('.details vscode-button', { hasText: absent }).count()).toBe(0);
    expect(await p.page.locator('vscode-dropdown[aria-label=Stream]').count()).toBe(0);
    expect(await accessibilityProblems(p.page)).toEqual([]);
    await p.page.locator('vscode-button', { hasText: 'Output " no"' }).click();
    await p.page.locator('.heading', { hasText: '= −1.000' }).waitFor();
    expect(await p.page.evaluate('window.hacked')).toBeUndefined();
    await p.page.close();
  });

  test('our own export: values of the forward pass, and what pruning took away as a line; sums hold', async () => {
    const root = 'logitdiff:" Mary"|" John"@14';
    const made = await cli(['graph', '--model', 'demo', '--prompt', TEXT, '--root', root, '--json']);
    const graph = JSON.parse(made.stdout) as GraphFile;
    const p = await open('own.json', made.stdout);
    const [top, ...children] = await rows(p);
    expect(top).toMatch(/\+5\.686/);
    expect(children.some((r) => r.includes('pruned away in the file'))).toBe(true);
    const numbers = await p.page.locator('.rows .row .number:nth-child(3)').allTextContents();
    const [value, ...parts] = numbers.map((t) => Number(t.replace('−', '-').replace(/[^\d.-]/g, '')));
    expect(Math.abs(parts.reduce((a, b) => a + b, 0) - value)).toBeLessThan(0.0005 * numbers.length);
    const target = (graph.metadata.dfa as { root: string }).root;
    const strongest = graph.links
      .filter((l) => l.target === target)
      .sort((a, b) => Math.abs(b.weight) - Math.abs(a.weight))[0];
    expect(parts).toContain(Number(strongest.weight.toFixed(3)));
    await shot(p.page, 'graph-file');
    await p.page.close();
  });

  test('a damaged file says what is wrong', async () => {
    const file = join(dir, 'damaged.json');
    writeFileSync(file, '{"metadata": {}, "nodes": 3}');
    const root = { type: 'graph' as const, file, node: '', position: 0 };
    const p = await openPanel(browser, server, { panel: 'circuit', uri: null, prompt: { text: '', bos: false }, root });
    await p.page.locator('[role=alert]', { hasText: '"nodes" is missing or not a list' }).waitFor();
    await p.page.close();
  });
});
