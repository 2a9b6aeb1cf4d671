import { RENEW_AFTER } from './limits.ts';

/** Why a lease is gone, as far as its holder can know. */
export type LossReason =
  /** The server says that there is no such lease. */
  | 'expired'
  /** No renewal was confirmed in time: the server may have ended it already. */
  | 'unconfirmed'
  /** The process stood still (stopped, suspended, blocked) for longer than the lease lasts. */
  | 'stalled'
  /** Given up by its holder. */
  | 'revoked';

/**
 * One lease as its holder must see it. Pure: time comes in as numbers. The lease is held until the time at which the
 * last *confirmed* renewal was *sent*, plus its ttl: the server's own deadline cannot be earlier. Lost is final.
 */
export class LeaseSession {
  #ttlMs: number;
  #confirmedSentAt: number;
  #loss: LossReason | undefined;

  /** @param sentAtMs when the request that granted it was sent */
  constructor(ttlMs: number, sentAtMs: number) {
    this.#ttlMs = ttlMs;
    this.#confirmedSentAt = sentAtMs;
  }

  get ttlMs(): number {
    return this.#ttlMs;
  }

  get lost(): LossReason | undefined {
    return this.#loss;
  }

  /** After this it must be taken for lost. */
  get deadlineMs(): number {
    return this.#confirmedSentAt + this.#ttlMs;
  }

  /** When the next renewal is due. */
  get renewAtMs(): number {
    return this.#confirmedSentAt + this.#ttlMs * RENEW_AFTER;
  }

  /** A renewal sent at `sentAtMs` was confirmed. A late answer to an older request never moves the deadline back. */
  confirmed(sentAtMs: number, ttlMs: number): void {
    if (this.#loss || sentAtMs < this.#confirmedSentAt) return;
    this.#confirmedSentAt = sentAtMs;
    this.#ttlMs = ttlMs;
  }

  /** Returns false when it was lost before. */
  lose(reason: LossReason): boolean {
    if (this.#loss) return false;
    this.#loss = reason;
    return true;
  }

  /** Gives the lease up when its deadline has passed. Returns whether that happened now. */
  check(nowMs: number, stalled: boolean): boolean {
    return !this.#loss && nowMs >= this.deadlineMs && this.lose(stalled ? 'stalled' : 'unconfirmed');
  }
}
