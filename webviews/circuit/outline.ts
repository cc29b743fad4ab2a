/** The tree as an outline: a WAI-ARIA tree whose rows outside the window are not drawn, so that thousands stay smooth. */
import { h, share, signed } from '../ui';
import { nameOf, type Row, shortOf } from './model';

export const ROW_HEIGHT = 24;
const OVERSCAN = 12;
/** Shares are drawn on a square-root scale, so that small ones can be seen. */
const barWidth = (s: number): number => Math.min(1, Math.sqrt(Math.abs(s)));

export interface OutlineState {
  rows: readonly Row[];
  selected: string | null;
  pins: ReadonlySet<string>;
  grouped: ReadonlySet<string>;
  names: Readonly<Record<string, string>>;
  loading: ReadonlySet<string>;
  errors: ReadonlyMap<string, string>;
}

export interface OutlineEvents {
  select(id: string): void;
  toggle(id: string): void;
  more(parent: string): void;
  hover(id: string | null): void;
  pin(id: string): void;
  click(id: string): void;
  key(e: KeyboardEvent): void;
  scrolled(top: number): void;
}

const rowId = (r: Row): string => (r.type === 'node' ? r.node.id : r.id);

/** A number's cell, with its name for screen readers: a row is read out as its contents. */
function cell(name: string, text: string): HTMLElement {
  return h('span', { class: 'number' }, text !== '' && h('span', { class: 'visually-hidden' }, ` ${name} `), text);
}

function bar(value: number, root: boolean): HTMLElement {
  const box = h('span', { class: 'bar-cell', 'aria-hidden': 'true' });
  if (root) return box;
  const b = h('span', { class: `bar ${value < 0 ? 'negative' : 'positive'}` });
  b.style.width = `${Math.round(50 * barWidth(value))}%`;
  box.append(b);
  return box;
}

/** Makes these the children of a box, in this order, touching only those that come, go or move. */
function place(box: HTMLElement, elements: readonly HTMLElement[]): void {
  const wanted = new Set<Element>(elements);
  for (const child of [...box.children]) if (!wanted.has(child)) child.remove();
  let next = box.firstElementChild;
  for (const e of elements) {
    if (e === next) next = next.nextElementSibling;
    else box.insertBefore(e, next);
  }
}

export class Outline {
  readonly element: HTMLElement;
  private readonly body = h('div', { class: 'rows', role: 'presentation' });
  private state: OutlineState = {
    rows: [],
    selected: null,
    pins: new Set(),
    grouped: new Set(),
    names: {},
    loading: new Set(),
    errors: new Map(),
  };
  private drawn = new Map<string, HTMLElement>();
  private frame = 0;

  constructor(private readonly events: OutlineEvents) {
    this.element = h(
      'div',
      {
        class: 'outline',
        role: 'tree',
        tabindex: 0,
        'aria-label': 'Attribution tree',
        'aria-multiselectable': 'true',
        onkeydown: (e: KeyboardEvent) => events.key(e),
        onscroll: () => {
          this.later();
          events.scrolled(this.element.scrollTop);
        },
        onmouseleave: () => events.hover(null),
      },
      this.body,
    );
    new ResizeObserver(() => this.later()).observe(this.element);
  }

  private later(): void {
    if (this.frame !== 0) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      this.draw(false);
    });
  }

  /** Shows new rows. Drawing happens at once, so that focus and tests see it. */
  update(state: OutlineState): void {
    this.state = state;
    this.draw(true);
  }

  /** Row index of an id, −1 when it is not shown. */
  indexOf(id: string | null): number {
    return this.state.rows.findIndex((r) => rowId(r) === id);
  }

  /** Scrolls a row into the window. */
  reveal(id: string): void {
    const i = this.indexOf(id);
    if (i < 0) return;
    const top = i * ROW_HEIGHT;
    const { scrollTop, clientHeight } = this.element;
    if (top < scrollTop) this.element.scrollTop = top;
    else if (top + ROW_HEIGHT > scrollTop + clientHeight) this.element.scrollTop = top + ROW_HEIGHT - clientHeight;
    this.draw(false);
  }

  scrollTo(top: number): void {
    this.element.scrollTop = top;
    this.draw(false);
  }

  private draw(fresh: boolean): void {
    const { rows, selected } = this.state;
    const height = this.element.clientHeight || 600;
    const first = Math.max(0, Math.floor(this.element.scrollTop / ROW_HEIGHT) - OVERSCAN);
    const last = Math.min(rows.length, Math.ceil((this.element.scrollTop + height) / ROW_HEIGHT) + OVERSCAN);
    this.body.style.height = `${rows.length * ROW_HEIGHT}px`;
    const old = this.drawn;
    this.drawn = new Map();
    const elements: HTMLElement[] = [];
    for (let i = first; i < last; i++) {
      const id = rowId(rows[i]);
      const element = (!fresh && old.get(id)) || this.row(rows[i]);
      element.style.top = `${i * ROW_HEIGHT}px`;
      this.drawn.set(id, element);
      elements.push(element);
    }
    place(this.body, elements);
    const active = selected === null ? null : this.drawn.get(selected);
    if (active) this.element.setAttribute('aria-activedescendant', active.id);
    else this.element.removeAttribute('aria-activedescendant');
  }

  private row(r: Row): HTMLElement {
    const id = rowId(r);
    const s = this.state;
    const common = {
      role: 'treeitem',
      id: `row-${id}`,
      'aria-level': r.level,
      'aria-posinset': r.position,
      'aria-setsize': r.of,
      'aria-selected': s.selected === id ? 'true' : 'false',
    };
    const element = r.type === 'cut' ? this.cutRow(r, common) : this.nodeRow(r, common);
    element.style.setProperty('--level', String(r.level - 1));
    element.dataset.id = id;
    return element;
  }

  private cutRow(r: Extract<Row, { type: 'cut' }>, common: Record<string, string | number>): HTMLElement {
    const more = (): void => {
      this.events.select(r.id);
      this.events.more(r.parent);
    };
    const selected = this.state.selected === r.id ? ' selected' : '';
    return h(
      'div',
      {
        ...common,
        class: `row cut${selected}`,
        title: 'Everything cut away under the node above. Click to show more.',
        onclick: more,
      },
      h(
        'span',
        { class: 'name' },
        h('span', { class: 'twisty' }, ''),
        h('span', { class: 'glyph', 'aria-hidden': 'true' }, '…'),
        h('span', { class: 'label' }, `${r.count} not shown (${r.hidden})`),
      ),
      bar(0, true),
      cell('together', signed(r.sum)),
    );
  }

  private nodeRow(r: Extract<Row, { type: 'node' }>, common: Record<string, string | number>): HTMLElement {
    const { node, expansion, expanded } = r;
    const s = this.state;
    const root = r.level === 1;
    const classes = ['row', `kind-${node.kind}`];
    if (s.selected === node.id) classes.push('selected');
    if (s.pins.has(node.id)) classes.push('pinned');
    if (s.grouped.has(node.id)) classes.push('grouped');
    const error = s.errors.get(node.id);
    if (error !== undefined) classes.push('refused');
    const sign = !node.opens ? '' : s.loading.has(node.id) ? '◌' : expanded ? '▾' : '▸';
    const twisty = h(
      'span',
      {
        class: 'twisty',
        'aria-hidden': 'true',
        onclick: (e: MouseEvent) => {
          e.stopPropagation();
          if (node.opens) this.events.toggle(node.id);
        },
      },
      sign,
    );
    const attributes: Record<string, string | number> = { ...common };
    if (node.opens) attributes['aria-expanded'] = expanded ? 'true' : 'false';
    if (s.loading.has(node.id)) attributes['aria-busy'] = 'true';
    return h(
      'div',
      {
        ...attributes,
        class: classes.join(' '),
        title: error ?? nameOf(node, s.names),
        onclick: (e: MouseEvent) => {
          if (e.ctrlKey || e.metaKey) this.events.pin(node.id);
          else this.events.click(node.id);
        },
        ondblclick: () => node.opens && this.events.toggle(node.id),
        onmouseenter: () => this.events.hover(node.id),
      },
      h(
        'span',
        { class: 'name' },
        twisty,
        h('span', { class: 'glyph', 'aria-hidden': 'true' }, node.glyph),
        h('span', { class: 'label' }, h('bdi', {}, shortOf(node, s.names))),
        s.pins.has(node.id) &&
          h('span', { class: 'mark', title: 'Pinned' }, h('span', { class: 'visually-hidden' }, ' pinned '), '⚲'),
        error !== undefined &&
          h(
            'span',
            { class: 'mark', title: error },
            h('span', { class: 'visually-hidden' }, ` refused: ${error} `),
            '⚠',
          ),
      ),
      bar(node.share, root),
      cell('contribution', signed(node.contribution)),
      cell('share', root ? '' : share(node.share)),
      cell('activation', node.activation === undefined ? '' : node.activation.toFixed(3)),
      cell('remainder', expanded && expansion ? expansion.remainder.toExponential(0) : ''),
      cell('error share', expanded && expansion ? share(expansion.errorShare) : ''),
    );
  }
}

/** The names of the columns, drawn above the outline. */
export const outlineHeader = (): HTMLElement =>
  h(
    'div',
    { class: 'row header', 'aria-hidden': 'true' },
    h('span', { class: 'name' }, 'node'),
    h('span', { class: 'bar-cell', title: 'Share of the parent, on a square-root scale' }, ''),
    h('span', { class: 'number', title: "What the node adds to its parent's value" }, 'contribution'),
    h('span', { class: 'number', title: 'contribution / Σ|contribution| of its siblings' }, 'share'),
    h('span', { class: 'number', title: "The feature's activation" }, 'activation'),
    h('span', { class: 'number', title: 'value − Σ children of an opened node' }, 'remainder'),
    h('span', { class: 'number', title: 'Σ|reconstruction errors| / Σ|children| of an opened node' }, 'error'),
  );
