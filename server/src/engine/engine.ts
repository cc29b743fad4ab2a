import { InputFileError, UnsupportedError, UsageError, throwIfCancelled } from '../errors';
import { type Dictionary, openDictionary } from '../dictionaries';
import { findDictionaries } from '../formats';
import {
  combineContracts,
  type Contract,
  type ContractChoice,
  contractOf,
  Gpt2,
  type ModelWeights,
  openModelWeights,
} from '../model';
import { chooseProvider, type ProviderChoice, Runtime } from '../runtime';
import { openTokenizer, type TextToken, type Tokenizer } from '../tokenizer';
import { PromptRun } from './promptRun';

/** A dictionary or a folder of them, with what a registry says of it beyond its own configuration. */
export interface GivenDictionary {
  path: string;
  contract?: Contract;
  /** Its name on Neuronpedia. */
  neuronpedia?: string;
}

export interface EngineOptions {
  model: string;
  dictionaries: readonly (string | GivenDictionary)[];
  contract: ContractChoice;
  provider: ProviderChoice;
  /** Told once each: what was assumed or passed over. */
  notice?: (line: string) => void;
  /** Told how far the import of a model or dictionary is, in bytes. */
  onImport?: (path: string, done: number, total: number) => void;
  signal?: AbortSignal;
}

/** A prompt as token ids, with the text it came from where there is one. */
export interface Prompt {
  tokens: number[];
  /** Ranges in the text of the tokens that have one (BOS has none). */
  ranges: (TextToken | null)[];
}

/** Models of fewer bytes run on one thread. */
const SMALL_MODEL = 64e6;

function shapesFor(d: Dictionary, m: ModelWeights): void {
  const { d_model, n_layers, modelName } = m.config;
  const fail = (what: string): never => {
    throw new InputFileError(d.path, `does not fit the model ${m.path} (${modelName}): ${what}`);
  };
  if (d.site === '')
    fail('nothing says which activation it reads; put its configuration beside it, or its hook into its name');
  if (d.layer >= n_layers) fail(`it reads ${d.site}, the model has layers 0 to ${n_layers - 1}`);
  if (d.config.d_in !== d_model) fail(`d_in is ${d.config.d_in}, the model's ${d.site} has ${d_model} numbers`);
  if (d.config.d_out !== d_model) fail(`d_out is ${d.config.d_out}, the model's stream has ${d_model} numbers`);
}

/** A model, its dictionaries and their runtime: what the command line and the language server work with. */
export class Engine {
  private constructor(
    readonly model: Gpt2,
    readonly dictionaries: ReadonlyMap<string, Dictionary>,
    readonly tokenizer: Tokenizer | null,
    readonly runtime: Runtime,
  ) {}

  get contract(): Contract {
    return this.model.contract;
  }

  /** Opens everything, importing weights into the cache on first use. Throws the errors of readers and runtime. */
  static async open(options: EngineOptions): Promise<Engine> {
    const notice = options.notice ?? ((): void => undefined);
    const importing = (path: string): { onProgress: (done: number, total: number) => void; signal?: AbortSignal } => ({
      onProgress: (done, total) => options.onImport?.(path, done, total),
      signal: options.signal,
    });
    const weights = await openModelWeights(options.model, importing(options.model));
    const decision = await chooseProvider(options.provider);
    for (const r of decision.reasons) notice(`provider ${decision.provider}; passed over ${r}`);
    const runtime = new Runtime(decision.provider, weights.bytes < SMALL_MODEL ? 1 : undefined);
    const bySite = new Map<string, Dictionary>();
    const registered = new Map<Dictionary, Contract>();
    const given = options.dictionaries.map((d): GivenDictionary => (typeof d === 'string' ? { path: d } : d));
    const all = given.flatMap((g) => findDictionaries(g.path).map((path) => ({ ...g, path })));
    for (const { path, contract, neuronpedia } of all) {
      await new Promise((r) => setImmediate(r));
      throwIfCancelled(options.signal);
      const d = await openDictionary(path, runtime, { ...importing(path), neuronpedia });
      shapesFor(d, weights);
      const other = bySite.get(d.site);
      if (other) throw new UsageError(`two dictionaries on ${d.site}: ${other.path} and ${d.path}; give one`);
      bySite.set(d.site, d);
      if (contract) registered.set(d, contract);
    }
    const contract = Engine.agree([...bySite.values()], registered, options.contract, weights, notice);
    return new Engine(new Gpt2(weights, runtime, contract), bySite, openTokenizer(options.model), runtime);
  }

  private static agree(
    dictionaries: Dictionary[],
    registered: ReadonlyMap<Dictionary, Contract>,
    choice: ContractChoice,
    weights: ModelWeights,
    notice: (line: string) => void,
  ): Contract {
    const decided = dictionaries.map((d) => ({ config: d.config, ...contractOf(d.config, choice, registered.get(d)) }));
    if (decided.some((d) => d.source === 'assumed')) {
      notice(
        "no dictionary's configuration says how its model was processed: assuming TransformerLens' default (--contract none turns it off)",
      );
    }
    const name = weights.config.modelName;
    const foreign = dictionaries.find(
      (d) => d.config.model_name && !name.includes(d.config.model_name.replace(/-small$/, '')),
    );
    if (foreign)
      notice(
        `${foreign.path} was trained on ${foreign.config.model_name}, the model is ${name}: matched by hook and shapes`,
      );
    return combineContracts(decided, choice);
  }

  /**
   * Tokens of a text, with BOS in front unless told otherwise. Throws UnsupportedError without a tokenizer, and UsageError, without
   * tokenizing, for a text that cannot fit the context however it is split.
   */
  prompt(text: string, bos: boolean): Prompt {
    if (!this.tokenizer) {
      throw new UnsupportedError(
        `${this.model.weights.path} has no tokenizer (tokenizer.json, or vocab.json and merges.txt): give --tokens`,
      );
    }
    const { n_ctx } = this.model.config;
    if (text.length > n_ctx && text.length > n_ctx * this.tokenizer.longest) {
      throw new UsageError(
        `the prompt has ${text.length} characters, more than ${n_ctx} tokens; the model's context holds ${n_ctx}`,
      );
    }
    const encoded = this.tokenizer.encode(text);
    const bosId = this.model.config.bosTokenId;
    if (bos && bosId === null)
      throw new UsageError('the model names no BOS token (config.json, bos_token_id): use --no-bos');
    const head = bos && bosId !== null ? [bosId] : [];
    return { tokens: [...head, ...encoded.map((t) => t.id)], ranges: [...head.map(() => null), ...encoded] };
  }

  /** Runs the model on tokens. What `previous` shares with them from the start is not computed again. */
  async run(tokens: readonly number[], previous?: PromptRun, signal?: AbortSignal): Promise<PromptRun> {
    const trace = await this.model.forward(tokens, previous?.trace, signal);
    if (!previous) return new PromptRun(this.model, this.dictionaries, this.tokenizer, trace);
    let shared = 0;
    while (shared < tokens.length - 1 && previous.trace.tokens[shared] === tokens[shared]) shared++;
    return new PromptRun(this.model, this.dictionaries, this.tokenizer, trace, { run: previous, shared });
  }

  /** The dictionary on a site. Throws UsageError, listing the sites there are. */
  dictionary(site: string): Dictionary {
    const d = this.dictionaries.get(site);
    if (d) return d;
    const have = [...this.dictionaries.keys()];
    throw new UsageError(
      `no dictionary is loaded on ${site}; loaded: ${have.length ? have.join(', ') : 'none (give --sae)'}`,
    );
  }

  /** Releases sessions and files. */
  async close(): Promise<void> {
    await this.runtime.close();
    for (const d of this.dictionaries.values()) d.close();
    this.model.weights.close();
  }
}
