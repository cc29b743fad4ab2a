import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    pool: 'forks',
    maxWorkers: 2,
    env: {
      ATTENTION_CIRCUITS_CACHE:
        process.env.ATTENTION_CIRCUITS_CACHE ?? mkdtempSync(join(tmpdir(), 'attention-circuits-test-')),
    },
  },
});
