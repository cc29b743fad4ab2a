/**
 * ONNX graphs as bytes. Protobuf is written with @bufbuild/protobuf's wire writer; field numbers are those of onnx.proto
 * (IR version 9, opset 20). Knows operators and tensors, not what they mean.
 */
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';

const IR_VERSION = 9;
const OPSET = 20;
const ELEMENT = { float32: 1, int32: 6, int64: 7, bool: 9 } as const;

export type ElementType = keyof typeof ELEMENT;
/** A fixed size or the name of a dynamic one. */
export type Dim = number | string;
export type Attribute = number | { float: number } | number[] | string;

/** Where the bytes of a large constant lie: a file beside the graph. */
export interface External {
  file: string;
  offset: number;
  length: number;
}

const sub = (w: BinaryWriter, field: number, fill: (w: BinaryWriter) => void): void => {
  w.tag(field, WireType.LengthDelimited).fork();
  fill(w);
  w.join();
};
const text = (w: BinaryWriter, field: number, s: string): void => {
  w.tag(field, WireType.LengthDelimited).string(s);
};
const int = (w: BinaryWriter, field: number, n: number): void => {
  w.tag(field, WireType.Varint).int64(n);
};

function writeAttribute(w: BinaryWriter, name: string, value: Attribute): void {
  text(w, 1, name);
  if (typeof value === 'number') {
    int(w, 3, value);
    int(w, 20, 2);
  } else if (typeof value === 'string') {
    text(w, 4, value);
    int(w, 20, 3);
  } else if (Array.isArray(value)) {
    for (const v of value) int(w, 8, v);
    int(w, 20, 7);
  } else {
    w.tag(2, WireType.Bit32).float(value.float);
    int(w, 20, 1);
  }
}

function writeValueInfo(w: BinaryWriter, name: string, type: ElementType, dims: Dim[]): void {
  text(w, 1, name);
  sub(w, 2, (t) =>
    sub(t, 1, (tensor) => {
      int(tensor, 1, ELEMENT[type]);
      sub(tensor, 2, (shape) => {
        for (const d of dims) sub(shape, 1, (dim) => (typeof d === 'number' ? int(dim, 1, d) : text(dim, 2, d)));
      });
    }),
  );
}

/** Collects the parts of one graph. Names are values; every method that makes a value returns its name. */
export class GraphBuilder {
  private readonly parts: ((w: BinaryWriter) => void)[] = [];
  private count = 0;

  private fresh(prefix: string): string {
    return `${prefix}_${this.count++}`;
  }

  input(name: string, type: ElementType, dims: Dim[]): string {
    this.parts.push((w) => sub(w, 11, (v) => writeValueInfo(v, name, type, dims)));
    return name;
  }

  output(name: string, type: ElementType, dims: Dim[]): void {
    this.parts.push((w) => sub(w, 12, (v) => writeValueInfo(v, name, type, dims)));
  }

  /** Adds an operator; `out` names its results, else one result gets a fresh name. Returns the first. */
  op(type: string, inputs: string[], attributes: Record<string, Attribute> = {}, out?: string | string[]): string {
    const outputs = out === undefined ? [this.fresh(type)] : typeof out === 'string' ? [out] : out;
    this.parts.push((w) =>
      sub(w, 1, (n) => {
        for (const i of inputs) text(n, 1, i);
        for (const o of outputs) text(n, 2, o);
        text(n, 4, type);
        for (const [k, v] of Object.entries(attributes)) sub(n, 5, (a) => writeAttribute(a, k, v));
      }),
    );
    return outputs[0];
  }

  private initializer(type: ElementType, shape: number[], fill: (w: BinaryWriter, name: string) => void): string {
    const name = this.fresh('const');
    this.parts.push((w) =>
      sub(w, 5, (t) => {
        for (const d of shape) int(t, 1, d);
        int(t, 2, ELEMENT[type]);
        text(t, 8, name);
        fill(t, name);
      }),
    );
    return name;
  }

  /** A small constant kept in the graph. */
  floats(values: ArrayLike<number>, shape: number[]): string {
    const data = Float32Array.from(values);
    return this.initializer('float32', shape, (w) =>
      w.tag(9, WireType.LengthDelimited).bytes(new Uint8Array(data.buffer)),
    );
  }

  ints(values: number[]): string {
    const data = BigInt64Array.from(values, BigInt);
    return this.initializer('int64', [values.length], (w) =>
      w.tag(9, WireType.LengthDelimited).bytes(new Uint8Array(data.buffer)),
    );
  }

  /** A float32 constant whose bytes lie in a file beside the graph. */
  external(shape: number[], at: External): string {
    return this.initializer('float32', shape, (w) => {
      const entry = (k: string, v: string): void =>
        sub(w, 13, (e) => {
          text(e, 1, k);
          text(e, 2, v);
        });
      entry('location', at.file);
      entry('offset', String(at.offset));
      entry('length', String(at.length));
      int(w, 14, 1);
    });
  }

  /** The finished model. */
  build(): Uint8Array {
    const w = new BinaryWriter();
    int(w, 1, IR_VERSION);
    sub(w, 8, (o) => {
      text(o, 1, '');
      int(o, 2, OPSET);
    });
    sub(w, 7, (g) => {
      text(g, 2, 'g');
      for (const part of this.parts) part(g);
    });
    return w.finish();
  }
}
