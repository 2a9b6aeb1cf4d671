import { backoffDelayMs, type Clock, type Deferred, deferred, type Prng, type Timer } from '@muster/base';
import {
  type InstancePut,
  idToHex,
  type KvEvent,
  type KvItem,
  type RegistrationResult,
} from '@muster/contract';
import { type Caller, jsonOf } from './caller.ts';
import type { Connection } from './connection.ts';
import { closedError, MusterError } from './errors.ts';
import { KV_SHAPE } from './kv-shape.ts';
import type { KeptLease, LeaseKeeper } from './lease-keeper.ts';
import { LeaseSession } from './lease-session.ts';
import { DEREGISTER_TIMEOUT_MS, LEAVE_WAIT_MS, REGISTER_BACKOFF, REPAIR_CALM_MS } from './limits.ts';
import { pause } from './pause.ts';
import { Listeners, type Logger, type Off } from './status.ts';
import { Subscription } from './subscription.ts';

/**
 * `registering`: not there yet. `registered`: confirmed, as far as anyone can know. `lost`: it was there and is not, or
 * cannot be counted on; it is being put back. `draining`: there, asking for no new work. `gone`: taken out for good.
 */
export type RegistrationState = 'registering' | 'registered' | 'lost' | 'draining' | 'gone';

export type RegistrationEvent = {
  readonly state: RegistrationState;
  /** Why it changed, in words for a log. */
  readonly cause: string;
};

export type Health = 'passing' | 'warning' | 'critical' | 'unknown';

export type RegistrarOptions = {
  readonly caller: Caller;
  readonly connection: Connection;
  readonly keeper: LeaseKeeper;
  readonly clock: Clock;
  readonly prng: Prng;
  readonly logger: Logger;
  readonly namespace: string | undefined;
  readonly randomId: () => bigint;
};

type Desired = {
  readonly name: string;
  readonly id: string;
  readonly ttlSeconds: number;
  readonly document: Omit<InstancePut, 'ttl' | 'leaseId'>;
  readonly health?: () => Health | Promise<Health>;
};

type Waiter = { readonly version: number; readonly done: Deferred<void> };

/**
 * Keeps one registration true. What is wanted is in memory; what is there is known from answers, from the lease and from
 * a watch on the instance's own key. Whenever the two may differ it puts what is wanted, with unlimited full-jitter
 * backoff, under a lease id that stays the same until that lease is lost: a resend can therefore never make two.
 */
export class Reconciler {
  readonly #options: RegistrarOptions;
  readonly #name: string;
  readonly #id: string;
  readonly #ttlSeconds: number;
  readonly #health: (() => Health | Promise<Health>) | undefined;
  readonly #listeners: Listeners<RegistrationEvent>;
  readonly #watch: Subscription<KvItem, KvEvent>;
  #document: Omit<InstancePut, 'ttl' | 'leaseId'>;
  #state: RegistrationState = 'registering';
  /** Counts changes of what is wanted; `#confirmed` is the newest of them that is known to be there. */
  #version = 1;
  #confirmed = 0;
  #waiters: Waiter[] = [];
  #leaseId: string;
  /** Every lease id this process has used here: what they wrote is no stranger's. */
  readonly #ownLeases = new Set<string>();
  #kept: KeptLease | undefined;
  #modRevision = 0;
  /** Revisions at which the key was seen deleted, and written under another lease. */
  #deletedAt = 0;
  #strangeAt = 0;
  #failures = 0;
  #repairs = 0;
  #registeredAtMs = 0;
  #timer: Timer | undefined;
  #healthTimer: Timer | undefined;
  #putting: Promise<void> | undefined;
  #again = false;
  #leaving = false;
  #left: Promise<void> | undefined;
  #lastError: MusterError | undefined;

  constructor(desired: Desired, options: RegistrarOptions) {
    this.#options = options;
    this.#name = desired.name;
    this.#id = desired.id;
    this.#ttlSeconds = desired.ttlSeconds;
    this.#document = desired.document;
    this.#health = desired.health;
    this.#leaseId = this.#newLeaseId();
    this.#listeners = new Listeners((error) =>
      options.logger.warn('a registration listener threw', { error: String(error) }),
    );
    const key = `/muster/${options.namespace ?? 'default'}/services/${desired.name}/${desired.id}`;
    this.#watch = new Subscription(
      {
        connection: options.connection,
        clock: options.clock,
        selection: { kv: { key, keysOnly: true } },
        shape: KV_SHAPE,
        snapshot: true,
        keepItems: false,
      },
      {
        onBatch: (batch) => {
          for (const change of batch.changes) {
            if (change.type === 'put') this.#sawPut(change.item);
            else this.#sawDelete(batch.at.rev);
          }
          if (batch.synced && batch.changes.length === 0) this.#sawSnapshotWithoutNews(batch.at.rev);
          this.#watch.consumed(batch);
        },
        onBookmark: () => {},
        onStatus: () => {},
        onFailed: (error) => this.#logWatchEnded(error),
      },
    );
    this.#reconcile();
    this.#checkHealth();
  }

  get name(): string {
    return this.#name;
  }

  get id(): string {
    return this.#id;
  }

  get leaseId(): string {
    return this.#leaseId;
  }

  get state(): RegistrationState {
    return this.#state;
  }

  /** What the last failed attempt said; `undefined` after a success. */
  get lastError(): MusterError | undefined {
    return this.#lastError;
  }

  onState(listener: (event: RegistrationEvent) => void): Off {
    return this.#listeners.add(listener);
  }

  /** Resolves when what is wanted now is confirmed; rejects when it is refused as wrong, or when this ends first. */
  settled(): Promise<void> {
    if (this.#confirmed >= this.#version && this.#state !== 'lost') return Promise.resolve();
    if (this.#state === 'gone') return Promise.reject(closedError('the registration'));
    const done = deferred<void>();
    this.#waiters.push({ version: this.#version, done });
    return done.promise;
  }

  change(part: Partial<Omit<InstancePut, 'ttl' | 'leaseId'>>): Promise<void> {
    if (this.#leaving) return Promise.reject(closedError('the registration'));
    this.#want(part);
    return this.settled();
  }

  /** Stops wanting it: from here on nothing puts it back. Deletes it, for as long as `timeoutMs` allows. */
  leave(timeoutMs = DEREGISTER_TIMEOUT_MS): Promise<void> {
    this.#left ??= this.#leave(timeoutMs);
    return this.#left;
  }

  async #leave(timeoutMs: number): Promise<void> {
    this.#leaving = true;
    const { clock, keeper } = this.#options;
    if (this.#timer) clock.cancel(this.#timer);
    if (this.#healthTimer) clock.cancel(this.#healthTimer);
    this.#watch.close();
    keeper.remove(this.#leaseId);
    // A put under way could arrive after the delete and bring the instance back to life.
    if (this.#putting) await Promise.race([this.#putting, pause(clock, LEAVE_WAIT_MS)]);
    try {
      await this.#options.caller.call(
        {
          method: 'DELETE',
          path: `${this.#path()}?leaseId=${this.#leaseId}`,
          repeat: 'safe',
          accept: [404, 409, 410],
        },
        { timeout: timeoutMs },
      );
    } catch (error) {
      this.#options.logger.warn('deregistering failed: the lease will end it', {
        service: this.#name,
        instance: this.#id,
        error: String(error),
      });
    }
    this.#setState('gone', 'deregistered');
    for (const { done } of this.#waiters.splice(0)) done.reject(closedError('the registration'));
    this.#listeners.clear();
  }

  #want(part: Partial<Omit<InstancePut, 'ttl' | 'leaseId'>>): void {
    this.#document = { ...this.#document, ...part };
    this.#version++;
    this.#reconcile();
  }

  #reconcile(): void {
    if (this.#leaving || this.#timer) return;
    if (this.#putting) {
      this.#again = true;
      return;
    }
    this.#putting = this.#put().finally(() => {
      this.#putting = undefined;
      if (!this.#again) return;
      this.#again = false;
      this.#reconcile();
    });
  }

  async #put(): Promise<void> {
    const { caller, clock } = this.#options;
    const version = this.#version;
    const leaseId = this.#leaseId;
    const body = JSON.stringify({ ...this.#document, ttl: this.#ttlSeconds, leaseId });
    const sentAtMs = clock.nowMs();
    try {
      const response = await caller.call({
        method: 'PUT',
        path: this.#path(),
        headers: { accept: 'application/json', 'content-type': 'application/json' },
        body,
        repeat: 'safe',
      });
      if (!this.#leaving) this.#onPut(jsonOf<RegistrationResult>(response), version, leaseId, sentAtMs);
    } catch (thrown) {
      if (!this.#leaving) this.#onRefused(MusterError.from(thrown), version);
    }
  }

  #onPut(result: RegistrationResult, version: number, leaseId: string, sentAtMs: number): void {
    this.#lastError = undefined;
    this.#failures = 0;
    this.#modRevision = Math.max(this.#modRevision, result.modRevision);
    if (leaseId !== this.#leaseId) return this.#reconcile();
    this.#confirmed = Math.max(this.#confirmed, version);
    this.#keep(leaseId, result.ttl * 1000, sentAtMs);
    if (this.#deletedAt > this.#modRevision) return this.#repair('its key was deleted', false);
    if (this.#strangeAt > this.#modRevision) return this.#repair('it was overwritten', false);
    this.#registeredAtMs = this.#options.clock.nowMs();
    this.#setState(
      this.#document.status === 'draining' ? 'draining' : 'registered',
      'confirmed by the registry',
    );
    this.#waiters = this.#waiters.filter(({ version: wanted, done }) => {
      if (wanted <= this.#confirmed) done.resolve();
      return wanted > this.#confirmed;
    });
  }

  #keep(leaseId: string, ttlMs: number, sentAtMs: number): void {
    if (this.#kept?.id === leaseId) {
      this.#kept.session.confirmed(sentAtMs, ttlMs);
      return;
    }
    const kept: KeptLease = {
      id: leaseId,
      session: new LeaseSession(ttlMs, sentAtMs),
      onLost: (reason) => {
        if (this.#kept === kept) this.#repair(`its lease was lost: ${reason}`, true);
      },
    };
    this.#kept = kept;
    this.#options.keeper.add(kept);
  }

  #onRefused(error: MusterError, version: number): void {
    const first = this.#lastError === undefined;
    this.#lastError = error;
    if (error.status === 409 || error.status === 410) this.#leaseId = this.#newLeaseId();
    else if (!error.retryable) {
      // What is wanted is wrong. Whoever asked for it is told; what was confirmed before stays wanted meanwhile.
      this.#waiters = this.#waiters.filter(({ version: wanted, done }) => {
        if (wanted <= version) done.reject(error);
        return wanted > version;
      });
    }
    if (first) {
      const fields = { service: this.#name, instance: this.#id, error: error.message };
      this.#options.logger.warn('registering failed; trying on', fields);
    }
    this.#retryLater(this.#failures++);
  }

  #retryLater(attempt: number): void {
    const { clock, prng } = this.#options;
    if (this.#leaving || this.#timer) return;
    this.#timer = clock.schedule(backoffDelayMs(REGISTER_BACKOFF, attempt, prng), () => {
      this.#timer = undefined;
      this.#reconcile();
    });
  }

  /** It is not as wanted. At once when it held for a while before; with growing pauses when that keeps happening. */
  #repair(cause: string, newLease: boolean): void {
    if (this.#leaving) return;
    const { clock, keeper } = this.#options;
    if (newLease) {
      keeper.remove(this.#leaseId);
      this.#kept = undefined;
      this.#leaseId = this.#newLeaseId();
    }
    this.#confirmed = 0;
    this.#setState(this.#state === 'registering' ? 'registering' : 'lost', cause);
    if (clock.nowMs() - this.#registeredAtMs >= REPAIR_CALM_MS) this.#repairs = 0;
    if (this.#repairs++ === 0) this.#reconcile();
    else this.#retryLater(this.#repairs);
  }

  /**
   * Written under another lease than the present one: by a stranger, or by an attempt of our own that was given up and
   * arrived all the same. Either way nobody will renew that lease for us.
   */
  #sawPut(item: KvItem): void {
    if (item.lease === this.#leaseId) return;
    this.#strangeAt = Math.max(this.#strangeAt, item.modRevision);
    if (this.#putting || item.modRevision <= this.#modRevision) return;
    if (this.#state === 'registering' || this.#state === 'lost') return;
    const own = item.lease !== undefined && this.#ownLeases.has(item.lease);
    this.#repair(
      own ? 'an attempt given up before arrived late' : 'another process registered under the same id',
      false,
    );
  }

  #sawDelete(rev: number): void {
    this.#deletedAt = Math.max(this.#deletedAt, rev);
    // While a put is under way its answer decides which came first.
    if (
      !this.#putting &&
      rev > this.#modRevision &&
      this.#state !== 'registering' &&
      this.#state !== 'lost'
    ) {
      this.#repair('its key was deleted', false);
    }
  }

  /** A snapshot or repair that has nothing to say about the key either confirms what is known or shows that it is gone. */
  #sawSnapshotWithoutNews(rev: number): void {
    if (this.#watch.size === 0 && this.#modRevision > 0 && rev >= this.#modRevision) this.#sawDelete(rev);
  }

  #checkHealth(): void {
    const { clock } = this.#options;
    const health = this.#health;
    if (!health || this.#leaving) return;
    const again = (observed: Health) => {
      if (this.#leaving) return;
      if (observed !== this.#document.health) this.#want({ health: observed });
      this.#healthTimer = clock.schedule((this.#ttlSeconds * 1000) / 3, () => this.#checkHealth());
    };
    Promise.resolve()
      .then(health)
      .then(again, () => again('critical'));
  }

  #newLeaseId(): string {
    const id = idToHex(this.#options.randomId());
    this.#ownLeases.add(id);
    return id;
  }

  #path(): string {
    return `/v1/services/${encodeURIComponent(this.#name)}/instances/${encodeURIComponent(this.#id)}`;
  }

  #setState(state: RegistrationState, cause: string): void {
    if (state === this.#state) return;
    this.#state = state;
    const fields = { service: this.#name, instance: this.#id, state, cause };
    if (state === 'lost') this.#options.logger.warn('registration lost', fields);
    else this.#options.logger.info(`registration ${state}`, fields);
    this.#listeners.emit({ state, cause });
  }

  #logWatchEnded(error: MusterError): void {
    if (!this.#leaving)
      this.#options.logger.warn('cannot watch the own registration', { error: error.message });
  }
}
