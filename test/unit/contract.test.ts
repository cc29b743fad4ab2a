import { expect, test } from 'vitest';
import { type DictionaryConfig } from '../../server/src/formats';
import { combineContracts, contractOf, DEFAULT_CONTRACT, NO_CONTRACT } from '../../server/src/model';

const config = (hook_name: string, more: Partial<DictionaryConfig> = {}): DictionaryConfig => ({
  architecture: 'standard',
  transcoder: false,
  skip: false,
  d_in: 4,
  d_sae: 8,
  d_out: 4,
  hook_name,
  hook_name_out: null,
  apply_b_dec_to_input: true,
  normalisation: 'none',
  k: null,
  rescale_acts_by_decoder_norm: false,
  model_name: null,
  neuronpedia_id: null,
  model_from_pretrained_kwargs: null,
  ...more,
});
const Z = 'blocks.0.attn.hook_z';
const RESID = 'blocks.0.hook_resid_pre';

test('auto honours the flags a configuration lists; those it does not list are false', () => {
  const c = config(RESID, { model_from_pretrained_kwargs: { center_writing_weights: true } });
  expect(contractOf(c, 'auto')).toEqual({
    contract: { ...NO_CONTRACT, center_writing_weights: true },
    source: 'config',
  });
});

test('auto knows published sets, and otherwise assumes the default and says so', () => {
  expect(contractOf(config(Z, { neuronpedia_id: 'gpt2-small/5-att-kk' }), 'auto').source).toBe('published set');
  expect(contractOf(config(Z), 'auto')).toEqual({ contract: DEFAULT_CONTRACT, source: 'assumed' });
});

test('the option overrules the configuration', () => {
  const c = config(Z, { model_from_pretrained_kwargs: { fold_ln: true } });
  expect(contractOf(c, 'none').contract).toEqual(NO_CONTRACT);
  expect(contractOf(c, 'default').contract).toEqual(DEFAULT_CONTRACT);
});

test('dictionaries that disagree only on flags that do not matter to both run together', () => {
  const folded = { ...NO_CONTRACT, fold_ln: true, fold_value_biases: true };
  const centred = { ...NO_CONTRACT, center_writing_weights: true };
  const both = [
    { config: config(Z), contract: folded },
    { config: config(RESID), contract: centred },
  ];
  expect(combineContracts(both, 'auto')).toEqual({ ...folded, center_writing_weights: true });
});

test('dictionaries that disagree on a flag that matters to both are refused, both named', () => {
  const two = [
    { config: config(Z), contract: DEFAULT_CONTRACT },
    { config: config('blocks.1.attn.hook_z'), contract: NO_CONTRACT },
  ];
  expect(() => combineContracts(two, 'auto')).toThrow(
    /blocks\.0\.attn\.hook_z and blocks\.1\.attn\.hook_z disagree on fold_ln/,
  );
});
