/** Bytes, 64-bit integers and ids as JSON carries them. */
import { binaryString, fromBinaryString } from '@muster/base';

type NodeBuffer = {
  from(bytes: ArrayBufferLike, at: number, length: number): { toString(encoding: 'base64'): string };
  from(text: string, encoding: 'base64'): Uint8Array;
};

/** Node's own codec is several times faster than `btoa`; a browser has only the latter. */
const nodeBuffer = (globalThis as { Buffer?: NodeBuffer }).Buffer;

const BASE64 = /^[A-Za-z0-9+/_-]*={0,2}$/;

/** Standard base64 with padding. */
export function toBase64(bytes: Uint8Array): string {
  if (nodeBuffer) return nodeBuffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64');
  return btoa(binaryString(bytes));
}

/** The bytes of base64 in either alphabet, padded or not; `undefined` when it is not base64. */
export function fromBase64(text: string): Uint8Array | undefined {
  if (!BASE64.test(text)) return undefined;
  const padding = text.endsWith('==') ? 2 : text.endsWith('=') ? 1 : 0;
  const digits = text.length - padding;
  if (digits % 4 === 1 || (padding > 0 && text.length % 4 !== 0)) return undefined;
  if (nodeBuffer) {
    const decoded = nodeBuffer.from(text, 'base64');
    return new Uint8Array(decoded.buffer, decoded.byteOffset, decoded.byteLength);
  }
  const standard = text.slice(0, digits).replaceAll('-', '+').replaceAll('_', '/');
  return fromBinaryString(atob(standard));
}

/** base64 in the URL-safe alphabet, without padding. */
export function toBase64Url(bytes: Uint8Array): string {
  return toBase64(bytes).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
}

/** An id as 16 lowercase hex digits, two's complement for a negative one: what etcdctl prints. */
export function idToHex(id: bigint): string {
  return BigInt.asUintN(64, id).toString(16).padStart(16, '0');
}

/** An unsigned id out of 1 to 16 hex digits; `undefined` for anything else. */
export function idFromHex(text: string): bigint | undefined {
  return /^[0-9a-fA-F]{1,16}$/.test(text) ? BigInt(`0x${text}`) : undefined;
}

/** A lease id, which is signed, out of 1 to 16 hex digits; `undefined` for anything else. */
export function leaseIdFromHex(text: string): bigint | undefined {
  const id = idFromHex(text);
  return id === undefined ? undefined : BigInt.asIntN(64, id);
}

const INT64_MIN = -(1n << 63n);
const INT64_MAX = (1n << 63n) - 1n;

/** A signed 64-bit integer out of decimal digits or of a safe JSON number; `undefined` for anything else. */
export function int64FromJson(value: unknown): bigint | undefined {
  if (typeof value === 'number') return Number.isSafeInteger(value) ? BigInt(value) : undefined;
  if (typeof value !== 'string' || !/^-?[0-9]{1,20}$/.test(value)) return undefined;
  const number = BigInt(value);
  return number >= INT64_MIN && number <= INT64_MAX ? number : undefined;
}

/** A 64-bit integer as proto3 JSON carries it. */
export function int64ToJson(value: bigint | number): string {
  return value.toString();
}
