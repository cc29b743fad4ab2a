/** Results of experiments, as they are printed, stored and shown. Types only. */
import type { PromptRef } from './tree';

export type Cell = string | number | null;

export interface Table {
  id: string;
  title: string;
  columns: { key: string; title: string }[];
  rows: Cell[][];
}

/** A picture of a table: which columns to draw, and how. */
export type Chart =
  | {
      type: 'bar';
      title: string;
      table: string;
      label: string;
      value: string;
      error?: string;
      lines?: { label: string; value: number }[];
    }
  | { type: 'scatter'; title: string; table: string; x: string; y: string; label: string; identity: boolean }
  | { type: 'box'; title: string; table: string; group: string; value: string }
  | { type: 'line'; title: string; table: string; x: string; y: string[] }
  | { type: 'histogram'; title: string; table: string; value: string; bins: number }
  | { type: 'heat'; title: string; table: string; row: string; column: string; value: string };

/** One setting of an experiment. */
export interface ExperimentParameter {
  name: string;
  description: string;
  type: 'text' | 'integer' | 'number' | 'flag' | 'choice';
  default: string | number | boolean;
  choices?: string[];
  min?: number;
}

export type ExperimentValues = Record<string, string | number | boolean>;

/** What an experiment is, without its code. */
export interface ExperimentInfo {
  id: string;
  title: string;
  description: string;
  /** Whether it needs prompts with an answer and a distractor, any prompts, exactly two, or none. */
  needs: 'answers' | 'prompts' | 'two' | 'none';
  parameters: ExperimentParameter[];
}

export interface ExperimentResult {
  /** Version of this shape. */
  version: 1;
  experiment: string;
  title: string;
  /** Everything that made it, to make it again. */
  settings: { values: ExperimentValues; model: string; contract: Record<string, boolean>; prompts: number };
  /** What was found, in sentences. */
  summary: string[];
  tables: Table[];
  charts: Chart[];
  /** Sums that must hold: what, by how much they miss, and how much they may. */
  checks: { name: string; miss: number; limit: number }[];
}

/** Where an experiment's prompts come from. */
export type ExperimentPrompts =
  | { from: 'document'; uri: string }
  | { from: 'generated'; count: number; seed: number }
  | { from: 'prompt'; prompt: PromptRef }
  | { from: 'none' };
