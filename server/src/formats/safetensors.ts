import { closeSync, existsSync, fstatSync, openSync, readFileSync, readSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { InputFileError } from '../errors';
import { DTYPE_BYTES, type Dtype, isFloat, toFloat32 } from './dtype';
import { type TensorFile, type TensorInfo } from './tensorFile';

const HEADER_LIMIT = 100_000_000;

const isCount = (x: unknown): x is number => typeof x === 'number' && Number.isSafeInteger(x) && x >= 0;

function parseHeader(path: string, text: string): Record<string, unknown> {
  let header: unknown;
  try {
    header = JSON.parse(text);
  } catch {
    throw new InputFileError(path, 'the safetensors header is not valid JSON');
  }
  if (typeof header !== 'object' || header === null || Array.isArray(header)) {
    throw new InputFileError(path, 'the safetensors header is not a JSON object');
  }
  return header as Record<string, unknown>;
}

/** Top-level keys in the order they stand in the text, to find duplicates that JSON.parse hides. */
function countTopLevelKeys(text: string): number {
  let depth = 0;
  let inString = false;
  let keys = 0;
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (inString) {
      if (c === 92) i++;
      else if (c === 34) inString = false;
    } else if (c === 34) inString = true;
    else if (c === 123 || c === 91) depth++;
    else if (c === 125 || c === 93) depth--;
    else if (c === 58 && depth === 1) keys++;
  }
  return keys;
}

function parseEntry(path: string, name: string, raw: unknown, dataStart: number, dataBytes: number): TensorInfo {
  const bad = (why: string): InputFileError => new InputFileError(path, `tensor "${name}": ${why}`);
  if (typeof raw !== 'object' || raw === null) throw bad('its header entry is not an object');
  const e = raw as Record<string, unknown>;
  const { dtype, shape } = e;
  const offsets = e.data_offsets ?? e.offsets;
  if (typeof dtype !== 'string' || !(dtype in DTYPE_BYTES)) {
    throw bad(`element type ${JSON.stringify(dtype)} is not supported (${Object.keys(DTYPE_BYTES).join(', ')} are)`);
  }
  if (!Array.isArray(shape) || !shape.every(isCount)) throw bad('its shape is not a list of sizes');
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isCount)) {
    throw bad('data_offsets is not a pair of byte positions');
  }
  const [begin, end] = offsets as [number, number];
  const want = shape.reduce((a, b) => a * b, 1) * DTYPE_BYTES[dtype as Dtype];
  if (end < begin || end > dataBytes) {
    throw bad(`data_offsets [${begin}, ${end}] leave the file, which holds ${dataBytes} bytes of data`);
  }
  if (end - begin !== want) {
    throw bad(`shape [${shape.join(', ')}] of ${dtype} needs ${want} bytes, data_offsets give ${end - begin}`);
  }
  return { name, dtype: dtype as Dtype, shape: shape, file: path, offset: dataStart + begin, length: want };
}

function checkCoverage(path: string, infos: TensorInfo[], dataStart: number, dataBytes: number): void {
  let at = dataStart;
  for (const t of [...infos].sort((a, b) => a.offset - b.offset || a.length - b.length)) {
    if (t.offset !== at) {
      throw new InputFileError(
        path,
        `tensor "${t.name}": its bytes ${t.offset < at ? 'overlap another tensor' : 'leave a hole before it'}`,
      );
    }
    at += t.length;
  }
  if (at !== dataStart + dataBytes) {
    throw new InputFileError(path, `${dataStart + dataBytes - at} bytes at the end belong to no tensor`);
  }
}

class OpenSafetensors implements TensorFile {
  constructor(
    readonly path: string,
    readonly tensors: ReadonlyMap<string, TensorInfo>,
    private readonly handles: Map<string, number>,
  ) {}

  read(name: string, start = 0, count?: number): Float32Array {
    const t = this.tensors.get(name);
    if (!t) throw new InputFileError(this.path, `tensor "${name}" is missing`);
    if (!isFloat(t.dtype))
      throw new InputFileError(t.file, `tensor "${name}": expected floating-point weights, found ${t.dtype}`);
    const size = DTYPE_BYTES[t.dtype];
    const n = count ?? t.length / size - start;
    const bytes = Buffer.allocUnsafe(n * size);
    const fd = this.handles.get(t.file);
    if (fd === undefined) throw new InputFileError(t.file, 'the file is closed');
    for (let got = 0; got < bytes.length;) {
      const r = readSync(fd, bytes, got, bytes.length - got, t.offset + start * size + got);
      if (r === 0) throw new InputFileError(t.file, `tensor "${name}": the file ends inside it`);
      got += r;
    }
    const out = toFloat32(bytes, t.dtype);
    for (let i = 0; i < out.length; i++) {
      if (!Number.isFinite(out[i])) {
        throw new InputFileError(
          t.file,
          `tensor "${name}": element ${start + i} is ${out[i]}; weights must be finite numbers`,
        );
      }
    }
    return out;
  }

  close(): void {
    for (const fd of this.handles.values()) closeSync(fd);
    this.handles.clear();
  }
}

function openOne(path: string, handles: Map<string, number>): TensorInfo[] {
  if (!existsSync(path)) throw new InputFileError(path, 'the file does not exist');
  if (!statSync(path).isFile()) throw new InputFileError(path, 'expected a file');
  const fd = openSync(path, 'r');
  handles.set(path, fd);
  const bytes = fstatSync(fd).size;
  const prefix = Buffer.alloc(8);
  if (bytes < 8 || readSync(fd, prefix, 0, 8, 0) !== 8)
    throw new InputFileError(path, `too short for a safetensors file (${bytes} bytes)`);
  const headerBytes = Number(prefix.readBigUInt64LE(0));
  if (headerBytes > HEADER_LIMIT || 8 + headerBytes > bytes) {
    throw new InputFileError(
      path,
      `says its header has ${headerBytes} bytes, but the file has ${bytes}: truncated, or not a safetensors file`,
    );
  }
  const text = Buffer.alloc(headerBytes);
  readSync(fd, text, 0, headerBytes, 8);
  const source = text.toString('utf8');
  const header = parseHeader(path, source);
  if (countTopLevelKeys(source) !== Object.keys(header).length)
    throw new InputFileError(path, 'the header names a tensor twice');
  const dataStart = 8 + headerBytes;
  const infos = Object.entries(header)
    .filter(([name]) => name !== '__metadata__')
    .map(([name, raw]) => parseEntry(path, name, raw, dataStart, bytes - dataStart));
  checkCoverage(path, infos, dataStart, bytes - dataStart);
  return infos;
}

/**
 * Opens safetensors files as one set of tensors. Headers are checked completely (types, shapes, offsets, coverage, duplicate
 * names) before anything is read; memory stays bounded by the header and by what `read` asks for.
 * Format: reference weight-formats §3. Throws InputFileError.
 */
export function openSafetensors(path: string, files: string[] = [path]): TensorFile {
  const handles = new Map<string, number>();
  const tensors = new Map<string, TensorInfo>();
  try {
    for (const file of files) {
      for (const t of openOne(file, handles)) {
        const other = tensors.get(t.name);
        if (other) throw new InputFileError(file, `tensor "${t.name}" is also in ${basename(other.file)}`);
        tensors.set(t.name, t);
      }
    }
  } catch (e) {
    for (const fd of handles.values()) closeSync(fd);
    throw e;
  }
  return new OpenSafetensors(path, tensors, handles);
}

/** The shard files that a `*.safetensors.index.json` names, as paths beside it. Throws InputFileError. */
export function shardFiles(indexPath: string): string[] {
  let index: unknown;
  try {
    index = JSON.parse(readFileSync(indexPath, 'utf8'));
  } catch {
    throw new InputFileError(indexPath, 'not valid JSON');
  }
  const map = (index as { weight_map?: unknown } | null)?.weight_map;
  if (typeof map !== 'object' || map === null) throw new InputFileError(indexPath, 'has no "weight_map" object');
  const names = new Set(Object.values(map as Record<string, unknown>));
  return [...names].map((n) => {
    if (typeof n !== 'string' || n !== basename(n)) {
      throw new InputFileError(
        indexPath,
        `weight_map names ${JSON.stringify(n)}: expected a file name in the same folder`,
      );
    }
    return join(dirname(indexPath), n);
  });
}
