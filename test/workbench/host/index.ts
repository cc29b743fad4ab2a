/** Loaded inside the extension host: by the browser workbench in `npm test`, or by @vscode/test-electron. Runs the suite with mocha. */
import { writeFileSync } from 'node:fs';
import Mocha from 'mocha';
import { suite } from './suite';

export interface HostResult {
  title: string;
  ok: boolean;
  ms: number;
  error?: string;
}

export async function run(): Promise<void> {
  const mocha = new Mocha({ ui: 'bdd', timeout: 30_000, color: false });
  mocha.suite.emit('pre-require', globalThis as never, '', mocha);
  suite();
  const results: HostResult[] = [];
  const failures = await new Promise<number>((resolve) => {
    const runner = mocha.run(resolve);
    runner.on('pass', (t) => results.push({ title: t.fullTitle(), ok: true, ms: t.duration ?? 0 }));
    runner.on('fail', (t, e: Error) =>
      results.push({ title: t.fullTitle(), ok: false, ms: 0, error: e.stack ?? String(e) }),
    );
  });
  const file = process.env.ATTENTION_CIRCUITS_RESULTS;
  if (file) writeFileSync(file, JSON.stringify(results, null, 1));
  if (failures > 0) throw new Error(`${failures} failed`);
}
