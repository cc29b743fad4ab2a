import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, realpathSync, statSync } from 'node:fs';
import { extname, join, relative } from 'node:path';
import { InputFileError } from '../errors';
import { parsePrompts } from '../prompts';

/** One text of a corpus: a prompt as it stands in a prompt file, or running text. */
export interface CorpusText {
  /** File, relative to the corpus folder. */
  file: string;
  /** Line of the file where it begins, from 0. */
  line: number;
  text: string;
  bos: boolean;
  /** A prompt is analysed whole; running text, of a file or of one row of JSON lines, is cut into contexts. */
  kind: 'prompt' | 'text' | 'row';
  /** Of prompts: their name, and what is expected after them, the answer first. */
  name: string | null;
  answers: string[];
}

/** A file of a corpus. */
export interface CorpusFile {
  /** Relative to the folder, with forward slashes. */
  path: string;
  size: number;
  mtimeMs: number;
}

/** What a corpus may be, so that a wrong folder does not take the machine. */
export interface CorpusLimits {
  files: number;
  fileBytes: number;
  depth: number;
}

export const LIMITS: CorpusLimits = { files: 20_000, fileBytes: 64e6, depth: 24 };

const EXTENSIONS = new Set(['.prompts', '.txt', '.md', '.jsonl']);
const SKIPPED = new Set(['node_modules', 'dist', 'build', '__pycache__', 'venv']);

/** Files of a corpus folder in a fixed order; hidden folders, links and what is no text are passed over. */
export interface CorpusListing {
  folder: string;
  files: CorpusFile[];
  /** Files that are too large, by path. */
  tooLarge: string[];
  /** Changes when a file comes, goes or is written. */
  stamp: string;
}

/**
 * Lists the prompt and text files (.prompts, .txt, .md, .jsonl) under a folder, or a single such file. Throws InputFileError when it does not
 * exist or holds more files than the limits allow.
 */
export function listCorpus(path: string, limits: CorpusLimits = LIMITS): CorpusListing {
  let folder: string;
  try {
    folder = realpathSync(path);
  } catch {
    throw new InputFileError(path, 'the folder does not exist');
  }
  const files: CorpusFile[] = [];
  const tooLarge: string[] = [];
  const take = (full: string, name: string): void => {
    const s = statSync(full);
    if (s.size > limits.fileBytes) tooLarge.push(name);
    else files.push({ path: name, size: s.size, mtimeMs: s.mtimeMs });
    if (files.length > limits.files)
      throw new InputFileError(path, `holds more than ${limits.files} text files: choose a smaller folder`);
  };
  const walk = (dir: string, depth: number): void => {
    const entries = readdirSync(dir, { withFileTypes: true }).sort((a, b) => (a.name < b.name ? -1 : 1));
    for (const e of entries) {
      const full = join(dir, e.name);
      if (e.name.startsWith('.') || SKIPPED.has(e.name)) continue;
      if (e.isDirectory() && depth < limits.depth) walk(full, depth + 1);
      else if (e.isFile() && EXTENSIONS.has(extname(e.name))) take(full, relative(folder, full).replaceAll('\\', '/'));
    }
  };
  if (statSync(folder).isDirectory()) walk(folder, 0);
  else take(folder, '');
  const stamp = createHash('sha256').update(JSON.stringify(files)).digest('hex');
  return { folder, files, tooLarge, stamp };
}

/** Where a file of a listing lies. */
export const fullPath = (listing: { folder: string }, file: string): string =>
  file === '' ? listing.folder : join(listing.folder, file);

const strings = (x: unknown): string[] =>
  (Array.isArray(x) ? x : [x]).filter((s): s is string => typeof s === 'string');

/**
 * Rows of a JSON-lines file with a string under `text` or `prompt`; others are passed over. A prompt may have a `name`, and `answers`, or
 * `answer` and `distractor`.
 */
function jsonLines(file: string, source: string): CorpusText[] {
  const out: CorpusText[] = [];
  source.split('\n').forEach((json, line) => {
    let value: unknown;
    try {
      value = JSON.parse(json);
    } catch {
      return;
    }
    const row = (value ?? {}) as Record<'text' | 'prompt' | 'name' | 'answers' | 'answer' | 'distractor', unknown>;
    const { text, prompt } = row;
    const common = { file, line, bos: true };
    if (typeof text === 'string') out.push({ ...common, text, kind: 'row', name: null, answers: [] });
    if (typeof text === 'string' || typeof prompt !== 'string') return;
    const answers = strings(row.answers ?? [row.answer, row.distractor]);
    const name = typeof row.name === 'string' ? row.name : null;
    out.push({ ...common, text: prompt, kind: 'prompt', name, answers });
  });
  return out;
}

/** The texts of one file. Throws InputFileError when it cannot be read. */
export function textsOf(listing: CorpusListing, file: CorpusFile): CorpusText[] {
  const path = fullPath(listing, file.path);
  let source: string;
  try {
    source = readFileSync(path, 'utf8');
  } catch (e) {
    throw new InputFileError(path, (e as Error).message);
  }
  const extension = extname(path);
  const name = file.path;
  if (extension === '.jsonl') return jsonLines(name, source);
  if (extension !== '.prompts')
    return [{ file: name, line: 0, text: source, bos: true, kind: 'text', name: null, answers: [] }];
  return parsePrompts(source).prompts.map((p) => ({
    file: name,
    line: p.line,
    text: p.text,
    bos: p.bos,
    kind: 'prompt' as const,
    name: p.name ?? null,
    answers: p.answers,
  }));
}
