/** Published numbers against those of this installation. */
export { type GoldenTable, readTable, tableFor } from './table';
export { verify } from './verify';
