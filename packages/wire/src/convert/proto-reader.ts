import { EMPTY_BYTES } from '@muster/base';
import { Wire } from './proto-writer.ts';

const TWO_32 = 0x1_0000_0000;
/** Highest upper half of a safe integer. */
const SAFE_HIGH = 0x1f_ffff;
const FIELD_MAX = 0x1fff_ffff;
const GROUP_START = 3;
const GROUP_END = 4;

/** Bytes that are no message of the kind expected. */
export class ProtoError extends Error {
  override readonly name = 'ProtoError';
}

/** Protocol Buffers' wire format, read forwards. Every read throws `ProtoError` for what is cut short or malformed. */
export class ProtoReader {
  readonly #bytes: Uint8Array;
  #at = 0;
  /** Halves of the number read last, each as an unsigned 32-bit integer. */
  #low = 0;
  #high = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get end(): number {
    return this.#bytes.length;
  }

  more(end: number): boolean {
    return this.#at < end;
  }

  /** A field's number and wire type, as they are on the wire: number * 8 + type. */
  tag(): number {
    const tag = this.#uint32();
    const field = tag >>> 3;
    if (field === 0 || field > FIELD_MAX) throw new ProtoError(`illegal tag ${field} (wire type ${tag & 7})`);
    return tag;
  }

  /** An int64 as a number; one outside the safe integers is taken as the nearest of these. */
  integer(): number {
    this.#varint();
    const low = this.#low;
    const high = this.#high | 0;
    if (high >= 0) return high > SAFE_HIGH ? Number.MAX_SAFE_INTEGER : high * TWO_32 + low;
    return high < -SAFE_HIGH - 1
      ? Number.MIN_SAFE_INTEGER
      : Math.max(Number.MIN_SAFE_INTEGER, high * TWO_32 + low);
  }

  /** An int64. */
  signed(): bigint {
    return BigInt.asIntN(64, this.unsigned());
  }

  /** A uint64. */
  unsigned(): bigint {
    this.#varint();
    if (this.#high === 0) return BigInt(this.#low);
    return (BigInt(this.#high) << 32n) | BigInt(this.#low);
  }

  /** An enum's number. */
  enum(): number {
    this.#varint();
    return this.#low | 0;
  }

  flag(): boolean {
    this.#varint();
    return this.#low !== 0 || this.#high !== 0;
  }

  /** A part of the bytes that are read, not a copy. */
  bytes(): Uint8Array {
    const end = this.message();
    if (end === this.#at) return EMPTY_BYTES;
    const part = this.#bytes.subarray(this.#at, end);
    this.#at = end;
    return part;
  }

  text(): string {
    const end = this.message();
    const text = Buffer.from(this.#bytes.buffer, this.#bytes.byteOffset + this.#at, end - this.#at).toString(
      'utf8',
    );
    this.#at = end;
    return text;
  }

  /** Enters an embedded message and says where it ends. */
  message(): number {
    const length = this.#uint32();
    const end = this.#at + length;
    if (end > this.#bytes.length) throw new ProtoError('unexpected EOF');
    return end;
  }

  /** Enum numbers in either form, packed or one a field. `tag` is the field's. */
  enums(tag: number, into: number[]): void {
    if ((tag & 7) === Wire.VARINT) {
      into.push(this.enum());
      return;
    }
    const end = this.message();
    while (this.#at < end) into.push(this.enum());
    this.leave(end);
  }

  /** Makes sure that an embedded message ended where it said. */
  leave(end: number): void {
    if (this.#at !== end) throw new ProtoError('unexpected EOF');
  }

  /** A field that the reader of a message did not take. One it knows by number has come with another type. */
  unknown(tag: number, lastKnown: number): void {
    if (tag >>> 3 <= lastKnown) throw new ProtoError(`wrong wireType = ${tag & 7} for field ${tag >>> 3}`);
    this.#skip(tag, 0);
  }

  #skip(tag: number, depth: number): void {
    switch (tag & 7) {
      case Wire.VARINT:
        return this.#varint();
      case Wire.FIXED64:
        return this.#advance(8);
      case Wire.BYTES:
        return this.#advance(this.#uint32());
      case Wire.FIXED32:
        return this.#advance(4);
      case GROUP_START:
        return this.#skipGroup(depth + 1);
      default:
        throw new ProtoError(`illegal wireType ${tag & 7}`);
    }
  }

  #skipGroup(depth: number): void {
    if (depth > GROUP_DEPTH) throw new ProtoError('groups nested too deep');
    for (;;) {
      const tag = this.tag();
      if ((tag & 7) === GROUP_END) return;
      this.#skip(tag, depth);
    }
  }

  #advance(length: number): void {
    if (this.#at + length > this.#bytes.length) throw new ProtoError('unexpected EOF');
    this.#at += length;
  }

  #uint32(): number {
    const first = this.#bytes[this.#at] as number;
    if (first < 128) {
      this.#at++;
      return first;
    }
    this.#varint();
    if (this.#high !== 0) throw new ProtoError('integer overflow');
    return this.#low;
  }

  #varint(): void {
    let low = 0;
    let high = 0;
    for (let shift = 0; shift < 70; shift += 7) {
      const byte = this.#bytes[this.#at];
      if (byte === undefined) throw new ProtoError('unexpected EOF');
      this.#at++;
      const bits = byte & 127;
      if (shift < 28) low |= bits << shift;
      else if (shift === 28) {
        low |= bits << 28;
        high |= bits >>> 4;
      } else if (shift < 64) high |= bits << (shift - 32);
      if (byte < 128) {
        this.#low = low >>> 0;
        this.#high = high >>> 0;
        return;
      }
    }
    throw new ProtoError('integer overflow');
  }
}

const GROUP_DEPTH = 32;
