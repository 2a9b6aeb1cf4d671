/**
 * Frames of a peer connection: u32 length of what follows the checksum, u32 CRC-32 of it, a type byte, the payload.
 * Little-endian. The checksum is the one that the runtime computes natively: it guards memory and middleboxes, not
 * the disk.
 */
import { crc32 } from 'node:zlib';
import { ByteReader, ByteWriter, MalformedFrame } from './bytes.ts';

/** Numbers on the wire; never reused. */
export const FRAME = {
  hello: 1,
  welcome: 2,
  refuse: 3,
  batch: 4,
  ping: 5,
  pong: 6,
  goodbye: 7,
  snapshotHead: 8,
  snapshotChunk: 9,
  snapshotEnd: 10,
  snapshotResult: 11,
  query: 12,
  clusterInfo: 13,
} as const;

export const FRAME_HEADER_BYTES = 8;

export type Frame = { readonly type: number; readonly payload: Uint8Array };

/** A writer with room for the header and the type already in it. */
export function beginFrame(type: number, capacity?: number): ByteWriter {
  const writer = new ByteWriter(capacity);
  writer.u32(0);
  writer.u32(0);
  writer.u8(type);
  return writer;
}

/** Fills in length and checksum. The writer must not be used afterwards. */
export function endFrame(writer: ByteWriter): Uint8Array {
  const body = writer.peek(FRAME_HEADER_BYTES);
  writer.setU32(0, body.length);
  writer.setU32(4, crc32(body));
  return writer.finish();
}

export function frameOf(type: number, fill?: (writer: ByteWriter) => void): Uint8Array {
  const writer = beginFrame(type);
  fill?.(writer);
  return endFrame(writer);
}

/**
 * Cuts a byte stream into frames. A frame that lies whole in one chunk is handed out as a view of it; one that spans
 * chunks is gathered in a buffer of exactly its size.
 */
export class FrameReader {
  #maxBytes: number;
  readonly #header = new Uint8Array(FRAME_HEADER_BYTES);
  #headerLength = 0;
  #body: Uint8Array | undefined;
  #bodyLength = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Raised once the other side has said who it is. */
  set maxBytes(value: number) {
    this.#maxBytes = value;
  }

  /** True in the middle of a frame: the stream must not end here. */
  get partial(): boolean {
    return this.#headerLength > 0;
  }

  /** Calls `take` for every frame completed by `chunk`, until it returns false. Throws `MalformedFrame`. */
  push(chunk: Uint8Array, take: (frame: Frame) => boolean): void {
    let at = 0;
    while (at < chunk.length) {
      if (this.#headerLength < FRAME_HEADER_BYTES) {
        const count = Math.min(FRAME_HEADER_BYTES - this.#headerLength, chunk.length - at);
        this.#header.set(chunk.subarray(at, at + count), this.#headerLength);
        this.#headerLength += count;
        at += count;
        if (this.#headerLength < FRAME_HEADER_BYTES) return;
      }
      const length = this.#checkedLength();
      if (this.#body === undefined && chunk.length - at >= length) {
        const body = chunk.subarray(at, at + length);
        at += length;
        if (!take(this.#finish(body))) return;
        continue;
      }
      this.#body ??= new Uint8Array(length);
      const count = Math.min(length - this.#bodyLength, chunk.length - at);
      this.#body.set(chunk.subarray(at, at + count), this.#bodyLength);
      this.#bodyLength += count;
      at += count;
      if (this.#bodyLength < length) return;
      if (!take(this.#finish(this.#body))) return;
    }
  }

  #checkedLength(): number {
    const length = new DataView(this.#header.buffer).getUint32(0, true);
    if (length < 1 || length > this.#maxBytes) {
      throw new MalformedFrame(`a frame of ${length} bytes; expected 1 to ${this.#maxBytes}`);
    }
    return length;
  }

  #finish(body: Uint8Array): Frame {
    const expected = new DataView(this.#header.buffer).getUint32(4, true);
    this.#headerLength = 0;
    this.#body = undefined;
    this.#bodyLength = 0;
    const actual = crc32(body);
    if (actual !== expected) {
      throw new MalformedFrame(`checksum ${actual.toString(16)}, expected ${expected.toString(16)}`);
    }
    return { type: body[0] as number, payload: body.subarray(1) };
  }
}

/** The messages of a batch, each a u32 length and its bytes. Throws `MalformedFrame` when one overruns it. */
export function* batchMessages(frame: Frame): Generator<Uint8Array> {
  const reader = new ByteReader(frame.payload);
  while (reader.remaining > 0) yield reader.raw(reader.u32());
}

/** Header and type of a frame whose payload is written right after it, without copying the payload. */
export function frameHead(type: number, payload: Uint8Array): Uint8Array {
  const writer = beginFrame(type);
  writer.setU32(0, payload.length + 1);
  writer.setU32(4, crc32(payload, crc32(writer.peek(FRAME_HEADER_BYTES))));
  return writer.finish();
}
