import { KvError } from '@muster/contract';
import type { ApplyOutcome } from '@muster/kv';
import type { ConfChangeStep } from '@muster/raft';

/** A request of this member that waits for its own apply. */
export type PendingWrite = {
  readonly sequence: number;
  readonly data: Uint8Array;
  /** Of a membership change: `data` is its context. */
  readonly steps: readonly ConfChangeStep[] | undefined;
  /** In the clock's monotonic milliseconds. */
  readonly deadlineMs: number;
  readonly done: (outcome: ApplyOutcome | undefined, error: KvError | undefined) => void;
  /** Means something only while this member leads in that term; it is never proposed in another. */
  readonly onlyInTerm: number | undefined;
  /**
   * The term it was last proposed in; 0 while it waits for a leader. Once an entry of a later term is applied here
   * and this request was not, it never will be: the entries of older terms all come before (log matching), and a
   * forwarded proposal counts only in the term it names. It may then be proposed again without being applied twice.
   */
  proposedInTerm: number;
  /** Names the message that it was forwarded in, if it was; unlike any other. */
  proposedAs: number;
  /** A leader was lost while it waited: told apart in the text of the time-out. */
  sawLeaderLoss: boolean;
};

/** Requests by sequence, with deadlines. Bounded by count and bytes; the caller checks `full` before `add`. */
export class PendingWrites {
  readonly #bySequence = new Map<number, PendingWrite>();
  readonly #countMax: number;
  readonly #bytesMax: number;
  #bytes = 0;

  constructor(limits: { readonly pendingMax: number; readonly pendingBytesMax: number }) {
    this.#countMax = limits.pendingMax;
    this.#bytesMax = limits.pendingBytesMax;
  }

  get size(): number {
    return this.#bySequence.size;
  }

  full(extraBytes: number): boolean {
    return this.#bySequence.size >= this.#countMax || this.#bytes + extraBytes > this.#bytesMax;
  }

  add(write: PendingWrite): void {
    this.#bySequence.set(write.sequence, write);
    this.#bytes += write.data.length;
  }

  has(sequence: number): boolean {
    return this.#bySequence.has(sequence);
  }

  /** Removes and returns it, so that it completes once. */
  take(sequence: number): PendingWrite | undefined {
    const write = this.#bySequence.get(sequence);
    if (write) {
      this.#bySequence.delete(sequence);
      this.#bytes -= write.data.length;
    }
    return write;
  }

  noteLeaderLoss(): void {
    for (const write of this.#bySequence.values()) write.sawLeaderLoss = true;
  }

  /** What a snapshot may or may not hold must not be proposed again: only its deadline ends it. */
  forbidRetry(): void {
    for (const write of this.#bySequence.values()) {
      if (write.proposedInTerm > 0) write.proposedInTerm = Number.POSITIVE_INFINITY;
    }
  }

  /** Those that can no longer be committed now that an entry of `term` is applied, oldest first. */
  lostBefore(term: number): PendingWrite[] {
    const lost: PendingWrite[] = [];
    for (const write of this.#bySequence.values()) {
      if (write.proposedInTerm > 0 && write.proposedInTerm < term) lost.push(write);
    }
    return lost;
  }

  /** Fails those whose deadline has passed; returns how many. */
  expire(nowMs: number): number {
    let count = 0;
    for (const write of this.#bySequence.values()) {
      if (write.deadlineMs > nowMs) continue;
      this.take(write.sequence);
      count++;
      write.done(undefined, new KvError(write.sawLeaderLoss ? 'TIMEOUT_LEADER_FAILURE' : 'TIMEOUT'));
    }
    return count;
  }

  /** Those that were forwarded under this name last. */
  proposedAs(context: number): PendingWrite[] {
    return [...this.#bySequence.values()].filter((write) => write.proposedAs === context);
  }

  failAll(error: KvError): void {
    for (const write of [...this.#bySequence.values()]) {
      this.take(write.sequence);
      write.done(undefined, error);
    }
  }
}
