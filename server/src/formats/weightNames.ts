import { InputFileError, UnsupportedError } from '../errors';
import { type TensorFile, type TensorInfo } from './tensorFile';

/** The names that tools give to a dictionary's tensors. A name after ᵀ is stored transposed. */
const NAMES: Readonly<Record<string, readonly string[]>> = {
  W_enc: ['W_enc', 'w_enc', 'ᵀencoder.weight'],
  W_dec: ['W_dec', 'w_dec', 'ᵀdecoder.weight'],
  b_enc: ['b_enc', 'encoder.bias'],
  b_dec: ['b_dec', 'decoder.bias', 'decoder_bias', 'bias'],
  b_dec_out: ['b_dec_out'],
  threshold: ['threshold', 'activation_function.threshold'],
  b_gate: ['b_gate', 'gate_bias'],
  b_mag: ['b_mag', 'mag_bias'],
  r_mag: ['r_mag'],
  W_skip: ['W_skip', 'ᵀaffine_skip_connection'],
  scaling_factor: ['scaling_factor'],
};

interface Named {
  shape: number[];
  /** Whether the name already said which way round it is stored. */
  swapped: boolean;
  read: () => Float32Array;
}

/** A dictionary's tensors under this project's names and in its orientation. */
export interface DictionaryTensors {
  d_in: number;
  d_sae: number;
  d_out: number;
  has(name: string): boolean;
  read(name: string): Float32Array;
}

function transposed(x: Float32Array, rows: number, cols: number): Float32Array {
  const out = new Float32Array(x.length);
  for (let r = 0; r < rows; r++) for (let c = 0; c < cols; c++) out[c * rows + r] = x[r * cols + c];
  return out;
}

/**
 * Finds a dictionary's tensors in a file by any of the names in use, and checks that their sizes agree. `encoderRows` says that W_enc is stored
 * [d_sae, d_in], as circuit-tracer does, where its shape alone does not tell. Throws InputFileError naming the tensor, and UnsupportedError
 * for cross-layer transcoders.
 */
export function namedTensors(file: TensorFile, encoderRows: boolean): DictionaryTensors {
  if ([...file.tensors.keys()].some((n) => /^W_(enc|dec)_\d+$/.test(n)))
    throw new UnsupportedError(`${file.path}: cross-layer transcoders are not supported`);
  const found = new Map<string, Named>();
  const put = (name: string, t: TensorInfo, swap: boolean): void => {
    const [rows, cols] = t.shape;
    const shape = swap ? [cols, rows] : t.shape;
    found.set(name, {
      shape,
      swapped: swap,
      read: () => (swap ? transposed(file.read(t.name), rows, cols) : file.read(t.name)),
    });
  };
  for (const [name, candidates] of Object.entries(NAMES)) {
    for (const c of candidates) {
      const swap = c.startsWith('ᵀ');
      const t = file.tensors.get(swap ? c.slice(1) : c);
      if (t && !found.has(name)) put(name, t, swap && t.shape.length === 2);
    }
  }
  const need = (name: string): Named => {
    const t = found.get(name);
    if (!t)
      throw new InputFileError(
        file.path,
        `tensor "${name}" is missing; it holds ${[...file.tensors.keys()].slice(0, 12).join(', ') || 'no tensors'}`,
      );
    return t;
  };
  const [d_sae] = need(found.has('b_mag') ? 'b_mag' : 'b_enc').shape;
  const encoder = need('W_enc');
  if (encoder.shape.length !== 2) wrong(file, 'W_enc', encoder.shape, ['d_in', 'd_sae']);
  const [rows, cols] = encoder.shape;
  const byRows = rows === d_sae && (cols !== d_sae || encoderRows);
  if (byRows && !encoder.swapped) {
    const { read } = encoder;
    found.set('W_enc', { shape: [cols, rows], swapped: true, read: () => transposed(read(), rows, cols) });
  }
  const d_in = need('W_enc').shape[0];
  const [d_out] = need(found.has('b_dec_out') ? 'b_dec_out' : 'b_dec').shape;
  const shapes: Record<string, number[]> = {
    W_enc: [d_in, d_sae],
    W_dec: [d_sae, d_out],
    b_enc: [d_sae],
    b_dec: [found.has('b_dec_out') ? d_in : d_out],
    b_dec_out: [d_out],
    threshold: [d_sae],
    b_gate: [d_sae],
    b_mag: [d_sae],
    r_mag: [d_sae],
    W_skip: [d_out, d_in],
  };
  need('W_dec');
  for (const [name, shape] of Object.entries(shapes)) {
    const t = found.get(name);
    if (t && (t.shape.length !== shape.length || t.shape.some((s, i) => s !== shape[i])))
      wrong(file, name, t.shape, shape);
  }
  return { d_in, d_sae, d_out, has: (n) => found.has(n), read: (n) => need(n).read() };
}

function wrong(file: TensorFile, name: string, is: readonly number[], want: readonly (number | string)[]): never {
  throw new InputFileError(
    file.path,
    `tensor "${name}": expected shape [${want.join(', ')}], found [${is.join(', ')}]`,
  );
}
