/** The opened part of the tree as a picture: d3-hierarchy places it, SVG draws it, the same picture is exported. */
import { hierarchy, type HierarchyPointNode, tree as layout } from 'd3-hierarchy';
import { share, signed, svg } from '../ui';
import { type Item, itemsOf, type Row, shortOf } from './model';

const ROW = 34;
const COLUMN = 260;
const BOX = 220;
const MARGIN = 12;

const idOf = (r: Row): string => (r.type === 'node' ? r.node.id : r.id);
const valueOf = (r: Row): number => (r.type === 'node' ? r.node.contribution : r.sum);
const labelOf = (r: Row, names: Readonly<Record<string, string>>): string =>
  r.type === 'node' ? `${r.node.glyph} ${shortOf(r.node, names)}` : `… ${r.count} not shown`;

const clip = (text: string, n: number): string => (text.length > n ? `${text.slice(0, n - 1)}…` : text);

function link(d: HierarchyPointNode<Item>): SVGElement | null {
  if (!d.parent) return null;
  const { row } = d.data;
  const [x0, y0, x1, y1] = [d.parent.y + BOX, d.parent.x, d.y, d.x];
  const mid = (x0 + x1) / 2;
  const size = row.type === 'node' ? Math.max(0.5, 3 * Math.sqrt(Math.abs(row.node.share))) : 0.5;
  return svg('path', {
    d: `M${x0},${y0}C${mid},${y0} ${mid},${y1} ${x1},${y1}`,
    fill: 'none',
    class: `link ${valueOf(row) < 0 ? 'negative' : 'positive'}`,
    'stroke-width': size.toFixed(2),
    ...(valueOf(row) < 0 ? { 'stroke-dasharray': '5 3' } : {}),
  });
}

function box(
  d: HierarchyPointNode<Item>,
  selected: string | null,
  names: Readonly<Record<string, string>>,
  onSelect: (id: string) => void,
): SVGElement {
  const { row } = d.data;
  const label = labelOf(row, names);
  const id = idOf(row);
  const second =
    row.type === 'node' && row.level > 1 ? `${signed(valueOf(row))} · ${share(row.node.share)}` : signed(valueOf(row));
  return svg(
    'g',
    {
      transform: `translate(${d.y},${d.x - 13})`,
      class: `box${id === selected ? ' selected' : ''}${row.type === 'cut' ? ' cut' : ''}`,
      onclick: () => onSelect(id),
    },
    svg('title', {}, label),
    svg('rect', { width: BOX, height: 26, rx: 3 }),
    svg('text', { x: 6, y: 11, class: 'title' }, clip(label, 38)),
    svg('text', { x: 6, y: 22, class: 'value' }, second),
  );
}

/** Draws the rows as a tree from left to right. Links are as wide as √|share|; negative ones are dashed as well as coloured. */
export function drawDiagram(
  rows: readonly Row[],
  selected: string | null,
  names: Readonly<Record<string, string>>,
  onSelect: (id: string) => void,
): SVGElement {
  const placed = layout<Item>().nodeSize([ROW, COLUMN])(hierarchy(itemsOf(rows)));
  const all = placed.descendants();
  const top = Math.min(...all.map((d) => d.x));
  const bottom = Math.max(...all.map((d) => d.x));
  const right = Math.max(...all.map((d) => d.y)) + BOX;
  for (const d of all) {
    d.x += MARGIN + 13 - top;
    d.y += MARGIN;
  }
  const width = right + 2 * MARGIN;
  const height = bottom - top + 26 + 2 * MARGIN;
  return svg(
    'svg',
    {
      xmlns: 'http://www.w3.org/2000/svg',
      width,
      height,
      viewBox: `0 0 ${width} ${height}`,
      class: 'diagram',
      role: 'img',
      'aria-label': `Diagram of ${all.length} nodes; the outline lists the same`,
    },
    svg('g', { class: 'links' }, ...all.map(link)),
    svg('g', { class: 'boxes' }, ...all.map((d) => box(d, selected, names, onSelect))),
  );
}

const COPIED = [
  'fill',
  'stroke',
  'stroke-width',
  'stroke-dasharray',
  'font-family',
  'font-size',
  'font-weight',
  'opacity',
];

/** A picture that stands alone: every style that the page gave it written into it. Must be in the page. */
export function standaloneSvg(picture: SVGElement): string {
  const copy = picture.cloneNode(true) as SVGElement;
  const from = [picture, ...picture.querySelectorAll<SVGElement>('*')];
  const to = [copy, ...copy.querySelectorAll<SVGElement>('*')];
  from.forEach((e, i) => {
    const style = getComputedStyle(e);
    for (const name of COPIED) to[i].setAttribute(name, style.getPropertyValue(name));
    to[i].removeAttribute('class');
  });
  const background = getComputedStyle(document.body).backgroundColor;
  const rect = svg('rect', { width: '100%', height: '100%', fill: background });
  copy.prepend(rect);
  return new XMLSerializer().serializeToString(copy);
}

/** A picture as PNG, base64. Rejects when the page cannot draw it. */
export async function pngOf(text: string, width: number, height: number): Promise<string> {
  const image = new Image();
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(text)}`;
  await image.decode();
  const scale = Math.min(2, 16_000 / Math.max(width, height));
  const canvas = document.createElement('canvas');
  canvas.width = Math.ceil(width * scale);
  canvas.height = Math.ceil(height * scale);
  const context = canvas.getContext('2d');
  if (!context) throw new Error('the page has no canvas');
  context.scale(scale, scale);
  context.drawImage(image, 0, 0);
  return canvas.toDataURL('image/png').split(',')[1];
}
