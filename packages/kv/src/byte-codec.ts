import { AssertionFailed, assert, utf8, utf8Text } from '@muster/base';

const INITIAL_BYTES = 512;
/** A buffer that one big record made large is not kept for the small ones that follow. */
const MAX_KEPT_BYTES = 64 * 1024;
/** Records of a pooling writer share buffers of this size; a larger one gets its own. */
const POOL_BYTES = 32 * 1024;

/**
 * Writes one record at a time: fixed-width and LEB128 numbers, and bytes with their length before them. `take` ends
 * the record and starts the next one, so that one writer serves all records of a kind.
 *
 * A `pooling` writer hands out views of buffers shared by neighbouring records: no copy and few allocations, right for
 * records of some hundred bytes that live and die about together.
 */
export class ByteWriter {
  readonly #pooling: boolean;
  #bytes: Uint8Array;
  #view: DataView;
  #start = 0;
  #at = 0;

  constructor(options: { readonly pooling?: boolean } = {}) {
    this.#pooling = options.pooling ?? false;
    this.#bytes = new Uint8Array(this.#pooling ? POOL_BYTES : INITIAL_BYTES);
    this.#view = new DataView(this.#bytes.buffer);
  }

  u8(value: number): void {
    assert((value & 0xff) === value, () => `${value} is no byte`);
    this.#reserve(1);
    this.#bytes[this.#at++] = value;
  }

  /** A whole number in [0, 2^53). No other is taken: what cannot be read must not get into a log. */
  varint(value: number): void {
    assert(value >= 0 && Number.isSafeInteger(value), () => `${value} is no count`);
    this.#reserve(8);
    const bytes = this.#bytes;
    let rest = value;
    while (rest >= 0x8000_0000) {
      bytes[this.#at++] = (rest % 128) | 0x80;
      rest = Math.floor(rest / 128);
    }
    while (rest >= 0x80) {
      bytes[this.#at++] = (rest & 0x7f) | 0x80;
      rest >>>= 7;
    }
    bytes[this.#at++] = rest;
  }

  /** A safe integer of either sign, small magnitudes in few bytes. */
  signedVarint(value: number): void {
    this.u8(value < 0 ? 1 : 0);
    this.varint(Math.abs(value));
  }

  /** The low 64 bits of `value`. */
  u64(value: bigint): void {
    this.#reserve(8);
    this.#view.setBigUint64(this.#at, BigInt.asUintN(64, value));
    this.#at += 8;
  }

  bytes(value: Uint8Array): void {
    this.varint(value.length);
    this.raw(value);
  }

  text(value: string): void {
    this.bytes(utf8(value));
  }

  /** Bytes without a length: the last field of a record. */
  raw(value: Uint8Array): void {
    this.#reserve(value.length);
    this.#bytes.set(value, this.#at);
    this.#at += value.length;
  }

  take(): Uint8Array {
    if (this.#pooling) return this.#takeView();
    const out = this.#bytes.slice(0, this.#at);
    this.#at = 0;
    if (this.#bytes.length > MAX_KEPT_BYTES) this.#resize(INITIAL_BYTES);
    return out;
  }

  /** Forgets what was written since the last `take`. */
  drop(): void {
    this.#at = this.#start;
  }

  #takeView(): Uint8Array {
    const out = this.#bytes.subarray(this.#start, this.#at);
    this.#start = this.#at;
    if (this.#bytes.length > POOL_BYTES) this.#resize(POOL_BYTES);
    return out;
  }

  #reserve(more: number): void {
    if (this.#at + more <= this.#bytes.length) return;
    const needed = this.#at - this.#start + more;
    this.#resize(this.#pooling ? Math.max(POOL_BYTES, needed) : needed * 2);
  }

  /** Continues the record under way in a fresh buffer. */
  #resize(length: number): void {
    const bytes = new Uint8Array(length);
    bytes.set(this.#bytes.subarray(this.#start, this.#at));
    this.#at -= this.#start;
    this.#start = 0;
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer);
  }
}

/** Reads what `ByteWriter` wrote. Bytes that it did not write are a broken
 * invariant: records are checksummed below. */
export class ByteReader {
  readonly #bytes: Uint8Array;
  #at: number;

  constructor(bytes: Uint8Array, at = 0) {
    this.#bytes = bytes;
    this.#at = at;
  }

  u8(): number {
    const value = this.#bytes[this.#at++];
    if (value === undefined) throw this.malformed('too short');
    return value;
  }

  varint(): number {
    const bytes = this.#bytes;
    let byte = bytes[this.#at++] as number;
    if (byte < 0x80) return byte;
    let value = byte & 0x7f;
    let scale = 128;
    do {
      byte = bytes[this.#at++] as number;
      value += (byte & 0x7f) * scale;
      scale *= 128;
    } while (byte >= 0x80);
    if (this.#at > bytes.length || !Number.isSafeInteger(value)) throw this.malformed('too short');
    return value;
  }

  signedVarint(): number {
    const negative = this.u8() === 1;
    const magnitude = this.varint();
    return negative && magnitude !== 0 ? -magnitude : magnitude;
  }

  u64(): bigint {
    const bytes = this.#bytes;
    if (this.#at + 8 > bytes.length) throw this.malformed('too short');
    const view = new DataView(bytes.buffer, bytes.byteOffset + this.#at, 8);
    this.#at += 8;
    return view.getBigUint64(0);
  }

  i64(): bigint {
    return BigInt.asIntN(64, this.u64());
  }

  /** A view into the record, not a copy. */
  bytes(): Uint8Array {
    const length = this.varint();
    const end = this.#at + length;
    if (!(end <= this.#bytes.length)) throw this.malformed('too short');
    const out = this.#bytes.subarray(this.#at, end);
    this.#at = end;
    return out;
  }

  text(): string {
    return utf8Text(this.bytes());
  }

  /** A count, then that many of what `read` reads. */
  list<T>(read: () => T): T[] {
    const count = this.varint();
    if (count > this.#bytes.length - this.#at) throw this.malformed(`a list of ${count}`);
    const out: T[] = [];
    for (let i = 0; i < count; i++) out.push(read());
    return out;
  }

  /** Everything that is left: the last field of a record. */
  rest(): Uint8Array {
    const out = this.#bytes.subarray(this.#at);
    this.#at = this.#bytes.length;
    return out;
  }

  /** For the end of a whole message: nothing may be left over. */
  finish(): void {
    if (this.#at !== this.#bytes.length) throw this.malformed('more than was expected');
  }

  /** The error to throw for what cannot be. */
  malformed(what: string): AssertionFailed {
    return new AssertionFailed(`malformed record: ${what} at byte ${this.#at} of ${this.#bytes.length}`);
  }
}
