/** The analyses for an assistant: by the Model Context Protocol with the official client, and as the tools that the manifest declares. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { TOOLS } from '../../server/src/assistant';
import { CLI } from '../support/cli';
import { Session } from '../support/lspClient';

const PROMPT = 'When John and Mary went to the shops, John gave the bag to';
const ROOT = { type: 'logit', token: ' Mary', minus: ' John' };

interface Opened {
  node: { value: number };
  children: { id: string; what: string; contribution: number }[];
  notShown: { sum: number };
  remainder: number;
}

describe('MCP', () => {
  let client: Client;
  beforeAll(async () => {
    client = new Client({ name: 'test', version: '1' });
    const args = [CLI, 'mcp', '--model', 'demo', '--provider', 'cpu'];
    const env = { ...process.env } as Record<string, string>;
    await client.connect(new StdioClientTransport({ command: process.execPath, args, env, stderr: 'ignore' }));
  });
  afterAll(() => client.close());

  const call = async (name: string, args: object): Promise<{ error: boolean; text: string }> => {
    const r = await client.callTool({ name, arguments: { ...args } });
    const [content] = r.content as { text: string }[];
    return { error: r.isError === true, text: content.text };
  };
  const answer = async <T>(name: string, args: object): Promise<T> => {
    const { error, text } = await call(name, args);
    if (error) throw new Error(text);
    return JSON.parse(text) as T;
  };

  test('attribute, expand, validate: the same numbers as everywhere, and they add up', async () => {
    const tree = await answer<Opened>('attribute_token', { prompt: PROMPT, root: ROOT, limit: 5 });
    expect(tree.node.value).toBeCloseTo(5.686, 3);
    const sum = tree.children.reduce((s, c) => s + c.contribution, 0) + tree.notShown.sum + tree.remainder;
    expect(sum).toBeCloseTo(tree.node.value, 6);
    const feature = tree.children.find((c) => c.what.includes('blocks.2.attn.hook_z/74'));
    const below = await answer<Opened>('expand_node', { prompt: PROMPT, root: ROOT, node: feature?.id, limit: 3 });
    expect(below.children[0].what).toContain('attends to @4 ‘ Mary’');
    const checked = await answer<{ predicted: number; direct: { change: number } }>('validate_edge', {
      prompt: PROMPT,
      root: ROOT,
      node: feature?.id,
    });
    expect(checked.direct.change).toBeCloseTo(-(feature?.contribution ?? 0), 3);
  });

  test('features at a token; labels', async () => {
    const r = await answer<{ position: number; features: { site: string }[]; predictions: { text: string }[] }>(
      'features_at_token',
      { prompt: PROMPT, limit: 2 },
    );
    expect([r.position, r.predictions[0].text]).toEqual([14, ' Mary']);
    expect(r.features.length).toBeGreaterThan(5);
    expect(await answer('read_labels', { text: 'nothing' })).toEqual({ features: [] });
  });

  test('wrong input is refused with the reason, and the next call is answered', async () => {
    expect(await call('attribute_token', { prompt: PROMPT, limit: 5000 })).toMatchObject({ error: true });
    const far = await call('features_at_token', { prompt: PROMPT, position: 99 });
    expect(far).toMatchObject({ error: true, text: expect.stringMatching(/no position 99/) as string });
    const long = await call('features_at_token', { prompt: 'bag '.repeat(500) });
    expect(long).toMatchObject({ error: true, text: expect.stringMatching(/context/) as string });
    expect((await call('expand_node', { prompt: PROMPT, root: ROOT, node: 'x~y' })).error).toBe(true);
    expect((await call('read_labels', { text: 'a' })).error).toBe(false);
  });
});

test('the manifest declares exactly the tools that there are, with their schemas', () => {
  const manifest = JSON.parse(readFileSync(join(import.meta.dirname, '..', '..', 'package.json'), 'utf8')) as {
    contributes: { languageModelTools: { name: string; modelDescription: string; inputSchema: object }[] };
  };
  const declared = manifest.contributes.languageModelTools;
  const wanted = TOOLS.map((t) => {
    const { $schema: _, ...inputSchema } = z.toJSONSchema(t.input, { io: 'input' });
    return { name: `attentionCircuits_${t.name}`, modelDescription: t.description, inputSchema };
  });
  expect(declared.map(({ name, modelDescription, inputSchema }) => ({ name, modelDescription, inputSchema }))).toEqual(
    JSON.parse(JSON.stringify(wanted)),
  );
});

test('the language server runs the same tools', async () => {
  const server = await Session.start();
  const input = { prompt: PROMPT, root: ROOT, limit: 1 };
  const { text } = await server.request('attentionCircuits/tool', { name: 'attribute_token', input });
  expect((JSON.parse(text) as Opened).node.value).toBeCloseTo(5.686, 3);
  await expect(server.request('attentionCircuits/tool', { name: 'attribute_token', input: {} })).rejects.toThrow(
    /prompt/,
  );
  await expect(server.request('attentionCircuits/tool', { name: 'nothing', input: {} })).rejects.toThrow(
    /there is no tool nothing/,
  );
  await server.stop();
});
