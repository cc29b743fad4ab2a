export { CachedWeights, CacheWriter, cacheRoot, openCached, type CachedTensor } from './weightCache';
