import { join } from 'node:path';
import { type Command } from 'commander';
import type { VerifyRow } from '../../../protocol/verify';
import { VerificationError } from '../../errors';
import { readTable, tableFor, verify } from '../../golden';
import { table as columns } from '../../text';
import { type CommonOptions, type Context, openEngine, withModel } from '../common';
import { Progress, writeJson, writeText } from '../output';

const MARK: Record<VerifyRow['outcome'], string> = { pass: '✓', fail: '✕', missing: '–' };

const cell = (x: VerifyRow['got']): string => (typeof x === 'number' ? x.toFixed(4) : (x ?? ''));

/** `verify`: published numbers against those of this installation. */
export function addVerify(program: Command, context: Context): void {
  withModel(program.command('verify'))
    .description('compute published numbers with these files and compare them; exit code 4 if one differs')
    .option('--table <file>', 'expected numbers (default: those of the model)')
    .action(async (o: CommonOptions & { table?: string }) => {
      const engine = await openEngine(context, o);
      const progress = new Progress('verifying', (n) => `${Math.round(100 * n)}%`);
      try {
        const folder = join(context.home, 'server', 'golden');
        const expected = o.table === undefined ? tableFor(folder, engine) : readTable(o.table);
        const step = (_message: string, fraction: number): Promise<void> => {
          progress.update(fraction, 1);
          return Promise.resolve();
        };
        const rows = await verify(engine, expected, { signal: context.signal, step });
        progress.end();
        const count = (outcome: VerifyRow['outcome']): number => rows.filter((r) => r.outcome === outcome).length;
        if (o.json) await writeJson({ table: expected.name, rows });
        else {
          const lines = rows.map((r) => [
            MARK[r.outcome],
            r.id,
            r.needs ?? r.what,
            cell(r.expected),
            cell(r.got),
            r.needs === null && r.tolerance > 0 ? `±${r.tolerance}` : '',
          ]);
          const head = ['', '', expected.name, 'expected', 'got', 'tolerance'];
          const sums = `${count('pass')} agree, ${count('fail')} differ, ${count('missing')} need files that are not here`;
          await writeText([...columns([head, ...lines]), '', sums].join('\n'));
        }
        if (count('fail') > 0) throw new VerificationError(count('fail'));
      } finally {
        progress.end();
        await engine.close();
      }
    });
}
