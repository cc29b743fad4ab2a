/** The extension for one platform, with only its runtime binary and the demo model, as one file. */
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createVSIX } from '@vscode/vsce';

const root = join(__dirname, '..');
const TARGETS = ['linux-x64', 'linux-arm64', 'win32-x64', 'win32-arm64', 'darwin-arm64'];
/** Files of the repository that are shipped as they are. */
const SHIPPED = [
  'README.md',
  'LICENSE',
  'CHANGELOG.md',
  'media',
  'examples/ioi.prompts',
  'examples/gender.prompts',
  'demo/model',
  'demo/saes',
  'demo/README.md',
  'server/python',
  'server/golden',
  'server/registry',
];
/** The pictures that the README shows. */
const pictures = (): string[] =>
  [...readFileSync(join(root, 'README.md'), 'utf8').matchAll(/\]\((docs\/pictures\/[\w-]+\.png)\)/g)].map((m) => m[1]);
const BUILT = ['client.cjs', 'server.cjs', 'cli.cjs', 'webviews/main.js', 'webviews/style.css'];

interface Manifest {
  name: string;
  version: string;
  dependencies?: Record<string, string>;
  devDependencies?: unknown;
  scripts?: unknown;
  allowScripts?: unknown;
}

const readManifest = (path: string): Manifest => JSON.parse(readFileSync(path, 'utf8')) as Manifest;

/** The runtime with one platform's binary, without what only its installer needs. */
function stageRuntime(stage: string, target: string): Record<string, string> {
  const [os, arch] = target.split('-');
  const from = join(root, 'node_modules', 'onnxruntime-node');
  const to = join(stage, 'node_modules', 'onnxruntime-node');
  const binary = join('bin', 'napi-v6', os, arch);
  if (!existsSync(join(from, binary)))
    throw new Error(`onnxruntime-node has no binary for ${target} (${join(from, binary)})`);
  for (const part of ['dist', binary]) cpSync(join(from, part), join(to, part), { recursive: true });
  const m = readManifest(join(from, 'package.json'));
  m.dependencies = { 'onnxruntime-common': m.dependencies?.['onnxruntime-common'] ?? '*' };
  delete m.scripts;
  writeFileSync(join(to, 'package.json'), JSON.stringify(m));
  const common = join('node_modules', 'onnxruntime-common');
  for (const part of ['dist', 'package.json'])
    cpSync(join(root, common, part), join(stage, common, part), { recursive: true });
  const database = 'node-sqlite3-wasm';
  const files = join('node_modules', database);
  for (const part of ['dist', 'package.json', 'LICENSE'])
    cpSync(join(root, files, part), join(stage, files, part), { recursive: true });
  return { 'onnxruntime-node': m.version, [database]: readManifest(join(root, files, 'package.json')).version };
}

/** Makes the package and returns its path. Throws with the target when there is no binary for it. */
export async function packageExtension(target = `${process.platform}-${process.arch}`): Promise<string> {
  if (!TARGETS.includes(target)) throw new Error(`${target} is not supported; there are: ${TARGETS.join(', ')}`);
  const stage = mkdtempSync(join(tmpdir(), 'attention-circuits-package-'));
  for (const file of [...SHIPPED, ...pictures()]) cpSync(join(root, file), join(stage, file), { recursive: true });
  for (const file of BUILT) cpSync(join(root, 'dist', file), join(stage, 'dist', file));
  const m = readManifest(join(root, 'package.json'));
  m.dependencies = stageRuntime(stage, target);
  for (const key of ['devDependencies', 'scripts', 'allowScripts'] as const) delete m[key];
  writeFileSync(join(stage, 'package.json'), JSON.stringify(m, null, 1));
  const path = join(root, 'dist', `${m.name}-${target}-${m.version}.vsix`);
  writeFileSync(join(stage, '.vscodeignore'), '**/*.map\n**/*.d.ts\nnode_modules/onnxruntime-common/dist/esm/**\n');
  try {
    const made = join(stage, 'package.vsix');
    await createVSIX({ cwd: stage, packagePath: made, target });
    copyFileSync(made, `${path}.${process.pid}`);
    renameSync(`${path}.${process.pid}`, path);
  } finally {
    rmSync(stage, { recursive: true, force: true });
  }
  return path;
}
