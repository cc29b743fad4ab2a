/** Readers: each checks a file completely before giving out a value, and executes nothing from it. */
export { readJsonObject } from './jsonFile';
export { DTYPE_BYTES, type Dtype, isFloat, toFloat32 } from './dtype';
export { type TensorFile, type TensorInfo } from './tensorFile';
export { openSafetensors, shardFiles } from './safetensors';
export { type Gpt2Config, GPT2_LAYER_TENSORS, openGpt2Folder, type Gpt2Folder } from './gpt2Folder';
export { findDictionaries, openDictionarySource } from './dictionarySource';
export { InertRecord } from './pickle';
export { openNpz } from './npz';
export { openTorch, TorchTensor, torchTensors } from './torchFile';
export {
  type Architecture,
  type DictionaryConfig,
  type DictionaryFolder,
  type Normalisation,
  openDictionaryFolder,
} from './saeLens';
