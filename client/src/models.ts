/** Choosing the model: the demo, what is published (fetched after asking), or a folder. */
import * as vscode from 'vscode';
import { SECTION } from '../../server/protocol';
import type { HubEntry, HubPlan } from '../../server/protocol/hub';
import { log } from './log';
import { type Server } from './server';

const sizeText = (bytes: number): string =>
  bytes < 1e9 ? `${Math.ceil(bytes / 1e6)} MB` : `${(bytes / 1e9).toFixed(2)} GB`;

/** What is here of an entry, and what the rest would take. */
function stateText(e: HubEntry): string {
  if (e.missingBytes === 0) return `on this machine · ${sizeText(e.bytes)}`;
  const part = e.here > 0 ? `${e.here} of ${e.files} files here, ` : '';
  return `${part}about ${sizeText(e.missingBytes)} to download`;
}

/** Settings of a choice go to the workspace where there is a trusted one. */
async function choose(model: string, dictionaries: string[] | undefined): Promise<void> {
  const configuration = vscode.workspace.getConfiguration(SECTION);
  const target =
    vscode.workspace.workspaceFolders && vscode.workspace.isTrusted
      ? vscode.ConfigurationTarget.Workspace
      : vscode.ConfigurationTarget.Global;
  await configuration.update('dictionaries', dictionaries, target);
  await configuration.update('model', model, target);
}

async function chooseFolder(): Promise<void> {
  const [model] =
    (await vscode.window.showOpenDialog({
      canSelectFolders: true,
      canSelectFiles: false,
      title: 'Model folder (config.json, model.safetensors)',
    })) ?? [];
  if (!model) return;
  const dictionaries = await vscode.window.showOpenDialog({
    canSelectFolders: true,
    canSelectFiles: true,
    canSelectMany: true,
    title: 'Dictionaries: SAELens folders, .pt, .npz, or folders of them',
  });
  await choose(
    model.fsPath,
    (dictionaries ?? []).map((u) => u.fsPath),
  );
}

/** Asks before anything is fetched. True when everything is here afterwards. */
async function fetchMissing(server: Server, missing: readonly HubEntry[]): Promise<boolean> {
  const names = missing.map((e) => e.name);
  if (names.length === 0) return true;
  let plan: HubPlan;
  try {
    plan = await server.request('attentionCircuits/hubPlan', { names });
  } catch (e) {
    log().error((e as Error).message);
    throw e;
  }
  if (plan.files === 0) return true;
  const detail = [
    ...missing.map((e) => `${e.title}: ${e.repo}`),
    '',
    `From ${plan.endpoint}`,
    `Into ${plan.cache} (${sizeText(plan.free)} free)`,
  ].join('\n');
  const question = `Download ${sizeText(plan.bytes)} in ${plan.files} ${plan.files === 1 ? 'file' : 'files'}?`;
  const answer = await vscode.window.showInformationMessage(question, { modal: true, detail }, 'Download');
  if (answer !== 'Download') return false;
  await server.request('attentionCircuits/hubDownload', { names });
  return true;
}

async function choosePublished(server: Server, model: HubEntry, entries: readonly HubEntry[]): Promise<void> {
  const sets = entries.filter((e) => e.type === 'dictionaries' && e.model === model.name);
  const chosen =
    sets.length === 0
      ? []
      : await vscode.window.showQuickPick(
          sets.map((e) => ({
            label: e.title,
            description: stateText(e),
            detail: `${e.kind} · ${e.name} · ${e.repo}`,
            picked: e.missingBytes === 0 || e.kind === 'attention',
            e,
          })),
          { title: `Dictionaries for ${model.title}`, placeHolder: 'Which dictionaries?', canPickMany: true },
        );
  if (!chosen) return;
  const all = [model, ...chosen.map((c) => c.e)];
  if (
    await fetchMissing(
      server,
      all.filter((e) => e.missingBytes > 0),
    )
  )
    await choose(
      `hub:${model.name}`,
      chosen.map((c) => `hub:${c.e.name}`),
    );
}

/** Lets the user choose a model and its dictionaries. Nothing is fetched without her saying so. */
export async function chooseModel({ server }: { server: Server }): Promise<void> {
  const { entries } = await server.request('attentionCircuits/registry', {});
  const now = vscode.workspace.getConfiguration(SECTION).get<string>('model');
  const choices: (vscode.QuickPickItem & { run?: () => Promise<unknown> })[] = [
    {
      label: '$(beaker) Demo model',
      detail: 'Four layers, embedded, with its own dictionaries',
      run: () => choose('demo', undefined),
    },
    { label: 'published', kind: vscode.QuickPickItemKind.Separator },
    ...entries
      .filter((e) => e.type === 'model')
      .map((e) => ({
        label: `$(${e.missingBytes === 0 ? 'check' : 'cloud-download'}) ${e.title}`,
        description: stateText(e),
        detail: `hub:${e.name} · ${e.repo}`,
        run: () => choosePublished(server, e, entries),
      })),
    { label: 'your own', kind: vscode.QuickPickItemKind.Separator },
    { label: '$(folder) Folder…', detail: 'A Hugging Face GPT-2 folder on this machine', run: chooseFolder },
    {
      label: '$(gear) Settings',
      detail: 'Model, dictionaries, contract and provider',
      run: async () => vscode.commands.executeCommand('workbench.action.openSettings', SECTION),
    },
  ];
  const chosen = await vscode.window.showQuickPick(choices, { title: 'Model', placeHolder: `Now: ${now}` });
  await chosen?.run?.();
}
