import { basename } from 'node:path';
import { type CorpusFile, type CorpusListing, type CorpusText, textsOf } from '../corpus';
import { type Engine } from '../engine';
import { UnsupportedError } from '../errors';

/** What every job over a folder is told. */
export interface FolderOptions {
  /** `.csv` or `.parquet`. */
  out: string;
  signal: AbortSignal;
  /** Called before each context; lets others pass. */
  step?: (message: string, fraction: number) => Promise<void>;
}

/** What came of it. */
export interface FolderResult {
  contexts: number;
  rows: number;
  /** Stretches and prompts that were left out, and the first reason. */
  skipped: number;
  reason: string | null;
  out: string;
}

/** Weights and settings that numbers depend on. */
export const weightsOf = (engine: Engine): unknown => [
  engine.model.weights.cached.sha256,
  [...engine.dictionaries.values()].map((d) => d.cached.sha256),
  engine.contract,
];

/** Throws UnsupportedError without a tokenizer. */
export function needTokenizer(engine: Engine, what: string): void {
  if (!engine.tokenizer) throw new UnsupportedError(`${what} text needs a tokenizer; the model has none`);
}

/** The texts of a listing, with how far in the listing they are. */
export function* eachText(listing: CorpusListing): Generator<{ text: CorpusText; file: CorpusFile; fraction: number }> {
  for (const [i, file] of listing.files.entries())
    for (const text of textsOf(listing, file)) {
      // A listing of one file has no name for it.
      const name = text.file === '' ? basename(listing.folder) : text.file;
      yield { text: { ...text, file: name }, file, fraction: i / listing.files.length };
    }
}
