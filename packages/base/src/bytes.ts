/** Helpers over `Uint8Array` keys. Order is bytewise, a shorter key before its extensions, as etcd orders keys. */

export const EMPTY_BYTES: Uint8Array = new Uint8Array(0);

const encoder = new TextEncoder();
const decoder = new TextDecoder();
const strictDecoder = new TextDecoder('utf-8', { fatal: true });

export function utf8(text: string): Uint8Array {
  return encoder.encode(text);
}

/** Decodes leniently: bad sequences become U+FFFD. */
export function utf8Text(bytes: Uint8Array): string {
  return decoder.decode(bytes);
}

/** The text when `bytes` are valid UTF-8, else `undefined`. A byte order mark is kept. */
export function utf8TextOrUndefined(bytes: Uint8Array): string | undefined {
  try {
    const text = strictDecoder.decode(bytes);
    return bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf ? `\ufeff${text}` : text;
  } catch {
    return undefined;
  }
}

/** Negative, zero or positive, as `a` sorts before, with or after `b`. */
export function compareBytes(a: Uint8Array, b: Uint8Array): number {
  const n = Math.min(a.length, b.length);
  for (let i = 0; i < n; i++) {
    const d = (a[i] as number) - (b[i] as number);
    if (d !== 0) return d;
  }
  return a.length - b.length;
}

export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && compareBytes(a, b) === 0;
}

export function concatBytes(...parts: readonly Uint8Array[]): Uint8Array {
  let length = 0;
  for (const part of parts) length += part.length;
  const out = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

export function startsWithBytes(bytes: Uint8Array, prefix: Uint8Array): boolean {
  if (bytes.length < prefix.length) return false;
  for (let i = 0; i < prefix.length; i++) if (bytes[i] !== prefix[i]) return false;
  return true;
}

/**
 * The end of the half-open range that holds every key beginning with `prefix`: the last byte below 0xff is
 * incremented and the rest cut. An empty or all-0xff prefix gives `\0`, etcd's "to the end of the keyspace".
 */
export function prefixEnd(prefix: Uint8Array): Uint8Array {
  for (let i = prefix.length - 1; i >= 0; i--) {
    const byte = prefix[i] as number;
    if (byte < 0xff) {
      const end = prefix.slice(0, i + 1);
      end[i] = byte + 1;
      return end;
    }
  }
  return new Uint8Array([0]);
}

/**
 * One char per byte. JavaScript compares such strings in the bytes' own order, so they serve as map keys and as
 * sorted keys where `Uint8Array` cannot.
 */
export function binaryString(bytes: Uint8Array): string {
  if (bytes.length <= CHARS_AT_ONCE) return charsOf(bytes);
  let out = '';
  for (let at = 0; at < bytes.length; at += CHARS_AT_ONCE) {
    out += charsOf(bytes.subarray(at, at + CHARS_AT_ONCE));
  }
  return out;
}

const CHARS_AT_ONCE = 8192;

/** `apply` takes the bytes as they are: six times faster than spreading them, which iterates. */
function charsOf(bytes: Uint8Array): string {
  return String.fromCharCode.apply(undefined, bytes as unknown as number[]);
}

export function fromBinaryString(text: string): Uint8Array {
  const out = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) out[i] = text.charCodeAt(i);
  return out;
}

export function hex(bytes: Uint8Array): string {
  let out = '';
  for (const byte of bytes) out += byte.toString(16).padStart(2, '0');
  return out;
}
