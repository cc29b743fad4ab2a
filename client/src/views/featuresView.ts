/** "Features at cursor": a native tree that follows the cursor, can be pinned to a token and paused. */
import * as vscode from 'vscode';
import { type LocatedToken, type PromptRef, type WireFeature } from '../../../server/protocol';
import { type CursorFollower, cursorPlace, type Place } from '../features/cursor';
import { log } from '../log';
import { type Server } from '../server';
import { setting } from '../settings';

interface SiteItem {
  type: 'site';
  site: string;
  features: WireFeature[];
}

interface FeatureItem {
  type: 'feature';
  feature: WireFeature;
}

export type FeaturesItem = SiteItem | FeatureItem;

interface Shown {
  uri: string | null;
  prompt: PromptRef;
  position: number;
  text: string;
  features: WireFeature[];
}

const ICONS: Record<WireFeature['kind'], string> = {
  attention: 'triangle-up',
  residual: 'circle-filled',
  transcoder: 'primitive-square',
};

export const visibleText = (text: string): string => `‘${text.replace(/\n/g, '⏎').replace(/\t/g, '⇥')}’`;

export class FeaturesView implements vscode.TreeDataProvider<FeaturesItem>, vscode.Disposable {
  private readonly emitter = new vscode.EventEmitter<void>();
  readonly onDidChangeTreeData = this.emitter.event;
  private readonly view: vscode.TreeView<FeaturesItem>;
  private readonly disposables: vscode.Disposable[] = [];
  private shown: Shown | null = null;
  private pinned = false;
  private paused = false;
  private running: vscode.CancellationTokenSource | null = null;
  /** Where the cursor rests while a token that somebody asked for is shown. */
  private held: string | null = null;

  constructor(
    private readonly server: Server,
    cursor: CursorFollower,
  ) {
    this.view = vscode.window.createTreeView('attentionCircuits.features', {
      treeDataProvider: this,
      showCollapseAll: true,
    });
    this.disposables.push(
      this.view,
      this.emitter,
      cursor.onDidRest((place) => void this.follow(place)),
      this.view.onDidChangeVisibility(({ visible }) => {
        const place = cursorPlace();
        if (visible && place) void this.follow(place);
      }),
    );
  }

  /** What is shown now; for commands on its items. */
  get current(): Shown | null {
    return this.shown;
  }

  /** Shows another label at once. */
  relabel(site: string, feature: number, label: string | null): void {
    for (const f of this.shown?.features ?? [])
      if (f.site === site && f.feature === feature) f.label = label ?? undefined;
    this.emitter.fire();
  }

  private async follow(place: Place): Promise<void> {
    if (this.pinned || this.paused || !this.view.visible || !this.server.running) return;
    if (this.held === JSON.stringify(place)) return;
    this.held = null;
    this.running?.cancel();
    const source = new vscode.CancellationTokenSource();
    this.running = source;
    try {
      const found = await this.server.request('attentionCircuits/locate', place, source.token);
      if (found) await this.load({ uri: place.uri, ...this.tokenOf(found) }, source.token);
    } catch (e) {
      if (!source.token.isCancellationRequested) log().debug(`features at cursor: ${(e as Error).message}`);
    }
  }

  private tokenOf(l: LocatedToken): { prompt: PromptRef; position: number; text: string } {
    return { prompt: l.prompt, position: l.token.position, text: l.token.text };
  }

  private async load(at: Omit<Shown, 'features'>, token?: vscode.CancellationToken): Promise<void> {
    const params = { prompt: at.prompt, position: at.position, limit: setting<number>('features.perSite') };
    this.view.description = `${this.description(at)} …`;
    const { features } = await this.server.request('attentionCircuits/features', params, token);
    if (token?.isCancellationRequested) return;
    this.shown = { ...at, features };
    this.view.description = this.description(at);
    this.emitter.fire();
  }

  private description(at: { text: string; position: number }): string {
    const marks = [this.pinned ? 'pinned' : '', this.paused ? 'paused' : ''].filter((m) => m !== '').join(', ');
    return `${visibleText(at.text)} @${at.position}${marks ? ` (${marks})` : ''}`;
  }

  /** Shows a given token until the cursor moves, and brings the view to the front. */
  async show(uri: string | null, prompt: PromptRef, position: number): Promise<void> {
    this.running?.cancel();
    this.held = JSON.stringify(cursorPlace());
    await vscode.commands.executeCommand('attentionCircuits.features.focus');
    const { tokens } = await this.server.request('attentionCircuits/prompt', { prompt });
    await this.load({ uri, prompt, position, text: tokens[position]?.text ?? '' });
  }

  async setPinned(pinned: boolean): Promise<void> {
    this.pinned = pinned;
    await vscode.commands.executeCommand('setContext', 'attentionCircuits.featuresPinned', pinned);
    if (this.shown) this.view.description = this.description(this.shown);
  }

  async setPaused(paused: boolean): Promise<void> {
    this.paused = paused;
    await vscode.commands.executeCommand('setContext', 'attentionCircuits.featuresPaused', paused);
    if (this.shown) this.view.description = this.description(this.shown);
  }

  getTreeItem(item: FeaturesItem): vscode.TreeItem {
    if (item.type === 'site') {
      const expanded = item.features[0].kind === 'attention';
      const state = expanded ? vscode.TreeItemCollapsibleState.Expanded : vscode.TreeItemCollapsibleState.Collapsed;
      const t = new vscode.TreeItem(item.site, state);
      t.description = `${item.features.length} shown`;
      t.iconPath = new vscode.ThemeIcon(ICONS[item.features[0].kind]);
      t.id = item.site;
      return t;
    }
    const { site, feature, activation, layer, head } = item.feature;
    const t = new vscode.TreeItem(`${layer}.${feature}`);
    const from = head
      ? ` · head ${layer}.${head.head} (${Math.round(100 * head.share)}%) from ${visibleText(head.sourceText)} @${head.source}`
      : '';
    const { label } = item.feature;
    t.description = `${label ? `${label} · ` : ''}${activation.toFixed(2)}${from}`;
    t.id = `${site}/${feature}`;
    t.contextValue = 'feature';
    t.accessibilityInformation = { label: `feature ${feature} of ${site}, activation ${activation.toFixed(2)}${from}` };
    t.command = { title: 'Attribute', command: 'attentionCircuits.attributeItem', arguments: [item] };
    return t;
  }

  getChildren(item?: FeaturesItem): FeaturesItem[] {
    if (item?.type === 'site') return item.features.map((feature) => ({ type: 'feature', feature }));
    if (item || !this.shown) return [];
    const bySite = new Map<string, WireFeature[]>();
    for (const f of this.shown.features) bySite.set(f.site, [...(bySite.get(f.site) ?? []), f]);
    const order = { attention: 0, residual: 1, transcoder: 2 };
    return [...bySite]
      .map(([site, features]): SiteItem => ({ type: 'site', site, features }))
      .sort(
        (a, b) => order[a.features[0].kind] - order[b.features[0].kind] || a.features[0].layer - b.features[0].layer,
      );
  }

  dispose(): void {
    this.running?.cancel();
    for (const d of this.disposables) d.dispose();
  }
}
