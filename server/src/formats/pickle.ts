import { InputFileError } from '../errors';

/** A name that a pickle mentions. Nothing is looked up or run. */
export class PickleGlobal {
  constructor(
    readonly module: string,
    readonly name: string,
  ) {}
  get full(): string {
    return `${this.module}.${this.name}`;
  }
}

/** An object of a class this project does not know: its name and what it was filled with. */
export class InertRecord {
  state: unknown = null;
  constructor(
    readonly type: PickleGlobal,
    readonly args: unknown[],
  ) {}
}

/** What the reader of a file adds (in values, dictionaries are Maps; tuples, lists and sets are arrays): functions that may be called, and persistent references. */
export interface PickleHooks {
  /** The value of an allowed call, or undefined for a function that is not allowed. */
  call(f: PickleGlobal, args: unknown[]): unknown;
  persistent(id: unknown): unknown;
}

/** Ends a pickle. */
const STOP = 0x2e;
const MAX_STEPS = 20_000_000;
const MAX_STACK = 5_000_000;

const isTable = (x: unknown): x is Map<unknown, unknown> => x instanceof Map;

/** The machine that a pickle's operations work on: values, marks, and what is remembered. */
class Unpickler {
  private at: number;
  private stack: unknown[] = [];
  private readonly marks: unknown[][] = [];
  private readonly memo = new Map<number, unknown>();

  constructor(
    private readonly path: string,
    private readonly bytes: Buffer,
    start: number,
    private readonly hooks: PickleHooks,
  ) {
    this.at = start;
  }

  private bad(why: string): InputFileError {
    return new InputFileError(this.path, `the pickle ${why}`);
  }

  /** Position after the last byte read. */
  get end(): number {
    return this.at;
  }

  take(n: number): Buffer {
    if (n < 0 || this.at + n > this.bytes.length) throw this.bad(`ends in the middle, at byte ${this.at}`);
    const out = this.bytes.subarray(this.at, this.at + n);
    this.at += n;
    return out;
  }

  byte = (): number => this.take(1)[0];
  u16 = (): number => this.take(2).readUInt16LE();
  u32 = (): number => this.take(4).readUInt32LE();
  i32 = (): number => this.take(4).readInt32LE();
  u64(): number {
    const n = this.take(8).readBigUInt64LE();
    if (n > BigInt(this.bytes.length)) throw this.bad(`says that ${n} bytes follow`);
    return Number(n);
  }
  line(): string {
    const end = this.bytes.indexOf(10, this.at);
    if (end < 0) throw this.bad('ends in the middle of a line');
    const text = this.bytes.toString('utf8', this.at, end);
    this.at = end + 1;
    return text;
  }
  long(n: number): number | bigint {
    if (n > 1024) throw this.bad(`holds a whole number of ${n} bytes`);
    let value = 0n;
    const raw = this.take(n);
    for (let i = n - 1; i >= 0; i--) value = (value << 8n) | BigInt(raw[i]);
    if (n > 0 && raw[n - 1] & 128) value -= 1n << BigInt(8 * n);
    return BigInt.asIntN(53, value) === value ? Number(value) : value;
  }

  pop(): unknown {
    if (this.stack.length === 0) throw this.bad(`takes a value that is not there, at byte ${this.at}`);
    return this.stack.pop();
  }
  top(): unknown {
    if (this.stack.length === 0) throw this.bad(`uses a value that is not there, at byte ${this.at}`);
    return this.stack[this.stack.length - 1];
  }
  popMark(): unknown[] {
    const items = this.stack;
    const below = this.marks.pop();
    if (!below) throw this.bad(`uses a mark that is not there, at byte ${this.at}`);
    this.stack = below;
    return items;
  }
  push(value: unknown): void {
    if (this.stack.length >= MAX_STACK) throw this.bad('piles up too many values');
    this.stack.push(value);
  }
  private list(): unknown[] {
    const l = this.top();
    if (!Array.isArray(l)) throw this.bad(`appends to what is no list, at byte ${this.at}`);
    return l;
  }
  set(items: unknown[]): void {
    const table = this.top();
    const target = table instanceof InertRecord ? this.itemsOf(table) : table;
    if (!isTable(target) || items.length % 2 === 1)
      throw this.bad(`sets items of what is no dictionary, at byte ${this.at}`);
    for (let i = 0; i < items.length; i += 2) target.set(items[i], items[i + 1]);
  }
  /** Items that are set on an object of an unknown class. */
  private itemsOf(r: InertRecord): Map<unknown, unknown> {
    if (!isTable(r.state)) r.state = new Map<unknown, unknown>();
    return r.state as Map<unknown, unknown>;
  }
  popMany(n: number): unknown[] {
    return Array.from({ length: n }, () => this.pop()).reverse();
  }
  mark(): void {
    if (this.marks.length > 10_000) throw this.bad('nests too deeply');
    this.marks.push(this.stack);
    this.stack = [];
  }
  append(items: readonly unknown[]): void {
    const list = this.list();
    for (const i of items) list.push(i);
  }
  put(index: number | null): void {
    this.memo.set(index ?? this.memo.size, this.top());
  }
  persistent(id: unknown): void {
    this.push(this.hooks.persistent(id));
  }
  protocol(version: number): void {
    if (version > 5) throw this.bad('is of a protocol above 5');
  }
  /** A whole number in digits; 00 and 01 are false and true. */
  decimal(): number | boolean {
    const text = this.line();
    if (text === '01' || text === '00') return text === '01';
    const digits = text.replace(/L$/, '');
    if (!/^-?\d{1,400}$/.test(digits)) throw this.bad(`holds ${JSON.stringify(text.slice(0, 40))} as a whole number`);
    return Number(digits);
  }
  refuseCall(f: unknown): never {
    const name = f instanceof PickleGlobal ? f.full : 'something that is no class';
    throw new InputFileError(this.path, `asks for a call of ${name}; calls are refused, nothing was run`);
  }
  get(index: number): unknown {
    if (!this.memo.has(index)) throw this.bad(`refers to value ${index}, which is not there`);
    return this.memo.get(index);
  }
  global(module: unknown, name: unknown): PickleGlobal {
    if (typeof module !== 'string' || typeof name !== 'string')
      throw this.bad('names a global by something else than text');
    return new PickleGlobal(module, name);
  }

  reduce(): void {
    const args = this.pop();
    const f = this.pop();
    if (!(f instanceof PickleGlobal) || !Array.isArray(args))
      throw this.bad(`calls something that is no function, at byte ${this.at}`);
    const value = this.hooks.call(f, args);
    if (value === undefined) this.refuseCall(f);
    this.push(value);
  }

  build(): void {
    const state = this.pop();
    const object = this.top();
    if (object instanceof InertRecord) object.state = state;
    // A dictionary's own attributes (OrderedDict carries _metadata) say nothing of its items.
    else if (!isTable(object)) throw this.bad(`fills what is no object, at byte ${this.at}`);
  }

  newObject(type: unknown, args: unknown): void {
    if (!(type instanceof PickleGlobal) || !Array.isArray(args)) throw this.bad('builds an object of no class');
    const plain = type.full === 'collections.OrderedDict';
    this.push(plain ? new Map<unknown, unknown>() : new InertRecord(type, args));
  }

  /** The value of the pickle. Throws InputFileError. */
  load(): unknown {
    for (let steps = 0; steps < MAX_STEPS; steps++) {
      const op = this.byte();
      if (op === STOP) return this.pop();
      const operation = BY_CODE.get(op);
      if (!operation) throw this.bad(`holds operation 0x${op.toString(16)} at byte ${this.at - 1}, which is not read`);
      operation(this);
    }
    throw this.bad('does not come to an end');
  }
}

type Operation = (u: Unpickler) => void;

/** Operations by their names in Python's pickletools, with their codes. */
const OPERATIONS: Readonly<Record<string, readonly [number, Operation]>> = {
  PROTO: [0x80, (u) => u.protocol(u.byte())],
  FRAME: [0x95, (u) => u.take(8)],
  // Constants
  NONE: [0x4e, (u) => u.push(null)],
  NEWTRUE: [0x88, (u) => u.push(true)],
  NEWFALSE: [0x89, (u) => u.push(false)],
  INT: [0x49, (u) => u.push(u.decimal())],
  LONG: [0x4c, (u) => u.push(u.decimal())],
  BININT: [0x4a, (u) => u.push(u.i32())],
  BININT1: [0x4b, (u) => u.push(u.byte())],
  BININT2: [0x4d, (u) => u.push(u.u16())],
  LONG1: [0x8a, (u) => u.push(u.long(u.byte()))],
  LONG4: [0x8b, (u) => u.push(u.long(u.u32()))],
  FLOAT: [0x46, (u) => u.push(Number(u.line()))],
  BINFLOAT: [0x47, (u) => u.push(u.take(8).readDoubleBE())],
  // Text and bytes
  BINUNICODE: [0x58, (u) => u.push(u.take(u.u32()).toString('utf8'))],
  SHORT_BINUNICODE: [0x8c, (u) => u.push(u.take(u.byte()).toString('utf8'))],
  BINUNICODE8: [0x8d, (u) => u.push(u.take(u.u64()).toString('utf8'))],
  UNICODE: [0x56, (u) => u.push(u.line())],
  STRING: [0x53, (u) => u.push(u.line().replace(/^(['"])(.*)\1$/s, '$2'))],
  BINSTRING: [0x54, (u) => u.push(u.take(u.u32()).toString('latin1'))],
  SHORT_BINSTRING: [0x55, (u) => u.push(u.take(u.byte()).toString('latin1'))],
  BINBYTES: [0x42, (u) => u.push(u.take(u.u32()))],
  SHORT_BINBYTES: [0x43, (u) => u.push(u.take(u.byte()))],
  BINBYTES8: [0x8e, (u) => u.push(u.take(u.u64()))],
  BYTEARRAY8: [0x96, (u) => u.push(u.take(u.u64()))],
  // Containers
  MARK: [0x28, (u) => u.mark()],
  EMPTY_DICT: [0x7d, (u) => u.push(new Map<unknown, unknown>())],
  EMPTY_LIST: [0x5d, (u) => u.push([])],
  EMPTY_TUPLE: [0x29, (u) => u.push([])],
  EMPTY_SET: [0x8f, (u) => u.push([])],
  TUPLE: [0x74, (u) => u.push(u.popMark())],
  LIST: [0x6c, (u) => u.push(u.popMark())],
  FROZENSET: [0x91, (u) => u.push(u.popMark())],
  TUPLE1: [0x85, (u) => u.push(u.popMany(1))],
  TUPLE2: [0x86, (u) => u.push(u.popMany(2))],
  TUPLE3: [0x87, (u) => u.push(u.popMany(3))],
  DICT: [
    0x64,
    (u) => {
      const items = u.popMark();
      u.push(new Map<unknown, unknown>());
      u.set(items);
    },
  ],
  APPEND: [0x61, (u) => u.append([u.pop()])],
  APPENDS: [0x65, (u) => u.append(u.popMark())],
  ADDITEMS: [0x90, (u) => u.append(u.popMark())],
  SETITEM: [0x73, (u) => u.set(u.popMany(2))],
  SETITEMS: [0x75, (u) => u.set(u.popMark())],
  // Order of values, and references to them
  POP: [0x30, (u) => u.pop()],
  POP_MARK: [0x31, (u) => u.popMark()],
  DUP: [0x32, (u) => u.push(u.top())],
  PUT: [0x70, (u) => u.put(Number(u.line()))],
  BINPUT: [0x71, (u) => u.put(u.byte())],
  LONG_BINPUT: [0x72, (u) => u.put(u.u32())],
  MEMOIZE: [0x94, (u) => u.put(null)],
  GET: [0x67, (u) => u.push(u.get(Number(u.line())))],
  BINGET: [0x68, (u) => u.push(u.get(u.byte()))],
  LONG_BINGET: [0x6a, (u) => u.push(u.get(u.u32()))],
  PERSID: [0x50, (u) => u.persistent(u.line())],
  BINPERSID: [0x51, (u) => u.persistent(u.pop())],
  // Objects; arguments are read from left to right
  GLOBAL: [0x63, (u) => u.push(u.global(u.line(), u.line()))],
  STACK_GLOBAL: [
    0x93,
    (u) => {
      const [module, name] = u.popMany(2);
      u.push(u.global(module, name));
    },
  ],
  REDUCE: [0x52, (u) => u.reduce()],
  BUILD: [0x62, (u) => u.build()],
  NEWOBJ: [
    0x81,
    (u) => {
      const [type, args] = u.popMany(2);
      u.newObject(type, args);
    },
  ],
  NEWOBJ_EX: [
    0x92,
    (u) => {
      const [type, args] = u.popMany(3);
      u.newObject(type, args);
    },
  ],
  INST: [0x69, (u) => u.refuseCall(u.global(u.line(), u.line()))],
  OBJ: [0x6f, (u) => u.refuseCall(u.popMark()[0])],
};

const BY_CODE: ReadonlyMap<number, Operation> = new Map(Object.values(OPERATIONS));

/**
 * The value of a pickle, protocols 0 to 5, and the position after it. Builds tensors, plain data and inert records only. Objects of unknown classes that are
 * built and filled (NEWOBJ, BUILD) become inert records; any other call, unless the hooks allow it, refuses the file and names the function.
 * Memory is bounded by the size of the file: values are shared, never copied. Throws InputFileError. Reference weight-formats §4.
 */
export function unpickle(
  path: string,
  bytes: Buffer,
  start: number,
  hooks: PickleHooks,
): { value: unknown; end: number } {
  const u = new Unpickler(path, bytes, start, hooks);
  const value = u.load();
  return { value, end: u.end };
}
