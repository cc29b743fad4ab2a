/** Figures of the feature index on the demo model and its held-out sentences: `npm run bench:corpus`. */
import { mkdtempSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'vitest';
import { Corpus } from '../server/src/corpus';
import { Engine } from '../server/src/engine';

const DEMO = join(import.meta.dirname, '..', 'demo');

function quantiles(times: number[]): string {
  const sorted = [...times].sort((a, b) => a - b);
  const at = (q: number): string => sorted[Math.floor(q * (sorted.length - 1))].toFixed(1);
  return `median ${at(0.5)} ms, p95 ${at(0.95)} ms`;
}

async function timed(n: number, job: (i: number) => unknown): Promise<number[]> {
  const out: number[] = [];
  for (let i = 0; i < n; i++) {
    const start = performance.now();
    await job(i);
    out.push(performance.now() - start);
  }
  return out;
}

test('feature index', { timeout: 300_000 }, async () => {
  const engine = await Engine.open({
    model: join(DEMO, 'model'),
    dictionaries: [join(DEMO, 'saes')],
    contract: 'auto',
    provider: 'cpu',
  });
  const corpus = new Corpus(engine, join(DEMO, 'heldout.jsonl'), 64, mkdtempSync(join(tmpdir(), 'corpora-')));
  const signal = new AbortController().signal;
  const start = performance.now();
  const meta = await corpus.build({ signal, maxTokens: 1e7, step: () => Promise.resolve() });
  const seconds = (performance.now() - start) / 1000;
  const runs = await timed(200, (i) => engine.run(Array.from({ length: 20 }, (_, k) => 1 + ((i + k) % 500))));
  const bare = runs.reduce((a, b) => a + b, 0) / runs.length;
  const lines = [
    `index: ${meta.contexts} contexts, ${meta.tokens} tokens, ${meta.sites.length} dictionaries in ${seconds.toFixed(1)} s`,
    `  ${((1000 * seconds) / meta.contexts).toFixed(1)} ms a context; a forward pass of 20 tokens takes ${bare.toFixed(1)} ms`,
    `  ${(statSync(corpus.path).size / 1e6).toFixed(0)} MB on disk`,
    `dashboard: ${quantiles(await timed(400, (i) => corpus.dashboard('blocks.2.attn.hook_z', i)))}`,
    `search: ${quantiles(await timed(200, (i) => corpus.search(['mary', 'shops', 'gave', 'to'][i % 4], 100)))}`,
  ];
  console.log(lines.join('\n'));
  corpus.close();
  await engine.close();
});
