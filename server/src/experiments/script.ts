import type { Table } from '../../protocol/experiments';
import { type Expected, scriptBase, type ScriptBase } from '../python';
import { completeValues, contextOf, experimentOf, type RunOptions } from './run';
import { type Case, type ExperimentContext, type ExperimentValues } from './types';

/** What a script in Python needs to compute an experiment again and to compare its numbers. */
export interface ScriptSpec extends ScriptBase {
  cases: Pick<Case, 'name' | 'tokens' | 'answer' | 'distractor' | 'template' | 'roles'>[];
  values: ExperimentValues;
  /** Whatever else the experiment generated: corrupted prompts, groups, random sequences. */
  data: unknown;
}

/** Rows of a table that are compared. */
const MAX_ROWS = 200;

/** Columns that name a row, where the first one does not. */
const KEYS: Readonly<Record<string, readonly string[]>> = {
  'ablation single': ['feature', 'prompt'],
  'qk pairs': ['query', 'key'],
  'qk byPrompt': ['pair', 'prompt'],
  'heads heads': ['head', 'rank'],
  'heads shares': ['feature', 'head'],
};

/** The numbers of tables by table, row and column. */
function expectedOf(id: string, tables: readonly Table[]): Expected {
  const out: Expected = {};
  for (const t of tables) {
    const keys = KEYS[`${id} ${t.id}`] ?? [t.columns[0].key];
    const at = (key: string): number => t.columns.findIndex((c) => c.key === key);
    out[t.id] = {};
    for (const row of t.rows.slice(0, MAX_ROWS)) {
      const name = keys.map((k) => String(row[at(k)])).join(' ');
      const numbers = t.columns.flatMap((c, i): [string, number][] => {
        const v = row[i];
        return typeof v === 'number' && Number.isFinite(v) && !keys.includes(c.key) ? [[c.key, v]] : [];
      });
      out[t.id][name] = Object.fromEntries(numbers);
    }
  }
  return out;
}

/** What a script needs to make an experiment's tables again. Throws the engine's errors. */
export async function scriptOf(
  id: string,
  engine: ExperimentContext['engine'],
  cases: Case[],
  given: ExperimentValues,
  tables: readonly Table[],
  o: RunOptions,
): Promise<ScriptSpec> {
  const e = experimentOf(id);
  const values = completeValues(e, given);
  const data = (await e.data?.(contextOf(engine, cases, values, o), tables)) ?? null;
  return scriptSpec(id, engine, cases, values, data, tables);
}

/** The same from values and data that are complete. */
export const scriptSpec = (
  id: string,
  engine: ExperimentContext['engine'],
  cases: Case[],
  values: ExperimentValues,
  data: unknown,
  tables: readonly Table[],
): ScriptSpec => ({
  ...scriptBase(engine, expectedOf(id, tables)),
  cases: cases.map(({ name, tokens, answer, distractor, template, roles }) => ({
    name,
    tokens,
    answer,
    distractor,
    template,
    roles,
  })),
  values,
  data,
});
