import type { TokenAnchor } from '../../protocol/notes';
import { type FilePrompt } from '../prompts';

/** Characters kept on each side. */
const CONTEXT = 32;
/** How much a name counts, in characters of context. */
const NAMED = 12;
const SAME_START = 4;
/** Context that must fit when the prompt's name does not: all that there is, up to this. */
const ENOUGH = 8;

const commonStart = (a: string, b: string): number => {
  let n = 0;
  while (n < a.length && n < b.length && a[n] === b[n]) n++;
  return n;
};
const commonEnd = (a: string, b: string): number => {
  let n = 0;
  while (n < a.length && n < b.length && a[a.length - 1 - n] === b[b.length - 1 - n]) n++;
  return n;
};

/** The anchor of a range of a document, or null where it is not within one prompt. */
export function anchorAt(prompts: readonly FilePrompt[], start: number, end: number): TokenAnchor | null {
  const p = prompts.find((x) => start >= x.start && end <= x.start + x.text.length);
  if (!p || end <= start) return null;
  const [from, to] = [start - p.start, end - p.start];
  return {
    type: 'token',
    prompt: p.name ?? null,
    start: from,
    text: p.text.slice(from, to),
    before: p.text.slice(Math.max(0, from - CONTEXT), from),
    after: p.text.slice(to, to + CONTEXT),
  };
}

/**
 * Where an anchor's tokens stand now, as offsets in the document, or null when they are gone. Every occurrence of its text is weighed by how much of
 * the text around it is as it was, by its prompt's name, and by standing where it stood; one in a prompt of another name must have the surroundings.
 */
export function placeOf(prompts: readonly FilePrompt[], a: TokenAnchor): { start: number; end: number } | null {
  if (a.text === '') return null;
  let best: { start: number; end: number } | null = null;
  let most = -1;
  for (const p of prompts) {
    const named = a.prompt !== null && p.name === a.prompt;
    for (let i = p.text.indexOf(a.text); i >= 0; i = p.text.indexOf(a.text, i + 1)) {
      const end = i + a.text.length;
      const left = commonEnd(a.before, p.text.slice(Math.max(0, i - CONTEXT), i));
      const right = commonStart(a.after, p.text.slice(end, end + CONTEXT));
      const fits = named || left + right >= Math.min(ENOUGH, a.before.length + a.after.length);
      const score = left + right + (named ? NAMED : 0) + (i === a.start ? SAME_START : 0);
      if (!fits || score <= most) continue;
      most = score;
      best = { start: p.start + i, end: p.start + end };
    }
  }
  return best;
}
