import { type Engine } from '../engine';
import { EngineError, UsageError } from '../errors';
import { type FilePrompt } from '../prompts';
import { type Case } from './types';

/** Positions where a sequence of tokens begins. */
function occurrences(tokens: readonly number[], part: readonly number[]): number[] {
  const out: number[] = [];
  for (let i = 0; i + part.length <= tokens.length; i++) if (part.every((t, j) => tokens[i + j] === t)) out.push(i);
  return out;
}

const tokensOf = (engine: Engine, text: string): number[] => engine.prompt(text, false).tokens;

/** A name with and without a space in front, as token sequences: the first word of a prompt has none. */
function spellings(engine: Engine, name: string): number[][] {
  const bare = name.trimStart();
  return [tokensOf(engine, name), ...(bare === name ? [] : [tokensOf(engine, bare)])];
}

/** Where a name stands, by its last tokens, in order. */
function places(engine: Engine, tokens: readonly number[], name: string): number[] {
  const ends = spellings(engine, name).flatMap((s) => occurrences(tokens, s).map((i) => i + s.length - 1));
  return [...new Set(ends)].sort((a, b) => a - b);
}

/**
 * Positions with a role, from the names: IO where the answer stands first, S1 and S2 where the distractor stands first and last, END the
 * last position, `and` the first conjunction between the first two names. A role of a name of several tokens is its last token.
 */
export function rolesOf(
  engine: Engine,
  tokens: readonly number[],
  answer: string | null,
  distractor: string | null,
): Pick<Case, 'roles' | 'template'> {
  const roles: Case['roles'] = { END: tokens.length - 1 };
  let template = 'all';
  if (answer !== null && distractor !== null) {
    const io = places(engine, tokens, answer);
    const s = places(engine, tokens, distractor);
    if (io.length > 0) [roles.IO] = io;
    if (s.length > 0) [roles.S1] = s;
    if (s.length > 1) roles.S2 = s[s.length - 1];
    if (io.length > 0 && s.length > 1) template = io[0] < s[0] ? 'ABBA' : 'BABA';
  }
  const and = occurrences(tokens, tokensOf(engine, ' and'))[0];
  if (and !== undefined) roles.and = and + tokensOf(engine, ' and').length - 1;
  return { roles, template };
}

/** First tokens of an answer and a distractor, where there are such. */
export function answerTokens(engine: Engine, answers: readonly string[]): Pick<Case, 'answer' | 'distractor'> {
  const [answer, distractor] = answers.map((a) => tokensOf(engine, a)[0] ?? null);
  return { answer: answer ?? null, distractor: distractor ?? null };
}

/** Cases of a prompt file. The answer's first token counts. Throws EngineError naming the prompt. */
export function casesOf(engine: Engine, prompts: readonly FilePrompt[]): Case[] {
  return prompts.map((p, i) => {
    const name = p.name ?? `${i + 1}`;
    try {
      const { tokens } = engine.prompt(p.text, p.bos);
      engine.model.checkTokens(tokens);
      const [answer = null, distractor = null] = p.answers;
      const placed = rolesOf(engine, tokens, answer, distractor);
      return { name, text: p.text, tokens, ...answerTokens(engine, p.answers), ...placed };
    } catch (e) {
      if (e instanceof EngineError) throw new UsageError(`prompt ${name}: ${e.message}`);
      throw e;
    }
  });
}

/** One case from token ids, with the ids of answer and distractor if they are known. Only END has a role. */
export function caseOfTokens(tokens: number[], answer: number | null, distractor: number | null): Case {
  return { name: 'tokens', text: null, tokens, answer, distractor, template: 'all', roles: { END: tokens.length - 1 } };
}

/** Throws UsageError unless every case has an answer and a distractor. */
export function needAnswers(cases: readonly Case[]): void {
  const without = cases.find((c) => c.answer === null || c.distractor === null);
  if (without)
    throw new UsageError(
      `prompt ${without.name} has no answer and distractor: add a line -> " answer" | " distractor"`,
    );
  if (cases.length === 0) throw new UsageError('there is no prompt');
}
