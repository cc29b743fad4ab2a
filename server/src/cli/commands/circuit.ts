import { type Command } from 'commander';
import { checkCircuit, readCircuit } from '../../circuits';
import { VerificationError } from '../../errors';
import { signed, table as columns } from '../../text';
import { type CommonOptions, type Context, openEngine, withModel } from '../common';
import { writeJson, writeText } from '../output';

/** `check`: a saved circuit computed again, as a regression test. */
export function addCircuit(program: Command, context: Context): void {
  withModel(program.command('check <file>'))
    .description('compute a saved circuit (*.circuit.json) again and compare every number; exit code 4 if one differs')
    .option('--same-weights', 'other weights than the stored ones count as a difference as well')
    .action(async (file: string, o: CommonOptions & { sameWeights?: boolean }) => {
      const { circuit } = readCircuit(file);
      const engine = await openEngine(context, o);
      try {
        const r = await checkCircuit(engine, circuit, context.signal);
        if (o.json) await writeJson(r);
        else {
          const rows = r.differences.map((d) => [
            d.node,
            d.what,
            signed(d.stored),
            d.got === null ? 'gone' : signed(d.got),
          ]);
          const sum = `${r.numbers} numbers, ${r.differences.length} differ; largest difference ${r.worst.toExponential(1)} of max(1, |stored|)`;
          const head = rows.length > 0 ? columns([['node', '', 'stored', 'now'], ...rows]) : [];
          await writeText([...r.identity.map((i) => `note: ${i}`), ...head, sum].join('\n'));
        }
        const strict = o.sameWeights === true ? r.identity.length : 0;
        if (r.differences.length + strict > 0) throw new VerificationError(r.differences.length + strict);
      } finally {
        await engine.close();
      }
    });
}
