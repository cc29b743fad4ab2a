/** Where a prompt stands in a text: an occurrence that fills its line(s), nearest to `near`. −1 when it is not there. */
export function findPrompt(source: string, text: string, near: number): number {
  const offsets: number[] = [];
  for (let at = source.indexOf(text); at >= 0 && offsets.length < 1000; at = source.indexOf(text, at + 1)) {
    const before = at === 0 || source[at - 1] === '\n' || source[at - 1] === '\\';
    const after = source[at + text.length];
    if (before && (after === undefined || after === '\n' || after === '\r')) offsets.push(at);
  }
  return offsets.reduce((best, o) => (best < 0 || Math.abs(o - near) < Math.abs(best - near) ? o : best), -1);
}
