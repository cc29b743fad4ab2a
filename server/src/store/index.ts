export {
  CachedWeights,
  CacheWriter,
  cacheRoot,
  type ImportOptions,
  openCached,
  type CachedTensor,
} from './weightCache';
