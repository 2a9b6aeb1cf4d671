import { backoffDelayMs, type Clock, type Prng, type Timer } from '@muster/base';
import type { KeepAliveResult } from '@muster/contract';
import { type Caller, jsonOf } from './caller.ts';
import type { LeaseSession, LossReason } from './lease-session.ts';
import { KEEPALIVE_BACKOFF, KEEPALIVE_IDS_MAX } from './limits.ts';
import type { Logger } from './status.ts';

export type KeptLease = {
  /** 16 hex digits. */
  readonly id: string;
  readonly session: LeaseSession;
  /** Once, when it is lost; not when it was taken out with `remove`. */
  onLost(reason: LossReason): void;
};

type LeaseKeeperOptions = {
  readonly caller: Caller;
  readonly clock: Clock;
  readonly prng: Prng;
  readonly logger: Logger;
};

/** Leases due within this part of their ttl are renewed along with the first, so that they fall into step. */
const TOGETHER = 1 / 6;
/** One request for renewal may take this part of the shortest ttl in it. */
const ATTEMPT_PART = 1 / 4;

/**
 * Renews all leases of a client together, in one request at a time. It also notices when the process stood still: a
 * timer that comes late, or a wall clock that ran on while the monotonic one was suspended, counts as time passed.
 */
export class LeaseKeeper {
  readonly #options: LeaseKeeperOptions;
  readonly #leases = new Map<string, KeptLease>();
  #timer: Timer | undefined;
  #dueAtMs = Number.POSITIVE_INFINITY;
  #renewing = false;
  #failures = 0;
  #notBeforeMs = 0;
  /** Wall minus monotonic time when last looked at. */
  #wallOffsetMs: number;
  #closed = false;

  constructor(options: LeaseKeeperOptions) {
    this.#options = options;
    this.#wallOffsetMs = this.#offset();
  }

  add(lease: KeptLease): void {
    this.#noticeSuspension();
    this.#leases.set(lease.id, lease);
    this.#schedule();
  }

  /** Stops renewing it, without a word to the server. */
  remove(id: string): void {
    this.#leases.delete(id);
    this.#schedule();
  }

  close(): void {
    this.#closed = true;
    this.#leases.clear();
    this.#schedule();
  }

  #schedule(): void {
    const { clock } = this.#options;
    let due = Number.POSITIVE_INFINITY;
    for (const { session } of this.#leases.values()) {
      const renewAt = this.#renewing
        ? Number.POSITIVE_INFINITY
        : Math.max(session.renewAtMs, this.#notBeforeMs);
      due = Math.min(due, session.deadlineMs, renewAt);
    }
    if (due === this.#dueAtMs) return;
    if (this.#timer) clock.cancel(this.#timer);
    this.#dueAtMs = due;
    this.#timer =
      this.#closed || due === Number.POSITIVE_INFINITY
        ? undefined
        : clock.schedule(Math.max(0, due - clock.nowMs()), () => this.#onTimer());
  }

  #onTimer(): void {
    const { clock, logger } = this.#options;
    const now = clock.nowMs();
    const lateMs = now - this.#dueAtMs;
    this.#dueAtMs = Number.POSITIVE_INFINITY;
    this.#timer = undefined;
    const suspendedMs = this.#noticeSuspension();
    const stalledMs = Math.max(lateMs, suspendedMs);
    const lost: KeptLease[] = [];
    for (const lease of this.#leases.values()) {
      const stalled = stalledMs >= lease.session.ttlMs / 2;
      if (lease.session.check(now + suspendedMs, stalled)) lost.push(lease);
    }
    if (lost.length > 0)
      logger.warn('leases given up', { count: lost.length, stalledMs: Math.round(stalledMs) });
    for (const lease of lost) this.#lose(lease, lease.session.lost ?? 'unconfirmed');
    this.#maybeRenew();
    this.#schedule();
  }

  #maybeRenew(): void {
    const now = this.#options.clock.nowMs();
    if (this.#renewing || this.#closed || now < this.#notBeforeMs) return;
    const due = [...this.#leases.values()]
      .filter(({ session }) => session.renewAtMs - session.ttlMs * TOGETHER <= now)
      .slice(0, KEEPALIVE_IDS_MAX);
    if (due.length > 0 && due.some(({ session }) => session.renewAtMs <= now)) void this.#renew(due);
  }

  async #renew(leases: readonly KeptLease[]): Promise<void> {
    const { caller, clock, prng, logger } = this.#options;
    const sentAtMs = clock.nowMs();
    const shortestMs = Math.min(...leases.map(({ session }) => session.ttlMs));
    this.#renewing = true;
    try {
      const response = await caller.call(
        {
          method: 'POST',
          path: '/v1/leases/keepalive',
          headers: { accept: 'application/json', 'content-type': 'application/json' },
          body: JSON.stringify({ ids: leases.map((lease) => lease.id) }),
          repeat: 'safe',
        },
        { timeout: Math.max(250, shortestMs * ATTEMPT_PART) },
      );
      this.#failures = 0;
      this.#notBeforeMs = 0;
      this.#onRenewed(leases, jsonOf<KeepAliveResult>(response), sentAtMs);
    } catch (error) {
      if (this.#closed) return;
      if (this.#failures === 0) logger.warn('renewing leases failed; trying on', { error: String(error) });
      this.#notBeforeMs = clock.nowMs() + backoffDelayMs(KEEPALIVE_BACKOFF, this.#failures++, prng);
    } finally {
      this.#renewing = false;
      this.#schedule();
    }
  }

  #onRenewed(leases: readonly KeptLease[], { results }: KeepAliveResult, sentAtMs: number): void {
    const byId = new Map(results.map((result) => [result.id, result]));
    for (const lease of leases) {
      const result = byId.get(lease.id);
      if (!result || result.problem?.retryable || this.#leases.get(lease.id) !== lease) continue;
      if (result.ttl > 0) lease.session.confirmed(sentAtMs, result.ttl * 1000);
      else if (lease.session.lose('expired')) this.#lose(lease, 'expired');
    }
    // An answer that leaves out a lease must not lead to asking again at once, over and over.
    if (leases.some((lease) => this.#leases.has(lease.id) && lease.session.renewAtMs <= sentAtMs)) {
      this.#notBeforeMs = this.#options.clock.nowMs() + KEEPALIVE_BACKOFF.maxMs;
    }
  }

  #lose(lease: KeptLease, reason: LossReason): void {
    if (this.#leases.get(lease.id) === lease) this.#leases.delete(lease.id);
    lease.onLost(reason);
  }

  /** Milliseconds for which the machine slept since the last look: monotonic clocks do not count them. */
  #noticeSuspension(): number {
    const before = this.#wallOffsetMs;
    this.#wallOffsetMs = this.#offset();
    return Math.max(0, this.#wallOffsetMs - before);
  }

  #offset(): number {
    return this.#options.clock.wallMs() - this.#options.clock.nowMs();
  }
}
