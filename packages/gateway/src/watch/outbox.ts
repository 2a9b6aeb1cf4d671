/**
 * What waits to be written to sockets, for one turn of the event loop. Sockets that are to get the same frames in the
 * same order share one buffer of them: an event for a thousand sockets costs each of them a pointer now and its share
 * of one write at the end of the turn.
 */
import type { Duplex } from 'node:stream';
import type { Clock } from '@muster/base';

/** A sequence of frames. Sequences with the same beginning share it. */
class Run {
  readonly size: number;
  readonly #before: Run | undefined;
  readonly #frame: Buffer | undefined;
  /** Most runs are continued by one frame only. */
  #nextFrame: Buffer | undefined;
  #next: Run | undefined;
  #others: Map<Buffer, Run> | undefined;
  #bytes: Buffer | undefined;

  constructor(before?: Run, frame?: Buffer) {
    this.#before = before;
    this.#frame = frame;
    this.size = (before?.size ?? 0) + (frame?.length ?? 0);
  }

  with(frame: Buffer): Run {
    if (this.#nextFrame === frame) return this.#next as Run;
    if (!this.#nextFrame) {
      this.#nextFrame = frame;
      this.#next = new Run(this, frame);
      return this.#next;
    }
    this.#others ??= new Map();
    let next = this.#others.get(frame);
    if (!next) this.#others.set(frame, (next = new Run(this, frame)));
    return next;
  }

  /** All of it in one buffer, put together once. */
  bytes(): Buffer {
    if (!this.#bytes) {
      const frames: Buffer[] = [];
      for (let run: Run | undefined = this; run !== undefined; run = run.#before) {
        if (run.#frame) frames.push(run.#frame);
      }
      this.#bytes = frames.length === 1 ? (frames[0] as Buffer) : Buffer.concat(frames.reverse(), this.size);
    }
    return this.#bytes;
  }
}

/** The outboxes of all sockets, flushed together. */
export class Outboxes {
  readonly #clock: Clock;
  #root = new Run();
  #waiting: SocketOutbox[] = [];

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** @internal */
  get root(): Run {
    return this.#root;
  }

  /** @internal */
  enlist(outbox: SocketOutbox): void {
    if (this.#waiting.push(outbox) === 1) this.#clock.defer(() => this.#flush());
  }

  #flush(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    this.#root = new Run();
    for (const outbox of waiting) outbox.flush();
  }
}

/** What one socket is to get at the end of the turn: control frames first, then the others in order. */
export class SocketOutbox {
  readonly #shared: Outboxes;
  readonly #socket: Duplex;
  #control: Buffer[] = [];
  #controlBytes = 0;
  #run: Run | undefined;
  #listed = false;
  readonly #limitBytes: number;
  readonly #onRoom: () => void;
  /** Somebody was told that there is no room. */
  #refused = false;

  /** `onRoom` is called when there is room again after `hasRoom` was false, and never from inside a push. */
  constructor(shared: Outboxes, socket: Duplex, limitBytes: number, onRoom: () => void) {
    this.#shared = shared;
    this.#socket = socket;
    this.#limitBytes = limitBytes;
    this.#onRoom = onRoom;
    socket.on('drain', () => this.#maybeRoom());
  }

  /** False from `limitBytes` on, until what waits has gone out. */
  get hasRoom(): boolean {
    if (this.bufferedBytes < this.#limitBytes) return true;
    this.#refused = true;
    return false;
  }

  /** Bytes that wait here and in the socket. */
  get bufferedBytes(): number {
    return this.#socket.writableLength + this.#controlBytes + (this.#run?.size ?? 0);
  }

  push(frame: Buffer): void {
    this.#run = (this.#run ?? this.#shared.root).with(frame);
    this.#enlist();
  }

  pushControl(frame: Buffer): void {
    this.#control.push(frame);
    this.#controlBytes += frame.length;
    this.#enlist();
  }

  /** Writes what waits, now. */
  flush(): void {
    this.#listed = false;
    const control = this.#control;
    const run = this.#run;
    this.#run = undefined;
    if (control.length > 0) {
      this.#control = [];
      this.#controlBytes = 0;
      if (this.#socket.writable)
        this.#socket.write(control.length === 1 ? control[0] : Buffer.concat(control));
    }
    if (run && this.#socket.writable) this.#socket.write(run.bytes());
    // A write that the kernel took whole is followed by no drain.
    this.#maybeRoom();
  }

  #maybeRoom(): void {
    if (!this.#refused || this.#socket.writableNeedDrain || this.bufferedBytes >= this.#limitBytes) return;
    this.#refused = false;
    this.#onRoom();
  }

  #enlist(): void {
    if (this.#listed) return;
    this.#listed = true;
    this.#shared.enlist(this);
  }
}

const TEXT_FRAME = 0x81;

/** A whole, unmasked WebSocket text frame (RFC 6455 section 5.2), as servers send it. */
export function textFrame(text: string): Buffer {
  const length = Buffer.byteLength(text);
  const head = length < 126 ? 2 : length < 0x1_0000 ? 4 : 10;
  const frame = Buffer.allocUnsafe(head + length);
  frame[0] = TEXT_FRAME;
  if (head === 2) {
    frame[1] = length;
  } else if (head === 4) {
    frame[1] = 126;
    frame.writeUInt16BE(length, 2);
  } else {
    frame[1] = 127;
    frame.writeBigUInt64BE(BigInt(length), 2);
  }
  frame.write(text, head);
  return frame;
}
