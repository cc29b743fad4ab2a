import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { spawn } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { type NodeJson } from '../../server/src/attribution';
import { type Validation } from '../../server/src/analyses';
import { type ActivationsJson } from '../../server/src/cli/commands/activations';
import { type DfaJson } from '../../server/src/cli/commands/dfa';
import { type GraphFile } from '../../server/src/interop';
import { cli, CLI, tiny, tinyJson } from '../support/cli';
import { expectClose, FIXTURES, reference, tokens } from '../support/conformance';

const temp = mkdtempSync(join(tmpdir(), 'attention-circuits-cli-'));

describe('activations', () => {
  test('prints tokens, every active feature strongest first, errors and predictions', async () => {
    const a = await tinyJson<ActivationsJson>('activations', '--logits', '--top', '3');
    expect(a.tokens.map((t) => t.id)).toEqual(tokens);
    expect(a.tokens[0]).toEqual({ position: 0, id: 49, text: null });
    expect(Object.keys(a.sites).sort()).toEqual(Object.keys(reference.sae).sort());
    for (const [site, want] of Object.entries(reference.sae)) {
      a.sites[site].positions.forEach((p, i) => {
        const activations = p.features.map((f) => f.activation);
        expect(activations).toEqual([...activations].sort((x, y) => y - x));
        expect(p.l0).toBe(want.l0[i]);
        for (const f of p.features) expectClose([f.activation], [want.acts[i][f.index]], site);
      });
      expectClose(
        a.sites[site].positions.map((p) => p.reconstructionError),
        want.recon_err,
        'reconstructionError',
      );
    }
    expectClose((a.logits as unknown as number[][]).flat(), reference.model.logits.flat(), 'logits');
    const last = a.predictions[16].top;
    expect(last).toHaveLength(3);
    const row = reference.model.logits[16];
    const best = [...row.keys()].sort((x, y) => row[y] - row[x]).slice(0, 3);
    expect(last.map((t) => t.id)).toEqual(best);
    const total = row.reduce((s, l) => s + Math.exp(l), 0);
    expectClose(
      last.map((t) => t.probability),
      best.map((t) => Math.exp(row[t]) / total),
      'probability',
    );
  });
});

test('dfa prints plain numbers with P+1 sources and n_heads heads', async () => {
  const want = reference.dfa[0];
  const site = `blocks.${want.layer}.attn.hook_z`;
  const d = await tinyJson<DfaJson>('dfa', '--feature', `${site}/${want.feature}`, '--position', String(want.pos));
  expect(Object.keys(d).sort()).toEqual(
    [
      'activation',
      'byHead',
      'byHeadAndSource',
      'bySource',
      'constant',
      'feature',
      'position',
      'preActivation',
      'remainder',
      'site',
    ].sort(),
  );
  expectClose(d.bySource, want.by_source, 'bySource');
  expect(d.byHeadAndSource.map((r) => r.length)).toEqual([17, 17, 17, 17]);
  const sum = d.bySource.reduce((s, x) => s + x, 0);
  expect(d.preActivation).toBeCloseTo(sum + d.constant + d.remainder, 12);
  const inactive = reference.sae[site].acts[16].findIndex((x) => x === 0);
  const off = await tinyJson<DfaJson>('dfa', '--feature', `${site}/${inactive}`, '--position', '16');
  expect(off.activation).toBe(0);
  expect(off.preActivation).toBeLessThanOrEqual(0);
});

function checkNode(n: NodeJson, depth: number): void {
  if (depth === 0) {
    expect(n.children).toEqual([]);
    expect(n.cut).toBeUndefined();
  }
  if (n.cut === undefined) return;
  const sum = n.children.reduce((s, c) => s + c.contribution, 0);
  expect(sum + n.cut.sum + (n.remainder ?? 0)).toBeCloseTo(n.value, 9);
  const limited = n.children.filter((c) => c.feature !== undefined || c.kind === 'source-token');
  expect(limited.length).toBeLessThanOrEqual(3);
  for (const c of n.children) checkNode(c, depth - 1);
}

describe('tree', () => {
  const tree = (root: string, ...more: string[]): Promise<{ root: NodeJson }> =>
    tinyJson('tree', '--root', root, '--top', '3', ...more);

  test.each(['residual', 'component'])('value = Σ children + cut + remainder at every node, %s view', async (view) => {
    const { root } = await tree('logitdiff:8|3@16', '--depth', '4', '--view', view);
    expect(root.value).toBeCloseTo(reference.model.logits[16][8] - reference.model.logits[16][3], 4);
    expect(root.contribution).toBe(root.value);
    checkNode(root, 4);
  });

  test('ids do not depend on depth or top', async () => {
    const ids = (n: NodeJson): string[] => [n.id, ...n.children.flatMap(ids)];
    const small = ids((await tree('blocks.1.attn.hook_z/104@16', '--depth', '2')).root);
    const large = new Set(
      ids(
        (
          await tinyJson<{ root: NodeJson }>(
            'tree',
            '--root',
            'blocks.1.attn.hook_z/104@16',
            '--depth',
            '3',
            '--top',
            '50',
          )
        ).root,
      ),
    );
    expect(small.filter((i) => !large.has(i))).toEqual([]);
  });

  test('an attention feature opens into every source token and one constant; by head into every head and source', async () => {
    const bySource = await tinyJson<{ root: NodeJson }>(
      'tree',
      '--root',
      'blocks.1.attn.hook_z/104@16',
      '--depth',
      '1',
      '--top',
      '99',
    );
    expect(
      bySource.root.children
        .filter((c) => c.kind === 'source-token')
        .map((c) => c.position)
        .sort((a, b) => (a ?? 0) - (b ?? 0)),
    ).toEqual(tokens.map((_, i) => i));
    expect(bySource.root.children.filter((c) => c.kind === 'bias')).toHaveLength(1);
    const byHead = await tinyJson<{ root: NodeJson }>(
      'tree',
      '--root',
      'blocks.1.attn.hook_z/104@16',
      '--depth',
      '1',
      '--top',
      '999',
      '--by',
      'head',
    );
    expect(byHead.root.children.filter((c) => c.kind === 'head-source')).toHaveLength(4 * 17);
    expect(byHead.root.value).toBe(bySource.root.value);
  });

  test('a stream of layer 1 opens into components of layer 0 only, or into the residual dictionary on exactly that stream', async () => {
    const open = async (view: string): Promise<NodeJson> => {
      const { root } = await tinyJson<{ root: NodeJson }>(
        'tree',
        '--root',
        'blocks.1.attn.hook_z/104@16',
        '--depth',
        '2',
        '--top',
        '99',
        '--view',
        view,
      );
      return root.children.find((c) => c.position === 2 && c.kind === 'source-token') as NodeJson;
    };
    const [r, c] = [await open('residual'), await open('component')];
    expect([r.view, c.view]).toEqual(['residual', 'component']);
    expect(r.value).toBe(c.value);
    expect(new Set(r.children.map((x) => x.kind))).toEqual(new Set(['residual-feature', 'bias', 'error']));
    expect(new Set(c.children.map((x) => x.kind))).toEqual(
      new Set(['token-embedding', 'position-embedding', 'attention-feature', 'bias', 'error', 'mlp']),
    );
    expect(c.children.every((x) => x.layer === undefined || x.layer === 0)).toBe(true);
  });
});

test('run prints logits and predictions; intervening on a site that is not spliced keeps its error term', async () => {
  const { feature, last_pos } = reference.ablate['blocks.1.attn.hook_z'];
  const site = 'blocks.1.attn.hook_z';
  const ablated = await tinyJson<{ logits: number[][]; predictions: unknown[] }>(
    'run',
    '--ablate',
    `${site}/${feature}@16`,
  );
  expectClose(ablated.logits.flat(), last_pos.logits.flat(), 'ablated');
  expect(ablated.predictions).toHaveLength(17);
  const pinned = await tinyJson<{ logits: number[][] }>('run', '--pin', `${site}/${feature}@16=0`);
  expect(pinned.logits).toEqual(ablated.logits);
  const scaled = await tinyJson<{ logits: number[][] }>('run', '--scale', `${site}/${feature}@16=0`);
  expect(scaled.logits).toEqual(ablated.logits);
  const splice = await tinyJson<{ logits: number[][] }>(
    'run',
    '--splice',
    [0, 1, 2].map((l) => `blocks.${l}.attn.hook_z`).join(','),
  );
  expectClose(splice.logits.flat(), reference.splice.all_attn.recon.logits.flat(), 'spliced');
});

test('encode gives dense activations and reconstructions of a dictionary by itself', async () => {
  const ref = JSON.parse(readFileSync(join(FIXTURES, 'sae-architectures', 'ref.json'), 'utf8')) as {
    x: number[][];
    saes: Record<string, { feature_acts: number[][]; recon: number[][] }>;
  };
  const input = join(temp, 'x.json');
  writeFileSync(input, JSON.stringify({ x: ref.x }));
  const r = await cli(['encode', '--sae', join(FIXTURES, 'sae-architectures', 'gated'), '--input', input, '--json']);
  const out = JSON.parse(r.stdout) as { feature_acts: number[][]; recon: number[][] };
  expectClose(out.feature_acts.flat(), ref.saes.gated.feature_acts.flat(), 'feature_acts');
  expectClose(out.recon.flat(), ref.saes.gated.recon.flat(), 'recon');
});

test('validate: direct equals minus the prediction', async () => {
  const root = 'blocks.1.attn.hook_z/104@16';
  for (const edge of [
    's2',
    'h1s2',
    's2~blocks.1.hook_resid_pre/120@2',
    's2~blocks.0.attn.hook_z/110@2',
    's2~mlp:0',
    'c_f',
  ]) {
    const v = await tinyJson<Validation>('validate', '--root', root, '--edge', `${root}~${edge}`);
    expect(Object.keys(v)).toEqual(['edge', 'parent', 'predicted', 'direct', 'frozen', 'free']);
    expectClose([v.direct.change], [-v.predicted], edge);
    for (const level of [v.direct, v.frozen, v.free]) expect(level.after - level.before).toBeCloseTo(level.change, 9);
  }
});

test('graph: schema 1, links between nodes that exist, deterministic', async () => {
  const args = ['--root', 'logit:8@16', '--view', 'component'];
  const g = await tinyJson<GraphFile>('graph', ...args);
  expect(g.metadata.schema_version).toBe(1);
  const ids = new Set(g.nodes.map((n) => n.node_id));
  expect(ids.size).toBe(g.nodes.length);
  expect(g.links.every((l) => ids.has(l.source) && ids.has(l.target))).toBe(true);
  expect(await tinyJson<GraphFile>('graph', ...args)).toEqual(g);
  const file = join(temp, 'graph.json');
  writeFileSync(file, JSON.stringify(g));
  const back = JSON.parse((await cli(['graph', '--import', file, '--json'])).stdout) as GraphFile;
  expect(back.nodes).toEqual(g.nodes);
  expect(back.links).toEqual(g.links);
});

test('human output goes to standard output, notices to standard error', async () => {
  const r = await cli(['tree', ...tiny, '--root', 'logit:8@16']);
  expect(r.code).toBe(0);
  expect(r.stdout).toMatch(/^[+−]\d.*logit of 8 @16/);
  expect(r.stdout).toMatch(/remainder/);
  expect(r.stderr).toMatch(/assuming TransformerLens' default/);
});

test('an output larger than a pipe holds arrives whole although the reader is slow', async () => {
  const child = spawn(process.execPath, [
    CLI,
    'tree',
    ...tiny,
    '--json',
    '--root',
    'logit:8@16',
    '--depth',
    '6',
    '--top',
    '6',
  ]);
  child.stderr.resume();
  let bytes = 0;
  let last = '';
  for await (const chunk of child.stdout) {
    bytes += (chunk as Buffer).length;
    last = (chunk as Buffer).toString('utf8').slice(-2);
    await new Promise((r) => setImmediate(r));
  }
  expect(bytes).toBeGreaterThan(1_000_000);
  expect(last).toBe('}\n');
});

test('Ctrl-C ends a long command with 130 and no document', async () => {
  const child = spawn(process.execPath, [
    CLI,
    'tree',
    ...tiny,
    '--json',
    '--root',
    'logit:8@16',
    '--depth',
    '30',
    '--top',
    '99',
  ]);
  let out = '';
  child.stdout.on('data', (d: Buffer) => (out += d.toString()));
  await new Promise<void>((resolve) =>
    child.stderr.on('data', (d: Buffer) => d.toString().includes('assuming') && resolve()),
  );
  child.kill('SIGINT');
  const code = await new Promise((resolve) => child.on('close', resolve));
  expect(code).toBe(130);
  expect(out).toBe('');
});
