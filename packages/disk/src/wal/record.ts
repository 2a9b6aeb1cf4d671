/**
 * Frames of the write-ahead log, little-endian:
 *
 *     length u32   bytes that follow the crc: type and payload
 *     crc u32      CRC-32C of length, type and payload, continued from the crc of the frame before
 *     type u8
 *     payload
 *
 * A length of zero is the end: segments are filled with zeros beforehand. Because every checksum continues the one
 * before, a frame is only valid in its place.
 */
import { crc32c } from '@muster/base';
import type { Entry, HardState } from '@muster/raft';

export const FRAME_HEADER_BYTES = 9;
const ENTRY_HEADER_BYTES = 16;
export const SALT_BYTES = 8;

export const RECORD = { round: 1, hardState: 2, entry: 3, configEntry: 4, compacted: 5 } as const;

/** Opens each write to the file. Its place and number tell a torn write from damage: see `reader.ts`. */
export type Round = { readonly offset: number; readonly number: number };
export type LogPosition = { readonly index: number; readonly term: number };

const ROUND_BYTES = SALT_BYTES + 8 + 8 + 4;
const TWO_32 = 0x1_0000_0000;
const INITIAL_BUFFER_BYTES = 64 * 1024;
/** A buffer that a burst made larger than this is given back after the burst. */
const KEPT_BUFFER_BYTES = 4 * 1024 * 1024;

export function frameBytes(payloadBytes: number): number {
  return FRAME_HEADER_BYTES + payloadBytes;
}
export const ROUND_FRAME_BYTES: number = frameBytes(ROUND_BYTES);
export const HARD_STATE_FRAME_BYTES: number = frameBytes(24);
export const COMPACTED_FRAME_BYTES: number = frameBytes(16);
export function entryFrameBytes(entry: Entry): number {
  return frameBytes(ENTRY_HEADER_BYTES + entry.data.length);
}

export function writeU64(target: Buffer, value: number, at: number): number {
  target.writeUInt32LE(value % TWO_32, at);
  return target.writeUInt32LE(Math.floor(value / TWO_32), at + 4);
}

export function readU64(source: Buffer, at: number): number {
  return source.readUInt32LE(at) + source.readUInt32LE(at + 4) * TWO_32;
}

/** Encodes one write: frames one after the other, each checksum continuing the last. */
export class FrameEncoder {
  #buffer = Buffer.allocUnsafeSlow(INITIAL_BUFFER_BYTES);
  #length = 0;
  #crc = 0;

  /** Starts over; `crc` is that of the frame (or segment header) before. */
  begin(crc: number): void {
    if (this.#buffer.length > KEPT_BUFFER_BYTES) this.#buffer = Buffer.allocUnsafeSlow(INITIAL_BUFFER_BYTES);
    this.#length = 0;
    this.#crc = crc;
  }

  get crc(): number {
    return this.#crc;
  }

  /** Valid until the next `begin`. */
  bytes(): Uint8Array {
    return this.#buffer.subarray(0, this.#length);
  }

  round(salt: Uint8Array, round: Round): void {
    const at = this.#open(ROUND_BYTES);
    const b = this.#buffer;
    b.set(salt, at);
    writeU64(b, round.offset, at + SALT_BYTES);
    writeU64(b, round.number, at + SALT_BYTES + 8);
    b.writeUInt32LE(crc32c(b, 0, at, at + SALT_BYTES + 16), at + SALT_BYTES + 16);
    this.#seal(RECORD.round, at, ROUND_BYTES);
  }

  hardState(state: HardState): void {
    const at = this.#open(24);
    encodeHardState(this.#buffer, state, at);
    this.#seal(RECORD.hardState, at, 24);
  }

  compacted(position: LogPosition): void {
    const at = this.#open(16);
    writeU64(this.#buffer, position.index, at);
    writeU64(this.#buffer, position.term, at + 8);
    this.#seal(RECORD.compacted, at, 16);
  }

  entry(entry: Entry): void {
    const length = ENTRY_HEADER_BYTES + entry.data.length;
    const at = this.#open(length);
    writeU64(this.#buffer, entry.index, at);
    writeU64(this.#buffer, entry.term, at + 8);
    this.#buffer.set(entry.data, at + ENTRY_HEADER_BYTES);
    this.#seal(entry.type === 'normal' ? RECORD.entry : RECORD.configEntry, at, length);
  }

  /** Makes room for a frame; returns where its payload goes. */
  #open(payloadBytes: number): number {
    const needed = this.#length + frameBytes(payloadBytes);
    if (needed > this.#buffer.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(needed, this.#buffer.length * 2));
      larger.set(this.#buffer.subarray(0, this.#length));
      this.#buffer = larger;
    }
    return this.#length + FRAME_HEADER_BYTES;
  }

  #seal(type: number, payloadAt: number, payloadBytes: number): void {
    const b = this.#buffer;
    const at = this.#length;
    b.writeUInt32LE(payloadBytes + 1, at);
    b[at + 8] = type;
    this.#crc = frameCrc(b, at, payloadAt + payloadBytes, this.#crc);
    b.writeUInt32LE(this.#crc, at + 4);
    this.#length = payloadAt + payloadBytes;
  }
}

/** The checksum of the frame at [start, end), whose own crc field is left out. */
export function frameCrc(bytes: Buffer, start: number, end: number, previous: number): number {
  return crc32c(bytes, crc32c(bytes, previous, start, start + 4), start + 8, end);
}

export function encodeHardState(target: Buffer, state: HardState, at: number): void {
  writeU64(target, state.term, at);
  target.writeBigUInt64LE(state.vote, at + 8);
  writeU64(target, state.commit, at + 16);
}

export function decodeHardState(source: Buffer, at: number): HardState {
  return {
    term: readU64(source, at),
    vote: source.readBigUInt64LE(at + 8),
    commit: readU64(source, at + 16),
  };
}

export function decodePosition(source: Buffer, at: number): LogPosition {
  return { index: readU64(source, at), term: readU64(source, at + 8) };
}

/** `data` is a view of `source`, which it keeps alive. */
export function decodeEntry(source: Buffer, type: Entry['type'], at: number, end: number): Entry {
  const start = source.byteOffset + at + ENTRY_HEADER_BYTES;
  return {
    index: readU64(source, at),
    term: readU64(source, at + 8),
    type,
    data: new Uint8Array(source.buffer, start, end - at - ENTRY_HEADER_BYTES),
  };
}

/** The round that a valid round payload at `at` tells of. It proves itself without the chain. */
export function decodeRound(source: Buffer, salt: Uint8Array, at: number): Round | undefined {
  if (at + ROUND_BYTES > source.length) return undefined;
  if (source.compare(salt, 0, SALT_BYTES, at, at + SALT_BYTES) !== 0) return undefined;
  const checked = at + SALT_BYTES + 16;
  if (crc32c(source, 0, at, checked) !== source.readUInt32LE(checked)) return undefined;
  return { offset: readU64(source, at + SALT_BYTES), number: readU64(source, at + SALT_BYTES + 8) };
}
