import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { expand, findPath, makeRoot } from '../../server/src/attribution';
import { main } from '../../server/src/cli';
import { dfaJson } from '../../server/src/cli/commands/dfa';
import { type Engine, type PromptRun } from '../../server/src/engine';
import { RemainderError } from '../../server/src/errors';
import { ModelWeights } from '../../server/src/model';
import { CachedWeights } from '../../server/src/store';
import { tiny } from '../support/cli';
import { openTiny, tokens } from '../support/conformance';

const site = 'blocks.1.attn.hook_z';
const spec = { type: 'feature', site, feature: 104, position: 16 } as const;
const options = { view: 'component', by: 'source' } as const;

describe('one weight changed between the forward pass and the attribution is refused', () => {
  let engine: Engine;
  let run: PromptRun;

  beforeEach(async () => {
    engine = await openTiny();
    run = await engine.run(tokens);
    for (const s of engine.dictionaries.keys()) await run.acts(s);
  });
  afterEach(async () => {
    vi.restoreAllMocks();
    await engine.close();
  });

  /** Every read of a tensor from now on sees one element changed. */
  const corrupt = (tensor: string): void => {
    const read = Object.getOwnPropertyDescriptor(CachedWeights.prototype, 'read')?.value as (
      this: CachedWeights,
      name: string,
      start?: number,
      count?: number,
    ) => Float32Array;
    vi.spyOn(CachedWeights.prototype, 'read').mockImplementation(function (this: CachedWeights, name, start, count) {
      const data = read.call(this, name, start, count);
      if (name === tensor) data[3] += 0.5;
      return data;
    });
  };

  test('encoder column', async () => {
    corrupt('W_encT');
    await expect(dfaJson(run, site, 104, 16)).rejects.toThrow(RemainderError);
  });
  test('value weights', async () => {
    engine.model.weights.W_V(1)[5] += 0.5;
    const [, source] = await findPath(run, spec, `${(await makeRoot(run, spec)).id}~s2`);
    await expect(expand(run, source, options)).rejects.toThrow(/refused: at node .*~s2 the parts miss the value/);
  });
  test('token embedding', async () => {
    vi.spyOn(engine.model, 'embedding').mockImplementation((t) =>
      engine.model.weights.embedding(t).map((v, i) => v + (i === 3 ? 0.5 : 0)),
    );
    const [, source] = await findPath(run, spec, `${(await makeRoot(run, spec)).id}~s2`);
    await expect(expand(run, source, options)).rejects.toThrow(RemainderError);
  });
  test('unembedding, seen by a logit', async () => {
    await run.logitsAt(16);
    corrupt('wte.weight');
    await expect(
      expand(run, await makeRoot(run, { type: 'logit', tokens: [8], position: 16 }), options),
    ).rejects.toThrow(RemainderError);
  });
  test('final LayerNorm weight', async () => {
    const root = { type: 'logit', tokens: [8, 3], position: 16 } as const;
    await run.logitsAt(16);
    engine.model.weights.lnFWeight[2] += 0.5;
    await expect(expand(run, await makeRoot(run, { ...root, tokens: [...root.tokens] }), options)).rejects.toThrow(
      RemainderError,
    );
  });
});

test('the command line ends with exit code 4, names the node and prints no document', async () => {
  const write = vi.spyOn(process.stdout, 'write').mockReturnValue(true);
  const said: string[] = [];
  vi.spyOn(process.stderr, 'write').mockImplementation((s) => said.push(String(s)) > 0);
  const honest = Object.getOwnPropertyDescriptor(ModelWeights.prototype, 'W_V')?.value as (
    this: ModelWeights,
    l: number,
  ) => Float32Array;
  vi.spyOn(ModelWeights.prototype, 'W_V').mockImplementation(function (this: ModelWeights, l) {
    const w = honest.call(this, l).slice();
    w[7] += 0.5;
    return w;
  });
  const code = await main(['tree', ...tiny, '--json', '--root', `${site}/104@16`, '--depth', '2'], {
    home: '.',
    signal: new AbortController().signal,
  });
  const printed = write.mock.calls.length;
  vi.restoreAllMocks();
  expect(code).toBe(4);
  expect(printed).toBe(0);
  expect(said.join('')).toMatch(/refused: at node blocks\.1\.attn\.hook_z\/104@16~s\d+/);
});
