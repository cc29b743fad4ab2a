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

const MAX_STEPS = 20_000_000;
const MAX_STACK = 5_000_000;

const isTable = (x: unknown): x is Map<unknown, unknown> => x instanceof Map;

/**
 * An interpreter of pickles, protocols 0 to 5, that builds tensors, plain data and inert records only. Objects of unknown classes that are
 * built and filled (NEWOBJ, BUILD) become inert records; any other call, unless the hooks allow it, refuses the file and names the function.
 * Memory is bounded by the size of the file: values are shared, never copied. Reference weight-formats §4.
 */
export class Unpickler {
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

  private take(n: number): Buffer {
    if (n < 0 || this.at + n > this.bytes.length) throw this.bad(`ends in the middle, at byte ${this.at}`);
    const out = this.bytes.subarray(this.at, this.at + n);
    this.at += n;
    return out;
  }

  private byte = (): number => this.take(1)[0];
  private u16 = (): number => this.take(2).readUInt16LE();
  private u32 = (): number => this.take(4).readUInt32LE();
  private i32 = (): number => this.take(4).readInt32LE();
  private u64(): number {
    const n = this.take(8).readBigUInt64LE();
    if (n > BigInt(this.bytes.length)) throw this.bad(`says that ${n} bytes follow`);
    return Number(n);
  }
  private line(): string {
    const end = this.bytes.indexOf(10, this.at);
    if (end < 0) throw this.bad('ends in the middle of a line');
    const text = this.bytes.toString('utf8', this.at, end);
    this.at = end + 1;
    return text;
  }
  private long(n: number): number | bigint {
    if (n > 1024) throw this.bad(`holds a whole number of ${n} bytes`);
    let value = 0n;
    const raw = this.take(n);
    for (let i = n - 1; i >= 0; i--) value = (value << 8n) | BigInt(raw[i]);
    if (n > 0 && raw[n - 1] & 128) value -= 1n << BigInt(8 * n);
    return BigInt.asIntN(53, value) === value ? Number(value) : value;
  }

  private pop(): unknown {
    if (this.stack.length === 0) throw this.bad(`takes a value that is not there, at byte ${this.at}`);
    return this.stack.pop();
  }
  private top(): unknown {
    if (this.stack.length === 0) throw this.bad(`uses a value that is not there, at byte ${this.at}`);
    return this.stack[this.stack.length - 1];
  }
  private popMark(): unknown[] {
    const items = this.stack;
    const below = this.marks.pop();
    if (!below) throw this.bad(`uses a mark that is not there, at byte ${this.at}`);
    this.stack = below;
    return items;
  }
  private push(value: unknown): void {
    if (this.stack.length >= MAX_STACK) throw this.bad('piles up too many values');
    this.stack.push(value);
  }
  private list(): unknown[] {
    const l = this.top();
    if (!Array.isArray(l)) throw this.bad(`appends to what is no list, at byte ${this.at}`);
    return l;
  }
  private set(items: unknown[]): void {
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
  private get(index: number): unknown {
    if (!this.memo.has(index)) throw this.bad(`refers to value ${index}, which is not there`);
    return this.memo.get(index);
  }
  private global(module: unknown, name: unknown): PickleGlobal {
    if (typeof module !== 'string' || typeof name !== 'string')
      throw this.bad('names a global by something else than text');
    return new PickleGlobal(module, name);
  }

  private reduce(): void {
    const args = this.pop();
    const f = this.pop();
    if (!(f instanceof PickleGlobal) || !Array.isArray(args))
      throw this.bad(`calls something that is no function, at byte ${this.at}`);
    const value = this.hooks.call(f, args);
    if (value === undefined)
      throw new InputFileError(this.path, `asks for a call of ${f.full}; calls are refused, nothing was run`);
    this.push(value);
  }

  private build(): void {
    const state = this.pop();
    const object = this.top();
    if (object instanceof InertRecord) object.state = state;
    // A dictionary's own attributes (OrderedDict carries _metadata) say nothing of its items.
    else if (!isTable(object)) throw this.bad(`fills what is no object, at byte ${this.at}`);
  }

  private newObject(args: unknown, type: unknown): void {
    if (!(type instanceof PickleGlobal) || !Array.isArray(args)) throw this.bad('builds an object of no class');
    const plain = type.full === 'collections.OrderedDict';
    this.push(plain ? new Map<unknown, unknown>() : new InertRecord(type, args));
  }

  /** The value of the pickle. Throws InputFileError. */
  load(): unknown {
    for (let steps = 0; steps < MAX_STEPS; steps++) {
      const op = this.byte();
      if (op === 0x2e) return this.pop();
      if (!(this.constant(op) || this.container(op) || this.reference(op) || this.object(op)))
        throw this.bad(`holds operation 0x${op.toString(16)} at byte ${this.at - 1}, which is not read`);
    }
    throw this.bad('does not come to an end');
  }

  private constant(op: number): boolean {
    switch (op) {
      case 0x80:
        if (this.byte() > 5) throw this.bad('is of a protocol above 5');
        return true;
      case 0x95:
        this.take(8);
        return true;
      case 0x4e:
        this.push(null);
        return true;
      case 0x88:
      case 0x89:
        this.push(op === 0x88);
        return true;
      case 0x49:
      case 0x4c: {
        const text = this.line();
        const digits = text.replace(/L$/, '');
        if (op === 0x49 && (text === '01' || text === '00')) this.push(text === '01');
        else if (/^-?\d{1,400}$/.test(digits)) this.push(Number(digits));
        else throw this.bad(`holds ${JSON.stringify(text.slice(0, 40))} as a whole number`);
        return true;
      }
      case 0x4a:
        this.push(this.i32());
        return true;
      case 0x4b:
        this.push(this.byte());
        return true;
      case 0x4d:
        this.push(this.u16());
        return true;
      case 0x8a:
        this.push(this.long(this.byte()));
        return true;
      case 0x8b:
        this.push(this.long(this.u32()));
        return true;
      case 0x46:
        this.push(Number(this.line()));
        return true;
      case 0x47:
        this.push(this.take(8).readDoubleBE());
        return true;
      default:
        return this.text(op);
    }
  }

  private text(op: number): boolean {
    switch (op) {
      case 0x58:
        this.push(this.take(this.u32()).toString('utf8'));
        return true;
      case 0x8c:
        this.push(this.take(this.byte()).toString('utf8'));
        return true;
      case 0x8d:
        this.push(this.take(this.u64()).toString('utf8'));
        return true;
      case 0x56:
        this.push(this.line());
        return true;
      case 0x53:
        this.push(this.line().replace(/^(['"])(.*)\1$/s, '$2'));
        return true;
      case 0x54:
        this.push(this.take(this.u32()).toString('latin1'));
        return true;
      case 0x55:
        this.push(this.take(this.byte()).toString('latin1'));
        return true;
      case 0x42:
        this.push(this.take(this.u32()));
        return true;
      case 0x43:
        this.push(this.take(this.byte()));
        return true;
      case 0x8e:
      case 0x96:
        this.push(this.take(this.u64()));
        return true;
      default:
        return false;
    }
  }

  private container(op: number): boolean {
    switch (op) {
      case 0x28:
        if (this.marks.length > 10_000) throw this.bad('nests too deeply');
        this.marks.push(this.stack);
        this.stack = [];
        return true;
      case 0x7d:
        this.push(new Map<unknown, unknown>());
        return true;
      case 0x5d:
      case 0x29:
      case 0x8f:
        this.push([]);
        return true;
      case 0x74:
      case 0x6c:
      case 0x91:
        this.push(this.popMark());
        return true;
      case 0x64: {
        const items = this.popMark();
        this.push(new Map<unknown, unknown>());
        this.set(items);
        return true;
      }
      case 0x85:
      case 0x86:
      case 0x87: {
        const items = Array.from({ length: op - 0x84 }, () => this.pop()).reverse();
        this.push(items);
        return true;
      }
      default:
        return this.fill(op) || this.rearrange(op);
    }
  }

  /** Items into a list or a dictionary. */
  private fill(op: number): boolean {
    switch (op) {
      case 0x61: {
        const item = this.pop();
        this.list().push(item);
        return true;
      }
      case 0x65:
      case 0x90: {
        const items = this.popMark();
        const list = this.list();
        for (const i of items) list.push(i);
        return true;
      }
      case 0x73: {
        const value = this.pop();
        this.set([this.pop(), value]);
        return true;
      }
      case 0x75:
        this.set(this.popMark());
        return true;
      default:
        return false;
    }
  }

  private rearrange(op: number): boolean {
    switch (op) {
      case 0x30:
        this.pop();
        return true;
      case 0x31:
        this.popMark();
        return true;
      case 0x32:
        this.push(this.top());
        return true;
      default:
        return false;
    }
  }

  private reference(op: number): boolean {
    switch (op) {
      case 0x70:
        this.memo.set(Number(this.line()), this.top());
        return true;
      case 0x71:
        this.memo.set(this.byte(), this.top());
        return true;
      case 0x72:
        this.memo.set(this.u32(), this.top());
        return true;
      case 0x94:
        this.memo.set(this.memo.size, this.top());
        return true;
      case 0x67:
        this.push(this.get(Number(this.line())));
        return true;
      case 0x68:
        this.push(this.get(this.byte()));
        return true;
      case 0x6a:
        this.push(this.get(this.u32()));
        return true;
      case 0x50:
        this.push(this.hooks.persistent(this.line()));
        return true;
      case 0x51:
        this.push(this.hooks.persistent(this.pop()));
        return true;
      default:
        return false;
    }
  }

  private object(op: number): boolean {
    switch (op) {
      case 0x63: {
        const module = this.line();
        this.push(this.global(module, this.line()));
        return true;
      }
      case 0x93: {
        const name = this.pop();
        this.push(this.global(this.pop(), name));
        return true;
      }
      case 0x52:
        this.reduce();
        return true;
      case 0x62:
        this.build();
        return true;
      case 0x81: {
        const args = this.pop();
        this.newObject(args, this.pop());
        return true;
      }
      case 0x92: {
        this.pop();
        const args = this.pop();
        this.newObject(args, this.pop());
        return true;
      }
      case 0x69:
      case 0x6f: {
        // INST and OBJ call a class with arguments.
        const items = op === 0x69 ? [this.global(this.line(), this.line()), ...this.popMark()] : this.popMark();
        const [type] = items;
        const name = type instanceof PickleGlobal ? type.full : 'something that is no class';
        throw new InputFileError(this.path, `asks for a call of ${name}; calls are refused, nothing was run`);
      }
      default:
        return false;
    }
  }
}
