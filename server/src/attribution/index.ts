/** Pure attribution over a prompt's state: DFA, openings, recursive trees, graphs. */
export { headBySource, SourceDirections, sumGrid } from './dfa';
export { openAttention, openFeature } from './openings';
export { HeadQK, type QKDecomposition, type QKTerm } from './qk';
export { cutToTop, expand, type Expansion, type ExpandOptions, REMAINDER_LIMIT } from './expand';
export { featureKind, makeRoot, preActivation, rootId, type RootSpec } from './roots';
export { sourceAttribution } from './sources';
export { attentionSite, decomposeStream, dictionaryOn, residPre, type Term, transcoderSite } from './streams';
export { buildTree, findPath, type NodeJson, nodeJson, type TreeOptions } from './tree';
export type { By, NodeKind, Opening, PromptState, SiteWrites, StreamPoint, TreeNode, View } from './types';
export { type AttributionGraph, buildGraph, type GraphEdge, type GraphNode, type GraphOptions } from './graph';
export { graphScores, type PrunedGraph, pruneGraph, type Scores } from './prune';
