import { type Command, Option } from 'commander';
import { buildTree, type By, type NodeJson, type View } from '../../attribution';
import { type CommonOptions, type Context, withPrompt, withRun } from '../common';
import { writeJson, writeText } from '../output';
import { parseRoot, wholeNumber } from '../parse';
import { pythonScript, treeSpec } from '../../python';
import { bar, GLYPHS, nodeLabel, percent, signed } from '../../text';

/** A node's name, with the activation of features. */
const labelOf = (n: NodeJson): string =>
  nodeLabel(n) + (n.activation === undefined ? '' : `, activation ${n.activation.toFixed(3)}`);

/** Leaves below this share of their siblings are added up in one line of the human output. */
const SMALL_SHARE = 0.01;

function lines(n: NodeJson, indent: string, last: boolean, root: boolean, out: string[]): void {
  const branch = root ? '' : `${indent}${last ? '└─' : '├─'} `;
  const share = root ? '' : `${bar(n.share, 8)} ${percent(n.share).padStart(5)} `;
  out.push(`${branch}${signed(n.contribution)} ${share}${GLYPHS[n.kind]} ${labelOf(n)}`);
  if (n.cut === undefined) return;
  const below = root ? '' : `${indent}${last ? '   ' : '│  '}`;
  const small = n.children.filter((c) => c.cut === undefined && Math.abs(c.share) < SMALL_SHARE);
  const folded = new Set(small.length > 1 ? small : []);
  for (const c of n.children) if (!folded.has(c)) lines(c, below, false, false, out);
  const notes: string[] = [];
  const sum = [...folded].reduce((t, c) => t + c.contribution, 0);
  if (folded.size > 0) notes.push(`${folded.size} parts below 1% each, together ${signed(sum)}`);
  if (n.cut.count > 0) notes.push(`${n.cut.count} features or sources not shown, together ${signed(n.cut.sum)}`);
  out.push(`${below}└─ ${[...notes, `remainder ${(n.remainder ?? 0).toExponential(1)}`].join('; ')}`);
}

/** The tree as indented lines, every sum shown. */
export function treeText(root: NodeJson): string {
  const out: string[] = [];
  lines(root, '', true, true, out);
  return out.join('\n');
}

/** `tree`: the recursive DFA tree of a feature, a logit or a logit difference. */
export function addTree(program: Command, context: Context): void {
  withPrompt(program.command('tree'))
    .description('the recursive DFA tree of a feature, a logit or a logit difference')
    .requiredOption('--root <root>', 'SITE/INDEX@P, logit:TOKEN@P or logitdiff:TOKEN|TOKEN@P')
    .option('--depth <n>', 'levels below the root', '2')
    .option('--top <k>', 'feature and source-token children kept at each node', '10')
    .addOption(
      new Option('--view <view>', 'what the stream opens into').choices(['residual', 'component']).default('residual'),
    )
    .addOption(new Option('--by <by>', 'what attention opens into').choices(['source', 'head']).default('source'))
    .option('--python', 'print a script for TransformerLens and SAELens that computes every contribution again')
    .action(
      async (o: CommonOptions & { python?: boolean; root: string; depth: string; top: string; view: View; by: By }) => {
        const depth = wholeNumber('--depth', o.depth);
        const top = wholeNumber('--top', o.top);
        await withRun(context, o, async (engine, run) => {
          const spec = parseRoot(engine, o.root);
          const root = await buildTree(run, spec, {
            depth,
            top,
            view: o.view,
            by: o.by,
            signal: context.signal,
          });
          if (o.python)
            return writeText(
              pythonScript(context.home, 'A tree', 'tree', treeSpec(engine, run.trace.tokens, spec, root)),
            );
          await (o.json ? writeJson({ root }) : writeText(treeText(root)));
        });
      },
    );
}
