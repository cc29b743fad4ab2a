export {
  CachedWeights,
  CacheWriter,
  cacheRoot,
  type ImportOptions,
  openCached,
  type CachedTensor,
} from './weightCache';
export { type LabelEntry, Labels, parseLabels } from './labels';
