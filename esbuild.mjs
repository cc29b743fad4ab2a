// Bundles what runs: the extension, the server, the command line, the panels, `npm start`, the benchmark and the quality check.
import { build } from 'esbuild';
import { existsSync } from 'node:fs';

const node = {
  client: 'client/src/extension.ts',
  server: 'server/src/main.ts',
  cli: 'server/src/cli/bin.ts',
  start: 'examples/start.ts',
  bench: 'bench/index.ts',
  quality: 'demo/quality/index.ts',
  package: 'examples/workbench/packageMain.ts',
  workbench: 'examples/workbench/installMain.ts',
  hostTests: 'test/workbench/host/index.ts',
  storage: 'test/support/storage.ts',
};

const here = (entries) => Object.fromEntries(Object.entries(entries).filter(([, file]) => existsSync(file)));
const common = { bundle: true, sourcemap: 'linked', logLevel: 'warning' };

await Promise.all([
  build({
    ...common,
    entryPoints: here(node),
    outdir: 'dist',
    outExtension: { '.js': '.cjs' },
    platform: 'node',
    target: 'node20',
    format: 'cjs',
    external: ['onnxruntime-node', 'node-sqlite3-wasm', 'vscode', '@vscode/vsce', 'mocha'],
  }),
  build({
    ...common,
    entryPoints: here({ main: 'webviews/main.ts', style: 'webviews/style.css' }),
    outdir: 'dist/webviews',
    platform: 'browser',
    target: 'es2022',
    format: 'iife',
    minify: true,
  }),
]);
