import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import fc from 'fast-check';
import { cantorPair, cantorUnpair, type GraphFile, graphViolations, importGraphFile } from '../../server/src/interop';
import { type AttributionGraph, type GraphNode, graphScores, pruneGraph } from '../../server/src/attribution';

const dir = mkdtempSync(join(tmpdir(), 'attention-circuits-graphs-'));
let files = 0;
function load(content: unknown, zip = false): GraphFile {
  const path = join(dir, `${files++}.json`);
  const text = JSON.stringify(content);
  writeFileSync(path, zip ? gzipSync(text) : text);
  return importGraphFile(path);
}

describe('feature numbers', () => {
  test('the worked example of the reference', () => {
    expect(cantorPair(3, 15566)).toBe(121_220_231);
    expect(cantorUnpair(121_220_231)).toEqual({ layer: 3, index: 15566 });
  });
  test('unpairing inverts pairing over every width in use', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 200 }), fc.integer({ min: 0, max: 1 << 20 }), (layer, index) => {
        expect(cantorUnpair(cantorPair(layer, index))).toEqual({ layer, index });
      }),
    );
  });
});

const metadata = { slug: 'a-graph', scan: 'gemma-2-2b', prompt: 'a b', prompt_tokens: ['a', ' b'] };
const node = (
  node_id: string,
  feature_type: string,
  layer: string | number,
  ctx_idx: number,
  feature: number | null,
  more = {},
): object => ({
  node_id,
  feature,
  layer,
  ctx_idx,
  feature_type,
  jsNodeId: node_id,
  clerp: '',
  ...more,
});

describe('graph files of other tools', () => {
  test('A: legacy numbers become Cantor pairs, errors get their own ids, links and pins follow', () => {
    const g = load({
      metadata,
      qParams: { pinnedIds: '4_00012_1,0_3_1', supernodes: '[["group","0_3_1"]]', clickedId: null, linkType: 'both' },
      nodes: [
        node('4_00012_1', 'cross layer transcoder', 4, 1, 400_012, { kept: { as: 'it is' } }),
        node('0_3_1', 'mlp reconstruction error', 3, 1, 0),
        node('27_99_1', 'logit', '27', 1, 99, { clerp: 'Output " x" (p=0.5)', token_prob: 0.5 }),
      ],
      links: [
        { source: '0_3_1', target: '4_00012_1', weight: -2 },
        { source: 'gone', target: '4_00012_1', weight: 1 },
      ],
    });
    expect(g.metadata.schema_version).toBe(1);
    expect(g.nodes[0]).toMatchObject({ feature: cantorPair(4, 12), layer: '4', kept: { as: 'it is' } });
    expect(g.nodes[1]).toMatchObject({ node_id: '3_-1_1', feature: -1 });
    expect(g.links).toEqual([{ source: '3_-1_1', target: '4_00012_1', weight: -2 }]);
    expect(g.qParams).toMatchObject({ pinnedIds: ['4_00012_1', '3_-1_1'], supernodes: [['group', '3_-1_1']] });
    expect(g.qParams).not.toHaveProperty('clickedId');
    expect(g.metadata.dfa).toMatchObject({ import: { dialect: 'A', droppedLinks: 1 } });
  });

  test('A: plain indices are recognised', () => {
    const g = load({
      metadata,
      qParams: {},
      nodes: [node('4_70000_1', 'cross layer transcoder', '4', 1, 70_000)],
      links: [],
    });
    expect(g.nodes[0].feature).toBe(cantorPair(4, 70_000));
  });

  test('B: an error that shares an id with a layer-0 feature is told apart, and the graph says so', () => {
    const g = load(
      {
        metadata: { ...metadata, schema_version: 1 },
        qParams: {},
        nodes: [
          node('0_3_1', 'cross layer transcoder', '0', 1, cantorPair(0, 3)),
          node('0_3_1', 'mlp reconstruction error', '3', 1, -1),
          node('0_2_1', 'mlp reconstruction error', '2', 1, -1),
        ],
        links: [
          { source: '0_3_1', target: '0_2_1', weight: 1 },
          { source: '0_2_1', target: '0_3_1', weight: 2 },
        ],
      },
      true,
    );
    expect(g.nodes.map((n) => n.node_id)).toEqual(['0_3_1', '3_-1_1', '2_-1_1']);
    expect(g.links).toEqual([
      { source: '0_3_1', target: '2_-1_1', weight: 1 },
      { source: '2_-1_1', target: '0_3_1', weight: 2 },
    ]);
    expect(g.metadata.dfa).toMatchObject({ import: { dialect: 'B', ambiguousNodes: 1 } });
  });

  test('nodes that share an id are kept apart and the graph says so', () => {
    const nodes = [node('a', 'cross layer transcoder', '1', 0, 5), node('a', 'cross layer transcoder', '1', 0, 6)];
    const g = load({ metadata: { ...metadata, schema_version: 1 }, qParams: {}, nodes, links: [] });
    expect(g.nodes.map((n) => n.node_id)).toEqual(['a', 'a#2']);
    expect(JSON.stringify(g.metadata.dfa)).toMatch(/1 nodes had the id of an earlier one/);
  });

  test('C and D pass through with everything they hold', () => {
    const c = { ...metadata, schema_version: 1, anything: [1, { deep: true }] };
    const nodes = [node('3_-1_1', 'mlp reconstruction error', '3', 1, -1), node('E_7_0', 'embedding', 'E', 0, 0)];
    const links = [{ source: 'E_7_0', target: '3_-1_1', weight: 1, note: 'x' }];
    const g = load({ metadata: c, qParams: { sg_pos: '1 2' }, nodes, links, qk_only_nodes: { a: 1 } });
    expect(g).toMatchObject({ metadata: c, qParams: { sg_pos: '1 2' }, nodes, links, qk_only_nodes: { a: 1 } });
    const lorsa = [
      node('2_lor_5_1', 'lorsa', '2', 1, cantorPair(2, 5), {
        qk_tracing_results: { pair_wise_contributors: [['a', 'b', 0.5]] },
      }),
      node('2_error_attn_1', 'lorsa error', '2', 1, null),
      node('2_bias_attn_bO_1', 'bias', '2', 1, null),
    ];
    const d = load({ metadata: c, qParams: {}, nodes: lorsa, links: [] });
    expect(d.nodes).toMatchObject(lorsa);
    expect(d.metadata.dfa).toMatchObject({ import: { dialect: 'D' } });
  });

  test('importing what was imported changes nothing, for any layers, indices and positions', () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(
          fc.tuple(fc.integer({ min: 0, max: 5 }), fc.integer({ min: 0, max: 5 }), fc.integer({ min: 0, max: 3 })),
          {
            maxLength: 12,
            selector: String,
          },
        ),
        (keys) => {
          const nodes = keys.flatMap(([l, i, p]) => [
            node(`${l}_${i}_${p}`, 'cross layer transcoder', String(l), p, cantorPair(l, i)),
            node(`0_${l}_${p}`, 'mlp reconstruction error', String(l), p, -1),
          ]);
          const seen = new Set<string>();
          const distinct = nodes.filter((n) => {
            const k = JSON.stringify([
              (n as { feature_type: string }).feature_type,
              (n as { node_id: string }).node_id,
            ]);
            return !seen.has(k) && seen.add(k);
          });
          const once = load({ metadata: { ...metadata, schema_version: 1 }, qParams: {}, nodes: distinct, links: [] });
          expect(new Set(once.nodes.map((n) => n.node_id)).size).toBe(distinct.length);
          const twice = load(once);
          expect(twice.nodes).toEqual(once.nodes);
          expect(twice.links).toEqual(once.links);
        },
      ),
    );
  });
});

/** Files of each dialect as their tools write them: real-shaped nodes, view states of both kinds, fields that nobody knows. */
const dialects = {
  A: (l: number, i: number, p: number) => [
    node(`${l}_${i}_${p}`, 'cross layer transcoder', l, p, l * 1e5 + i, { vis_link: 'x', top_logit_effects: [1, 2] }),
    node(`0_${l}_${p}`, 'mlp reconstruction error', l, p, 0),
  ],
  B: (l: number, i: number, p: number) => [
    node(`${l}_${i}_${p}`, 'cross layer transcoder', String(l), p, cantorPair(l, i), {
      activation: 0.5,
      influence: 0.2,
    }),
    node(`0_${l}_${p}`, 'mlp reconstruction error', String(l), p, -1),
  ],
  C: (l: number, i: number, p: number) => [
    node(`${l}_${i}_${p}`, 'cross layer transcoder', String(l), p, cantorPair(l, i), { influence: null }),
    node(`${l}_-1_${p}`, 'mlp reconstruction error', String(l), p, -1),
  ],
  D: (l: number, i: number, p: number) => [
    node(`${l}_lor_${i}_${p}`, 'lorsa', String(l), p, cantorPair(l, i), {
      qk_tracing_results: {
        pair_wise_contributors: [['a', 'b', 0.5]],
        top_q_marginal_contributors: [['a', 1]],
        top_k_marginal_contributors: [['b', 1]],
      },
    }),
    node(`${l}_bias_attn_bO_${p}`, 'bias', String(l), p, null),
  ],
} as const;

const graphs = fc
  .record({
    dialect: fc.constantFrom(...(Object.keys(dialects) as (keyof typeof dialects)[])),
    keys: fc.uniqueArray(fc.tuple(fc.nat(25), fc.nat(16383), fc.nat(8)), { maxLength: 20, selector: String }),
    weights: fc.array(fc.tuple(fc.nat(), fc.nat(), fc.double({ min: -1e3, max: 1e3, noNaN: true })), { maxLength: 40 }),
    params: fc.constantFrom(
      {},
      { pinnedIds: 'a,b', supernodes: '[["g","a"]]', clickedId: null, linkType: null },
      {
        pinnedIds: ['a'],
        supernodes: [['g', 'a', 'b']],
        clickedId: 'a',
        linkType: 'both',
        sg_pos: '1 2',
        pruningThreshold: '0.6',
      },
    ),
    clerp: fc.string(),
    extra: fc.jsonValue(),
  })
  .map(({ dialect, keys, weights, params, clerp, extra }) => {
    const distinct = new Map(
      keys.flatMap(([l, i, p]) => dialects[dialect](l, i, p)).map((n) => [JSON.stringify(n), n] as const),
    );
    const nodes = [
      ...distinct.values(),
      node('27_99_8', 'logit', '27', 8, 99, { clerp: `Output "${clerp}" (p=0.5)`, token_prob: 0.5, unknown: extra }),
      node('E_5_0', 'embedding', 'E', 0, 0),
    ];
    const id = (n: number): string => (nodes[n % nodes.length] as { node_id: string }).node_id;
    const links = weights.map(([a, b, weight]) => ({ source: id(a), target: id(b), weight, kept: extra }));
    const version = dialect === 'A' ? {} : { schema_version: 1 };
    return { metadata: { ...metadata, ...version, mystery: extra }, qParams: params, nodes, links, other: extra };
  });

test('files of every dialect come out under the published schema’s rules, keep what nobody knows, and round-trip', () => {
  fc.assert(
    fc.property(graphs, (file) => {
      const once = load(file, true);
      expect(graphViolations(once)).toEqual([]);
      // JSON has one zero.
      const extra = JSON.parse(JSON.stringify(file.other)) as unknown;
      expect([once.other, once.metadata.mystery, once.nodes.at(-2)?.unknown]).toEqual([extra, extra, extra]);
      expect(once.links.map((l) => l.weight)).toEqual(file.links.map((l) => l.weight + 0));
      const twice = load(once);
      expect(twice.nodes).toEqual(once.nodes);
      expect(twice.links).toEqual(once.links);
      expect(twice.qParams).toEqual(once.qParams);
    }),
    { numRuns: 200 },
  );
});

test('what breaks the schema’s rules is named', () => {
  const good = { metadata, qParams: {}, nodes: [node('a', 'embedding', 'E', 0, 0)], links: [] };
  expect(graphViolations(good)).toEqual([]);
  const broken: [object, RegExp][] = [
    [{ ...good, links: undefined }, /links/],
    [{ ...good, qParams: { pinnedIds: 'a,b' } }, /qParams\.pinnedIds/],
    [{ ...good, qParams: { clickedId: null } }, /qParams\.clickedId/],
    [{ ...good, nodes: [node('a', 'embedding', 'E', 0.5, 0)] }, /nodes\.0\.ctx_idx/],
    [{ ...good, nodes: [...good.nodes, ...good.nodes] }, /occurs twice/],
    [{ ...good, links: [{ source: 'a', target: 'b', weight: 1 }] }, /there is no node b/],
    [{ ...good, nodes: [node('l', 'logit', '3', 0, 1)] }, /"\(p="/],
  ];
  for (const [graph, message] of broken) expect(graphViolations(graph).join('\n')).toMatch(message);
});

describe('scores and pruning on a graph worked out by hand', () => {
  // root ← f1 (3), error (1); f1 ← token (2), position (1), opaque MLP (1), bias (9)
  const nodes: GraphNode[] = [
    { key: 'root', kind: 'logit' },
    { key: 'f1', kind: 'attention-feature', feature: 1, site: 's', layer: 0, position: 0 },
    { key: 'e', kind: 'error' },
    { key: 't', kind: 'token-embedding' },
    { key: 'p', kind: 'position-embedding' },
    { key: 'm', kind: 'mlp' },
    { key: 'b', kind: 'bias' },
  ];
  const edges = [
    { source: 1, target: 0, weight: 3 },
    { source: 2, target: 0, weight: -1 },
    { source: 3, target: 1, weight: -2 },
    { source: 4, target: 1, weight: 1 },
    { source: 5, target: 1, weight: 1 },
    { source: 6, target: 1, weight: 9 },
  ];
  const g: AttributionGraph = { nodes, edges, cut: { count: 0, absoluteWeight: 0 } };

  test('replacement: tokens and positions over those plus errors and opaque MLPs', () => {
    // I(f1) = .75, I(e) = .25, I(t) = .375, I(p) = .1875, I(m) = .1875
    expect(graphScores(g, 1).replacement).toBeCloseTo(0.5625 / (0.5625 + 0.4375), 12);
  });
  test('completeness: what is not error among the inputs, weighted by influence', () => {
    const total = 1 + 0.75 + 0.25 + 0.375 + 0.1875 + 0.1875;
    const explained = 1 * 0.75 + 0.75 * 0.75 + 0.25 + 0.375 + 0.1875 + 0.1875;
    expect(graphScores(g, 1).completeness).toBeCloseTo(explained / total, 12);
  });
  test('scores do not depend on the probability of the root', () => {
    expect(graphScores(g, 0.3).completeness).toBeCloseTo(graphScores(g, 1).completeness, 12);
  });
  test('pruning keeps root and tokens, drops weak nodes and what only they feed', () => {
    const kept = (node: number, edge: number): string[] => pruneGraph(g, 1, node, edge).nodes.map((n) => n.key);
    expect(kept(1, 1)).toEqual(['root', 'f1', 'e', 't', 'p', 'm', 'b']);
    expect(kept(0.6, 1)).toEqual(['root', 'f1', 't', 'p', 'b']);
    expect(kept(0.4, 1)).toEqual(['root', 'f1', 't', 'p', 'b']);
  });
  test('influence is the cumulative share, strongest first', () => {
    const byKey = new Map(pruneGraph(g, 1, 1, 1).nodes.map((n) => [n.key, n.influence]));
    const total = 0.75 + 0.375 + 0.25 + 0.1875 + 0.1875;
    expect(byKey.get('f1')).toBeCloseTo(0.75 / total, 12);
    expect(byKey.get('t')).toBeCloseTo(1.125 / total, 12);
    expect(byKey.get('root')).toBeNull();
  });
});
