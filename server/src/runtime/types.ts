/** A tensor as the runtime exchanges it: row-major data with its sizes. */
export interface FloatTensor {
  data: Float32Array;
  dims: number[];
}

export interface IntTensor {
  data: Int32Array;
  dims: number[];
}

export type Feeds = Record<string, FloatTensor | IntTensor>;
export type Results = Record<string, FloatTensor | IntTensor>;

/** One loaded graph. */
export interface Session {
  /** Runs the graph and gives the outputs asked for. Throws RuntimeFailure. */
  run(feeds: Feeds, fetch: string[]): Promise<Results>;
  release(): Promise<void>;
}

export type ProviderName = 'cpu' | 'webgpu' | 'cuda';
export type ProviderChoice = ProviderName | 'auto';

/** Float output of a run, by name. Throws when it is missing or not float32. */
export function floats(r: Results, name: string): Float32Array {
  const t = r[name];
  if (!t || !(t.data instanceof Float32Array)) throw new Error(`output ${name} is not a float32 tensor`);
  return t.data;
}

/** Int32 output of a run, by name. Throws when it is missing or of another type. */
export function ints(r: Results, name: string): Int32Array {
  const t = r[name];
  if (!t || !(t.data instanceof Int32Array)) throw new Error(`output ${name} is not an int32 tensor`);
  return t.data;
}
