/**
 * `npm start`: prints the tree of the first example prompt, then opens VS Code on the examples with this extension and the demo model:
 * the desktop's `code` where there is one and a screen, otherwise the browser workbench on this machine only. Ctrl-C ends all of it.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { main } from '../server/src/cli';
import { Engine } from '../server/src/engine';
import { parsePrompts } from '../server/src/prompts';
import { makePackage } from './workbench/install';
import { startWorkbench, workbenchAddress } from './workbench/server';

const home = join(__dirname, '..');
const examples = join(home, 'examples');
const FIRST = 'ioi.prompts';

/** The tree of the first prompt's answer against its distractor, as the command line prints it. */
async function printFirstTree(signal: AbortSignal): Promise<number> {
  const demo = join(home, 'demo');
  const engine = await Engine.open({
    model: join(demo, 'model'),
    dictionaries: [],
    contract: 'auto',
    provider: 'cpu',
    signal,
  });
  const [p] = parsePrompts(readFileSync(join(examples, FIRST), 'utf8')).prompts;
  const position = engine.prompt(p.text, p.bos).tokens.length - 1;
  await engine.close();
  const [answer, distractor] = p.answers.map((a) => JSON.stringify(a));
  console.log(`examples/${FIRST}: ${p.text} …\n`);
  const root = `logitdiff:${answer}|${distractor}@${position}`;
  const shape = ['--depth', '2', '--top', '4', '--view', 'component'];
  return main(['tree', '--model', 'demo', '--prompt', p.text, '--root', root, ...shape], { home, signal });
}

/** The desktop's VS Code, if it can be started and has a screen. */
function desktopCode(): string | null {
  const screen = process.platform !== 'linux' || process.env.DISPLAY || process.env.WAYLAND_DISPLAY;
  if (!screen) return null;
  const shell = process.platform === 'win32';
  return spawnSync('code', ['--version'], { shell, stdio: 'ignore' }).status === 0 ? 'code' : null;
}

/** Opens a window of its own in the desktop's VS Code; resolves when it is closed. */
function openDesktop(code: string, signal: AbortSignal): Promise<void> {
  const data = mkdtempSync(join(tmpdir(), 'attention-circuits-'));
  const own = ['--user-data-dir', join(data, 'user-data'), '--extensions-dir', join(data, 'extensions')];
  const args = ['--wait', '--new-window', ...own, '--disable-workspace-trust', '--skip-welcome'];
  args.push(`--extensionDevelopmentPath=${home}`, examples, join(examples, FIRST));
  console.log('\nVS Code opens on examples/. Close its window or press Ctrl-C to end.');
  const posix = process.platform !== 'win32';
  const child: ChildProcess = spawn(code, args, { detached: posix, shell: !posix, stdio: 'ignore' });
  signal.addEventListener('abort', () => {
    if (child.pid !== undefined && posix) process.kill(-child.pid, 'SIGTERM');
    else child.kill();
  });
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', () => {
      rmSync(data, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
      resolve();
    });
  });
}

/** Opens the browser workbench and prints its address; resolves when the signal fires. */
async function openBrowserWorkbench(signal: AbortSignal): Promise<void> {
  console.log('\nNo desktop VS Code with a screen here: starting the browser workbench …');
  const server = await startWorkbench({ vsix: [makePackage(__dirname)] });
  console.log(
    `\nOpen this address in a browser on this machine (Ctrl-C ends it):\n\n  ${workbenchAddress(server, { folder: examples, openFile: join(examples, FIRST) })}\n`,
  );
  if (!signal.aborted) await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
  await server.stop();
}

async function start(signal: AbortSignal): Promise<number> {
  const code = await printFirstTree(signal);
  if (code !== 0) return code;
  console.log(
    '\nMore from the command line: npx attention-circuits tree --model demo --prompt "…" --root \'logit:" Mary"@14\'',
  );
  const desktop = desktopCode();
  if (desktop) await openDesktop(desktop, signal);
  else await openBrowserWorkbench(signal);
  return 0;
}

const controller = new AbortController();
for (const s of ['SIGINT', 'SIGTERM'] as const) process.on(s, () => controller.abort());
start(controller.signal).then(
  (code) => {
    process.exitCode = code;
  },
  (e: Error) => {
    console.error(e.message);
    process.exitCode = 1;
  },
);
