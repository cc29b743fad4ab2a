import { readFileSync } from 'node:fs';
import { type RootSpec } from '../attribution';
import { InputFileError, UsageError } from '../errors';
import { type FeatureIntervention } from '../analyses';
import { type Engine } from '../engine';

/** A whole number of at least `min` from an option's text. Throws UsageError. */
export function wholeNumber(option: string, text: string, min = 0): number {
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(Number(text)) || Number(text) < min) {
    throw new UsageError(`${option}: expected a whole number of at least ${min}, got ${JSON.stringify(text)}`);
  }
  return Number(text);
}

/** A finite number from an option's text. Throws UsageError. */
export function realNumber(option: string, text: string): number {
  const n = Number(text);
  if (text.trim() === '' || !Number.isFinite(n))
    throw new UsageError(`${option}: expected a number, got ${JSON.stringify(text)}`);
  return n;
}

/** Token ids from `1,2,3`. Throws UsageError. */
export function tokenList(text: string): number[] {
  return text.split(',').map((t) => wholeNumber('--tokens', t.trim()));
}

/** `SITE/INDEX` taken apart. Throws UsageError. */
export function siteFeature(option: string, text: string): { site: string; feature: number } {
  const slash = text.lastIndexOf('/');
  if (slash <= 0)
    throw new UsageError(`${option}: expected SITE/INDEX such as blocks.3.attn.hook_z/15, got ${JSON.stringify(text)}`);
  return { site: text.slice(0, slash), feature: wholeNumber(option, text.slice(slash + 1)) };
}

/** Reads a token from the front of a text: a JSON string or an id. Returns the rest. */
function token(engine: Engine, root: string, text: string): { id: number; rest: string } {
  const quoted = /^"(?:[^"\\]|\\.)*"/.exec(text)?.[0];
  if (quoted === undefined) {
    const digits = /^\d+/.exec(text)?.[0];
    if (digits === undefined)
      throw new UsageError(`--root ${root}: expected a token, as a JSON string or an id, at ${JSON.stringify(text)}`);
    return { id: Number(digits), rest: text.slice(digits.length) };
  }
  let value: unknown;
  try {
    value = JSON.parse(quoted);
  } catch {
    throw new UsageError(`--root ${root}: ${quoted} is not a JSON string`);
  }
  if (!engine.tokenizer) throw new UsageError(`--root ${root}: the model has no tokenizer, give token ids`);
  return { id: engine.tokenizer.single(value as string), rest: text.slice(quoted.length) };
}

/** A tree's root: `SITE/INDEX@P`, `logit:TOKEN@P` or `logitdiff:TOKEN|TOKEN@P`. Throws UsageError. */
export function parseRoot(engine: Engine, text: string): RootSpec {
  const logit = /^(logit|logitdiff):/.exec(text);
  if (!logit) {
    const at = text.lastIndexOf('@');
    if (at < 0)
      throw new UsageError(
        `--root: expected SITE/INDEX@P, logit:TOKEN@P or logitdiff:TOKEN|TOKEN@P, got ${JSON.stringify(text)}`,
      );
    return {
      type: 'feature',
      ...siteFeature('--root', text.slice(0, at)),
      position: wholeNumber('--root position', text.slice(at + 1)),
    };
  }
  const first = token(engine, text, text.slice(logit[0].length));
  const tokens = [first.id];
  let rest = first.rest;
  if (logit[1] === 'logitdiff') {
    if (!rest.startsWith('|')) throw new UsageError(`--root ${text}: expected "|" and a second token`);
    const second = token(engine, text, rest.slice(1));
    tokens.push(second.id);
    rest = second.rest;
  }
  if (!rest.startsWith('@')) throw new UsageError(`--root ${text}: expected "@" and a position after the token`);
  return { type: 'logit', tokens, position: wholeNumber('--root position', rest.slice(1)) };
}

/** `SITE/INDEX[@P][=VALUE]` of --ablate, --pin and --scale. Throws UsageError. */
export function parseIntervention(option: '--ablate' | '--pin' | '--scale', text: string): FeatureIntervention {
  const [, head, value] = /^([^=]*)(?:=(.*))?$/.exec(text) as unknown as [string, string, string | undefined];
  const at = head.lastIndexOf('@');
  const position = at < 0 ? undefined : wholeNumber(`${option} position`, head.slice(at + 1));
  const target = siteFeature(option, at < 0 ? head : head.slice(0, at));
  if (option === '--ablate') {
    if (value !== undefined) throw new UsageError(`--ablate takes no value: ${text}`);
    return { ...target, position, change: () => 0 };
  }
  if (position === undefined || value === undefined) {
    throw new UsageError(
      `${option}: expected SITE/INDEX@POSITION=${option === '--pin' ? 'VALUE' : 'FACTOR'}, got ${JSON.stringify(text)}`,
    );
  }
  const n = realNumber(option, value);
  return { ...target, position, change: option === '--pin' ? () => n : (a) => a * n };
}

/** Rows of numbers from `{"x":[[…]]}`. Throws InputFileError. */
export function readRows(path: string, columns: number): Float32Array {
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(path, 'utf8'));
  } catch (e) {
    throw new InputFileError(
      path,
      (e as NodeJS.ErrnoException).code === 'ENOENT'
        ? 'the file does not exist'
        : `not valid JSON (${(e as Error).message})`,
    );
  }
  const rows = (value as { x?: unknown } | null)?.x;
  if (!Array.isArray(rows) || rows.length === 0)
    throw new InputFileError(path, 'expected {"x": [[…], …]} with at least one row');
  const out = new Float32Array(rows.length * columns);
  rows.forEach((r: unknown, i) => {
    if (!Array.isArray(r) || r.length !== columns) {
      throw new InputFileError(
        path,
        `row ${i} of "x": expected ${columns} numbers, found ${Array.isArray(r) ? r.length : typeof r}`,
      );
    }
    r.forEach((v: unknown, j) => {
      if (typeof v !== 'number' || !Number.isFinite(v))
        throw new InputFileError(path, `row ${i} of "x": element ${j} is not a finite number`);
      out[i * columns + j] = v;
    });
  });
  return out;
}
