import assert from 'node:assert/strict';
import { test } from 'node:test';
import { binaryString, ManualClock, utf8, utf8Text } from '@muster/base';
import { type Change, WatchHistory } from '../test/watch-history.ts';
import type { WatchHandle, WatchRequest, WatchResponse } from './api.ts';
import { WatchHub, type WatchLimits } from './watch-hub.ts';

const SMALL: Partial<WatchLimits> = { ringRevisions: 8, ringBytes: 100_000, batchRevisions: 5, turnWork: 16 };

type Taken = { readonly responses: WatchResponse[]; handle: WatchHandle; full: boolean };

class World {
  readonly clock = new ManualClock();
  readonly store = new WatchHistory();
  readonly hub: WatchHub;

  constructor(limits: Partial<WatchLimits> = SMALL) {
    const header = (revision: number) => ({ clusterId: 1n, memberId: 2n, raftTerm: 3, revision });
    this.hub = new WatchHub({ source: this.store, clock: this.clock, header, limits });
  }

  put(key: string, value = 'v'): number {
    return this.#publish([{ key, value }]);
  }

  delete(key: string): number {
    return this.#publish([{ key }]);
  }

  txn(...keys: string[]): number {
    return this.#publish(keys.map((key) => ({ key, value: 'v' })));
  }

  watch(request: Omit<WatchRequest, 'key'> & { key: string }): Taken {
    const taken = { responses: [] as WatchResponse[], full: false } as Taken;
    taken.handle = this.hub.watch({ ...request, key: utf8(request.key) }, (response) => {
      taken.responses.push(response);
      return !taken.full;
    });
    return taken;
  }

  settle(): void {
    this.clock.runDeferred();
  }

  #publish(changes: readonly Change[]): number {
    const { revision, events } = this.store.write(changes);
    this.hub.publish(revision, events);
    return revision;
  }
}

/** `created@1`, `events@5 a=v b-`, `progress@9`, `canceled:7:reason`. */
function shown(response: WatchResponse): string {
  if (response.type === 'canceled') return `canceled:${response.compactRevision}:${response.reason}`;
  const head = `${response.type}@${response.header.revision}`;
  if (response.type !== 'events') return head;
  assert.equal(response.batch.headerRevision, response.header.revision);
  const events = response.batch.events.map(
    (e) => `${utf8Text(e.kv.key)}${e.kv.modRevision}${e.type === 'put' ? '' : '-'}`,
  );
  assert.equal(response.batch.lastRevision, response.batch.events.at(-1)?.kv.modRevision);
  return `${head} ${events.join(' ')}`;
}

const lines = (taken: Taken) => taken.responses.map(shown);
const END = new Uint8Array([0]);

test('created comes first, in a later turn, with the revision of the call', () => {
  const world = new World();
  world.put('a');
  const w = world.watch({ key: 'a' });
  assert.deepEqual(lines(w), []);
  world.put('a');
  assert.deepEqual(lines(w), []);
  world.settle();
  assert.deepEqual(lines(w), ['created@2', 'events@3 a3']);
  assert.equal(w.handle.synced, true);
  assert.equal(w.handle.nextRevision, 4);
});

test('a synced watcher gets one batch for each revision, inside publish, with that revision in its header', () => {
  const world = new World();
  const w = world.watch({ key: 'a', rangeEnd: utf8('c') });
  world.settle();
  world.txn('a', 'b', 'c');
  world.put('z');
  world.put('b');
  assert.deepEqual(lines(w), ['created@1', 'events@2 a2 b2', 'events@4 b4']);
});

test('watchers of one range with equal options get the same batch object, others not', () => {
  const world = new World();
  const range = { key: 'a', rangeEnd: utf8('b') };
  const same = [world.watch(range), world.watch({ ...range, filters: [] }), world.watch(range)];
  const other = world.watch({ ...range, prevKv: true });
  world.settle();
  world.put('a');
  const batches = [...same, other].map((w) => {
    const last = w.responses.at(-1);
    return last?.type === 'events' ? last.batch : undefined;
  });
  assert.ok(batches[0] !== undefined && batches[0] === batches[1] && batches[1] === batches[2]);
  assert.notEqual(batches[3], batches[0]);
  assert.equal(world.hub.stats().groups, 2);
});

test('history comes in batches of bounded revisions whose header is the current revision', () => {
  const world = new World();
  for (let i = 0; i < 12; i++) world.put('a');
  const w = world.watch({ key: 'a', startRevision: 2 });
  world.settle();
  assert.deepEqual(lines(w), [
    'created@13',
    'events@13 a2 a3 a4 a5 a6',
    'events@13 a7 a8 a9 a10 a11',
    'events@13 a12 a13',
  ]);
});

test('start at the current revision replays it, start after it does not', () => {
  const world = new World();
  world.put('a');
  const at = world.watch({ key: 'a', startRevision: 2 });
  const after = world.watch({ key: 'a', startRevision: 3 });
  world.settle();
  world.put('a');
  assert.deepEqual(lines(at), ['created@2', 'events@2 a2', 'events@3 a3']);
  assert.deepEqual(lines(after), ['created@2', 'events@3 a3']);
});

test('a future start delivers nothing below it and tells no progress below it', () => {
  const world = new World();
  const w = world.watch({ key: 'a', startRevision: 4 });
  w.handle.requestProgress();
  world.settle();
  assert.equal(world.hub.stats().futureWatchers, 1);
  assert.equal(w.handle.nextRevision, 4);
  world.put('a');
  world.put('a');
  world.settle();
  assert.deepEqual(lines(w), ['created@1']);
  world.put('a');
  assert.deepEqual(lines(w), ['created@1', 'events@4 a4']);
  world.settle();
  assert.deepEqual(lines(w).slice(2), ['progress@4']);
});

test('a start below the compact revision is created, then canceled with that revision', () => {
  const world = new World();
  for (let i = 0; i < 5; i++) world.put('a');
  const before = world.watch({ key: 'q', startRevision: 2 });
  world.settle();
  world.store.compact(4);
  const low = world.watch({ key: 'a', startRevision: 3 });
  const quiet = world.watch({ key: 'q', startRevision: 3 });
  const exact = world.watch({ key: 'a', startRevision: 4 });
  world.settle();
  assert.deepEqual(lines(low), ['created@6', 'canceled:4:']);
  assert.deepEqual(lines(quiet), ['created@6', 'canceled:4:']);
  assert.deepEqual(lines(exact), ['created@6', 'events@6 a4 a5 a6']);
  assert.deepEqual(lines(before), ['created@6']);
  assert.equal(world.hub.stats().watchers, 2);
});

test('refusals: a lone canceled with the text', () => {
  const world = new World({ ...SMALL, watchers: 5 });
  const compacted = 'etcdserver: mvcc: required revision has been compacted';
  const refused = [
    [world.watch({ key: 'a', startRevision: -1 }), compacted],
    [world.watch({ key: 'b', rangeEnd: utf8('a') }), 'mvcc: watcher range is empty'],
    [world.watch({ key: 'b', rangeEnd: utf8('b') }), 'mvcc: watcher range is empty'],
  ] as const;
  const accepted = [world.watch({ key: 'b', rangeEnd: END }), world.watch({ key: '' })];
  const tooMany = world.watch({ key: 'a' });
  for (const [w] of refused) assert.deepEqual(lines(w), []);
  world.settle();
  for (const [w, reason] of refused) assert.deepEqual(lines(w), [`canceled:0:${reason}`]);
  assert.deepEqual(lines(tooMany), ['canceled:0:etcdserver: too many requests']);
  for (const w of accepted) assert.deepEqual(lines(w), ['created@1']);
  assert.equal(world.hub.stats().watchers, 2);
});

test('an empty key is the key \\0; an open end has none', () => {
  const world = new World();
  const zero = world.watch({ key: '' });
  const all = world.watch({ key: '', rangeEnd: END });
  const from = world.watch({ key: 'b', rangeEnd: END });
  world.settle();
  world.put('a');
  world.put('\0');
  world.put('\u00ff\u00ff');
  assert.deepEqual(lines(zero), ['created@1', 'events@3 \u00003']);
  assert.deepEqual(lines(all).length, 4);
  assert.deepEqual(lines(from), ['created@1', 'events@4 \u00ff\u00ff4']);
});

test('filters drop puts or deletes, live and from history; what is all filtered is not sent', () => {
  const world = new World();
  const live = [
    world.watch({ key: 'a', filters: ['noput'] }),
    world.watch({ key: 'a', filters: ['nodelete'] }),
    world.watch({ key: 'a', filters: ['noput', 'nodelete'] }),
  ];
  world.settle();
  world.put('a');
  world.delete('a');
  const past = [
    world.watch({ key: 'a', startRevision: 1, filters: ['noput'] }),
    world.watch({ key: 'a', startRevision: 1, filters: ['nodelete'] }),
    world.watch({ key: 'a', startRevision: 1, filters: ['noput', 'nodelete'] }),
  ];
  world.settle();
  assert.deepEqual(live.map(lines), [
    ['created@1', 'events@3 a3-'],
    ['created@1', 'events@2 a2'],
    ['created@1'],
  ]);
  assert.deepEqual(past.map(lines), [
    ['created@3', 'events@3 a3-'],
    ['created@3', 'events@3 a2'],
    ['created@3'],
  ]);
});

test('previous values go to those who asked, from every path, and never to others', () => {
  for (const limits of [SMALL, { ...SMALL, ringRevisions: 1 }]) {
    const world = new World(limits);
    const live = [world.watch({ key: 'a', prevKv: true }), world.watch({ key: 'a' })];
    world.settle();
    world.put('a', 'one');
    world.put('a', 'two');
    world.delete('a');
    const past = [
      world.watch({ key: 'a', startRevision: 1, prevKv: true }),
      world.watch({ key: 'a', startRevision: 1 }),
    ];
    world.settle();
    const previous = (w: Taken) =>
      w.responses
        .flatMap((r) => (r.type === 'events' ? r.batch.events : []))
        .map((e) => {
          assert.ok(e.prevKv === undefined || e.prevKv.modRevision === e.kv.modRevision - 1);
          return e.prevKv ? utf8Text(e.prevKv.value) : '-';
        });
    assert.deepEqual(previous(live[0] as Taken), ['-', 'one', 'two']);
    assert.deepEqual(previous(past[0] as Taken), ['-', 'one', 'two']);
    assert.deepEqual(previous(live[1] as Taken), ['-', '-', '-']);
    assert.deepEqual(previous(past[1] as Taken), ['-', '-', '-']);
  }
});

test('a previous value below the compact revision is not shown', () => {
  const world = new World();
  world.put('a');
  world.put('a');
  world.put('a');
  world.store.compact(3);
  const w = world.watch({ key: 'a', startRevision: 3, prevKv: true });
  world.settle();
  const events = w.responses.flatMap((r) => (r.type === 'events' ? r.batch.events : []));
  assert.deepEqual(
    events.map((e) => [e.kv.modRevision, e.prevKv?.modRevision]),
    [
      [3, undefined],
      [4, 3],
    ],
  );
});

test('a full sink gets nothing until resume, then everything in order, then is synced again', () => {
  for (const ringRevisions of [1, 8]) {
    const world = new World({ ...SMALL, ringRevisions });
    const w = world.watch({ key: 'a' });
    const other = world.watch({ key: 'a' });
    world.settle();
    w.full = true;
    world.put('a');
    for (let i = 0; i < 6; i++) world.put('a');
    world.settle();
    assert.deepEqual(lines(w), ['created@1', 'events@2 a2']);
    assert.deepEqual(world.hub.stats().stalledWatchers, 1);
    assert.equal(w.handle.synced, false);
    assert.equal(w.handle.nextRevision, 3);
    w.full = false;
    w.handle.resume();
    w.handle.resume();
    assert.equal(w.responses.length, 2);
    world.settle();
    assert.deepEqual(lines(w).slice(2), ['events@8 a3 a4 a5 a6 a7', 'events@8 a8']);
    world.put('a');
    assert.deepEqual(lines(w).slice(4), ['events@9 a9']);
    assert.equal(other.responses.length, 9);
    assert.equal(world.hub.stats().slowWatchers, 0);
  }
});

test('a sink that is full at created gets what it missed after resume', () => {
  const world = new World();
  const w = world.watch({ key: 'a' });
  w.full = true;
  world.settle();
  world.put('a');
  world.settle();
  assert.deepEqual(lines(w), ['created@1']);
  w.full = false;
  w.handle.resume();
  world.settle();
  assert.deepEqual(lines(w).slice(1), ['events@2 a2']);
});

test('compaction does not touch a synced watcher, nor a stalled one that missed nothing', () => {
  const world = new World();
  const live = world.watch({ key: 'a' });
  const idle = world.watch({ key: 'b' });
  world.settle();
  world.put('b');
  idle.full = true;
  idle.handle.requestProgress();
  world.settle();
  for (let i = 0; i < 10; i++) world.put('a');
  world.store.compact(12);
  world.put('a');
  idle.full = false;
  idle.handle.resume();
  world.settle();
  world.put('b');
  assert.equal(lines(live).at(-1), 'events@13 a13');
  assert.deepEqual(lines(idle), ['created@1', 'events@2 b2', 'progress@2', 'events@14 b14']);
});

test('compaction that overtakes a lagging watcher cancels it with the compact revision', () => {
  const world = new World();
  const w = world.watch({ key: 'a' });
  world.settle();
  w.full = true;
  for (let i = 0; i < 5; i++) world.put('a');
  world.store.compact(4);
  world.settle();
  assert.deepEqual(lines(w), ['created@1', 'events@2 a2']);
  w.handle.resume();
  world.settle();
  assert.deepEqual(lines(w).slice(2), ['canceled:4:']);
  w.handle.resume();
  w.handle.requestProgress();
  world.settle();
  assert.equal(w.responses.length, 3);
  assert.deepEqual(world.hub.stats().watchers, 0);
});

test('progress on request: at once when synced, behind the events when not', () => {
  const world = new World();
  const w = world.watch({ key: 'a' });
  world.settle();
  w.handle.requestProgress();
  assert.equal(w.responses.length, 1);
  world.settle();
  assert.deepEqual(lines(w), ['created@1', 'progress@1']);
  w.full = true;
  world.put('a');
  world.put('a');
  w.handle.requestProgress();
  world.settle();
  assert.deepEqual(lines(w).slice(2), ['events@2 a2']);
  w.full = false;
  w.handle.resume();
  world.settle();
  assert.deepEqual(lines(w).slice(3), ['events@3 a3', 'progress@3']);
});

test('periodic progress: only for those who asked, when idle, within interval and jitter', () => {
  const world = new World({ ...SMALL, progressIntervalMs: 1000, progressJitter: 0.1 });
  const asked = world.watch({ key: 'a', progressNotify: true });
  const silent = world.watch({ key: 'a' });
  const future = world.watch({ key: 'a', progressNotify: true, startRevision: 50 });
  world.settle();
  world.clock.advance(999);
  assert.deepEqual(lines(asked), ['created@1']);
  world.clock.advance(120);
  assert.deepEqual(lines(asked), ['created@1', 'progress@1']);
  world.put('a');
  world.clock.advance(1120);
  assert.deepEqual(lines(asked).slice(2), ['events@2 a2'], 'events were sent since: the tick is skipped');
  world.clock.advance(1120);
  assert.deepEqual(lines(asked).slice(3), ['progress@2']);
  assert.deepEqual(lines(silent), ['created@1', 'events@2 a2']);
  assert.deepEqual(lines(future), ['created@1']);
  asked.handle.cancel();
  future.handle.cancel();
  assert.equal(world.clock.untilNext(), undefined, 'no timer without a watcher that wants it');
});

test('cancel: nothing afterwards, in any state', () => {
  const world = new World();
  world.put('a');
  const fresh = world.watch({ key: 'a' });
  const refused = world.watch({ key: 'a', startRevision: -1 });
  fresh.handle.cancel();
  refused.handle.cancel();
  world.settle();
  const live = world.watch({ key: 'a' });
  const future = world.watch({ key: 'a', startRevision: 4 });
  world.settle();
  live.handle.cancel();
  live.handle.cancel();
  future.handle.cancel();
  world.put('a');
  world.put('a');
  assert.deepEqual(
    [fresh, refused, live, future].map((w) => w.responses.length),
    [0, 0, 1, 1],
  );
  const { watchers, groups, futureWatchers } = world.hub.stats();
  assert.deepEqual([watchers, groups, futureWatchers], [0, 0, 0]);
});

test('sinks may cancel themselves and each other while a revision is delivered', () => {
  for (let victim = 0; victim < 5; victim++) {
    for (let actor = 0; actor < 5; actor++) {
      const world = new World();
      const handles: WatchHandle[] = [];
      const got = [0, 0, 0, 0, 0];
      for (let i = 0; i < 5; i++) {
        handles[i] = world.hub.watch({ key: utf8('a') }, (response) => {
          if (response.type === 'events') got[i]!++;
          if (response.type === 'events' && i === actor) handles[victim]?.cancel();
          return true;
        });
      }
      world.settle();
      world.put('a');
      world.put('a');
      got.forEach((n, i) => {
        if (i === victim) assert.ok(n <= 1, `victim ${victim} of ${actor} got ${n}`);
        else assert.equal(n, 2, `watcher ${i}, victim ${victim}, actor ${actor}`);
      });
    }
  }
});

test('a sink may start a watch and resume another', () => {
  const world = new World();
  const slow = world.watch({ key: 'a' });
  world.settle();
  slow.full = true;
  world.put('a');
  slow.full = false;
  let inner: Taken | undefined;
  world.hub.watch({ key: utf8('a') }, (response) => {
    if (response.type === 'events' && !inner) {
      slow.handle.resume();
      inner = world.watch({ key: 'a' });
    }
    return true;
  });
  world.settle();
  world.put('a');
  world.settle();
  world.put('a');
  assert.deepEqual(lines(slow), ['created@1', 'events@2 a2', 'events@3 a3', 'events@4 a4']);
  assert.deepEqual(lines(inner as Taken), ['created@3', 'events@4 a4']);
});

test('reset: every watcher goes on from where it was, or is canceled when that is gone', () => {
  const world = new World();
  const live = world.watch({ key: 'a' });
  const late = world.watch({ key: 'a' });
  const future = world.watch({ key: 'a', startRevision: 40 });
  world.settle();
  late.full = true;
  world.put('a');
  world.put('a');
  world.put('b');
  for (let i = 0; i < 20; i++) world.store.write([{ key: 'a', value: 'w' }]);
  world.store.compact(4);
  world.hub.reset();
  late.full = false;
  late.handle.resume();
  world.settle();
  assert.deepEqual(lines(late), ['created@1', 'events@2 a2', 'canceled:4:']);
  assert.equal(
    lines(live).slice(3).join(' '),
    [5, 10, 15, 20]
      .map((from) => `events@24 ${[0, 1, 2, 3, 4].map((i) => `a${from + i}`).join(' ')}`)
      .join(' '),
  );
  world.put('a');
  assert.equal(lines(live).at(-1), 'events@25 a25');
  assert.deepEqual(lines(future), ['created@1']);
  assert.equal(world.hub.stats().futureWatchers, 1);
});

test('closeAll: each watcher gets canceled with the text, later watches too', () => {
  const world = new World();
  const w = world.watch({ key: 'a' });
  world.settle();
  const fresh = world.watch({ key: 'a' });
  const full = world.watch({ key: 'a' });
  full.full = true;
  world.hub.closeAll('STOPPED');
  const later = world.watch({ key: 'a' });
  world.settle();
  assert.deepEqual(lines(w), ['created@1', 'canceled:0:etcdserver: server stopped']);
  for (const x of [fresh, full, later]) assert.deepEqual(lines(x), ['canceled:0:etcdserver: server stopped']);
  assert.equal(world.hub.stats().watchers, 0);
});

test('cursors of one group at one place share each historical batch and each read of the store', () => {
  const world = new World({ ...SMALL, ringRevisions: 1, turnWork: 100_000 });
  for (let i = 0; i < 20; i++) world.put('a');
  const crowd = Array.from({ length: 50 }, () => world.watch({ key: 'a', startRevision: 2 }));
  world.settle();
  const first = crowd[0] as Taken;
  assert.equal(first.responses.length, 5);
  for (const w of crowd) {
    w.responses.slice(1).forEach((response, i) => {
      const other = first.responses[i + 1];
      assert.ok(response.type === 'events' && other?.type === 'events' && response.batch === other.batch);
    });
  }
  assert.equal(world.store.reads, 4);
});

test('a turn does bounded work and lagging watchers take turns', () => {
  const world = new World({ ...SMALL, ringRevisions: 1, batchRevisions: 10, turnWork: 20 });
  for (let i = 0; i < 100; i++) world.put(`k${i % 2}`);
  const a = world.watch({ key: 'k0', startRevision: 2 });
  const b = world.watch({ key: 'k1', startRevision: 2 });
  let turns = 0;
  const defer = world.clock.defer.bind(world.clock);
  world.clock.defer = (run) =>
    defer(() => {
      turns++;
      run();
    });
  world.settle();
  for (const w of [a, b]) {
    assert.equal(w.responses.length, 11);
    assert.equal(w.responses.slice(1).flatMap((r) => (r.type === 'events' ? r.batch.events : [])).length, 50);
  }
  assert.ok(turns >= 9, `${turns} turns`);
});

test('a fan-out to many watchers of one group is one batch and one call each', () => {
  const world = new World({ ringRevisions: 64 });
  let calls = 0;
  for (let i = 0; i < 1000; i++) {
    world.hub.watch({ key: utf8('a') }, () => {
      calls++;
      return true;
    });
  }
  world.settle();
  calls = 0;
  for (let i = 0; i < 100; i++) world.put('a');
  assert.equal(calls, 100_000);
  assert.equal(world.hub.stats().groups, 1);
});

test('keys of every byte find their watchers', () => {
  const world = new World();
  const all = Array.from({ length: 256 }, (_, byte) => {
    const seen: string[] = [];
    world.hub.watch({ key: new Uint8Array([byte, 0xff]), rangeEnd: new Uint8Array([byte, 0xff, 0]) }, (r) => {
      if (r.type === 'events') seen.push(...r.batch.events.map((e) => binaryString(e.kv.key)));
      return true;
    });
    return seen;
  });
  world.settle();
  for (let byte = 0; byte < 256; byte++) {
    const { revision, events } = world.store.write([{ key: new Uint8Array([byte, 0xff]), value: 'v' }]);
    world.hub.publish(revision, events);
  }
  assert.deepEqual(
    all,
    Array.from({ length: 256 }, (_, byte) => [String.fromCharCode(byte, 0xff)]),
  );
});
