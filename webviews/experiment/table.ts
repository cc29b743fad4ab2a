/** A table that sorts by its headings and shows its rows in pages, however many there are. */
import type { Cell, Table } from '../../server/protocol/experiments';
import { button, fill, h } from '../ui';

const PAGE = 50;

export interface Sorting {
  column: number;
  descending: boolean;
}

/** Orders cells: numbers by size, texts by letters, empty ones last. */
export function compareCells(a: Cell, b: Cell): number {
  if (a === null || b === null) return Number(a === null) - Number(b === null);
  if (typeof a === 'number' && typeof b === 'number') return a - b;
  return String(a).localeCompare(String(b), undefined, { numeric: true });
}

/** Rows in order; empty cells stay last either way. */
export function sorted(rows: readonly Cell[][], by: Sorting | null): Cell[][] {
  if (!by) return [...rows];
  const sign = by.descending ? -1 : 1;
  return [...rows].sort((x, y) => {
    const [a, b] = [x[by.column], y[by.column]];
    return a === null || b === null ? compareCells(a, b) : sign * compareCells(a, b);
  });
}

const show = (x: Cell): string => {
  if (x === null) return '';
  if (typeof x === 'string') return x;
  if (Number.isInteger(x)) return String(x);
  const size = Math.abs(x);
  return size < 1e-3 || size >= 1e5 ? x.toExponential(2) : x.toFixed(size < 10 ? 4 : 2);
};

/** The table with its controls. */
export function resultTable(t: Table, onCsv: () => void): HTMLElement {
  let by: Sorting | null = null;
  let shown = PAGE;
  const box = h('div', {});
  const draw = (): void => {
    const heads = t.columns.map((c, i) => {
      const order = by?.column === i ? (by.descending ? 'descending' : 'ascending') : 'none';
      const sort = (): void => {
        by = { column: i, descending: by?.column === i ? !by.descending : true };
        draw();
      };
      const mark = order === 'none' ? '' : order === 'descending' ? ' ▾' : ' ▴';
      return h(
        'th',
        { scope: 'col', 'aria-sort': order },
        h(
          'button',
          { type: 'button', class: 'link-button', title: `Sort by ${c.title}`, onclick: sort },
          c.title + mark,
        ),
      );
    });
    const rows = sorted(t.rows, by).slice(0, shown);
    const body = rows.map((r) =>
      h('tr', {}, ...r.map((x) => h('td', { class: typeof x === 'number' ? 'number' : 'text' }, show(x)))),
    );
    const left = t.rows.length - rows.length;
    const more = (): void => {
      shown += PAGE * 4;
      draw();
    };
    fill(
      box,
      h(
        'div',
        { class: 'heat-scroll', tabindex: 0, role: 'region', 'aria-label': t.title },
        h('table', { class: 'numbers' }, h('thead', {}, h('tr', {}, ...heads)), h('tbody', {}, ...body)),
      ),
      left > 0 && button(`Show more (${left} left)`, 'Show more rows', more),
    );
  };
  draw();
  return h(
    'section',
    { class: 'result' },
    h('h2', {}, t.title),
    box,
    h('div', { class: 'actions' }, button('CSV', 'Save this table as CSV', onCsv)),
  );
}

const quote = (x: Cell): string => {
  const text = x === null ? '' : String(x);
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
};

/** A table as CSV (RFC 4180). */
export const csv = (t: Table): string =>
  [t.columns.map((c) => c.key), ...t.rows].map((r) => r.map(quote).join(',')).join('\r\n');
