/** The circuit panel's state: whatever is hidden, the sums that are shown add up. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { WireExpansion, WireNode } from '../../server/protocol';
import { type KeyEvents, moveTo, treeKey } from '../../webviews/circuit/keys';
import {
  type Choices,
  DEFAULTS,
  expansionKey,
  groupSum,
  itemsOf,
  outlineText,
  parseSaved,
  type Row,
  rows,
  shownChildren,
  type Tree,
} from '../../webviews/circuit/model';

const KINDS = ['attention-feature', 'transcoder-feature', 'source-token', 'error', 'bias', 'token-embedding'];

const node = (id: string, rest: Partial<WireNode> = {}): WireNode => ({
  id,
  kind: 'attention-feature',
  glyph: '▲',
  label: `label of ${id}`,
  short: id,
  value: 0,
  contribution: 0,
  share: 0,
  opens: true,
  ...rest,
});

const expansion = fc
  .array(fc.record({ kind: fc.constantFrom(...KINDS), contribution: fc.double({ min: -5, max: 5, noNaN: true }) }), {
    maxLength: 40,
  })
  .chain((list) =>
    fc
      .record({
        remainder: fc.double({ min: -1e-5, max: 1e-5, noNaN: true }),
        cutSum: fc.double({ min: -1, max: 1, noNaN: true }),
      })
      .map(({ remainder, cutSum }): WireExpansion => {
        const scale = list.reduce((s, c) => s + Math.abs(c.contribution), 0);
        const children = list.map((c, i) =>
          node(`r~${i}`, { ...c, value: c.contribution, share: scale === 0 ? 0 : c.contribution / scale }),
        );
        const value = list.reduce((s, c) => s + c.contribution, 0) + cutSum + remainder;
        return {
          id: 'r',
          value,
          children,
          cut: { count: cutSum === 0 ? 0 : 3, sum: cutSum },
          remainder,
          scale,
          errorShare: 0,
        };
      }),
  );

const choices = fc.record({
  top: fc.integer({ min: 1, max: 50 }),
  threshold: fc.constantFrom(0, 0.01, 0.1),
  hideErrors: fc.boolean(),
  hideConstants: fc.boolean(),
  sort: fc.constantFrom('size', 'value', 'position', 'layer'),
}) as fc.Arbitrary<Partial<Choices>>;

test('value = Σ shown + cut away + remainder, for every choice of sliders and boxes', () => {
  fc.assert(
    fc.property(expansion, choices, (e, c) => {
      const { children, cut } = shownChildren(e, { ...DEFAULTS, ...c });
      const sum = children.reduce((s, n) => s + n.contribution, 0) + cut.sum + e.remainder;
      expect(sum).toBeCloseTo(e.value, 9);
      expect(children.length + cut.count).toBe(e.children.length + e.cut.count);
    }),
  );
});

function treeOf(e: WireExpansion): Tree {
  const root = node('r', { kind: 'logit', value: e.value, contribution: e.value, share: 1 });
  const nodes = new Map([root, ...e.children].map((n) => [n.id, n]));
  return { root, nodes, expansions: new Map([[expansionKey('r', DEFAULTS.view, DEFAULTS.by), e]]) };
}

const rowsOf = (tree: Tree, rest: Partial<Parameters<typeof rows>[0]> = {}): Row[] =>
  rows({
    tree,
    choices: DEFAULTS,
    expanded: new Set(['r']),
    extra: new Map(),
    names: {},
    search: '',
    position: null,
    ...rest,
  });

test('whatever is cut away is a visible line with its sum, and names why', () => {
  fc.assert(
    fc.property(expansion, choices, (e, c) => {
      const own = { ...DEFAULTS, ...c };
      const { cut } = shownChildren(e, own);
      const list = rowsOf(treeOf(e), { choices: own });
      const lines = list.filter((r) => r.type === 'cut');
      expect(lines.length).toBe(cut.count > 0 ? 1 : 0);
      if (lines[0]) expect([lines[0].sum, lines[0].count]).toEqual([cut.sum, cut.count]);
      if (lines[0]) expect(lines[0].hidden).not.toBe('');
      const positions = list.slice(1).map((r) => r.position);
      expect(positions).toEqual(positions.map((_, i) => i + 1));
    }),
  );
});

const small: WireExpansion = {
  id: 'r',
  value: 6,
  children: [
    node('r~a', { contribution: 3, share: 0.5, position: 4, label: 'feature a', short: 'a' }),
    node('r~b', { contribution: 2, share: 0.3, position: 2, label: 'feature b', short: 'b' }),
    node('r~c', { kind: 'bias', contribution: 1, share: 0.2, opens: false, label: 'bias c_f', short: 'bias' }),
  ],
  cut: { count: 0, sum: 0 },
  remainder: 0,
  scale: 6,
  errorShare: 0,
};

const ids = (list: readonly Row[]): string[] => list.map((r) => (r.type === 'node' ? r.node.id : r.id));

test('search and the token filter leave matches and what leads to them', () => {
  const tree = treeOf(small);
  expect(ids(rowsOf(tree, { search: 'FEATURE B' }))).toEqual(['r', 'r~b']);
  expect(ids(rowsOf(tree, { position: 4 }))).toEqual(['r', 'r~a']);
  expect(ids(rowsOf(tree, { names: { 'r~c': 'my name' }, search: 'my' }))).toEqual(['r', 'r~c']);
});

test('the text copy carries every sum', () => {
  const text = outlineText(rowsOf(treeOf(small), { choices: { ...DEFAULTS, hideConstants: true } }), {});
  expect(text).toContain('+3.000 (50.0%) ▲ feature a');
  expect(text).toContain('+1.000 … 1 not shown (constants)');
  expect(text).toContain('remainder 0.0e+0');
});

test('rows make the diagram’s tree again: same nodes, same parents', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 3 }), { maxLength: 30 }), (steps) => {
      let level = 1;
      const list: Row[] = [
        { type: 'node', node: node('0'), level: 1, expanded: true, position: 1, of: 1, expansion: null },
      ];
      for (const [i, s] of steps.entries()) {
        level = Math.max(2, Math.min(level + 1, level + 1 - s));
        list.push({
          type: 'node',
          node: node(String(i + 1)),
          level,
          expanded: false,
          position: 1,
          of: 1,
          expansion: null,
        });
      }
      const flat: [string, number][] = [];
      const walk = (item: ReturnType<typeof itemsOf>, depth: number): void => {
        flat.push([ids([item.row])[0], depth]);
        for (const c of item.children) walk(c, depth + 1);
      };
      walk(itemsOf(list), 1);
      expect(flat).toEqual(list.map((r) => [ids([r])[0], r.level]));
    }),
  );
});

test('a supernode’s sum counts a member below another member once', () => {
  const nodes = new Map(
    [node('r~a', { contribution: 3 }), node('r~a~x', { contribution: 2 }), node('r~b', { contribution: -1 })].map(
      (n) => [n.id, n],
    ),
  );
  expect(groupSum({ name: '', members: ['r~a', 'r~a~x', 'r~b'] }, nodes)).toBe(2);
});

test('what another version remembered never breaks a panel', () => {
  fc.assert(fc.property(fc.anything(), (x) => void expect(typeof parseSaved(x)).toBe('object')));
  const saved = parseSaved({
    choices: { top: 'many', view: 'component' },
    pins: ['a', 1],
    expanded: ['r'],
    groups: [{ name: 'g' }],
    scroll: 4,
  });
  expect(saved).toEqual({ choices: { ...DEFAULTS, view: 'component' }, expanded: ['r'], groups: [], scroll: 4 });
});

test('movement keys stay inside the tree', () => {
  expect(['ArrowDown', 'ArrowUp', 'Home', 'End', 'PageDown', 'x'].map((k) => moveTo(k, 2, 4))).toEqual([
    3,
    1,
    0,
    3,
    3,
    null,
  ]);
});

test('right opens and goes in, left closes and goes out; letters act on the node', () => {
  const log: string[] = [];
  const names = [
    'select',
    'toggle',
    'more',
    'pin',
    'validate',
    'ablate',
    'reroot',
    'back',
    'rename',
    'groupStart',
    'clear',
  ] as const;
  const events = Object.fromEntries(
    names.map((n) => [n, (id?: string) => log.push(id ? `${n} ${id}` : n)]),
  ) as unknown as KeyEvents;
  const list = rowsOf(treeOf(small), { choices: { ...DEFAULTS, hideConstants: true } });
  const press = (key: string, selected: string): void => {
    const e = { key, ctrlKey: false, metaKey: false, altKey: false, preventDefault: () => undefined };
    treeKey(e, list, selected, events);
  };
  press('ArrowRight', 'r');
  press('ArrowRight', 'r~a');
  press('ArrowLeft', 'r~a');
  press('ArrowLeft', 'r');
  press('Enter', 'r~cut');
  for (const k of ['p', 'v', 'a', 'r', 'g', 'F2', 'Backspace', 'Escape']) press(k, 'r~b');
  expect(log).toEqual([
    'select r~a',
    'toggle r~a',
    'select r',
    'toggle r',
    'more r',
    'pin r~b',
    'validate',
    'ablate r~b',
    'reroot',
    'groupStart',
    'rename',
    'back',
    'clear',
  ]);
});
