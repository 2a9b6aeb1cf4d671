import { type Clock, type Deferred, deferred, type Timer } from '@muster/base';
import type { InstanceStatus, ServiceEvent, Instance as WireInstance } from '@muster/contract';
import type { Connection } from './connection.ts';
import { abortedError, closedError, type MusterError } from './errors.ts';
import { SERVICE_SHAPE } from './kv-shape.ts';
import { MASS_LOSS_MIN, MASS_LOSS_PART, MASS_LOSS_WINDOW_MS, SUSPECT_MAX_MS } from './limits.ts';
import { Listeners, type Logger, type Off } from './status.ts';
import { Subscription } from './subscription.ts';
import type { SessionBatch, SessionStatus } from './watch-session.ts';

/**
 * One instance of a service. `suspect`: the registry has lost it together with most of its service at once, which
 * looks more like the registry's trouble than like theirs; use it only when nothing better is left.
 */
export type Instance = WireInstance & { readonly suspect?: true };

export type InstanceFilter = {
  readonly status?: readonly InstanceStatus[];
  readonly zone?: string;
  /** All of these. */
  readonly tag?: readonly string[];
  /** Exact, or `^2`, `^2.1`. */
  readonly version?: string;
};

/**
 * Why an instance left the view. The registry only says that it is gone: one that was draining or down went on
 * purpose, any other is taken for expired.
 */
export type RemovalReason = 'deregistered' | 'expired' | 'filtered';

export type Diff = {
  readonly added: readonly Instance[];
  readonly changed: readonly { readonly before: Instance; readonly after: Instance }[];
  readonly removed: readonly { readonly instance: Instance; readonly reason: RemovalReason }[];
  /** The store's revision that the view shows now. */
  readonly revision: number;
};

/** `false`, or since when the view may be behind the registry, and why. It then shows what was known last. */
export type Stale = false | { readonly since: Date; readonly cause: string };

/** The live instances of a service: a snapshot kept true by a watch. */
export interface ServiceView extends AsyncDisposable {
  /** In the order of service and id, suspects last. A new array after each change. */
  readonly instances: readonly Instance[];
  readonly stale: Stale;
  readonly revision: number;
  on(event: 'change', listener: (diff: Diff) => void): Off;
  on(event: 'stale', listener: (stale: Stale) => void): Off;
  close(): Promise<void>;
}

type ServiceViewOptions = {
  readonly connection: Connection;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly namespace: string | undefined;
};

type Suspect = { readonly instance: Instance; readonly goneAtMs: number };

export class LiveServiceView implements ServiceView {
  readonly #clock: Clock;
  readonly #live = new Map<string, Instance>();
  readonly #suspects = new Map<string, Suspect>();
  /** What expired within the guard's window, whether it is shown as suspect or not. */
  #expired = new Map<string, Suspect>();
  readonly #changes: Listeners<Diff>;
  readonly #staleness: Listeners<Stale>;
  readonly #ready: Deferred<void> = deferred();
  readonly #subscription: Subscription<WireInstance, ServiceEvent>;
  #stale: Stale;
  #revision = 0;
  #sorted: readonly Instance[] | undefined;
  #timer: Timer | undefined;
  #closed = false;

  constructor(name: string, filter: InstanceFilter, options: ServiceViewOptions) {
    this.#clock = options.clock;
    const onError = (error: unknown) =>
      options.logger.warn('a view listener threw', { error: String(error) });
    this.#changes = new Listeners(onError);
    this.#staleness = new Listeners(onError);
    this.#stale = { since: new Date(this.#clock.wallMs()), cause: 'not loaded yet' };
    this.#ready.promise.catch(() => {});
    const ns = options.namespace === undefined ? {} : { ns: options.namespace };
    this.#subscription = new Subscription(
      {
        connection: options.connection,
        clock: options.clock,
        selection: { service: { name, ...ns, ...filter } },
        shape: SERVICE_SHAPE,
        snapshot: true,
        keepItems: true,
      },
      {
        onBatch: (batch) => this.#onBatch(batch),
        onBookmark: (at) => {
          this.#revision = at.rev;
        },
        onStatus: (status, cause) => this.#onStatus(status, cause),
        onFailed: (error) => this.#onFailed(error),
      },
    );
  }

  get instances(): readonly Instance[] {
    this.#sorted ??= [
      ...sortedByIdentity(this.#live.values()),
      ...sortedByIdentity([...this.#suspects.values()].map((suspect) => suspect.instance)),
    ];
    return this.#sorted;
  }

  get stale(): Stale {
    return this.#stale;
  }

  get revision(): number {
    return this.#revision;
  }

  /** Resolves with the first whole snapshot. */
  async loaded(signal?: AbortSignal): Promise<void> {
    if (!signal) return this.#ready.promise;
    const onAbort = () => this.#ready.reject(abortedError(signal));
    if (signal.aborted) onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      await this.#ready.promise;
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }

  on(event: 'change' | 'stale', listener: ((diff: Diff) => void) & ((stale: Stale) => void)): Off;
  on(event: 'change', listener: (diff: Diff) => void): Off;
  on(event: 'stale', listener: (stale: Stale) => void): Off;
  on(event: 'change' | 'stale', listener: ((diff: Diff) => void) | ((stale: Stale) => void)): Off {
    return event === 'change'
      ? this.#changes.add(listener as (diff: Diff) => void)
      : this.#staleness.add(listener as (stale: Stale) => void);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    if (this.#timer) this.#clock.cancel(this.#timer);
    this.#subscription.close();
    this.#ready.reject(closedError('the view'));
    this.#setStale('closed');
    this.#changes.clear();
    this.#staleness.clear();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #onBatch(batch: SessionBatch<WireInstance>): void {
    const added: Instance[] = [];
    const changed: { before: Instance; after: Instance }[] = [];
    const removed: { instance: Instance; reason: RemovalReason }[] = [];
    for (const change of batch.changes) {
      if (change.type === 'put') {
        const before = this.#put(change.item);
        if (before) changed.push({ before, after: change.item });
        else added.push(change.item);
      } else {
        const gone = this.#remove(change.identity, change.filtered === true);
        if (gone) removed.push(gone);
      }
    }
    const kept = this.#guard(removed);
    for (const instance of kept.again) added.push(instance);
    for (const pair of kept.changed) changed.push(pair);
    const left = removed.filter(({ instance }) => !this.#suspects.has(identityOf(instance)));
    this.#revision = batch.at.rev;
    this.#subscription.consumed(batch);
    if (batch.synced) {
      this.#setStale(undefined);
      this.#ready.resolve();
    }
    this.#emit({ added, changed, removed: left, revision: batch.at.rev });
  }

  /** Returns what was shown of it before. */
  #put(instance: Instance): Instance | undefined {
    const identity = identityOf(instance);
    const before = this.#live.get(identity) ?? this.#suspects.get(identity)?.instance;
    this.#live.set(identity, instance);
    this.#suspects.delete(identity);
    this.#expired.delete(identity);
    return before;
  }

  #remove(identity: string, filtered: boolean): { instance: Instance; reason: RemovalReason } | undefined {
    const instance = this.#live.get(identity);
    if (!instance) return undefined;
    this.#live.delete(identity);
    if (filtered) return { instance, reason: 'filtered' };
    const meant = instance.status === 'draining' || instance.status === 'down';
    if (!meant) this.#expired.set(identity, { instance, goneAtMs: this.#clock.nowMs() });
    return { instance, reason: meant ? 'deregistered' : 'expired' };
  }

  /**
   * The mass-loss guard: when more than half of a service, and at least three, expire within the window, they stay for
   * a while as suspects. `again` were shown as removed before the guard spoke; `changed` were live until this batch.
   */
  #guard(removed: readonly { instance: Instance; reason: RemovalReason }[]): {
    again: Instance[];
    changed: { before: Instance; after: Instance }[];
  } {
    const now = this.#clock.nowMs();
    this.#expired = new Map([...this.#expired].filter(([, s]) => now - s.goneAtMs < MASS_LOSS_WINDOW_MS));
    const result = { again: [] as Instance[], changed: [] as { before: Instance; after: Instance }[] };
    if (!removed.some(({ reason }) => reason === 'expired')) return result;
    for (const service of new Set([...this.#expired.values()].map((s) => s.instance.service))) {
      const lost = [...this.#expired.values()].filter((s) => s.instance.service === service);
      const live = [...this.#live.values()].filter((i) => i.service === service).length;
      if (lost.length < MASS_LOSS_MIN || lost.length <= (lost.length + live) * MASS_LOSS_PART) continue;
      for (const { instance, goneAtMs } of lost) {
        const identity = identityOf(instance);
        if (this.#suspects.has(identity)) continue;
        const suspect: Instance = { ...instance, suspect: true };
        this.#suspects.set(identity, { instance: suspect, goneAtMs });
        if (removed.some((r) => identityOf(r.instance) === identity))
          result.changed.push({ before: instance, after: suspect });
        else result.again.push(suspect);
      }
    }
    this.#scheduleSuspects();
    return result;
  }

  #scheduleSuspects(): void {
    if (this.#timer) this.#clock.cancel(this.#timer);
    this.#timer = undefined;
    if (this.#suspects.size === 0 || this.#closed) return;
    const first = Math.min(...[...this.#suspects.values()].map((s) => s.goneAtMs));
    const delayMs = Math.max(0, first + SUSPECT_MAX_MS - this.#clock.nowMs());
    this.#timer = this.#clock.schedule(delayMs, () => this.#dropSuspects());
  }

  #dropSuspects(): void {
    const now = this.#clock.nowMs();
    const removed: { instance: Instance; reason: RemovalReason }[] = [];
    for (const [identity, { instance, goneAtMs }] of this.#suspects) {
      if (now - goneAtMs < SUSPECT_MAX_MS) continue;
      this.#suspects.delete(identity);
      removed.push({ instance, reason: 'expired' });
    }
    this.#emit({ added: [], changed: [], removed, revision: this.#revision });
    this.#scheduleSuspects();
  }

  #emit(diff: Diff): void {
    if (diff.added.length + diff.changed.length + diff.removed.length === 0) return;
    this.#sorted = undefined;
    this.#changes.emit(diff);
  }

  #onStatus(status: SessionStatus, cause: string | undefined): void {
    if (status.state === 'live') this.#setStale(undefined);
    else if (cause !== undefined) this.#setStale(cause);
  }

  #onFailed(error: MusterError): void {
    this.#ready.reject(error);
    if (error.code === 'CLOSED') void this.close();
    else this.#setStale(error.message);
  }

  #setStale(cause: string | undefined): void {
    if (cause === undefined ? this.#stale === false : this.#stale !== false && this.#stale.cause === cause)
      return;
    const since = this.#stale === false ? new Date(this.#clock.wallMs()) : this.#stale.since;
    this.#stale = cause === undefined ? false : { since, cause };
    this.#staleness.emit(this.#stale);
  }
}

function identityOf(instance: Instance): string {
  return `${instance.service}/${instance.id}`;
}

function sortedByIdentity(instances: Iterable<Instance>): Instance[] {
  return [...instances].sort((a, b) => (identityOf(a) < identityOf(b) ? -1 : 1));
}
