type Cell = string | number | null;

const quote = (x: Cell): string => {
  const t = x === null ? '' : String(x);
  return /[",\n\r]/.test(t) ? `"${t.replaceAll('"', '""')}"` : t;
};

/** A table as CSV (RFC 4180). */
export const csv = (header: readonly string[], rows: readonly (readonly Cell[])[]): string =>
  [header, ...rows].map((row) => row.map(quote).join(',')).join('\r\n');
