import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock, Prng, utf8 } from '@muster/base';
import { type Change, holds, WatchHistory } from '../test/watch-history.ts';
import type { WatchFilter, WatchHandle, WatchRequest, WatchResponse } from './api.ts';
import type { Event } from './types.ts';
import { WatchHub } from './watch-hub.ts';

/**
 * Random writes, compactions, store resets and watchers with sinks that stall and resume at random, against the list
 * of all events: each watcher gets exactly what matches from its start on, in order, in whole revisions, once, or a
 * compaction cancel at a place where history is really gone. Replay a failure with WATCH_SEED=<seed>.
 */
const RUNS = 300;
const STEPS = 250;
const KEYS = ['a', 'aa', 'b', 'c', 'ca', 'd', '\0'];

class Observed {
  readonly request: WatchRequest;
  readonly start: number;
  readonly store: WatchHistory;
  readonly prng: Prng;
  readonly stallChance: number;
  handle!: WatchHandle;
  readonly events: Event[] = [];
  created = false;
  canceled = false;
  stalled = false;
  dropped = false;

  constructor(store: WatchHistory, prng: Prng, request: WatchRequest) {
    this.store = store;
    this.prng = prng;
    this.request = request;
    this.start = request.startRevision || store.currentRevision + 1;
    this.stallChance = prng.pick([0, 0.1, 0.7]);
  }

  readonly sink = (response: WatchResponse): boolean => {
    assert.ok(!this.canceled && !this.dropped, 'nothing after the end');
    assert.ok(!this.stalled, 'nothing while full');
    assert.equal(response.type === 'created', !this.created, 'created once and first');
    this.created = true;
    if (response.type === 'events') this.#takeBatch(response);
    if (response.type === 'progress') this.#takeProgress(response.header.revision as number);
    if (response.type === 'canceled') {
      this.canceled = true;
      assert.equal(response.compactRevision, this.store.compactRevision);
      assert.ok(this.handle.nextRevision < response.compactRevision, 'canceled though history is there');
      this.#expectAllBelow(this.handle.nextRevision);
    }
    this.stalled = this.prng.chance(this.stallChance);
    return !this.stalled;
  };

  #takeBatch(response: WatchResponse & { type: 'events' }): void {
    const { batch, header } = response;
    const first = batch.events[0]?.kv.modRevision as number;
    assert.ok(batch.events.length > 0);
    assert.equal(batch.lastRevision, batch.events.at(-1)?.kv.modRevision);
    assert.equal(batch.headerRevision, header.revision);
    assert.ok(
      batch.headerRevision >= batch.lastRevision && batch.headerRevision <= this.store.currentRevision,
    );
    assert.ok(first > (this.events.at(-1)?.kv.modRevision ?? 0), 'a revision torn or repeated');
    this.events.push(...batch.events);
    this.#expectAllBelow(batch.lastRevision + 1);
    for (const event of batch.events) this.#checkPrevious(event);
  }

  #takeProgress(revision: number): void {
    assert.ok(revision >= this.start - (this.request.startRevision ? 0 : 1), 'progress below the start');
    this.#expectAllBelow(revision + 1);
  }

  /** What was delivered is all that there is from the start up to `end`. */
  #expectAllBelow(end: number): void {
    const id = (e: Event) => `${e.type}${e.kv.key.join('.')}@${e.kv.modRevision}`;
    const expected = this.expected().filter((e) => e.kv.modRevision < end);
    assert.deepEqual(this.events.map(id), expected.map(id));
  }

  expected(): Event[] {
    const { filters = [] } = this.request;
    return this.store.log.filter(
      (e) =>
        e.kv.modRevision >= this.start &&
        holds(this.request, e.kv.key) &&
        !filters.includes(e.type === 'put' ? 'noput' : 'nodelete'),
    );
  }

  #checkPrevious(event: Event): void {
    const original = this.store.log.find(
      (e) => e.kv.modRevision === event.kv.modRevision && e.kv.key === event.kv.key && e.kv === event.kv,
    );
    assert.ok(original);
    if (!this.request.prevKv) assert.equal(event.prevKv, undefined);
    else if (event.prevKv) assert.equal(event.prevKv, original.prevKv);
    else
      assert.ok(!original.prevKv || event.kv.modRevision <= this.store.compactRevision, 'prevKv is missing');
  }
}

class Run {
  readonly prng: Prng;
  readonly clock = new ManualClock();
  readonly store = new WatchHistory();
  readonly hub: WatchHub;
  readonly watchers: Observed[] = [];
  canceled = 0;

  constructor(seed: number) {
    this.prng = new Prng(seed);
    const header = (revision: number) => ({ clusterId: 1n, memberId: 1n, raftTerm: 1, revision });
    const limits = {
      ringRevisions: this.prng.pick([1, 4, 64]),
      ringBytes: this.prng.pick([500, 5000, 1_000_000]),
      batchRevisions: this.prng.pick([1, 3, 10]),
      batchBytes: this.prng.pick([1, 1000, 1_000_000]),
      turnWork: this.prng.pick([1, 7, 1000]),
      progressIntervalMs: 1000,
    };
    this.hub = new WatchHub({ source: this.store, clock: this.clock, header, limits });
  }

  step(): void {
    const { prng } = this;
    const dice = prng.int(0, 99);
    if (dice < 35) this.write();
    else if (dice < 45) this.watch();
    else if (dice < 65) this.clock.runDeferred();
    else if (dice < 80) this.withWatcher((w) => this.resume(w));
    else if (dice < 86) this.withWatcher((w) => w.handle.requestProgress());
    else if (dice < 90) this.withWatcher((w) => this.cancel(w));
    else if (dice < 94) this.clock.advance(prng.int(0, 1500));
    else if (dice < 95) this.compact();
    else if (dice < 99) this.write();
    else this.reset();
  }

  finish(): void {
    do {
      for (const w of this.watchers) if (w.stalled) this.resume(w);
      this.clock.runDeferred();
    } while (this.watchers.some((w) => this.busy(w)));
    for (const w of this.watchers) {
      if (w.canceled || w.dropped) continue;
      assert.ok(w.handle.synced, 'not synced in the end');
      assert.equal(w.events.length, w.expected().length);
    }
    const open = this.watchers.filter((w) => !w.canceled && !w.dropped);
    assert.equal(this.hub.stats().watchers, open.length);
    assert.equal(this.hub.stats().slowWatchers, 0);
    for (const w of open) w.handle.cancel();
    assert.deepEqual([this.hub.stats().watchers, this.hub.stats().groups], [0, 0]);
    assert.equal(this.clock.untilNext(), undefined);
    this.canceled = this.watchers.filter((w) => w.canceled).length;
  }

  busy(w: Observed): boolean {
    return !w.canceled && !w.dropped && (w.stalled || !w.handle.synced);
  }

  changes(): Change[] {
    const { prng } = this;
    const keys = prng.shuffle([...KEYS]).slice(0, prng.int(1, 3));
    return keys.map((key) => (prng.chance(0.3) ? { key } : { key, value: `v${prng.int(0, 9)}` }));
  }

  write(): void {
    const { revision, events } = this.store.write(this.changes());
    this.hub.publish(revision, events);
  }

  watch(): void {
    const { prng, store } = this;
    const end = prng.pick([undefined, 'aaa', 'c', 'zz', '\0']);
    const key = prng.pick(end === undefined ? KEYS : end === '\0' ? ['', 'b'] : ['', 'a', 'aa']);
    const filters = prng.pick<WatchFilter[]>([[], [], ['noput'], ['nodelete']]);
    const kept = Math.max(1, store.compactRevision);
    const request: WatchRequest = {
      key: utf8(key),
      filters,
      prevKv: prng.chance(0.5),
      progressNotify: prng.chance(0.3),
      startRevision: prng.chance(0.4) ? 0 : prng.int(prng.chance(0.8) ? kept : 1, store.currentRevision + 4),
      ...(end !== undefined && { rangeEnd: utf8(end) }),
    };
    const observed = new Observed(store, prng, request);
    observed.handle = this.hub.watch(request, observed.sink);
    this.watchers.push(observed);
  }

  withWatcher(act: (w: Observed) => void): void {
    const open = this.watchers.filter((w) => !w.dropped);
    if (open.length > 0) act(this.prng.pick(open));
  }

  resume(w: Observed): void {
    w.stalled = false;
    w.handle.resume();
  }

  cancel(w: Observed): void {
    w.dropped = true;
    w.handle.cancel();
  }

  compact(): void {
    const { store } = this;
    store.compact(this.prng.int(Math.max(1, store.compactRevision), store.currentRevision));
  }

  reset(): void {
    for (let n = this.prng.int(0, 5); n > 0; n--) this.store.write(this.changes());
    if (this.prng.chance(0.5)) this.compact();
    this.hub.reset();
  }
}

test('every watcher gets exactly its events, in order and in whole revisions, or a compaction cancel', () => {
  const only = process.env.WATCH_SEED;
  const base = only === undefined ? Date.now() % 1_000_000_000 : Number(only);
  let canceled = 0;
  let watchers = 0;
  for (let seed = base; seed < base + (only === undefined ? RUNS : 1); seed++) {
    const run = new Run(seed);
    try {
      for (let i = 0; i < STEPS; i++) run.step();
      run.finish();
    } catch (error) {
      throw new Error(`WATCH_SEED=${seed}`, { cause: error });
    }
    canceled += run.canceled;
    watchers += run.watchers.length;
  }
  if (only === undefined) {
    assert.ok(watchers > RUNS * 10, `only ${watchers} watchers: the test tests little`);
    assert.ok(canceled > RUNS && canceled < watchers / 2, `${canceled} of ${watchers} canceled`);
  }
});
