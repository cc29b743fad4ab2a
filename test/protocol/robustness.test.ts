/** Cancelling, crashing, bad files and bad models, with the real server process over stdio. */
import type { Socket } from 'node:net';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { CancellationTokenSource } from 'vscode-languageserver/node';
import { Session } from '../support/lspClient';

let s: Session | null = null;
const start = async (settings = {}): Promise<Session> => (s = await Session.start(settings));
afterEach(async () => {
  await s?.stop();
  s = null;
});

const URI = 'file:///x.prompts';

test('a hovered request is cancelled by the editor and the next one is answered', async () => {
  const server = await start();
  await server.open(URI, 'When John and Mary went to the shops, John gave the bag to');
  const source = new CancellationTokenSource();
  const hover = server.connection.sendRequest(
    'textDocument/hover',
    { textDocument: { uri: URI }, position: { line: 0, character: 1 } },
    source.token,
  );
  source.cancel();
  await expect(hover).rejects.toThrow(/cancel/i);
  expect(await server.hover(URI, 0, 1)).toContain('‘When’');
});

test('loading can be cancelled from its progress, and asked for again', async () => {
  const cache = mkdtempSync(join(tmpdir(), 'weights-'));
  const server = (s = await Session.start({}, { ATTENTION_CIRCUITS_CACHE: cache }));
  const load = server.request('attentionCircuits/load', {});
  await server.until(() => server.progressToken);
  await server.connection.sendNotification('window/workDoneProgress/cancel', { token: server.progressToken });
  await expect(load).rejects.toThrow('cancelled');
  expect((await server.request('attentionCircuits/load', {})).phase).toBe('ready');
});

test('a hover overtakes the search of many prompts, and the search can be cancelled', async () => {
  const server = await start();
  const prompts = Array.from(
    { length: 150 },
    (_, i) => `John gave the bag to Mary and went to the shops ${'the '.repeat(i % 60)}`,
  ).map((p) => p.trim());
  await server.open(URI, prompts.join('\n'));
  await server.request('attentionCircuits/load', {});
  const order: string[] = [];
  const source = new CancellationTokenSource();
  const search = server.connection
    .sendRequest('attentionCircuits/feature', { site: 'blocks.2.attn.hook_z', feature: 74 }, source.token)
    .then(
      () => order.push('search'),
      () => order.push('search cancelled'),
    );
  await server.hover(URI, 149, 2);
  order.push('hover');
  source.cancel();
  await search;
  expect(order).toEqual(['hover', 'search cancelled']);
});

test('a long search shows progress, and cancelling the progress ends it', async () => {
  const server = await start();
  await server.request('attentionCircuits/load', {});
  await server.open(URI, Array.from({ length: 200 }, (_, i) => `John gave the bag ${i} to Mary and went`).join('\n'));
  const loading = server.progressToken;
  const search = server.request('attentionCircuits/heat', { uri: URI, site: 'blocks.2.attn.hook_z', feature: 74 });
  await server.until(() => server.progressToken !== loading && server.progress.some((p) => p.kind === 'report'));
  await server.connection.sendNotification('window/workDoneProgress/cancel', { token: server.progressToken });
  await expect(search).rejects.toThrow(/cancelled/);
  expect(server.progress.at(-1)?.kind).toBe('end');
});

test('edits during analysis: what was asked of the old text is refused as outdated, the new text is answered', async () => {
  const server = await start();
  await server.open(URI, 'John gave the bag to\n-> " Mary" | " John"');
  const [old] = await server.lenses(URI);
  await server.change(URI, 'Mary gave the bag to\n-> " John" | " Mary"');
  await expect(server.resolve(old)).rejects.toThrow(/changed/);
  const [lens] = await server.lenses(URI);
  expect((await server.resolve(lens)).command?.title).toBe('Attribute ‘ John’ − ‘ Mary’');
});

test('another model is chosen while an experiment runs: it ends as cancelled, and the new model serves', async () => {
  const server = await start();
  await server.request('attentionCircuits/load', {});
  const loading = server.progressToken;
  const experiment = server.request('attentionCircuits/experiment', {
    id: 'positional',
    prompts: { from: 'none' },
    values: { count: 400 },
  });
  await server.until(() => server.progressToken !== loading && server.progress.some((p) => p.kind === 'report'));
  const { SETTINGS } = await import('../support/lspClient');
  const other = join(import.meta.dirname, '..', '..', 'demo', 'model');
  await server.connection.sendNotification('attentionCircuits/settings', { ...SETTINGS, model: other });
  await expect(experiment).rejects.toThrow(/cancelled/);
  await server.open(URI, 'John gave');
  expect(await server.hover(URI, 0, 1)).toContain('‘John’');
});

test('a missing model folder: the lens and the hover say so and offer a choice; another setting heals it', async () => {
  const missing = join(mkdtempSync(join(tmpdir(), 'no-model-')), 'gone');
  const server = await start({ model: missing });
  await server.open(URI, 'John gave');
  const [lens] = await server.lenses(URI);
  const { command } = await server.resolve(lens);
  expect(command?.title).toMatch(/Cannot analyse: .*gone/);
  expect(command?.command).toBe('attentionCircuits.chooseModel');
  expect(await server.hover(URI, 0, 1)).toContain('command:attentionCircuits.chooseModel');
  expect(server.statuses.at(-1)).toMatchObject({ phase: 'failed' });
  const { SETTINGS } = await import('../support/lspClient');
  await server.connection.sendNotification('attentionCircuits/settings', SETTINGS);
  expect(await server.hover(URI, 0, 1)).toContain('‘John’');
});

test.each([
  ['empty', ''],
  ['binary', Buffer.from(Array.from({ length: 5000 }, (_, i) => (i * 7919) % 256)).toString('latin1')],
  ['invalid UTF-8, as an editor decodes it', Buffer.from([0x4a, 0xff, 0xfe, 0x20, 0xc3, 0x28]).toString('utf8')],
  ['emoji and combining characters', 'I ❤️ 👩‍👩‍👧 e\u0301 and ü\nnext'],
  ['right to left', 'שלום עולם \u202e abc'],
  ['lone surrogates', 'a \ud800 b'],
])('%s: lenses, symbols, diagnostics and hovers all answer', async (_, source) => {
  const server = await start();
  await server.open(URI, source);
  const lenses = await server.lenses(URI);
  await Promise.all(lenses.slice(0, 6).map((l) => server.resolve(l)));
  await server.until(() => server.diagnostics.get(URI));
  for (const character of [0, 2, 4, 6]) await server.hover(URI, 0, character);
  expect((await server.request('attentionCircuits/status', {})).phase).toMatch(/ready|idle/);
});

test('5,000 prompts: the first lens has its title while most prompts have not been looked at', async () => {
  const server = await start();
  const source = Array.from({ length: 5000 }, (_, i) => `John number ${i} gave the bag to`).join('\n');
  await server.open(URI, source);
  const lenses = await server.lenses(URI);
  expect(lenses.length).toBe(2000);
  expect((await server.resolve(lenses[0])).command?.title).toMatch(/^Attribute/);
  expect((await server.request('attentionCircuits/status', {})).prompts).toBeLessThan(5);
});

test('a prompt of 10 MB is refused without being tokenized, a file of 10 MB without being read', async () => {
  const server = await start();
  await server.request('attentionCircuits/load', {});
  await server.open(URI, 'word '.repeat(900_000));
  const list = await server.until(
    () => server.diagnostics.get(URI)?.some((d) => d.code === 'prompt') && server.diagnostics.get(URI),
  );
  expect(list[0].message).toMatch(/more than 128 tokens/);
  const large = 'file:///large.prompts';
  await server.open(large, 'word '.repeat(2_000_000));
  expect((await server.until(() => server.diagnostics.get(large)))[0].code).toBe('file-too-large');
  expect(await server.lenses(large)).toEqual([]);
});

test('killed in the middle of a request: the request fails at once, and a new server serves the same panel', async () => {
  const server = await start();
  const prompt = { text: 'John gave the bag to', bos: true };
  const root = { type: 'logit' as const, tokens: [616], position: 5 };
  const { root: node } = await server.request('attentionCircuits/root', { prompt, root });
  const gone = new Promise((resolve) => server.process.once('exit', resolve));
  const { stdin } = server.process;
  const before = (stdin as Socket).bytesWritten;
  // Stopped first, so that it has the request and does not answer.
  server.process.kill('SIGSTOP');
  const pending = server.request('attentionCircuits/feature', { site: 'blocks.0.attn.hook_z', feature: 1 });
  const rejected = expect(pending).rejects.toThrow();
  await expect.poll(() => (stdin as Socket).bytesWritten > before && stdin.writableLength === 0).toBe(true);
  server.process.kill('SIGKILL');
  await rejected;
  await gone;
  const again = await start();
  const e = await again.request('attentionCircuits/expand', {
    prompt,
    root,
    node: node.id,
    view: 'component',
    by: 'source',
    limit: 3,
  });
  expect(e.children.length).toBe(3);
});

test('analysed prompts are dropped, oldest first, when the memory limit is reached', async () => {
  const server = await start({ memoryLimitMB: 1 });
  for (let i = 0; i < 40; i++) {
    await server.request('attentionCircuits/prompt', {
      prompt: { text: `John ${'the bag '.repeat(20)}${i}`, bos: true },
    });
  }
  const { prompts } = await server.request('attentionCircuits/status', {});
  expect(prompts).toBeGreaterThan(0);
  expect(prompts).toBeLessThan(20);
});
