import { h } from './dom';
import { signed } from './format';

/** Steps of the diverging scale on either side of zero. */
const STEPS = 5;

/** Class of a cell: `pos-1` … `pos-5`, `neg-1` … `neg-5`, or `zero`. Signs differ by pattern as well as by colour. */
export function heatClass(value: number, max: number): string {
  const size = max === 0 ? 0 : Math.abs(value) / max;
  if (size < 0.02) return 'zero';
  return `${value < 0 ? 'neg' : 'pos'}-${Math.min(STEPS, Math.max(1, Math.ceil(size * STEPS)))}`;
}

export const maxAbs = (values: Iterable<number>): number => {
  let m = 0;
  for (const v of values) m = Math.max(m, Math.abs(v));
  return m;
};

export interface GridColumn {
  title: string;
  /** Called with the column when one of its cells is clicked. */
  position: number;
}

/** A table of signed numbers as a heat map; every cell can be read with the keyboard and by a screen reader. */
export function heatTable(
  caption: string,
  rows: { title: string; values: ArrayLike<number> }[],
  columns: GridColumn[],
  onCell: (row: number, column: GridColumn) => void,
): HTMLElement {
  const max = maxAbs(rows.flatMap((r) => columns.map((c) => r.values[c.position])));
  const head = h(
    'tr',
    {},
    h('td', {}),
    ...columns.map((c) => h('th', { scope: 'col', title: c.title }, h('span', {}, c.title))),
  );
  const body = rows.map((r, i) =>
    h(
      'tr',
      {},
      h('th', { scope: 'row' }, r.title),
      ...columns.map((c) => {
        const value = r.values[c.position];
        const label = `${r.title}, ${c.title}: ${signed(value)}`;
        const cell = h('button', {
          type: 'button',
          class: `heat ${heatClass(value, max)}`,
          title: label,
          'aria-label': label,
          onclick: () => onCell(i, c),
        });
        return h('td', {}, cell);
      }),
    ),
  );
  return h(
    'div',
    { class: 'heat-scroll', tabindex: 0, role: 'region', 'aria-label': caption },
    h('table', { class: 'heat-table' }, h('caption', {}, caption), h('thead', {}, head), h('tbody', {}, ...body)),
  );
}

/** The columns with the largest |sums|, in order of position, at most `limit`; and how many are left out with what sum. */
export function strongestColumns(
  rows: ArrayLike<number>[],
  limit: number,
): { kept: number[]; left: number; sum: number } {
  const n = rows[0]?.length ?? 0;
  const sums = Array.from({ length: n }, (_, s) => rows.reduce((t, r) => t + r[s], 0));
  const sizes = Array.from({ length: n }, (_, s) => rows.reduce((t, r) => t + Math.abs(r[s]), 0));
  const order = sizes.map((_, s) => s).sort((a, b) => sizes[b] - sizes[a]);
  const kept = order.slice(0, limit).sort((a, b) => a - b);
  const rest = order.slice(limit);
  return { kept, left: rest.length, sum: rest.reduce((t, s) => t + sums[s], 0) };
}
