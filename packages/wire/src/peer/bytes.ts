import { assert, EMPTY_BYTES, utf8, utf8TextOrUndefined } from '@muster/base';

/** What came in is not what the protocol says. It can only ever close its own connection. */
export class MalformedFrame extends Error {
  override readonly name = 'MalformedFrame';
}

const TWO_32 = 0x1_0000_0000;
const MIN_CAPACITY = 256;

/** A growing buffer. Numbers are unsigned; `varint` is LEB128 up to 2^53 - 1, fixed widths are little-endian. */
export class ByteWriter {
  #bytes: Uint8Array;
  #view: DataView;
  #length = 0;

  constructor(capacity = MIN_CAPACITY) {
    this.#bytes = new Uint8Array(Math.max(capacity, 16));
    this.#view = new DataView(this.#bytes.buffer);
  }

  get length(): number {
    return this.#length;
  }

  u8(value: number): void {
    this.#reserve(1);
    this.#bytes[this.#length++] = value;
  }

  bool(value: boolean): void {
    this.u8(value ? 1 : 0);
  }

  u32(value: number): void {
    this.#reserve(4);
    this.#view.setUint32(this.#length, value, true);
    this.#length += 4;
  }

  u64(value: bigint): void {
    this.#reserve(8);
    this.#view.setBigUint64(this.#length, value, true);
    this.#length += 8;
  }

  varint(value: number): void {
    assert(Number.isSafeInteger(value) && value >= 0, () => `not an unsigned safe integer: ${value}`);
    this.#reserve(8);
    const bytes = this.#bytes;
    let rest = value;
    let at = this.#length;
    while (rest >= TWO_32 / 2) {
      bytes[at++] = (rest % 128) | 0x80;
      rest = Math.floor(rest / 128);
    }
    while (rest > 0x7f) {
      bytes[at++] = (rest & 0x7f) | 0x80;
      rest >>>= 7;
    }
    bytes[at++] = rest;
    this.#length = at;
  }

  raw(bytes: Uint8Array): void {
    this.#reserve(bytes.length);
    this.#bytes.set(bytes, this.#length);
    this.#length += bytes.length;
  }

  /** Length as a varint, then the bytes. */
  block(bytes: Uint8Array): void {
    this.varint(bytes.length);
    this.raw(bytes);
  }

  text(value: string): void {
    this.block(utf8(value));
  }

  /** Overwrites four bytes written before. */
  setU32(at: number, value: number): void {
    assert(at + 4 <= this.#length, () => `setU32 at ${at} of ${this.#length}`);
    this.#view.setUint32(at, value, true);
  }

  /** What has been written; the writer must not be used afterwards. */
  finish(): Uint8Array {
    return this.#bytes.subarray(0, this.#length);
  }

  /** A view of what has been written so far from `start` on, valid until the next write. */
  peek(start: number): Uint8Array {
    return this.#bytes.subarray(start, this.#length);
  }

  #reserve(count: number): void {
    const need = this.#length + count;
    if (need <= this.#bytes.length) return;
    const bytes = new Uint8Array(Math.max(need, this.#bytes.length * 2));
    bytes.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer);
  }
}

/** Reads what `ByteWriter` wrote. Every read checks its bounds and throws `MalformedFrame`. */
export class ByteReader {
  readonly #bytes: Uint8Array;
  #at: number;
  readonly #end: number;

  constructor(bytes: Uint8Array, start = 0, end = bytes.length) {
    assert(start <= end && end <= bytes.length, () => `reader over [${start}, ${end}) of ${bytes.length}`);
    this.#bytes = bytes;
    this.#at = start;
    this.#end = end;
  }

  get remaining(): number {
    return this.#end - this.#at;
  }

  u8(): number {
    if (this.#at >= this.#end) throw new MalformedFrame('ends within a byte');
    return this.#bytes[this.#at++] as number;
  }

  bool(): boolean {
    const value = this.u8();
    if (value > 1) throw new MalformedFrame(`expected a boolean, got ${value}`);
    return value === 1;
  }

  u32(): number {
    return this.#viewOf(4).getUint32(0, true);
  }

  u64(): bigint {
    return this.#viewOf(8).getBigUint64(0, true);
  }

  varint(): number {
    let value = 0;
    let scale = 1;
    for (let i = 0; i < 8; i++) {
      const byte = this.u8();
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) {
        if (byte === 0 && i > 0) throw new MalformedFrame('a number has superfluous bytes');
        if (!Number.isSafeInteger(value)) throw new MalformedFrame('a number exceeds 2^53 - 1');
        return value;
      }
      scale *= 128;
    }
    throw new MalformedFrame('a number is longer than 8 bytes');
  }

  /** A view, not a copy. */
  raw(length: number): Uint8Array {
    if (length > this.remaining) {
      throw new MalformedFrame(`expected ${length} bytes, got ${this.remaining}`);
    }
    if (length === 0) return EMPTY_BYTES;
    this.#at += length;
    return this.#bytes.subarray(this.#at - length, this.#at);
  }

  block(maxBytes = Number.MAX_SAFE_INTEGER): Uint8Array {
    const length = this.varint();
    if (length > maxBytes) throw new MalformedFrame(`a block of ${length} bytes exceeds ${maxBytes}`);
    return this.raw(length);
  }

  text(maxBytes: number): string {
    const text = utf8TextOrUndefined(this.block(maxBytes));
    if (text === undefined) throw new MalformedFrame('a text is not valid UTF-8');
    return text;
  }

  rest(): Uint8Array {
    return this.raw(this.remaining);
  }

  /** Refuses what the format does not know of. */
  end(): void {
    if (this.remaining !== 0) throw new MalformedFrame(`${this.remaining} bytes too many`);
  }

  #viewOf(length: number): DataView {
    const bytes = this.#bytes;
    if (length > this.remaining) {
      throw new MalformedFrame(`expected ${length} bytes, got ${this.remaining}`);
    }
    const view = new DataView(bytes.buffer, bytes.byteOffset + this.#at, length);
    this.#at += length;
    return view;
  }
}
