import { type Clock, type Deferred, deferred } from '@muster/base';
import { idToHex, type LeaseResource } from '@muster/contract';
import { type Caller, type CallOptions, jsonOf } from './caller.ts';
import { type Duration, durationMs } from './duration.ts';
import { MusterError } from './errors.ts';
import type { LeaseKeeper } from './lease-keeper.ts';
import { LeaseSession, type LossReason } from './lease-session.ts';
import { LEASE_TTL_MIN_MS } from './limits.ts';

/** A lease that is kept alive until it is revoked or lost. */
export interface Lease extends AsyncDisposable {
  /** 16 hex digits. */
  readonly id: string;
  readonly ttlMs: number;
  /**
   * Resolves once the lease can no longer be counted on: when the server says so, or at the latest when its ttl has
   * passed since the last confirmed renewal was sent. Never rejects.
   */
  readonly lost: Promise<LossReason>;
  /** Aborts at the same moment, with the `LossReason` as its reason. */
  readonly signal: AbortSignal;
  /** Ends it and deletes the keys attached to it. */
  revoke(options?: CallOptions): Promise<void>;
}

export interface Leases {
  /** At least one second; whole seconds, rounded up. */
  grant(ttl: Duration, options?: CallOptions): Promise<Lease>;
}

type LeasesOptions = {
  readonly caller: Caller;
  readonly keeper: LeaseKeeper;
  readonly clock: Clock;
  readonly randomId: () => bigint;
};

const JSON_HEADERS = { accept: 'application/json', 'content-type': 'application/json' } as const;

export function createLeases(options: LeasesOptions): Leases {
  return { grant: (ttl, callOptions = {}) => grant(options, ttl, callOptions) };
}

/** Whole seconds of a ttl, as the server counts it. */
export function ttlSeconds(ttl: Duration): number {
  const ms = durationMs(ttl, 'ttl');
  if (ms < LEASE_TTL_MIN_MS) {
    throw new MusterError('BAD_REQUEST', `ttl: expected at least ${LEASE_TTL_MIN_MS} ms, got ${ms} ms`);
  }
  return Math.ceil(ms / 1000);
}

/** The id is chosen here, so that a grant whose answer was lost can be asked for again. */
async function grant(options: LeasesOptions, ttl: Duration, callOptions: CallOptions): Promise<Lease> {
  const { caller, clock, keeper } = options;
  const id = idToHex(options.randomId());
  const seconds = ttlSeconds(ttl);
  const sentAtMs = clock.nowMs();
  const response = await caller.call(
    {
      method: 'POST',
      path: '/v1/leases',
      headers: JSON_HEADERS,
      body: JSON.stringify({ id, ttl: seconds }),
      repeat: 'safe',
      accept: [409],
    },
    callOptions,
  );
  if (response.status === 409 && !response.repeated) {
    throw new MusterError('LEASE_EXISTS', `there is a lease ${id} already`, { status: 409, retryable: true });
  }
  const grantedMs = (response.status === 409 ? seconds : jsonOf<LeaseResource>(response).grantedTtl) * 1000;
  const lease = new KeptAliveLease(id, new LeaseSession(grantedMs, sentAtMs), caller, keeper);
  keeper.add(lease);
  return lease;
}

class KeptAliveLease implements Lease {
  readonly id: string;
  readonly session: LeaseSession;
  readonly #caller: Caller;
  readonly #keeper: LeaseKeeper;
  readonly #lost: Deferred<LossReason> = deferred();
  readonly #abort = new AbortController();

  constructor(id: string, session: LeaseSession, caller: Caller, keeper: LeaseKeeper) {
    this.id = id;
    this.session = session;
    this.#caller = caller;
    this.#keeper = keeper;
  }

  get ttlMs(): number {
    return this.session.ttlMs;
  }

  get lost(): Promise<LossReason> {
    return this.#lost.promise;
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  onLost(reason: LossReason): void {
    this.#lost.resolve(reason);
    this.#abort.abort(reason);
  }

  async revoke(options: CallOptions = {}): Promise<void> {
    this.#keeper.remove(this.id);
    if (this.session.lose('revoked')) this.onLost('revoked');
    await this.#caller.call(
      { method: 'DELETE', path: `/v1/leases/${this.id}`, repeat: 'safe', accept: [404, 410] },
      options,
    );
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.revoke();
  }
}
