/** A table that sorts by its headings and draws only the rows in its window, however many there are. */
import type { Cell, Table } from '../../server/protocol/experiments';
import { button, fill, h } from '../ui';

const ROW_HEIGHT = 23;
const OVERSCAN = 12;
/** Tables of so few rows are drawn whole. */
const WHOLE = 60;
/** Characters of the widest column. */
const WIDEST = 60;

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

/** Characters that the widest cell of each column takes, so that columns keep their width while rows come and go. */
const widths = (t: Table): number[] =>
  t.columns.map((c, i) =>
    t.rows.reduce((n, r) => Math.max(n, Math.min(WIDEST, show(r[i]).length)), c.title.length + 2),
  );

/** The rows of a table; of many, only those in the window are drawn, between two empty rows as high as the rest. */
class Rows {
  readonly body = h('tbody', {});
  private drawn = '';

  constructor(
    private readonly box: HTMLElement,
    private rows: readonly Cell[][],
  ) {
    box.addEventListener('scroll', () => this.draw());
    new ResizeObserver(() => this.draw()).observe(box);
  }

  set(rows: readonly Cell[][]): void {
    this.rows = rows;
    this.drawn = '';
    this.box.scrollTop = 0;
    this.draw();
  }

  private range(): [number, number] {
    const n = this.rows.length;
    if (n <= WHOLE) return [0, n];
    const { scrollTop, clientHeight } = this.box;
    const first = Math.max(0, Math.floor(scrollTop / ROW_HEIGHT) - OVERSCAN);
    return [first, Math.min(n, first + Math.ceil(clientHeight / ROW_HEIGHT) + 2 * OVERSCAN)];
  }

  draw(): void {
    const [first, last] = this.range();
    if (this.drawn === `${first} ${last}`) return;
    this.drawn = `${first} ${last}`;
    const gap = (rows: number): HTMLElement | null => {
      if (rows === 0) return null;
      const tr = h('tr', { class: 'gap', 'aria-hidden': 'true' });
      tr.style.height = `${rows * ROW_HEIGHT}px`;
      return tr;
    };
    const row = (r: readonly Cell[], i: number): HTMLElement =>
      // The heading is the first row that assistive software counts.
      h(
        'tr',
        { 'aria-rowindex': first + i + 2 },
        ...r.map((x) => h('td', { class: typeof x === 'number' ? 'number' : 'text', title: show(x) }, show(x))),
      );
    fill(this.body, gap(first), ...this.rows.slice(first, last).map(row), gap(this.rows.length - last));
  }
}

/** The table with its controls. */
export function resultTable(t: Table, onCsv: () => void): HTMLElement {
  let by: Sorting | null = null;
  const box = h('div', { class: 'heat-scroll', tabindex: 0, role: 'region', 'aria-label': t.title });
  const rows = new Rows(box, t.rows);
  const head = h('thead', {});
  const ch = widths(t);
  const draw = (): void => {
    const heads = t.columns.map((c, i) => {
      const order = by?.column === i ? (by.descending ? 'descending' : 'ascending') : 'none';
      const sort = (): void => {
        by = { column: i, descending: by?.column === i ? !by.descending : true };
        draw();
        head.querySelectorAll('button')[i].focus();
      };
      const mark = order === 'none' ? '' : order === 'descending' ? ' ▾' : ' ▴';
      const title = `Sort by ${c.title}`;
      const sorter = h('button', { type: 'button', class: 'link-button', title, onclick: sort }, c.title + mark);
      const th = h(
        'th',
        { scope: 'col', 'aria-sort': order, class: typeof t.rows[0]?.[i] === 'string' ? 'text' : '' },
        sorter,
      );
      th.style.minWidth = `${ch[i]}ch`;
      return th;
    });
    fill(head, h('tr', { 'aria-rowindex': 1 }, ...heads));
    rows.set(sorted(t.rows, by));
  };
  fill(box, h('table', { class: 'numbers result-table', 'aria-rowcount': t.rows.length + 1 }, head, rows.body));
  draw();
  return h(
    'section',
    { class: 'result' },
    h('h2', {}, t.title),
    t.rows.length > WHOLE && h('p', { class: 'note' }, `${t.rows.length.toLocaleString()} rows`),
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
