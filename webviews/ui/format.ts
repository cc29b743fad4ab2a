/** Numbers and tokens as panels show them. */

const CONTROL = /[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u202a-\u202e\u2066-\u2069]/g;

/** A token between ‘ ’ with control and direction characters made visible. */
export const quoted = (text: string): string =>
  `‘${text.replaceAll('\n', '⏎').replaceAll('\t', '⇥').replace(CONTROL, '·')}’`;

/** A signed number: three decimals, or an exponent where they would show nothing. */
export function signed(x: number): string {
  const size = Math.abs(x);
  const text = size !== 0 && (size < 5e-4 || size >= 1e5) ? size.toExponential(1) : size.toFixed(3);
  return `${x < 0 ? '−' : '+'}${text}`;
}

/** A share as a percentage. */
export function share(x: number): string {
  const size = 100 * Math.abs(x);
  return `${x < 0 ? '−' : ''}${size < 10 ? size.toFixed(1) : size.toFixed(0)}%`;
}

/** Numbers from base64 of little-endian float32, as rows. */
export function unpack(packed: { shape: number[]; base64: string }): Float32Array[] {
  const bytes = Uint8Array.from(atob(packed.base64), (c) => c.charCodeAt(0));
  const all = new Float32Array(bytes.buffer);
  const [rows, columns] = packed.shape;
  return Array.from({ length: rows }, (_, r) => all.subarray(r * columns, (r + 1) * columns));
}
