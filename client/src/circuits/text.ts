import type { CircuitFile } from '../../../server/protocol/circuit';

/** The text of a circuit file: stable, one number a line, so that diffs are readable. */
export const circuitText = (c: CircuitFile): string => `${JSON.stringify(c, null, 1)}\n`;
