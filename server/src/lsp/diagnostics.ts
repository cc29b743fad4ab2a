import { type Diagnostic, DiagnosticSeverity } from 'vscode-languageserver';
import { type TextDocument } from 'vscode-languageserver-textdocument';
import { type Engine } from '../engine';
import { EngineError } from '../errors';
import { type FilePrompt } from '../prompts';
import { quote } from '../text';
import { MAX_FILE, type ParsedDocuments, refOf } from './documents';

export const SOURCE = 'Attention Circuits';

export type Code = 'syntax' | 'file-too-large' | 'prompt' | 'answer-tokens' | 'trailing-space';

interface Finding {
  start: number;
  end: number;
  message: string;
  code: Code;
  severity: DiagnosticSeverity;
}

const toDiagnostic = (document: TextDocument, f: Finding): Diagnostic => ({
  range: { start: document.positionAt(f.start), end: document.positionAt(f.end) },
  message: f.message,
  code: f.code,
  severity: f.severity,
  source: SOURCE,
});

/** What can be said without a model: lines that are not understood, and files too large to read. */
export function syntaxDiagnostics(document: TextDocument, parsed: ParsedDocuments): Diagnostic[] {
  const text = document.getText();
  if (text.length > MAX_FILE) {
    const message = `This file has ${text.length} characters; up to ${MAX_FILE} are read as prompts. Split it to analyse it.`;
    return [
      toDiagnostic(document, {
        start: 0,
        end: 1,
        message,
        code: 'file-too-large',
        severity: DiagnosticSeverity.Warning,
      }),
    ];
  }
  return parsed.file(document).problems.map(({ line, message }) => ({
    range: { start: { line, character: 0 }, end: { line, character: Number.MAX_SAFE_INTEGER } },
    message,
    code: 'syntax' satisfies Code,
    severity: DiagnosticSeverity.Error,
    source: SOURCE,
  }));
}

function trailingSpace(engine: Engine, p: FilePrompt, ids: number[]): Omit<Finding, 'start' | 'end'> | null {
  const trimmed = p.text.trimEnd();
  if (trimmed === p.text || trimmed === '') return null;
  const last = engine.tokenizer?.text(ids[ids.length - 1]) ?? '';
  if (last.trim() !== '') return null;
  return {
    message: `The prompt ends in white space, which is a token of its own, ${quote(last)} @${ids.length - 1}. Words are predicted with their leading space, so the model is asked something else than without it.`,
    code: 'trailing-space',
    severity: DiagnosticSeverity.Warning,
  };
}

/** What the tokenizer has to say about one prompt: too long or not analysable, trailing space, answers of several tokens. */
function promptFindings(engine: Engine, p: FilePrompt): Finding[] {
  const end = p.start + p.text.length;
  const found: Finding[] = [];
  try {
    const { tokens } = engine.prompt(p.text, p.bos);
    engine.model.checkTokens(tokens);
    const space = trailingSpace(engine, p, tokens);
    if (space) found.push({ ...space, start: p.start + p.text.trimEnd().length, end });
  } catch (e) {
    if (!(e instanceof EngineError)) throw e;
    found.push({ start: p.start, end, message: e.message, code: 'prompt', severity: DiagnosticSeverity.Error });
  }
  p.answers.forEach((answer, i) => {
    try {
      engine.tokenizer?.single(answer);
    } catch (e) {
      if (!(e instanceof EngineError)) throw e;
      found.push({
        ...p.answerRanges[i],
        message: e.message,
        code: 'answer-tokens',
        severity: DiagnosticSeverity.Error,
      });
    }
  });
  return found;
}

/** Findings by prompt content, relative to the prompt, so that unchanged prompts are not tokenized again. */
export class PromptDiagnostics {
  private cache = new Map<string, Finding[]>();
  private engine: Engine | null = null;

  /** Diagnostics of all prompts. `breathe` is called between prompts and may throw to give up. */
  async of(
    document: TextDocument,
    prompts: readonly FilePrompt[],
    engine: Engine,
    breathe: () => Promise<void>,
  ): Promise<Diagnostic[]> {
    if (this.engine !== engine) this.cache = new Map();
    this.engine = engine;
    const out: Diagnostic[] = [];
    let fresh = 0;
    for (const p of prompts) {
      const offsets = p.answerRanges.map((r) => r.start - p.start);
      const key = JSON.stringify([refOf(p), p.answers, offsets]);
      let found = this.cache.get(key);
      if (!found) {
        if (++fresh % 20 === 0) await breathe();
        found = promptFindings(engine, p).map((f) => ({ ...f, start: f.start - p.start, end: f.end - p.start }));
        if (this.cache.size > 20_000) this.cache.clear();
        this.cache.set(key, found);
      }
      out.push(...found.map((f) => toDiagnostic(document, { ...f, start: f.start + p.start, end: f.end + p.start })));
    }
    return out;
  }
}
