import { type DocumentSymbol, type FoldingRange, FoldingRangeKind, SymbolKind } from 'vscode-languageserver';
import { type TextDocument } from 'vscode-languageserver-textdocument';
import { type FilePrompt } from '../prompts';
import { MAX_LENSED } from './documents';

const NAME_LENGTH = 60;

const endOf = (p: FilePrompt): number => p.answerRanges.at(-1)?.end ?? p.start + p.text.length;

/** Each prompt as a symbol: its name, or how it begins; its answers beside it. */
export function documentSymbols(document: TextDocument, prompts: readonly FilePrompt[]): DocumentSymbol[] {
  return prompts.slice(0, MAX_LENSED).map((p) => {
    const text = p.text.replace(/\s+/g, ' ').trim() || '(white space)';
    const start = document.positionAt(p.start);
    return {
      name: p.name ?? text.slice(0, NAME_LENGTH),
      detail: p.answers.map((a) => JSON.stringify(a)).join(' | '),
      kind: SymbolKind.String,
      range: { start, end: document.positionAt(endOf(p)) },
      selectionRange: { start, end: document.positionAt(p.start + p.text.length) },
    };
  });
}

/** Fenced prompts, and runs of comment lines. */
export function foldingRanges(document: TextDocument, prompts: readonly FilePrompt[]): FoldingRange[] {
  const out: FoldingRange[] = [];
  for (const p of prompts) {
    const last = document.positionAt(p.start + p.text.length).line;
    if (last > p.line) out.push({ startLine: p.line - 1, endLine: last + 1 });
  }
  const lines = document.getText().split('\n');
  let from = -1;
  lines.forEach((line, i) => {
    const comment = line.startsWith('#');
    if (comment && from < 0) from = i;
    if (from >= 0 && !comment) {
      if (i - from > 1) out.push({ startLine: from, endLine: i - 1, kind: FoldingRangeKind.Comment });
      from = -1;
    }
  });
  return out;
}
