/** Saved circuits: reading them, and computing them again. */
export { identityOf, parseCircuit, readCircuit } from './file';
export { checkCircuit } from './check';
