import * as vscode from 'vscode';
import { type PromptRef } from '../../../server/protocol';

/** Where a prompt stands in a text: an occurrence that fills its line(s), nearest to `near`. −1 when it is not there. */
export function findPrompt(source: string, text: string, near: number): number {
  const offsets: number[] = [];
  for (let at = source.indexOf(text); at >= 0 && offsets.length < 1000; at = source.indexOf(text, at + 1)) {
    const before = at === 0 || source[at - 1] === '\n' || source[at - 1] === '\\';
    const after = source[at + text.length];
    if (before && (after === undefined || after === '\n' || after === '\r')) offsets.push(at);
  }
  return offsets.reduce((best, o) => (best < 0 || Math.abs(o - near) < Math.abs(best - near) ? o : best), -1);
}

/** Follows a prompt through the edits of its document. */
export class PromptAnchor {
  /** UTF-16 offset of the prompt's start, moved along with edits before it; −1 while it has never been found. */
  offset = -1;

  constructor(
    readonly uri: string,
    private readonly prompt: PromptRef,
  ) {}

  get document(): vscode.TextDocument | undefined {
    return vscode.workspace.textDocuments.find((d) => d.uri.toString() === this.uri);
  }

  /** Whether the prompt's text stands in the document as it was analysed. */
  present(): boolean {
    const { document } = this;
    if (!document) return true;
    const at = findPrompt(document.getText(), this.prompt.text, Math.max(0, this.offset));
    if (at >= 0) this.offset = at;
    return at >= 0;
  }

  /** Moves along with an edit. */
  edited(e: vscode.TextDocumentChangeEvent): void {
    for (const c of e.contentChanges) {
      if (c.rangeOffset + c.rangeLength <= this.offset) this.offset += c.text.length - c.rangeLength;
    }
  }

  /** The range of part of the prompt's text, or null when it is not in an open document. */
  range(start: number, end: number): vscode.Range | null {
    const { document } = this;
    if (!document || !this.present()) return null;
    return new vscode.Range(document.positionAt(this.offset + start), document.positionAt(this.offset + end));
  }
}
