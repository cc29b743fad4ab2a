import { type TextDocument } from 'vscode-languageserver-textdocument';
import { LANGUAGE, type LocatedToken, type PromptRef, type WireToken } from '../../protocol';
import { type Engine, type Prompt } from '../engine';
import {
  endOfPrompt,
  type FilePrompt,
  markdownPrompts,
  offsetInText,
  parsePrompts,
  type PromptFile,
  pythonPrompts,
  type SourcePrompts,
} from '../prompts';

/** Files of more characters are not read as prompts. */
export const MAX_FILE = 5_000_000;
/** Prompts that get lenses, symbols and hints; all get diagnostics and hovers. */
export const MAX_LENSED = 1000;

/** Whether a document is a prompt file, not source code with prompts in it. */
export const isPromptFile = (d: TextDocument): boolean => d.languageId === LANGUAGE;

const NOTHING: SourcePrompts = { prompts: [], notes: [] };

/** Prompts in source code, by language. */
function sourcePrompts(d: TextDocument): SourcePrompts {
  const text = d.getText();
  if (text.length > MAX_FILE) return NOTHING;
  if (d.languageId === 'python') return pythonPrompts(text);
  return d.languageId === 'markdown' ? markdownPrompts(text) : NOTHING;
}

const EMPTY: PromptFile = { prompts: [], problems: [] };

/** A document's prompts, parsed once a version. */
export class ParsedDocuments {
  private readonly sources = new WeakMap<TextDocument, { version: number; found: SourcePrompts }>();
  private readonly parsed = new WeakMap<TextDocument, { version: number; file: PromptFile }>();

  /** Prompts in source code, and what cannot be known. */
  source(document: TextDocument): SourcePrompts {
    const have = this.sources.get(document);
    if (have?.version === document.version) return have.found;
    const found = sourcePrompts(document);
    this.sources.set(document, { version: document.version, found });
    return found;
  }

  /** Prompts and problems of a document; none for one that is too large. */
  file(document: TextDocument): PromptFile {
    const have = this.parsed.get(document);
    if (have?.version === document.version) return have.file;
    const text = document.getText();
    if (!isPromptFile(document)) return { prompts: this.source(document).prompts, problems: [] };
    const file = text.length > MAX_FILE ? EMPTY : parsePrompts(text);
    this.parsed.set(document, { version: document.version, file });
    return file;
  }

  /** The prompt in whose text an offset lies, ends included. */
  promptAt(document: TextDocument, offset: number): FilePrompt | null {
    const { prompts } = this.file(document);
    let lo = 0;
    let hi = prompts.length - 1;
    while (lo <= hi) {
      const mid = (lo + hi) >> 1;
      const p = prompts[mid];
      if (offset < p.start) hi = mid - 1;
      else if (offset > endOfPrompt(p)) lo = mid + 1;
      else return p;
    }
    return null;
  }
}

export const refOf = (p: FilePrompt): PromptRef => ({ text: p.text, bos: p.bos });

/** Tokens as they go over the wire. */
export function wireTokens(engine: Engine, prompt: Prompt): WireToken[] {
  return prompt.tokens.map((id, position) => {
    const range = prompt.ranges[position];
    const text = engine.tokenizer?.text(id) ?? String(id);
    return { position, id, text, ...(range ? { start: range.start, end: range.end } : {}) };
  });
}

/** The token at an offset of a prompt's text: the one that covers it, or the last one at the end. Null for an empty prompt. */
export function tokenAt(tokens: readonly WireToken[], offset: number): WireToken | null {
  const covering = tokens.find(
    (t) => t.start !== undefined && t.end !== undefined && t.start <= offset && offset < t.end,
  );
  return covering ?? tokens.findLast((t) => t.end === offset) ?? null;
}

/** The token of a document at an offset. `tokensOf` gives a prompt's tokens, or null for one that cannot be analysed. */
export function locate(
  parsed: ParsedDocuments,
  document: TextDocument,
  tokensOf: (p: PromptRef) => WireToken[] | null,
  offset: number,
): LocatedToken | null {
  const p = parsed.promptAt(document, offset);
  const tokens = p && tokensOf(refOf(p));
  const token = p && tokens && tokenAt(tokens, offsetInText(p, offset));
  return token ? { prompt: refOf(p), offset: p.start, verbatim: !p.places, token, tokens } : null;
}
