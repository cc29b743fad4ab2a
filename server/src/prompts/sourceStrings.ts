import { type FilePrompt, parsePrompts } from './promptFile';

/** What is found in source code: prompts, and strings that look like some but cannot be known. */
export interface SourcePrompts {
  prompts: FilePrompt[];
  notes: { start: number; message: string }[];
}

const NAMES = /prompt|text|sentence/i;
const CALLS: ReadonlySet<string> = new Set([
  'to_tokens',
  'to_str_tokens',
  'run_with_cache',
  'run_with_hooks',
  'generate',
]);
const MARK = /^#\s*prompt\b/;
const MIN_LENGTH = 2;

interface Token {
  kind: 'name' | 'op' | 'string' | 'comment' | 'newline';
  text: string;
  start: number;
}

/** Lines of a text by offset, from 1. */
function linesOf(source: string): (at: number) => number {
  const starts = [0];
  for (let i = source.indexOf('\n'); i >= 0; i = source.indexOf('\n', i + 1)) starts.push(i + 1);
  return (at) => {
    let lo = 0;
    let hi = starts.length;
    while (lo + 1 < hi) {
      const mid = (lo + hi) >> 1;
      if (starts[mid] <= at) lo = mid;
      else hi = mid;
    }
    return lo + 1;
  };
}

/** Python's tokens as far as strings need them. What is not understood is passed over. */
function tokensOf(source: string): Token[] {
  const token =
    /(?<comment>#[^\n]*)|(?<string>\b[rbuf]{0,2}(?:"""(?:[^\\]|\\[^])*?"""|'''(?:[^\\]|\\[^])*?'''|"(?:[^"\\\n]|\\[^])*"|'(?:[^'\\\n]|\\[^])*')|(?:"""(?:[^\\]|\\[^])*?"""|'''(?:[^\\]|\\[^])*?'''|"(?:[^"\\\n]|\\[^])*"|'(?:[^'\\\n]|\\[^])*'))|(?<name>[A-Za-z_]\w*)|(?<newline>\n)|(?<op>[^\s\w])/giy;
  const out: Token[] = [];
  for (let at = 0; at < source.length;) {
    token.lastIndex = at;
    const m = token.exec(source);
    if (!m) {
      at++;
      continue;
    }
    const [kind] = Object.entries(m.groups ?? {}).find(([, v]) => v !== undefined) ?? ['op'];
    out.push({ kind: kind as Token['kind'], text: m[0], start: m.index });
    at = token.lastIndex;
  }
  return out;
}

const ESCAPES: Readonly<Record<string, string>> = {
  n: '\n',
  t: '\t',
  r: '\r',
  '\\': '\\',
  "'": "'",
  '"': '"',
  '\n': '',
};

/** A string literal's value; null for bytes, f-strings and escapes that are not known here. */
function valueOf(literal: string): { text: string; at: number; places?: number[] } | null {
  const [, prefix, quotes] = /^([a-z]*)("""|'''|"|')/i.exec(literal) ?? [];
  if (quotes === undefined || /[bf]/i.test(prefix)) return null;
  const at = prefix.length + quotes.length;
  const body = literal.slice(at, literal.length - quotes.length);
  if (/r/i.test(prefix) || !body.includes('\\')) return { text: body, at };
  let text = '';
  const places: number[] = [];
  for (let i = 0; i < body.length; i++) {
    const escaped = body[i] === '\\';
    if (escaped && !Object.hasOwn(ESCAPES, body[i + 1])) return null;
    const value = escaped ? ESCAPES[body[i + 1]] : body[i];
    if (value !== '') places.push(i);
    text += value;
    if (escaped) i++;
  }
  return { text, at, places: [...places, body.length] };
}

interface Context {
  bracket: string;
  /** What the bracket belongs to: a function that is called, or a name that is assigned. */
  owner: string;
  /** Name before = or key before : at this level. */
  key: string;
}

class Finder {
  readonly found: SourcePrompts = { prompts: [], notes: [] };
  private readonly stack: Context[] = [{ bracket: '', owner: '', key: '' }];
  private previous: Token | null = null;
  /** Name before the type of an annotated assignment. */
  private annotated = '';

  constructor(
    private readonly lineOf: (at: number) => number,
    private readonly offset: number,
    private readonly marked: ReadonlySet<number>,
  ) {}

  private get top(): Context {
    return this.stack[this.stack.length - 1];
  }

  private wanted(t: Token): boolean {
    const { owner, key } = this.top;
    const line = this.lineOf(t.start);
    if (this.marked.has(line)) return true;
    if (key !== '') return NAMES.test(key);
    return CALLS.has(owner) || (this.top.bracket !== '(' && NAMES.test(owner));
  }

  private string(t: Token, next: Token | undefined): void {
    // A key of a dictionary is no prompt.
    if (next?.text === ':' && this.top.bracket === '{') return;
    if (!this.wanted(t)) return;
    const start = this.offset + t.start;
    const value = valueOf(t.text);
    if (!value) {
      const f = /^[a-z]*f/i.test(t.text);
      const message = f ? 'an f-string: its text is not known here' : 'its text is not known here';
      this.found.notes.push({ start, message });
      return;
    }
    if (value.text.trim().length < MIN_LENGTH) return;
    const line = this.lineOf(t.start) - 1;
    const { text, places } = value;
    this.found.prompts.push({
      text,
      start: start + value.at,
      line,
      name: null,
      bos: true,
      answers: [],
      answerRanges: [],
      ...(places ? { places } : {}),
    });
  }

  /** Names before = and keys before : say what follows; brackets have what they belong to. */
  private operator(t: Token, next: Token | undefined): void {
    const { previous } = this;
    const outside = this.stack.length === 1;
    if (t.text === ':' && previous?.kind === 'name' && outside) this.annotated = previous.text;
    const assigned = (outside && this.annotated) || (previous?.kind === 'name' ? previous.text : '');
    if (t.text === '=' && assigned !== '' && next?.text !== '=') this.top.key = assigned;
    else if (t.text === ':' && previous?.kind === 'string' && this.top.bracket === '{') this.top.key = previous.text;
    else if (t.text === ',') this.top.key = '';
    else this.bracket(t);
  }

  private bracket(t: Token): void {
    if ('([{'.includes(t.text)) {
      const called = t.text === '(' && this.previous?.kind === 'name' ? this.previous.text : '';
      this.stack.push({ bracket: t.text, owner: called || this.top.key || this.top.owner, key: '' });
    } else if (')]}'.includes(t.text) && this.stack.length > 1) this.stack.pop();
  }

  take(t: Token, next: Token | undefined): void {
    if (t.kind === 'comment') return;
    if (t.kind === 'newline') {
      if (this.stack.length > 1) return;
      this.top.key = '';
      this.annotated = '';
      return;
    }
    if (t.kind === 'string') this.string(t, next);
    else if (t.kind === 'op') this.operator(t, next);
    this.previous = t;
  }
}

/**
 * Prompt strings in Python: assigned to names like prompt, text or sentence (elements of lists and values under such keys too), arguments of
 * to_tokens, run_with_cache, generate and the like, and whatever stands on or below a line with a comment `# prompt`. No exact syntax is asked
 * for. `offset` is added to all places.
 */
export function pythonPrompts(source: string, offset = 0): SourcePrompts {
  const tokens = tokensOf(source);
  const marked = new Set<number>();
  const lineOf = linesOf(source);
  const text = source.split('\n');
  for (const t of tokens) {
    if (t.kind !== 'comment' || !MARK.test(t.text)) continue;
    const line = lineOf(t.start);
    marked.add(line);
    if (text[line - 1].trim().startsWith('#')) marked.add(line + 1);
  }
  const finder = new Finder(lineOf, offset, marked);
  tokens.forEach((t, i) => finder.take(t, tokens[i + 1]));
  return finder.found;
}

/** Prompts in the code blocks of a Markdown file: ```prompts as a prompt file, ```python as Python. */
export function markdownPrompts(source: string): SourcePrompts {
  const out: SourcePrompts = { prompts: [], notes: [] };
  const block = /^(`{3,}|~{3,})[ \t]*(\w*)[^\n]*\n([^]*?)^\1[ \t]*$/gm;
  for (const m of source.matchAll(block)) {
    const [whole, , language, body] = m;
    const start = m.index + whole.indexOf('\n') + 1;
    const line = source.slice(0, start).split('\n').length - 1;
    const found: SourcePrompts =
      language === 'prompts'
        ? {
            prompts: parsePrompts(body).prompts.map((p) => ({ ...p, start: p.start + start })),
            notes: [],
          }
        : /^py(thon)?$/i.test(language)
          ? pythonPrompts(body, start)
          : { prompts: [], notes: [] };
    out.prompts.push(...found.prompts.map((p) => ({ ...p, line: p.line + line })));
    out.notes.push(...found.notes);
  }
  return out;
}
