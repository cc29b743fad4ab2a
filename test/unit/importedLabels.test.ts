/** Labels of other tools: their real shapes, with what real files get wrong. */
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ImportedLabels, parseLabelLine, siteOfSource } from '../../server/src/store';

const explanation = (index: number, description: string, typeName: string, layer = '5-att-kk'): string =>
  JSON.stringify({
    id: 'c1',
    modelId: 'gpt2-small',
    layer,
    index: String(index),
    authorId: 'a',
    description,
    typeName,
  });

test('sources name sites; sets that are not known name none', () => {
  expect(['5-att-kk', '0-res-jb', '12-res-jb', '7-tres-dc', '3-att_32k-oai', 'e-x', ''].map(siteOfSource)).toEqual([
    'blocks.5.attn.hook_z',
    'blocks.0.hook_resid_pre',
    'blocks.11.hook_resid_post',
    'blocks.7.ln2.hook_normalized',
    null,
    null,
    null,
  ]);
});

test('a Neuronpedia export: gzipped batches in the order of strings; the best kind of explanation is taken, whichever comes first', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'labels-'));
  mkdirSync(join(dir, 'explanations'));
  const batch = (n: number, lines: string[]): void =>
    writeFileSync(join(dir, 'explanations', `batch-${n}.jsonl.gz`), gzipSync(lines.join('\n')));
  batch(0, [explanation(10, 'pairs', 'oai_token-act-pair'), explanation(10, 'logits', 'np_max-act-logits'), '']);
  batch(1, [
    explanation(10, 'later', 'oai_token-act-pair'),
    explanation(9, 'odd', 'new-kind'),
    explanation(8, ' ', 'x'),
    'half {',
  ]);
  const labels = new ImportedLabels();
  const r = await labels.load([dir]);
  expect(r.labels).toBe(2);
  expect(r.problems).toEqual([expect.stringMatching(/batch-1\.jsonl\.gz:4: not JSON/)]);
  expect(labels.of('blocks.5.attn.hook_z', 10)).toMatchObject({
    label: 'logits',
    from: 'Neuronpedia, np_max-act-logits',
  });
  expect(labels.of('blocks.5.attn.hook_z', 9)?.label).toBe('odd');
  expect(labels.matching('LOGIT').map((l) => l.feature)).toEqual([10]);
});

test('feature-circuits annotations: all strings, headers repeated, parts missing', () => {
  const line = (v: object): unknown => parseLabelLine(JSON.stringify(v));
  expect(line({ Component: 'Component', Layer: 'Layer', Name: 'Name', Annotation: 'Annotation' })).toBeNull();
  expect(line({ Name: 'resid_5/3036', Annotation: 'plural nouns' })).toMatchObject({
    site: 'blocks.5.hook_resid_post',
    feature: 3036,
  });
  expect(line({ Component: 'attn', Layer: '2', Feature: '7', Annotation: 'x' })).toMatchObject({
    site: 'blocks.2.attn.hook_z',
    feature: 7,
  });
  expect(line({ Name: 'embed/946', Annotation: 'the' })).toBeNull();
  expect(line({ Name: 'attn_1/3' })).toBeNull();
  expect(() => line({ Component: 'attn', Annotation: 'x' })).toThrow(/no layer and feature/);
  expect(() => line({ other: 1 })).toThrow(/neither/);
});

test('damaged files name their lines, a cut gzip too; a missing one is refused', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'labels-'));
  const whole = gzipSync(Array.from({ length: 400 }, (_, i) => explanation(i, `label ${i}`, 't')).join('\n'));
  writeFileSync(join(dir, 'cut.jsonl.gz'), whole.subarray(0, whole.length - 30));
  const r = await new ImportedLabels().load([dir]);
  expect(r.problems[0]).toMatch(/cut\.jsonl\.gz:\d+: unexpected end of file/);
  await expect(new ImportedLabels().load([join(dir, 'gone')])).rejects.toThrow(/does not exist/);
});

test('any line is a label, none, or an error; never a crash', () => {
  const value = fc.object({
    key: fc.constantFrom('modelId', 'index', 'layer', 'Name', 'Component', 'site', 'feature', 'label', 'x'),
    maxDepth: 1,
  });
  fc.assert(
    fc.property(
      fc.oneof(
        value.map((v) => JSON.stringify(v)),
        fc.string(),
      ),
      (line) => {
        try {
          const l = parseLabelLine(line);
          if (l) expect(Number.isSafeInteger(l.feature) && l.label !== '').toBe(true);
        } catch (e) {
          expect(e).toBeInstanceOf(Error);
          expect(e).not.toBeInstanceOf(TypeError);
        }
      },
    ),
  );
});
