import { type Command } from 'commander';
import { type Change, validateEdge } from '../../analyses';
import { type CommonOptions, type Context, withPrompt, withRun } from '../common';
import { writeJson, writeText } from '../output';
import { parseRoot } from '../parse';
import { signed, table } from '../../text';

/** `validate`: one edge of a tree checked against the model. */
export function addValidate(program: Command, context: Context): void {
  withPrompt(program.command('validate'))
    .description('check one edge of a tree by running the model without its source')
    .requiredOption('--root <root>', 'root of the tree')
    .requiredOption('--edge <id>', 'id of the child node, as "tree" prints it')
    .action(async (o: CommonOptions & { root: string; edge: string }) => {
      await withRun(context, o, async (engine, run) => {
        const v = await validateEdge(engine, run, parseRoot(engine, o.root), o.edge);
        if (o.json) return writeJson(v);
        const row = (name: string, c: Change): string[] => [
          `  ${name}`,
          signed(c.before),
          signed(c.after),
          signed(c.change),
        ];
        return writeText(
          [
            `edge    ${v.edge}`,
            `parent  ${v.parent}`,
            `removing the source should change the parent by ${signed(-v.predicted)}`,
            ...table([
              ['  level', 'before', 'after', 'change'],
              row('direct', v.direct),
              row('frozen', v.frozen),
              row('free', v.free),
            ]),
          ].join('\n'),
        );
      });
    });
}
