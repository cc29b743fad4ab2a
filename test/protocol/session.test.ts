/** A scripted editor session with the real server process over stdio. Builds are taken from dist/. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Session, SETTINGS } from '../support/lspClient';

const URI = 'file:///ioi.prompts';
const TEXT = 'When John and Mary went to the shops, John gave the bag to';
const SOURCE = `@name clean\n${TEXT}\n-> " Mary" | " John"\n\nThe quick\n`;
const prompt = { text: TEXT, bos: true };
const [MARY, JOHN] = [616, 564];

let s: Session;
beforeAll(async () => {
  s = await Session.start();
  await s.open(URI, SOURCE);
});
afterAll(() => s.stop());

/** Title of each lens once resolved. */
const titles = async (uri: string): Promise<(string | undefined)[]> =>
  Promise.all((await s.lenses(uri)).map(async (l) => (await s.resolve(l)).command?.title));

describe('reading a prompt file', () => {
  test('nothing is loaded before something needs the model', async () => {
    expect((await s.request('attentionCircuits/status', {})).phase).toBe('idle');
  });

  test('lenses have places at once and titles on request: answers, next token, features', async () => {
    const placed = await s.lenses(URI);
    expect(placed.map((l) => [l.range.start.line, l.command])).toEqual([
      [1, undefined],
      [1, undefined],
      [1, undefined],
      [4, undefined],
      [4, undefined],
    ]);
    const [answers, next, features] = await titles(URI);
    expect(answers).toBe('Attribute ‘ Mary’ − ‘ John’');
    expect(next).toMatch(/^Attribute ‘ Mary’ \(next token, \d+%\)$/);
    expect(features).toBe('Features');
  });

  test('loading was shown with progress that can be cancelled', () => {
    expect(s.progress[0]).toMatchObject({ kind: 'begin', title: 'Loading model', cancellable: true });
    expect(s.progress.at(-1)?.kind).toBe('end');
    expect(s.statuses.map((x) => x.phase)).toContain('ready');
  });

  test('lenses over what is analysed already have their titles at once: the editor draws nothing blank', async () => {
    const resolved = await titles(URI);
    expect((await s.lenses(URI)).map((l) => l.command?.title)).toEqual(resolved);
  });

  test('a lens carries the root that it names', async () => {
    const [lens] = await s.lenses(URI);
    const { command } = await s.resolve(lens);
    expect(command?.command).toBe('attentionCircuits.attribute');
    const root = { type: 'logit', tokens: [MARY, JOHN], position: 14 };
    expect(command?.arguments?.[0]).toMatchObject({ uri: URI, prompt, root });
  });

  test('in a Python string with escapes, hovers and places are those of the text it stands for', async () => {
    const uri = 'file:///escapes.py';
    const literal = TEXT.replace('shops, ', 'shops, \\\n');
    await s.open(uri, `prompt = '${literal}'\n`, 'python');
    const plain = await s.hover(URI, 1, TEXT.length - 1);
    const last = literal.split('\n')[1];
    const escaped = await s.hover(uri, 1, last.length - 1);
    expect(escaped).toContain('Attention layer 2');
    expect(escaped?.replaceAll(/command:[^)]*/g, '')).toBe(plain?.replaceAll(/command:[^)]*/g, ''));
    const found = await s.request('attentionCircuits/locate', { uri, offset: `prompt = '${literal}`.length });
    expect(found).toMatchObject({ verbatim: false, prompt: { text: TEXT }, token: { position: 14 } });
  });

  test('the token under the cursor gets a lens: its logit one position earlier, its features offered', async () => {
    const before = s.lensRefreshes;
    await s.connection.sendNotification('attentionCircuits/cursor', {
      uri: URI,
      offset: SOURCE.indexOf('John gave') + 1,
    });
    await s.until(() => s.lensRefreshes > before);
    const lens = (await s.lenses(URI))[3];
    const { command } = await s.resolve(lens);
    expect(command?.title).toBe('Attribute this token ‘ John’ @10');
    expect(command?.arguments?.[0]).toMatchObject({ root: { type: 'logit', tokens: [JOHN], position: 9 }, offer: 10 });
    await s.connection.sendNotification('attentionCircuits/cursor', null);
  });

  test('hover: the token, predictions, features by layer with head and source, links by command', async () => {
    const text = await s.hover(URI, 1, TEXT.length - 1);
    expect(text).toMatch(/^\*\*‘ to’\*\* · id 259 · position 14\n/);
    expect(text).toMatch(/Next: ‘ Mary’ \d+%/);
    expect(text).toMatch(
      /\*\*Attention layer 2\*\*\n\n(- .*\n)*- \[2\\\.74\]\(command:.*\) · 1\\\.08 · head 2\\\.3 \(\d+%\) from ‘ Mary’ \\@4/,
    );
    expect(text).toContain('residual and transcoder features](command:attentionCircuits.toggleHoverDetails');
    await s.connection.sendNotification('attentionCircuits/hoverDetails', { open: true });
    expect(await s.hover(URI, 1, TEXT.length - 1)).toMatch(/\*\*Transcoder\*\* · blocks/);
    await s.connection.sendNotification('attentionCircuits/hoverDetails', { open: false });
  });

  test('comments, directives and answers have no hover', async () => {
    expect(await s.hover(URI, 0, 3)).toBeNull();
    expect(await s.hover(URI, 2, 5)).toBeNull();
  });

  test('symbols, folding, completion, inlay hints (off)', async () => {
    const at = { textDocument: { uri: URI } };
    const symbols = await s.connection.sendRequest<{ name: string; detail: string }[]>(
      'textDocument/documentSymbol',
      at,
    );
    expect(symbols.map((x) => [x.name, x.detail])).toEqual([
      ['clean', '" Mary" | " John"'],
      ['The quick', ''],
    ]);
    const complete = (line: number, character: number): Promise<{ label: string }[]> =>
      s.connection.sendRequest('textDocument/completion', { ...at, position: { line, character } });
    expect((await complete(0, 1)).map((c) => c.label)).toEqual(['@bos', '@name']);
    expect((await complete(2, 3))[0].label).toBe('" Mary"');
    const hints = { ...at, range: { start: { line: 0, character: 0 }, end: { line: 9, character: 0 } } };
    expect(await s.connection.sendRequest('textDocument/inlayHint', hints)).toEqual([]);
    const fence = 'file:///fence.prompts';
    await s.open(fence, '# a\n# b\n```\nx\ny\n```\n');
    const folds = await s.connection.sendRequest<{ startLine: number; endLine: number }[]>(
      'textDocument/foldingRange',
      { textDocument: { uri: fence } },
    );
    expect(folds.map((f) => [f.startLine, f.endLine])).toEqual([
      [2, 5],
      [0, 1],
    ]);
  });
});

describe('diagnostics', () => {
  const codes = async (uri: string, source: string): Promise<[string, string, number][]> => {
    s.diagnostics.delete(uri);
    await s.open(uri, source);
    const list = await s.until(() => s.diagnostics.get(uri));
    return list.map((d) => [
      String(d.code),
      typeof d.message === 'string' ? d.message : d.message.value,
      d.range.start.line,
    ]);
  };

  test('unknown directive, answer of several tokens, trailing space, prompt over the context', async () => {
    const long = 'the bag '.repeat(200);
    const found = await codes('file:///bad.prompts', `@wat\nJohn gave \n-> " Mary Mary"\n${long.trim()}`);
    expect(found.map(([code, , line]) => [code, line])).toEqual([
      ['syntax', 0],
      ['trailing-space', 1],
      ['answer-tokens', 2],
      ['prompt', 3],
    ]);
    expect(found[3][1]).toMatch(/the model's context holds 128/);
  });

  test('a trailing space is fixed by one action', async () => {
    const uri = 'file:///space.prompts';
    await codes(uri, 'John gave ');
    const [d] = s.diagnostics.get(uri) ?? [];
    const actions = await s.connection.sendRequest<{ title: string; edit: { changes: Record<string, unknown> } }[]>(
      'textDocument/codeAction',
      {
        textDocument: { uri },
        range: d.range,
        context: { diagnostics: [d] },
      },
    );
    expect(actions[0].edit.changes[uri]).toEqual([{ range: d.range, newText: '' }]);
  });

  test('an edit replaces what was reported', async () => {
    const uri = 'file:///edit.prompts';
    await codes(uri, '@wat');
    s.diagnostics.delete(uri);
    await s.change(uri, '@bos true\nJohn');
    expect(await s.until(() => s.diagnostics.get(uri))).toEqual([]);
  });
});

describe('trees', () => {
  const root = { type: 'logit' as const, tokens: [MARY, JOHN], position: 14 };
  const at = { prompt, root };

  test('root, expansion and hop: every level adds up to the value above it', async () => {
    const { root: node, tokens, predictions } = await s.request('attentionCircuits/root', at);
    expect(tokens.map((t) => t.text).join('')).toBe(`<|endoftext|>${TEXT}`);
    expect(predictions[14][0].text).toBe(' Mary');
    let id = node.id;
    for (let hop = 0; hop < 3; hop++) {
      const e = await s.request('attentionCircuits/expand', {
        ...at,
        node: id,
        view: 'component',
        by: 'head',
        limit: 7,
      });
      const sum = e.children.reduce((t, c) => t + c.contribution, 0) + e.cut.sum + e.remainder;
      expect(sum).toBeCloseTo(e.value, 9);
      expect(e.children.length).toBeLessThanOrEqual(7);
      const next = e.children.find((c) => c.opens);
      if (!next) break;
      id = next.id;
    }
    expect(id.split('~').length).toBe(4);
  });

  test('source attribution of a node sums to its value without its constants', async () => {
    const feature = { type: 'feature' as const, site: 'blocks.2.attn.hook_z', feature: 74, position: 14 };
    const q = { prompt, root: feature };
    const { root: node } = await s.request('attentionCircuits/root', q);
    const { sources } = await s.request('attentionCircuits/sources', { ...q, node: node.id });
    const e = await s.request('attentionCircuits/expand', {
      ...q,
      node: node.id,
      view: 'component',
      by: 'source',
      limit: 100,
    });
    const constant = e.children.filter((c) => c.kind === 'bias').reduce((t, c) => t + c.contribution, 0);
    expect(sources.reduce((a, b) => a + b, 0) + constant).toBeCloseTo(node.value, 4);
    expect(sources.indexOf(Math.max(...sources))).toBe(4);
    const grid = await s.request('attentionCircuits/grid', { ...q, node: node.id });
    expect(grid?.contributions.shape).toEqual([4, 15]);
    const floats = new Float32Array(new Uint8Array(Buffer.from(grid?.contributions.base64 ?? '', 'base64')).buffer);
    expect(floats.reduce((a, b) => a + b, 0)).toBeCloseTo(node.value - constant, 4);
  });

  test('validation and ablation agree with the prediction and with each other', async () => {
    const edge = 'logitdiff:616|564@14~blocks.2.attn.hook_z/74@14';
    const v = await s.request('attentionCircuits/validate', { ...at, edge });
    expect(v.direct.change).toBeCloseTo(-v.predicted, 3);
    const features = [{ site: 'blocks.2.attn.hook_z', feature: 74, position: 14 }];
    const a = await s.request('attentionCircuits/ablate', { ...at, features });
    expect(a.root.change).toBeCloseTo(v.free.change, 3);
    expect(a.before[0].text).toBe(' Mary');
  });

  test('a feature: head shares sum to one, examples come from the open prompts', async () => {
    const f = await s.request('attentionCircuits/feature', { site: 'blocks.2.attn.hook_z', feature: 74 });
    expect((f.headShares ?? []).reduce((a, b) => a + b, 0)).toBeCloseTo(1, 6);
    expect(f.examples[0]).toMatchObject({ uri: URI, prompt, position: 14 });
    expect(f.positive[0].effect).toBeGreaterThan(f.negative[0].effect);
  });

  test('the tokens of a document where a feature fires, at their document offsets', async () => {
    const heat = await s.request('attentionCircuits/heat', { uri: URI, site: 'blocks.2.attn.hook_z', feature: 74 });
    const strongest = heat.tokens.find((t) => t.activation === heat.max);
    expect(SOURCE.slice(strongest?.start, strongest?.end)).toBe(' to');
  });

  test('attention of a head: each row of the pattern sums to one', async () => {
    const r = await s.request('attentionCircuits/attention', { prompt, layer: 2, head: 3, destination: 14 });
    const floats = new Float32Array(new Uint8Array(Buffer.from(r.pattern.base64, 'base64')).buffer);
    expect(floats.subarray(14 * 15).reduce((a, b) => a + b, 0)).toBeCloseTo(1, 4);
    expect(r.strongest?.feature).toBeTypeOf('number');
  });

  test('a label is kept in the workspace and shown in hovers, features and trees, as text', async () => {
    const labels = join(mkdtempSync(join(tmpdir(), 'labels-')), 'labels.jsonl');
    await s.connection.sendNotification('attentionCircuits/settings', { ...SETTINGS, labels });
    const feature = { site: 'blocks.2.attn.hook_z', feature: 74 };
    const saved = await s.request('attentionCircuits/label', { ...feature, label: 'name mover [x](command:evil)' });
    expect(saved.label).toBe('name mover [x](command:evil)');
    expect(await s.hover(URI, 1, TEXT.length - 1)).toContain('*name mover \\[x\\]\\(command\\:evil\\)*');
    const { features } = await s.request('attentionCircuits/features', { prompt, position: 14, limit: 5 });
    expect(features.find((f) => f.feature === 74)?.label).toBe(saved.label);
    const id = 'logitdiff:616|564@14';
    const e = await s.request('attentionCircuits/expand', {
      ...at,
      node: id,
      view: 'component',
      by: 'source',
      limit: 5,
    });
    expect(e.children[0].title).toBe(saved.label);
    expect(readFileSync(labels, 'utf8')).toBe(
      `{"model":"attention-circuits-demo","site":"${feature.site}","feature":74,"label":"${saved.label}"}\n`,
    );
    await s.connection.sendNotification('attentionCircuits/settings', SETTINGS);
  });

  test('what does not exist is refused in a sentence', async () => {
    await expect(s.request('attentionCircuits/root', { prompt, root: { ...root, position: 99 } })).rejects.toThrow(
      /position 99 is outside the prompt/,
    );
    const nowhere = { type: 'feature' as const, site: 'blocks.9.attn.hook_z', feature: 0, position: 0 };
    await expect(s.request('attentionCircuits/root', { prompt, root: nowhere })).rejects.toThrow(
      /no dictionary is loaded on blocks\.9/,
    );
    await expect(
      s.request('attentionCircuits/expand', { ...at, node: 'x', view: 'component', by: 'head', limit: 1 }),
    ).rejects.toThrow(/not in the tree/);
    await expect(s.request('attentionCircuits/grid', { wrong: 1 } as never)).rejects.toThrow(
      /attentionCircuits\/grid: /,
    );
  });
});

describe('feature dashboards', () => {
  const site = 'blocks.2.attn.hook_z';
  let c: Session;
  beforeAll(async () => {
    const texts = mkdtempSync(join(tmpdir(), 'texts-'));
    writeFileSync(join(texts, 'story.txt'), `${TEXT} Mary. `.repeat(200));
    const labels = join(mkdtempSync(join(tmpdir(), 'labels-')), 'labels.jsonl');
    c = await Session.start({ labels, corpus: { folder: texts, contextLength: 16, maxTokens: 1e6 } });
  });
  afterAll(() => c.stop());

  test('without an index it says so; while one is built, hovers are answered; then it is read', async () => {
    expect(await c.request('attentionCircuits/dashboard', { site, feature: 74 })).toMatchObject({ state: 'none' });
    const order: string[] = [];
    const build = c.request('attentionCircuits/indexCorpus', {}).then((r) => {
      order.push('index');
      return r;
    });
    await c.until(() => c.progress.some((p) => p.title === 'Indexing texts'));
    await c.open(URI, SOURCE);
    await c.hover(URI, 1, 8);
    order.push('hover');
    expect(await c.request('attentionCircuits/dashboard', { site, feature: 74 })).toMatchObject({ state: 'building' });
    const summary = await build;
    expect(order).toEqual(['hover', 'index']);
    const { state, dashboard } = await c.request('attentionCircuits/dashboard', { site, feature: 74 });
    expect(state).toBe('ready');
    expect(dashboard?.corpus).toEqual(expect.objectContaining({ tokens: summary.tokens, limited: false }));
    expect(dashboard?.active).toBeGreaterThan(100);
  });

  test('a build is stopped from its progress and goes on where it was', async () => {
    const settings = {
      ...SETTINGS,
      corpus: { folder: mkdtempSync(join(tmpdir(), 'texts-')), contextLength: 16, maxTokens: 1e6 },
    };
    writeFileSync(join(settings.corpus.folder, 'story.txt'), `${TEXT} Mary. `.repeat(400));
    await c.connection.sendNotification('attentionCircuits/settings', settings);
    const begun = c.progress.length;
    const build = c.request('attentionCircuits/indexCorpus', {});
    await c.until(() => c.progress.slice(begun).some((p) => p.kind === 'report'));
    await c.connection.sendNotification('window/workDoneProgress/cancel', { token: c.progressToken });
    await expect(build).rejects.toThrow(/cancelled/);
    expect(await c.request('attentionCircuits/dashboard', { site, feature: 74 })).toMatchObject({ state: 'partial' });
    await c.request('attentionCircuits/indexCorpus', {});
    expect(await c.request('attentionCircuits/dashboard', { site, feature: 74 })).toMatchObject({ state: 'ready' });
  });

  test('features are searched by text, by label and by prompt', async () => {
    const search = async (by: 'text' | 'label' | 'prompt', text: string): Promise<string[]> =>
      (await c.request('attentionCircuits/searchFeatures', { by, text, limit: 50 })).features.map(
        (f) => `${f.site}/${f.feature}`,
      );
    expect((await search('text', 'shops')).length).toBeGreaterThan(0);
    expect(await search('prompt', TEXT)).toContain(`${site}/74`);
    await c.connection.sendNotification('attentionCircuits/settings', {
      ...SETTINGS,
      labels: join(mkdtempSync(join(tmpdir(), 'labels-')), 'labels.jsonl'),
    });
    await c.request('attentionCircuits/label', { site, feature: 74, label: 'Indirect object' });
    expect(await search('label', 'OBJECT')).toEqual([`${site}/74`]);
    expect(await search('label', 'nothing')).toEqual([]);
    // Labels of other tools are shown where the workspace has none.
    const other = join(mkdtempSync(join(tmpdir(), 'labels-')), 'export.jsonl');
    const line = (index: number): string =>
      JSON.stringify({
        modelId: 'x',
        layer: '2-att-kk',
        index: String(index),
        description: 'who is given',
        typeName: 'np_max-act',
      });
    writeFileSync(other, `${line(74)}\n${line(75)}\n`);
    await c.connection.sendNotification('attentionCircuits/settings', { ...SETTINGS, importedLabels: [other] });
    await c.until(() => c.logs.some((l) => l.includes('2 labels from')));
    expect(await search('label', 'given')).toEqual([`${site}/74`, `${site}/75`]);
    const { label } = await c.request('attentionCircuits/feature', { site, feature: 75 });
    expect(label).toBe('who is given (Neuronpedia, np_max-act)');
    expect(await c.request('attentionCircuits/searchFeatures', { by: 'text', text: 'shops', limit: 5 })).toEqual({
      state: 'unset',
      features: [],
    });
    await expect(c.request('attentionCircuits/indexCorpus', {})).rejects.toThrow(/no folder to index/);
  });
});
