/** Frame times of the circuit panel with at least 500 rows open, in a headless browser with software drawing; and hovers over the protocol. */
import { test } from 'vitest';
import type { RootRef } from '../server/protocol';
import { browserPath, launchBrowser, NO_BROWSER } from '../test/support/browser';
import { Session } from '../test/support/lspClient';
import { openPanel } from '../test/support/panelPage';

const prompt = { text: 'When John and Mary went to the shops, John gave the bag to', bos: true };
const root: RootRef = { type: 'logit', tokens: [616, 564], position: 14 };
const FRAMES = 200;

const quantile = (sorted: number[], q: number): string =>
  sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))].toFixed(1);
const summary = (ms: number[]): string => {
  const sorted = [...ms].sort((a, b) => a - b);
  return `median ${quantile(sorted, 0.5)} ms, p95 ${quantile(sorted, 0.95)} ms, longest ${sorted[sorted.length - 1].toFixed(1)} ms`;
};

/** Runs in the page: times between frames while doing something in each. */
const frames = (action: string): string => `new Promise((done) => {
  const times = [];
  let last = performance.now();
  const step = (now) => {
    times.push(now - last);
    last = now;
    if (times.length > ${FRAMES}) return done(times.slice(1));
    ${action};
    requestAnimationFrame(step);
  };
  requestAnimationFrame(step);
})`;

test('panel and hover', async () => {
  if (!browserPath) return console.log(`skipped: ${NO_BROWSER}`);
  const server = await Session.start();
  const browser = await launchBrowser();
  const ui = { choices: { top: 50, view: 'component', by: 'head' } };
  const args = { panel: 'circuit' as const, uri: null, prompt, root };
  const { page } = await openPanel(browser, server, args, { ui });
  await page.locator('[role=treeitem]').nth(1).waitFor();
  const idle = await page.evaluate<number[]>(frames(''));
  await page.locator('[role=tree]').focus();
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('*');
  const rows = (): Promise<number> => page.evaluate<number>(`document.querySelector('.rows').clientHeight / 24`);
  while ((await rows()) < 500) await page.evaluate('new Promise(requestAnimationFrame)');
  const scroll = await page.evaluate<number[]>(frames(`document.querySelector('.outline').scrollTop += 60`));
  const keys = `document.querySelector('.outline').dispatchEvent(new KeyboardEvent('keydown', { key: 'ArrowUp' }))`;
  const walk = await page.evaluate<number[]>(frames(keys));
  console.log(`rows open: ${await rows()}`);
  console.log(`frames, nothing moving: ${summary(idle)}`);
  console.log(`frames, scrolling:      ${summary(scroll)}`);
  console.log(`frames, walking by key: ${summary(walk)}`);
  await server.open('file:///x.prompts', prompt.text);
  await server.hover('file:///x.prompts', 0, 1);
  const hovers: number[] = [];
  for (let i = 0; i < 200; i++) {
    const start = performance.now();
    await server.hover('file:///x.prompts', 0, (i * 7) % prompt.text.length);
    hovers.push(performance.now() - start);
  }
  console.log(`hover, request to answer over stdio, demo model: ${summary(hovers)}`);
  await browser.close();
  await server.stop();
});
