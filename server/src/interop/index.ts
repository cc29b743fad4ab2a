/** Attribution-graph files: schema 1 out, four dialects in. */
export { cantorPair, cantorUnpair } from './cantor';
export {
  type GraphDescription,
  type GraphFile,
  type GraphFileLink,
  type GraphFileNode,
  toGraphFile,
} from './graphJson';
export { graphViolations } from './schema';
export { type Dialect, GRAPH_LIMIT, importGraphFile } from './importGraph';
