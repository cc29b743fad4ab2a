/** Cantor pair of layer and index (reference interop §1.5), exact for every width in use. Throws RangeError beyond exact integers. */
export function cantorPair(layer: number, index: number): number {
  const s = BigInt(layer) + BigInt(index);
  const n = (s * (s + 1n)) / 2n + BigInt(index);
  if (n > BigInt(Number.MAX_SAFE_INTEGER)) throw new RangeError(`feature ${layer}/${index} has no exact number`);
  return Number(n);
}

function integerRoot(n: bigint): bigint {
  let r = BigInt(Math.floor(Math.sqrt(Number(n))));
  while (r * r > n) r--;
  while ((r + 1n) * (r + 1n) <= n) r++;
  return r;
}

/** Layer and index of a Cantor pair. */
export function cantorUnpair(n: number): { layer: number; index: number } {
  const m = BigInt(n);
  const w = (integerRoot(8n * m + 1n) - 1n) / 2n;
  const index = m - (w * (w + 1n)) / 2n;
  return { layer: Number(w - index), index: Number(index) };
}
