/**
 * What waits to be written to sockets, for one turn of the event loop or a few. Sockets that are to get the same pieces in the
 * same order share the bytes of one write: an event for a thousand sockets costs each of them a pointer now and its
 * share of one write later. Pieces are told apart by identity.
 */
import type { Writable } from 'node:stream';
import type { Clock } from '@muster/base';
import { type Framing, unframed } from './framing.ts';

/** A sequence of pieces. Sequences with the same beginning share it. */
class Run {
  readonly size: number;
  readonly #before: Run | undefined;
  readonly #piece: Buffer | undefined;
  /** Most runs are continued by one piece only. */
  #nextPiece: Buffer | undefined;
  #next: Run | undefined;
  #others: Map<Buffer, Run> | undefined;
  #bytes: Buffer | undefined;

  constructor(before?: Run, piece?: Buffer) {
    this.#before = before;
    this.#piece = piece;
    this.size = (before?.size ?? 0) + (piece?.length ?? 0);
  }

  with(piece: Buffer): Run {
    if (this.#nextPiece === piece) return this.#next as Run;
    if (!this.#nextPiece) {
      this.#nextPiece = piece;
      this.#next = new Run(this, piece);
      return this.#next;
    }
    this.#others ??= new Map();
    let next = this.#others.get(piece);
    if (!next) this.#others.set(piece, (next = new Run(this, piece)));
    return next;
  }

  /** All of it in one buffer, put together once. All callers give the same framing. */
  bytes(framing: Framing): Buffer {
    if (!this.#bytes) {
      const pieces: Buffer[] = [];
      for (let run: Run | undefined = this; run !== undefined; run = run.#before) {
        if (run.#piece) pieces.push(run.#piece);
      }
      this.#bytes = framing(pieces.reverse(), this.size);
    }
    return this.#bytes;
  }
}

/** Milliseconds, at most, that a flush keeps the next one waiting. */
const PAUSE_MS_MAX = 5;
/** Timers do not know shorter times. */
const PAUSE_MS_MIN = 1;

/**
 * The outboxes of all sockets of one kind, flushed together. A flush that took long is followed by a pause of the same
 * length: writing, whose cost is mostly per write, leaves half of the time to all else, and more goes into the next one.
 */
export class Outboxes {
  readonly #clock: Clock;
  /** @internal */
  readonly framing: Framing;
  #root = new Run();
  #waiting: Outbox[] = [];
  #pausedUntilMs = 0;

  constructor(clock: Clock, framing: Framing = unframed) {
    this.#clock = clock;
    this.framing = framing;
  }

  /** @internal */
  get root(): Run {
    return this.#root;
  }

  /** @internal */
  enlist(outbox: Outbox): void {
    if (this.#waiting.push(outbox) > 1) return;
    const pauseMs = this.#pausedUntilMs - this.#clock.nowMs();
    if (pauseMs < PAUSE_MS_MIN) this.#clock.defer(() => this.#flush());
    else this.#clock.schedule(pauseMs, () => this.#flush());
  }

  #flush(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    this.#root = new Run();
    const startMs = this.#clock.nowMs();
    for (const outbox of waiting) outbox.flush();
    const endMs = this.#clock.nowMs();
    this.#pausedUntilMs = endMs + Math.min(endMs - startMs, PAUSE_MS_MAX);
  }
}

type OutboxOptions = {
  /** From this many bytes on there is no room; not less than what `target` itself holds before it says "full". */
  readonly limitBytes: number;
  /** Called when there is room again after `hasRoom` was false, and never from inside a push. */
  readonly onRoom: () => void;
  /** False when `target` may be written to and yet must not be: a WebSocket that has sent its close frame. */
  readonly isOpen?: () => boolean;
};

/** What one socket is to get with the next flush: control frames first, then the pieces in order. */
export class Outbox {
  readonly #shared: Outboxes;
  readonly #target: Writable;
  readonly #options: OutboxOptions;
  readonly #limitBytes: number;
  #control: Buffer[] = [];
  #controlBytes = 0;
  #run: Run | undefined;
  #listed = false;
  /** Somebody was told that there is no room. */
  #refused = false;
  #awaitsDrain = false;

  /** Others may write whole frames of their own to `target`. */
  constructor(shared: Outboxes, target: Writable, options: OutboxOptions) {
    this.#shared = shared;
    this.#target = target;
    this.#options = options;
    this.#limitBytes = Math.max(options.limitBytes, target.writableHighWaterMark);
  }

  /** False from the limit on, until what waits has gone out. */
  get hasRoom(): boolean {
    if (this.bufferedBytes < this.#limitBytes) return true;
    this.#refused = true;
    // A flush to come looks for room itself.
    if (!this.#listed) this.#awaitDrain();
    return false;
  }

  /** Bytes that wait here and in the target; those here without their framing. */
  get bufferedBytes(): number {
    return this.#target.writableLength + this.#controlBytes + (this.#run?.size ?? 0);
  }

  push(piece: Buffer): void {
    this.#run = (this.#run ?? this.#shared.root).with(piece);
    this.#enlist();
  }

  /** Overtakes what was pushed. The frame is whole: it goes out as it is. */
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
      const bytes = unframed(control, this.#controlBytes);
      this.#control = [];
      this.#controlBytes = 0;
      if (this.#isOpen()) this.#target.write(bytes);
    }
    if (run && this.#isOpen()) this.#target.write(run.bytes(this.#shared.framing));
    this.#maybeRoom();
  }

  #isOpen(): boolean {
    const target = this.#target;
    return target.writable && !target.destroyed && (this.#options.isOpen?.() ?? true);
  }

  #maybeRoom(): void {
    if (!this.#refused) return;
    // A write that the kernel took whole is followed by no drain.
    if (this.#target.writableNeedDrain) {
      this.#awaitDrain();
      return;
    }
    if (this.bufferedBytes >= this.#limitBytes) return;
    this.#refused = false;
    this.#options.onRoom();
  }

  /** Listens no longer than needed: the target may outlive what this is for. */
  #awaitDrain(): void {
    if (this.#awaitsDrain) return;
    this.#awaitsDrain = true;
    this.#target.once('drain', () => {
      this.#awaitsDrain = false;
      this.#maybeRoom();
    });
  }

  #enlist(): void {
    if (this.#listed) return;
    this.#listed = true;
    this.#shared.enlist(this);
  }
}
