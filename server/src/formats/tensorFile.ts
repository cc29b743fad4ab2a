import { type Dtype } from './dtype';

/** Where one tensor lies: its element type, shape, and byte range in a file. */
export interface TensorInfo {
  name: string;
  dtype: Dtype;
  shape: number[];
  file: string;
  /** First byte in the file. */
  offset: number;
  /** Number of bytes. */
  length: number;
}

/** A readable set of named tensors: one file, or the shards of one checkpoint. */
export interface TensorFile {
  /** What to call it in messages. */
  readonly path: string;
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  /**
   * Elements [start, start+count) of a tensor, row-major order, as float32.
   * Throws InputFileError for a missing tensor, a type that holds no weights, or NaN and infinite values.
   */
  read(name: string, start?: number, count?: number): Float32Array;
  close(): void;
}
