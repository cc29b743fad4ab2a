/**
 * Vector arithmetic for attribution. Inputs are float32 or float64 arrays, every sum is accumulated in double.
 * Matrices are row-major.
 */

export type Vector = Float32Array | Float64Array;

/** Σ_i a[aOffset+i]·b[bOffset+i] for i < n, in double. */
export function dot(a: Vector, b: Vector, n = a.length, aOffset = 0, bOffset = 0): number {
  let s0 = 0;
  let s1 = 0;
  let s2 = 0;
  let s3 = 0;
  let i = 0;
  for (; i + 3 < n; i += 4) {
    s0 += a[aOffset + i] * b[bOffset + i];
    s1 += a[aOffset + i + 1] * b[bOffset + i + 1];
    s2 += a[aOffset + i + 2] * b[bOffset + i + 2];
    s3 += a[aOffset + i + 3] * b[bOffset + i + 3];
  }
  for (; i < n; i++) s0 += a[aOffset + i] * b[bOffset + i];
  return s0 + s1 + (s2 + s3);
}

/**
 * The same for a double direction and float32 weights only: kept apart from `dot` so that the engine compiles it for exactly these two
 * kinds of array, which the hot loops of attribution use.
 */
export function dotWeights(a: Float64Array, b: Float32Array, n = a.length, aOffset = 0, bOffset = 0): number {
  let s0 = 0;
  let s1 = 0;
  let s2 = 0;
  let s3 = 0;
  let i = 0;
  for (; i + 3 < n; i += 4) {
    s0 += a[aOffset + i] * b[bOffset + i];
    s1 += a[aOffset + i + 1] * b[bOffset + i + 1];
    s2 += a[aOffset + i + 2] * b[bOffset + i + 2];
    s3 += a[aOffset + i + 3] * b[bOffset + i + 3];
  }
  for (; i < n; i++) s0 += a[aOffset + i] * b[bOffset + i];
  return s0 + s1 + (s2 + s3);
}

/** y += scale · x over the whole of y, reading x from xOffset. */
export function addScaled(y: Vector, scale: number, x: Vector, xOffset = 0): void {
  for (let i = 0; i < y.length; i++) y[i] += scale * x[xOffset + i];
}

/** Arithmetic mean of x[offset .. offset+n). */
export function mean(x: Vector, n = x.length, offset = 0): number {
  let s = 0;
  for (let i = 0; i < n; i++) s += x[offset + i];
  return s / n;
}

/** Subtracts from each row (length n) of x its own mean, in place. */
export function centreRows<T extends Vector>(x: T, n: number): T {
  for (let r = 0; r < x.length; r += n) {
    const m = mean(x, n, r);
    for (let i = 0; i < n; i++) x[r + i] -= m;
  }
  return x;
}

/** Euclidean norm of x[offset .. offset+n). */
export function norm(x: Vector, n = x.length, offset = 0): number {
  return Math.sqrt(dot(x, x, n, offset, offset));
}

/** M v for M [rows, cols] read from `offset` in its array: returns [rows] in double. */
export function matVec(m: Vector, v: Vector, rows: number, cols: number, offset = 0): Float64Array {
  const out = new Float64Array(rows);
  for (let r = 0; r < rows; r++) out[r] = dot(m, v, cols, offset + r * cols);
  return out;
}

/** vᵀ M for M [rows, cols]: returns [cols] in double. */
export function vecMat(v: Vector, m: Vector, rows: number, cols: number): Float64Array {
  const out = new Float64Array(cols);
  for (let r = 0; r < rows; r++) {
    const s = v[r];
    if (s !== 0) for (let c = 0, o = r * cols; c < cols; c++) out[c] += s * m[o + c];
  }
  return out;
}

/** A view of row `r` of a row-major matrix with `cols` columns. */
export function row<T extends Vector>(m: T, r: number, cols: number): T {
  return m.subarray(r * cols, (r + 1) * cols) as T;
}
