import { once } from 'node:events';

const CHUNK = 1 << 16;

function* pieces(value: unknown): Generator<string> {
  if (value === null || typeof value !== 'object') {
    yield JSON.stringify(value ?? null);
  } else if (Array.isArray(value) || ArrayBuffer.isView(value)) {
    yield '[';
    let first = true;
    for (const v of value as unknown as Iterable<unknown>) {
      if (!first) yield ',';
      first = false;
      yield* pieces(v);
    }
    yield ']';
  } else {
    yield '{';
    let first = true;
    for (const [k, v] of Object.entries(value)) {
      if (v === undefined) continue;
      yield `${first ? '' : ','}${JSON.stringify(k)}:`;
      first = false;
      yield* pieces(v);
    }
    yield '}';
  }
}

async function write(text: string): Promise<void> {
  if (!process.stdout.write(text)) await once(process.stdout, 'drain');
}

/**
 * Writes one JSON document and a newline to standard output, in pieces, waiting for slow readers: documents of any size arrive
 * whole. Typed arrays become arrays of numbers at full precision.
 */
export async function writeJson(value: unknown): Promise<void> {
  let buffer = '';
  for (const p of pieces(value)) {
    buffer += p;
    if (buffer.length > CHUNK) {
      await write(buffer);
      buffer = '';
    }
  }
  await write(`${buffer}\n`);
}

/** Writes human text to standard output. */
export function writeText(text: string): Promise<void> {
  return write(text.endsWith('\n') ? text : `${text}\n`);
}

/** Writes a notice to standard error. */
export function notice(line: string): void {
  process.stderr.write(`${line}\n`);
}

/** A one-line progress bar on standard error; silent where that is no terminal. */
export class Progress {
  private shown = 0;

  constructor(
    private readonly what: string,
    private readonly amount: (n: number) => string = String,
  ) {}

  update(done: number, total: number): void {
    const now = Date.now();
    if (!process.stderr.isTTY || (now - this.shown < 100 && done < total)) return;
    this.shown = now;
    const width = 24;
    const filled = Math.round((width * done) / Math.max(1, total));
    process.stderr.write(
      `\r${this.what} [${'#'.repeat(filled)}${'.'.repeat(width - filled)}] ${this.amount(done)} of ${this.amount(total)}\x1b[K`,
    );
  }

  end(): void {
    if (process.stderr.isTTY && this.shown) process.stderr.write('\r\x1b[K');
  }
}
