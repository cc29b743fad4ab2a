/** Files from outside, changed at random from valid ones. */
import fc from 'fast-check';
import { EngineError } from '../../server/src/errors';

const SECONDS = Number(process.env.ATTENTION_CIRCUITS_FUZZ_SECONDS ?? 0);
const RUNS = Number(process.env.ATTENTION_CIRCUITS_FUZZ_RUNS ?? 300);

/** How often a property is tried: a number of times, or for a while where ATTENTION_CIRCUITS_FUZZ_SECONDS says so. */
export const fuzzing: fc.Parameters<unknown> =
  SECONDS > 0
    ? { numRuns: Number.MAX_SAFE_INTEGER, interruptAfterTimeLimit: SECONDS * 1000, markInterruptAsFailure: false }
    : { numRuns: RUNS };

/** Time that a test of one reader may take. */
export const FUZZ_TIMEOUT_MS = Math.max(60, SECONDS * 2) * 1000;

/** Tries one input on a reader: it gives a value or an error of ours. Throws anything else. */
export async function survives(read: () => unknown): Promise<void> {
  try {
    await read();
  } catch (e) {
    if (!(e instanceof EngineError)) throw e;
    if (e.message.length < 6) throw new Error(`an error that says nothing: ${e.message}`);
  }
}

/** Replaces the nth value within JSON text (of one document, or of one a line) by another. */
function replaced(text: string, nth: number, by: unknown): string {
  const spots: [Record<string | number, unknown>, string | number][] = [];
  const walk = (x: unknown): void => {
    if (typeof x !== 'object' || x === null) return;
    for (const k of Object.keys(x)) {
      spots.push([x as Record<string, unknown>, k]);
      walk((x as Record<string, unknown>)[k]);
    }
  };
  const parse = (t: string): unknown => {
    try {
      return JSON.parse(t);
    } catch {
      return t;
    }
  };
  const document = parse(text);
  const values = typeof document === 'string' ? text.trimEnd().split('\n').map(parse) : [document];
  values.forEach(walk);
  if (spots.length === 0) return text;
  const [at, key] = spots[nth % spots.length];
  at[key] = by;
  return values.map((v) => (typeof v === 'string' ? v : JSON.stringify(v))).join('\n');
}

/** Values that programs trip over. */
const nasty = fc.constantFrom<unknown>(-1, 0, 1e308, 2 ** 53, 0.5, null, '', '__proto__', [[[[]]]], { toString: 1 });

const textChange = fc.oneof(
  fc.record({ type: fc.constant('value' as const), nth: fc.nat(), by: fc.oneof(fc.jsonValue(), nasty) }),
  fc.record({ type: fc.constant('byte' as const), at: fc.nat(), to: fc.nat(255) }),
  fc.record({ type: fc.constant('cut' as const), at: fc.nat() }),
  fc.record({ type: fc.constant('twice' as const), from: fc.nat(), length: fc.nat(200) }),
);
export type TextChange = typeof textChange extends fc.Arbitrary<infer T> ? T : never;

/** One to four changes of a text. */
export const textChanges = fc.array(textChange, { minLength: 1, maxLength: 4 });

export const changedText = (valid: string, changes: readonly TextChange[]): string =>
  changes.reduce((text, c) => {
    if (c.type === 'value') return replaced(text, c.nth, c.by);
    if (c.type === 'cut') return text.slice(0, c.at % (text.length + 1));
    if (c.type === 'twice') {
      const from = c.from % (text.length + 1);
      return text.slice(0, from) + text.slice(from, from + c.length) + text.slice(from);
    }
    const bytes = Buffer.from(text);
    if (bytes.length > 0) bytes[c.at % bytes.length] = c.to;
    return bytes.toString('utf8');
  }, valid);
