import { type Engine } from '../engine';

/** Numbers by table, row and column. */
export type Expected = Record<string, Record<string, Record<string, number>>>;

/** What every script reads: which model and dictionaries, how they were processed, what is expected and how closely. */
export interface ScriptBase {
  model: { path: string; contract: Engine['contract'] };
  sites: { site: string; kind: string; layer: number; path: string }[];
  expected: Expected;
  tolerance: number;
}

const TOLERANCE = 2e-3;

/** The part of a script's input that names the loaded files. */
export const scriptBase = (engine: Engine, expected: Expected): ScriptBase => ({
  model: { path: engine.model.weights.path, contract: { ...engine.contract } },
  sites: [...engine.dictionaries.values()].map(({ site, kind, layer, path }) => ({ site, kind, layer, path })),
  expected,
  tolerance: TOLERANCE,
});
