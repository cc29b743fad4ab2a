import {
  type CodeAction,
  CodeActionKind,
  type CompletionItem,
  CompletionItemKind,
  type Diagnostic,
  InsertTextFormat,
  type Range,
  type TextEdit,
} from 'vscode-languageserver';
import { type TextDocument } from 'vscode-languageserver-textdocument';
import { type Prediction } from '../analyses';
import { type FilePrompt } from '../prompts';
import { percent } from '../text';
import { type Code } from './diagnostics';

const DIRECTIVES: { label: string; snippet: string; detail: string }[] = [
  { label: '@bos', snippet: '@bos ${1|true,false|}', detail: 'whether BOS goes in front of the prompts below' },
  { label: '@name', snippet: '@name ${1:name}', detail: 'the name of the next prompt' },
];

/** Directives for a line that begins with @. The whole start of the line is replaced. */
export function directiveCompletions(typed: Range): CompletionItem[] {
  return DIRECTIVES.map(({ label, snippet, detail }) => ({
    label,
    detail,
    kind: CompletionItemKind.Keyword,
    insertTextFormat: InsertTextFormat.Snippet,
    textEdit: { range: typed, newText: snippet },
  }));
}

/** The likeliest next tokens as answers, for the item being typed on a `->` line. */
export function answerCompletions(typed: Range, top: Prediction['top']): CompletionItem[] {
  return top
    .filter((p) => p.text !== null)
    .map((p, i) => ({
      label: JSON.stringify(p.text),
      detail: percent(p.probability),
      kind: CompletionItemKind.Value,
      sortText: String(i).padStart(4, '0'),
      textEdit: { range: typed, newText: JSON.stringify(p.text) },
    }));
}

/** Where the answer being typed on a `->` line begins: after the arrow or the last bar outside quotes. */
export function answerStart(line: string, character: number): number {
  let quoted = false;
  let start = 2;
  for (let i = 2; i < character; i++) {
    if (line[i] === '\\') i++;
    else if (line[i] === '"') quoted = !quoted;
    else if (line[i] === '|' && !quoted) start = i + 1;
  }
  while (start < character && line[start] === ' ') start++;
  return start;
}

/** A prompt's text as it is written in a file: escaped or fenced where it must be. */
function written(text: string): string {
  if (text.includes('\n')) return `\`\`\`\n${text}\n\`\`\``;
  return /^(#|@|->|```|\\)/.test(text) || text.trim() === '' ? `\\${text}` : text;
}

const swap = (text: string, a: string, b: string): string =>
  text
    .split(a)
    .map((part) => part.replaceAll(b, a))
    .join(b);

/** Corruptions that keep a prompt's sense of place: what they are called and what they make of the text. */
function twins(p: FilePrompt): { what: string; text: string; answers: string[] }[] {
  const out: { what: string; text: string; answers: string[] }[] = [];
  if (p.text.includes(' and ')) {
    out.push({ what: '‘ and’ → ‘ alongside’', text: p.text.replace(' and ', ' alongside '), answers: p.answers });
  }
  const [a, b] = p.answers.map((x) => x.trim());
  if (a && b && a !== b && p.text.includes(a) && p.text.includes(b)) {
    out.push({ what: `${a} ↔ ${b}`, text: swap(p.text, a, b), answers: p.answers });
  }
  return out;
}

/** Line after a prompt, its fence and its answers. */
function lineAfter(document: TextDocument, p: FilePrompt): number {
  const last = document.positionAt(p.answerRanges.at(-1)?.end ?? p.start + p.text.length).line;
  const fenced =
    p.answerRanges.length === 0 &&
    p.line > 0 &&
    document.getText({ start: { line: p.line - 1, character: 0 }, end: { line: p.line - 1, character: 3 } }) === '```';
  return last + (fenced ? 2 : 1);
}

function insertedAt(document: TextDocument, line: number, text: string): TextEdit {
  const end = document.positionAt(document.getText().length);
  if (line > end.line) return { range: { start: end, end }, newText: `\n${text}` };
  const at = { line, character: 0 };
  return { range: { start: at, end: at }, newText: `${text}\n` };
}

function freeName(name: string, names: ReadonlySet<string>): string {
  let free = `${name}-twin`;
  for (let i = 2; names.has(free); i++) free = `${name}-twin-${i}`;
  return free;
}

/** What can be done to the prompt under the cursor, and fixes of what is reported there. */
export function codeActions(
  document: TextDocument,
  p: FilePrompt,
  all: readonly FilePrompt[],
  diagnostics: readonly Diagnostic[],
): CodeAction[] {
  const { uri } = document;
  const action = (title: string, kind: string, edits: TextEdit[], fixes?: Diagnostic): CodeAction => ({
    title,
    kind,
    edit: { changes: { [uri]: edits } },
    ...(fixes ? { diagnostics: [fixes], isPreferred: true } : {}),
  });
  const out: CodeAction[] = [];
  for (const d of diagnostics.filter((x) => x.code === ('trailing-space' satisfies Code))) {
    out.push(
      action('Remove the white space at the end', CodeActionKind.QuickFix, [{ range: d.range, newText: '' }], d),
    );
  }
  const names = new Set(all.flatMap((x) => (x.name === null ? [] : [x.name])));
  for (const t of twins(p)) {
    const name = p.name === null ? '' : `@name ${freeName(p.name, names)}\n`;
    const answers = t.answers.length > 0 ? `\n-> ${t.answers.map((a) => JSON.stringify(a)).join(' | ')}` : '';
    const edit = insertedAt(document, lineAfter(document, p), `\n${name}${written(t.text)}${answers}`);
    out.push(action(`Make the corrupted twin (${t.what})`, CodeActionKind.RefactorRewrite, [edit]));
  }
  if (p.answers.length > 1) {
    const [a, b] = p.answerRanges.map((r) => ({
      start: document.positionAt(r.start),
      end: document.positionAt(r.end),
    }));
    const edits = [
      { range: a, newText: document.getText(b) },
      { range: b, newText: document.getText(a) },
    ];
    out.push(action('Swap answer and distractor', CodeActionKind.RefactorRewrite, edits));
  }
  if (!p.bos) {
    const fence = p.text.includes('\n') ? 1 : 0;
    const edits = [insertedAt(document, p.line - fence, '@bos true')];
    const following = all.some((x) => x.start > p.start && !x.bos);
    if (following) edits.push(insertedAt(document, lineAfter(document, p), '@bos false'));
    out.push(action('Put BOS in front of this prompt', CodeActionKind.RefactorRewrite, edits));
  }
  return out;
}
