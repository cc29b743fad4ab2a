/** Feature dashboards over a folder of texts: an index of what every feature fires on, built once, read in milliseconds. */
export type { CorpusExample, FeatureDashboard, FoundFeature } from '../../protocol/corpus';
export { summaryOf } from './corpus';
export { Corpus, textOf } from './corpus';
export { featureSpec } from './script';
export { featuresOfPrompt } from './search';
export { IndexFile, type IndexMeta } from './database';
export { type CorpusContext, contextsOf } from './contexts';
export { type CorpusFile, type CorpusListing, type CorpusText, listCorpus, textsOf } from './files';
export { binOf, FeatureStatistics, SiteStatistics, TOP } from './statistics';
