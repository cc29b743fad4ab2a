/** Who runs next: one heavy job at a time, the most urgent first; long jobs let urgent ones pass between their steps. */
import { CancelledError, throwIfCancelled } from '../errors';

/** Most urgent first: somebody is waiting with the mouse; something on the screen wants it; it was asked for; nobody is looking. */
export type Priority = 'interactive' | 'visible' | 'batch' | 'background';

const ORDER: readonly Priority[] = ['interactive', 'visible', 'batch', 'background'];

/** What a job gets. */
export interface Turn {
  signal: AbortSignal;
  /**
   * To be called between the steps of a long job: runs what is more urgent and waiting, yields to the event loop, and throws
   * CancelledError when the job has been cancelled.
   */
  breathe(): Promise<void>;
}

interface Job {
  rank: number;
  signal: AbortSignal;
  start: () => Promise<void>;
  cancel: () => void;
}

const nextTick = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Runs heavy jobs one at a time. Light work does not come here. */
export class Scheduler {
  private readonly waiting: Job[] = [];
  private running = false;

  /** Jobs that have not started. */
  get pending(): number {
    return this.waiting.length;
  }

  /** Runs a job when its turn comes. Rejects with CancelledError when the signal fires before or, if the job looks, during it. */
  run<T>(priority: Priority, signal: AbortSignal, job: (turn: Turn) => Promise<T>): Promise<T> {
    const rank = ORDER.indexOf(priority);
    return new Promise<T>((resolve, reject) => {
      const abort = (): void => {
        const at = this.waiting.indexOf(entry);
        if (at < 0) return;
        this.waiting.splice(at, 1);
        reject(new CancelledError());
      };
      const entry: Job = {
        rank,
        signal,
        cancel: () => reject(new CancelledError()),
        start: async () => {
          signal.removeEventListener('abort', abort);
          try {
            resolve(await job({ signal, breathe: () => this.breathe(rank, signal) }));
          } catch (e) {
            reject(e instanceof Error ? e : new Error(String(e)));
          }
        },
      };
      if (signal.aborted) return entry.cancel();
      signal.addEventListener('abort', abort, { once: true });
      const before = this.waiting.findIndex((j) => j.rank > rank);
      this.waiting.splice(before < 0 ? this.waiting.length : before, 0, entry);
      void this.pump();
    });
  }

  private async pump(): Promise<void> {
    if (this.running) return;
    this.running = true;
    await nextTick();
    for (let job = this.waiting.shift(); job; job = this.waiting.shift()) await job.start();
    this.running = false;
  }

  private async breathe(rank: number, signal: AbortSignal): Promise<void> {
    await nextTick();
    throwIfCancelled(signal);
    while (this.waiting.length > 0 && this.waiting[0].rank < rank) await (this.waiting.shift() as Job).start();
    throwIfCancelled(signal);
  }
}
