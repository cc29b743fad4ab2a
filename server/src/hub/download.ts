import { createHash } from 'node:crypto';
import {
  closeSync,
  createReadStream,
  existsSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  statfsSync,
  statSync,
  symlinkSync,
  writeSync,
} from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { downloadFile, modelInfo, pathsInfo } from '@huggingface/hub';
import { CancelledError, DownloadError, throwIfCancelled } from '../errors';
import { withLock, writeAtomically } from '../store';
import { type HubFetch } from './fetch';
import { repoFolder } from './localFiles';

/** A repository and the files wanted from it. */
export interface Wanted {
  repo: string;
  revision: string;
  files: readonly string[];
  /** Taken where the repository has them. */
  optional?: readonly string[];
}

/** Where things come from and go to. */
export interface HubPlace {
  endpoint: string;
  cache: string;
  token: string | null;
}

/** One file to fetch: its name, size and hash as the Hub gives them. */
export interface PlannedFile {
  repo: string;
  revision: string;
  commit: string;
  path: string;
  size: number;
  /** SHA-256 of a large file; git's blob hash of a small one. */
  hash: { kind: 'sha256' | 'git'; value: string };
}

/** What a download would do. */
export interface DownloadPlan {
  files: PlannedFile[];
  /** Revisions that will point to commits. */
  refs: { repo: string; revision: string; commit: string }[];
  /** Still to be fetched. */
  bytes: number;
  /** Free on the disk of the cache. */
  free: number;
}

/** What tests replace. */
export interface DownloadSeams {
  free?: (folder: string) => number;
  write?: (fd: number, bytes: Uint8Array, at: number) => number;
  retryMs?: number;
}

const RESERVE = 64 * 2 ** 20;
const ATTEMPTS = 5;
const RETRY_MS = 500;

const gigabytes = (n: number): string => `${(n / 1e9).toFixed(2)} GB`;

const credentials = (place: HubPlace): { hubUrl: string; accessToken?: string } => ({
  hubUrl: place.endpoint,
  ...(place.token === null ? {} : { accessToken: place.token }),
});

function freeBytes(folder: string): number {
  let at = folder;
  while (!existsSync(at)) at = dirname(at);
  const { bavail, bsize } = statfsSync(at);
  return bavail * bsize;
}

const blobOf = (place: HubPlace, f: PlannedFile): string =>
  join(repoFolder(place.cache, f.repo), 'blobs', f.hash.value);
const partOf = (place: HubPlace, f: PlannedFile): string => `${blobOf(place, f)}.incomplete`;
const pointerOf = (place: HubPlace, f: PlannedFile): string =>
  join(repoFolder(place.cache, f.repo), 'snapshots', f.commit, f.path);
const sizeOf = (path: string): number => statSync(path, { throwIfNoEntry: false })?.size ?? 0;

/** Runs a call of the Hub's library; its own errors become ours. */
async function asked<T>(place: HubPlace, http: HubFetch, job: () => Promise<T>): Promise<T> {
  try {
    return await job();
  } catch (e) {
    if (e instanceof DownloadError || e instanceof CancelledError) throw e;
    throw (
      http.failure() ??
      new DownloadError(place.endpoint, null, `an answer that is not the Hub's (${(e as Error).message})`)
    );
  }
}

const HASH = /^(?:[0-9a-f]{40}|[0-9a-f]{64})$/;

async function planRepo(place: HubPlace, http: HubFetch, w: Wanted): Promise<{ commit: string; files: PlannedFile[] }> {
  const common = { ...credentials(place), fetch: http.fetch };
  const { repo, revision } = w;
  const url = `${place.endpoint}/${repo}`;
  const { sha } = await asked(place, http, () =>
    modelInfo({ ...common, name: repo, revision, additionalFields: ['sha'] }),
  );
  if (typeof sha !== 'string' || !HASH.test(sha)) throw new DownloadError(url, null, 'the answer names no commit');
  const paths = [...w.files, ...(w.optional ?? [])];
  const infos = await asked(place, http, () =>
    pathsInfo({ ...common, repo: { type: 'model', name: repo }, revision: sha, paths }),
  );
  const files = infos
    .filter((i) => i.type === 'file' && paths.includes(i.path))
    .map(({ path, size, oid, lfs }): PlannedFile => {
      const hash = lfs ? { kind: 'sha256' as const, value: lfs.oid } : { kind: 'git' as const, value: oid ?? '' };
      if (!HASH.test(hash.value) || !Number.isSafeInteger(size) || size < 0)
        throw new DownloadError(url, null, `the answer gives no size and hash of ${path}`);
      return { repo, revision, commit: sha, path, size, hash };
    });
  const missing = w.files.find((f) => !files.some((p) => p.path === f));
  if (missing !== undefined) throw new DownloadError(url, null, `revision ${revision} has no file ${missing}`);
  return { commit: sha, files };
}

/**
 * Asks the Hub what a download would fetch. Files that are whole in the cache are left out; what is there of others is not counted. Throws
 * DownloadError, CancelledError.
 */
export async function planDownload(
  place: HubPlace,
  http: HubFetch,
  wanted: readonly Wanted[],
  seams: DownloadSeams = {},
): Promise<DownloadPlan> {
  const plan: DownloadPlan = { files: [], refs: [], bytes: 0, free: (seams.free ?? freeBytes)(place.cache) };
  for (const w of wanted) {
    const { commit, files } = await planRepo(place, http, w);
    plan.refs.push({ repo: w.repo, revision: w.revision, commit });
    for (const f of files) {
      if (
        existsSync(pointerOf(place, f)) ||
        plan.files.some((p) => blobOf(place, p) === blobOf(place, f) && p.path === f.path)
      )
        continue;
      plan.files.push(f);
      if (!existsSync(blobOf(place, f))) plan.bytes += Math.max(0, f.size - sizeOf(partOf(place, f)));
    }
  }
  return plan;
}

async function hashOf(
  path: string,
  kind: PlannedFile['hash']['kind'],
  size: number,
  signal: AbortSignal,
): Promise<string> {
  const hash = createHash(kind === 'git' ? 'sha1' : 'sha256');
  if (kind === 'git') hash.update(`blob ${size}\0`);
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) {
    throwIfCancelled(signal);
    hash.update(chunk as Buffer);
  }
  return hash.digest('hex');
}

/** Puts a name beside the blob that holds its bytes; where links are not allowed the bytes move to the name. */
function point(blob: string, pointer: string): void {
  if (existsSync(pointer)) return;
  mkdirSync(dirname(pointer), { recursive: true });
  rmSync(pointer, { force: true });
  try {
    symlinkSync(relative(dirname(pointer), blob), pointer);
  } catch (e) {
    if ((e as NodeJS.ErrnoException).code !== 'EPERM') throw e;
    renameSync(blob, pointer);
  }
}

class Download {
  private done = 0;

  constructor(
    private readonly place: HubPlace,
    private readonly http: HubFetch,
    private readonly plan: DownloadPlan,
    private readonly o: { signal: AbortSignal; onProgress?: (done: number, total: number, path: string) => void },
    private readonly seams: DownloadSeams,
  ) {}

  private url(f: PlannedFile): string {
    return `${this.place.endpoint}/${f.repo}/resolve/${f.commit}/${f.path}`;
  }

  /** Appends what is missing of a file to what is there. Returns when the connection ends, in whatever way. */
  private async append(f: PlannedFile, fd: number, from: number): Promise<number> {
    const blob = await asked(this.place, this.http, () =>
      downloadFile({
        ...credentials(this.place),
        fetch: this.http.fetch,
        repo: { type: 'model', name: f.repo },
        path: f.path,
        revision: f.commit,
        xet: false,
      }),
    );
    if (!blob) throw new DownloadError(this.url(f), 404, 'there is no such file');
    if (blob.size !== f.size)
      throw new DownloadError(this.url(f), null, `expected ${f.size} bytes, the server has ${blob.size}`);
    let at = from;
    const reader = (blob.slice(from).stream() as ReadableStream<Uint8Array>).getReader();
    try {
      for (let r = await reader.read(); !r.done; r = await reader.read()) {
        throwIfCancelled(this.o.signal);
        if (at + r.value.byteLength > f.size)
          throw new DownloadError(this.url(f), null, `the server sends more than ${f.size} bytes`);
        for (let n = 0; n < r.value.byteLength;) n += this.write(fd, r.value.subarray(n), at + n);
        at += r.value.byteLength;
        this.done += r.value.byteLength;
        this.o.onProgress?.(this.done, this.plan.bytes, f.path);
      }
    } finally {
      await reader.cancel().catch(() => undefined);
    }
    return at;
  }

  private write(fd: number, bytes: Uint8Array, at: number): number {
    try {
      return (this.seams.write ?? ((d, b, p) => writeSync(d, b, 0, b.byteLength, p)))(fd, bytes, at);
    } catch (e) {
      const { code } = e as NodeJS.ErrnoException;
      if (code === 'ENOSPC' || code === 'EDQUOT')
        throw new DownloadError(this.place.cache, null, 'the disk is full; what was fetched of this file was removed');
      throw e;
    }
  }

  /** Fetches a file into `part`, going on where it stops, as long as each attempt brings something or few fail. */
  private async fill(f: PlannedFile, part: string): Promise<void> {
    const fd = openSync(part, existsSync(part) ? 'r+' : 'w');
    try {
      let at = sizeOf(part);
      if (at > f.size) {
        ftruncateSync(fd, 0);
        at = 0;
      }
      for (let failures = 0; at < f.size;) {
        const before = at;
        let reason: unknown = null;
        try {
          at = await this.append(f, fd, at);
        } catch (e) {
          throwIfCancelled(this.o.signal);
          if (e instanceof CancelledError) throw e;
          if (e instanceof DownloadError) throw e;
          reason = this.http.failure() ?? e;
          if (reason instanceof DownloadError && reason.status !== null) throw reason;
          at = sizeOf(part);
        }
        if (at >= f.size) break;
        failures = at > before ? 0 : failures + 1;
        if (failures >= ATTEMPTS)
          throw new DownloadError(
            this.url(f),
            null,
            `the connection ends at byte ${at} of ${f.size}${reason instanceof Error ? ` (${reason.message})` : ''}; what is there is kept and gone on with`,
          );
        await sleep((this.seams.retryMs ?? RETRY_MS) * 2 ** failures, undefined, { signal: this.o.signal }).catch(
          () => {
            throw new CancelledError();
          },
        );
      }
    } finally {
      closeSync(fd);
    }
  }

  private async file(f: PlannedFile): Promise<void> {
    const blob = blobOf(this.place, f);
    const part = partOf(this.place, f);
    mkdirSync(dirname(blob), { recursive: true });
    if (existsSync(blob)) return point(blob, pointerOf(this.place, f));
    try {
      await this.fill(f, part);
    } catch (e) {
      if (e instanceof DownloadError && e.url === this.place.cache) rmSync(part, { force: true });
      throw e;
    }
    const hash = await hashOf(part, f.hash.kind, f.size, this.o.signal);
    if (hash !== f.hash.value) {
      rmSync(part, { force: true });
      throw new DownloadError(
        this.url(f),
        null,
        `the bytes that came are not those of the repository (expected ${f.hash.kind} ${f.hash.value.slice(0, 12)}…, found ${hash.slice(0, 12)}…); they were removed`,
      );
    }
    renameSync(part, blob);
    point(blob, pointerOf(this.place, f));
  }

  async run(): Promise<void> {
    const { bytes, free } = this.plan;
    if (bytes > 0 && bytes + RESERVE > free)
      throw new DownloadError(
        this.place.cache,
        null,
        `needs ${gigabytes(bytes)} and some room beside it, the disk has ${gigabytes(free)} free; nothing was fetched`,
      );
    for (const f of this.plan.files) {
      throwIfCancelled(this.o.signal);
      const lock = { patienceMs: Infinity, signal: this.o.signal };
      await withLock(blobOf(this.place, f), () => this.file(f), lock);
    }
    for (const { repo, revision, commit } of this.plan.refs)
      if (revision !== commit) writeAtomically(join(repoFolder(this.place.cache, repo), 'refs', revision), commit);
  }
}

/**
 * Fetches what a plan lists into the cache, in its layout: bytes under their hash, names linked to them, the revision last. A file that is
 * interrupted goes on where it was; one whose hash is wrong is removed. Throws DownloadError, CancelledError.
 */
export async function download(
  place: HubPlace,
  http: HubFetch,
  plan: DownloadPlan,
  o: { signal: AbortSignal; onProgress?: (done: number, total: number, path: string) => void },
  seams: DownloadSeams = {},
): Promise<void> {
  await new Download(place, http, plan, o, seams).run();
}
