import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prng } from '@muster/base';
import type { EntryResource, KvEvent, SubFrame } from '@muster/contract';
import { positionOf } from './cursor.ts';
import { KV_SHAPE } from './kv-shape.ts';
import {
  type SessionBatch,
  type SessionOutput,
  type SubscriptionFrame,
  WatchSession,
} from './watch-session.ts';

type State = ReadonlyMap<string, EntryResource>;

/** A store with all its states, so that what a client should hold at any revision can be looked up. */
class ModelStore {
  epoch = 'e1';
  rev = 1;
  compacted = 0;
  readonly states = new Map<string, State>([['e1.1', new Map()]]);
  readonly events = new Map<number, KvEvent[]>();

  get state(): State {
    return this.stateAt(this.epoch, this.rev);
  }

  stateAt(epoch: string, rev: number): State {
    const state = this.states.get(`${epoch}.${rev}`);
    assert(state, `no state at ${epoch}.${rev}`);
    return state;
  }

  write(prng: Prng, keys: number): void {
    const state = new Map(this.state);
    const rev = ++this.rev;
    const events: KvEvent[] = [];
    const touched = new Set(Array.from({ length: prng.int(1, 3) }, () => `k${prng.int(1, keys)}`));
    for (const key of touched) {
      const old = state.get(key);
      if (old && prng.chance(0.4)) {
        state.delete(key);
        events.push({ type: 'delete', key, modRevision: rev });
      } else {
        const entry = {
          key,
          value: `v${rev}`,
          modRevision: rev,
          createRevision: old?.createRevision ?? rev,
          version: 1,
        };
        state.set(key, entry);
        events.push({ type: 'put', entry });
      }
    }
    this.events.set(rev, events);
    this.states.set(`${this.epoch}.${rev}`, state);
  }

  compact(prng: Prng): void {
    this.compacted = prng.int(this.compacted, this.rev);
  }

  /** The store comes back from a backup: another epoch, an older revision. */
  restore(prng: Prng): void {
    const rev = prng.int(1, this.rev);
    const state = this.state;
    this.epoch = `e${Number(this.epoch.slice(1)) + 1}`;
    this.rev = rev;
    this.compacted = rev;
    this.events.clear();
    const entries = [...state]
      .filter(() => prng.chance(0.7))
      .map(([key, e]) => [key, { ...e, modRevision: 1 }] as const);
    this.states.set(`${this.epoch}.${rev}`, new Map(entries));
  }
}

/** The server's half of one subscription, one frame at a time, honest but at-least-once. */
class ModelStream {
  readonly id: string;
  readonly #store: ModelStore;
  readonly #prng: Prng;
  readonly #pending: SubscriptionFrame[] = [];
  readonly #epoch: string;
  #next: number;
  #acked: number;
  #sent: number[] = [];
  credit: number;

  constructor(store: ModelStore, sub: SubFrame, prng: Prng) {
    this.id = sub.id;
    this.#store = store;
    this.#prng = prng;
    this.#epoch = store.epoch;
    this.credit = sub.credit ?? 256;
    this.#acked = 0;
    const from = sub.from === undefined ? undefined : positionOf(sub.from);
    const { id } = this;
    if (from && (from.epoch !== store.epoch || from.rev < store.compacted)) {
      this.#pending.push({ t: 'subd', id, mode: 'resume', rev: store.rev });
      const reason = from.epoch === store.epoch ? 'compacted' : 'epoch';
      this.#pending.push({ t: 'gap', id, reason, from: sub.from ?? '', to: store.rev });
      this.#snapshot();
    } else if (from) {
      this.#pending.push({ t: 'subd', id, mode: 'resume', rev: store.rev });
      // A member may repeat what was delivered before.
      this.#next = Math.max(store.compacted + 1, from.rev + 1 - prng.int(0, 2), 2);
      return;
    } else if (sub.snapshot) {
      this.#pending.push({ t: 'subd', id, mode: 'snapshot', rev: store.rev });
      this.#snapshot();
    } else {
      this.#pending.push({ t: 'subd', id, mode: 'resume', rev: store.rev });
    }
    this.#next = store.rev + 1;
  }

  ack(rev: number, credit: number | undefined): void {
    this.#acked = Math.max(this.#acked, rev);
    this.#sent = this.#sent.filter((sent) => sent > this.#acked);
    if (credit !== undefined) this.credit = credit;
  }

  /** The next frame; `undefined` when there is nothing to say or no credit to say it with. */
  frame(): SubscriptionFrame | { t: 'bm'; rev: number } | undefined {
    const pending = this.#pending.shift();
    if (pending) return pending;
    const store = this.#store;
    if (store.epoch !== this.#epoch) return undefined;
    if (this.#next > store.rev) return this.#prng.chance(0.3) ? { t: 'bm', rev: store.rev } : undefined;
    if (this.#sent.length >= this.credit) return undefined;
    if (this.#next <= store.compacted) {
      this.#pending.push({ t: 'gap', id: this.id, reason: 'overflow', from: '', to: store.rev });
      this.#sent = [];
      this.#snapshot();
      this.#next = store.rev + 1;
      return this.#pending.shift();
    }
    const rev = this.#next++;
    this.#sent.push(rev);
    const events = store.events.get(rev) ?? assert.fail(`no events at ${rev}`);
    const of = events.length > 1 && this.#prng.chance(0.5) ? events.length : 1;
    if (of === 1) return { t: 'ev', id: this.id, rev, events };
    events.forEach((event, i) => {
      this.#pending.push({ t: 'ev', id: this.id, rev, part: [i + 1, of], events: [event] });
    });
    return this.#pending.shift();
  }

  #snapshot(): void {
    const { id } = this;
    const items = [...this.#store.state.values()];
    const { rev } = this.#store;
    // A snapshot that was begun and given up for a newer one counts for nothing.
    if (this.#prng.chance(0.2)) {
      const stale = { key: 'never', value: '', modRevision: 1, createRevision: 1, version: 1 };
      this.#pending.push({ t: 'snap', id, rev: rev - 1, items: [stale], more: true });
    }
    for (let at = 0; at < items.length; at += 3) {
      this.#pending.push({ t: 'snap', id, rev, items: items.slice(at, at + 3), more: true });
    }
    this.#pending.push({ t: 'snap', id, rev, items: [], more: false });
  }
}

type Session = WatchSession<EntryResource, KvEvent>;

/** What a consumer makes of the batches, with everything a batch promises checked against the store. */
class Consumer {
  readonly held = new Map<string, EntryResource>();
  readonly queue: SessionBatch<EntryResource>[] = [];
  readonly seen: string[] = [];
  #last: { epoch: string; rev: number } | undefined;

  take(store: ModelStore): SessionBatch<EntryResource> | undefined {
    const batch = this.queue.shift();
    if (!batch) return undefined;
    for (const change of batch.changes) {
      if (change.type === 'put') {
        const before = this.held.get(change.item.key ?? '');
        if (change.cause === 'repair' && this.#last?.epoch === batch.at.epoch) {
          assert.notEqual(before?.modRevision, change.item.modRevision, 'a repair is minimal');
        }
        this.held.set(change.item.key ?? '', change.item);
      } else {
        const existed = this.held.delete(change.identity.slice(1));
        assert(existed || change.cause === 'live', 'a repair deletes only what is there');
      }
    }
    if (this.#last?.epoch === batch.at.epoch) assert(batch.at.rev >= this.#last.rev, 'revisions ascend');
    this.#last = batch.at;
    assert.deepEqual(
      sorted(this.held),
      sorted(store.stateAt(batch.at.epoch, batch.at.rev)),
      `state at ${batch.at.rev}`,
    );
    return batch;
  }
}

function sorted(state: State): [string, number][] {
  return [...state].map(([key, entry]): [string, number] => [key, entry.modRevision]).sort();
}

function newSession(options: {
  from?: string;
  snapshot: boolean;
  credit?: number;
  repair?: boolean;
}): Session {
  return new WatchSession<EntryResource, KvEvent>({
    selection: { kv: { prefix: 'k' } },
    shape: KV_SHAPE,
    snapshot: options.snapshot,
    credit: options.credit ?? 4,
    keepItems: false,
    repair: options.repair ?? true,
    ...(options.from !== undefined && { from: positionOf(options.from) }),
  });
}

function put(outputs: SessionOutput<EntryResource>[], consumer: Consumer): boolean {
  for (const output of outputs) {
    if (output.type === 'violation') assert.fail(`violation: ${output.detail}`);
    if (output.type === 'resubscribe') return true;
    if (output.type === 'batch') consumer.queue.push(output.batch);
    assert(consumer.queue.length <= 100, 'the queue is bounded');
  }
  return false;
}

function run(seed: number): { repairs: number; revisions: number } {
  const prng = new Prng(seed);
  const store = new ModelStore();
  const consumer = new Consumer();
  const session = newSession({ snapshot: true, credit: prng.int(1, 5) });
  const counts = { repairs: 0, revisions: 0 };
  let ids = 0;
  let stream: ModelStream | undefined;
  const connect = () => {
    stream = new ModelStream(store, session.subscribe(`s${++ids}`, store.epoch) as SubFrame, prng);
  };
  const deliver = () => {
    const frame = stream?.frame();
    if (!frame) return false;
    const ended = put(frame.t === 'bm' ? session.bookmark(frame.rev) : session.receive(frame), consumer);
    if (ended) stream = undefined;
    return true;
  };
  const consume = () => {
    const batch = consumer.take(store);
    if (!batch) return false;
    counts.revisions += batch.credit;
    if (batch.changes.some((change) => change.cause === 'repair')) counts.repairs++;
    const ack = session.consumed(batch.at, batch.credit);
    if (ack?.t === 'ack' && ack.id === stream?.id) stream?.ack(ack.rev, ack.credit);
    return true;
  };
  const actions: [number, () => unknown][] = [
    [30, () => store.write(prng, 6)],
    [60, deliver],
    [30, consume],
    [
      4,
      () => {
        session.detach();
        stream = undefined;
      },
    ],
    [10, () => stream ?? (session.full ? undefined : connect())],
    [2, () => store.compact(prng)],
    [
      1,
      () => {
        store.restore(prng);
        session.detach();
        stream = undefined;
      },
    ],
  ];
  const total = actions.reduce((sum, [weight]) => sum + weight, 0);
  for (let step = 0; step < 600; step++) {
    let at = prng.int(1, total);
    const action = actions.find(([weight]) => (at -= weight) <= 0);
    action?.[1]();
  }
  session.detach();
  while (consume());
  connect();
  for (let idle = 0; idle < 20; ) {
    if (!stream && !session.full) connect();
    idle = deliver() || consume() ? 0 : idle + 1;
  }
  assert.deepEqual(sorted(consumer.held), sorted(store.state), 'level with the store at the end');
  return counts;
}

test('whatever is cut, repeated, compacted or restored, the consumer holds what the store had at its revision', () => {
  const first = Number(process.env.SEED ?? 1);
  const total = { repairs: 0, revisions: 0 };
  for (let seed = first; seed < first + (process.env.SEED ? 1 : 400); seed++) {
    try {
      const counts = run(seed);
      total.repairs += counts.repairs;
      total.revisions += counts.revisions;
    } catch (error) {
      throw new Error(`SEED=${seed}`, { cause: error });
    }
  }
  if (!process.env.SEED) assert(total.repairs > 100 && total.revisions > 5000, JSON.stringify(total));
});

test('a watch from a cursor, without a snapshot, gets every later revision once and in order across cuts', () => {
  for (let seed = 1; seed <= 100; seed++) {
    const prng = new Prng(seed);
    const store = new ModelStore();
    for (let i = 0; i < 300; i++) store.write(prng, 5);
    const session = newSession({ from: 'e1.40', snapshot: false, credit: 8 });
    const seen: number[] = [];
    for (let id = 0; seen.at(-1) !== store.rev; id++) {
      const stream = new ModelStream(store, session.subscribe(`s${id}`, store.epoch) as SubFrame, prng);
      for (let frames = prng.int(0, 60); frames > 0; frames--) {
        const frame = stream.frame();
        if (!frame || frame.t === 'bm') continue;
        for (const output of session.receive(frame)) {
          assert.notEqual(output.type, 'violation', `seed ${seed}`);
          if (output.type !== 'batch') continue;
          if (output.batch.changes.length > 0) seen.push(output.batch.at.rev);
          const ack = session.consumed(output.batch.at, output.batch.credit);
          if (ack?.t === 'ack') stream.ack(ack.rev, ack.credit);
        }
      }
      session.detach();
    }
    assert.deepEqual(
      seen,
      Array.from({ length: store.rev - 40 }, (_, i) => i + 41),
      `seed ${seed}`,
    );
  }
});

const entry = (key: string, modRevision: number): EntryResource => ({
  key,
  value: 'x',
  modRevision,
  createRevision: 1,
  version: 1,
});

test('the cursor does not move on subd, on lag, on part of a revision, or on a snapshot that has more to come', () => {
  const session = newSession({ snapshot: true });
  session.subscribe('a', 'e1');
  session.receive({ t: 'subd', id: 'a', mode: 'snapshot', rev: 90 });
  assert.equal(session.received, undefined);
  session.receive({ t: 'snap', id: 'a', rev: 90, items: [entry('k1', 7)], more: true });
  assert.equal(session.received, undefined);
  session.receive({ t: 'snap', id: 'a', rev: 90, items: [], more: false });
  assert.equal(session.received, 'e1.90');
  session.receive({
    t: 'ev',
    id: 'a',
    rev: 91,
    part: [1, 2],
    events: [{ type: 'put', entry: entry('k2', 91) }],
  });
  session.receive({ t: 'lag', id: 'a', behind: 100 });
  assert.deepEqual(session.bookmark(200), []);
  assert.equal(session.received, 'e1.90');
  session.detach();
  const sub = session.subscribe('b', 'e1');
  assert.equal(sub.t === 'sub' && sub.from, 'e1.90');
});

test('frames of an earlier subscription do nothing', () => {
  const session = newSession({ snapshot: true });
  session.subscribe('a', 'e1');
  session.detach();
  session.subscribe('b', 'e1');
  assert.deepEqual(session.receive({ t: 'subd', id: 'a', mode: 'snapshot', rev: 9 }), []);
});

test('a snapshot from a member that is behind is refused, not shown', () => {
  const session = newSession({ from: 'e1.50', snapshot: false });
  session.subscribe('a', 'e1');
  session.receive({ t: 'subd', id: 'a', mode: 'resume', rev: 50 });
  session.receive({ t: 'gap', id: 'a', reason: 'compacted', from: 'e1.50', to: 49 });
  const outputs = session.receive({ t: 'snap', id: 'a', rev: 49, items: [], more: false });
  assert.equal(outputs[0]?.type, 'violation');
  assert.equal(session.received, 'e1.50');
});

test('a peer that sends more than was granted is not listened to until the consumer has caught up', () => {
  const session = newSession({ from: 'e1.1', snapshot: false, credit: 2 });
  session.subscribe('a', 'e1');
  session.receive({ t: 'subd', id: 'a', mode: 'resume', rev: 9 });
  const types = [2, 3, 4, 5, 6, 7, 8].map(
    (rev) =>
      session.receive({ t: 'ev', id: 'a', rev, events: [{ type: 'put', entry: entry('k', rev) }] })[0]?.type,
  );
  assert.deepEqual(types, [...Array.from({ length: 6 }, () => 'batch'), 'resubscribe']);
  assert.equal(session.received, 'e1.7');
  assert.equal(session.full, true);
  session.consumed({ epoch: 'e1', rev: 7 }, 6);
  assert.equal(session.full, false);
  assert.equal((session.subscribe('b', 'e1') as SubFrame).from, 'e1.7');
});

test('an end that may be tried again resubscribes, any other is final', () => {
  const problem = {
    type: 'about:blank',
    title: 'no',
    status: 503,
    code: 'NO_LEADER',
    grpcCode: 14,
    retryable: true,
  };
  const session = newSession({ snapshot: true });
  session.subscribe('a', 'e1');
  assert.equal(session.receive({ t: 'end', id: 'a', problem })[0]?.type, 'resubscribe');
  session.subscribe('b', 'e1');
  const [final] = session.receive({
    t: 'end',
    id: 'b',
    problem: { ...problem, status: 400, code: 'BAD_REQUEST', retryable: false },
  });
  assert.equal(final?.type, 'failed');
  assert.equal(session.status.state, 'ended');
});

test('without repair a gap is skipped: the watch goes on from then and keeps no list of keys', () => {
  const session = newSession({ snapshot: false, repair: false });
  session.subscribe('a', 'e1');
  session.receive({ t: 'subd', id: 'a', mode: 'resume', rev: 5 });
  session.receive({ t: 'ev', id: 'a', rev: 6, events: [{ type: 'put', entry: entry('k1', 6) }] });
  assert.equal(session.size, 0);
  const [gap] = session.receive({ t: 'gap', id: 'a', reason: 'compacted', from: 'e1.6', to: 90 });
  assert.equal(gap?.type, 'resubscribe');
  const sub = session.subscribe('b', 'e1');
  assert.deepEqual([sub.from, sub.snapshot], [undefined, undefined]);
  const [, synced] = session.receive({ t: 'subd', id: 'b', mode: 'resume', rev: 95 });
  assert(synced?.type === 'batch' && synced.batch.synced);
  assert.equal(session.received, 'e1.95');
});
