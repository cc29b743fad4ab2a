/**
 * The errors of the engine. Each is named after what is wrong and carries one sentence a person can act on;
 * the command line maps them to exit codes (see EXIT_CODES), the editor to messages.
 */

/** Exit codes of the command line, fixed by the interface. */
export const EXIT_CODES = { done: 0, usage: 2, input: 3, refused: 4, runtime: 5, interrupted: 130 } as const;

/** Base of every expected failure. `code` is the exit code of a command that ends with it. */
export abstract class EngineError extends Error {
  abstract readonly code: number;
  override get name(): string {
    return this.constructor.name;
  }
}

/** The caller asked for something that does not exist or cannot be combined: wrong option, unknown site, index out of range. */
export class UsageError extends EngineError {
  readonly code = EXIT_CODES.usage;
}

/** A file is missing, damaged, or not what it says. The message names the file, the tensor or key, and what was expected. */
export class InputFileError extends EngineError {
  readonly code = EXIT_CODES.input;
  constructor(
    readonly file: string,
    detail: string,
  ) {
    super(`${file}: ${detail}`);
  }
}

/** A combination of model, dictionary and settings whose identities do not hold, or that is not implemented, refused by name. */
export class UnsupportedError extends EngineError {
  readonly code = EXIT_CODES.input;
}

/** A decomposition whose remainder is too large to be shown as a result. */
export class RemainderError extends EngineError {
  readonly code = EXIT_CODES.refused;
  constructor(
    readonly node: string,
    readonly remainder: number,
    readonly scale: number,
  ) {
    super(
      `refused: at node ${node} the parts miss the value by ${remainder.toExponential(3)}, ` +
        `more than 1e-4 of their total size ${scale.toExponential(3)}. ` +
        'The weights used for the attribution are not those of the forward pass, or the numbers overflowed.',
    );
  }
}

/** Numbers that should be the published ones are not. */
export class VerificationError extends EngineError {
  readonly code = EXIT_CODES.refused;
  constructor(count: number) {
    super(`${count} ${count === 1 ? 'number differs' : 'numbers differ'} from what is expected`);
  }
}

/** The runtime or one of its providers failed. */
export class RuntimeFailure extends EngineError {
  readonly code = EXIT_CODES.runtime;
}

/** A download failed: the address, the status where there was an answer, and what it means. */
export class DownloadError extends EngineError {
  readonly code = EXIT_CODES.runtime;
  constructor(
    readonly url: string,
    readonly status: number | null,
    reason: string,
  ) {
    super(`${url}: ${reason}${status === null ? '' : ` (status ${status})`}`);
  }
}

/** The user cancelled. */
export class CancelledError extends EngineError {
  readonly code = EXIT_CODES.interrupted;
  constructor() {
    super('interrupted');
  }
}

/** Throws CancelledError when the signal has fired. Called inside every long loop. */
export function throwIfCancelled(signal?: AbortSignal): void {
  if (signal?.aborted) throw new CancelledError();
}
