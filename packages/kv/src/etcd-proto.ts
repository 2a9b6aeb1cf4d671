/** Protobuf, as far as etcd's stored records need it: numbers and bytes, fields in order, zero values left out. */
import type { ByteWriter } from './byte-codec.ts';

const VARINT = 0;
const FIXED64 = 1;
const BYTES = 2;
const FIXED32 = 5;

/** Bytes that are no record of etcd's; the message says what is wrong. */
export class BackendDamaged extends Error {
  override readonly name = 'BackendDamaged';
}

export function writeBytesField(writer: ByteWriter, field: number, value: Uint8Array): void {
  if (value.length === 0) return;
  writer.u8((field << 3) | BYTES);
  writer.bytes(value);
}

/** A bytes field that is there even when it is empty, as elements of a list are. */
export function writeElement(writer: ByteWriter, field: number, value: Uint8Array): void {
  writer.u8((field << 3) | BYTES);
  writer.bytes(value);
}

export function writeNumberField(writer: ByteWriter, field: number, value: number): void {
  if (value === 0) return;
  writer.u8(field << 3);
  writer.varint(value);
}

/** A 64-bit number of either sign. */
export function writeBigField(writer: ByteWriter, field: number, value: bigint): void {
  if (value === 0n) return;
  writer.u8(field << 3);
  let rest = BigInt.asUintN(64, value);
  for (; rest >= 0x80n; rest >>= 7n) writer.u8(Number(rest & 0x7fn) | 0x80);
  writer.u8(Number(rest));
}

/**
 * Reads one message: `while (reader.next()) switch (reader.field)`. A field that is not asked for is passed over by the
 * next `next`. Throws `BackendDamaged`.
 */
export class ProtoReader {
  readonly #bytes: Uint8Array;
  readonly #what: string;
  #at = 0;
  #wire = VARINT;
  #pending = false;
  field = 0;

  constructor(bytes: Uint8Array, what: string) {
    this.#bytes = bytes;
    this.#what = what;
  }

  /** Moves to the next field; false at the end. */
  next(): boolean {
    if (this.#pending) this.#skip();
    if (this.#at === this.#bytes.length) return false;
    const tag = this.#number();
    this.field = Math.floor(tag / 8);
    this.#wire = tag % 8;
    this.#pending = true;
    if (this.field === 0) throw this.#damaged('a field without a number');
    return true;
  }

  /** A number in [0, 2^53). */
  number(): number {
    this.#expect(VARINT);
    return this.#number();
  }

  /** A 64-bit number, unsigned. */
  big(): bigint {
    this.#expect(VARINT);
    return this.#big();
  }

  /** A view into the message. */
  bytes(): Uint8Array {
    this.#expect(BYTES);
    return this.#take(this.#number());
  }

  #expect(wire: number): void {
    if (this.#wire !== wire) throw this.#damaged(`field ${this.field} of wire type ${this.#wire}`);
    this.#pending = false;
  }

  #skip(): void {
    this.#pending = false;
    if (this.#wire === VARINT) this.#big();
    else if (this.#wire === BYTES) this.#take(this.#number());
    else if (this.#wire === FIXED64) this.#take(8);
    else if (this.#wire === FIXED32) this.#take(4);
    else throw this.#damaged(`field ${this.field} of wire type ${this.#wire}`);
  }

  #number(): number {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = this.#byte();
      value += (byte & 0x7f) * scale;
      if (value > Number.MAX_SAFE_INTEGER) throw this.#damaged('a number above 2^53');
      if (byte < 0x80) return value;
      if (scale > 2 ** 56) throw this.#damaged('a number without end');
    }
  }

  #big(): bigint {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = this.#byte();
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return BigInt.asUintN(64, value);
    }
    throw this.#damaged('a number without end');
  }

  #byte(): number {
    const byte = this.#bytes[this.#at++];
    if (byte === undefined) throw this.#damaged('it ends within a field');
    return byte;
  }

  #take(length: number): Uint8Array {
    const end = this.#at + length;
    if (end > this.#bytes.length) throw this.#damaged('it ends within a field');
    const taken = this.#bytes.subarray(this.#at, end);
    this.#at = end;
    return taken;
  }

  #damaged(how: string): BackendDamaged {
    return new BackendDamaged(`${this.#what} is damaged: ${how}`);
  }
}
