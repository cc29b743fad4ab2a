/** Starts the browser workbench on loopback, with settings, extensions and data of its own, and ends all of it. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { installWorkbench } from './install';

const START_MS = 60_000;
const STOP_MS = 5000;

/** Settings for a quiet window. */
const QUIET = {
  'workbench.startupEditor': 'none',
  'workbench.secondarySideBar.defaultVisibility': 'hidden',
  'workbench.enableExperiments': false,
  'telemetry.telemetryLevel': 'off',
  'extensions.autoUpdate': false,
  'extensions.autoCheckUpdates': false,
  'extensions.ignoreRecommendations': true,
  'update.mode': 'none',
  'chat.disableAIFeatures': true,
  'git.enabled': false,
};

export interface WorkbenchOptions {
  /** Packages to install into it. */
  vsix?: string[];
  settings?: Record<string, unknown>;
  env?: Record<string, string>;
  /** Whether workspaces must be trusted first. */
  trust?: boolean;
  /** Whether the address may name extensions under test. */
  tests?: boolean;
}

export interface WorkbenchServer {
  url: string;
  /** Temporary folder of everything it keeps. */
  home: string;
  output(): string;
  stop(): Promise<void>;
}

const freePort = (): Promise<number> =>
  new Promise((resolve, reject) => {
    const s = createServer();
    s.once('error', reject).listen(0, '127.0.0.1', () => {
      const address = s.address();
      s.close(() => resolve(typeof address === 'object' && address ? address.port : 0));
    });
  });

function environment(extra: Record<string, string>): NodeJS.ProcessEnv {
  const env: NodeJS.ProcessEnv = { ...process.env, EXTENSIONS_GALLERY: '{}', ...extra };
  for (const k of Object.keys(env)) {
    if (/^(VSCODE_|VITEST|NODE_OPTIONS$|NODE_ENV$|ELECTRON_RUN_AS_NODE$|PORT$)/.test(k)) delete env[k];
  }
  return env;
}

async function healthy(url: string, gone: () => boolean, output: () => string): Promise<void> {
  const end = Date.now() + START_MS;
  for (;;) {
    if (gone()) throw new Error(`the workbench stopped:\n${output()}`);
    const ok = await fetch(`${url}/healthz`).then(
      (r) => r.ok,
      () => false,
    );
    if (ok) return;
    if (Date.now() > end) throw new Error(`the workbench did not start within ${START_MS / 1000} s:\n${output()}`);
    await new Promise((r) => setTimeout(r, 100));
  }
}

/** Signals the process and everything it started. */
function signalGroup(child: ChildProcess, signal: NodeJS.Signals): void {
  try {
    if (child.pid !== undefined) process.kill(process.platform === 'win32' ? child.pid : -child.pid, signal);
  } catch {
    // It has ended already.
  }
}

/** Starts the workbench. It listens on 127.0.0.1 only and needs no password there. */
export async function startWorkbench(o: WorkbenchOptions = {}): Promise<WorkbenchServer> {
  const tools = installWorkbench();
  const home = mkdtempSync(join(tmpdir(), 'attention-circuits-'));
  const userData = join(home, 'user-data');
  mkdirSync(join(userData, 'User'), { recursive: true });
  mkdirSync(join(home, 'extensions'));
  const settings = { ...QUIET, 'security.workspace.trust.enabled': o.trust === true, ...o.settings };
  writeFileSync(join(userData, 'User', 'settings.json'), JSON.stringify(settings, null, 1));
  writeFileSync(join(home, 'config.yaml'), '');
  const env = environment(o.env ?? {});
  const entry = join(tools.codeServer, 'out', 'node', 'entry.js');
  const common = [
    entry,
    '--config',
    join(home, 'config.yaml'),
    '--user-data-dir',
    userData,
    '--extensions-dir',
    join(home, 'extensions'),
  ];
  for (const vsix of o.vsix ?? []) {
    const r = spawnSync(tools.node, [...common, '--install-extension', vsix], { env, encoding: 'utf8' });
    if (r.status !== 0) throw new Error(`installing ${vsix} failed: ${r.stdout}${r.stderr}`);
  }
  const port = await freePort();
  const args = [
    ...common,
    '--bind-addr',
    `127.0.0.1:${port}`,
    '--auth',
    'none',
    '--disable-telemetry',
    '--disable-update-check',
    '--disable-getting-started-override',
  ];
  if (!o.trust) args.push('--disable-workspace-trust');
  if (o.tests) args.push('--vscode-option', 'enable-smoke-test-driver');
  const child = spawn(tools.node, args, {
    env,
    detached: process.platform !== 'win32',
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let out = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (d: Buffer) => (out = (out + d.toString()).slice(-20_000)));
  let gone = false;
  child.once('exit', () => (gone = true));
  const kill = (): void => signalGroup(child, 'SIGKILL');
  process.once('exit', kill);
  const url = `http://127.0.0.1:${port}`;
  await healthy(
    url,
    () => gone,
    () => out,
  ).catch((e: unknown) => {
    kill();
    throw e;
  });
  return {
    url,
    home,
    output: () => out,
    stop: async () => {
      signalGroup(child, 'SIGTERM');
      const end = Date.now() + STOP_MS;
      while (!gone && Date.now() < end) await new Promise((r) => setTimeout(r, 50));
      kill();
      process.removeListener('exit', kill);
      rmSync(home, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
    },
  };
}

/** Address of a folder, with a file opened in it. Extensions under test are named only with the option `tests`. */
export function workbenchAddress(
  server: WorkbenchServer,
  o: { folder: string; openFile?: string; development?: string; tests?: string },
): string {
  const remote = (path: string): string =>
    `vscode-remote://${server.url.slice('http://'.length)}${path.replaceAll('\\', '/')}`;
  const payload: [string, string][] = [['skipWelcome', 'true']];
  if (o.development) payload.push(['extensionDevelopmentPath', remote(o.development)]);
  if (o.tests) payload.push(['extensionTestsPath', remote(o.tests)]);
  if (o.openFile) payload.push(['openFile', remote(o.openFile)]);
  return `${server.url}/?folder=${encodeURIComponent(o.folder)}&payload=${encodeURIComponent(JSON.stringify(payload))}`;
}
