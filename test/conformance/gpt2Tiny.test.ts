import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { runSpliced, type SplicePlan, validateEdge } from '../../server/src/analyses';
import { buildTree, expand, findPath, makeRoot, type NodeJson } from '../../server/src/attribution';
import { dfaJson } from '../../server/src/cli/commands/dfa';
import { type Engine, type PromptRun } from '../../server/src/engine';
import { type Trace } from '../../server/src/model';
import { expectClose, expectRows, openTiny, reference, TINY, tokens } from '../support/conformance';

let engine: Engine;
let run: PromptRun;

beforeAll(async () => {
  engine = await openTiny();
  run = await engine.run(tokens);
});
afterAll(() => engine.close());

const logitsOf = async (trace: Trace): Promise<Float32Array> => (await engine.model.unembed(trace.resid_post)).logits;
const spliced = async (plan: Partial<SplicePlan>): Promise<Float32Array> =>
  logitsOf(await runSpliced(engine, run, { splice: [], errorTerm: false, interventions: [], ...plan }));

describe('the forward pass agrees with TransformerLens under default processing', () => {
  test('logits and final scale', async () => {
    const { logits, scale } = await engine.model.unembed(run.trace.resid_post);
    expectRows(logits, reference.model.logits, 'logits');
    expectClose(scale, reference.model.ln_final_scale, 'ln_final_scale');
  });
  test('residual streams, scales, patterns and z of every layer', () => {
    run.trace.layers.forEach((l, i) => {
      expectRows(l.resid_pre, reference.model.resid_pre[i], `resid_pre[${i}]`);
      expectClose(l.ln1_scale, reference.model.ln1_scale[i], `ln1_scale[${i}]`);
      expectClose(l.pattern, reference.model.pattern[i].flat(2), `pattern[${i}]`);
      expectRows(l.z, reference.model.z[i], `z[${i}]`);
    });
    expectRows(run.trace.resid_post, reference.model.resid_pre[3], 'resid_post');
  });
});

describe('dictionaries agree with SAELens on the model', () => {
  test.each(Object.keys(reference.sae))('%s', async (site) => {
    const want = reference.sae[site];
    const acts = await run.acts(site);
    want.acts.forEach((row, p) => {
      const dense = new Float32Array(row.length);
      for (let i = acts.offsets[p]; i < acts.offsets[p + 1]; i++) dense[acts.features[i]] = acts.activations[i];
      expectClose(dense, row, `${site} acts[${p}]`);
      expect(acts.offsets[p + 1] - acts.offsets[p]).toBe(want.l0[p]);
    });
    expectRows(await run.recon(site), want.recon, `${site} recon`);
    expectClose(await run.reconstructionErrors(site), want.recon_err, `${site} recon_err`);
  });

  test('the flat layout of SAELens 5 gives the same activations as the new one', async () => {
    const old = await openTiny([join(TINY, 'saes-v5')]);
    const other = await old.run(tokens);
    for (const site of old.dictionaries.keys()) {
      const [a, b] = [await run.acts(site), await other.acts(site)];
      expect([...a.features]).toEqual([...b.features]);
      expectClose(a.activations, b.activations, site);
    }
    await old.close();
  });
});

describe.each(reference.dfa.map((d) => [`blocks.${d.layer}.attn.hook_z/${d.feature}@${d.pos}`, d] as const))(
  'DFA of %s',
  (_, want) => {
    const site = `blocks.${want.layer}.attn.hook_z`;

    test('by source, by head, head × source, constant', async () => {
      const got = await dfaJson(run, site, want.feature, want.pos);
      expectClose([got.activation, got.preActivation, got.constant], [want.act, want.pre_act, want.bias], 'scalars');
      expectClose(got.bySource, want.by_source, 'bySource');
      expectClose(got.byHead, want.by_head, 'byHead');
      expectClose(
        got.byHeadAndSource.flatMap((r) => [...r]),
        want.by_head_source.flat(),
        'byHeadAndSource',
      );
    });

    test('the hop into the stream at the strongest source, residual view', async () => {
      const id = `${site}/${want.feature}@${want.pos}~s${want.src}`;
      const path = await findPath(run, { type: 'feature', site, feature: want.feature, position: want.pos }, id);
      const e = await expand(run, path[1], { view: 'residual', by: 'source' });
      const children = e?.children ?? [];
      expect(e?.view).toBe('residual');
      for (const [f, a, c] of want.resid_sae.top) {
        const n = children.find((x) => x.feature === f);
        expectClose([n?.activation ?? NaN, n?.contribution ?? NaN], [a, c], `residual feature ${f}`);
      }
      const sum = children.filter((c) => c.feature !== undefined).reduce((s, c) => s + c.contribution, 0);
      const one = (kind: string): number => children.find((c) => c.kind === kind)?.contribution ?? NaN;
      expectClose(
        [sum, one('bias'), one('error')],
        [want.resid_sae.all, want.resid_sae.b_dec, want.resid_sae.error],
        'sums',
      );
    });

    test('the same hop by components', async () => {
      const id = `${site}/${want.feature}@${want.pos}~s${want.src}`;
      const path = await findPath(run, { type: 'feature', site, feature: want.feature, position: want.pos }, id);
      const children = (await expand(run, path[1], { view: 'component', by: 'source' }))?.children ?? [];
      const sum = (keep: (c: (typeof children)[number]) => boolean): number =>
        children.filter(keep).reduce((s, c) => s + c.contribution, 0);
      expectClose([sum((c) => c.kind === 'token-embedding')], [want.components.embed], 'embed');
      expectClose([sum((c) => c.kind === 'position-embedding')], [want.components.pos_embed], 'pos_embed');
      for (let l = 0; l < want.layer; l++) {
        const at = (c: (typeof children)[number]): boolean => c.layer === l && c.kind !== 'mlp';
        expectClose([sum(at)], [want.components.attn_out[l]], `attn_out[${l}]`);
        expectClose([sum((c) => c.layer === l && c.kind === 'mlp')], [want.components.mlp_out[l]], `mlp_out[${l}]`);
        const w = want.attn_sae[l];
        expectClose([sum((c) => at(c) && c.name === 'b_dec')], [w.b_dec], 'b_dec');
        expectClose([sum((c) => at(c) && c.kind === 'error')], [w.error], 'error');
        expectClose([sum((c) => at(c) && c.name === 'b_O')], [w.b_O], 'b_O');
      }
    });
  },
);

describe('direct logit attribution of the top token', () => {
  const want = reference.dla;
  const find = (n: NodeJson, keep: (c: NodeJson) => boolean): number =>
    n.children.filter(keep).reduce((s, c) => s + c.contribution, 0);

  test('components, b_U and attention features', async () => {
    const root = await buildTree(
      run,
      { type: 'logit', tokens: [want.token], position: want.pos },
      { depth: 1, top: 1e9, view: 'component', by: 'source' },
    );
    expectClose([root.value], [want.total], 'logit');
    expectClose([find(root, (c) => c.name === 'b_U')], [want.b_U], 'b_U');
    expectClose([find(root, (c) => c.kind === 'token-embedding')], [want.components.embed], 'embed');
    expectClose([find(root, (c) => c.kind === 'position-embedding')], [want.components.pos_embed], 'pos');
    for (let l = 0; l < 3; l++) {
      expectClose([find(root, (c) => c.layer === l && c.kind === 'mlp')], [want.components.mlp_out[l]], `mlp[${l}]`);
      expectClose([find(root, (c) => c.layer === l && c.kind !== 'mlp')], [want.components.attn_out[l]], `attn[${l}]`);
      expectClose([find(root, (c) => c.layer === l && c.name === 'b_O')], [want.b_O[l]], `b_O[${l}]`);
    }
    for (const [l, f, a, c] of want.attn_features) {
      const n = root.children.find((x) => x.site === `blocks.${l}.attn.hook_z` && x.feature === f);
      expectClose([n?.activation ?? NaN, n?.contribution ?? NaN], [a, c], `feature ${l}.${f}`);
    }
  });

  test('heads, without dictionaries', async () => {
    const bare = await openTiny([]);
    const bareRun = await bare.run(tokens);
    const root = await makeRoot(bareRun, { type: 'logit', tokens: [want.token], position: want.pos });
    for (const n of (await expand(bareRun, root, { view: 'component', by: 'head' }))?.children ?? []) {
      if (n.kind !== 'attn') continue;
      const parts = (await expand(bareRun, n, { view: 'component', by: 'head' }))?.children ?? [];
      const byHead = [0, 1, 2, 3].map((h) => parts.filter((c) => c.head === h).reduce((s, c) => s + c.contribution, 0));
      expectClose(byHead, want.heads[n.layer ?? 0], `heads of layer ${n.layer}`);
    }
    await bare.close();
  });
});

describe('splices and ablations agree with SAELens', () => {
  const attention = [0, 1, 2].map((l) => `blocks.${l}.attn.hook_z`);
  test.each(Object.keys(reference.splice))('splice %s', async (name) => {
    const splice = name === 'all_attn' ? attention : [name];
    const want = reference.splice[name];
    expectRows(await spliced({ splice }), want.recon.logits, 'reconstruction');
    expectRows(await spliced({ splice, errorTerm: true }), want.with_error.logits, 'with error term');
    expectRows(await spliced({ splice, errorTerm: true }), reference.model.logits, 'clean model');
  });
  test.each(Object.keys(reference.ablate))('ablate a feature of %s', async (site) => {
    const { feature, last_pos, all_pos } = reference.ablate[site];
    const zero = { site, feature, change: () => 0 };
    expectRows(
      await spliced({ interventions: [{ ...zero, position: tokens.length - 1 }] }),
      last_pos.logits,
      'last position',
    );
    expectRows(await spliced({ interventions: [zero] }), all_pos.logits, 'all positions');
  });
});

describe('validation runs the model', () => {
  const position = tokens.length - 1;
  const token = 8;

  test.each(Object.keys(reference.ablate))(
    'free: zeroing a feature of %s gives the logit that SAELens gives',
    async (site) => {
      const { feature, last_pos } = reference.ablate[site];
      const clean = reference.model.logits[position][token];
      const root = { type: 'logit', tokens: [token], position } as const;
      const id = `logit:${token}@${position}~${site}/${feature}@${position}`;
      if (site.endsWith('hook_resid_pre')) {
        // A residual feature of layer 1 does not feed the logit directly: its edge is one hop further up.
        await expect(validateEdge(engine, run, { ...root, tokens: [token] }, id)).rejects.toThrow(/has no child/);
        return;
      }
      const v = await validateEdge(engine, run, { ...root, tokens: [token] }, id);
      expectClose([v.free.before, v.free.after], [clean, last_pos.logits[position][token]], 'free');
      expectClose([v.direct.change], [-v.predicted], 'direct');
      expect(Math.abs(v.frozen.change - v.free.change)).toBeGreaterThan(1e-4);
    },
  );

  test('frozen equals direct where nothing lies between the source and its reader', async () => {
    const root = { type: 'feature', site: 'blocks.1.attn.hook_z', feature: 104, position } as const;
    const tree = await buildTree(run, root, { depth: 2, top: 3, view: 'residual', by: 'source' });
    const edges = tree.children.flatMap((c) =>
      c.children.filter((x) => x.kind === 'residual-feature').map((x) => x.id),
    );
    expect(edges.length).toBeGreaterThan(3);
    for (const edge of edges) {
      const v = await validateEdge(engine, run, root, edge);
      expectClose([v.frozen.change, v.direct.change], [-v.predicted, -v.predicted], edge);
    }
  });
});
