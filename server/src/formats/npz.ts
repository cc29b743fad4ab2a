import { closeSync, openSync } from 'node:fs';
import { InputFileError } from '../errors';
import { type Member, readExactly, readMember, withFile, zipMembers } from './archive';
import { DTYPE_BYTES, type Dtype, isFloat, toFloat32 } from './dtype';
import { type TensorFile, type TensorInfo } from './tensorFile';

const DESCRIPTIONS: Readonly<Record<string, Dtype>> = {
  '<f8': 'F64',
  '<f4': 'F32',
  '<f2': 'F16',
  '<i8': 'I64',
  '<i4': 'I32',
  '<i2': 'I16',
  '|i1': 'I8',
  '|u1': 'U8',
  '|b1': 'BOOL',
};

const HEADER_LIMIT = 65_536;

interface Array_ {
  dtype: Dtype;
  shape: number[];
  fortran: boolean;
  /** First byte of the numbers in the member. */
  start: number;
}

/** Parses the head of a .npy member. Throws InputFileError. */
function parseHead(path: string, name: string, head: Buffer): Array_ {
  const bad = (why: string): InputFileError => new InputFileError(path, `array "${name}": ${why}`);
  if (head.length < 12 || head.toString('latin1', 0, 6) !== '\x93NUMPY') throw bad('not a .npy array');
  const wide = head[6] >= 2;
  const length = wide ? head.readUInt32LE(8) : head.readUInt16LE(8);
  const from = wide ? 12 : 10;
  if (length > HEADER_LIMIT || from + length > head.length) throw bad('its header does not end');
  const text = head.toString('latin1', from, from + length);
  const [, descr] = /'descr':\s*'([^']*)'/.exec(text) ?? [];
  const [, order] = /'fortran_order':\s*(True|False)/.exec(text) ?? [];
  const [, sizes] = /'shape':\s*\(([\d,\s]*)\)/.exec(text) ?? [];
  if (descr === undefined || order === undefined || sizes === undefined)
    throw bad(`its header is not read: ${JSON.stringify(text.trim().slice(0, 80))}`);
  const dtype = DESCRIPTIONS[descr];
  if (!dtype)
    throw bad(`element type ${JSON.stringify(descr)} is not supported (${Object.keys(DESCRIPTIONS).join(', ')} are)`);
  const shape = sizes
    .split(',')
    .map((s) => s.trim())
    .filter((s) => s !== '')
    .map(Number);
  if (!shape.every(Number.isSafeInteger)) throw bad('its shape is not a list of sizes');
  return { dtype, shape, fortran: order === 'True', start: from + length };
}

/** Columns first to rows first. */
function rowMajor(x: Float32Array, shape: readonly number[]): Float32Array {
  if (shape.length < 2) return x;
  const out = new Float32Array(x.length);
  const index = shape.map(() => 0);
  for (const v of x) {
    let at = 0;
    for (let d = 0; d < shape.length; d++) at = at * shape[d] + index[d];
    out[at] = v;
    for (let d = 0; d < shape.length && ++index[d] === shape[d]; d++) index[d] = 0;
  }
  return out;
}

/**
 * Opens an .npz archive of arrays, stored or deflated, in either order of elements (reference weight-formats §5). Object arrays, which are
 * pickles, are refused. Throws InputFileError.
 */
export async function openNpz(path: string): Promise<TensorFile> {
  const members = await zipMembers(path);
  const tensors = new Map<string, TensorInfo>();
  const arrays = new Map<string, { member: Member; head: Array_ }>();
  withFile(path, (fd) => {
    for (const member of members.values()) {
      if (!member.name.endsWith('.npy')) continue;
      const name = member.name.slice(0, -4);
      const bytes = member.stored
        ? readExactly(fd, path, member.offset, Math.min(member.size, HEADER_LIMIT + 12), `array "${name}"`)
        : readMember(fd, path, member);
      const head = parseHead(path, name, bytes);
      const length = head.shape.reduce((a, b) => a * b, 1) * DTYPE_BYTES[head.dtype];
      if (head.start + length !== member.size)
        throw new InputFileError(
          path,
          `array "${name}": shape [${head.shape.join(', ')}] of ${head.dtype} needs ${length} bytes, there are ${member.size - head.start}`,
        );
      arrays.set(name, { member, head });
      tensors.set(name, { name, dtype: head.dtype, shape: head.shape, file: path, offset: member.offset, length });
    }
  });
  if (tensors.size === 0) throw new InputFileError(path, 'a zip archive without arrays');
  const fd = openSync(path, 'r');
  return {
    path,
    tensors,
    read: (name, start = 0, count) => {
      const a = arrays.get(name);
      if (!a) throw new InputFileError(path, `array "${name}" is missing`);
      if (!isFloat(a.head.dtype))
        throw new InputFileError(path, `array "${name}": expected floating-point weights, found ${a.head.dtype}`);
      const raw = toFloat32(readMember(fd, path, a.member).subarray(a.head.start), a.head.dtype);
      const wrong = raw.findIndex((x) => !Number.isFinite(x));
      if (wrong >= 0)
        throw new InputFileError(
          path,
          `array "${name}": element ${wrong} is ${raw[wrong]}; weights must be finite numbers`,
        );
      const all = a.head.fortran ? rowMajor(raw, a.head.shape) : raw;
      return all.subarray(start, count === undefined ? undefined : start + count);
    },
    close: () => closeSync(fd),
  };
}
