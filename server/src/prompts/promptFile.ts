/** A prompt of a file. `start` is the UTF-16 offset of its first character. */
export interface FilePrompt {
  text: string;
  start: number;
  /** Where the text does not stand as it is, but with escapes: offset from `start` of each of its UTF-16 units, and of its end. */
  places?: readonly number[];
  /** Line of its first character, from 0. */
  line: number;
  name: string | null;
  /** Whether BOS goes in front. */
  bos: boolean;
  /** Answer and distractors, as written after `->`; empty without an answer line. */
  answers: string[];
  /** Where each answer stands, quotes included: UTF-16 offsets. */
  answerRanges: { start: number; end: number }[];
}

/** Offset behind the last character of a prompt in its file. */
export const endOfPrompt = (p: FilePrompt): number => p.start + (p.places?.at(-1) ?? p.text.length);

/** Offset in its file of an offset in a prompt's text. */
export const placeInFile = (p: FilePrompt, at: number): number => p.start + (p.places?.[at] ?? at);

/** Offset in a prompt's text of an offset in its file; within an escape, that of its character. */
export function offsetInText(p: FilePrompt, offset: number): number {
  const at = offset - p.start;
  return p.places ? p.places.findLastIndex((x) => x <= at) : at;
}

/** Something in a file that is not understood. */
export interface PromptProblem {
  line: number;
  message: string;
}

export interface PromptFile {
  prompts: FilePrompt[];
  problems: PromptProblem[];
}

interface Line {
  text: string;
  start: number;
  number: number;
}

function linesOf(source: string): Line[] {
  const lines: Line[] = [];
  let start = 0;
  for (const raw of source.split('\n')) {
    lines.push({ text: raw.endsWith('\r') ? raw.slice(0, -1) : raw, start, number: lines.length });
    start += raw.length + 1;
  }
  return lines;
}

type Answers = Pick<FilePrompt, 'answers' | 'answerRanges'>;

/** Answers of a `->` line: JSON strings between bars. Null when they are not. */
function parseAnswers(line: Line): Answers | null {
  const found: Answers = { answers: [], answerRanges: [] };
  const item = /\s*("(?:[^"\\]|\\.)*")\s*(\||$)/y;
  item.lastIndex = 2;
  for (;;) {
    const from = item.lastIndex;
    const [whole, quoted, separator] = item.exec(line.text) ?? [];
    if (whole === undefined) return null;
    try {
      found.answers.push(JSON.parse(quoted) as string);
    } catch {
      return null;
    }
    const start = line.start + from + whole.indexOf('"');
    found.answerRanges.push({ start, end: start + quoted.length });
    if (separator === '') return found;
  }
}

class Parser {
  readonly prompts: FilePrompt[] = [];
  readonly problems: PromptProblem[] = [];
  private readonly names = new Set<string>();
  private bos = true;
  private name: string | null = null;
  private fence: { line: Line; body: Line[] } | null = null;

  constructor(private readonly source: string) {}

  private problem(line: Line, message: string): void {
    this.problems.push({ line: line.number, message });
  }

  private add(text: string, start: number, line: Line): void {
    const { name } = this;
    if (name !== null && this.names.has(name)) this.problem(line, `the name "${name}" is taken`);
    if (name !== null) this.names.add(name);
    this.prompts.push({ text, start, line: line.number, name, bos: this.bos, answers: [], answerRanges: [] });
    this.name = null;
  }

  private directive(line: Line): void {
    const [, word, value] = /^@(\S*)\s*(.*?)\s*$/.exec(line.text) ?? [];
    if (word === 'name' && value) this.name = value;
    else if (word === 'bos' && (value === 'true' || value === 'false')) this.bos = value === 'true';
    else if (word === 'bos') this.problem(line, `@bos expects true or false, got "${value}"`);
    else if (word === 'name') this.problem(line, '@name expects a name');
    else this.problem(line, `unknown directive @${word}; there are @bos and @name`);
  }

  private answer(line: Line): void {
    const last = this.prompts.at(-1);
    const found = parseAnswers(line);
    if (!last) this.problem(line, 'an answer needs a prompt above it');
    else if (!found) this.problem(line, 'expected answers as JSON strings: -> " Mary" | " John"');
    else Object.assign(last, found);
  }

  line(line: Line): void {
    const { text } = line;
    if (this.fence) {
      if (text.startsWith('```')) this.closeFence();
      else this.fence.body.push(line);
    } else if (text.startsWith('```')) this.fence = { line, body: [] };
    else if (text.trim() === '' || text.startsWith('#')) return;
    else if (text.startsWith('@')) this.directive(line);
    else if (text.startsWith('->')) this.answer(line);
    else if (text.startsWith('\\')) this.add(text.slice(1), line.start + 1, line);
    else this.add(text, line.start, line);
  }

  private closeFence(): void {
    const { line, body } = this.fence ?? { line: { text: '', start: 0, number: 0 }, body: [] };
    this.fence = null;
    const first = body[0];
    const last = body[body.length - 1];
    if (first) this.add(this.source.slice(first.start, last.start + last.text.length), first.start, first);
    else this.problem(line, 'the fenced prompt is empty');
  }

  end(): void {
    if (this.fence) this.problem(this.fence.line, 'the fence is not closed');
  }
}

/**
 * Parses a prompt file: comments `#`, directives `@bos` and `@name`, one prompt a line taken verbatim (a leading `\` escapes), fenced
 * prompts with newlines, answers `-> " Mary" | " John"` for the prompt above. What is not understood is reported, the rest is read.
 */
export function parsePrompts(source: string): PromptFile {
  const parser = new Parser(source);
  for (const line of linesOf(source)) parser.line(line);
  parser.end();
  return { prompts: parser.prompts, problems: parser.problems };
}
