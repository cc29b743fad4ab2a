import { type Command, Option } from 'commander';
import { buildTree, type By, type NodeJson, type View } from '../../attribution';
import { type CommonOptions, type Context, withPrompt, withRun } from '../common';
import { writeJson, writeText } from '../output';
import { parseRoot, wholeNumber } from '../parse';
import { bar, percent, quote, signed } from '../text';

const GLYPHS: Record<NodeJson['kind'], string> = {
  logit: '◎',
  'logit-difference': '◎',
  'attention-feature': '▲',
  'source-token': '←',
  'head-source': '←',
  'residual-feature': '●',
  'transcoder-feature': '■',
  attn: '△',
  mlp: '□',
  skip: '□',
  error: '✕',
  bias: '·',
  'token-embedding': '¶',
  'position-embedding': '¶',
};

function label(n: NodeJson): string {
  const token = n.token == null ? '' : ` ${quote(n.token)}`;
  const at = n.position === undefined ? '' : ` @${n.position}`;
  switch (n.kind) {
    case 'logit':
      return `logit of${token || ` ${n.tokenId}`}${at}`;
    case 'logit-difference':
      return `logit of${token || ` ${n.tokenId}`} minus ${n.tokenMinus?.text == null ? n.tokenMinus?.id : quote(n.tokenMinus.text)}${at}`;
    case 'attention-feature':
    case 'residual-feature':
    case 'transcoder-feature':
      return `${n.site}/${n.feature}${at}${token}, activation ${(n.activation ?? 0).toFixed(3)}`;
    case 'source-token':
      return `attends to${at}${token}`;
    case 'head-source':
      return `head ${n.layer}.${n.head} attends to${at}${token}`;
    case 'attn':
      return `attention of layer ${n.layer}${at}`;
    case 'mlp':
      return `MLP of layer ${n.layer}${at}`;
    case 'skip':
      return `skip of ${n.site}${at}`;
    case 'error':
      return `error of ${n.site}${at}`;
    case 'bias':
      return `bias ${n.name}${n.site ? ` of ${n.site}` : n.layer === undefined ? '' : ` of layer ${n.layer}`}`;
    case 'token-embedding':
      return `embedding of${token || ` ${n.tokenId}`}${at}`;
    case 'position-embedding':
      return `position${at}`;
  }
}

function lines(n: NodeJson, indent: string, last: boolean, root: boolean, out: string[]): void {
  const branch = root ? '' : `${indent}${last ? '└─' : '├─'} `;
  const share = root ? '' : `${bar(n.share, 8)} ${percent(n.share).padStart(5)} `;
  out.push(`${branch}${signed(n.contribution)} ${share}${GLYPHS[n.kind]} ${label(n)}`);
  if (n.cut === undefined) return;
  const below = root ? '' : `${indent}${last ? '   ' : '│  '}`;
  n.children.forEach((c) => lines(c, below, false, false, out));
  const cut = n.cut.count > 0 ? `${n.cut.count} more not shown, together ${signed(n.cut.sum)}; ` : '';
  out.push(`${below}└─ ${cut}remainder ${(n.remainder ?? 0).toExponential(1)}`);
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
    .addOption(new Option('--view <view>', 'what the stream opens into').choices(['residual', 'component']).default('residual'))
    .addOption(new Option('--by <by>', 'what attention opens into').choices(['source', 'head']).default('source'))
    .action(async (o: CommonOptions & { root: string; depth: string; top: string; view: View; by: By }) => {
      const depth = wholeNumber('--depth', o.depth);
      const top = wholeNumber('--top', o.top);
      await withRun(context, o, async (engine, run) => {
        const root = await buildTree(run, parseRoot(engine, o.root), { depth, top, view: o.view, by: o.by, signal: context.signal });
        await (o.json ? writeJson({ root }) : writeText(treeText(root)));
      });
    });
}
