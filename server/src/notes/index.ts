/** Notes beside prompt files: their lines, and finding their tokens again in an edited text. */
export { anchorAt, placeOf } from './anchor';
export { NotesFile, notesText, parseNotes } from './file';
