import { assert, type Clock, Prng, type Timer } from '@muster/base';
import { ERRORS, type ErrorCode } from '@muster/contract';
import type { ResponseHeader, WatchHandle, WatchRequest, WatchResponse, WatchSink } from './api.ts';
import type { Origin } from './auth/auth-checks.ts';
import { HistoryRing } from './history-ring.ts';
import type { Event } from './types.ts';
import { type WatchRange, watchOptions, watchRange } from './watch-filter.ts';
import { FutureWatchers } from './watch-future.ts';
import { type WatchGroup, WatchGroups } from './watch-groups.ts';
import { type HistorySource, RefillCache } from './watch-refill.ts';
import { Watcher, type WatcherOwner } from './watcher.ts';

export type { HistoryQuery, HistorySlice, HistorySource } from './watch-refill.ts';

/** Every bound of a hub. */
export type WatchLimits = {
  /** Watchers at a time; more are refused with "too many requests". */
  readonly watchers: number;
  /** Revisions in the ring of recent history; a power of two. */
  readonly ringRevisions: number;
  /** Bytes in the ring, about. */
  readonly ringBytes: number;
  /** Revisions in one historical batch, at most (etcd: 1000). */
  readonly batchRevisions: number;
  /** Bytes in one historical batch, about; a revision that is larger alone is still whole. */
  readonly batchBytes: number;
  /** Sink calls plus revisions looked at in one turn of the event loop. */
  readonly turnWork: number;
  /** Periodic progress; etcd's default is ten minutes, its minimum 100 ms. */
  readonly progressIntervalMs: number;
  /** Up to this share of the interval is added, so that watchers do not all fire at once. */
  readonly progressJitter: number;
};

export const DEFAULT_WATCH_LIMITS: WatchLimits = {
  watchers: 200_000,
  ringRevisions: 8192,
  ringBytes: 16 * 1024 * 1024,
  batchRevisions: 1000,
  batchBytes: 1024 * 1024,
  turnWork: 4096,
  progressIntervalMs: 600_000,
  progressJitter: 0.1,
};

export type WatchHubOptions = {
  readonly source: HistorySource;
  readonly clock: Clock;
  /** The answering member's header at a revision. */
  readonly header: (revision: number) => ResponseHeader;
  readonly limits?: Partial<WatchLimits>;
  /** Spreads periodic progress. */
  readonly prng?: Prng;
};

export type WatchStats = {
  readonly watchers: number;
  /** Cursors behind the newest revision, their sinks full or not. */
  readonly slowWatchers: number;
  /** Of the slow ones those whose sink is full. */
  readonly stalledWatchers: number;
  readonly futureWatchers: number;
  /** Events handed to watchers since the start, each time one is. */
  readonly eventsSent: number;
  readonly groups: number;
  readonly ringRevisions: number;
  readonly ringBytes: number;
};

/**
 * Hands the events of applied revisions to watchers (etcd's watch, reference section 2.8).
 *
 * Watchers of one range with equal options are a group. A synced group gets one batch object per revision, shared by
 * all its sinks. A watcher whose sink is full is a cursor and nothing else; after `resume` it is refilled, in slices
 * and in turns with the others, from a bounded ring of recent revisions or from the store, until it is synced again.
 * When compaction overtakes a cursor it is canceled with the compact revision.
 *
 * Sinks are called from `publish`, from `closeAll` and from turns taken with `clock.defer`, never from inside a call
 * on a handle. A sink may call any handle or `watch`; `resume` counts only after the sink has returned false.
 * A refused watch (empty range, negative start, too many) gets a lone `canceled` with no `created` before it.
 */
export class WatchHub implements WatcherOwner {
  readonly #source: HistorySource;
  readonly #clock: Clock;
  readonly #header: (revision: number) => ResponseHeader;
  readonly #limits: WatchLimits;
  readonly #prng: Prng;
  readonly #ring: HistoryRing;
  readonly #refills: RefillCache;
  readonly #groups = new WatchGroups<Watcher>();
  readonly #watchers = new Set<Watcher>();
  /** Watchers with something to do in a turn, in order; one that still lags goes to the back. */
  readonly #work = new Set<Watcher>();
  readonly #future = new FutureWatchers();
  /** Watchers that wait for the revision of their progress floor. */
  readonly #awaitingFloor = new Set<Watcher>();
  readonly #periodic = new Set<Watcher>();
  #newest: number;
  #eventsSent = 0;
  #turnScheduled = false;
  #progressTimer: Timer | undefined;
  #publishing = false;
  #closedWith: string | undefined;

  constructor(options: WatchHubOptions) {
    this.#source = options.source;
    this.#clock = options.clock;
    this.#header = options.header;
    this.#limits = { ...DEFAULT_WATCH_LIMITS, ...options.limits };
    this.#prng = options.prng ?? new Prng('watch progress');
    this.#ring = new HistoryRing(this.#limits.ringRevisions, this.#limits.ringBytes);
    this.#refills = new RefillCache(options.source, this.#ring, this.#limits);
    this.#newest = options.source.currentRevision;
    this.#ring.clear(this.#newest + 1);
  }

  /** False while nobody watches: then events need no previous values, for none of them is kept. */
  get active(): boolean {
    return this.#watchers.size > 0;
  }

  /** The newest revision whose events the hub has. */
  get newestRevision(): number {
    return this.#newest;
  }

  /**
   * Takes the events of one applied revision; revisions ascend. The events carry `prevKv` where there was a previous
   * value; they must not change afterwards.
   */
  publish(revision: number, events: readonly Event[]): void {
    if (this.#closedWith !== undefined) return;
    assert(revision > this.#newest, () => `published revision ${revision} after ${this.#newest}`);
    assert(!this.#publishing, () => `a sink published revision ${revision}`);
    if (this.#watchers.size === 0) {
      // Nobody is behind: whoever comes later reads what it missed from the store.
      this.#newest = revision;
      this.#ring.clear(revision + 1);
      this.#refills.clear();
      return;
    }
    this.#publishing = true;
    this.#ring.push(revision, events);
    this.#refills.clear();
    this.#newest = revision;
    const touched = this.#groups.match(revision, events);
    if (touched.length > 0) {
      const header = this.#header(revision);
      for (const group of touched) this.#deliver(group, revision, header);
    }
    for (const watcher of this.#future.take(revision)) {
      if (watcher.state === 'future') this.#settle(watcher);
    }
    if (this.#awaitingFloor.size > 0) this.#wakeAtFloor();
    this.#publishing = false;
  }

  /** Starts a watch; see `EtcdApi.watch`. `holder` is who asked: `revoke` asks again whether it may. */
  watch(request: WatchRequest, sink: WatchSink, holder: Origin = 'anonymous'): WatchHandle {
    const watcher = this.#makeWatcher(request, sink, holder);
    this.#watchers.add(watcher);
    if (watcher.group) {
      watcher.group.members++;
      if (request.progressNotify) this.#startPeriodic(watcher);
    }
    this.#enqueue(watcher);
    return watcher;
  }

  /** A watch that may not be: only gets its `canceled`, in a turn of its own. */
  refuse(sink: WatchSink, reason: string): WatchHandle {
    const at = { createdRevision: this.#newest, next: 0, progressFloor: 0, startCompacted: false };
    const watcher = new Watcher(this, sink, reason, at, 'anonymous');
    this.#watchers.add(watcher);
    this.#enqueue(watcher);
    return watcher;
  }

  /**
   * Rights have changed: every watch for which `reasonAgainst` gives a reason is canceled with it, at once, and gets
   * nothing of what it had not got yet.
   */
  revoke(reasonAgainst: (holder: Origin, range: WatchRange) => string | undefined): void {
    for (const watcher of [...this.#watchers]) {
      if (watcher.state === 'closed' || !watcher.group) continue;
      const reason = reasonAgainst(watcher.holder, watcher.group.range);
      if (reason !== undefined) this.#finish(watcher, 0, reason);
    }
  }

  /**
   * A snapshot replaced the store. Every watcher is a cursor again and continues from where it was; one whose
   * history is gone is canceled with the compact revision.
   */
  reset(): void {
    for (const watcher of this.#watchers) watcher.next = watcher.nextRevision;
    this.#newest = this.#source.currentRevision;
    this.#ring.clear(this.#newest + 1);
    this.#refills.clear();
    this.#future.clear();
    this.#awaitingFloor.clear();
    for (const group of this.#groups) {
      group.since = this.#newest + 1;
      group.lastMatched = 0;
    }
    for (const watcher of this.#watchers) {
      if (watcher.state === 'synced') watcher.leave();
      if (watcher.state !== 'synced' && watcher.state !== 'future') continue;
      watcher.state = 'lagging';
      this.#enqueue(watcher);
    }
  }

  /** The member stops: every watcher gets `canceled` with the error's text, at once; later ones get it too. */
  closeAll(reason: ErrorCode): void {
    const text = ERRORS[reason].text;
    this.#closedWith = text;
    for (const watcher of [...this.#watchers]) {
      if (watcher.state !== 'closed') this.#finish(watcher, 0, text);
    }
  }

  stats(): WatchStats {
    const count = { slow: 0, stalled: 0, future: 0 };
    for (const watcher of this.#watchers) {
      if (watcher.state === 'future') count.future++;
      if (watcher.state === 'stalled') count.stalled++;
      if (watcher.state === 'stalled' || watcher.state === 'lagging') count.slow++;
    }
    return {
      watchers: this.#watchers.size,
      slowWatchers: count.slow,
      stalledWatchers: count.stalled,
      futureWatchers: count.future,
      eventsSent: this.#eventsSent,
      groups: this.#groups.size,
      ringRevisions: this.#ring.length,
      ringBytes: this.#ring.bytes,
    };
  }

  /** @internal for handles */
  cancel(watcher: Watcher): void {
    if (watcher.state !== 'closed') this.#drop(watcher);
  }

  /** @internal for handles */
  resume(watcher: Watcher): void {
    if (watcher.state !== 'stalled') return;
    watcher.state = 'lagging';
    this.#enqueue(watcher);
  }

  /** @internal for handles */
  requestProgress(watcher: Watcher): void {
    if (watcher.state === 'closed' || watcher.state === 'refused') return;
    watcher.wantsProgress = true;
    if (watcher.state === 'synced' || watcher.state === 'future') this.#enqueue(watcher);
  }

  #makeWatcher(request: WatchRequest, sink: WatchSink, holder: Origin): Watcher {
    const current = Math.max(this.#newest, this.#source.currentRevision);
    const start = request.startRevision ?? 0;
    const next = start === 0 ? current + 1 : start;
    const startCompacted = start > 0 && start < this.#source.compactRevision;
    const progressFloor = Math.max(start, current);
    const at = { createdRevision: current, next, progressFloor, startCompacted };
    const range = watchRange(request.key, request.rangeEnd);
    const refusal = this.#refusal(range.kind === 'empty', start);
    if (refusal !== undefined) return new Watcher(this, sink, refusal, at, holder);
    const options = watchOptions(request.filters, request.prevKv);
    const group = this.#groups.ensure(range, options, this.#newest + 1);
    return new Watcher(this, sink, group, at, holder);
  }

  #refusal(emptyRange: boolean, start: number): string | undefined {
    if (this.#closedWith !== undefined) return this.#closedWith;
    if (emptyRange) return ERRORS.WATCH_EMPTY_RANGE.text;
    if (start < 0) return ERRORS.COMPACTED.text;
    return this.#watchers.size >= this.#limits.watchers ? ERRORS.TOO_MANY_REQUESTS.text : undefined;
  }

  /** One revision to all synced watchers of a group. Walks backwards, for a sink may make watchers leave. */
  #deliver(group: WatchGroup<Watcher>, revision: number, header: ResponseHeader): void {
    const { synced, events } = group;
    if (events.length === 0) return;
    group.events = [];
    const batch = { headerRevision: revision, lastRevision: revision, events };
    const response: WatchResponse = { type: 'events', header, batch };
    for (let i = synced.length - 1; i >= 0; i--) {
      const watcher = synced[i];
      // A watcher that left moved the last one to its place, where it may come up a second time.
      if (watcher === undefined || watcher.next > revision) continue;
      watcher.next = revision + 1;
      this.#eventsSent += events.length;
      if (!watcher.sink(response) && watcher.state === 'synced') this.#stall(watcher);
    }
  }

  #enqueue(watcher: Watcher): void {
    this.#work.add(watcher);
    this.#scheduleTurn();
  }

  #scheduleTurn(): void {
    if (this.#turnScheduled) return;
    this.#turnScheduled = true;
    this.#clock.defer(() => this.#turn());
  }

  #turn(): void {
    this.#turnScheduled = false;
    let budget = this.#limits.turnWork;
    for (const watcher of this.#work) {
      if (budget <= 0) break;
      this.#work.delete(watcher);
      budget -= this.#step(watcher);
    }
    if (this.#work.size > 0) this.#scheduleTurn();
    else this.#refills.clear();
  }

  /** Does what one watcher has to do next; returns how much work that was. */
  #step(watcher: Watcher): number {
    if (watcher.state === 'refused') {
      this.#finish(watcher, 0, watcher.refusal);
      return 1;
    }
    if (!watcher.created) {
      watcher.created = true;
      if (!this.#send(watcher, { type: 'created', header: this.#header(watcher.createdRevision) })) return 1;
    }
    if (watcher.state === 'lagging') return 1 + this.#refill(watcher);
    this.#tellProgress(watcher);
    return 1;
  }

  /** One slice of history for a cursor; returns how many revisions were looked at. */
  #refill(watcher: Watcher): number {
    const group = watcher.group as WatchGroup<Watcher>;
    if (watcher.startCompacted) {
      this.#finish(watcher, this.#source.compactRevision, '');
      return 0;
    }
    if (watcher.next > this.#newest || group.quietSince(watcher.next)) {
      this.#settle(watcher);
      return 0;
    }
    const slice = this.#refills.slice(group, watcher.next, this.#newest, this.#header);
    if (slice === 'compacted') {
      this.#finish(watcher, this.#source.compactRevision, '');
      return 0;
    }
    watcher.next = slice.next;
    if (slice.response && !this.#send(watcher, slice.response)) return slice.cost;
    if (watcher.next > this.#newest) this.#settle(watcher);
    else this.#work.add(watcher);
    return slice.cost;
  }

  /** A cursor has nothing more to catch up with. */
  #settle(watcher: Watcher): void {
    if (watcher.next > this.#newest + 1) {
      watcher.state = 'future';
      this.#future.add(watcher);
    } else {
      watcher.next = this.#newest + 1;
      watcher.join();
    }
    this.#tellProgress(watcher);
  }

  /** Of a synced or future watcher. */
  #tellProgress(watcher: Watcher): void {
    if (!watcher.wantsProgress) return;
    if (this.#newest < watcher.progressFloor) {
      this.#awaitingFloor.add(watcher);
      return;
    }
    watcher.wantsProgress = false;
    this.#send(watcher, { type: 'progress', header: this.#header(this.#newest) });
  }

  /** Runs inside `publish`: progress follows in a turn, behind the events. */
  #wakeAtFloor(): void {
    for (const watcher of this.#awaitingFloor) {
      if (this.#newest < watcher.progressFloor) continue;
      this.#awaitingFloor.delete(watcher);
      this.#enqueue(watcher);
    }
  }

  /** True when the watcher may get more. */
  #send(watcher: Watcher, response: WatchResponse): boolean {
    if (response.type === 'events') this.#eventsSent += response.batch.events.length;
    const room = watcher.sink(response);
    if (watcher.state === 'closed') return false;
    if (!room) this.#stall(watcher);
    return room;
  }

  #stall(watcher: Watcher): void {
    if (watcher.state === 'synced') watcher.next = Math.max(watcher.next, this.#newest + 1);
    this.#detach(watcher);
    watcher.state = 'stalled';
  }

  /** Takes a watcher off every list but that of all watchers. */
  #detach(watcher: Watcher): void {
    if (watcher.state === 'synced') watcher.leave();
    if (watcher.state === 'future') this.#future.delete(watcher);
    this.#work.delete(watcher);
    this.#awaitingFloor.delete(watcher);
  }

  #drop(watcher: Watcher): void {
    this.#detach(watcher);
    watcher.state = 'closed';
    this.#watchers.delete(watcher);
    this.#periodic.delete(watcher);
    if (this.#periodic.size === 0) this.#stopTimer();
    const { group } = watcher;
    if (group && --group.members === 0) this.#groups.remove(group);
  }

  #finish(watcher: Watcher, compactRevision: number, reason: string): void {
    this.#drop(watcher);
    watcher.sink({ type: 'canceled', header: this.#header(this.#newest), compactRevision, reason });
  }

  #startPeriodic(watcher: Watcher): void {
    watcher.progressMark = watcher.next;
    watcher.progressDueMs = this.#nextDueMs();
    this.#periodic.add(watcher);
    this.#progressTimer ??= this.#clock.schedule(watcher.progressDueMs - this.#clock.nowMs(), () =>
      this.#progressTick(),
    );
  }

  #nextDueMs(): number {
    const { progressIntervalMs, progressJitter } = this.#limits;
    return this.#clock.nowMs() + progressIntervalMs * (1 + this.#prng.float() * progressJitter);
  }

  /** Asks for progress on behalf of each watcher that is due and got no events since it was due last. */
  #progressTick(): void {
    const now = this.#clock.nowMs();
    let dueMs = Number.POSITIVE_INFINITY;
    for (const watcher of this.#periodic) {
      if (watcher.progressDueMs <= now) {
        if (watcher.next === watcher.progressMark && watcher.state === 'synced') {
          this.requestProgress(watcher);
        }
        watcher.progressMark = watcher.next;
        watcher.progressDueMs = this.#nextDueMs();
      }
      dueMs = Math.min(dueMs, watcher.progressDueMs);
    }
    // At most TICKS_PER_INTERVAL walks an interval, however the due times are spread.
    const delayMs = Math.max(dueMs - now, this.#limits.progressIntervalMs / TICKS_PER_INTERVAL);
    this.#progressTimer = this.#clock.schedule(delayMs, () => this.#progressTick());
  }

  #stopTimer(): void {
    if (this.#progressTimer) this.#clock.cancel(this.#progressTimer);
    this.#progressTimer = undefined;
  }
}

const TICKS_PER_INTERVAL = 64;
