import { readFileSync, writeFileSync } from 'node:fs';
import { type Command, Option } from 'commander';
import { type Engine } from '../../engine';
import { InputFileError, UsageError } from '../../errors';
import {
  type Case,
  caseOfTokens,
  casesOf,
  type Experiment,
  EXPERIMENTS,
  type ExperimentResult,
  type ExperimentValues,
  ioiFile,
  ioiSentences,
  runExperiment,
  scriptOf,
  scriptSpec,
} from '../../experiments';
import { parsePrompts } from '../../prompts';
import { pythonScript } from '../../python';
import { bar, csv, table as columns } from '../../text';
import { type CommonOptions, type Context, openEngine, withModel } from '../common';
import { Progress, writeJson, writeText } from '../output';
import { tokenList, wholeNumber } from '../parse';

interface ExperimentOptions extends Omit<CommonOptions, 'prompt' | 'tokens'> {
  file?: string;
  ioi?: string;
  seed?: string;
  tokens?: string;
  answer?: string;
  distractor?: string;
  csv?: string | true;
  python?: boolean;
}

const camel = (name: string): string => name.replace(/-(\w)/g, (_m, c: string) => c.toUpperCase());

function readPrompts(path: string): ReturnType<typeof parsePrompts>['prompts'] {
  let source: string;
  try {
    source = readFileSync(path, 'utf8');
  } catch (e) {
    throw new InputFileError(
      path,
      (e as NodeJS.ErrnoException).code === 'ENOENT' ? 'the file does not exist' : (e as Error).message,
    );
  }
  const { prompts, problems } = parsePrompts(source);
  if (problems.length > 0) throw new InputFileError(path, `line ${problems[0].line + 1}: ${problems[0].message}`);
  if (prompts.length === 0) throw new InputFileError(path, 'there is no prompt in it');
  return prompts;
}

/** Prompts of the options: a prompt file, generated sentences, or token ids. */
function casesFrom(engine: Engine, e: Experiment, o: ExperimentOptions): Case[] {
  const given = [o.file, o.ioi, o.tokens].filter((x) => x !== undefined).length;
  if (given > 1) throw new UsageError('give one of --file, --ioi and --tokens');
  if (o.tokens === undefined && (o.answer !== undefined || o.distractor !== undefined))
    throw new UsageError('--answer and --distractor go with --tokens; prompts of a file name theirs after ->');
  if (o.file !== undefined) return casesOf(engine, readPrompts(o.file));
  if (o.ioi !== undefined) {
    const seed = wholeNumber('--ioi-seed', o.seed ?? '1');
    return casesOf(
      engine,
      parsePrompts(ioiFile(ioiSentences(engine, wholeNumber('--ioi', o.ioi, 1), seed), seed)).prompts,
    );
  }
  if (o.tokens !== undefined) {
    const id = (name: string, text?: string): number | null => (text === undefined ? null : wholeNumber(name, text));
    return o.tokens.split(';').map((t, i) => {
      const c = caseOfTokens(tokenList(t), id('--answer', o.answer), id('--distractor', o.distractor));
      engine.model.checkTokens(c.tokens);
      return { ...c, name: `tokens ${i + 1}` };
    });
  }
  if (e.needs === 'none') return [];
  throw new UsageError(`${e.id} needs prompts: give --file FILE, --ioi N or --tokens 1,2,3`);
}

const cell = (x: string | number | null): string => {
  if (x === null) return '';
  if (typeof x === 'number') return Number.isInteger(x) ? String(x) : x.toPrecision(4);
  return x.length > 60 ? `${x.slice(0, 59)}…` : x;
};

/** One table as CSV (RFC 4180). Throws UsageError, listing the tables, for a name that is none. */
export function csvOf(r: ExperimentResult, name: string | true): string {
  const t = name === true ? r.tables[0] : r.tables.find((x) => x.id === name);
  if (!t)
    throw new UsageError(`--csv: there is no table ${String(name)}; there are ${r.tables.map((x) => x.id).join(', ')}`);
  return csv(
    t.columns.map((c) => c.key),
    t.rows,
  );
}

const SHOWN = 25;

function human(r: ExperimentResult): string {
  const out = [r.title, '', ...r.summary];
  for (const t of r.tables) {
    const chart = r.charts.find((c) => c.type === 'bar' && c.table === t.id);
    const at = chart?.type === 'bar' ? t.columns.findIndex((c) => c.key === chart.value) : -1;
    const most = Math.max(0, ...t.rows.map((row) => Math.abs(Number(row[at] ?? 0))));
    const rows = t.rows
      .slice(0, SHOWN)
      .map((row) => [...row.map(cell), ...(at >= 0 && most > 0 ? [bar(Number(row[at]) / most, 12)] : [])]);
    out.push('', t.title, ...columns([t.columns.map((c) => c.title), ...rows]).map((l) => `  ${l}`));
    if (t.rows.length > SHOWN) out.push(`  … ${t.rows.length - SHOWN} more rows (--json or --csv ${t.id} for all)`);
  }
  for (const c of r.checks)
    out.push('', `check: ${c.name}: ${c.miss.toExponential(1)} (at most ${c.limit.toExponential(0)})`);
  return out.join('\n');
}

function addExperiment(program: Command, context: Context, e: Experiment): void {
  const command = withModel(program.command(e.id))
    .description(e.description)
    .option('--file <file>', 'a prompt file; answers and distractors after ->')
    .option('--ioi <n>', 'n generated sentences with an indirect object')
    .option('--ioi-seed <n>', 'seed of --ioi', '1')
    .option('--tokens <ids>', 'token ids, 1,2,3; several prompts with ; between')
    .option('--answer <id>', 'answer of --tokens')
    .option('--distractor <id>', 'distractor of --tokens')
    .option('--python', 'print a script for TransformerLens and SAELens that makes the tables again and compares them')
    .option('--csv [table]', 'print one table as CSV (default: the first)');
  for (const p of e.parameters) {
    const option = new Option(
      p.type === 'flag' ? `--${p.name}${p.default === true ? ' [yes]' : ''}` : `--${p.name} <${p.type}>`,
      p.description,
    );
    if (p.choices) option.choices(p.choices);
    command.addOption(option.default(p.type === 'flag' ? undefined : String(p.default)));
  }
  command.action(async (o: ExperimentOptions & Record<string, string | boolean | undefined>) => {
    if ([o.json, o.csv, o.python].filter((x) => x !== undefined).length > 1)
      throw new UsageError('give one of --json, --csv and --python');
    const values: ExperimentValues = {};
    for (const p of e.parameters) {
      const v = o[camel(p.name)];
      if (v !== undefined) values[p.name] = v === 'false' ? false : v;
    }
    const engine = await openEngine(context, o);
    const progress = new Progress(e.title, (n) => `${Math.round(100 * n)}%`);
    try {
      const cases = casesFrom(engine, e, { ...o, seed: o.ioiSeed as string | undefined });
      const step = (_message: string, fraction: number): Promise<void> => {
        progress.update(fraction, 1);
        return Promise.resolve();
      };
      const result = await runExperiment(e, engine, cases, values, { signal: context.signal, step });
      progress.end();
      if (o.python) {
        const spec = await scriptOf(e.id, engine, cases, values, result.tables, { signal: context.signal, step });
        await writeText(pythonScript(context.home, e.title, e.id, spec));
      } else if (o.json) await writeJson(result);
      else await writeText(o.csv === undefined ? human(result) : csvOf(result, o.csv));
    } finally {
      progress.end();
      await engine.close();
    }
  });
}

/** A script for the logit differences of generated prompts. */
async function ioiScript(context: Context, engine: Engine, source: string): Promise<string> {
  const cases = casesOf(engine, parsePrompts(source).prompts);
  const rows = [];
  for (const c of cases) {
    const run = await engine.run(c.tokens, undefined, context.signal);
    const { logits } = await run.logitsAt(c.tokens.length - 1);
    rows.push([c.name, logits[c.answer ?? 0] - logits[c.distractor ?? 0]]);
  }
  const columns = ['name', 'ld'].map((key) => ({ key, title: key }));
  const spec = scriptSpec('ioi', engine, cases, {}, null, [{ id: 'prompts', title: '', columns, rows }]);
  return pythonScript(context.home, 'Generated sentences', 'ioi', { ...spec, sites: [] });
}

/** `ioi`: writes a prompt file of generated sentences. */
function addIoi(program: Command, context: Context): void {
  withModel(program.command('ioi'))
    .description('generate sentences with an indirect object, as a prompt file')
    .option('--count <n>', 'sentences', '20')
    .option('--seed <n>', 'of the generator', '1')
    .option('--conjunction <word>', 'between the names', 'and')
    .option('--python', 'print a script for TransformerLens that computes the logit differences again')
    .option('--out <file>', 'write the prompt file there instead of printing it')
    .action(
      async (
        o: CommonOptions & { count: string; seed: string; conjunction: string; out?: string; python?: boolean },
      ) => {
        const engine = await openEngine(context, o);
        try {
          const seed = wholeNumber('--seed', o.seed);
          const sentences = ioiSentences(engine, wholeNumber('--count', o.count, 1), seed, o.conjunction);
          const source = ioiFile(sentences, seed);
          if (o.python) await writeText(await ioiScript(context, engine, source));
          else if (o.json) {
            const cases = casesOf(engine, parsePrompts(source).prompts);
            await writeJson({
              seed,
              prompts: sentences.map((s, i) => ({ ...s, tokens: cases[i].tokens, roles: cases[i].roles })),
            });
          } else if (o.out === undefined) await writeText(source);
          if (o.out !== undefined) writeFileSync(o.out, source);
        } finally {
          await engine.close();
        }
      },
    );
}

/** The paper's experiments, one command each. */
export function addExperiments(program: Command, context: Context): void {
  addIoi(program, context);
  for (const e of EXPERIMENTS) addExperiment(program, context, e);
}
