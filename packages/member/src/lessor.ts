import { assert, type Clock } from '@muster/base';
import { KvError } from '@muster/contract';
import type { Command, LeaseTable } from '@muster/kv';
import type { MemberLimits } from './limits.ts';

type Deadline = {
  expiresMs: number;
  checkpointDueMs: number;
  /** A checkpoint of less than the full time was proposed since the last renewal, applied or not. */
  checkpointed: boolean;
  /** Renewals that take a checkpoint back first and have not got that into the log yet. */
  renewing: number;
  /** A revoke is on its way: the lease is over. */
  revoking: boolean;
};

/**
 * Time for leases, on the leader only. Followers and the applied state know no clock: an expiry enters the log as a
 * revoke. A new leader gives every lease its remaining (checkpointed) or full time plus one election timeout, so
 * that no lease ends early because of a leader change (etcd does the same). `propose` must be bound to this leadership:
 * what a deposed leader concluded about time must never reach the log through another one.
 */
export class Lessor {
  readonly #clock: Clock;
  readonly #leases: () => LeaseTable;
  readonly #propose: (command: Command, done: (error: KvError | undefined) => void) => void;
  readonly #limits: MemberLimits;
  readonly #extensionMs: number;
  readonly #deadlines = new Map<bigint, Deadline>();
  #primary = false;
  #revokeBudget = 0;
  #checkpointing = false;
  expiredTotal = 0;
  renewedTotal = 0;

  constructor(options: {
    readonly clock: Clock;
    readonly leases: () => LeaseTable;
    readonly propose: (command: Command, done: (error: KvError | undefined) => void) => void;
    readonly limits: MemberLimits;
    readonly electionTimeoutMs: number;
  }) {
    this.#clock = options.clock;
    this.#leases = options.leases;
    this.#propose = options.propose;
    this.#limits = options.limits;
    this.#extensionMs = options.electionTimeoutMs;
  }

  get primary(): boolean {
    return this.#primary;
  }

  /** This member leads and has applied an entry of its own term: the lease table is the current one. */
  promote(): void {
    this.#primary = true;
    this.#deadlines.clear();
    const now = this.#clock.nowMs();
    for (const lease of this.#leases().list()) {
      const seconds = lease.remainingTtlSeconds > 0 ? lease.remainingTtlSeconds : lease.ttlSeconds;
      this.#deadlines.set(lease.id, this.#deadline(now, seconds * 1000 + this.#extensionMs));
    }
  }

  demote(): void {
    this.#primary = false;
    this.#deadlines.clear();
  }

  /** Keeps the deadlines in step with what was applied. */
  onGranted(id: bigint, ttlSeconds: number): void {
    if (this.#primary) this.#deadlines.set(id, this.#deadline(this.#clock.nowMs(), ttlSeconds * 1000));
  }

  onRevoked(id: bigint): void {
    this.#deadlines.delete(id);
  }

  /**
   * Restarts a lease's time; answers its granted seconds, or 0 when it is unknown or over. The caller has confirmed
   * leadership. A checkpoint of less time is taken back first: a next leader must not go by it.
   */
  renew(id: bigint, done: (ttlSeconds: number, error: KvError | undefined) => void): void {
    assert(this.#primary, 'only the leader renews leases');
    const lease = this.#leases().get(id);
    const deadline = this.#deadlines.get(id);
    const now = this.#clock.nowMs();
    if (!lease || !deadline || deadline.revoking || deadline.expiresMs <= now) return done(0, undefined);
    const finish = () => {
      const current = this.#deadlines.get(id);
      if (!this.#primary) return done(0, new KvError('LEADER_CHANGED'));
      if (!current || current.revoking) return done(0, undefined);
      this.#deadlines.set(id, this.#deadline(this.#clock.nowMs(), lease.ttlSeconds * 1000));
      this.renewedTotal++;
      done(lease.ttlSeconds, undefined);
    };
    if (lease.remainingTtlSeconds === 0 && !deadline.checkpointed) return finish();
    const command: Command = { type: 'leaseCheckpoint', checkpoints: [{ id, remainingTtlSeconds: 0 }] };
    // Until it is applied no further checkpoint may be made: that one would come behind it.
    deadline.renewing++;
    this.#propose(command, (error) => {
      deadline.renewing--;
      if (error) done(0, error);
      else finish();
    });
  }

  /** Whole seconds left, floored; -1 when unknown. */
  remainingSeconds(id: bigint): number {
    const deadline = this.#deadlines.get(id);
    if (!deadline) return -1;
    return Math.max(0, Math.floor((deadline.expiresMs - this.#clock.nowMs()) / 1000));
  }

  /** Ids by time of expiry, soonest first. */
  byExpiry(): bigint[] {
    return [...this.#deadlines].sort((a, b) => a[1].expiresMs - b[1].expiresMs).map(([id]) => id);
  }

  /** Proposes what has fallen due. `sinceLastMs` feeds the revoke budget. */
  tick(sinceLastMs: number): void {
    if (!this.#primary) return;
    const max = this.#limits.leaseRevokesPerSecondMax;
    this.#revokeBudget = Math.min(max, this.#revokeBudget + (max * sinceLastMs) / 1000);
    const now = this.#clock.nowMs();
    const checkpoints: { id: bigint; remainingTtlSeconds: number }[] = [];
    for (const [id, deadline] of this.#deadlines) {
      if (deadline.revoking) continue;
      if (deadline.expiresMs <= now) {
        if (this.#revokeBudget >= 1) this.#expire(id, deadline);
      } else if (
        deadline.checkpointDueMs <= now &&
        deadline.renewing === 0 &&
        checkpoints.length < this.#limits.leaseCheckpointBatchMax
      ) {
        const remaining = Math.ceil((deadline.expiresMs - now) / 1000);
        checkpoints.push({ id, remainingTtlSeconds: remaining });
      }
    }
    if (checkpoints.length > 0 && !this.#checkpointing) this.#checkpoint(checkpoints, now);
  }

  #expire(id: bigint, deadline: Deadline): void {
    this.#revokeBudget--;
    this.expiredTotal++;
    deadline.revoking = true;
    this.#propose({ type: 'leaseRevoke', id }, (error) => {
      // Whatever went wrong, the lease is over: it is proposed again unless it is gone.
      if (error && error.code !== 'LEASE_NOT_FOUND' && this.#deadlines.get(id) === deadline) {
        deadline.revoking = false;
      }
    });
  }

  #checkpoint(checkpoints: { id: bigint; remainingTtlSeconds: number }[], now: number): void {
    this.#checkpointing = true;
    for (const { id } of checkpoints) {
      const deadline = this.#deadlines.get(id);
      if (!deadline) continue;
      deadline.checkpointDueMs = now + this.#limits.leaseCheckpointMs;
      deadline.checkpointed = true;
    }
    this.#propose({ type: 'leaseCheckpoint', checkpoints }, () => {
      this.#checkpointing = false;
    });
  }

  #deadline(now: number, forMs: number): Deadline {
    const checkpointDueMs = now + this.#limits.leaseCheckpointMs;
    return { expiresMs: now + forMs, checkpointDueMs, checkpointed: false, renewing: 0, revoking: false };
  }
}
