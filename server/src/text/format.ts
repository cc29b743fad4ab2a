/** Human-readable text: numbers, quoted tokens, aligned columns. */

/** A token between ‘ ’, control characters made visible. */
export function quote(text: string): string {
  return `‘${text
    .replace(/\n/g, '⏎')
    .replace(/\t/g, '⇥')
    .replace(/[\u0000-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g, '·')}’`;
}

export const percent = (x: number): string => `${(100 * x).toFixed(x !== 0 && Math.abs(x) < 0.1 ? 1 : 0)}%`;

/** A signed number with three decimals. */
export const signed = (x: number): string => `${x < 0 ? '−' : '+'}${Math.abs(x).toFixed(3)}`;

/** Rows of cells padded to equal columns. */
export function table(rows: string[][]): string[] {
  const widths = (rows[0] ?? []).map((_, c) => Math.max(...rows.map((r) => [...(r[c] ?? '')].length)));
  return rows.map((r) =>
    r
      .map((cell, c) => cell + ' '.repeat(Math.max(0, widths[c] - [...cell].length)))
      .join('  ')
      .trimEnd(),
  );
}

/** A bar of at most `width` characters for a share between −1 and 1. */
export function bar(share: number, width = 10): string {
  const n = Math.round(Math.min(1, Math.abs(share)) * width);
  return (share < 0 ? '▒' : '█').repeat(n) + ' '.repeat(width - n);
}
