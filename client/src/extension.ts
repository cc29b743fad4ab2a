/** Activation: commands and views at once and cheaply; the server with the first prompt file, command or restored panel. */
import * as vscode from 'vscode';
import { LANGUAGE, SECTION } from '../../server/protocol';
import { CIRCUIT_EDITOR, CircuitEditors, savePanel } from './circuits';
import { circuitLinks, hasPrompts } from './code';
import { registerCommands } from './commands';
import { CursorFollower } from './features/cursor';
import { HeatMap } from './features/heat';
import { StatusItem } from './features/status';
import { log } from './log';
import { notesOn, NotesList, NoteThreads } from './notes';
import { GRAPH_EDITOR, GraphEditors } from './panels/graphEditor';
import { PanelManager } from './panels/manager';
import { Server } from './server';
import { serverSettings, setting } from './settings';
import { registerTools } from './tools';
import { FeaturesView } from './views/featuresView';

/** What tests may look at. */
export interface ExtensionApi {
  server: Server;
  features: FeaturesView;
  heat: HeatMap;
}

const SETTLE_MS = 100;

export function activate(context: vscode.ExtensionContext): ExtensionApi {
  const server = new Server(context);
  const heat = new HeatMap(server);
  const { name, version } = context.extension.packageJSON as { name: string; version: string };
  const panels = new PanelManager(context, server, {
    heat: (site, feature) => heat.show({ site, feature }),
    saveCircuit: (panel) => savePanel(server, panel, `${name} ${version}`),
    notesOn: (site, feature) => notesOn(server, site, feature),
  });
  const circuits = new CircuitEditors(panels, server, `${name} ${version}`);
  const threads = new NoteThreads(server);
  const notes = new NotesList(server, panels, threads);
  context.subscriptions.push(
    threads,
    notes,
    notes.onDidChangeTreeData(() => panels.notesChanged()),
  );
  const cursor = new CursorFollower(server);
  const features = new FeaturesView(server, cursor);
  context.subscriptions.push(server, heat, panels, cursor, features, new StatusItem(server));
  context.subscriptions.push(
    vscode.window.registerCustomEditorProvider(GRAPH_EDITOR, new GraphEditors(panels), {
      supportsMultipleEditorsPerDocument: true,
    }),
    vscode.window.registerCustomEditorProvider(CIRCUIT_EDITOR, circuits),
    vscode.languages.registerDocumentLinkProvider(['python', 'markdown'], circuitLinks),
  );
  context.subscriptions.push(
    ...registerTools(context, server),
    ...registerCommands({ context, server, panels, features, heat, circuits, threads, notes }),
  );

  const startFor = (d: vscode.TextDocument): void => {
    const python = setting<boolean>('python.enabled') && hasPrompts(d);
    if ((d.languageId !== LANGUAGE && !python) || server.running) return;
    server.start().catch((e: Error) => log().error(`the server did not start: ${e.message}`));
  };
  vscode.workspace.textDocuments.forEach(startFor);
  // Several settings that are written one after another, as a choice of a model does, load the model once.
  let settling: NodeJS.Timeout | undefined;
  const settingsChanged = (): void => {
    clearTimeout(settling);
    settling = setTimeout(() => void server.notify('attentionCircuits/settings', serverSettings()), SETTLE_MS);
  };
  context.subscriptions.push(
    { dispose: () => clearTimeout(settling) },
    vscode.workspace.onDidOpenTextDocument(startFor),
    vscode.workspace.onDidGrantWorkspaceTrust(settingsChanged),
    vscode.workspace.onDidChangeConfiguration((e) => {
      if (!e.affectsConfiguration(SECTION)) return;
      const restart = ['server.nodePath', 'server.arguments'].some((s) => e.affectsConfiguration(`${SECTION}.${s}`));
      if (restart && server.running) void server.restart();
      else settingsChanged();
    }),
  );
  return { server, features, heat };
}

export function deactivate(): void {
  // Everything is disposed through the context's subscriptions.
}
