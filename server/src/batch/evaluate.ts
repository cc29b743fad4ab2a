import { type CorpusText, listCorpus } from '../corpus';
import { type Engine } from '../engine';
import { type DictionaryKind } from '../dictionaries';
import { EngineError, UsageError } from '../errors';
import { answerTokens, cleanOf, sectionsOf, sitesOfLayers, spliceAndZero, whatIsLeft } from '../experiments';
import { eachText, type FolderOptions, type FolderResult, needTokenizer, weightsOf } from './common';
import { type Columns, type Row, writeTable } from './table';

export interface EvaluateFolderOptions extends FolderOptions {
  /** Sets of layers, such as 0,3;5-6; empty for each layer and all of them. */
  sections: string;
  kind: DictionaryKind;
}

/** Columns of the result, one row for each set of layers of each prompt. */
const COLUMNS: Columns = [
  ['file', 'STRING'],
  ['line', 'INT32'],
  ['name', 'STRING'],
  ['prompt', 'STRING'],
  ['tokens', 'INT32'],
  ['answer', 'STRING'],
  ['distractor', 'STRING'],
  ['layers', 'STRING'],
  ['clean_logit_difference', 'DOUBLE'],
  ['logit_difference', 'DOUBLE'],
  ['zero_logit_difference', 'DOUBLE'],
  ['clean_loss', 'DOUBLE'],
  ['loss', 'DOUBLE'],
  ['zero_loss', 'DOUBLE'],
  ['kl', 'DOUBLE'],
  ['zero_kl', 'DOUBLE'],
];

interface Item {
  text: CorpusText;
  tokens: number[];
  answer: number | null;
  distractor: number | null;
  fraction: number;
}

async function rowsOf(engine: Engine, c: Item, sections: number[][], o: EvaluateFolderOptions): Promise<Row[]> {
  const run = await engine.run(c.tokens, undefined, o.signal);
  const clean = await cleanOf(engine, run.trace, c);
  const [answer = null, distractor = null] = c.text.answers;
  const rows: Row[] = [];
  for (const layers of sections) {
    const sites = sitesOfLayers(engine, o.kind, layers);
    const { spliced, zero } = await spliceAndZero(engine, run, sites, false, o.signal);
    const [s, z] = [await whatIsLeft(engine, spliced, clean, c), await whatIsLeft(engine, zero, clean, c)];
    const what = [c.text.file, c.text.line, c.text.name, c.text.text, c.tokens.length, answer, distractor];
    rows.push([...what, layers.join(','), clean.ld, s.ld, z.ld, clean.loss, s.loss, z.loss, s.kl, z.kl]);
  }
  return rows;
}

/**
 * Splices the dictionaries of sets of layers into the model for every prompt of a folder or file, and measures what is kept: one row a prompt
 * and set, as CSV or Parquet. Prompts are those of .prompts files and rows of .jsonl with `prompt` (and `answers`, or `answer` and `distractor`);
 * running text is no prompt. Without an answer and a distractor the logit differences are null. Goes on after an interruption. Throws
 * UsageError, InputFileError, CancelledError.
 */
export async function evaluateFolder(engine: Engine, folder: string, o: EvaluateFolderOptions): Promise<FolderResult> {
  needTokenizer(engine, 'evaluating');
  const sections = sectionsOf(engine, o.sections).filter((layers) => sitesOfLayers(engine, o.kind, layers).length > 0);
  if (sections.length === 0)
    throw new UsageError(
      `there is no ${o.kind} dictionary on ${o.sections === '' ? 'any layer' : `layers ${o.sections}`}`,
    );
  const listing = listCorpus(folder);
  const skipped: string[] = [];
  function* prompts(): Generator<Item> {
    for (const { text, file, fraction } of eachText(listing)) {
      if (text.kind !== 'prompt') continue;
      try {
        const { tokens } = engine.prompt(text.text, text.bos);
        engine.model.checkTokens(tokens);
        yield { text, tokens, ...answerTokens(engine, text.answers), fraction };
      } catch (e) {
        if (!(e instanceof EngineError)) throw e;
        skipped.push(`${file.path}, line ${text.line + 1}: ${e.message}`);
      }
    }
  }
  const { items, rows } = await writeTable({
    out: o.out,
    columns: COLUMNS,
    identity: ['evaluate', listing.folder, listing.stamp, weightsOf(engine), o.sections, o.kind],
    items: prompts(),
    rowsOf: async (item) => {
      await o.step?.(item.text.file, item.fraction);
      return rowsOf(engine, item, sections, o);
    },
    signal: o.signal,
  });
  return { contexts: items, rows, skipped: skipped.length, reason: skipped[0] ?? null, out: o.out };
}
