import * as vscode from 'vscode';

let channel: vscode.LogOutputChannel | null = null;

/** The extension's one log channel, made on first use. */
export function log(): vscode.LogOutputChannel {
  channel ??= vscode.window.createOutputChannel('Attention Circuits', { log: true });
  return channel;
}

/** Shows an error with a button that opens the log. */
export async function showError(message: string, ...buttons: { title: string; run: () => unknown }[]): Promise<void> {
  const all = [...buttons, { title: 'Show Log', run: (): void => log().show() }];
  const chosen = await vscode.window.showErrorMessage(`Attention Circuits: ${message}`, ...all.map((b) => b.title));
  await all.find((b) => b.title === chosen)?.run();
}

/** A command has nothing to work on; the message says what to do. Shown as information, not as an error. */
export class NothingHere extends Error {}
