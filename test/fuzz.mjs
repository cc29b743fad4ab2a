// `npm run fuzz`: every reader of files from outside is tried on changed files for ATTENTION_CIRCUITS_FUZZ_SECONDS (60) each.
import { spawnSync } from 'node:child_process';

const seconds = process.env.ATTENTION_CIRCUITS_FUZZ_SECONDS ?? '60';
const { status } = spawnSync(
  'npx',
  ['vitest', 'run', 'test/unit/readersFuzz.test.ts', 'test/unit/dictionaryFuzz.test.ts'],
  {
    stdio: 'inherit',
    shell: process.platform === 'win32',
    env: { ...process.env, ATTENTION_CIRCUITS_FUZZ_SECONDS: seconds },
  },
);
process.exit(status ?? 1);
