import { linkSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { InputFileError, throwIfCancelled } from '../errors';

export interface LockOptions {
  /** How long to wait for a holder that lives. */
  patienceMs?: number;
  signal?: AbortSignal;
}

const POLL_MS = 10;
const PATIENCE_MS = 5000;
/** A lock of another machine, or one that was never filled, counts as left behind after this time. */
const STALE_MS = 30_000;

const me = (): string => `${process.pid} ${hostname()}`;

const alive = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    return true;
  } catch (e) {
    return (e as NodeJS.ErrnoException).code === 'EPERM';
  }
};

const contentOf = (path: string): string | null => {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return null;
  }
};

/** Whether a lock's holder is gone. */
function abandoned(lock: string, content: string): boolean {
  const s = statSync(lock, { throwIfNoEntry: false });
  if (!s) return false;
  const [, pid, host] = /^(\d+) (.*)$/.exec(content) ?? [];
  if (pid !== undefined && host === hostname()) return !alive(Number(pid));
  return Date.now() - s.mtimeMs > STALE_MS;
}

/** Takes an abandoned lock away. Only one of several processes succeeds; a lock that was made meanwhile is put back. */
function clear(lock: string, content: string): void {
  const aside = `${lock}.${process.pid}`;
  try {
    renameSync(lock, aside);
    if (contentOf(aside) !== content) linkSync(aside, lock);
  } catch {
    // Another process was faster.
  }
  rmSync(aside, { force: true });
}

function take(lock: string): boolean {
  // Written beside and linked, so that a lock never stands without its holder's name.
  const aside = `${lock}.${process.pid}.new`;
  try {
    writeFileSync(aside, me());
    linkSync(aside, lock);
    return true;
  } catch (e) {
    if ((e as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw e;
  } finally {
    rmSync(aside, { force: true });
  }
}

/** Locks of this process, which must wait for each other like those of others. */
const own = new Map<string, Promise<unknown>>();

/**
 * Runs a job while no other window or process holds the lock `path.lock`; a lock left behind by a dead process is taken over. Throws
 * InputFileError when the holder does not finish in time, CancelledError, and what the job throws.
 */
export async function withLock<T>(path: string, job: () => T | Promise<T>, o: LockOptions = {}): Promise<T> {
  const lock = `${path}.lock`;
  const before = own.get(lock);
  const turn = (async (): Promise<T> => {
    await before?.catch(() => undefined);
    mkdirSync(dirname(path), { recursive: true });
    const start = Date.now();
    while (!acquired(path, lock)) {
      const content = contentOf(lock);
      if (content !== null && abandoned(lock, content)) clear(lock, content);
      else if (Date.now() - start > (o.patienceMs ?? PATIENCE_MS))
        throw new InputFileError(path, `is locked by another window or process (${content ?? lock})`);
      else await sleep(POLL_MS);
      throwIfCancelled(o.signal);
    }
    try {
      return await job();
    } finally {
      rmSync(lock, { force: true });
    }
  })();
  own.set(lock, turn);
  try {
    return await turn;
  } finally {
    if (own.get(lock) === turn) own.delete(lock);
  }
}

function acquired(path: string, lock: string): boolean {
  try {
    return take(lock);
  } catch (e) {
    throw new InputFileError(path, `cannot be locked (${(e as Error).message})`);
  }
}
