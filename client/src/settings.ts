import * as os from 'node:os';
import * as path from 'node:path';
import * as vscode from 'vscode';
import { SECTION, type ServerSettings } from '../../server/protocol';

const configuration = (): vscode.WorkspaceConfiguration => vscode.workspace.getConfiguration(SECTION);

/** A setting by its name without the prefix. The manifest gives every one a default. */
export function setting<T>(name: string): T {
  return configuration().get(name) as T;
}

/** Names of all settings that this code reads; a test compares them with the manifest. */
export const SETTINGS = [
  'model',
  'dictionaries',
  'contract',
  'provider',
  'memoryLimitMB',
  'hover.features',
  'codeLens.nextToken',
  'codeLens.answers',
  'codeLens.features',
  'codeLens.tokenAtCursor',
  'inlayHints.enabled',
  'panel.view',
  'panel.top',
  'features.perSite',
  'python.enabled',
  'labels',
  'importedLabels',
  'registry',
  'hub.endpoint',
  'hub.offline',
  'neuronpedia.address',
  'corpus.folder',
  'corpus.contextLength',
  'corpus.maxTokens',
  'server.nodePath',
  'server.arguments',
  'trace.server',
] as const;

/** An absolute path: `~` and paths relative to the first workspace folder are resolved. */
export function resolvePath(value: string): string {
  const home = value === '~' || value.startsWith('~/') ? path.join(os.homedir(), value.slice(1)) : value;
  if (path.isAbsolute(home)) return home;
  const folder = vscode.workspace.workspaceFolders?.[0]?.uri.fsPath;
  return folder ? path.join(folder, home) : path.resolve(home);
}

/** A name of the registry as it is, or an absolute path. */
const resolveSource = (value: string): string => (value.startsWith('hub:') ? value : resolvePath(value));

/** Path settings come from the workspace only when the workspace is trusted. */
function trusted<T>(name: string): T {
  const inspected = configuration().inspect<T>(name);
  if (vscode.workspace.isTrusted || !inspected) return setting(name);
  return (inspected.globalValue ?? inspected.defaultValue) as T;
}

/** The folder or file of texts for dashboards: the setting, or the first workspace folder; empty without either. */
function corpusFolder(): string {
  const set = trusted<string>('corpus.folder').trim();
  return set === '' ? (vscode.workspace.workspaceFolders?.[0]?.uri.fsPath ?? '') : resolvePath(set);
}

/** The settings as the server takes them. */
export function serverSettings(): ServerSettings {
  const model = trusted<string>('model').trim();
  return {
    model: model === '' || model === 'demo' ? 'demo' : resolveSource(model),
    dictionaries: trusted<string[]>('dictionaries').map(resolveSource),
    contract: setting('contract'),
    provider: setting('provider'),
    memoryLimitMB: setting('memoryLimitMB'),
    hoverFeatures: setting('hover.features'),
    codeLens: {
      prompt: setting('codeLens.nextToken'),
      answers: setting('codeLens.answers'),
      features: setting('codeLens.features'),
      token: setting('codeLens.tokenAtCursor'),
    },
    inlayHints: setting('inlayHints.enabled'),
    labels: vscode.workspace.workspaceFolders ? resolvePath(trusted<string>('labels')) : '',
    importedLabels: trusted<string[]>('importedLabels').map(resolvePath),
    registry: trusted<string[]>('registry').map(resolvePath),
    hub: {
      endpoint: setting<string>('hub.endpoint').trim(),
      offline: setting('hub.offline'),
      proxy: vscode.workspace.getConfiguration('http').get<string>('proxy') ?? '',
      neuronpedia: setting<string>('neuronpedia.address').trim(),
    },
    corpus: {
      folder: corpusFolder(),
      contextLength: setting('corpus.contextLength'),
      maxTokens: setting('corpus.maxTokens'),
    },
  };
}
