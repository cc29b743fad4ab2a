import { defineConfig } from 'vitest/config';

/** `npm run bench:panel`: measurements in a browser page. They print figures and assert nothing about time. */
export default defineConfig({
  test: { include: ['bench/*.measure.ts', 'test/soak/*.measure.ts'], testTimeout: 120_000, pool: 'forks' },
});
