import { describe, expect, test } from 'vitest';
import fc from 'fast-check';
import { runSpliced, validateEdge } from '../../server/src/analyses';
import { buildTree, expand, makeRoot, type NodeJson, type RootSpec, type TreeNode } from '../../server/src/attribution';
import { dfaJson } from '../../server/src/cli/commands/dfa';
import { type Engine, type PromptRun } from '../../server/src/engine';
import { promptOf, randomEngine, type RandomSpec } from '../support/randomEngine';

const PRIMES = [1, 2, 3, 5, 7, 11, 13];

const ARCHITECTURES: RandomSpec['dictionaries'][number][] = [
  { hook_name: '', architecture: 'standard' },
  { hook_name: '', architecture: 'standard', apply_b_dec_to_input: false },
  { hook_name: '', architecture: 'standard', normalize_activations: 'expected_average_only_in' },
  { hook_name: '', architecture: 'standard', normalize_activations: 'constant_norm_rescale' },
  { hook_name: '', architecture: 'standard', normalize_activations: 'layer_norm' },
  { hook_name: '', architecture: 'jumprelu' },
  { hook_name: '', architecture: 'topk', k: 5 },
  { hook_name: '', architecture: 'topk', k: 5, rescale_acts_by_decoder_norm: true },
  {
    hook_name: '',
    architecture: 'topk',
    k: 5,
    rescale_acts_by_decoder_norm: true,
    normalize_activations: 'layer_norm',
  },
  { hook_name: '', architecture: 'gated' },
  { hook_name: '', architecture: 'gated', normalize_activations: 'constant_norm_rescale' },
];

/** Dictionaries of one architecture on every site of a model; transcoders take the nearest architecture that exists for them. */
function everywhere(
  layers: number,
  a: RandomSpec['dictionaries'][number],
  transcoder: string,
): RandomSpec['dictionaries'] {
  const all: RandomSpec['dictionaries'] = [];
  for (let l = 0; l < layers; l++) {
    all.push({ ...a, hook_name: `blocks.${l}.attn.hook_z` }, { ...a, hook_name: `blocks.${l}.hook_resid_pre` });
    all.push({ hook_name: `blocks.${l}.ln2.hook_normalized`, architecture: transcoder });
  }
  all.push({ ...a, hook_name: `blocks.${layers - 1}.hook_resid_post` });
  return all;
}

async function withModel(
  spec: RandomSpec,
  length: number,
  use: (engine: Engine, run: PromptRun) => Promise<void>,
): Promise<void> {
  const { engine, close } = await randomEngine(spec);
  try {
    await use(engine, await engine.run(promptOf(length, spec.seed)));
  } finally {
    await close();
  }
}

async function rootsOf(engine: Engine, run: PromptRun): Promise<RootSpec[]> {
  const position = run.trace.tokens.length - 1;
  const roots: RootSpec[] = [
    { type: 'logit', tokens: [7], position },
    { type: 'logit', tokens: [7, 11], position },
  ];
  for (const [site, d] of engine.dictionaries) {
    const acts = await run.acts(site);
    const from = acts.offsets[position];
    const active = acts.offsets[position + 1] > from ? acts.features[from] : 0;
    roots.push({ type: 'feature', site, feature: active, position });
    roots.push({ type: 'feature', site, feature: d.config.d_sae - 1, position });
  }
  return roots;
}

/** Every node below a root down to a depth, each opened in both views and by source and head; sums are checked independently. */
async function checkSums(run: PromptRun, node: TreeNode, depth: number): Promise<number> {
  let opened = 0;
  for (const view of ['residual', 'component'] as const) {
    for (const by of ['source', 'head'] as const) {
      const e = await expand(run, node, { view, by });
      if (!e) return 0;
      opened++;
      const sum = e.children.reduce((s, c) => s + c.contribution, 0);
      const scale = e.children.reduce((s, c) => s + Math.abs(c.contribution), 0);
      expect(Math.abs(sum - node.value), node.id).toBeLessThanOrEqual(1e-4 * Math.max(scale, 1e-3));
      expect(new Set(e.children.map((c) => c.id)).size, `distinct ids below ${node.id}`).toBe(e.children.length);
      if (depth > 1) for (const c of e.children.slice(0, 3)) opened += await checkSums(run, c, depth - 1);
    }
  }
  return opened;
}

describe.each(ARCHITECTURES)(
  '$architecture $normalize_activations rescale=$rescale_acts_by_decoder_norm b_dec=$apply_b_dec_to_input',
  (a) => {
    test('sums, both views, error-term no-op and direct validation on models of odd shapes', async () => {
      await fc.assert(
        fc.asyncProperty(
          fc.record({
            layers: fc.integer({ min: 1, max: 3 }),
            heads: fc.constantFrom(1, 2, 3, 5),
            d_head: fc.constantFrom(3, 5, 7, 8),
            seed: fc.integer({ min: 1, max: 10_000 }),
            length: fc.constantFrom(...PRIMES),
            transcoder: fc.constantFrom('transcoder', 'skip_transcoder', 'jumprelu_transcoder'),
            contract: fc.constantFrom('default' as const, 'none' as const),
          }),
          async ({ layers, heads, d_head, seed, length, transcoder, contract }) => {
            const spec = { layers, heads, d_head, seed, contract, dictionaries: everywhere(layers, a, transcoder) };
            await withModel(spec, length, async (engine, run) => {
              for (const root of await rootsOf(engine, run)) {
                expect(await checkSums(run, await makeRoot(run, root), 2)).toBeGreaterThan(0);
              }
              await checkNoOp(engine, run);
              await checkDirect(engine, run);
            });
          },
        ),
        { numRuns: 3 },
      );
    });
  },
);

/** Identity I6: with error terms everywhere the spliced model is the clean one. */
async function checkNoOp(engine: Engine, run: PromptRun): Promise<void> {
  const spliced = await runSpliced(engine, run, {
    splice: [...engine.dictionaries.keys()],
    errorTerm: true,
    interventions: [],
  });
  for (let i = 0; i < spliced.resid_post.length; i++) {
    expect(Math.abs(spliced.resid_post[i] - run.trace.resid_post[i])).toBeLessThan(2e-4);
  }
}

const edgesOf = (n: NodeJson): string[] => n.children.flatMap((c) => [c.id, ...edgesOf(c)]);

/** Identity I7: taking the source's write vector out of what the parent reads changes the parent by minus the edge. */
async function checkDirect(engine: Engine, run: PromptRun): Promise<void> {
  const position = run.trace.tokens.length - 1;
  for (const [view, by] of [
    ['residual', 'source'],
    ['component', 'head'],
  ] as const) {
    const root: RootSpec = { type: 'logit', tokens: [7, 11], position };
    const tree = await buildTree(run, root, { depth: 3, top: 1, view, by });
    for (const id of edgesOf(tree).slice(0, 40)) {
      const v = await validateEdge(engine, run, root, id);
      const bound = 5e-4 * Math.max(1, Math.abs(v.direct.before), Math.abs(v.predicted));
      expect(Math.abs(v.direct.change + v.predicted), id).toBeLessThan(bound);
    }
  }
}

test.each(['default', 'none'] as const)(
  'attention without a dictionary, read by residual features, opens into its sources (%s)',
  async (contract) => {
    const dictionaries = [1, 2].map((l) => ({ hook_name: `blocks.${l}.hook_resid_pre`, architecture: 'standard' }));
    await withModel({ layers: 3, heads: 3, d_head: 5, seed: 21, contract, dictionaries }, 7, async (engine, run) => {
      let opaque = 0;
      for (const root of await rootsOf(engine, run)) {
        const node = await makeRoot(run, root);
        await checkSums(run, node, 3);
        const children = (await expand(run, node, { view: 'component', by: 'head' }))?.children ?? [];
        for (const c of children.filter((x) => x.kind === 'attn')) opaque += await checkSums(run, c, 2);
      }
      expect(opaque).toBeGreaterThan(0);
      await checkDirect(engine, run);
    });
  },
);

test('DFA: heads and sources sum to the pre-activation, for active and inactive features', async () => {
  await withModel(
    {
      layers: 2,
      heads: 3,
      d_head: 5,
      seed: 5,
      dictionaries: [{ hook_name: 'blocks.1.attn.hook_z', architecture: 'standard' }],
    },
    11,
    async (_engine, run) => {
      for (let feature = 0; feature < 40; feature++) {
        const d = await dfaJson(run, 'blocks.1.attn.hook_z', feature, 9);
        expect(d.bySource).toHaveLength(10);
        const total = d.byHead.reduce((s, x) => s + x, 0);
        expect(total).toBeCloseTo(
          d.bySource.reduce((s, x) => s + x, 0),
          9,
        );
        expect(total + d.constant).toBeCloseTo(d.preActivation, 4);
        expect(d.activation).toBeCloseTo(Math.max(0, d.preActivation), 5);
      }
    },
  );
});

test('causality: a token changes nothing before it, and the shared prefix may be reused', async () => {
  const spec: RandomSpec = {
    layers: 3,
    heads: 2,
    d_head: 7,
    seed: 9,
    dictionaries: everywhere(3, ARCHITECTURES[0], 'transcoder'),
  };
  await withModel(spec, 13, async (engine, run) => {
    for (const site of engine.dictionaries.keys()) await run.acts(site);
    for (const cut of [0, 1, 6, 12]) {
      const edited = run.trace.tokens.map((t, i) => (i >= cut ? (t + 1) % 53 : t));
      const fresh = await engine.run(edited);
      const reused = await engine.run(edited, run);
      for (let i = 0; i < fresh.trace.resid_post.length; i++) {
        expect(Math.abs(fresh.trace.resid_post[i] - reused.trace.resid_post[i])).toBeLessThan(1e-4);
        if (i < cut * 14) expect(Math.abs(fresh.trace.resid_post[i] - run.trace.resid_post[i])).toBeLessThan(1e-4);
      }
      expect(fresh.trace.layers[2].pattern.length).toBe(reused.trace.layers[2].pattern.length);
      fresh.trace.layers[2].pattern.forEach((p, i) =>
        expect(Math.abs(p - reused.trace.layers[2].pattern[i])).toBeLessThan(1e-4),
      );
      for (const site of engine.dictionaries.keys()) {
        const [a, b] = [await fresh.acts(site), await reused.acts(site)];
        expect(b.offsets).toEqual(a.offsets);
        expect(b.features).toEqual(a.features);
      }
    }
  });
});
