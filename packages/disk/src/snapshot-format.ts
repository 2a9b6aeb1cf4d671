/**
 * An image of the whole state as one stream, little-endian:
 *
 *     header     "MUSTSNAP", version u32, page kind u32 (0), tag u64
 *     blocks     length u32, crc u32 (CRC-32C of the bytes, continued from the block before), bytes
 *     end        a block of length 0 whose crc field is that of the last block; then the number of records u64
 *
 * The bytes of the blocks together are records: table u8, key length u32, value length u32, key, value; each record
 * lies within one block, tables and keys in order.
 */
import { crc32c } from '@muster/base';
import { readU64, writeU64 } from './wal/record.ts';

const MAGIC = Buffer.from('MUSTSNAP', 'latin1');
const VERSION = 1;
const SNAPSHOT_HEADER_BYTES = 24;
const BLOCK_HEADER_BYTES = 8;
const SNAPSHOT_END_BYTES: number = BLOCK_HEADER_BYTES + 8;
const RECORD_HEADER_BYTES = 9;
/** A block closes when it reaches this; one record larger than it makes a larger block. */
const BLOCK_BYTES: number = 256 * 1024;
/** Larger than any record can be; a length above it is damage. */
const BLOCK_BYTES_MAX: number = 64 * 1024 * 1024;

/** The image cannot be used; the message says where it is wrong. */
export class SnapshotDamaged extends Error {
  override readonly name = 'SnapshotDamaged';
}

export function encodeSnapshotHeader(tag: number): Buffer {
  const b = Buffer.alloc(SNAPSHOT_HEADER_BYTES);
  b.set(MAGIC, 0);
  b.writeUInt32LE(VERSION, 8);
  writeU64(b, tag, 16);
  return b;
}

/** Gathers records into blocks. */
export class BlockWriter {
  #buffer = Buffer.allocUnsafeSlow(BLOCK_BYTES * 2);
  #length = BLOCK_HEADER_BYTES;
  #crc: number;
  #records = 0;

  constructor(header: Uint8Array) {
    this.#crc = crc32c(header);
  }

  get full(): boolean {
    return this.#length >= BLOCK_BYTES;
  }

  add(table: number, key: Uint8Array, value: Uint8Array): void {
    const end = this.#length + RECORD_HEADER_BYTES + key.length + value.length;
    if (end > this.#buffer.length) {
      const larger = Buffer.allocUnsafeSlow(end);
      larger.set(this.#buffer.subarray(0, this.#length));
      this.#buffer = larger;
    }
    const b = this.#buffer;
    b[this.#length] = table;
    b.writeUInt32LE(key.length, this.#length + 1);
    b.writeUInt32LE(value.length, this.#length + 5);
    b.set(key, this.#length + RECORD_HEADER_BYTES);
    b.set(value, this.#length + RECORD_HEADER_BYTES + key.length);
    this.#length = end;
    this.#records++;
  }

  /** The block so far, valid until the next `add`; empty when there is nothing in it. */
  take(): Uint8Array {
    const length = this.#length;
    if (length === BLOCK_HEADER_BYTES) return new Uint8Array(0);
    const b = this.#buffer;
    this.#crc = crc32c(b, this.#crc, BLOCK_HEADER_BYTES, length);
    b.writeUInt32LE(length - BLOCK_HEADER_BYTES, 0);
    b.writeUInt32LE(this.#crc, 4);
    this.#length = BLOCK_HEADER_BYTES;
    return b.subarray(0, length);
  }

  end(): Uint8Array {
    const b = Buffer.alloc(SNAPSHOT_END_BYTES);
    b.writeUInt32LE(this.#crc, 4);
    writeU64(b, this.#records, BLOCK_HEADER_BYTES);
    return b;
  }
}

export type SnapshotRecord = { readonly table: number; readonly key: Uint8Array; readonly value: Uint8Array };

/** Takes an image apart, in pieces of any size, and checks it on the way. Throws `SnapshotDamaged`. */
export class SnapshotParser {
  readonly #name: string;
  #rest: Buffer = Buffer.alloc(0);
  #offset = 0;
  #crc: number | undefined;
  #records = 0;
  #tag = 0;
  #ended = false;

  /** @param name what to call the image in errors */
  constructor(name: string) {
    this.#name = name;
  }

  get tag(): number {
    return this.#tag;
  }

  get ended(): boolean {
    return this.#ended;
  }

  /** Checks what `chunk` completes and adds its records to `records`: views of memory that stays valid. */
  push(chunk: Uint8Array, records?: SnapshotRecord[]): void {
    this.#rest = this.#rest.length === 0 ? Buffer.from(chunk) : Buffer.concat([this.#rest, chunk]);
    while (this.#step(records)) {}
  }

  /** Call when the stream is over. */
  finish(): void {
    if (!this.#ended)
      throw this.#damaged(`it ends after ${this.#offset + this.#rest.length} bytes, before its end`);
  }

  /** Handles one header, block or end; false when it is not all there yet. */
  #step(records: SnapshotRecord[] | undefined): boolean {
    const b = this.#rest;
    if (this.#crc === undefined) return this.#header(b);
    if (this.#ended) {
      if (b.length > 0) throw this.#damaged(`${b.length} bytes follow its end`);
      return false;
    }
    if (b.length < BLOCK_HEADER_BYTES) return false;
    const length = b.readUInt32LE(0);
    const stored = b.readUInt32LE(4);
    if (length === 0) return this.#end(b, stored);
    if (length > BLOCK_BYTES_MAX) throw this.#damaged(`a block of ${length} bytes`);
    const end = BLOCK_HEADER_BYTES + length;
    if (b.length < end) return false;
    const actual = crc32c(b, this.#crc, BLOCK_HEADER_BYTES, end);
    if (actual !== stored) {
      throw this.#damaged(
        `a block's checksum is ${stored.toString(16)}, of its bytes ${actual.toString(16)}`,
      );
    }
    this.#crc = actual;
    this.#block(b.subarray(BLOCK_HEADER_BYTES, end), records);
    this.#consume(end);
    return true;
  }

  #header(b: Buffer): boolean {
    if (b.length < SNAPSHOT_HEADER_BYTES) return false;
    if (b.compare(MAGIC, 0, 8, 0, 8) !== 0) throw this.#damaged('it does not begin like an image');
    const version = b.readUInt32LE(8);
    if (version !== VERSION) throw this.#damaged(`its version is ${version}, this program reads ${VERSION}`);
    this.#tag = readU64(b, 16);
    this.#crc = crc32c(b, 0, 0, SNAPSHOT_HEADER_BYTES);
    this.#consume(SNAPSHOT_HEADER_BYTES);
    return true;
  }

  #end(b: Buffer, stored: number): boolean {
    if (b.length < SNAPSHOT_END_BYTES) return false;
    const records = readU64(b, BLOCK_HEADER_BYTES);
    if (stored !== this.#crc || records !== this.#records) {
      throw this.#damaged(`its end tells of ${records} records, ${this.#records} were read`);
    }
    this.#ended = true;
    this.#consume(SNAPSHOT_END_BYTES);
    return true;
  }

  #block(block: Buffer, records: SnapshotRecord[] | undefined): void {
    let at = 0;
    while (at < block.length) {
      const keyAt = at + RECORD_HEADER_BYTES;
      if (keyAt > block.length) throw this.#damaged('a record is cut off');
      const keyEnd = keyAt + block.readUInt32LE(at + 1);
      const end = keyEnd + block.readUInt32LE(at + 5);
      if (end > block.length) throw this.#damaged('a record is longer than its block');
      records?.push({
        table: block[at] as number,
        key: block.subarray(keyAt, keyEnd),
        value: block.subarray(keyEnd, end),
      });
      this.#records++;
      at = end;
    }
  }

  #consume(bytes: number): void {
    this.#rest = this.#rest.subarray(bytes);
    this.#offset += bytes;
  }

  #damaged(what: string): SnapshotDamaged {
    return new SnapshotDamaged(
      `image ${this.#name}: damaged at offset ${this.#offset}: ${what}; have it sent again`,
    );
  }
}
