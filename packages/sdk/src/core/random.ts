/** A positive 63-bit number nobody else will choose: the seeded generators have far too few states for that. */
export function randomId(): bigint {
  const [high, low] = crypto.getRandomValues(new Uint32Array(2)) as unknown as [number, number];
  return BigInt.asUintN(63, (BigInt(high) << 32n) | BigInt(low)) || 1n;
}
