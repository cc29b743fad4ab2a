import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type DictionaryShape, writeDictionary, writeModel } from '../../bench/synthetic/files';
import { Engine } from '../../server/src/engine';
import { type ContractChoice } from '../../server/src/model';

export interface RandomSpec {
  layers: number;
  heads: number;
  d_head: number;
  seed: number;
  contract?: ContractChoice;
  /** Hook of each dictionary and what is special about it. */
  dictionaries: (Pick<DictionaryShape, 'hook_name' | 'architecture'> & Partial<DictionaryShape>)[];
}

export const VOCAB = 53;

/** Writes a random model with dictionaries into a temporary folder and opens it. `close` removes the folder. */
export async function randomEngine(spec: RandomSpec): Promise<{ engine: Engine; close: () => Promise<void> }> {
  const dir = mkdtempSync(join(tmpdir(), 'attention-circuits-random-'));
  const d = spec.heads * spec.d_head;
  const model = join(dir, 'model');
  const shape = { n_layer: spec.layers, n_head: spec.heads, n_embd: d, n_positions: 32, vocab_size: VOCAB };
  writeModel(model, shape, spec.seed);
  const dictionaries = spec.dictionaries.map((c, i) => {
    const path = join(dir, `dictionary-${i}`);
    writeDictionary(path, { d_in: d, d_sae: 3 * d + 1, bias: -0.2, ...c }, spec.seed + i);
    return path;
  });
  const engine = await Engine.open({ model, dictionaries, contract: spec.contract ?? 'auto', provider: 'cpu' });
  return {
    engine,
    close: async () => {
      await engine.close();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

/** Token ids of a prompt, from a seed. */
export const promptOf = (length: number, seed: number): number[] =>
  Array.from({ length }, (_, i) => (Math.imul(i + 1, 2654435761) + Math.imul(seed + 3, 40503)) >>> 0).map(
    (x) => (x >>> 7) % VOCAB,
  );
