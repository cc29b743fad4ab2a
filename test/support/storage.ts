/** What the writer process of the tests runs: built into dist/storage.cjs. */
export { NotesFile } from '../../server/src/notes';
export { Labels } from '../../server/src/store';
