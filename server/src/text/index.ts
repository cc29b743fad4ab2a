/** Numbers, tokens and nodes as plain text: what the command line prints and the editor shows. */
export { bar, percent, quote, signed, table } from './format';
export { GLYPHS, nodeLabel, shortLabel } from './labels';
export { csv } from './csv';
