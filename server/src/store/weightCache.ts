import { createHash, randomBytes } from 'node:crypto';
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  statfsSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { CancelledError, RuntimeFailure, throwIfCancelled } from '../errors';

/** Raised when the layout of imported weights changes, so that older imports are made anew. */
const LAYOUT_VERSION = 2;
const ALIGNMENT = 64;

/** One imported tensor: its shape and byte range in `weights.bin`. */
export interface CachedTensor {
  shape: number[];
  offset: number;
  length: number;
}

interface Manifest {
  layout: number;
  sha256: string;
  bytes: number;
  tensors: Record<string, CachedTensor>;
}

/** Folder of imported weights: ATTENTION_CIRCUITS_CACHE, or the platform's cache folder. */
export function cacheRoot(): string {
  const set = process.env.ATTENTION_CIRCUITS_CACHE;
  if (set) return set;
  if (process.platform === 'darwin') return join(homedir(), 'Library', 'Caches', 'attention-circuits');
  if (process.platform === 'win32')
    return join(process.env.LOCALAPPDATA ?? join(homedir(), 'AppData', 'Local'), 'attention-circuits');
  return join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'attention-circuits');
}

/** How an import is watched and stopped. */
export interface ImportOptions {
  /** Called with the bytes written so far and those expected. */
  onProgress?: (done: number, total: number) => void;
  signal?: AbortSignal;
}

const BREATHE_BYTES = 1 << 24;

/** Writes tensors one after another into a `weights.bin`, hashing as it goes, and lets other work in between. */
export class CacheWriter {
  readonly tensors: Record<string, CachedTensor> = {};
  private readonly hash = createHash('sha256');
  private at = 0;
  private open: string | null = null;
  private breathed = 0;

  constructor(
    private readonly fd: number,
    private readonly expected: number,
    private readonly options: ImportOptions,
  ) {}

  private bytes(data: Uint8Array): void {
    for (let done = 0; done < data.byteLength;) done += writeSync(this.fd, data, done);
    this.hash.update(data);
    this.at += data.byteLength;
  }

  private async breathe(): Promise<void> {
    if (this.at - this.breathed < BREATHE_BYTES) return;
    this.breathed = this.at;
    this.options.onProgress?.(Math.min(this.at, this.expected), this.expected);
    await new Promise((r) => setImmediate(r));
    throwIfCancelled(this.options.signal);
  }

  /** Begins a tensor; `append` then brings its elements in order, in as many pieces as is convenient. */
  begin(name: string, shape: number[]): void {
    this.bytes(new Uint8Array((ALIGNMENT - (this.at % ALIGNMENT)) % ALIGNMENT));
    this.tensors[name] = { shape, offset: this.at, length: 4 * shape.reduce((a, b) => a * b, 1) };
    this.open = name;
  }

  async append(data: Float32Array): Promise<void> {
    for (let o = 0; o < data.byteLength; o += BREATHE_BYTES) {
      this.bytes(new Uint8Array(data.buffer, data.byteOffset + o, Math.min(BREATHE_BYTES, data.byteLength - o)));
      await this.breathe();
    }
  }

  /** Checks that the tensor begun last is complete. */
  end(): void {
    const t = this.tensors[this.open ?? ''];
    if (t && this.at !== t.offset + t.length)
      throw new Error(`import wrote ${this.at - t.offset} of ${t.length} bytes of ${this.open}`);
    this.open = null;
  }

  async put(name: string, shape: number[], data: Float32Array): Promise<void> {
    this.begin(name, shape);
    await this.append(data);
    this.end();
  }

  finish(): Manifest {
    return { layout: LAYOUT_VERSION, sha256: this.hash.digest('hex'), bytes: this.at, tensors: this.tensors };
  }
}

/** Imported float32 weights in one aligned file, ready to be memory-mapped by the runtime and read row by row. */
export class CachedWeights {
  private fd: number | null = null;

  constructor(
    /** Folder that holds `weights.bin`; graphs that refer to it are written beside it. */
    readonly dir: string,
    /** SHA-256 of the imported numbers: the identity of the weights. */
    readonly sha256: string,
    readonly tensors: Record<string, CachedTensor>,
  ) {}

  static readonly FILE = 'weights.bin';

  get path(): string {
    return join(this.dir, CachedWeights.FILE);
  }

  /** Elements [start, start+count) of a tensor as float32. Throws RuntimeFailure when the cache was damaged. */
  read(name: string, start = 0, count?: number): Float32Array {
    const t = this.tensors[name];
    if (!t) throw new Error(`no tensor ${name} in ${this.path}`);
    const out = new Float32Array(count ?? t.length / 4 - start);
    this.fd ??= openSync(this.path, 'r');
    const bytes = new Uint8Array(out.buffer);
    for (let got = 0; got < bytes.length;) {
      const r = readSync(this.fd, bytes, got, bytes.length - got, t.offset + 4 * start + got);
      if (r === 0)
        throw new RuntimeFailure(`${this.path} is shorter than its manifest says: delete the folder to import again`);
      got += r;
    }
    return out;
  }

  /** Row r of a matrix. */
  row(name: string, r: number): Float32Array {
    const cols = this.tensors[name].shape.slice(1).reduce((a, b) => a * b, 1);
    return this.read(name, r * cols, cols);
  }

  close(): void {
    if (this.fd !== null) closeSync(this.fd);
    this.fd = null;
  }
}

function keyOf(kind: string, files: string[]): string {
  const identity = files.map((f) => {
    const s = statSync(f);
    return [realpathSync(f), s.size, s.mtimeMs];
  });
  return createHash('sha256')
    .update(JSON.stringify([LAYOUT_VERSION, kind, identity]))
    .digest('hex')
    .slice(0, 24);
}

function readManifest(dir: string): CachedWeights | null {
  const manifestPath = join(dir, 'manifest.json');
  if (!existsSync(manifestPath)) return null;
  const m = JSON.parse(readFileSync(manifestPath, 'utf8')) as Manifest;
  const file = join(dir, CachedWeights.FILE);
  if (m.layout !== LAYOUT_VERSION || !existsSync(file) || statSync(file).size !== m.bytes) return null;
  return new CachedWeights(dir, m.sha256, m.tensors);
}

function makeRoot(needed: number): string {
  const root = cacheRoot();
  try {
    mkdirSync(root, { recursive: true });
  } catch (e) {
    throw new RuntimeFailure(
      `the cache folder ${root} cannot be made (${(e as Error).message}); set ATTENTION_CIRCUITS_CACHE to another`,
    );
  }
  const fs = statfsSync(root);
  const free = fs.bavail * fs.bsize;
  if (free < needed * 1.05) {
    throw new RuntimeFailure(
      `importing needs ${(needed / 1e9).toFixed(2)} GB in ${root}, ${(free / 1e9).toFixed(2)} GB are free; ` +
        'set ATTENTION_CIRCUITS_CACHE to a folder with more room',
    );
  }
  return root;
}

/** Removes what imports of processes that no longer run have left. */
function sweep(root: string): void {
  for (const name of readdirSync(root)) {
    const pid = /^\.import-(\d+)-/.exec(name)?.[1];
    if (pid === undefined || Number(pid) === process.pid) continue;
    try {
      process.kill(Number(pid), 0);
    } catch (e) {
      if ((e as NodeJS.ErrnoException).code === 'ESRCH') rmSync(join(root, name), { recursive: true, force: true });
    }
  }
}

/**
 * Gives the imported form of some weight files, importing them first if that has not been done (keyed by path, size and time
 * of change). The import is written aside and renamed into place: it is either complete or absent, also with several
 * processes at once. Throws what `fill` throws, CancelledError, and RuntimeFailure when the cache cannot be written.
 */
export async function openCached(
  kind: string,
  files: string[],
  fill: (w: CacheWriter) => Promise<void>,
  options: ImportOptions = {},
): Promise<CachedWeights> {
  const dir = join(cacheRoot(), `${kind}-${keyOf(kind, files)}`);
  const have = readManifest(dir);
  if (have) return have;
  const bytes = files.reduce((n, f) => n + statSync(f).size, 0);
  const root = makeRoot(bytes);
  sweep(root);
  const aside = join(root, `.import-${process.pid}-${randomBytes(4).toString('hex')}`);
  mkdirSync(aside);
  try {
    const fd = openSync(join(aside, CachedWeights.FILE), 'w');
    const writer = new CacheWriter(fd, bytes, options);
    try {
      await fill(writer);
    } finally {
      closeSync(fd);
    }
    writeFileSync(join(aside, 'manifest.json'), JSON.stringify(writer.finish()));
    rmSync(dir, { recursive: true, force: true });
    renameSync(aside, dir);
  } catch (e) {
    rmSync(aside, { recursive: true, force: true });
    const again = e instanceof CancelledError ? null : readManifest(dir);
    if (again) return again;
    if ((e as NodeJS.ErrnoException).code === 'ENOSPC')
      throw new RuntimeFailure(`no space left in ${root} while importing ${files.at(-1)}`);
    throw e;
  }
  const made = readManifest(dir);
  if (!made) throw new RuntimeFailure(`${dir}: the import did not complete`);
  return made;
}
