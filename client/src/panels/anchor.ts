import * as vscode from 'vscode';
import { LANGUAGE, type PromptRef } from '../../../server/protocol';
import { findPrompt } from './findPrompt';

/** Follows a prompt through the edits of its document. */
export class PromptAnchor {
  /** UTF-16 offset of the prompt's start, moved along with edits before it; −1 while it has never been found. */
  offset = -1;

  /** As the editor writes it. */
  readonly uri: string;

  constructor(
    uri: string,
    private readonly prompt: PromptRef,
  ) {
    this.uri = vscode.Uri.parse(uri).toString();
  }

  get document(): vscode.TextDocument | undefined {
    return vscode.workspace.textDocuments.find((d) => d.uri.toString() === this.uri);
  }

  /** Whether the prompt's text stands in the document as it was analysed. */
  present(): boolean {
    const { document } = this;
    if (!document) return true;
    const lines = document.languageId === LANGUAGE;
    const at = findPrompt(document.getText(), this.prompt.text, Math.max(0, this.offset), lines);
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
