import { UsageError } from '../errors';
import { type Engine } from '../engine';
import { type Trace } from '../model';
import {
  fixed,
  hooked,
  logitDifference,
  mean,
  parseLayers,
  parseRole,
  replaceRows,
  roleOf,
  roleParameter,
  standardError,
  table,
  text,
} from './common';
import { needAnswers, rolesOf } from './cases';
import { seeded, singleNames } from './ioi';
import { type Case, type Experiment, type ExperimentContext } from './types';

type Hook = 'attn_out' | 'z' | 'mlp_out' | 'resid_pre';
const HOOKS: Record<Hook, (l: number) => string> = {
  attn_out: (l) => `blocks.${l}.hook_attn_out`,
  z: (l) => `blocks.${l}.attn.hook_z`,
  mlp_out: (l) => `blocks.${l}.hook_mlp_out`,
  resid_pre: (l) => `blocks.${l}.hook_resid_pre`,
};

/** The activation [S, d_model] of a hook in a trace. */
const activationOf = (trace: Trace, hook: Hook, l: number): Float32Array => trace.layers[l][hook];

const CORRUPTIONS = ['conjunction', 'swap', 'names', 'twin'] as const;
const FILLER = 'Yesterday was a quiet day. ';

const answerText = (engine: Engine, id: number | null): string => (engine.tokenizer?.text(id ?? -1) ?? '').trim();

/** Swaps two words wherever they stand. */
const swapWords = (text: string, a: string, b: string): string =>
  text
    .split(a)
    .map((p) => p.replaceAll(b, a))
    .join(b);

/** A case's corrupted twin: its text, and the names that play answer and distractor in it. */
function corrupted(context: ExperimentContext, c: Case, random: () => number): { text: string; io: string; s: string } {
  const { engine } = context;
  if (c.text === null)
    throw new UsageError('corrupting needs the text of the prompts; give a prompt file, or patch between two prompts');
  const [io, s] = [answerText(engine, c.answer), answerText(engine, c.distractor)];
  const kind = text(context, 'corruption');
  if (kind === 'conjunction') {
    const [from, to] = [` ${text(context, 'from')} `, ` ${text(context, 'to')} `];
    if (!c.text.includes(from)) throw new UsageError(`prompt ${c.name} does not contain "${from}"`);
    return { text: c.text.replace(from, to), io, s };
  }
  if (kind === 'swap') return { text: swapWords(c.text, io, s), io: s, s: io };
  const names = singleNames(engine).filter((n) => n !== io && n !== s);
  if (names.length < 2) throw new UsageError('the vocabulary has no other names');
  const a = names[Math.floor(random() * names.length)];
  const b = names.filter((n) => n !== a)[Math.floor(random() * (names.length - 1))];
  return { text: FILLER + swapWords(swapWords(c.text, io, a), s, b), io: a, s: b };
}

/** The corrupted prompt and where the role stands in it. */
function source(
  context: ExperimentContext,
  c: Case,
  index: number,
  random: () => number,
): { tokens: number[]; at: number; text: string } {
  const { engine, cases } = context;
  const role = parseRole(text(context, 'role'));
  if (text(context, 'corruption') === 'twin') {
    const twin = cases[index % 2 === 0 ? index + 1 : index - 1];
    return { tokens: twin.tokens, at: roleOf(twin, role), text: twin.text ?? twin.name };
  }
  const made = corrupted(context, c, random);
  const bos = c.tokens[0] === engine.model.config.bosTokenId;
  const { tokens } = engine.prompt(made.text, bos);
  const { roles } = rolesOf(engine, tokens, ` ${made.io}`, ` ${made.s}`);
  const other: Case = { ...c, name: `${c.name} corrupted`, text: made.text, tokens, roles };
  return { tokens, at: roleOf(other, role), text: made.text };
}

/**
 * Overwrites a hook at chosen layers and a position role by its value in a corrupted run, and measures what of the logit difference on the
 * clean answers is kept (reference §12.4). Corruptions: another conjunction; the two names swapped; fresh names behind a filler sentence, with
 * the position offset that follows; or, prompt by prompt, the file's own twin (1 with 2, 3 with 4, …).
 */
export const noise: Experiment = {
  id: 'noise',
  title: 'Noising and patching',
  description:
    'Overwrites activations at a role by those of a corrupted run and measures how much of the logit difference is kept.',
  needs: 'answers',
  parameters: [
    {
      name: 'corruption',
      description: 'what the other run differs in',
      type: 'choice',
      default: 'conjunction',
      choices: [...CORRUPTIONS],
    },
    { name: 'from', description: 'conjunction that is replaced', type: 'text', default: 'and' },
    { name: 'to', description: 'what replaces it', type: 'text', default: 'alongside' },
    { name: 'hook', description: 'which activation', type: 'choice', default: 'attn_out', choices: Object.keys(HOOKS) },
    { name: 'layers', description: 'layers, such as 0,2-3', type: 'text', default: '0' },
    roleParameter('role', 'which position', 'S2'),
    { name: 'seed', description: 'for fresh names', type: 'integer', default: 1, min: 0 },
  ],
  data(context) {
    const random = seeded(Number(context.values.seed));
    const role = parseRole(text(context, 'role'));
    const others = context.cases.map((c, i) => {
      const { tokens, at } = source(context, c, i, random);
      return { tokens, at, to: roleOf(c, role) };
    });
    const layers = parseLayers(text(context, 'layers'), context.engine.model.config.n_layers);
    return Promise.resolve({ layers, others });
  },
  async run(context) {
    const { cases, engine } = context;
    needAnswers(cases);
    if (text(context, 'corruption') === 'twin' && cases.length % 2 === 1)
      throw new UsageError('twins need an even number of prompts');
    const layers = parseLayers(text(context, 'layers'), engine.model.config.n_layers);
    const hook = text(context, 'hook') as Hook;
    const role = parseRole(text(context, 'role'));
    const random = seeded(Number(context.values.seed));
    const d = engine.model.config.d_model;
    const rows: {
      prompt: string;
      template: string;
      clean: number;
      patched: number;
      zeroed: number;
      kept: number;
      other: string;
    }[] = [];
    for (const [i, c] of cases.entries()) {
      await context.step(`prompt ${c.name}`, i / cases.length);
      const clean = (await context.run(c)).trace;
      const to = roleOf(c, role);
      const other = source(context, c, i, random);
      const { trace } = await engine.run(other.tokens, undefined, context.signal);
      const patch = new Map(
        layers.map((l) => [HOOKS[hook](l), replaceRows(activationOf(trace, hook, l), [{ from: other.at, to }], d)]),
      );
      const zero = new Map(layers.map((l) => [HOOKS[hook](l), replaceRows(null, [{ from: to, to }], d)]));
      const ld = await logitDifference(engine, clean, c);
      const patched = await logitDifference(engine, await hooked(context, c, patch), c);
      const zeroed = await logitDifference(engine, await hooked(context, c, zero), c);
      rows.push({
        prompt: c.name,
        template: c.template,
        clean: ld,
        patched,
        zeroed,
        kept: patched / ld,
        other: other.text,
      });
    }
    const of = (key: 'clean' | 'patched' | 'zeroed'): number[] => rows.map((r) => r[key]);
    const kept = mean(of('patched')) / mean(of('clean'));
    const bars = (['clean', 'patched', 'zeroed'] as const).map((key) => ({
      run: key,
      ld: mean(of(key)),
      error: standardError(of(key)),
    }));
    return {
      summary: [
        `${fixed(100 * kept, 0)}% of the logit difference is kept (${fixed(mean(of('patched')))} of ${fixed(mean(of('clean')))}) when ${hook} of layers ${layers.join(',')} at ${role} comes from the corrupted run.`,
        `Zeroing the same leaves ${fixed((100 * mean(of('zeroed'))) / mean(of('clean')), 0)}%.`,
      ],
      tables: [
        table('runs', 'Logit difference', { run: 'run', ld: 'mean LD', error: '± s.e.' }, bars),
        table(
          'prompts',
          'Each prompt',
          {
            prompt: 'prompt',
            template: 'template',
            clean: 'clean',
            patched: 'patched',
            zeroed: 'zeroed',
            kept: 'kept',
            other: 'corrupted prompt',
          },
          rows,
        ),
      ],
      charts: [
        { type: 'bar', title: 'Logit difference', table: 'runs', label: 'run', value: 'ld', error: 'error' },
        {
          type: 'scatter',
          title: 'Patched against clean',
          table: 'prompts',
          x: 'clean',
          y: 'patched',
          label: 'prompt',
          identity: true,
        },
      ],
      checks: [],
    };
  },
};
