import type { Clock } from '@muster/base';
import { KvError } from '@muster/contract';
import { type ApplyOutcome, type Command, encodeCommand } from '@muster/kv';
import type { RaftNode } from '@muster/raft';
import type { MemberLimits } from './limits.ts';
import { type PendingWrite, PendingWrites } from './pending.ts';

export type WriteDone = (outcome: ApplyOutcome | undefined, error: KvError | undefined) => void;

/**
 * From a command to its outcome: stamps an id, queues, proposes all that waits in one call, and completes it when
 * this member applies it. What a leader change swallowed is proposed again, under the same id, once it is certain
 * that the first proposal never will be applied.
 */
export class Proposer {
  readonly #raft: RaftNode;
  readonly #clock: Clock;
  readonly #limits: MemberLimits;
  readonly #pending: PendingWrites;
  #queue: PendingWrite[] = [];
  #unsent: PendingWrite[] = [];
  #sequence: number;
  failed = 0;

  /** `firstSequence` is random, so that what an earlier life of this member proposed is not taken for ours. */
  constructor(options: {
    readonly raft: RaftNode;
    readonly clock: Clock;
    readonly limits: MemberLimits;
    readonly firstSequence: number;
  }) {
    this.#raft = options.raft;
    this.#clock = options.clock;
    this.#limits = options.limits;
    this.#pending = new PendingWrites(options.limits);
    this.#sequence = options.firstSequence;
  }

  /** Writes that wait to be proposed. */
  get queued(): number {
    return this.#queue.length + this.#unsent.length;
  }

  get pending(): number {
    return this.#pending.size;
  }

  /**
   * Queues a command, or completes it with the refusal at once. True when it was queued. One with `onlyInTerm` is
   * what the leader of that term concluded (a lease is over): no other leader may be handed it.
   */
  submit(
    command: Command,
    timeoutMs: number,
    refusal: KvError | undefined,
    done: WriteDone,
    onlyInTerm?: number,
  ): boolean {
    const sequence = ++this.#sequence;
    const data = encodeCommand({ member: this.#raft.id, sequence }, command);
    const error = refusal ?? this.#refusal(data.length);
    if (error) {
      this.failed++;
      done(undefined, error);
      return false;
    }
    const deadlineMs = this.#clock.nowMs() + timeoutMs;
    const write = { sequence, data, deadlineMs, done, onlyInTerm, proposedInTerm: 0, sawLeaderLoss: false };
    this.#pending.add(write);
    this.#queue.push(write);
    return true;
  }

  /** Hands raft all that waits; what it cannot take now (no leader, a transfer) stays queued. */
  proposeQueued(): void {
    while (this.#queue.length > 0) {
      const { batch, taken } = this.#nextBatch();
      if (batch.length > 0) {
        const result = this.#raft.propose(batch.map((write) => write.data));
        if (!result.accepted && result.reason !== 'overloaded') return;
        if (!result.accepted) this.#refuse(batch);
        for (const write of batch) write.proposedInTerm = this.#raft.term;
      }
      this.#queue.splice(0, taken);
    }
  }

  /** An own command was applied. */
  complete(sequence: number, outcome: ApplyOutcome): void {
    this.#pending.take(sequence)?.done(outcome, undefined);
  }

  /** The first entry of `term` was applied: what was proposed before and is still pending never will be. */
  onNewTerm(term: number): void {
    for (const write of this.#pending.lostBefore(term)) this.#requeue(write);
  }

  /** A forwarded proposal never left this member: it waits for `retryUnsent`. */
  onUnsent(entries: readonly { readonly data: Uint8Array }[]): void {
    for (const write of this.#pending.withData(entries)) {
      write.proposedInTerm = 0;
      this.#unsent.push(write);
    }
  }

  /** At the next tick or with another leader, not at once: the way to the leader is closed or full. */
  retryUnsent(): void {
    if (this.#unsent.length === 0) return;
    this.#queue.push(...this.#unsent);
    this.#unsent = [];
  }

  noteLeaderLoss(): void {
    this.#pending.noteLeaderLoss();
  }

  /** A snapshot may hold what is pending: only the deadline ends those. */
  forbidRetry(): void {
    this.#pending.forbidRetry();
  }

  expire(nowMs: number): void {
    const expired = this.#pending.expire(nowMs);
    if (expired === 0) return;
    this.failed += expired;
    // Without a leader nothing else takes them off: their bytes would pile up for as long as that lasts.
    const alive = (write: PendingWrite) => this.#pending.has(write.sequence);
    this.#queue = this.#queue.filter(alive);
    this.#unsent = this.#unsent.filter(alive);
  }

  failAll(error: KvError): void {
    this.#queue = [];
    this.#unsent = [];
    this.#pending.failAll(error);
  }

  #nextBatch(): { batch: PendingWrite[]; taken: number } {
    const batch: PendingWrite[] = [];
    let bytes = 0;
    let taken = 0;
    for (const write of this.#queue) {
      if (batch.length === this.#limits.proposalBatchMax) break;
      if (bytes > 0 && bytes + write.data.length > this.#limits.proposalBatchBytesMax) break;
      taken++;
      if (!this.#pending.has(write.sequence)) continue;
      if (this.#outlived(write)) {
        this.#drop(write);
        continue;
      }
      batch.push(write);
      bytes += write.data.length;
    }
    return { batch, taken };
  }

  #refuse(batch: readonly PendingWrite[]): void {
    for (const write of batch) {
      this.failed++;
      this.#pending.take(write.sequence)?.done(undefined, new KvError('TOO_MANY_REQUESTS'));
    }
  }

  #outlived({ onlyInTerm }: PendingWrite): boolean {
    return onlyInTerm !== undefined && (this.#raft.role !== 'leader' || this.#raft.term !== onlyInTerm);
  }

  #drop(write: PendingWrite): void {
    this.#pending.take(write.sequence)?.done(undefined, new KvError('LEADER_CHANGED'));
  }

  #requeue(write: PendingWrite): void {
    if (this.#outlived(write)) return this.#drop(write);
    write.proposedInTerm = 0;
    this.#queue.push(write);
  }

  #refusal(bytes: number): KvError | undefined {
    if (bytes > this.#limits.requestBytesMax) return new KvError('REQUEST_TOO_LARGE');
    if (this.#pending.full(bytes)) return new KvError('TOO_MANY_REQUESTS');
    return undefined;
  }
}
