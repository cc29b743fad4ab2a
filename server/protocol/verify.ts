/** One published number, what was found, and whether they agree. */
export interface VerifyRow {
  id: string;
  description: string;
  /** Who published it. */
  source: string;
  what: string;
  expected: number | string | null;
  got: number | string | null;
  tolerance: number;
  outcome: 'pass' | 'fail' | 'missing';
  /** What is not there. */
  needs: string | null;
}
