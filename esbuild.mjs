// Bundles what runs: the command line, `npm start`, the benchmark and the demo model's quality check.
import { build } from 'esbuild';
import { existsSync } from 'node:fs';

const entries = {
  cli: 'server/src/cli/bin.ts',
  start: 'examples/start.ts',
  bench: 'bench/index.ts',
  quality: 'demo/quality/index.ts',
};

await build({
  entryPoints: Object.fromEntries(Object.entries(entries).filter(([, file]) => existsSync(file))),
  outdir: 'dist',
  outExtension: { '.js': '.cjs' },
  bundle: true,
  platform: 'node',
  target: 'node20',
  format: 'cjs',
  external: ['onnxruntime-node'],
  sourcemap: 'linked',
  logLevel: 'warning',
});
