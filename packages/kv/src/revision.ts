/**
 * A place in history: `main` is the store revision of a transaction, `sub` the number of the change within it. Their
 * bytes (main as u64, sub as u32, big-endian) sort as they do.
 */
export type Revision = { readonly main: number; readonly sub: number };

const KEY_BYTES = 12;
const HIGH = 0x1_0000_0000;

export function revisionKey(main: number, sub: number): Uint8Array {
  const key = new Uint8Array(KEY_BYTES);
  putU32(key, 0, Math.floor(main / HIGH));
  putU32(key, 4, main % HIGH);
  putU32(key, 8, sub);
  return key;
}

export function revisionMain(key: Uint8Array): number {
  return getU32(key, 0) * HIGH + getU32(key, 4);
}

export function revisionSub(key: Uint8Array): number {
  return getU32(key, 8);
}

function putU32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 24;
  bytes[at + 1] = value >>> 16;
  bytes[at + 2] = value >>> 8;
  bytes[at + 3] = value;
}

function getU32(bytes: Uint8Array, at: number): number {
  const high = (bytes[at] as number) * 0x100_0000;
  return (
    high + (((bytes[at + 1] as number) << 16) | ((bytes[at + 2] as number) << 8) | (bytes[at + 3] as number))
  );
}
