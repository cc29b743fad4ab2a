/** The controls above the outline. Built once; what they show is kept by themselves. */
import type { By, View } from '../../server/protocol';
import { button, checkbox, dropdown, h, slider, textField } from '../ui';
import { type Choices, type Sort } from './model';

export interface ToolbarEvents {
  choose(change: Partial<Choices>): void;
  search(text: string): void;
  collapseAll(): void;
  saveCircuit(): void;
  copy(): void;
  copyPython(): void;
  insertPython(): void;
  save(format: 'svg' | 'png' | 'json'): void;
}

const VIEWS = [
  ['residual', 'Residual features'],
  ['component', 'Components'],
] as const satisfies readonly (readonly [View, string])[];
const BYS = [
  ['source', 'Source tokens'],
  ['head', 'Heads × sources'],
] as const satisfies readonly (readonly [By, string])[];
const SORTS = [
  ['size', 'Strongest'],
  ['value', 'Most positive'],
  ['position', 'Position'],
  ['layer', 'Layer'],
] as const satisfies readonly (readonly [Sort, string])[];

/** Thresholds of the slider's steps: 0, then from 0.1% to 20% on a rising scale. */
const THRESHOLDS = [0, 0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2];
const nearestStep = (t: number): number =>
  THRESHOLDS.reduce((best, x, i) => (Math.abs(x - t) < Math.abs(THRESHOLDS[best] - t) ? i : best), 0);

/** The toolbar; a tree from a graph file has one view and no script. */
export function toolbar(c: Choices, fromFile: boolean, events: ToolbarEvents): HTMLElement {
  const percent = (step: number): string => (step === 0 ? 'off' : `${100 * THRESHOLDS[step]}%`);
  return h(
    'div',
    { class: 'tools' },
    h(
      'div',
      { class: 'toolbar', role: 'toolbar', 'aria-label': 'Tree controls' },
      !fromFile && dropdown('Stream', VIEWS, c.view, (view) => events.choose({ view })),
      !fromFile && dropdown('Attention', BYS, c.by, (by) => events.choose({ by })),
      slider('Top', { min: 1, max: 50, step: 1 }, c.top, String, (top) => events.choose({ top })),
      slider('Threshold', { min: 0, max: THRESHOLDS.length - 1, step: 1 }, nearestStep(c.threshold), percent, (step) =>
        events.choose({ threshold: THRESHOLDS[step] }),
      ),
      textField('Search nodes', '', (text) => events.search(text)),
    ),
    h(
      'details',
      { class: 'more' },
      h('summary', {}, 'Sort, hide, diagram, export'),
      h(
        'div',
        { class: 'toolbar' },
        dropdown('Sort', SORTS, c.sort, (sort) => events.choose({ sort })),
        checkbox('Hide errors', c.hideErrors, (hideErrors) => events.choose({ hideErrors })),
        checkbox('Hide constants', c.hideConstants, (hideConstants) => events.choose({ hideConstants })),
        checkbox('Diagram', c.diagram, (diagram) => events.choose({ diagram })),
        checkbox('Follow editor', c.followEditor, (followEditor) => events.choose({ followEditor })),
        h(
          'span',
          { class: 'buttons' },
          button('Collapse', 'Close everything but the root', () => events.collapseAll()),
          !fromFile &&
            button(
              'Save circuit',
              'Save what is opened, pinned, grouped and named, with its numbers, into a file',
              () => events.saveCircuit(),
            ),
          button('Copy', 'Copy the tree as text', () => events.copy()),
          !fromFile &&
            button(
              'Copy as Python',
              'Copy a script for TransformerLens and SAELens that computes the shown nodes again',
              () => events.copyPython(),
            ),
          !fromFile &&
            button('Insert code', 'Put that script into the notebook or Python file beside', () =>
              events.insertPython(),
            ),
          button('SVG', 'Save the picture as SVG', () => events.save('svg')),
          button('PNG', 'Save the picture as PNG', () => events.save('png')),
          button('JSON', 'Save the opened tree as JSON', () => events.save('json')),
        ),
      ),
    ),
  );
}
