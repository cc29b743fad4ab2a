/** Commands attentionCircuits.experiment.*: pick an experiment, its prompts and its settings; the panel runs it and shows the result. */
import * as vscode from 'vscode';
import { type ExperimentPrompts, LANGUAGE } from '../../server/protocol';
import type { ExperimentInfo, ExperimentParameter, ExperimentValues } from '../../server/protocol/experiments';
import { NothingHere } from './log';
import { type PanelManager } from './panels/manager';
import { type Server } from './server';

interface Services {
  server: Server;
  panels: PanelManager;
}

/** Experiments by the last part of their command's id. */
const EXPERIMENTS = {
  evaluate: 'evaluate',
  ablation: 'ablation',
  noise: 'noise',
  positional: 'positional',
  qk: 'qk',
  pathPatch: 'path-patch',
  heads: 'heads',
  prefix: 'prefix',
  compare: 'compare',
  dla: 'dla',
} as const;

const wholeNumber =
  (min: number) =>
  (v: string): string | null =>
    /^\d+$/.test(v.trim()) && Number(v) >= min ? null : `A whole number of at least ${min}`;

/** Where the prompts come from; undefined when the user gave up. */
async function pickPrompts(e: ExperimentInfo): Promise<ExperimentPrompts | undefined> {
  const document = vscode.window.activeTextEditor?.document;
  const open = document?.languageId === LANGUAGE ? document : undefined;
  const choices = [
    ...(open
      ? [
          {
            label: '$(file) The prompts of this file',
            detail: vscode.workspace.asRelativePath(open.uri),
            from: 'document',
          },
        ]
      : []),
    ...(e.needs === 'two'
      ? []
      : [
          {
            label: '$(beaker) Generated sentences',
            detail: 'Indirect objects, half ABBA and half BABA, with answers',
            from: 'generated',
          },
        ]),
    ...(e.needs === 'none'
      ? [
          {
            label: '$(circle-slash) No prompts',
            detail: 'Only what the experiment generates or reads from the weights',
            from: 'none',
          },
        ]
      : []),
  ];
  if (choices.length === 0) throw new NothingHere('open a prompt file with two prompts first.');
  const chosen = await vscode.window.showQuickPick(choices, { title: e.title, placeHolder: 'On which prompts?' });
  if (!chosen) return undefined;
  if (chosen.from === 'document' && open) return { from: 'document', uri: open.uri.toString() };
  if (chosen.from === 'none') return { from: 'none' };
  const count = await vscode.window.showInputBox({
    title: e.title,
    prompt: 'How many sentences?',
    value: '20',
    validateInput: wholeNumber(2),
  });
  return count === undefined ? undefined : { from: 'generated', count: Number(count), seed: 1 };
}

async function pickValue(
  p: ExperimentParameter,
  now: string | number | boolean,
): Promise<string | number | boolean | undefined> {
  if (p.type === 'flag') return !(now === true);
  if (p.type === 'choice')
    return vscode.window.showQuickPick(p.choices ?? [], { title: p.description, placeHolder: String(now) });
  const numeric = p.type !== 'text';
  const check = (v: string): string | null =>
    !numeric || (v.trim() !== '' && Number.isFinite(Number(v))) ? null : 'A number';
  const text = await vscode.window.showInputBox({
    title: p.name,
    prompt: p.description,
    value: String(now),
    validateInput: check,
  });
  return text === undefined ? undefined : numeric ? Number(text) : text;
}

/** Shows the settings until they are right; undefined when the user gave up. */
async function pickValues(e: ExperimentInfo): Promise<ExperimentValues | undefined> {
  const values: ExperimentValues = Object.fromEntries(e.parameters.map((p) => [p.name, p.default]));
  for (;;) {
    const run = { label: '$(play) Run', description: 'with these settings', detail: e.description, parameter: null };
    const settings = e.parameters.map((p) => ({
      label: `$(settings) ${p.name}`,
      description: values[p.name] === '' ? '(empty)' : String(values[p.name]),
      detail: p.description,
      parameter: p,
    }));
    const chosen = await vscode.window.showQuickPick([run, ...settings], {
      title: e.title,
      placeHolder: 'Run, or choose a setting to change',
    });
    if (!chosen) return undefined;
    if (!chosen.parameter) return values;
    const value = await pickValue(chosen.parameter, values[chosen.parameter.name]);
    if (value !== undefined) values[chosen.parameter.name] = value;
  }
}

/** Runs an experiment by its id, asking for what is not given. */
async function runExperiment(
  s: Services,
  id: string,
  given?: { prompts: ExperimentPrompts; values: ExperimentValues },
): Promise<void> {
  if (given) return s.panels.open({ panel: 'experiment', id, ...given });
  const { experiments } = await s.server.request('attentionCircuits/experiments', {});
  const e = experiments.find((x) => x.id === id);
  if (!e) throw new NothingHere(`there is no experiment ${id}.`);
  const prompts = await pickPrompts(e);
  const values = prompts && (await pickValues(e));
  if (values) s.panels.open({ panel: 'experiment', id, values, prompts });
}

/** Makes a new prompt file of generated sentences. */
async function generateIoi(s: Services): Promise<void> {
  const ask = (prompt: string, value: string, min: number): Thenable<string | undefined> =>
    vscode.window.showInputBox({ title: 'Generate IOI prompts', prompt, value, validateInput: wholeNumber(min) });
  const count = await ask('How many sentences?', '20', 1);
  const seed = count && (await ask('Seed', '1', 0));
  if (!seed) return;
  const params = { count: Number(count), seed: Number(seed), conjunction: 'and' };
  const { text } = await s.server.request('attentionCircuits/ioi', params);
  await vscode.window.showTextDocument(await vscode.workspace.openTextDocument({ language: LANGUAGE, content: text }));
}

export const EXPERIMENT_COMMANDS = {
  'attentionCircuits.generateIoi': generateIoi,
  ...(Object.fromEntries(
    Object.entries(EXPERIMENTS).map(([name, id]) => [
      `attentionCircuits.experiment.${name}`,
      (s: Services, given?: { prompts: ExperimentPrompts; values: ExperimentValues }) => runExperiment(s, id, given),
    ]),
  ) as Record<
    string,
    (s: Services, given?: { prompts: ExperimentPrompts; values: ExperimentValues }) => Promise<void>
  >),
};
