// `npm test`: everything a stranger runs. Builds, checks types, lint and format, then runs the tests; ends with "N passed, N failed".
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

const results = [];
const temp = mkdtempSync(join(tmpdir(), 'attention-circuits-test-'));
const bin = (name) => join('node_modules', '.bin', process.platform === 'win32' ? `${name}.cmd` : name);

function step(name, command, args, env = {}) {
  const start = Date.now();
  console.log(`\n── ${name}`);
  const r = spawnSync(command, args, {
    stdio: 'inherit',
    env: { ...process.env, ...env },
    shell: process.platform === 'win32',
  });
  const seconds = ((Date.now() - start) / 1000).toFixed(1);
  console.log(`── ${name}: ${r.status === 0 ? 'ok' : 'FAILED'} (${seconds} s)`);
  return r.status === 0;
}

/** A browser, and with it the software Vulkan driver for the WebGPU tests, where they can be installed without asking. */
function ensureBrowser() {
  const needed = ['/usr/bin/chromium', '/usr/lib/chromium/vk_swiftshader_icd.json'];
  const root = process.platform === 'linux' && process.getuid?.() === 0;
  if (!root || needed.every((f) => existsSync(f)) || spawnSync('apt-get', ['--version']).status !== 0) return;
  const packages = 'chromium libvulkan1 fonts-dejavu-core';
  const install = `apt-get update -q && apt-get install -qy --no-install-recommends ${packages}`;
  step('browser and software Vulkan driver', 'sh', ['-c', install], { DEBIAN_FRONTEND: 'noninteractive' });
}

const check = (name, command, args) => results.push({ name, ok: step(name, command, args) });
check('build', process.execPath, ['esbuild.mjs']);
check('package', process.execPath, ['dist/package.cjs']);
check('types', bin('tsc'), ['-p', 'tsconfig.json']);
check('types of the panels', bin('tsc'), ['-p', 'webviews/tsconfig.json']);
check('lint', bin('eslint'), ['.', '--max-warnings', '0']);
check('format', bin('prettier'), ['--check', '--log-level', 'warn', '.']);
ensureBrowser();
check('workbench', process.execPath, ['dist/workbench.cjs']);

const { name, version } = JSON.parse(readFileSync('package.json', 'utf8'));
const vsix = resolve('dist', `${name}-${process.platform}-${process.arch}-${version}.vsix`);
let passed = 0;
let failed = 0;
let skipped = 0;

/** Runs part of the tests and adds up what they say. */
function vitest(title, only) {
  const report = join(temp, `${title}.json`);
  const args = ['run', ...only, '--reporter=default', '--reporter=json', `--outputFile.json=${report}`];
  const ok = step(title, bin('vitest'), args, {
    ATTENTION_CIRCUITS_CACHE: join(temp, 'cache'),
    ATTENTION_CIRCUITS_SHOTS: process.env.ATTENTION_CIRCUITS_SHOTS ?? resolve('dist', 'screenshots'),
    ...(existsSync(vsix) ? { ATTENTION_CIRCUITS_VSIX: vsix } : {}),
  });
  if (!existsSync(report)) {
    failed++;
    return;
  }
  const r = JSON.parse(readFileSync(report, 'utf8'));
  passed += r.numPassedTests;
  failed += r.numFailedTests;
  skipped += r.numPendingTests + r.numTodoTests;
  if (!ok && r.numFailedTests === 0) failed++;
}

vitest('tests', ['--exclude', 'test/workbench/**']);
// A workbench, a browser and a model want both cores for themselves.
vitest('workbench tests', ['test/workbench', '--no-file-parallelism']);
passed += results.filter((r) => r.ok).length;
failed += results.filter((r) => !r.ok).length;
rmSync(temp, { recursive: true, force: true });
for (const r of results.filter((x) => !x.ok)) console.log(`failed: ${r.name}`);
console.log(`\n${passed} passed, ${failed} failed${skipped ? `, ${skipped} skipped` : ''}`);
process.exit(failed === 0 ? 0 : 1);
