import { spawn } from 'node:child_process';
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { type NodeJson } from '../../server/src/attribution';
import { type ActivationsJson } from '../../server/src/cli/commands/activations';
import { cli } from '../support/cli';

const HOME = join(__dirname, '..', '..');
const PROMPT = 'When John and Mary went to the shops, John gave the bag to';

async function json<T>(...args: string[]): Promise<T> {
  const r = await cli([args[0], '--model', 'demo', '--json', ...args.slice(1)]);
  if (r.code !== 0) throw new Error(r.stderr);
  return JSON.parse(r.stdout) as T;
}

const bytesBelow = (dir: string): number =>
  readdirSync(dir, { withFileTypes: true }).reduce((n, e) => {
    const path = join(dir, e.name);
    return n + (e.isDirectory() ? bytesBelow(path) : statSync(path).size);
  }, 0);

describe('the embedded demo model', () => {
  test('stays within 20 MB and has every dictionary it promises', () => {
    expect(bytesBelow(join(HOME, 'demo'))).toBeLessThan(20e6);
    const sites = readdirSync(join(HOME, 'demo', 'saes')).sort();
    const want = [0, 1, 2, 3].flatMap((l) => [
      `blocks.${l}.attn.hook_z`,
      `blocks.${l}.hook_resid_pre`,
      `blocks.${l}.ln2.hook_normalized`,
    ]);
    expect(sites).toEqual([...want, 'blocks.3.hook_resid_post'].sort());
  });

  test('BOS is position 0, and tokens know their place in the prompt', async () => {
    const a = await json<ActivationsJson>('activations', '--prompt', PROMPT);
    expect(a.tokens[0]).toEqual({ position: 0, id: 896, text: '<|endoftext|>' });
    for (const t of a.tokens.slice(1)) expect(PROMPT.slice(t.start, t.end)).toBe(t.text);
    expect(a.predictions[a.tokens.length - 1].top[0].text).toBe(' Mary');
    expect(Object.keys(a.sites)).toHaveLength(13);
    const bare = await json<ActivationsJson>('activations', '--prompt', PROMPT, '--no-bos');
    expect(bare.tokens.map((t) => t.id)).toEqual(a.tokens.slice(1).map((t) => t.id));
  });

  test('the logit difference leads through attention features of layer 2 to the names', async () => {
    const args = [
      'tree',
      '--prompt',
      PROMPT,
      '--root',
      'logitdiff:" Mary"|" John"@14',
      '--view',
      'component',
      '--depth',
      '2',
      '--top',
      '400',
    ];
    const { root } = await json<{ root: NodeJson }>(...args);
    expect(root.value).toBeGreaterThan(3);
    expect(root.token).toBe(' Mary');
    expect(root.tokenMinus?.text).toBe(' John');
    const movers = root.children.filter((c) => c.site === 'blocks.2.attn.hook_z' && c.kind === 'attention-feature');
    const from = (position: number): number =>
      movers.reduce((s, m) => {
        const source = m.children.find((c) => c.kind === 'source-token' && c.position === position);
        return s + (m.contribution * (source?.contribution ?? 0)) / m.value;
      }, 0);
    const sources = Array.from({ length: 15 }, (_, p) => from(p));
    expect(sources.indexOf(Math.max(...sources))).toBe(4);
    expect(root.children.filter((c) => c.site === 'blocks.2.attn.hook_z').length).toBeGreaterThan(1);
  });

  test('a name of several tokens is refused as one token, and works by its first id', async () => {
    const r = await cli(['tree', '--model', 'demo', '--prompt', PROMPT, '--root', 'logit:" Zbigniew"@14']);
    expect(r.code).toBe(2);
    expect(r.stderr).toMatch(/" Zbigniew" is \d tokens/);
  });

  test('a trailing space is part of the prompt', async () => {
    const a = await json<ActivationsJson>('activations', '--prompt', `${PROMPT} `);
    expect(a.tokens).toHaveLength(16);
    expect(a.tokens[15].text).toBe(' ');
  });
});

test.skipIf(process.platform === 'win32')(
  'npm start prints a tree, serves the workbench on this machine, and Ctrl-C ends all of it',
  async () => {
    const env = { ...process.env };
    delete env.DISPLAY;
    delete env.WAYLAND_DISPLAY;
    const child = spawn(process.execPath, [join(HOME, 'dist', 'start.cjs')], {
      env,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let out = '';
    const address = await new Promise<string>((resolve, reject) => {
      const heard = (d: Buffer): void => {
        out += d.toString();
        const found = /http:\/\/127\.0\.0\.1:\d+/.exec(out)?.[0];
        if (found) resolve(found);
      };
      child.stdout.on('data', heard);
      child.stderr.on('data', heard);
      child.once('exit', () => reject(new Error(out)));
    });
    expect(out).toMatch(/\+5\.686 ◎ logit of ‘ Mary’ minus ‘ John’ @14\n├─ \+2\.356/);
    expect((await fetch(`${address}/healthz`)).ok).toBe(true);
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGINT');
    expect(await ended).toBe(0);
    await expect(fetch(`${address}/healthz`)).rejects.toThrow();
  },
  180_000,
);
