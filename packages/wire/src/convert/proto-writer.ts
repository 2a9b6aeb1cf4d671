const FIRST_BYTES = 4096;
/** A scratch buffer that a large answer made is not kept beyond this. */
const KEPT_BYTES = 1024 * 1024;
const TWO_32 = 0x1_0000_0000;
/** A message over gRPC: a flag byte and the length in four. */
const FRAME_BYTES = 5;

export const Wire = { VARINT: 0, FIXED64: 1, BYTES: 2, FIXED32: 5 } as const;

/**
 * Protocol Buffers' wire format, written backwards: the last field first, and a message's length once its content is
 * there, so that nothing is measured before it is written. Fields with their default value are left out unless the
 * name of the method says otherwise.
 */
export class ProtoWriter {
  #bytes: Buffer = Buffer.allocUnsafeSlow(FIRST_BYTES);
  /** Where the first byte written so far is. */
  #at = FIRST_BYTES;

  /** Bytes written so far: the mark that `message` closes. */
  get size(): number {
    return this.#bytes.length - this.#at;
  }

  /** A safe integer as int64 or uint64. */
  integer(field: number, value: number): void {
    if (value !== 0) this.setInteger(field, value);
  }

  /** As `integer`, 0 too: for members of a oneof. */
  setInteger(field: number, value: number): void {
    if (value < 0) this.#varint64(Math.floor(value / TWO_32) >>> 0, value >>> 0);
    else this.#varint(value);
    this.tag(field, Wire.VARINT);
  }

  /** An int64 or uint64. */
  id(field: number, value: bigint): void {
    if (value !== 0n) this.setId(field, value);
  }

  /** As `id`, 0 too. */
  setId(field: number, value: bigint): void {
    const unsigned = BigInt.asUintN(64, value);
    this.#varint64(Number(unsigned >> 32n), Number(unsigned & 0xffff_ffffn));
    this.tag(field, Wire.VARINT);
  }

  flag(field: number, value: boolean | undefined): void {
    if (!value) return;
    this.#varint(1);
    this.tag(field, Wire.VARINT);
  }

  bytes(field: number, value: Uint8Array | undefined): void {
    if (value !== undefined && value.length > 0) this.setBytes(field, value);
  }

  /** As `bytes`, empty ones too. */
  setBytes(field: number, value: Uint8Array): void {
    this.raw(value);
    this.#varint(value.length);
    this.tag(field, Wire.BYTES);
  }

  text(field: number, value: string): void {
    if (value !== '') this.setBytes(field, Buffer.from(value, 'utf8'));
  }

  /** Closes the message that everything since `mark` is the content of. Empty ones are written too. */
  message(field: number, mark: number): void {
    this.#varint(this.size - mark);
    this.tag(field, Wire.BYTES);
  }

  /** Bytes as they are: encoded fields. */
  raw(value: Uint8Array): void {
    const at = this.#reserve(value.length);
    if (value.length > 32) this.#bytes.set(value, at);
    else for (let i = 0; i < value.length; i++) this.#bytes[at + i] = value[i] as number;
  }

  tag(field: number, wire: number): void {
    this.#varint(field * 8 + wire);
  }

  /** What was written, copied out; the writer is empty again. */
  take(): Buffer {
    const taken = Buffer.allocUnsafe(this.size);
    this.#bytes.copy(taken, 0, this.#at);
    this.discard();
    return taken;
  }

  /** As `take`, before it the five bytes that a message has over gRPC. */
  takeFramed(): Buffer {
    const { size } = this;
    const taken = Buffer.allocUnsafe(FRAME_BYTES + size);
    taken[0] = 0;
    taken.writeUInt32BE(size, 1);
    this.#bytes.copy(taken, FRAME_BYTES, this.#at);
    this.discard();
    return taken;
  }

  /** Forgets what was written. */
  discard(): void {
    if (this.#bytes.length > KEPT_BYTES) this.#bytes = Buffer.allocUnsafeSlow(FIRST_BYTES);
    this.#at = this.#bytes.length;
  }

  #varint(value: number): void {
    if (value < 128) {
      // Room first: to make it may put other bytes in place of these.
      const only = this.#reserve(1);
      this.#bytes[only] = value;
      return;
    }
    let length = 1;
    for (let rest = value; rest >= 128; rest = Math.floor(rest / 128)) length++;
    let at = this.#reserve(length);
    let rest = value;
    for (; rest >= 128; rest = Math.floor(rest / 128)) this.#bytes[at++] = (rest % 128) | 128;
    this.#bytes[at] = rest;
  }

  #varint64(high: number, low: number): void {
    if (high < 0x20_0000) return this.#varint(high * TWO_32 + low);
    let length = 8;
    for (let rest = high >>> 24; rest > 0; rest >>>= 7) length++;
    let at = this.#reserve(length);
    const end = at + length - 1;
    let lo = low;
    let hi = high;
    for (; at < end; at++) {
      this.#bytes[at] = (lo & 127) | 128;
      lo = ((lo >>> 7) | (hi << 25)) >>> 0;
      hi >>>= 7;
    }
    this.#bytes[at] = lo & 127;
  }

  #reserve(length: number): number {
    if (this.#at < length) this.#grow(length);
    this.#at -= length;
    return this.#at;
  }

  #grow(length: number): void {
    const { size } = this;
    const grown = Buffer.allocUnsafeSlow(Math.max(2 * this.#bytes.length, size + length));
    this.#bytes.copy(grown, grown.length - size, this.#at);
    this.#at = grown.length - size;
    this.#bytes = grown;
  }
}
