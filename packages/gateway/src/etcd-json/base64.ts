import { invalidArgument } from './status-error.ts';

/**
 * Bytes out of standard base64 with padding, as strict as Go's decoder: no URL alphabet, no missing padding, while
 * line breaks are skipped. Anything else throws Go's text with the offset of the fault.
 */
export function decodeBase64(text: string): Uint8Array {
  const length = text.length;
  if (length === 0) return EMPTY;
  if ((length & 3) === 0) {
    const bytes = Buffer.from(text, 'base64');
    // Node skips what it does not know, so only faultless text gives every byte it promises.
    if (bytes.length === promisedLength(text) && isPlain(text)) return bytes;
  }
  return decodeAsGo(text);
}

const EMPTY = new Uint8Array(0);
const PAD = 0x3d;
const FOREIGN = /[-_\u0080-\uffff]/;

/** Node also takes the URL alphabet, and the low byte of wide characters. */
function isPlain(text: string): boolean {
  return !FOREIGN.test(text);
}

function promisedLength(text: string): number {
  const length = text.length;
  const pads = text.charCodeAt(length - 1) !== PAD ? 0 : text.charCodeAt(length - 2) !== PAD ? 1 : 2;
  return (length / 4) * 3 - pads;
}

export function encodeBase64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('base64');
}

function sextet(c: number): number {
  if (c >= 0x41 && c <= 0x5a) return c - 0x41;
  if (c >= 0x61 && c <= 0x7a) return c - 0x61 + 26;
  if (c >= 0x30 && c <= 0x39) return c - 0x30 + 52;
  if (c === 0x2b) return 62;
  return c === 0x2f ? 63 : -1;
}

/** Works on UTF-8 bytes, because the offset that is reported counts bytes. */
function decodeAsGo(text: string): Uint8Array {
  const source = Buffer.from(text, 'utf8');
  const out = Buffer.alloc(Math.ceil((source.length / 4) * 3));
  let at = 0;
  let written = 0;
  while (at < source.length) {
    const quantum = readQuantum(source, at);
    if (quantum.digits === 0) break;
    const [a = 0, b = 0, c = 0, d = 0] = quantum.values;
    const bits = (a << 18) | (b << 12) | (c << 6) | d;
    for (let i = 0; i < quantum.digits - 1; i++) out[written++] = (bits >> (16 - 8 * i)) & 0xff;
    at = quantum.next;
  }
  return out.subarray(0, written);
}

type Quantum = { readonly values: readonly number[]; readonly digits: number; readonly next: number };

function readQuantum(source: Buffer, from: number): Quantum {
  const values: number[] = [];
  let at = from;
  while (values.length < 4) {
    if (at >= source.length) {
      if (values.length === 0) return { values, digits: 0, next: at };
      throw corrupt(at - values.length);
    }
    const c = source[at++] as number;
    const value = sextet(c);
    if (value >= 0) values.push(value);
    else if (c === PAD) return { values, digits: values.length, next: endPadding(source, at, values.length) };
    else if (!isBreak(c)) throw corrupt(at - 1);
  }
  return { values, digits: 4, next: at };
}

/** `at` stands after the first padding character, which follows `digits` digits. */
function endPadding(source: Buffer, after: number, digits: number): number {
  let at = after;
  if (digits < 2) throw corrupt(at - 1);
  if (digits === 2) {
    at = skipBreaks(source, at);
    if (at === source.length) throw corrupt(source.length);
    if (source[at] !== PAD) throw corrupt(at - 1);
    at++;
  }
  at = skipBreaks(source, at);
  if (at < source.length) throw corrupt(at);
  return at;
}

const isBreak = (c: number): boolean => c === 0x0a || c === 0x0d;

function skipBreaks(source: Buffer, from: number): number {
  let at = from;
  while (at < source.length && isBreak(source[at] as number)) at++;
  return at;
}

function corrupt(at: number): Error {
  return invalidArgument(`illegal base64 data at input byte ${at}`);
}
