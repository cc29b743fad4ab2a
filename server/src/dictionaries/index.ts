/** SAEs and transcoders: encode, decode, single rows and columns. */
export { activationAt, type FeatureActs, findActive, joinActs } from './activations';
export { Dictionary, type DictionaryKind, openDictionary } from './dictionary';
export { IDENTITY_NORM, type RowNorm, rowNorm } from './normalisation';
