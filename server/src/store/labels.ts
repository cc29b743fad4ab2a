import { readFileSync, statSync } from 'node:fs';
import { z } from 'zod';
import { InputFileError } from '../errors';
import { writeAtomically } from './atomic';
import { withLock } from './lock';

const entrySchema = z.looseObject({
  model: z.string(),
  site: z.string(),
  feature: z.number().int().min(0),
  label: z.string(),
});

/** One line of a label file. Keys that this version does not know are kept. */
export type LabelEntry = z.infer<typeof entrySchema>;

const MAX_BYTES = 50e6;
/** Lines may say their version; those that do not are of this one. */
const LABELS_VERSION = 1;

const keyOf = (e: { model: string; site: string; feature: number }): string => `${e.model} ${e.site} ${e.feature}`;

/** A key's model, site and feature; only a model's name may hold spaces. */
function splitKey(key: string): [string, string, number] {
  const parts = key.split(' ');
  return [parts.slice(0, -2).join(' '), parts[parts.length - 2], Number(parts[parts.length - 1])];
}

/** Lines in an order that does not depend on when they were written, so that merges touch few lines. */
const inOrder = (a: LabelEntry, b: LabelEntry): number =>
  a.model.localeCompare(b.model) || a.site.localeCompare(b.site, 'en', { numeric: true }) || a.feature - b.feature;

/** Entries of a label file, one JSON object a line. Throws InputFileError with the line that is none, merge marks included. */
export function parseLabels(path: string, source: string): LabelEntry[] {
  const entries: LabelEntry[] = [];
  source.split('\n').forEach((line, i) => {
    if (line.trim() === '') return;
    if (/^(<{7}|={7}|>{7})/.test(line))
      throw new InputFileError(path, `line ${i + 1}: an unresolved merge; choose one side`);
    let value: unknown;
    try {
      value = JSON.parse(line);
    } catch {
      throw new InputFileError(path, `line ${i + 1}: not a JSON object`);
    }
    const entry = entrySchema.safeParse(value);
    if (!entry.success) throw new InputFileError(path, `line ${i + 1}: expected {"model", "site", "feature", "label"}`);
    entries.push(entry.data);
  });
  return entries;
}

/**
 * The workspace's labels of features: a file of one JSON object a line, sorted, read again when it has changed on disk. Writes are atomic and
 * never drop what is in the file: one that cannot be read is not written.
 */
export class Labels {
  private stamp = '';
  private entries = new Map<string, string[]>();

  constructor(readonly path: string) {}

  /** Reads the file if it has changed. Throws InputFileError. */
  private refresh(): void {
    const s = this.path === '' ? undefined : statSync(this.path, { throwIfNoEntry: false });
    const stamp = s ? `${s.mtimeMs} ${s.size} ${s.ino}` : '';
    if (stamp === this.stamp) return;
    const entries = new Map<string, string[]>();
    for (const e of this.read()) entries.set(keyOf(e), [...(entries.get(keyOf(e)) ?? []), e.label]);
    this.entries = entries;
    this.stamp = stamp;
  }

  private read(): LabelEntry[] {
    const s = statSync(this.path, { throwIfNoEntry: false });
    if (!s) return [];
    if (s.size > MAX_BYTES) throw new InputFileError(this.path, `has ${s.size} bytes, more than ${MAX_BYTES}`);
    return parseLabels(this.path, readFileSync(this.path, 'utf8'));
  }

  /** A feature's label; several different ones, as a merge leaves them, with bars between. Throws InputFileError. */
  of(model: string, site: string, feature: number): string | undefined {
    this.refresh();
    const all = this.entries.get(keyOf({ model, site, feature }));
    return all && [...new Set(all)].join(' | ');
  }

  /** Features of a model whose label holds a text, whatever its case. Throws InputFileError. */
  matching(model: string, text: string): { site: string; feature: number }[] {
    this.refresh();
    const wanted = text.trim().toLowerCase();
    const out: { site: string; feature: number }[] = [];
    for (const [key, labels] of this.entries) {
      if (!labels.some((l) => l.toLowerCase().includes(wanted))) continue;
      const [of, site, feature] = splitKey(key);
      if (of === model) out.push({ site, feature });
    }
    return out;
  }

  /** Sets or, with an empty text, removes a label. Throws InputFileError when the file cannot be read or written. */
  async set(model: string, site: string, feature: number, label: string): Promise<void> {
    if (this.path === '') throw new InputFileError('labels', 'there is no workspace folder to keep them in');
    await withLock(this.path, () => {
      const key = keyOf({ model, site, feature });
      const old = this.read();
      const newer = old.find((e) => typeof e.v === 'number' && e.v > LABELS_VERSION);
      if (newer)
        throw new InputFileError(
          this.path,
          'is not written: it holds lines of a newer version of this program, which would be lost',
        );
      const known = old.find((e) => keyOf(e) === key);
      const kept = old.filter((e) => keyOf(e) !== key);
      const text = label.trim();
      if (text !== '') kept.push({ ...known, model, site, feature, label: text });
      const lines = kept.sort(inOrder).map((e) => `${JSON.stringify(e)}\n`);
      writeAtomically(this.path, lines.join(''));
    });
  }
}
