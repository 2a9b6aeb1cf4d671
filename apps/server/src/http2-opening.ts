/**
 * The first frames of an HTTP/2 connection without TLS, mended where etcd's clients need it. The Go client of etcd 3.4
 * names the whole endpoint as `:authority` when it dials one member (`http://10.0.0.1:2379`, or the path of a Unix
 * socket), and Node's HTTP/2 resets streams whose authority has a slash. Node's decoder keeps the field for the rest
 * of the connection, so it is enough to mend the first request, before Node sees it; from there on Node has the socket.
 *
 * A client sends its first request when it has the server's SETTINGS. So an empty one is sent here, and the client's
 * acknowledgement of it, of which Node knows nothing, is taken out.
 */
import type { Socket } from 'node:net';

const PREFACE_BYTES = 24;
const FRAME_HEADER_BYTES = 9;
/** What a client may send before it knows that more is allowed (RFC 9113, section 4.2). */
const FRAME_BYTES_MAX = 16_384;
/** More than this without a request is none that Node has to see mended. */
const HELD_BYTES_MAX = 64 * 1024;

const TYPE = { headers: 1, settings: 4, ping: 6 } as const;
const FLAG = { ack: 0x1, padded: 0x8, priority: 0x20 } as const;

const EMPTY_SETTINGS = Buffer.from([0, 0, 0, TYPE.settings, 0, 0, 0, 0, 0]);

/**
 * Reads a connection whose preface is there up to its first request, and calls `done` with everything put back; with
 * `false` when the client does not acknowledge in time. Not at all when the connection ends before.
 */
export function openHttp2(socket: Socket, ackTimeoutMs: number, done: (ready: boolean) => void): void {
  const opening = new Opening();
  const timer = setTimeout(() => finish(false), ackTimeoutMs);
  const finish = (ready: boolean): void => {
    clearTimeout(timer);
    socket.off('readable', look);
    socket.off('end', leave);
    socket.off('error', ignore);
    socket.off('close', give);
    const bytes = opening.bytes();
    if (bytes.length > 0) socket.unshift(bytes);
    done(ready);
  };
  const look = (): void => {
    const bytes: Buffer | null = socket.read();
    if (bytes === null) return;
    for (const pong of opening.push(bytes)) socket.write(pong);
    if (opening.acknowledged) clearTimeout(timer);
    if (opening.over) finish(true);
  };
  const give = (): void => clearTimeout(timer);
  // Nothing can be put back behind an end, and nothing more comes: it will never be a request.
  const leave = (): void => void socket.destroy();
  const ignore = (): void => {};
  socket.on('readable', look);
  socket.on('end', leave);
  socket.on('error', ignore);
  socket.on('close', give);
  socket.write(EMPTY_SETTINGS);
  look();
}

/** What has come so far, as Node is to see it. */
export class Opening {
  acknowledged = false;
  #requested = false;
  #givenUp = false;
  #taken: Buffer[] = [];
  #rest: Buffer = Buffer.alloc(0);
  #heldBytes = 0;
  #prefaceDone = false;

  /** Nothing more is to be looked at. */
  get over(): boolean {
    return this.#givenUp || (this.acknowledged && this.#requested);
  }

  /** Takes bytes in; the answers to pings among them. */
  push(chunk: Buffer): Buffer[] {
    this.#heldBytes += chunk.length;
    this.#rest = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    const pongs: Buffer[] = [];
    if (!this.#prefaceDone && this.#rest.length >= PREFACE_BYTES) {
      this.#prefaceDone = true;
      this.#take(PREFACE_BYTES);
    }
    while (this.#prefaceDone && !this.over) {
      const frame = this.#nextFrame();
      if (frame === undefined) break;
      const pong = this.#look(frame);
      if (pong !== undefined) pongs.push(pong);
    }
    if (this.#heldBytes > HELD_BYTES_MAX) this.#givenUp = true;
    return pongs;
  }

  /** Everything held. */
  bytes(): Buffer {
    return Buffer.concat([...this.#taken, this.#rest]);
  }

  /** A copy of the next whole frame, which stays where it is. */
  #nextFrame(): Buffer | undefined {
    if (this.#rest.length < FRAME_HEADER_BYTES) return undefined;
    const length = this.#rest.readUIntBE(0, 3);
    if (length > FRAME_BYTES_MAX) this.#givenUp = true;
    if (this.#rest.length < FRAME_HEADER_BYTES + length) return undefined;
    return Buffer.from(this.#rest.subarray(0, FRAME_HEADER_BYTES + length));
  }

  #take(length: number, instead?: Buffer): void {
    this.#taken.push(instead ?? this.#rest.subarray(0, length));
    this.#rest = this.#rest.subarray(length);
  }

  #look(frame: Buffer): Buffer | undefined {
    const [type, flags = 0] = [frame[3], frame[4]];
    const isAck = (flags & FLAG.ack) !== 0;
    if (type === TYPE.settings && isAck && !this.acknowledged) {
      this.acknowledged = true;
      this.#rest = this.#rest.subarray(frame.length);
    } else if (type === TYPE.ping && !isAck && !this.#requested) {
      this.#rest = this.#rest.subarray(frame.length);
      frame[4] = FLAG.ack;
      return frame;
    } else {
      if (type === TYPE.headers && !this.#requested) {
        this.#requested = true;
        mendAuthority(headerBlock(frame, flags));
      }
      this.#take(frame.length, frame);
    }
    return undefined;
  }
}

/** The field block in a HEADERS frame. */
function headerBlock(frame: Buffer, flags: number): Buffer {
  let start = FRAME_HEADER_BYTES;
  let end = frame.length;
  if ((flags & FLAG.padded) !== 0) end -= frame[start++] ?? 0;
  if ((flags & FLAG.priority) !== 0) start += 5;
  return frame.subarray(start, Math.max(start, end));
}

const SLASH = 0x2f;
const DASH = 0x2d;
/** `:authority` in the static table of HPACK (RFC 7541, appendix A). */
const AUTHORITY = 1;

/** Puts dashes for the slashes of the authority, in place; what cannot be read is left for Node to refuse. */
function mendAuthority(block: Buffer): void {
  const reader = new FieldReader(block);
  while (!reader.ended) {
    const first = block[reader.at] as number;
    if ((first & 0x80) !== 0) {
      reader.integer(7);
      continue;
    }
    if ((first & 0xe0) === 0x20) {
      reader.integer(5);
      continue;
    }
    const name = reader.integer((first & 0xc0) === 0x40 ? 6 : 4);
    if (name === 0) reader.string();
    const value = reader.string();
    if (name !== AUTHORITY) continue;
    if (value.huffman) mendHuffman(value.bytes);
    else for (const [i, byte] of value.bytes.entries()) if (byte === SLASH) value.bytes[i] = DASH;
    return;
  }
}

/** Walks over a field block. Past its end everything is empty. */
class FieldReader {
  at = 0;
  readonly #block: Buffer;

  constructor(block: Buffer) {
    this.#block = block;
  }

  get ended(): boolean {
    return this.at >= this.#block.length;
  }

  /** An integer with a prefix of so many bits (RFC 7541, section 5.1). */
  integer(prefixBits: number): number {
    const max = (1 << prefixBits) - 1;
    let value = (this.#block[this.at++] ?? 0) & max;
    if (value < max) return value;
    for (let shift = 0; shift < 28; shift += 7) {
      const byte = this.#block[this.at++] ?? 0;
      value += (byte & 0x7f) << shift;
      if ((byte & 0x80) === 0) break;
    }
    return value;
  }

  string(): { readonly huffman: boolean; readonly bytes: Buffer } {
    const huffman = ((this.#block[this.at] ?? 0) & 0x80) !== 0;
    const length = this.integer(7);
    const bytes = this.#block.subarray(this.at, this.at + length);
    this.at += length;
    return { huffman, bytes };
  }
}

/** Codes of each length lie beside each other: [length, the first that is too high] (RFC 7541, appendix B). */
const CODES = [
  [5, 0x0a],
  [6, 0x2e],
  [7, 0x7c],
  [8, 0xfe],
  [10, 0x3fd],
  [11, 0x7fd],
  [12, 0xffc],
  [13, 0x1ffe],
] as const;
/** The codes of slash and dash are of one length, so that nothing moves. */
const SLASH_CODE = 0x18;
const DASH_CODE = 0x16;
const SLASH_BITS = 6;

function mendHuffman(bytes: Buffer): void {
  let at = 0;
  for (;;) {
    const code = CODES.find(
      ([length, end]) => at + length <= bytes.length * 8 && bitsAt(bytes, at, length) < end,
    );
    // The padding, or a character that no host name has.
    if (code === undefined) return;
    const [length] = code;
    if (length === SLASH_BITS && bitsAt(bytes, at, length) === SLASH_CODE) {
      for (let i = 0; i < length; i++) setBit(bytes, at + i, (DASH_CODE >> (length - 1 - i)) & 1);
    }
    at += length;
  }
}

function bitsAt(bytes: Buffer, at: number, length: number): number {
  let value = 0;
  for (let i = at; i < at + length; i++)
    value = (value << 1) | (((bytes[i >> 3] as number) >> (7 - (i & 7))) & 1);
  return value;
}

function setBit(bytes: Buffer, at: number, bit: number): void {
  const mask = 1 << (7 - (at & 7));
  const byte = bytes[at >> 3] as number;
  bytes[at >> 3] = bit === 1 ? byte | mask : byte & ~mask;
}
