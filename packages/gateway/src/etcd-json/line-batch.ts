/**
 * Collects the lines of one turn of the event loop, so that each stream gets one write, and the streams that got the
 * same lines share the bytes of that write. Lines are told apart by identity.
 */
import type { Clock } from '@muster/base';

/** What a stream does with its collected bytes. */
export interface BatchedStream {
  flush(lines: LineNode): void;
  /** The end of what this stream has collected in this turn. */
  pending: LineNode | undefined;
}

/** A sequence of lines: those before it and one more. */
export class LineNode {
  readonly line: Buffer;
  readonly before: LineNode | undefined;
  /** Bytes of all the lines. */
  readonly length: number;
  readonly #next = new Map<Buffer, LineNode>();
  #lines: Buffer | undefined;
  #chunk: Buffer | undefined;

  constructor(before: LineNode | undefined, line: Buffer) {
    this.before = before;
    this.line = line;
    this.length = (before?.length ?? 0) + line.length;
  }

  followedBy(line: Buffer): LineNode {
    let next = this.#next.get(line);
    if (next === undefined) {
      next = new LineNode(this, line);
      this.#next.set(line, next);
    }
    return next;
  }

  /** The lines in one buffer. */
  get lines(): Buffer {
    this.#lines ??= this.before === undefined ? this.line : Buffer.concat(this.#collect(), this.length);
    return this.#lines;
  }

  /** The lines as one chunk of HTTP's chunked encoding. */
  get chunk(): Buffer {
    this.#chunk ??= Buffer.concat([
      Buffer.from(`${this.length.toString(16)}\r\n`, 'latin1'),
      ...this.#collect(),
      CRLF,
    ]);
    return this.#chunk;
  }

  #collect(): Buffer[] {
    const lines: Buffer[] = [];
    for (let node: LineNode | undefined = this; node !== undefined; node = node.before) lines.push(node.line);
    return lines.reverse();
  }
}

const CRLF = Buffer.from('\r\n', 'latin1');

export class LineBatch {
  readonly #clock: Clock;
  #streams: BatchedStream[] = [];
  readonly #first = new Map<Buffer, LineNode>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Adds a line to what `stream` gets at the end of the turn. */
  add(stream: BatchedStream, line: Buffer): void {
    if (stream.pending !== undefined) {
      stream.pending = stream.pending.followedBy(line);
      return;
    }
    let node = this.#first.get(line);
    if (node === undefined) {
      node = new LineNode(undefined, line);
      this.#first.set(line, node);
    }
    stream.pending = node;
    if (this.#streams.length === 0) this.#clock.defer(() => this.#flush());
    this.#streams.push(stream);
  }

  #flush(): void {
    const streams = this.#streams;
    this.#streams = [];
    this.#first.clear();
    for (const stream of streams) {
      const lines = stream.pending;
      stream.pending = undefined;
      if (lines !== undefined) stream.flush(lines);
    }
  }
}
