import type { Clock } from '@muster/base';
import { type ErrorCode, KvError } from '@muster/contract';
import { type ApplyOutcome, type Command, encodeCommand, type Origin } from '@muster/kv';
import type { ConfChangeResult, ConfChangeStep, ProposalRefusal, RaftNode } from '@muster/raft';
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
  readonly #beforeChange: (steps: readonly ConfChangeStep[]) => void;
  #queue: PendingWrite[] = [];
  #unsent: PendingWrite[] = [];
  #sequence: number;
  #context: number;
  failed = 0;

  /** `firstSequence` is random, so that what an earlier life of this member proposed is not taken for ours. It is never 0. */
  constructor(options: {
    readonly raft: RaftNode;
    readonly clock: Clock;
    readonly limits: MemberLimits;
    readonly firstSequence: number;
    /** Told of a change of raft's configuration right before it is proposed. */
    readonly beforeChange: (steps: readonly ConfChangeStep[]) => void;
  }) {
    this.#raft = options.raft;
    this.#clock = options.clock;
    this.#limits = options.limits;
    this.#pending = new PendingWrites(options.limits);
    this.#beforeChange = options.beforeChange;
    this.#sequence = options.firstSequence;
    this.#context = options.firstSequence;
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
   * what the leader of that term concluded (a lease is over): no other leader may be handed it. With `steps` it goes
   * with a change of raft's configuration, one of which can be under way: it waits for others.
   */
  submit(
    command: Command,
    timeoutMs: number,
    refusal: KvError | undefined,
    done: WriteDone,
    special: {
      readonly onlyInTerm?: number;
      readonly steps?: readonly ConfChangeStep[];
      /** In whose name; the servers' own when left out. */
      readonly origin?: Origin;
    } = {},
  ): boolean {
    const sequence = ++this.#sequence;
    const origin = special.origin ?? 'internal';
    const data = encodeCommand({ member: this.#raft.id, sequence }, command, origin);
    const error = refusal ?? this.#refusal(data.length);
    if (error) {
      this.failed++;
      done(undefined, error);
      return false;
    }
    const deadlineMs = this.#clock.nowMs() + timeoutMs;
    const { onlyInTerm, steps } = special;
    const fresh = { proposedInTerm: 0, proposedAs: 0, sawLeaderLoss: false };
    const write: PendingWrite = { sequence, data, deadlineMs, done, onlyInTerm, steps, ...fresh };
    this.#pending.add(write);
    this.#queue.push(write);
    return true;
  }

  /** Hands raft all that waits; what it cannot take now (no leader, a transfer) stays queued. */
  proposeQueued(): void {
    while (this.#queue.length > 0) {
      const { batch, taken } = this.#nextBatch();
      if (batch.length > 0) {
        const context = ++this.#context;
        const result = this.#hand(batch, context);
        if (result.accepted) {
          for (const write of batch) {
            write.proposedInTerm = this.#raft.term;
            write.proposedAs = context;
          }
        } else if (result.reason === 'noLeader' || result.reason === 'transferring') {
          return;
        } else {
          this.#refused(batch, result.reason);
        }
      }
      this.#queue.splice(0, taken);
    }
  }

  /** A membership change travels alone. */
  #hand(batch: readonly PendingWrite[], context: number): ConfChangeResult {
    const [first] = batch;
    if (first?.steps) this.#beforeChange(first.steps);
    if (first?.steps)
      return this.#raft.proposeConfChange({ steps: first.steps, context: first.data }, context);
    return this.#raft.propose(
      batch.map((write) => write.data),
      context,
    );
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
  onUnsent(context: number): void {
    this.#postpone(this.#pending.proposedAs(context));
  }

  /** Whom a proposal was forwarded to did not take it. It was delivered at most once, so it may go again. */
  onRefused(context: number, reason: ProposalRefusal): void {
    this.#refused(this.#pending.proposedAs(context), reason);
  }

  #refused(writes: readonly PendingWrite[], reason: ProposalRefusal): void {
    if (reason === 'overloaded') this.#fail(writes, 'TOO_MANY_REQUESTS');
    // The members' table says what exactly does not fit, where it can: it is asked when a change is applied.
    else if (reason === 'invalidConfChange') this.#fail(writes, 'UNHEALTHY_CLUSTER');
    else this.#postpone(writes);
  }

  #postpone(writes: readonly PendingWrite[]): void {
    for (const write of writes) {
      write.proposedInTerm = 0;
      write.proposedAs = 0;
      this.#unsent.push(write);
    }
  }

  /** At the next tick, or when the leader or the members changed: at once would be in vain. */
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
      if (batch.length > 0 && (write.steps || batch[0]?.steps)) break;
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

  #fail(batch: readonly PendingWrite[], code: ErrorCode): void {
    for (const write of batch) {
      this.failed++;
      this.#pending.take(write.sequence)?.done(undefined, new KvError(code));
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
    write.proposedAs = 0;
    this.#queue.push(write);
  }

  #refusal(bytes: number): KvError | undefined {
    if (bytes > this.#limits.requestBytesMax) return new KvError('REQUEST_TOO_LARGE');
    if (this.#pending.full(bytes)) return new KvError('TOO_MANY_REQUESTS');
    return undefined;
  }
}
