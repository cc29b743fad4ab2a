import { existsSync, readFileSync, statSync } from 'node:fs';
import { InputFileError } from '../errors';

/** Reads a JSON object from a file of at most `limit` bytes. Throws InputFileError. */
export function readJsonObject(path: string, limit = 64_000_000): Record<string, unknown> {
  if (!existsSync(path)) throw new InputFileError(path, 'the file does not exist');
  const { size } = statSync(path);
  if (size > limit) throw new InputFileError(path, `${size} bytes, more than the limit of ${limit}`);
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(path, 'utf8'));
  } catch (e) {
    throw new InputFileError(path, `not valid JSON (${(e as Error).message})`);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new InputFileError(path, 'expected a JSON object');
  return value as Record<string, unknown>;
}
