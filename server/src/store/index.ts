export {
  CachedWeights,
  CacheWriter,
  cacheRoot,
  type ImportOptions,
  openCached,
  type CachedTensor,
} from './weightCache';
export { type ImportedLabel, ImportedLabels, type LabelImport, parseLabelLine, siteOfSource } from './importedLabels';
export { writeAtomically } from './atomic';
export { withLock, type LockOptions } from './lock';
export { type LabelEntry, Labels, parseLabels } from './labels';
