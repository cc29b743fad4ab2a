import { type Command } from 'commander';
import { runSpliced } from '../../analyses';
import { type CommonOptions, type Context, withPrompt, withRun } from '../common';
import { writeJson, writeText } from '../output';
import { parseIntervention, wholeNumber } from '../parse';
import { predict, type Prediction } from '../../analyses';
import { percent, quote } from '../../text';

const collect = (value: string, all: string[]): string[] => [...all, value];

function human(clean: Prediction[], changed: Prediction[]): string {
  const show = (p: Prediction): string =>
    p.top
      .slice(0, 3)
      .map((t) => `${t.text === null ? t.id : quote(t.text)} ${percent(t.probability)}`)
      .join(', ');
  return changed.map((p, i) => `@${p.position}  before: ${show(clean[i])}   after: ${show(p)}`).join('\n');
}

interface RunOptions extends CommonOptions {
  splice: string[];
  errorTerm?: boolean;
  ablate: string[];
  pin: string[];
  scale: string[];
  top: string;
}

/** `run`: the model with dictionaries spliced and features changed. */
export function addRun(program: Command, context: Context): void {
  withPrompt(program.command('run'))
    .description('run the model with dictionaries spliced in, features ablated, pinned or scaled')
    .option('--splice <sites>', 'sites replaced by their dictionary, comma-separated (repeatable)', collect, [])
    .option('--error-term', 'add the error term at the spliced sites')
    .option('--ablate <site/index[@p]>', 'set a feature to zero (repeatable)', collect, [])
    .option('--pin <site/index@p=v>', 'set a feature to a value (repeatable)', collect, [])
    .option('--scale <site/index@p=f>', 'multiply a feature (repeatable)', collect, [])
    .option('--top <k>', 'predictions a position', '5')
    .action(async (o: RunOptions) => {
      const interventions = [
        ...o.ablate.map((t) => parseIntervention('--ablate', t)),
        ...o.pin.map((t) => parseIntervention('--pin', t)),
        ...o.scale.map((t) => parseIntervention('--scale', t)),
      ];
      const splice = o.splice.flatMap((s) => s.split(',')).map((s) => s.trim());
      const top = wholeNumber('--top', o.top, 1);
      await withRun(context, o, async (engine, run) => {
        const trace = await runSpliced(
          engine,
          run,
          { splice, errorTerm: o.errorTerm === true, interventions },
          context.signal,
        );
        const { predictions, logits } = await predict(engine, trace, top, o.json === true, context.signal);
        if (o.json) return writeJson({ logits, predictions });
        const clean = await predict(engine, run.trace, top, false, context.signal);
        return writeText(human(clean.predictions, predictions));
      });
    });
}
