/**
 * The browser workbench: VS Code's own workbench, server and extension host as code-server packages them for npm, and the Node that
 * they need. Installed once per machine into a cache folder; needs the npm registry and nothing else.
 */
import { spawnSync, type SpawnSyncOptions } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';

const CODE_SERVER = '4.139.1';
const NODE = '24.21.0';
const NPM = ['--ignore-scripts', '--no-audit', '--no-fund', '--engine-strict=false', '--loglevel=error'];
const windows = process.platform === 'win32';

export interface Workbench {
  /** Node executable that runs code-server. */
  node: string;
  /** Folder of the code-server package. */
  codeServer: string;
}

/** Where downloaded tools are kept. */
export function toolCache(): string {
  const base = process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache');
  return process.env.ATTENTION_CIRCUITS_TOOLS ?? join(base, 'attention-circuits', 'tools');
}

/** Runs a program to its end. Throws with its output when it fails. */
export function run(command: string, args: string[], options: SpawnSyncOptions = {}): string {
  const r = spawnSync(command, args, { encoding: 'utf8', maxBuffer: 64 << 20, shell: windows, ...options });
  if (r.error ?? r.status !== 0) {
    const tail = (s: string | Buffer | null): string => String(s ?? '').slice(-3000);
    throw new Error(
      `${command} ${args.join(' ')} failed (${r.error?.message ?? r.status})\n${tail(r.stdout)}\n${tail(r.stderr)}`,
    );
  }
  return String(r.stdout);
}

const npm = (args: string[], cwd: string, env = process.env): string =>
  run(windows ? 'npm.cmd' : 'npm', args, { cwd, env });

/** Builds a folder aside and renames it, so that an interrupted or parallel run leaves no half of it. */
function once(name: string, build: (dir: string) => void): string {
  const target = join(toolCache(), name);
  if (existsSync(join(target, '.complete'))) return target;
  const aside = `${target}.${process.pid}`;
  rmSync(aside, { recursive: true, force: true });
  mkdirSync(aside, { recursive: true });
  writeFileSync(join(aside, 'package.json'), '{"private":true}');
  console.log(`installing ${name} into ${target} (once) …`);
  build(aside);
  writeFileSync(join(aside, '.complete'), '');
  if (existsSync(join(target, '.complete'))) rmSync(aside, { recursive: true, force: true });
  else {
    rmSync(target, { recursive: true, force: true });
    renameSync(aside, target);
  }
  return target;
}

function installNode(): string {
  if (process.versions.node.startsWith('24.')) return process.execPath;
  const name = `node-${windows ? 'win' : process.platform}-${process.arch}`;
  const dir = once(`node-${NODE}`, (d) => npm(['install', ...NPM, `${name}@${NODE}`], d));
  return join(dir, 'node_modules', name, 'bin', windows ? 'node.exe' : 'node');
}

/** Parts that no extension here uses, half of the size. */
function prune(vscode: string): void {
  const unused = [
    ['node_modules', '@github'],
    ['node_modules', '@microsoft', 'mxc-sdk'],
    ['extensions', 'copilot'],
    ['extensions', 'mermaid-markdown-features'],
  ];
  for (const parts of unused) rmSync(join(vscode, ...parts), { recursive: true, force: true });
  const ripgrep = join(vscode, 'node_modules', '@vscode', 'ripgrep-universal', 'bin');
  const own = `${process.platform}-${process.arch}`;
  if (!existsSync(join(ripgrep, own))) return;
  for (const other of readdirSync(ripgrep)) if (other !== own) rmSync(join(ripgrep, other), { recursive: true });
}

function installCodeServer(node: string): string {
  const dir = once(`code-server-${CODE_SERVER}`, (d) => {
    const env = { ...process.env, PATH: `${dirname(node)}${delimiter}${process.env.PATH ?? ''}` };
    // Its postinstall refuses other Nodes and compiles addons; its two inner installs are done here instead.
    npm(['install', ...NPM, `code-server@${CODE_SERVER}`], d, env);
    const vscode = join(d, 'node_modules', 'code-server', 'lib', 'vscode');
    npm(['install', '--omit=dev', ...NPM], vscode, env);
    npm(['install', '--omit=dev', ...NPM], join(vscode, 'extensions'), env);
    prune(vscode);
  });
  return join(dir, 'node_modules', 'code-server');
}

/** Installs what is missing. Throws, with the command that failed and its output, when it cannot. */
export function installWorkbench(): Workbench {
  const node = installNode();
  return { node, codeServer: installCodeServer(node) };
}

/** Makes the extension's package with a build's own program and returns its path. `dist` is the build's folder. */
export function makePackage(dist: string): string {
  const output = run(process.execPath, [join(dist, 'package.cjs')]);
  const path = /^(\S.*\.vsix) \([\d.]+ MiB\)$/m.exec(output)?.[1];
  if (path === undefined) throw new Error(`no package was made:\n${output}`);
  return path;
}
