import type {
  Cell,
  Chart,
  ExperimentInfo,
  ExperimentParameter,
  ExperimentResult,
  ExperimentValues,
  Table,
} from '../../protocol/experiments';
import { type Engine, type PromptRun } from '../engine';

export type { Cell, Chart, ExperimentInfo, ExperimentParameter, ExperimentResult, ExperimentValues, Table };

/** A prompt of an experiment: tokens, answers, and the positions that have a role. */
export interface Case {
  name: string;
  text: string | null;
  tokens: number[];
  /** First token of the answer and of the distractor. */
  answer: number | null;
  distractor: number | null;
  /** Order of the names: ABBA when the answer is named first, BABA when the distractor is; other groups keep their own. */
  template: string;
  /** Positions by role: IO, S1, S2, END, and. Only those that were found. */
  roles: Partial<Record<Role, number>>;
}

export type Role = 'IO' | 'S1' | 'S2' | 'END' | 'and';
export const ROLES: Role[] = ['IO', 'S1', 'S2', 'END', 'and'];

/** What an experiment works with. */
export interface ExperimentContext {
  engine: Engine;
  cases: Case[];
  values: ExperimentValues;
  signal: AbortSignal;
  /** To be called between steps: shows how far it is, lets others pass, throws CancelledError. */
  step(message: string, fraction: number): Promise<void>;
  /** The analysed prompt of a case; kept while there is room. */
  run(c: Case): Promise<PromptRun>;
}

/** What an experiment finds; settings are added by whoever runs it. */
export type Findings = Pick<ExperimentResult, 'summary' | 'tables' | 'charts' | 'checks'>;

export interface Experiment extends ExperimentInfo {
  run(context: ExperimentContext): Promise<Findings>;
  /** What a script needs besides prompts and settings to make the tables again. */
  data?(context: ExperimentContext, tables: readonly Table[]): Promise<unknown>;
}
