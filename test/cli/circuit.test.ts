/** A saved circuit as a regression test in somebody's CI: every number again, and an exit code. */
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import { circuitText } from '../../client/src/circuits/text';
import { type CircuitArguments, marksOf, Recorder } from '../../client/src/circuits/recorder';
import type { CircuitCheck, CircuitFile } from '../../server/protocol/circuit';
import { cli } from '../support/cli';
import { Session } from '../support/lspClient';

const dir = mkdtempSync(join(tmpdir(), 'circuits-'));
const file = join(dir, 'ioi.circuit.json');
const args: CircuitArguments = {
  panel: 'circuit',
  uri: null,
  prompt: { text: 'When John and Mary went to the shops, John gave the bag to', bos: true },
  root: { type: 'logit', tokens: [616, 564], position: 14 },
};
const ROOT = 'logitdiff:616|564@14';
const FEATURE = `${ROOT}~blocks.2.attn.hook_z/74@14`;
const ui = { expanded: [ROOT, FEATURE], pins: [FEATURE], choices: { view: 'component', by: 'source' } };
const CPU = ['--provider', 'cpu'];
let circuit: CircuitFile;

beforeAll(async () => {
  const server = await Session.start();
  const recorder = new Recorder();
  const { prompt, root } = args;
  const ask = async (method: 'attentionCircuits/root' | 'attentionCircuits/expand', params: object): Promise<void> =>
    recorder.record(method, params, await server.request(method, params as never));
  await ask('attentionCircuits/root', { prompt, root });
  for (const node of [ROOT, FEATURE])
    await ask('attentionCircuits/expand', { prompt, root, node, view: 'component', by: 'source', limit: 400 });
  const made = recorder.circuit(args, ui, await server.request('attentionCircuits/identity', {}), 'test');
  if (!made) throw new Error('no circuit');
  circuit = made;
  writeFileSync(file, circuitText(circuit));
  await server.stop();
});

const check = (path: string, ...more: string[]): ReturnType<typeof cli> =>
  cli(['check', path, '--model', 'demo', ...CPU, ...more]);
const changed = (change: (c: CircuitFile) => void): string => {
  const copy = JSON.parse(readFileSync(file, 'utf8')) as CircuitFile;
  change(copy);
  const path = join(dir, 'changed.circuit.json');
  writeFileSync(path, circuitText(copy));
  return path;
};

test('as saved: all numbers agree; the file reads back as what was recorded', async () => {
  const r = await check(file, '--json', '--same-weights');
  expect([r.code, r.stderr]).toEqual([0, '']);
  const result = JSON.parse(r.stdout) as CircuitCheck;
  expect(result).toMatchObject({ identity: [], differences: [] });
  expect(result.worst).toBeLessThan(1e-5);
  const children = circuit.tree.expansions.reduce((n, e) => n + e.children.length, 0);
  expect(result.numbers).toBe(1 + circuit.tree.expansions.length + children);
  expect(children).toBeGreaterThan(100);
  const again = Recorder.from(JSON.parse(readFileSync(file, 'utf8')) as CircuitFile);
  expect(again.circuit(args, ui, circuit.identity, 'test')).toEqual(circuit);
});

test('a number that changed is named, exit code 4', async () => {
  const path = changed((c) => (c.tree.expansions[0].children[0].contribution += 0.01));
  const r = await check(path);
  expect(r.code).toBe(4);
  expect(r.stdout).toContain(circuit.tree.expansions[0].children[0].id);
  expect(r.stdout).toMatch(/1 differ/);
});

test('a node that is gone, other weights, another contract', async () => {
  const gone = await check(changed((c) => (c.tree.expansions[1].children[0].id += 'x')));
  expect([gone.code, gone.stdout]).toEqual([4, expect.stringMatching(/gone/)]);
  const other = changed((c) => {
    if (c.identity) c.identity.model.sha256 = 'x';
  });
  expect(await check(other)).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/the model is another one/) as string,
  });
  expect((await check(other, '--same-weights')).code).toBe(4);
  const raw = await check(file, '--contract', 'none');
  expect([raw.code, raw.stdout]).toEqual([4, expect.stringMatching(/fold_value_biases is false, it was true/)]);
});

test('files that are no circuits are refused by what is wrong; one of a newer version is read', async () => {
  const broken = join(dir, 'broken.circuit.json');
  const cases: [string, RegExp][] = [
    ['{', /not a saved circuit/],
    ['<<<<<<< ours\n{}\n=======\n{}\n>>>>>>> theirs\n', /unresolved merge/],
    ['{"format": "attention-circuit", "version": 1}', /"prompt"/],
    [JSON.stringify({ ...circuit, tree: { ...circuit.tree, expansions: [{ id: 3 }] } }), /"tree\.expansions\.0/],
  ];
  for (const [text, message] of cases) {
    writeFileSync(broken, text);
    const r = await check(broken);
    expect([r.code, r.stderr]).toEqual([3, expect.stringMatching(message)]);
  }
  const newer = changed((c) => {
    c.version = 2;
    Object.assign(c, { unheardOf: true });
  });
  expect((await check(newer)).code).toBe(0);
});

test('marks are what the reader made: not where she scrolled or what is selected', () => {
  expect(marksOf({ ...ui, scroll: 9, selected: 'a' })).toBe(marksOf({ ...ui, scroll: 1, selected: 'b' }));
  expect(marksOf({ ...ui, expanded: [FEATURE, ROOT] })).toBe(marksOf(ui));
  expect(marksOf({ ...ui, pins: [] })).not.toBe(marksOf(ui));
});
