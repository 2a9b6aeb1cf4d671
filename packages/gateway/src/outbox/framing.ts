/** How pieces become the bytes of one write. */

export type Framing = (pieces: readonly Buffer[], size: number) => Buffer;

/** The pieces as they are; one alone is not copied. */
export function unframed(pieces: readonly Buffer[], size: number): Buffer {
  return pieces.length === 1 ? (pieces[0] as Buffer) : Buffer.concat(pieces, size);
}

const CRLF = Buffer.from('\r\n', 'latin1');

/** The pieces together as one chunk of HTTP's chunked encoding (RFC 9112 section 7.1). */
export function httpChunk(pieces: readonly Buffer[], size: number): Buffer {
  return Buffer.concat([Buffer.from(`${size.toString(16)}\r\n`, 'latin1'), ...pieces, CRLF]);
}

/** Each line as a text frame of its own, without its newline. */
export function lineFrames(lines: readonly Buffer[], size: number): Buffer {
  const frames = Buffer.allocUnsafe(size + lines.length * HEAD_BYTES_MAX);
  let at = 0;
  for (const line of lines) {
    const length = line.length - 1;
    at += writeHead(frames, at, length);
    at += line.copy(frames, at, 0, length);
  }
  return frames.subarray(0, at);
}

/** A whole, unmasked WebSocket text frame (RFC 6455 section 5.2), as servers send it. */
export function textFrame(text: string): Buffer {
  const length = Buffer.byteLength(text);
  const head = headBytes(length);
  const frame = Buffer.allocUnsafe(head + length);
  writeHead(frame, 0, length);
  frame.write(text, head);
  return frame;
}

const TEXT_FRAME = 0x81;
const HEAD_BYTES_MAX = 10;

function headBytes(length: number): number {
  if (length < 126) return 2;
  return length < 0x1_0000 ? 4 : HEAD_BYTES_MAX;
}

/** Writes the head of a text frame and returns its size. */
function writeHead(into: Buffer, at: number, length: number): number {
  const head = headBytes(length);
  into[at] = TEXT_FRAME;
  if (head === 2) {
    into[at + 1] = length;
  } else if (head === 4) {
    into[at + 1] = 126;
    into.writeUInt16BE(length, at + 2);
  } else {
    into[at + 1] = 127;
    into.writeBigUInt64BE(BigInt(length), at + 2);
  }
  return head;
}
