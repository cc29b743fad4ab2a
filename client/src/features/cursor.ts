/** Tells the server which token the cursor is on, so that its lens follows; and others in the extension likewise. */
import * as vscode from 'vscode';
import { LANGUAGE } from '../../../server/protocol';
import { type Server } from '../server';

const DELAY_MS = 120;

export interface Place {
  uri: string;
  offset: number;
}

/** The place of the cursor in the active prompt file, or null. */
export function cursorPlace(): Place | null {
  const editor = vscode.window.activeTextEditor;
  if (editor?.document.languageId !== LANGUAGE) return null;
  return { uri: editor.document.uri.toString(), offset: editor.document.offsetAt(editor.selection.active) };
}

export class CursorFollower implements vscode.Disposable {
  private readonly disposables: vscode.Disposable[] = [];
  private readonly emitter = new vscode.EventEmitter<Place>();
  private timer: NodeJS.Timeout | undefined;
  /** The cursor has come to rest in a prompt file. */
  readonly onDidRest = this.emitter.event;

  constructor(private readonly server: Server) {
    const later = (): void => {
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.rest(), DELAY_MS);
    };
    this.disposables.push(
      this.emitter,
      vscode.window.onDidChangeTextEditorSelection(later),
      vscode.window.onDidChangeActiveTextEditor(later),
      vscode.workspace.onDidChangeTextDocument(later),
      server.onDidStart(later),
    );
    later();
  }

  private rest(): void {
    const place = cursorPlace();
    if (!place) return;
    void this.server.notify('attentionCircuits/cursor', place);
    this.emitter.fire(place);
  }

  dispose(): void {
    clearTimeout(this.timer);
    for (const d of this.disposables) d.dispose();
  }
}
