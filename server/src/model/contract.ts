import { UnsupportedError } from '../errors';
import { type DictionaryConfig } from '../formats';

/**
 * Which processing of the model a dictionary expects, as TransformerLens names it. The graph runs the checkpoint's own weights;
 * a contract says which constants are taken off at the hooks (reference attention-saes §3).
 */
export interface Contract {
  fold_ln: boolean;
  center_writing_weights: boolean;
  center_unembed: boolean;
  fold_value_biases: boolean;
}

export type ContractChoice = 'auto' | 'default' | 'none';

/** TransformerLens' default processing. */
export const DEFAULT_CONTRACT: Contract = {
  fold_ln: true,
  center_writing_weights: true,
  center_unembed: true,
  fold_value_biases: true,
};

/** The model as it is in the checkpoint. */
export const NO_CONTRACT: Contract = {
  fold_ln: false,
  center_writing_weights: false,
  center_unembed: false,
  fold_value_biases: false,
};

/** A contract and where it comes from. */
export interface ContractDecision {
  contract: Contract;
  source: 'option' | 'registry' | 'config' | 'published set' | 'assumed';
}

const PUBLISHED: [RegExp, Contract][] = [
  [/-(att-kk|res-jb|tres-dc)(\/|$)/, DEFAULT_CONTRACT],
  [/gemmascope/, NO_CONTRACT],
];

/**
 * The contract of one dictionary: the option if it is not `auto`, else what a registry says of it, else the flags of `model_from_pretrained_kwargs` (those it does
 * not list count as false), else that of a published set, else TransformerLens' default, assumed.
 */
export function contractOf(config: DictionaryConfig, choice: ContractChoice, registered?: Contract): ContractDecision {
  if (choice !== 'auto') return { contract: choice === 'default' ? DEFAULT_CONTRACT : NO_CONTRACT, source: 'option' };
  if (registered) return { contract: registered, source: 'registry' };
  const kwargs = config.model_from_pretrained_kwargs;
  if (kwargs) {
    const flag = (name: keyof Contract): boolean => kwargs[name] === true;
    return {
      contract: {
        fold_ln: flag('fold_ln'),
        center_writing_weights: flag('center_writing_weights'),
        center_unembed: flag('center_unembed'),
        fold_value_biases: flag('fold_value_biases'),
      },
      source: 'config',
    };
  }
  const known = PUBLISHED.find(([pattern]) => pattern.test(config.neuronpedia_id ?? ''));
  return known ? { contract: known[1], source: 'published set' } : { contract: DEFAULT_CONTRACT, source: 'assumed' };
}

/** Flags that change what a dictionary on this hook sees or writes. */
function relevantFlags(config: DictionaryConfig): (keyof Contract)[] {
  return config.hook_name.endsWith('attn.hook_z') ? ['fold_ln', 'fold_value_biases'] : ['center_writing_weights'];
}

/**
 * One contract for a run with several dictionaries: each flag is taken from the dictionaries it matters to, the others follow the
 * first dictionary that has an opinion. Throws UnsupportedError, naming both dictionaries, when two disagree on a flag that matters
 * to both.
 */
export function combineContracts(
  dictionaries: { config: DictionaryConfig; contract: Contract }[],
  choice: ContractChoice,
): Contract {
  if (dictionaries.length === 0) return choice === 'none' ? NO_CONTRACT : DEFAULT_CONTRACT;
  const combined: Contract = { ...dictionaries[0].contract };
  for (const flag of Object.keys(DEFAULT_CONTRACT) as (keyof Contract)[]) {
    const concerned = dictionaries.filter((d) => relevantFlags(d.config).includes(flag));
    if (concerned.length === 0) {
      combined[flag] = dictionaries.some((d) => d.contract[flag]);
      continue;
    }
    const other = concerned.find((d) => d.contract[flag] !== concerned[0].contract[flag]);
    if (other) {
      throw new UnsupportedError(
        `the dictionaries on ${concerned[0].config.hook_name} and ${other.config.hook_name} disagree on ${flag}: ` +
          'run them separately, or choose with --contract',
      );
    }
    combined[flag] = concerned[0].contract[flag];
  }
  return combined;
}
