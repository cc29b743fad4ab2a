/**
 * Where a prompt stands in a text: an occurrence that fills its line(s), nearest to `near`; in source code (`lines` false) any occurrence. −1 when
 * it is not there.
 */
export function findPrompt(source: string, text: string, near: number, lines = true): number {
  const stands = (at: number): boolean => {
    if (!lines) return true;
    const before = at === 0 || source[at - 1] === '\n' || source[at - 1] === '\\';
    const after = source[at + text.length];
    return before && (after === undefined || after === '\n' || after === '\r');
  };
  if (source.startsWith(text, near) && stands(near)) return near;
  let best = -1;
  for (let at = source.indexOf(text); at >= 0; at = source.indexOf(text, at + 1)) {
    if (best >= 0 && at - near > Math.abs(best - near)) break;
    if (stands(at) && (best < 0 || Math.abs(at - near) < Math.abs(best - near))) best = at;
  }
  return best;
}
