/**
 * Text files from outside, changed at random from valid ones: parts of their JSON replaced, lines moved, bytes flipped. Each reader gives a value or an
 * error of ours that names the file; none crashes or hangs. ATTENTION_CIRCUITS_FUZZ_RUNS sets how many (300 each).
 */
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { parseCircuit } from '../../server/src/circuits';
import { EngineError } from '../../server/src/errors';
import { readRegistry } from '../../server/src/hub';
import { graphViolations, importGraphFile } from '../../server/src/interop';
import { parseNotes } from '../../server/src/notes';
import { parsePrompts } from '../../server/src/prompts';
import { ImportedLabels, parseLabels } from '../../server/src/store';

const RUNS = Number(process.env.ATTENTION_CIRCUITS_FUZZ_RUNS ?? 300);
const ROOT = join(import.meta.dirname, '..', '..');
const file = join(mkdtempSync(join(tmpdir(), 'fuzz-')), 'file.json');

const node = {
  id: 'r',
  kind: 'logit',
  glyph: '◎',
  label: 'l',
  short: 'l',
  value: 1,
  contribution: 1,
  share: 1,
  opens: true,
};
const CIRCUIT = {
  format: 'attention-circuit',
  version: 1,
  generator: 'g',
  identity: null,
  prompt: { text: 'a b', bos: true },
  root: { type: 'logit', tokens: [1], position: 1 },
  tokens: [{ position: 0, id: 1, text: 'a' }],
  predictions: [],
  tree: {
    root: node,
    expansions: [
      {
        id: 'r',
        value: 1,
        view: 'component',
        by: 'source',
        children: [node],
        cut: { count: 0, sum: 0 },
        remainder: 0,
        scale: 1,
        errorShare: 0,
      },
    ],
  },
  view: { expanded: ['r'] },
};
const GRAPH = {
  metadata: { slug: 'ab', scan: 's', prompt: 'a', prompt_tokens: ['a'], schema_version: 1 },
  qParams: { pinnedIds: 'a,b', supernodes: '[["g","a"]]' },
  nodes: [
    {
      node_id: '1_2_0',
      feature: 8,
      layer: '1',
      ctx_idx: 0,
      feature_type: 'cross layer transcoder',
      jsNodeId: '1_2-0',
      clerp: '',
    },
    {
      node_id: '0_1_0',
      feature: -1,
      layer: '1',
      ctx_idx: 0,
      feature_type: 'mlp reconstruction error',
      jsNodeId: 'x',
      clerp: '',
    },
  ],
  links: [{ source: '0_1_0', target: '1_2_0', weight: 1 }],
};
const NOTE = {
  v: 1,
  id: 'a',
  target: { type: 'feature', site: 's', feature: 1 },
  resolved: false,
  comments: [{ author: 'a', at: 't', text: 'x' }],
};
const LABEL = { model: 'm', site: 's', feature: 1, label: 'l' };
const NEURONPEDIA = {
  modelId: 'gpt2-small',
  layer: '5-att-kk',
  index: '7',
  description: 'd',
  typeName: 't',
  explanationModelName: 'm',
};

const onDisk = (text: string): string => {
  writeFileSync(file, text);
  return file;
};

const READERS: [string, string, (text: string) => unknown][] = [
  ['attribution graphs', JSON.stringify(GRAPH), (t) => graphViolations(importGraphFile(onDisk(t)))],
  ['saved circuits', JSON.stringify(CIRCUIT), (t) => parseCircuit('x', t)],
  ['notes', `${JSON.stringify(NOTE)}\n${JSON.stringify({ ...NOTE, id: 'b' })}\n`, (t) => parseNotes('x', t)],
  ['labels', `${JSON.stringify(LABEL)}\n`, (t) => parseLabels('x', t)],
  [
    'labels of other tools',
    `${JSON.stringify(NEURONPEDIA)}\n`,
    (t) => {
      onDisk(t);
      return new ImportedLabels().load([file]);
    },
  ],
  [
    'registries',
    readFileSync(join(ROOT, 'server', 'registry', 'registry.json'), 'utf8'),
    (t) => readRegistry([onDisk(t)]),
  ],
  ['prompt files', readFileSync(join(ROOT, 'examples', 'ioi.prompts'), 'utf8'), (t) => parsePrompts(t)],
];

/** Replaces the nth value within a JSON text by another. */
function replaced(text: string, nth: number, by: unknown): string {
  const spots: [Record<string | number, unknown>, string | number][] = [];
  const walk = (x: unknown): void => {
    if (typeof x !== 'object' || x === null) return;
    for (const k of Object.keys(x)) {
      spots.push([x as Record<string, unknown>, k]);
      walk((x as Record<string, unknown>)[k]);
    }
  };
  const lines = text.trimEnd().split('\n');
  const whole = lines.length > 1 && lines[0] === '{' ? [text] : lines;
  const values = whole.map((l): unknown => {
    try {
      return JSON.parse(l);
    } catch {
      return l;
    }
  });
  values.forEach(walk);
  if (spots.length === 0) return text;
  const [at, key] = spots[nth % spots.length];
  at[key] = by;
  return values.map((v) => (typeof v === 'string' ? v : JSON.stringify(v))).join('\n');
}

const change = fc.oneof(
  fc.record({ type: fc.constant('value' as const), nth: fc.nat(), by: fc.jsonValue() }),
  fc.record({
    type: fc.constant('value' as const),
    nth: fc.nat(),
    by: fc.constantFrom(-1, 1e308, 0.5, '', '__proto__', [[[[]]]], { toString: 1 }),
  }),
  fc.record({ type: fc.constant('byte' as const), at: fc.nat(), to: fc.nat(255) }),
  fc.record({ type: fc.constant('cut' as const), at: fc.nat() }),
  fc.record({ type: fc.constant('twice' as const), from: fc.nat(), length: fc.nat(200) }),
);

test.each(READERS)('%s', async (_name, valid, read) => {
  await read(valid);
  await fc.assert(
    fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 4 }), async (changes) => {
      let text = valid;
      for (const c of changes) {
        if (c.type === 'value') text = replaced(text, c.nth, c.by);
        else if (c.type === 'cut') text = text.slice(0, c.at % (text.length + 1));
        else if (c.type === 'twice') {
          const from = c.from % (text.length + 1);
          text = text.slice(0, from) + text.slice(from, from + c.length) + text.slice(from);
        } else {
          const bytes = Buffer.from(text);
          if (bytes.length > 0) bytes[c.at % bytes.length] = c.to;
          text = bytes.toString('utf8');
        }
      }
      try {
        await read(text);
      } catch (e) {
        if (!(e instanceof EngineError)) throw e;
        expect(e.message.length).toBeGreaterThan(5);
      }
    }),
    { numRuns: RUNS },
  );
});
