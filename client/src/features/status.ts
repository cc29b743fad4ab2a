/** The status item: model, provider, memory, health. Click: a menu of what can be done. */
import * as vscode from 'vscode';
import { LANGUAGE, type WireStatus } from '../../../server/protocol';
import { type Server } from '../server';

const megabytes = (bytes: number): string => `${Math.round(bytes / 2 ** 20)} MB`;

const ICONS: Record<WireStatus['phase'], string> = {
  idle: '$(circle-outline)',
  loading: '$(loading~spin)',
  ready: '$(type-hierarchy)',
  failed: '$(error)',
};

/** The item's short text. */
export function statusText(s: WireStatus): string {
  const what = s.phase === 'ready' ? `${s.model} · ${s.provider} · ${megabytes(s.memory)}` : s.phase;
  return `${ICONS[s.phase]} Circuits: ${what}`;
}

/** Everything about the model, one fact a line. */
export function statusDetail(s: WireStatus): string {
  const lines: string[] = [];
  if (s.model)
    lines.push(`Model ${s.model} (${s.n_layers} layers, ${s.n_heads} heads, context ${s.n_ctx})`, `From ${s.path}`);
  if (s.provider)
    lines.push(
      `Provider ${s.provider}`,
      `Server process ${s.pid}, ${megabytes(s.memory)}`,
      `Analysed prompts kept: ${s.prompts}`,
    );
  if (s.sites.length > 0) lines.push(`${s.sites.length} dictionaries: ${s.sites.map((x) => x.site).join(', ')}`);
  if (s.message) lines.push(s.message);
  return lines.join('\n') || 'Starts with the first prompt file.';
}

export class StatusItem implements vscode.Disposable {
  private readonly item = vscode.window.createStatusBarItem(
    'attentionCircuits.status',
    vscode.StatusBarAlignment.Right,
    90,
  );
  private readonly language = vscode.languages.createLanguageStatusItem('attentionCircuits.language', {
    language: LANGUAGE,
  });
  private readonly subscription: vscode.Disposable;

  constructor(server: Server) {
    this.item.name = 'Attention Circuits';
    this.item.command = 'attentionCircuits.showStatus';
    this.language.name = 'Attention Circuits';
    this.language.command = { title: 'Details', command: 'attentionCircuits.showStatus' };
    this.subscription = server.onStatus((s) => this.update(s));
    this.update(server.status);
  }

  private update(s: WireStatus): void {
    this.item.text = statusText(s);
    this.item.tooltip = statusDetail(s);
    const failed = s.phase === 'failed';
    this.item.backgroundColor = failed ? new vscode.ThemeColor('statusBarItem.errorBackground') : undefined;
    this.language.text = statusText(s);
    this.language.detail = s.message ?? undefined;
    this.language.busy = s.phase === 'loading';
    this.language.severity = failed ? vscode.LanguageStatusSeverity.Error : vscode.LanguageStatusSeverity.Information;
    if (s.phase === 'idle' && vscode.window.activeTextEditor?.document.languageId !== LANGUAGE) this.item.hide();
    else this.item.show();
  }

  dispose(): void {
    this.subscription.dispose();
    this.item.dispose();
    this.language.dispose();
  }
}
