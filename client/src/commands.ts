/** The commands, by id. Each finds what it needs at the cursor when it is called without arguments. */
import * as vscode from 'vscode';
import {
  type AttributeArguments,
  type LocatedToken,
  type OpenFeatureArguments,
  type PromptPlace,
  type PromptRef,
  type RootRef,
  type ShowFeaturesArguments,
} from '../../server/protocol';
import { type CircuitEditors } from './circuits';
import { CODE_COMMANDS } from './code';
import { CORPUS_COMMANDS } from './corpus';
import { FOLDER_COMMANDS } from './folderTables';
import { EXPERIMENT_COMMANDS } from './experiments';
import { cursorPlace } from './features/cursor';
import { type HeatFeature, type HeatMap } from './features/heat';
import { statusDetail } from './features/status';
import { log, NothingHere, showError } from './log';
import { chooseModel } from './models';
import { NOTE_COMMANDS, type NotesList, type NoteThreads } from './notes';
import { openGraph } from './panels/graphEditor';
import { type PanelManager } from './panels/manager';
import { type Server } from './server';
import { type FeaturesItem, type FeaturesView, visibleText } from './views/featuresView';

export interface Services {
  context: vscode.ExtensionContext;
  server: Server;
  panels: PanelManager;
  features: FeaturesView;
  heat: HeatMap;
  circuits: CircuitEditors;
  threads: NoteThreads;
  notes: NotesList;
}

type Command = (s: Services, ...args: never[]) => unknown;

/** The token at the cursor of the active prompt file. Throws NothingHere with what to do. */
async function tokenAtCursor(s: Services): Promise<LocatedToken & { uri: string; panelUri: string | null }> {
  const place = cursorPlace();
  if (!place) throw new NothingHere('open a prompt file and put the cursor into a prompt.');
  const found = await s.server.request('attentionCircuits/locate', place);
  if (!found)
    throw new NothingHere('the cursor is not in a prompt: comments, directives and answers are not analysed.');
  return { ...found, uri: place.uri, panelUri: found.verbatim ? place.uri : null };
}

/** A prompt, and the document that shows its text, if one does. */
async function promptAt(s: Services, place: PromptPlace): Promise<{ prompt: PromptRef; uri: string | null }> {
  if ('prompt' in place) return place;
  const found = await s.server.request('attentionCircuits/locate', { uri: place.uri, offset: place.offset });
  if (!found) throw new NothingHere('the prompt is not there any more.');
  return { prompt: found.prompt, uri: found.verbatim ? place.uri : null };
}

function openCircuit(s: Services, uri: string | null, prompt: PromptRef, root: RootRef, offer?: number): void {
  s.panels.open({ panel: 'circuit', uri, prompt, root, ...(offer === undefined ? {} : { offer }) });
}

async function attribute(s: Services, args?: AttributeArguments): Promise<void> {
  if (args) {
    const { prompt, uri } = await promptAt(s, args);
    return openCircuit(s, uri, prompt, args.root, args.offer);
  }
  const at = await tokenAtCursor(s);
  const { position, id } = at.token;
  if (position === 0) return s.features.show(at.uri, at.prompt, 0);
  openCircuit(s, at.panelUri, at.prompt, { type: 'logit', tokens: [id], position: position - 1 }, position);
}

/** A script that computes a number again, on the clipboard: a hover's feature, or the logit of the token at the cursor. */
async function copyPython(s: Services, args?: AttributeArguments): Promise<void> {
  const at = args ? null : await tokenAtCursor(s);
  if (at?.token.position === 0) throw new NothingHere('nothing predicts the first token.');
  const prompt = args ? (await promptAt(s, args)).prompt : (at?.prompt ?? { text: '', bos: true });
  const tokens = at ? [at.token.id] : [];
  const root = args?.root ?? { type: 'logit' as const, tokens, position: (at?.token.position ?? 1) - 1 };
  const { text } = await s.server.request('attentionCircuits/treeScript', { prompt, root, nodes: [] });
  await vscode.env.clipboard.writeText(text);
  vscode.window.setStatusBarMessage('Attention Circuits: script copied', 3000);
}

async function attributeNext(s: Services): Promise<void> {
  const at = await tokenAtCursor(s);
  const { tokens, predictions } = await s.server.request('attentionCircuits/prompt', { prompt: at.prompt });
  const position = tokens.length - 1;
  const picked = await vscode.window.showQuickPick(
    predictions[position].map((p) => ({
      label: visibleText(p.text),
      description: `${(100 * p.probability).toFixed(1)}% · logit ${p.logit.toFixed(3)}`,
      id: p.id,
    })),
    { title: 'Attribute the next token', placeHolder: 'Whose logit?' },
  );
  if (picked) openCircuit(s, at.panelUri, at.prompt, { type: 'logit', tokens: [picked.id], position });
}

async function attributeFeature(s: Services): Promise<void> {
  const at = await tokenAtCursor(s);
  const { position } = at.token;
  const { features } = await s.server.request('attentionCircuits/features', { prompt: at.prompt, position, limit: 20 });
  const picked = await vscode.window.showQuickPick(
    features.map((f) => ({
      label: `${f.layer}.${f.feature}`,
      description: `${f.site} · ${f.activation.toFixed(3)}`,
      detail: f.head && `head ${f.layer}.${f.head.head} from ${visibleText(f.head.sourceText)} @${f.head.source}`,
      f,
    })),
    {
      title: `Features at ${visibleText(at.token.text)} @${position}`,
      placeHolder: 'Which feature?',
      matchOnDescription: true,
    },
  );
  if (!picked) return;
  const { site, feature } = picked.f;
  openCircuit(s, at.panelUri, at.prompt, { type: 'feature', site, feature, position });
}

async function pickFeature(s: Services, title: string): Promise<HeatFeature | undefined> {
  const { sites } = await s.server.request('attentionCircuits/load', {});
  const site = await vscode.window.showQuickPick(
    sites.map((x) => ({ label: x.site, description: `${x.kind}, ${x.d_sae} features`, x })),
    { title, placeHolder: 'Dictionary' },
  );
  if (!site) return undefined;
  const { d_sae } = site.x;
  const text = await vscode.window.showInputBox({
    title: `${title}: ${site.label}`,
    prompt: `Feature, 0 to ${d_sae - 1}`,
    validateInput: (v) =>
      /^\d+$/.test(v.trim()) && Number(v) < d_sae ? null : `A whole number from 0 to ${d_sae - 1}`,
  });
  return text === undefined ? undefined : { site: site.label, feature: Number(text) };
}

async function openFeature(s: Services, args?: OpenFeatureArguments | FeaturesItem): Promise<void> {
  const feature = featureOf(args) ?? (await pickFeature(s, 'Open feature'));
  if (feature) s.panels.open({ panel: 'feature', ...feature });
}

/** A feature from a command's argument: a hover's link, or an item of the features view. */
function featureOf(args?: OpenFeatureArguments | FeaturesItem): HeatFeature | null {
  if (!args) return null;
  if ('type' in args)
    return args.type === 'feature' ? { site: args.feature.site, feature: args.feature.feature } : null;
  return { site: args.site, feature: args.feature };
}

/** Asks for a feature's label and keeps it in the workspace's label file. */
async function labelFeature(
  s: Services,
  args?: (OpenFeatureArguments & { text?: string }) | FeaturesItem,
): Promise<void> {
  const feature = featureOf(args) ?? (await pickFeature(s, 'Label feature'));
  if (!feature) return;
  const { label: now } = await s.server.request('attentionCircuits/label', feature);
  const label = await vscode.window.showInputBox({
    title: `Label of ${feature.site}/${feature.feature}`,
    prompt: 'Kept in the workspace, one line a feature; empty to remove it',
    value: (args && 'text' in args ? args.text : undefined) ?? now ?? '',
  });
  if (label === undefined) return;
  const saved = await s.server.request('attentionCircuits/label', { ...feature, label });
  s.panels.labelled(feature.site, feature.feature, saved.label);
  s.features.relabel(feature.site, feature.feature, saved.label);
}

async function showFeatures(s: Services, args?: ShowFeaturesArguments): Promise<void> {
  if (args) return s.features.show(args.uri, (await promptAt(s, args)).prompt, args.position);
  const at = await tokenAtCursor(s);
  await s.features.show(at.uri, at.prompt, at.token.position);
}

function attributeItem(s: Services, item?: FeaturesItem): void {
  const at = s.features.current;
  if (item?.type !== 'feature' || !at) return;
  const { site, feature } = item.feature;
  openCircuit(s, at.uri ?? '', at.prompt, { type: 'feature', site, feature, position: at.position });
}

async function openAttention(s: Services): Promise<void> {
  const at = await tokenAtCursor(s);
  const { n_layers, n_heads } = await s.server.request('attentionCircuits/load', {});
  const text = await vscode.window.showInputBox({
    title: `Attention from ${visibleText(at.token.text)} @${at.token.position}`,
    prompt: `LAYER.HEAD, up to ${n_layers - 1}.${n_heads - 1}`,
    value: `${n_layers >> 1}.0`,
    validateInput: (v) => {
      const m = /^(\d+)\.(\d+)$/.exec(v.trim());
      return m && Number(m[1]) < n_layers && Number(m[2]) < n_heads ? null : 'LAYER.HEAD, such as 2.3';
    },
  });
  if (text === undefined) return;
  const [layer, head] = text.trim().split('.').map(Number);
  const { prompt, uri } = at;
  s.panels.open({ panel: 'attention', uri, prompt, layer, head, destination: at.token.position });
}

async function heatMap(s: Services, args?: OpenFeatureArguments | FeaturesItem): Promise<void> {
  const feature = featureOf(args) ?? (await pickFeature(s, 'Color tokens by feature'));
  if (feature) await s.heat.show(feature);
}

async function showStatus(s: Services): Promise<void> {
  const { status } = s.server;
  const items = [
    { label: '$(output) Show log', run: 'attentionCircuits.showLog' },
    { label: '$(folder-library) Choose model…', run: 'attentionCircuits.chooseModel' },
    { label: '$(refresh) Reload model', run: 'attentionCircuits.reloadModel' },
    { label: '$(debug-restart) Restart server', run: 'attentionCircuits.restartServer' },
  ];
  const chosen = await vscode.window.showQuickPick(items, {
    title: 'Attention Circuits',
    placeHolder: statusDetail(status).split('\n').slice(0, 4).join(' · '),
  });
  if (chosen) await vscode.commands.executeCommand(chosen.run);
}

async function toggleHoverDetails(s: Services, args?: { open?: boolean }): Promise<void> {
  await s.server.notify('attentionCircuits/hoverDetails', { open: args?.open === true });
  await vscode.commands.executeCommand('editor.action.showHover');
}

const MARKS = { pass: '✓', fail: '✕', missing: '–' } as const;

/** Published numbers against those of the loaded model, as a table in a new document. */
async function verify(s: Services): Promise<void> {
  const { table, rows } = await s.server.request('attentionCircuits/verify', {});
  const number = (x: string | number | null): string => (typeof x === 'number' ? x.toFixed(4) : (x ?? ''));
  const count = (outcome: keyof typeof MARKS): number => rows.filter((r) => r.outcome === outcome).length;
  const cell = (x: string): string => x.replaceAll('|', '\\|').replaceAll('\n', ' ');
  const lines = rows.map((r) =>
    [
      MARKS[r.outcome],
      r.id,
      r.description,
      r.needs ?? r.what,
      number(r.expected),
      number(r.got),
      `±${r.tolerance}`,
      r.source,
    ]
      .map(cell)
      .join(' | '),
  );
  const content = [
    `# Verification: ${table}`,
    '',
    `${count('pass')} agree, ${count('fail')} differ, ${count('missing')} need files that are not here.`,
    '',
    '|  | id | number | of | expected | got | tolerance | source |',
    '|---|---|---|---|---|---|---|---|',
    ...lines.map((l) => `| ${l} |`),
    '',
  ].join('\n');
  await vscode.window.showTextDocument(await vscode.workspace.openTextDocument({ language: 'markdown', content }));
}

async function openExample(s: Services): Promise<void> {
  const file = vscode.Uri.joinPath(s.context.extensionUri, 'examples', 'ioi.prompts');
  const content = Buffer.from(await vscode.workspace.fs.readFile(file)).toString('utf8');
  const document = await vscode.workspace.openTextDocument({ language: 'prompts', content });
  await vscode.window.showTextDocument(document);
}

/** All commands of the manifest but those of experiments, which follow. */
export const COMMANDS: Readonly<Record<string, Command>> = {
  'attentionCircuits.attribute': attribute,
  'attentionCircuits.copyPython': copyPython,
  'attentionCircuits.attributeNext': attributeNext,
  'attentionCircuits.attributeFeature': attributeFeature,
  'attentionCircuits.attributeItem': attributeItem,
  'attentionCircuits.openFeature': openFeature,
  'attentionCircuits.openAttention': openAttention,
  'attentionCircuits.showFeatures': showFeatures,
  'attentionCircuits.labelFeature': labelFeature,
  'attentionCircuits.pinFeatures': (s) => s.features.setPinned(true),
  'attentionCircuits.unpinFeatures': (s) => s.features.setPinned(false),
  'attentionCircuits.pauseFeatures': (s) => s.features.setPaused(true),
  'attentionCircuits.resumeFeatures': (s) => s.features.setPaused(false),
  'attentionCircuits.heatMap': heatMap,
  'attentionCircuits.clearHeatMap': (s) => s.heat.show(null),
  'attentionCircuits.chooseModel': chooseModel,
  'attentionCircuits.reloadModel': (s) =>
    vscode.window.withProgress({ location: vscode.ProgressLocation.Window, title: 'Reloading model' }, () =>
      s.server.request('attentionCircuits/reload', {}),
    ),
  'attentionCircuits.restartServer': (s) => s.server.restart(),
  'attentionCircuits.showLog': () => log().show(),
  'attentionCircuits.showStatus': showStatus,
  'attentionCircuits.toggleHoverDetails': toggleHoverDetails,
  'attentionCircuits.openExample': openExample,
  'attentionCircuits.verify': verify,
  'attentionCircuits.openGraph': openGraph,
  'attentionCircuits.checkCircuit': (s) => s.circuits.check(),
  ...CODE_COMMANDS,
  ...NOTE_COMMANDS,
  ...CORPUS_COMMANDS,
  ...FOLDER_COMMANDS,
  ...EXPERIMENT_COMMANDS,
};

/** Registers every command; failures become a message with a button for the log, never silence. */
export function registerCommands(services: Services): vscode.Disposable[] {
  return Object.entries(COMMANDS).map(([id, run]) =>
    vscode.commands.registerCommand(id, async (...args: never[]) => {
      try {
        await run(services, ...args);
      } catch (e) {
        if (e instanceof NothingHere) void vscode.window.showInformationMessage(`Attention Circuits: ${e.message}`);
        else {
          log().error(`${id}: ${(e as Error).message}`);
          void showError((e as Error).message, {
            title: 'Choose Model',
            run: () => vscode.commands.executeCommand('attentionCircuits.chooseModel'),
          });
        }
      }
    }),
  );
}
