// The suite of the extension host in a desktop VS Code: `npm run test:desktop`. Not part of `npm test`: it needs a desktop VS Code,
// named in VSCODE_PATH or downloaded. Ends with 75 when none can be had. Without a screen run it under `xvfb-run -a`.
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { downloadAndUnzipVSCode, runTests } from '@vscode/test-electron';

const NONE = 75;
const root = resolve(import.meta.dirname, '..', '..');
let vscodeExecutablePath = process.env.VSCODE_PATH;
if (!vscodeExecutablePath) {
  try {
    vscodeExecutablePath = await downloadAndUnzipVSCode({ version: process.env.VSCODE_VERSION ?? 'stable' });
  } catch (e) {
    console.log(`skipped: no desktop VS Code: none in VSCODE_PATH, and the download failed (${e.code ?? e.message})`);
    process.exit(NONE);
  }
}
const home = mkdtempSync(join(tmpdir(), 'attention-circuits-'));
cpSync(join(root, 'examples', 'ioi.prompts'), join(home, 'folder', 'ioi.prompts'));
const results = join(home, 'results.json');
let failed = true;
try {
  const data = ['--user-data-dir', join(home, 'data'), '--extensions-dir', join(home, 'extensions')];
  const asRoot = process.getuid?.() === 0 ? ['--no-sandbox'] : [];
  await runTests({
    vscodeExecutablePath,
    extensionDevelopmentPath: root,
    extensionTestsPath: join(root, 'dist', 'hostTests.cjs'),
    extensionTestsEnv: { ATTENTION_CIRCUITS_RESULTS: results },
    launchArgs: [
      join(home, 'folder'),
      ...data,
      '--disable-workspace-trust',
      '--skip-welcome',
      '--disable-gpu',
      ...asRoot,
    ],
  });
  failed = false;
} catch (e) {
  console.error(e.message);
}
const list = existsSync(results) ? JSON.parse(readFileSync(results, 'utf8')) : [];
for (const t of list.filter((x) => !x.ok)) console.log(`${t.title}\n${t.error}`);
console.log(`${list.filter((t) => t.ok).length} passed, ${list.filter((t) => !t.ok).length} failed`);
rmSync(home, { recursive: true, force: true });
process.exit(failed ? 1 : 0);
