import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type Command, Option } from 'commander';
import { InputFileError, UsageError } from '../errors';
import { Hub, resolveDictionaryNames, resolveModelName } from '../hub';
import { Engine, type GivenDictionary, type Prompt, type PromptRun } from '../engine';
import { type ContractChoice } from '../model';
import { type ProviderChoice } from '../runtime';
import { notice, Progress } from './output';
import { tokenList } from './parse';

/** Options that every command about a prompt shares, as commander gives them. */
export interface CommonOptions {
  model: string;
  sae: string[];
  registry?: string[];
  contract: ContractChoice;
  provider: ProviderChoice;
  prompt?: string;
  tokens?: string;
  bos: boolean;
  json?: boolean;
}

/** What the process gives to a command. */
export interface Context {
  /** Folder of the package, where the demo model lies. */
  home: string;
  signal: AbortSignal;
}

export const collect = (value: string, all: string[]): string[] => [...all, value];

/** Adds `--provider` and `--json`. */
export function withOutput(c: Command): Command {
  return c
    .addOption(
      new Option('--provider <name>', 'where the model runs')
        .choices(['auto', 'cpu', 'webgpu', 'cuda'])
        .default('auto'),
    )
    .option('--json', 'print one JSON document on standard output');
}

/** Adds the options of commands that need a model. */
export function withModel(c: Command): Command {
  return withOutput(
    c
      .requiredOption('--model <dir>', 'Hugging Face GPT-2 folder, "demo", or hub:NAME (see "models")')
      .option('--sae <path>', 'dictionary folder, a folder of them, or hub:NAME (repeatable)', collect, [])
      .option('--registry <file>', 'names of your own models and dictionaries (repeatable)', collect, [])
      .addOption(
        new Option('--contract <which>', 'model processing that the dictionaries expect')
          .choices(['auto', 'default', 'none'])
          .default('auto'),
      ),
  );
}

/** Adds the options of commands about one prompt. */
export function withPrompt(c: Command): Command {
  return withModel(c)
    .option('--prompt <text>', 'the prompt; BOS is put in front')
    .option('--tokens <ids>', 'the prompt as token ids, 1,2,3, taken exactly as given')
    .option('--no-bos', 'put no BOS in front of --prompt');
}

/**
 * Paths of a model and its dictionaries; `demo` is the embedded model with its own, `hub:NAME` what was fetched under a name. Throws
 * InputFileError, and UsageError for what is not here.
 */
export function resolveModel(
  home: string,
  model: string,
  sae: string[],
  registries: readonly string[] = [],
): { model: string; dictionaries: (string | GivenDictionary)[] } {
  const { registry } = new Hub(home, { registries, endpoint: '', offline: true, proxy: '', neuronpedia: '' });
  if (model !== 'demo')
    return { model: resolveModelName(registry, model), dictionaries: resolveDictionaryNames(registry, sae) };
  const dir = join(home, 'demo', 'model');
  if (!existsSync(dir)) throw new InputFileError(dir, 'the demo model is not installed');
  return {
    model: dir,
    dictionaries: sae.length > 0 ? resolveDictionaryNames(registry, sae) : [join(home, 'demo', 'saes')],
  };
}

/** Shows how far imports are, one line at a time. */
export function importProgress(): { onImport: (path: string, done: number, total: number) => void; end: () => void } {
  let bar: Progress | null = null;
  let current = '';
  return {
    onImport: (path, done, total) => {
      if (path !== current) bar = new Progress(`importing ${path}`, (n) => `${(n / 1e6).toFixed(0)} MB`);
      current = path;
      bar?.update(done, total);
    },
    end: () => bar?.end(),
  };
}

/** Opens the engine that the options describe. */
export async function openEngine(
  context: Context,
  o: Omit<CommonOptions, 'prompt' | 'tokens' | 'bos'>,
): Promise<Engine> {
  const { onImport, end } = importProgress();
  try {
    const options = { contract: o.contract, provider: o.provider, notice, onImport, signal: context.signal };
    return await Engine.open({ ...resolveModel(context.home, o.model, o.sae, o.registry), ...options });
  } finally {
    end();
  }
}

/** The prompt that the options describe. Throws UsageError unless exactly one of --prompt and --tokens is given. */
export function promptOf(engine: Engine, o: CommonOptions): Prompt {
  if ((o.prompt === undefined) === (o.tokens === undefined))
    throw new UsageError('give the prompt either as --prompt TEXT or as --tokens 1,2,3');
  if (o.tokens === undefined) return engine.prompt(o.prompt ?? '', o.bos);
  const tokens = tokenList(o.tokens);
  return { tokens, ranges: tokens.map(() => null) };
}

/** Opens the engine, runs the prompt, hands both to `use`, and closes. */
export async function withRun<T>(
  context: Context,
  o: CommonOptions,
  use: (engine: Engine, run: PromptRun, prompt: Prompt) => Promise<T>,
): Promise<T> {
  const engine = await openEngine(context, o);
  try {
    const prompt = promptOf(engine, o);
    return await use(engine, await engine.run(prompt.tokens, undefined, context.signal), prompt);
  } finally {
    await engine.close();
  }
}
