import { closeSync, fstatSync, openSync, read, readSync } from 'node:fs';
import { inflateRawSync } from 'node:zlib';
import yauzl from 'yauzl';
import { InputFileError } from '../errors';

/** Where a member of a zip archive lies. */
export interface Member {
  name: string;
  /** First byte of its data in the file. */
  offset: number;
  compressed: number;
  size: number;
  stored: boolean;
}

const MAX_MEMBERS = 100_000;
/** Deflated members are held in memory whole. */
const MAX_INFLATED = 2 ** 30;

/** Reads an open file for the zip library. Places outside of the file are an error of the archive; the library's own reader throws them past its callers. */
class FileReader extends yauzl.RandomAccessReader {
  constructor(
    private readonly fd: number,
    private readonly size: number,
  ) {
    super();
  }

  override _readStreamForRange(): never {
    throw new Error('members are read by their places');
  }

  override read(
    buffer: Buffer,
    offset: number,
    length: number,
    position: number,
    callback: (e: Error | null, bytesRead?: number) => void,
  ): void {
    if (position >= 0 && position + length <= this.size) read(this.fd, buffer, offset, length, position, callback);
    else process.nextTick(callback, new Error('it points outside of the file'));
  }
}

/** The members of a zip archive by name, ZIP64 included. Reads only the directory and the local headers. Throws InputFileError. */
export async function zipMembers(path: string): Promise<Map<string, Member>> {
  const bad = (why: string): InputFileError => new InputFileError(path, why);
  const fd = openSync(path, 'r');
  try {
    const { size } = fstatSync(fd);
    const options = { autoClose: false, lazyEntries: true };
    const zip = await yauzl.fromRandomAccessReaderPromise(new FileReader(fd, size), size, options).catch((e: Error) => {
      throw bad(`not a zip archive that can be read (${e.message})`);
    });
    return await membersOf(zip, bad);
  } catch (e) {
    if (e instanceof InputFileError) throw e;
    throw bad(`the zip archive is damaged (${(e as Error).message})`);
  } finally {
    closeSync(fd);
  }
}

async function membersOf(zip: yauzl.ZipFile, bad: (why: string) => InputFileError): Promise<Map<string, Member>> {
  const out = new Map<string, Member>();
  if (zip.entryCount > MAX_MEMBERS) throw bad(`holds ${zip.entryCount} members, more than ${MAX_MEMBERS}`);
  for await (const entry of zip.eachEntry()) {
    const { fileName: name, compressionMethod: method } = entry;
    if (method !== 0 && method !== 8) throw bad(`member "${name}": compression ${method} is not supported`);
    if (entry.generalPurposeBitFlag & 1) throw bad(`member "${name}" is encrypted`);
    if (out.has(name)) throw bad(`names member "${name}" twice`);
    const { fileDataStart } = await zip.readLocalFileHeaderPromise(entry, { minimal: true });
    if (fileDataStart + entry.compressedSize > zip.fileSize) throw bad(`member "${name}" leaves the file`);
    if (method === 0 && entry.compressedSize !== entry.uncompressedSize)
      throw bad(`member "${name}" is stored but has two sizes`);
    out.set(name, {
      name,
      offset: fileDataStart,
      compressed: entry.compressedSize,
      size: entry.uncompressedSize,
      stored: method === 0,
    });
  }
  return out;
}

/** Bytes [start, start + count) of an open file. Throws InputFileError where it ends before. */
export function readExactly(fd: number, path: string, start: number, count: number, what: string): Buffer {
  const bytes = Buffer.allocUnsafe(count);
  for (let got = 0; got < count;) {
    const r = readSync(fd, bytes, got, count - got, start + got);
    if (r === 0) throw new InputFileError(path, `the file ends inside ${what}`);
    got += r;
  }
  return bytes;
}

/** A whole member, inflated if need be, never beyond the size it declares. Throws InputFileError. */
export function readMember(fd: number, path: string, m: Member): Buffer {
  const raw = readExactly(fd, path, m.offset, m.compressed, `member "${m.name}"`);
  if (m.stored) return raw;
  if (m.size > MAX_INFLATED)
    throw new InputFileError(path, `member "${m.name}" would inflate to ${m.size} bytes; store it without compression`);
  let out: Buffer;
  try {
    out = inflateRawSync(raw, { maxOutputLength: Math.max(1, m.size) });
  } catch (e) {
    throw new InputFileError(path, `member "${m.name}" cannot be inflated (${(e as Error).message})`);
  }
  if (out.length !== m.size) throw new InputFileError(path, `member "${m.name}": ${out.length} bytes of ${m.size}`);
  return out;
}

/** Opens a file for a job and closes it. */
export function withFile<T>(path: string, job: (fd: number) => T): T {
  const fd = openSync(path, 'r');
  try {
    return job(fd);
  } finally {
    closeSync(fd);
  }
}
