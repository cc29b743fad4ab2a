import { expect, test } from 'vitest';
import { CancelledError } from '../../server/src/errors';
import { Scheduler } from '../../server/src/scheduler';

const forever = new AbortController().signal;

test('one job at a time, the most urgent first, equals in order of arrival', async () => {
  const s = new Scheduler();
  const log: string[] = [];
  let running = 0;
  const job = (name: string) => async (): Promise<void> => {
    expect(++running).toBe(1);
    await Promise.resolve();
    log.push(name);
    running--;
  };
  await Promise.all([
    s.run('batch', forever, job('b1')),
    s.run('visible', forever, job('v1')),
    s.run('interactive', forever, job('i1')),
    s.run('batch', forever, job('b2')),
    s.run('interactive', forever, job('i2')),
  ]);
  expect(log).toEqual(['i1', 'i2', 'v1', 'b1', 'b2']);
});

test('an urgent request overtakes a long job where it breathes, and equals do not', async () => {
  const s = new Scheduler();
  const log: string[] = [];
  let urgent: Promise<void> = Promise.resolve();
  const long = s.run('batch', forever, async (turn) => {
    for (let step = 0; step < 3; step++) {
      log.push(`step ${step}`);
      if (step === 0) {
        urgent = s.run('interactive', forever, () => Promise.resolve(void log.push('urgent')));
        void s.run('batch', forever, () => Promise.resolve(void log.push('other batch')));
      }
      await turn.breathe();
    }
  });
  await long;
  await urgent;
  await s.run('batch', forever, () => Promise.resolve());
  expect(log).toEqual(['step 0', 'urgent', 'step 1', 'step 2', 'other batch']);
});

test('a waiting job that is cancelled never starts; a running one stops at its next breath', async () => {
  const s = new Scheduler();
  const [waiting, running] = [new AbortController(), new AbortController()];
  let steps = 0;
  const first = s.run('batch', running.signal, async (turn) => {
    for (;;) {
      if (++steps === 2) running.abort();
      await turn.breathe();
    }
  });
  const second = s.run('batch', waiting.signal, () => Promise.reject(new Error('started')));
  waiting.abort();
  await expect(second).rejects.toBeInstanceOf(CancelledError);
  await expect(first).rejects.toBeInstanceOf(CancelledError);
  expect(steps).toBe(2);
  expect(s.pending).toBe(0);
});

test('a failing job does not stop the others', async () => {
  const s = new Scheduler();
  const failing = s.run('interactive', forever, () => Promise.reject(new Error('no')));
  const next = s.run('interactive', forever, () => Promise.resolve(7));
  await expect(failing).rejects.toThrow('no');
  expect(await next).toBe(7);
});
