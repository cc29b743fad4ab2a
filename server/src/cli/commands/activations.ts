import { type Command } from 'commander';
import { type Engine, type Prompt, type PromptRun } from '../../engine';
import { type CommonOptions, type Context, withPrompt, withRun } from '../common';
import { writeJson, writeText } from '../output';
import { wholeNumber } from '../parse';
import { predict, type Prediction } from '../../analyses';
import { percent, quote, table } from '../../text';

interface SiteJson {
  positions: {
    position: number;
    l0: number;
    features: { index: number; activation: number }[];
    reconstructionError: number;
  }[];
}

export interface ActivationsJson {
  /** `start` and `end` are UTF-16 offsets in --prompt; BOS and --tokens have none. */
  tokens: { position: number; id: number; text: string | null; start?: number; end?: number }[];
  sites: Record<string, SiteJson>;
  predictions: Prediction[];
  logits?: Float32Array[];
}

/** Every active feature of one site, strongest first at each position. */
async function siteJson(run: PromptRun, site: string): Promise<SiteJson> {
  const acts = await run.acts(site);
  const errors = await run.reconstructionErrors(site);
  const positions = errors.map((reconstructionError, position) => {
    const features: { index: number; activation: number }[] = [];
    for (let i = acts.offsets[position]; i < acts.offsets[position + 1]; i++) {
      features.push({ index: acts.features[i], activation: acts.activations[i] });
    }
    features.sort((a, b) => b.activation - a.activation || a.index - b.index);
    return { position, l0: features.length, features, reconstructionError };
  });
  return { positions };
}

/** The object that `activations` prints. */
export async function activationsJson(
  engine: Engine,
  run: PromptRun,
  prompt: Prompt,
  top: number,
  logits: boolean,
  signal?: AbortSignal,
): Promise<ActivationsJson> {
  const tokens = run.trace.tokens.map((id, position) => {
    const range = prompt.ranges[position];
    return { position, id, text: run.vocabularyText(id), ...(range ? { start: range.start, end: range.end } : {}) };
  });
  const sites: Record<string, SiteJson> = {};
  for (const site of engine.dictionaries.keys()) sites[site] = await siteJson(run, site);
  const p = await predict(engine, run.trace, top, logits, signal);
  return { tokens, sites, predictions: p.predictions, ...(logits ? { logits: p.logits } : {}) };
}

function human(a: ActivationsJson): string {
  const label = (t: { id: number; text: string | null }): string => (t.text === null ? String(t.id) : quote(t.text));
  const lines: string[] = [];
  for (const t of a.tokens) {
    const next = a.predictions[t.position].top
      .slice(0, 3)
      .map((p) => `${label(p)} ${percent(p.probability)}`)
      .join(', ');
    lines.push(`@${t.position} ${label(t)}   next: ${next}`);
    const rows = Object.entries(a.sites)
      .filter(([, s]) => s.positions[t.position].l0 > 0)
      .map(([site, s]) => {
        const p = s.positions[t.position];
        const strongest = p.features
          .slice(0, 4)
          .map((f) => `${f.index}: ${f.activation.toFixed(2)}`)
          .join('  ');
        return [`    ${site}`, `${p.l0} active`, `error ${percent(p.reconstructionError)}`, strongest];
      });
    lines.push(...table(rows));
  }
  return lines.join('\n');
}

/** `activations`: which features fire on which token, and what the model predicts. */
export function addActivations(program: Command, context: Context): void {
  withPrompt(program.command('activations'))
    .description('which features fire on which token, and next-token predictions')
    .option('--top <k>', 'predictions a position', '5')
    .option('--logits', 'print all logits')
    .action(async (o: CommonOptions & { top: string; logits?: boolean }) => {
      const top = wholeNumber('--top', o.top, 1);
      await withRun(context, o, async (engine, run, prompt) => {
        const result = await activationsJson(engine, run, prompt, top, o.logits === true, context.signal);
        await (o.json ? writeJson(result) : writeText(human(result)));
      });
    });
}
