import { type Command } from 'commander';
import {
  headBySource,
  openFeature,
  preActivation,
  type PromptState,
  REMAINDER_LIMIT,
  sumGrid,
} from '../../attribution';
import { RemainderError, UsageError } from '../../errors';
import { type CommonOptions, type Context, withPrompt, withRun } from '../common';
import { writeJson, writeText } from '../output';
import { siteFeature, wholeNumber } from '../parse';
import { bar, quote, signed, table } from '../../text';

export interface DfaJson {
  site: string;
  feature: number;
  position: number;
  activation: number;
  preActivation: number;
  /** c_f = b_enc − b_dec·W_enc */
  constant: number;
  byHead: number[];
  bySource: number[];
  byHeadAndSource: Float64Array[];
  remainder: number;
}

/** DFA of one attention feature. Throws UsageError for other sites, RemainderError when the sums do not hold. */
export async function dfaJson(state: PromptState, site: string, feature: number, position: number): Promise<DfaJson> {
  const p = await preActivation(state, site, feature, position);
  const opening = await openFeature(state, site, feature, position);
  if (opening.type !== 'attention')
    throw new UsageError(`${site} is not an attention site: DFA is defined on attn.hook_z; use "tree"`);
  const grid = headBySource(state, opening.layer, position, opening.direction);
  const { byHead, bySource } = sumGrid(grid);
  const constant = opening.constant.value;
  const remainder = p.preActivation - bySource.reduce((a, b) => a + b, 0) - constant;
  const scale = bySource.reduce((a, b) => a + Math.abs(b), Math.abs(constant));
  if (!(Math.abs(remainder) <= REMAINDER_LIMIT * scale))
    throw new RemainderError(`${site}/${feature}@${position}`, remainder, scale);
  return { site, feature, position, ...p, constant, byHead, bySource, byHeadAndSource: grid, remainder };
}

function human(d: DfaJson, state: PromptState): string {
  const scale = d.bySource.reduce((a, b) => a + Math.abs(b), Math.abs(d.constant)) || 1;
  const name = (s: number): string => `@${s} ${quote(state.tokenText(s) ?? String(state.trace.tokens[s]))}`;
  const strongestHead = (s: number): string => {
    const h = d.byHeadAndSource.reduce(
      (best, r, i) => (Math.abs(r[s]) > Math.abs(d.byHeadAndSource[best][s]) ? i : best),
      0,
    );
    return `head ${h} ${signed(d.byHeadAndSource[h][s])}`;
  };
  return [
    `${d.site}/${d.feature} at ${name(d.position)}: activation ${d.activation.toFixed(4)}, pre-activation ${d.preActivation.toFixed(4)}`,
    'by source token:',
    ...table([
      ...d.bySource.map((v, s) => [`  ${name(s)}`, signed(v), bar(v / scale), strongestHead(s)]),
      ['  constant c_f', signed(d.constant), bar(d.constant / scale), ''],
      ['  remainder', d.remainder.toExponential(1), '', ''],
    ]),
    'by head:',
    ...table(d.byHead.map((v, h) => [`  head ${h}`, signed(v), bar(v / scale)])),
  ].join('\n');
}

/** `dfa`: one attention feature by head and source token. */
export function addDfa(program: Command, context: Context): void {
  withPrompt(program.command('dfa'))
    .description('direct feature attribution of one attention feature: by source, by head, head × source')
    .requiredOption('--feature <site/index>', 'the feature, such as blocks.3.attn.hook_z/15')
    .requiredOption('--position <p>', 'the token it is read at')
    .action(async (o: CommonOptions & { feature: string; position: string }) => {
      const { site, feature } = siteFeature('--feature', o.feature);
      const position = wholeNumber('--position', o.position);
      await withRun(context, o, async (_engine, run) => {
        const result = await dfaJson(run, site, feature, position);
        await (o.json ? writeJson(result) : writeText(human(result, run)));
      });
    });
}
