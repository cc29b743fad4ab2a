/** Jobs over folders of prompts and texts, with tables for pandas as their results. */
export { annotateCorpus } from './annotate';
export { type FolderResult } from './common';
export { evaluateFolder } from './evaluate';
