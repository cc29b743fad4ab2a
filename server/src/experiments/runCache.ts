import { type Engine, type PromptRun } from '../engine';
import { traceBytes } from '../model';
import { type Case } from './types';

const LIMIT = 2 ** 30;

/** Analysed prompts of one experiment, up to a GiB of activations; the least recently used go first and are computed again when asked for. */
export class RunCache {
  private readonly runs = new Map<Case, Promise<PromptRun>>();
  private readonly bytes = new Map<Case, number>();

  constructor(
    private readonly engine: Engine,
    private readonly signal: AbortSignal,
    private readonly limit = LIMIT,
  ) {}

  /** A case's run. */
  async get(c: Case): Promise<PromptRun> {
    const run = this.runs.get(c) ?? this.engine.run(c.tokens, undefined, this.signal);
    this.runs.delete(c);
    this.runs.set(c, run);
    this.bytes.set(c, traceBytes((await run).trace));
    this.trim();
    return run;
  }

  /** Bytes of activations that are kept. */
  get size(): number {
    return [...this.bytes.values()].reduce((a, b) => a + b, 0);
  }

  private trim(): void {
    let { size } = this;
    for (const c of this.runs.keys()) {
      if (size <= this.limit || this.runs.size === 1) return;
      size -= this.bytes.get(c) ?? 0;
      this.runs.delete(c);
      this.bytes.delete(c);
    }
  }
}
