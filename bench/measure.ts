import { readFileSync } from 'node:fs';

/** Wall-clock figures of repeated runs, in milliseconds. */
export interface Timing {
  median: number;
  low: number;
  high: number;
}

export const quantile = (sorted: number[], q: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))];

export function summarise(times: number[]): Timing {
  const sorted = [...times].sort((a, b) => a - b);
  return { median: quantile(sorted, 0.5), low: sorted[0], high: sorted[sorted.length - 1] };
}

/** Times several things in turn, round after round, so that a noisy machine disturbs them alike. */
export async function timeTogether(rounds: number, things: (() => Promise<void>)[], warmUp = 1): Promise<Timing[]> {
  const times: number[][] = things.map(() => []);
  for (let r = -warmUp; r < rounds; r++) {
    for (const [i, thing] of things.entries()) {
      const start = performance.now();
      await thing();
      if (r >= 0) times[i].push(performance.now() - start);
    }
  }
  return times.map(summarise);
}

/** Private (anonymous) and resident memory of this process in GiB, where the system tells. */
export function memory(): { anonymous: number; resident: number; peak: number } {
  const read = (key: string): number => {
    const m = new RegExp(`${key}:\\s+(\\d+)`).exec(readFileSync('/proc/self/status', 'utf8'));
    return m ? Number(m[1]) / 2 ** 20 : NaN;
  };
  try {
    return { anonymous: read('RssAnon'), resident: read('VmRSS'), peak: read('VmHWM') };
  } catch {
    return { anonymous: NaN, resident: process.memoryUsage().rss / 2 ** 30, peak: NaN };
  }
}
