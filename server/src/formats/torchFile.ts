import { closeSync, fstatSync, openSync } from 'node:fs';
import { InputFileError } from '../errors';
import { type Member, readExactly, readMember, withFile, zipMembers } from './archive';
import { DTYPE_BYTES, type Dtype, isFloat, toFloat32 } from './dtype';
import { InertRecord, PickleGlobal, type PickleHooks, unpickle } from './pickle';
import { type TensorFile, type TensorInfo } from './tensorFile';

/** A text or a number of a pickle as text; other things are no names. */
const wordOf = (x: unknown): string =>
  typeof x === 'string' || typeof x === 'number' || typeof x === 'bigint' ? `${x}` : '';

/** Element types by torch's names of storages. */
const STORAGES: Readonly<Record<string, Dtype>> = {
  FloatStorage: 'F32',
  HalfStorage: 'F16',
  BFloat16Storage: 'BF16',
  DoubleStorage: 'F64',
  LongStorage: 'I64',
  IntStorage: 'I32',
  ShortStorage: 'I16',
  CharStorage: 'I8',
  ByteStorage: 'U8',
  BoolStorage: 'BOOL',
};

const PICKLE_LIMIT = 64 * 2 ** 20;
/** The first pickle of files from before the zip layout. */
const LEGACY_MAGIC = '119547037146038801333356';

/** A stretch of numbers that tensors look at. */
interface Storage {
  key: string;
  dtype: Dtype;
  count: number;
}

/** A tensor as a view of a storage, in elements. */
export class TorchTensor {
  constructor(
    readonly storage: Storage,
    readonly offset: number,
    readonly shape: number[],
    readonly stride: number[],
  ) {}

  get size(): number {
    return this.shape.reduce((a, b) => a * b, 1);
  }
}

const isCount = (x: unknown): x is number => typeof x === 'number' && Number.isSafeInteger(x) && x >= 0;
const counts = (x: unknown): number[] | null => (Array.isArray(x) && x.every(isCount) ? x : null);

/** Calls that a state dict needs, and those that only make plain data. */
const hooksOf = (path: string): PickleHooks => ({
  call(f, args) {
    switch (f.full) {
      case 'torch._utils._rebuild_tensor_v2':
      case 'torch._utils._rebuild_tensor':
        return rebuild(path, args);
      case 'torch._utils._rebuild_parameter':
        return args[0];
      case 'collections.OrderedDict':
        return new Map(pairs(args[0]));
      case 'collections.defaultdict':
        return new Map<unknown, unknown>();
      case 'torch.Size':
        return args[0];
      case 'torch.device':
        return new InertRecord(f, args);
      case 'copy_reg._reconstructor':
      case 'copyreg._reconstructor':
        return args[0] instanceof PickleGlobal ? new InertRecord(args[0], []) : undefined;
      default:
        return undefined;
    }
  },
  persistent(id) {
    const [kind, type, key, , count] = Array.isArray(id) ? (id as unknown[]) : [];
    const dtype = type instanceof PickleGlobal ? STORAGES[type.name] : undefined;
    const name = wordOf(key);
    if (kind !== 'storage' || !(type instanceof PickleGlobal) || !isCount(count) || !/^[\w-]{1,64}$/.test(name))
      throw new InputFileError(path, 'the pickle refers to something that is no storage of numbers');
    if (!dtype || type.module !== 'torch')
      throw new InputFileError(
        path,
        `storages of type ${type.full} are not read (${Object.keys(STORAGES).join(', ')} are)`,
      );
    return { key: name, dtype, count } satisfies Storage;
  },
});

function pairs(x: unknown): [unknown, unknown][] {
  if (x instanceof Map) return [...x] as [unknown, unknown][];
  return Array.isArray(x) ? x.filter((p): p is [unknown, unknown] => Array.isArray(p) && p.length === 2) : [];
}

function rebuild(path: string, args: unknown[]): TorchTensor {
  const [storage, offset, size, stride] = args as [Storage | undefined, unknown, unknown, unknown];
  const [shape, steps] = [counts(size), counts(stride)];
  if (!storage?.dtype || !isCount(offset) || !shape || steps?.length !== shape.length)
    throw new InputFileError(path, 'a tensor is not given as storage, offset, sizes and strides');
  const t = new TorchTensor(storage, offset, shape, steps);
  const last = shape.reduce((n, s, i) => n + Math.max(0, s - 1) * steps[i], offset);
  if (t.size > 0 && (last >= storage.count || t.size > 2 ** 40))
    throw new InputFileError(
      path,
      `a tensor of shape [${shape.join(', ')}] leaves its storage of ${storage.count} numbers`,
    );
  // A stride of 0 would make a large tensor of few numbers.
  if (t.size > storage.count)
    throw new InputFileError(path, `a tensor of ${t.size} numbers has a storage of ${storage.count}`);
  return t;
}

/** Where storages lie. */
interface Storages {
  /** Bytes of a storage. */
  read(s: Storage): Buffer;
  check(s: Storage): void;
}

/** A file of torch.save: its value, and how its tensors are read. */
export interface TorchFile {
  path: string;
  value: unknown;
  /** Numbers of a tensor in row-major order as float32. Throws InputFileError. */
  numbers(t: TorchTensor, name: string): Float32Array;
  close(): void;
}

function zipStorages(path: string, fd: number, members: ReadonlyMap<string, Member>, top: string): Storages {
  const memberOf = (s: Storage): Member => {
    const m = members.get(`${top}data/${s.key}`);
    if (!m) throw new InputFileError(path, `storage "${s.key}" is missing`);
    const want = s.count * DTYPE_BYTES[s.dtype];
    if (m.size !== want)
      throw new InputFileError(
        path,
        `storage "${s.key}": expected ${want} bytes for ${s.count} ${s.dtype}, found ${m.size}`,
      );
    return m;
  };
  return { check: (s) => void memberOf(s), read: (s) => readMember(fd, path, memberOf(s)) };
}

async function openZip(path: string): Promise<{ value: unknown; storages: (fd: number) => Storages }> {
  const members = await zipMembers(path);
  const pickles = [...members.keys()].filter((n) => n === 'data.pkl' || /^[^/]+\/data\.pkl$/.test(n));
  if (pickles.length !== 1)
    throw new InputFileError(path, 'a zip archive, but not one of torch.save: expected one data.pkl');
  const top = pickles[0].slice(0, -'data.pkl'.length);
  const member = members.get(pickles[0]) as Member;
  if (member.size > PICKLE_LIMIT)
    throw new InputFileError(path, `its pickle has ${member.size} bytes, more than ${PICKLE_LIMIT}`);
  return withFile(path, (fd) => {
    const order = members.get(`${top}byteorder`);
    if (order && order.size < 100 && readMember(fd, path, order).toString('ascii').trim() === 'big')
      throw new InputFileError(path, 'its numbers are big-endian, which is not read');
    const { value } = unpickle(path, readMember(fd, path, member), 0, hooksOf(path));
    return { value, storages: (open: number) => zipStorages(path, open, members, top) };
  });
}

/** Files from before torch 1.6: five pickles, then each storage as a count and its numbers. */
function openLegacy(path: string): { value: unknown; storages: (fd: number) => Storages } {
  return withFile(path, (fd) => {
    const { size } = fstatSync(fd);
    const bytes = readExactly(fd, path, 0, Math.min(size, PICKLE_LIMIT), 'its pickles');
    const seen = new Map<string, Storage>();
    const hooks = hooksOf(path);
    const remembering: PickleHooks = {
      call: (f, args) => hooks.call(f, args),
      persistent: (id) => {
        const s = hooks.persistent(id) as Storage;
        if (Array.isArray(id) && id.length > 5 && id[5] !== null)
          throw new InputFileError(path, 'views of storages, as very old files have them, are not read');
        seen.set(s.key, s);
        return s;
      },
    };
    let at = 0;
    const next = (): unknown => {
      const { value, end } = unpickle(path, bytes, at, remembering);
      at = end;
      return value;
    };
    if (wordOf(next()) !== LEGACY_MAGIC) throw new InputFileError(path, 'not a file of torch.save');
    next();
    next();
    const value = next();
    const keys = next();
    if (!Array.isArray(keys)) throw new InputFileError(path, 'the list of storages is missing');
    const places = new Map<string, number>();
    for (const key of keys.map(wordOf)) {
      const s = seen.get(key);
      if (!s) throw new InputFileError(path, `storage "${key}" is used by no tensor`);
      const count = Number(readExactly(fd, path, at, 8, `storage "${key}"`).readBigInt64LE());
      if (count !== s.count)
        throw new InputFileError(path, `storage "${key}": expected ${s.count} numbers, found ${count}`);
      places.set(key, at + 8);
      at += 8 + count * DTYPE_BYTES[s.dtype];
      if (at > size) throw new InputFileError(path, `the file ends inside storage "${key}"`);
    }
    const placeOf = (s: Storage): number => {
      const place = places.get(s.key);
      if (place === undefined) throw new InputFileError(path, `storage "${s.key}" is missing`);
      return place;
    };
    const storages = (open: number): Storages => ({
      check: (s) => void placeOf(s),
      read: (s) => readExactly(open, path, placeOf(s), s.count * DTYPE_BYTES[s.dtype], `storage "${s.key}"`),
    });
    return { value, storages };
  });
}

/** Elements of a view in row-major order. */
function gather(all: Float32Array, t: TorchTensor): Float32Array {
  const packed = t.shape.reduceRight((n, s, i) => (t.stride[i] === n || s === 1 ? n * s : NaN), 1) === t.size;
  if (packed) return t.offset === 0 && t.size === all.length ? all : all.slice(t.offset, t.offset + t.size);
  const out = new Float32Array(t.size);
  const { shape, stride } = t;
  const last = shape.length - 1;
  const index = shape.map(() => 0);
  let at = t.offset;
  for (let o = 0; o < out.length;) {
    const n = last < 0 ? 1 : shape[last];
    const step = last < 0 ? 1 : stride[last];
    for (let i = 0; i < n; i++) out[o++] = all[at + i * step];
    let d = last - 1;
    for (; d >= 0; d--) {
      at += stride[d];
      if (++index[d] < shape[d]) break;
      at -= stride[d] * shape[d];
      index[d] = 0;
    }
    if (d < 0) break;
  }
  return out;
}

/**
 * Opens a file of torch.save, in the zip layout or the older one, without running anything: tensors, plain data and inert records
 * (reference weight-formats §4). Throws InputFileError.
 */
export async function openTorch(path: string): Promise<TorchFile> {
  const head = withFile(path, (fd) => {
    const { size } = fstatSync(fd);
    return readExactly(fd, path, 0, Math.min(4, size), 'its first bytes');
  });
  if (head.length < 4) throw new InputFileError(path, `too short for a file of torch.save (${head.length} bytes)`);
  if (head[0] === 0x1f && head[1] === 0x8b)
    throw new InputFileError(path, 'a gzipped pickle; convert it to safetensors');
  const zip = head.readUInt32LE() === 0x04034b50;
  const { value, storages } = zip ? await openZip(path) : openLegacy(path);
  const fd = openSync(path, 'r');
  const s = storages(fd);
  const numbers = (t: TorchTensor, name: string): Float32Array => {
    if (!isFloat(t.storage.dtype))
      throw new InputFileError(path, `tensor "${name}": expected floating-point weights, found ${t.storage.dtype}`);
    const out = gather(toFloat32(s.read(t.storage), t.storage.dtype), t);
    const wrong = out.findIndex((x) => !Number.isFinite(x));
    if (wrong >= 0)
      throw new InputFileError(
        path,
        `tensor "${name}": element ${wrong} is ${out[wrong]}; weights must be finite numbers`,
      );
    return out;
  };
  return { path, value, numbers, close: () => closeSync(fd) };
}

/** The tensors of a table as a tensor file; entries that are no tensors are left out. */
export function torchTensors(file: TorchFile, table: ReadonlyMap<unknown, unknown>): TensorFile {
  const tensors = new Map<string, TensorInfo>();
  const views = new Map<string, TorchTensor>();
  for (const [name, t] of table) {
    if (typeof name !== 'string' || !(t instanceof TorchTensor)) continue;
    const { dtype } = t.storage;
    views.set(name, t);
    tensors.set(name, {
      name,
      dtype,
      shape: t.shape,
      file: file.path,
      offset: t.offset,
      length: t.size * DTYPE_BYTES[dtype],
    });
  }
  return {
    path: file.path,
    tensors,
    read: (name, start = 0, count) => {
      const t = views.get(name);
      if (!t) throw new InputFileError(file.path, `tensor "${name}" is missing`);
      const all = file.numbers(t, name);
      return start === 0 && count === undefined
        ? all
        : all.subarray(start, count === undefined ? undefined : start + count);
    },
    close: () => file.close(),
  };
}
