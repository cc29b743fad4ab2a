/**
 * Text files from outside, changed at random from valid ones: parts of their JSON replaced, lines moved, bytes flipped. Each reader gives a value or an
 * error of ours; none crashes or hangs. `npm run fuzz` tries each for a minute.
 */
import { cpSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { test } from 'vitest';
import { parseCircuit } from '../../server/src/circuits';
import { listCorpus, textsOf } from '../../server/src/corpus/files';
import { openDictionarySource, openGpt2Folder } from '../../server/src/formats';
import { readRegistry } from '../../server/src/hub';
import { graphViolations, importGraphFile } from '../../server/src/interop';
import { parseNotes } from '../../server/src/notes';
import { markdownPrompts, parsePrompts, pythonPrompts } from '../../server/src/prompts';
import { ImportedLabels, parseLabels } from '../../server/src/store';
import { openTokenizer } from '../../server/src/tokenizer';
import { changedText, FUZZ_TIMEOUT_MS, fuzzing, survives, textChanges } from '../support/fuzz';

const ROOT = join(import.meta.dirname, '..', '..');
const file = join(mkdtempSync(join(tmpdir(), 'fuzz-')), 'file.json');

const TINY = join(ROOT, 'test', 'fixtures', 'conformance', 'gpt2-tiny', 'model');
const SAE = join(ROOT, 'test', 'fixtures', 'conformance', 'sae-architectures', 'jumprelu');
const copyOf = (folder: string): string => {
  const to = mkdtempSync(join(tmpdir(), 'fuzz-'));
  cpSync(folder, to, { recursive: true });
  return to;
};
const model = copyOf(TINY);
const sae = copyOf(SAE);
const kk = copyOf(join(ROOT, 'test', 'fixtures', 'formats', 'kk'));
const KK_CONFIG = readdirSync(kk).find((f) => f.endsWith('_cfg.json')) ?? '';
const texts = mkdtempSync(join(tmpdir(), 'fuzz-'));
const PYTHON = `prompt = "When John and Mary went"
prompts = ['a \\x41', r"b", f"{c}", """d
e"""]
logits = model(model.to_tokens("The cat", prepend_bos=False))  # prompt: x
# circuit: ioi.circuit.json#node
`;

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
  [
    'configurations of models',
    readFileSync(join(TINY, 'config.json'), 'utf8'),
    (t) => {
      writeFileSync(join(model, 'config.json'), t);
      return openGpt2Folder(model).weights.close();
    },
  ],
  [
    'tokenizers',
    readFileSync(join(ROOT, 'demo', 'model', 'tokenizer.json'), 'utf8'),
    (t) => {
      writeFileSync(join(model, 'tokenizer.json'), t);
      return openTokenizer(model)?.encode('When John and Mary went to the shops ✓');
    },
  ],
  [
    'configurations of dictionaries',
    readFileSync(join(SAE, 'cfg.json'), 'utf8'),
    (t) => {
      writeFileSync(join(sae, 'cfg.json'), t);
      return openDictionarySource(sae).then((s) => s.weights.close());
    },
  ],
  [
    'configurations beside torch files',
    readFileSync(join(kk, KK_CONFIG), 'utf8'),
    (t) => {
      writeFileSync(join(kk, KK_CONFIG), t);
      return openDictionarySource(join(kk, KK_CONFIG.replace('_cfg.json', '.pt'))).then((s) => s.weights.close());
    },
  ],
  [
    'texts to index',
    `${JSON.stringify({ text: 'a b' })}\n${JSON.stringify({ text: 'c' })}\n`,
    (t) => {
      writeFileSync(join(texts, 'a.jsonl'), t);
      const listing = listCorpus(texts);
      return listing.files.flatMap((f) => textsOf(listing, f));
    },
  ],
  ['Python', PYTHON, (t) => pythonPrompts(t)],
  ['Markdown', `# A\n\n\`\`\`python\n${PYTHON}\`\`\`\n`, (t) => markdownPrompts(t)],
  ['prompt files', readFileSync(join(ROOT, 'examples', 'ioi.prompts'), 'utf8'), (t) => parsePrompts(t)],
];

test.each(READERS)('%s', { timeout: FUZZ_TIMEOUT_MS }, async (_name, valid, read) => {
  await read(valid);
  await fc.assert(
    fc.asyncProperty(textChanges, (changes) => survives(() => read(changedText(valid, changes)))),
    fuzzing,
  );
});
