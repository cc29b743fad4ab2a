/** Colours the tokens of prompt files by the activation of one feature. Command: attentionCircuits.heatMap. */
import * as vscode from 'vscode';
import { LANGUAGE } from '../../../server/protocol';
import { log } from '../log';
import { type Server } from '../server';

/** Steps of the scale; each is a decoration with its own opacity. */
const STEPS = 5;
const DELAY_MS = 250;

export interface HeatFeature {
  site: string;
  feature: number;
}

export class HeatMap implements vscode.Disposable {
  private readonly levels: vscode.TextEditorDecorationType[];
  private readonly outdated: vscode.TextEditorDecorationType;
  private readonly disposables: vscode.Disposable[] = [];
  private feature: HeatFeature | null = null;
  private timer: NodeJS.Timeout | undefined;
  private running: vscode.CancellationTokenSource | null = null;
  /** Ranges coloured last, by document. */
  private readonly drawn = new Map<string, vscode.Range[]>();

  constructor(private readonly server: Server) {
    this.levels = Array.from({ length: STEPS }, (_, i) =>
      vscode.window.createTextEditorDecorationType({
        backgroundColor: new vscode.ThemeColor(`attentionCircuits.heat${i + 1}`),
        overviewRulerColor: i === STEPS - 1 ? new vscode.ThemeColor('attentionCircuits.heat5') : undefined,
      }),
    );
    this.outdated = vscode.window.createTextEditorDecorationType({ opacity: '0.6' });
    this.disposables.push(
      ...this.levels,
      this.outdated,
      vscode.workspace.onDidChangeTextDocument((e) => {
        if (e.document.languageId === LANGUAGE && this.feature) this.later(e.document);
      }),
      vscode.window.onDidChangeVisibleTextEditors(() => this.feature && this.draw()),
      server.onDidStart(() => this.feature && this.draw()),
    );
  }

  get current(): HeatFeature | null {
    return this.feature;
  }

  /** Starts colouring by a feature, or stops with null. */
  async show(feature: HeatFeature | null): Promise<void> {
    this.feature = feature;
    await vscode.commands.executeCommand('setContext', 'attentionCircuits.heatMapShown', feature !== null);
    if (feature) await this.draw();
    else for (const e of this.editors()) for (const l of [...this.levels, this.outdated]) e.setDecorations(l, []);
  }

  private editors(): vscode.TextEditor[] {
    return vscode.window.visibleTextEditors.filter((e) => e.document.languageId === LANGUAGE);
  }

  /** Marks what is shown as outdated now; draws anew when typing pauses. */
  private later(document: vscode.TextDocument): void {
    for (const e of this.editors().filter((x) => x.document === document)) {
      e.setDecorations(this.outdated, this.drawn.get(document.uri.toString()) ?? []);
    }
    clearTimeout(this.timer);
    this.timer = setTimeout(() => void this.draw(), DELAY_MS);
  }

  private async draw(): Promise<void> {
    this.running?.cancel();
    const source = new vscode.CancellationTokenSource();
    this.running = source;
    for (const editor of this.editors()) {
      try {
        await this.drawIn(editor, source.token);
      } catch (e) {
        if (!source.token.isCancellationRequested) log().warn(`heat map: ${(e as Error).message}`);
      }
    }
  }

  private async drawIn(editor: vscode.TextEditor, token: vscode.CancellationToken): Promise<void> {
    const { feature } = this;
    const { document } = editor;
    if (!feature) return;
    const params = { uri: document.uri.toString(), ...feature };
    const heat = await this.server.request('attentionCircuits/heat', params, token);
    if (heat.version !== document.version || token.isCancellationRequested) return;
    const byLevel: vscode.DecorationOptions[][] = this.levels.map(() => []);
    for (const t of heat.tokens) {
      const level = Math.min(STEPS - 1, Math.floor((STEPS * t.activation) / heat.max));
      const range = new vscode.Range(document.positionAt(t.start), document.positionAt(t.end));
      byLevel[level].push({ range, hoverMessage: `${feature.site}/${feature.feature}: ${t.activation.toFixed(3)}` });
    }
    this.drawn.set(
      params.uri,
      byLevel.flat().map((d) => d.range),
    );
    this.levels.forEach((l, i) => editor.setDecorations(l, byLevel[i]));
    editor.setDecorations(this.outdated, []);
  }

  dispose(): void {
    clearTimeout(this.timer);
    this.running?.cancel();
    for (const d of this.disposables) d.dispose();
  }
}
