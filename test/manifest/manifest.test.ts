/** The manifest and the code say the same: every declared thing is used, every used thing declared. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { Commands } from '../../server/protocol';

const ROOT = join(import.meta.dirname, '..', '..');
const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8');
const PREFIX = 'attentionCircuits.';

interface Manifest {
  activationEvents: string[];
  extensionKind: string[];
  engines: { vscode: string };
  devDependencies: Record<string, string>;
  capabilities: { untrustedWorkspaces: { restrictedConfigurations: string[] } };
  contributes: {
    commands: { command: string; title: string; category: string }[];
    menus: Record<string, { command: string }[]>;
    keybindings: { command: string }[];
    configuration: {
      properties: Record<
        string,
        {
          default: unknown;
          markdownDescription?: string;
          scope?: string;
          type: string;
          enum?: string[];
          markdownEnumDescriptions?: string[];
        }
      >;
    };
    views: Record<string, { id: string }[]>;
    viewsWelcome: { contents: string }[];
    colors: { id: string; defaults: Record<string, string> }[];
    walkthroughs: { steps: { description: string; media: { markdown: string }; completionEvents?: string[] }[] }[];
  };
}

const manifest = JSON.parse(read('package.json')) as Manifest;
const { contributes } = manifest;
/** TypeScript files under a folder, with slashes. */
const sources = (folder: string): string[] =>
  readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .filter((f) => f.endsWith('.ts'))
    .map((f) => `${folder}/${f.replaceAll('\\', '/')}`);

const client = sources('client').map(read).join('\n');
const declared = contributes.commands.map((c) => c.command).sort();

/** Ids in the client's quotes that begin with the prefix. */
const mentioned = new Set([...client.matchAll(/['`](attentionCircuits\.[\w.]+)['`]/g)].map((m) => m[1]));

test('every declared command is registered, and every registered one declared', () => {
  const table = [...client.matchAll(/export const \w*COMMANDS[^]*?\n};/g)].map((m) => m[0]).join('\n');
  const listed = [...table.matchAll(/^ {2}'(attentionCircuits\.\w+)'/gm)].map((m) => m[1]);
  const experiments = /const EXPERIMENTS = \{([^}]*)\}/.exec(client)?.[1] ?? '';
  const names = [...experiments.matchAll(/^ {2}(\w+):/gm)].map((m) => `attentionCircuits.experiment.${m[1]}`);
  const registered = [...listed, ...names].sort();
  expect(registered).toEqual(declared);
});

test('commands that the server sends exist', () => {
  expect(Object.values(Commands).filter((c) => !declared.includes(c))).toEqual([]);
});

test('menus, keys, welcome texts and walkthrough steps name commands that exist', () => {
  const text = JSON.stringify([contributes.viewsWelcome, contributes.walkthroughs]);
  const used = [
    ...Object.values(contributes.menus).flatMap((m) => m.map((x) => x.command)),
    ...contributes.keybindings.map((k) => k.command),
    ...[...text.matchAll(/command:(attentionCircuits\.\w+)/g)].map((m) => m[1]),
    ...[...text.matchAll(/onCommand:(attentionCircuits\.\w+)/g)].map((m) => m[1]),
  ];
  expect(used.filter((c) => !declared.includes(c))).toEqual([]);
});

test('commands share one category and read as titles', () => {
  for (const c of contributes.commands) {
    expect(c.category).toBe('Attention Circuits');
    expect(c.title).toMatch(/^[A-Z]/);
  }
});

test('every setting is read, and every read one declared, with description, scope where it is a path, and described choices', () => {
  const listed = /export const SETTINGS = \[([^]*?)\]/.exec(client)?.[1] ?? '';
  const read_ = [...listed.matchAll(/'([\w.]+)'/g)].map((m) => PREFIX + m[1]).sort();
  expect(read_).toEqual(Object.keys(contributes.configuration.properties).sort());
  const used = [...client.matchAll(/(?:setting|trusted)(?:<[^>]*(?:<[^>]*>)?[^>]*>)?\('([\w.]+)'\)/g)].map(
    (m) => PREFIX + m[1],
  );
  expect(read_.filter((s) => !used.includes(s) && s !== `${PREFIX}trace.server`)).toEqual([]);
  for (const [name, p] of Object.entries(contributes.configuration.properties)) {
    expect(p.markdownDescription, name).toMatch(/\.$/);
    expect(p.default, name).toBeDefined();
    if (p.enum && name !== `${PREFIX}trace.server`)
      expect(p.markdownEnumDescriptions?.length, name).toBe(p.enum.length);
  }
});

test('settings that name files or programs are restricted in untrusted folders', () => {
  const { restrictedConfigurations } = manifest.capabilities.untrustedWorkspaces;
  expect(restrictedConfigurations.sort()).toEqual(
    [
      'corpus.folder',
      'dictionaries',
      'importedLabels',
      'labels',
      'model',
      'registry',
      'server.arguments',
      'server.nodePath',
    ].map((s) => PREFIX + s),
  );
  for (const s of restrictedConfigurations) expect(contributes.configuration.properties[s].scope).toMatch(/^machine/);
});

test('the extension runs where the workspace is, also over SSH and in containers', () => {
  expect(manifest.extensionKind).toEqual(['workspace']);
});

test('views and colours are used; colours have all four defaults', () => {
  for (const view of Object.values(contributes.views).flat()) expect(mentioned.has(view.id), view.id).toBe(true);
  const style = read('webviews/style.css');
  for (const c of contributes.colors) {
    const heat = /heat\d$/.test(c.id) && client.includes('attentionCircuits.heat${');
    const inStyle = style.includes(`--vscode-${c.id.replace('.', '-')}`);
    expect(heat || inStyle || mentioned.has(c.id), c.id).toBe(true);
    expect(Object.keys(c.defaults).sort()).toEqual(['dark', 'highContrast', 'highContrastLight', 'light']);
  }
  const used = [...client.matchAll(/ThemeColor\('(attentionCircuits\.\w+)'\)/g)].map((m) => m[1]);
  expect(used.filter((u) => !contributes.colors.some((c) => c.id === u))).toEqual([]);
});

test('panels are restored: each view type has its activation event', () => {
  const types = /VIEW_TYPES[^]*?\n};/.exec(client)?.[0].match(/attentionCircuits\.\w+/g) ?? [];
  // Python files may hold prompts; the extension looks at them cheaply.
  expect(manifest.activationEvents.sort()).toEqual(
    ['onLanguage:python', ...types.map((t) => `onWebviewPanel:${t}`)].sort(),
  );
});

test('the walkthrough’s pages exist; the editor’s types are those of the oldest editor supported', () => {
  for (const s of contributes.walkthroughs.flatMap((w) => w.steps))
    expect(read(s.media.markdown).length).toBeGreaterThan(20);
  expect(manifest.engines.vscode).toBe(`^${manifest.devDependencies['@types/vscode']}`);
});

test('only the client imports vscode, only webviews/ui the toolkit, only the runtime ONNX Runtime', () => {
  const files = ['client', 'server', 'webviews'].flatMap(sources);
  const importers = (name: string): string[] => [
    ...new Set(
      files
        .filter((f) => new RegExp(`from '${name}['/]`).test(read(f)))
        .map((f) =>
          f
            .replaceAll('\\', '/')
            .split('/')
            .slice(0, name === 'vscode' ? 1 : 3)
            .join('/'),
        ),
    ),
  ];
  expect(importers('vscode')).toEqual(['client']);
  expect(importers('@vscode/webview-ui-toolkit')).toEqual(['webviews/ui/controls.ts']);
  expect(importers('onnxruntime-node')).toEqual(['server/src/runtime']);
});
