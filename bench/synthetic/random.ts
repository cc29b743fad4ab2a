/**
 * Random weights by formula: any language makes the same bits from a tensor's name, a seed, a mean and a standard deviation
 * (conformance README, "the weights are a formula").
 */

function fnv1a32(text: string): number {
  let h = 0x811c9dc5;
  for (const b of Buffer.from(text, 'utf8')) h = Math.imul(h ^ b, 0x01000193);
  return h >>> 0;
}

function lowbias32(v: number): number {
  let x = v | 0;
  x ^= x >>> 16;
  x = Math.imul(x, 0x7feb352d);
  x ^= x >>> 15;
  x = Math.imul(x, 0x846ca68b);
  return (x ^ (x >>> 16)) >>> 0;
}

/** Elements [start, start+count) of tensor `name` under `seed`: approximately normal with mean m and standard deviation s. */
export function formulaTensor(
  name: string,
  seed: number,
  m: number,
  s: number,
  count: number,
  start = 0,
): Float32Array {
  const s0 = (fnv1a32(name) ^ seed) >>> 0;
  const s1 = lowbias32(s0 + 0x9e3779b9);
  const scale = s / 37837.22741;
  const out = new Float32Array(count);
  for (let k = 0; k < count; k++) {
    const i = start + k;
    const a = lowbias32(lowbias32(2 * i + s0) ^ s1);
    const b = lowbias32(lowbias32(2 * i + 1 + s0) ^ s1);
    const u = (a & 0xffff) + (a >>> 16) + (b & 0xffff) + (b >>> 16);
    out[k] = m + (u - 131070) * scale;
  }
  return out;
}
