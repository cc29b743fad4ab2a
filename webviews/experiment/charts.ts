/** Charts of experiment results with Chart.js; each stands beside the table it is drawn from, which says the same. */
import {
  BarController,
  BarElement,
  CategoryScale,
  Chart as ChartJs,
  type ChartConfiguration,
  Legend,
  LinearScale,
  LineController,
  LineElement,
  type Plugin,
  PointElement,
  ScatterController,
  Tooltip,
} from 'chart.js';
import { BoxAndWiskers, BoxPlotController } from '@sgratzl/chartjs-chart-boxplot';
import type { Chart, ExperimentResult, Table } from '../../server/protocol/experiments';
import { h, heatTable, signed } from '../ui';

ChartJs.register(
  BoxAndWiskers,
  BoxPlotController,
  BarController,
  BarElement,
  CategoryScale,
  Legend,
  LinearScale,
  LineController,
  LineElement,
  PointElement,
  ScatterController,
  Tooltip,
);

const MAX_BARS = 40;

/** A colour of the editor's theme. */
const themed = (name: string, fallback: string): string =>
  getComputedStyle(document.documentElement).getPropertyValue(name).trim() ||
  getComputedStyle(document.body).getPropertyValue(fallback).trim();

interface Colors {
  text: string;
  grid: string;
  positive: string;
  negative: string;
}

const colors = (): Colors => ({
  text: themed('--vscode-foreground', 'color'),
  grid: themed('--vscode-panel-border', 'color'),
  positive: themed('--vscode-attentionCircuits-positive', 'color'),
  negative: themed('--vscode-attentionCircuits-negative', 'color'),
});

const column = (t: Table, key: string): (string | number | null)[] => {
  const at = t.columns.findIndex((c) => c.key === key);
  return t.rows.map((r) => r[at] ?? null);
};
const titleOf = (t: Table, key: string): string => t.columns.find((c) => c.key === key)?.title ?? key;
const numbers = (t: Table, key: string): number[] => column(t, key).map((x) => (typeof x === 'number' ? x : NaN));

/** Whiskers of plus and minus an error on bars, and horizontal reference lines. */
function marks(errors: number[] | null, lines: { label: string; value: number }[], c: Colors): Plugin<'bar'> {
  return {
    id: 'marks',
    afterDatasetsDraw(chart) {
      const { ctx, scales, chartArea } = chart;
      ctx.save();
      ctx.strokeStyle = c.text;
      ctx.fillStyle = c.text;
      const values = chart.data.datasets[0].data as number[];
      chart.getDatasetMeta(0).data.forEach((bar, i) => {
        const e = errors?.[i];
        if (e === undefined || Number.isNaN(e)) return;
        const [top, bottom] = [scales.y.getPixelForValue(values[i] + e), scales.y.getPixelForValue(values[i] - e)];
        ctx.beginPath();
        ctx.moveTo(bar.x, top);
        ctx.lineTo(bar.x, bottom);
        ctx.stroke();
      });
      ctx.setLineDash([5, 4]);
      for (const l of lines) {
        const y = scales.y.getPixelForValue(l.value);
        ctx.beginPath();
        ctx.moveTo(chartArea.left, y);
        ctx.lineTo(chartArea.right, y);
        ctx.stroke();
        ctx.fillText(l.label, chartArea.right - ctx.measureText(l.label).width - 4, y - 3);
      }
      ctx.restore();
    },
  };
}

const axis = (title: string, c: Colors): object => ({
  title: { display: true, text: title, color: c.text },
  ticks: { color: c.text },
  grid: { color: c.grid },
});

function options(x: string, y: string, c: Colors, span?: [number, number]): ChartConfiguration['options'] {
  const range = span ? { suggestedMin: span[0], suggestedMax: span[1] } : {};
  return {
    animation: false,
    responsive: true,
    maintainAspectRatio: false,
    plugins: { legend: { display: false } },
    scales: { x: axis(x, c), y: { ...axis(y, c), ...range } },
  };
}

function barChart(spec: Extract<Chart, { type: 'bar' }>, t: Table, c: Colors): ChartConfiguration {
  const values = numbers(t, spec.value).slice(0, MAX_BARS);
  const errors = spec.error ? numbers(t, spec.error).slice(0, MAX_BARS) : null;
  const lines = spec.lines ?? [];
  const all = [
    0,
    ...lines.map((l) => l.value),
    ...values.flatMap((v, i) => [v + (errors?.[i] ?? 0), v - (errors?.[i] ?? 0)]),
  ].filter((v) => !Number.isNaN(v));
  const labels = column(t, spec.label).slice(0, MAX_BARS).map(String);
  const data = {
    labels,
    datasets: [{ data: values, backgroundColor: values.map((v) => (v < 0 ? c.negative : c.positive)) }],
  };
  return {
    type: 'bar',
    data,
    options: options(titleOf(t, spec.label), titleOf(t, spec.value), c, [Math.min(...all), Math.max(...all)]),
    plugins: [marks(errors, lines, c)],
  };
}

function histogram(spec: Extract<Chart, { type: 'histogram' }>, t: Table, c: Colors): ChartConfiguration {
  const values = numbers(t, spec.value).filter((v) => !Number.isNaN(v));
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const width = (high - low) / spec.bins || 1;
  const counts = new Array<number>(spec.bins).fill(0);
  for (const v of values) counts[Math.min(spec.bins - 1, Math.floor((v - low) / width))]++;
  const labels = counts.map((_, i) => (low + (i + 0.5) * width).toPrecision(2));
  const data = {
    labels,
    datasets: [{ data: counts, backgroundColor: c.positive, categoryPercentage: 1, barPercentage: 0.95 }],
  };
  return { type: 'bar', data, options: options(titleOf(t, spec.value), 'count', c) };
}

function scatter(spec: Extract<Chart, { type: 'scatter' }>, t: Table, c: Colors): ChartConfiguration {
  const [x, y, label] = [numbers(t, spec.x), numbers(t, spec.y), column(t, spec.label)];
  const kept = x.map((_, i) => i).filter((i) => !Number.isNaN(x[i]) && !Number.isNaN(y[i]));
  const points = kept.map((i) => ({ x: x[i], y: y[i] }));
  const ends = kept.flatMap((i) => [x[i], y[i]]);
  const identity = [Math.min(...ends), Math.max(...ends)].map((v) => ({ x: v, y: v }));
  const line = {
    type: 'line' as const,
    data: identity,
    borderColor: c.text,
    borderDash: [5, 4],
    borderWidth: 1,
    pointRadius: 0,
  };
  const dots = { type: 'scatter' as const, data: points, backgroundColor: c.positive, pointRadius: 3 };
  const config: ChartConfiguration = {
    type: 'scatter',
    data: { datasets: spec.identity && points.length > 0 ? [dots, line] : [dots] },
    options: options(titleOf(t, spec.x), titleOf(t, spec.y), c),
  };
  const name = (i: number): string => `${String(label[kept[i]])}: ${signed(points[i].x)}, ${signed(points[i].y)}`;
  if (config.options?.plugins)
    config.options.plugins.tooltip = {
      callbacks: { label: (item) => (item.datasetIndex === 0 ? name(item.dataIndex) : '') },
    };
  return config;
}

function lineChart(spec: Extract<Chart, { type: 'line' }>, t: Table, c: Colors): ChartConfiguration {
  const labels = column(t, spec.x).map(String);
  const datasets = spec.y.map((key) => ({
    label: titleOf(t, key),
    data: numbers(t, key),
    borderColor: c.positive,
    backgroundColor: c.positive,
  }));
  return {
    type: 'line',
    data: { labels, datasets },
    options: options(titleOf(t, spec.x), spec.y.map((y) => titleOf(t, y)).join(', '), c),
  };
}

function boxPlot(spec: Extract<Chart, { type: 'box' }>, t: Table, c: Colors): ChartConfiguration {
  const [groups, values] = [column(t, spec.group).map(String), numbers(t, spec.value)];
  const labels = [...new Set(groups)].sort();
  const data = labels.map((g) => values.filter((_, i) => groups[i] === g));
  const look = {
    backgroundColor: 'transparent',
    borderColor: c.positive,
    borderWidth: 1.5,
    itemRadius: 2,
    itemBackgroundColor: c.text,
  };
  const config = {
    type: 'boxplot',
    data: { labels, datasets: [{ data, ...look }] },
    options: options(titleOf(t, spec.group), titleOf(t, spec.value), c),
  };
  return config as unknown as ChartConfiguration;
}

function heat(spec: Extract<Chart, { type: 'heat' }>, t: Table): HTMLElement {
  const byNumber = (a: string, b: string): number =>
    Number.isNaN(Number(a)) || Number.isNaN(Number(b)) ? 0 : Number(a) - Number(b);
  const names = (key: string): string[] => [...new Set(column(t, key).map(String))].sort(byNumber);
  const [rows, columns] = [names(spec.row), names(spec.column)];
  const grid = rows.map(() => new Array<number>(columns.length).fill(0));
  const [r, c, v] = [column(t, spec.row), column(t, spec.column), numbers(t, spec.value)];
  v.forEach((value, i) => (grid[rows.indexOf(String(r[i]))][columns.indexOf(String(c[i]))] = value));
  return heatTable(
    `${spec.title}, as a heat map`,
    rows.map((title, i) => ({ title, values: grid[i] })),
    columns.map((title, position) => ({ title, position })),
    () => undefined,
  );
}

function configuration(spec: Exclude<Chart, { type: 'heat' }>, t: Table, c: Colors): ChartConfiguration {
  switch (spec.type) {
    case 'bar':
      return barChart(spec, t, c);
    case 'histogram':
      return histogram(spec, t, c);
    case 'scatter':
      return scatter(spec, t, c);
    case 'box':
      return boxPlot(spec, t, c);
    case 'line':
      return lineChart(spec, t, c);
  }
}

/** A chart of a result. Charts are pictures; what they show is in the table named in their label. */
export function drawChart(spec: Chart, r: ExperimentResult): HTMLElement {
  const t = r.tables.find((x) => x.id === spec.table);
  if (!t || t.rows.length === 0) return h('p', { class: 'note' }, `${spec.title}: nothing to draw.`);
  if (spec.type === 'heat') return h('figure', {}, heat(spec, t));
  const c = colors();
  const canvas = h('canvas', { role: 'img', 'aria-label': `${spec.title}; the table "${t.title}" lists the same` });
  const figure = h('figure', {}, h('figcaption', {}, spec.title), h('div', { class: 'chart' }, canvas));
  const config = configuration(spec, t, c);
  // Chart.js measures its place, so it draws when the figure stands in the page.
  requestAnimationFrame(() => new ChartJs(canvas, config));
  return figure;
}
