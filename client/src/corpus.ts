/** Commands about the indexed texts: building the index, and searching features by words, label or prompt. */
import * as vscode from 'vscode';
import { SECTION } from '../../server/protocol';
import type { DashboardResult, FoundFeature } from '../../server/protocol/corpus';
import { type PanelManager } from './panels/manager';
import { type Server } from './server';
import { visibleText } from './views/featuresView';

interface Services {
  server: Server;
  panels: PanelManager;
}

/** Sets the texts that are indexed, for the workspace where there is one. */
async function setCorpus(path: string): Promise<void> {
  const inWorkspace = vscode.workspace.workspaceFolders && vscode.workspace.isTrusted;
  const target = inWorkspace ? vscode.ConfigurationTarget.Workspace : vscode.ConfigurationTarget.Global;
  await vscode.workspace.getConfiguration(SECTION).update('corpus.folder', path === '' ? undefined : path, target);
}

/** Asks which texts; false when the user gave up. */
async function pickCorpus(): Promise<boolean> {
  const now = vscode.workspace.getConfiguration(SECTION).get<string>('corpus.folder') ?? '';
  const [workspace] = vscode.workspace.workspaceFolders ?? [];
  const choices = [
    ...(workspace
      ? [{ label: '$(root-folder) The first workspace folder', detail: workspace.uri.fsPath, run: 'workspace' }]
      : []),
    ...(now === '' ? [] : [{ label: '$(folder) The folder of the settings', detail: now, run: 'now' }]),
    { label: '$(folder-opened) Another folder or file…', detail: '.prompts, .txt, .md and .jsonl', run: 'other' },
  ];
  const chosen = await vscode.window.showQuickPick(choices, {
    title: 'Index texts for feature dashboards',
    placeHolder: 'Which texts? They are run through the model in the background; a stopped run goes on where it was.',
  });
  if (!chosen) return false;
  if (chosen.run === 'workspace') await setCorpus('');
  if (chosen.run !== 'other') return true;
  const [folder] =
    (await vscode.window.showOpenDialog({ canSelectFolders: true, canSelectFiles: true, title: 'Texts to index' })) ??
    [];
  if (!folder) return false;
  await setCorpus(folder.fsPath);
  return true;
}

/** Builds the index; `here` takes the texts of the settings without asking. */
async function indexCorpus(s: Services, args?: { here?: boolean }): Promise<void> {
  if (args?.here !== true && !(await pickCorpus())) return;
  s.panels.corpusChanged();
  const r = await s.server.request('attentionCircuits/indexCorpus', {}).finally(() => s.panels.corpusChanged());
  const size = `${r.contexts.toLocaleString()} contexts, ${r.tokens.toLocaleString()} tokens`;
  const notes = [
    ...(r.limited ? ['it ends at the limit of attentionCircuits.corpus.maxTokens'] : []),
    ...(r.skipped > 0 ? [`${r.skipped} stretches were left out (${r.reason ?? ''})`] : []),
  ];
  const search = 'Search Features';
  const message = `Attention Circuits: indexed ${[size, ...notes].join('; ')}.`;
  const chosen = await vscode.window.showInformationMessage(message, search);
  if (chosen === search) searchFeatures(s);
}

type By = 'text' | 'label' | 'prompt';

const MODES: Record<By, { icon: string; title: string; hint: string }> = {
  text: { icon: 'search', title: 'By text', hint: 'Words at or around the strongest examples' },
  label: { icon: 'tag', title: 'By label', hint: 'Part of a label' },
  prompt: { icon: 'comment', title: 'By prompt', hint: 'A prompt; the features that fire in it' },
};

const NO_INDEX: Partial<Record<DashboardResult['state'], string>> = {
  unset: 'There is no folder to index',
  none: 'The texts are not indexed yet',
  partial: 'The texts are not wholly indexed yet',
  building: 'The texts are being indexed',
};

interface Item extends vscode.QuickPickItem {
  found?: FoundFeature;
  index?: boolean;
}

const itemOf = (f: FoundFeature): Item => ({
  label: `${f.site}/${f.feature}`,
  description: [f.label, f.activation?.toFixed(3)].filter((x) => x !== undefined).join(' · '),
  detail: f.text === '' ? undefined : visibleText(f.text),
  alwaysShow: true,
  found: f,
});

const DELAY_MS = 200;

/** A list that is searched while typing; the buttons on top change what is searched by. */
function searchFeatures(s: Services, args?: { by?: By; text?: string }): void {
  const pick = vscode.window.createQuickPick<Item>();
  let by: By = args?.by ?? 'text';
  let timer: NodeJS.Timeout | undefined;
  let latest = 0;
  const modes = Object.keys(MODES) as By[];
  const buttons = modes.map((m) => ({ iconPath: new vscode.ThemeIcon(MODES[m].icon), tooltip: MODES[m].title }));
  const search = async (): Promise<void> => {
    const mine = ++latest;
    pick.busy = true;
    try {
      const r = await s.server.request('attentionCircuits/searchFeatures', { by, text: pick.value, limit: 100 });
      if (mine !== latest) return;
      const missing = by === 'text' ? NO_INDEX[r.state] : undefined;
      const none = pick.value.trim() === '' ? [] : [{ label: 'No feature found', alwaysShow: true }];
      const offer = { label: `$(database) ${missing ?? ''}`, detail: 'Index texts…', alwaysShow: true, index: true };
      pick.items = missing !== undefined ? [offer] : r.features.length > 0 ? r.features.map(itemOf) : none;
    } catch (e) {
      if (mine === latest) pick.items = [{ label: '$(error) ' + (e as Error).message, alwaysShow: true }];
    } finally {
      if (mine === latest) pick.busy = false;
    }
  };
  const show = (): void => {
    pick.title = `Search features: ${MODES[by].title.toLowerCase()}`;
    pick.placeholder = MODES[by].hint;
    void search();
  };
  pick.buttons = buttons;
  pick.value = args?.text ?? '';
  pick.onDidTriggerButton((b) => {
    by = modes[buttons.findIndex((x) => x.tooltip === b.tooltip)];
    show();
  });
  pick.onDidChangeValue(() => {
    clearTimeout(timer);
    timer = setTimeout(() => void search(), DELAY_MS);
  });
  pick.onDidAccept(() => {
    const [item] = pick.selectedItems;
    if (item?.found) s.panels.open({ panel: 'feature', site: item.found.site, feature: item.found.feature });
    if (!item?.found && !item?.index) return;
    pick.hide();
    if (item.index) void vscode.commands.executeCommand('attentionCircuits.indexCorpus');
  });
  pick.onDidHide(() => {
    clearTimeout(timer);
    latest = -1;
    pick.dispose();
  });
  show();
  pick.show();
}
export const CORPUS_COMMANDS = {
  'attentionCircuits.indexCorpus': indexCorpus,
  'attentionCircuits.searchFeatures': searchFeatures,
};
