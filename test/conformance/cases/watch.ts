import assert from 'node:assert/strict';
import { EMPTY_BYTES, utf8, utf8Text } from '@muster/base';
import type { RequestOp } from '@muster/kv';
import { area, type Conformance, type Watched } from '../suite.ts';

const { cases, add } = area('watch');

/** Reference section 2.8. */
export const watchCases = cases;

/** Each event as `put name` or `delete name`. */
const shown = (c: Conformance, watched: Watched): string[] =>
  watched.events.map((e) => `${e.type} ${c.name(e.kv.key)}`);

const headerRevisions = (watched: Watched) => watched.responses.map((r) => r.header.revision);

add('created comes first, with the current revision, and not from inside the call', async (c) => {
  const now = await c.put('k');
  const watched = await c.watch({ key: c.key('k') });
  assert.deepEqual([watched.responses[0]?.type, watched.responses[0]?.header.revision], ['created', now]);
});

add('from now on: each later change once, one revision a response, its header that revision', async (c) => {
  await c.put('k', 'before');
  const watched = await c.watch(c.all);
  const first = await c.put('k', '1');
  const second = await c.delete('k');
  const third = await c.put('j', '3');
  await watched.responsesUntil(4);
  assert.deepEqual(shown(c, watched), ['put k', 'delete k', 'put j']);
  assert.deepEqual(headerRevisions(watched).slice(1), [first, second, third]);
  const [put, deletion] = watched.events;
  assert.deepEqual(put?.kv.value, utf8('1'));
  assert.deepEqual(deletion?.kv, {
    key: c.key('k'),
    value: EMPTY_BYTES,
    createRevision: 0,
    modRevision: second,
    version: 0,
    lease: 0n,
  });
});

add('a created key shows: its create revision is its mod revision', async (c) => {
  const watched = await c.watch(c.all);
  await c.put('k');
  await c.put('k');
  await c.delete('k');
  await c.put('k');
  await watched.eventsUntil(4);
  const created = watched.events.filter((e) => e.type === 'put' && e.kv.createRevision === e.kv.modRevision);
  assert.deepEqual(
    created.map((e) => e.kv.version),
    [1, 1],
  );
});

add('from the past: everything from that revision on, the header that of the store', async (c) => {
  const first = await c.put('a');
  await c.put('b');
  await c.delete('a');
  const now = await c.put('c');
  const watched = await c.watch({ ...c.all, startRevision: first });
  await watched.eventsUntil(4);
  assert.deepEqual(shown(c, watched), ['put a', 'put b', 'delete a', 'put c']);
  assert.deepEqual(headerRevisions(watched), [now, now]);
  const from = await c.watch({ ...c.all, startRevision: now });
  await from.eventsUntil(1);
  assert.deepEqual(shown(c, from), ['put c']);
  const live = await c.put('d');
  await watched.eventsUntil(5);
  assert.equal(watched.responses.at(-1)?.header.revision, live);
});

add('1200 revisions of history: at most 1000 a response, all of them, in order', async (c) => {
  const first = await c.put('k', '0');
  const writes: Promise<unknown>[] = [];
  for (let i = 1; i < 1200; i++) {
    writes.push(c.put('k', String(i)));
    if (writes.length === 50) await Promise.all(writes.splice(0));
  }
  await Promise.all(writes);
  const now = await c.revision();
  const watched = await c.watch({ key: c.key('k'), startRevision: first });
  await watched.eventsUntil(1200);
  assert.deepEqual(
    watched.events.map((e) => e.kv.modRevision),
    Array.from({ length: 1200 }, (_, i) => first + i),
  );
  for (const response of watched.responses.slice(1)) {
    assert.ok(response.type === 'events' && response.batch.events.length <= 1000);
    assert.equal(response.header.revision, now);
  }
});

add('a future start gets nothing before it', async (c) => {
  const now = await c.revision();
  const watched = await c.watch({ ...c.all, startRevision: now + 3 });
  assert.equal(watched.responses[0]?.header.revision, now);
  await c.put('a');
  await c.put('b');
  await c.put('c');
  await c.put('d');
  await watched.eventsUntil(2);
  assert.deepEqual(shown(c, watched), ['put c', 'put d']);
});

add('a start below the compact revision: created, then canceled with it', async (c) => {
  const low = await c.put('k');
  await c.put('k');
  const at = await c.put('k');
  await c.api.compact({ revision: at });
  const watched = await c.watch({ ...c.all, startRevision: low });
  await watched.responsesUntil(2);
  const [created, canceled] = watched.responses;
  assert.equal(created?.type, 'created');
  assert.ok(canceled?.type === 'canceled');
  assert.deepEqual([canceled.compactRevision, canceled.reason], [at, '']);
  const exact = await c.watch({ ...c.all, startRevision: at });
  await exact.eventsUntil(1);
  assert.equal(exact.events[0]?.kv.modRevision, at);
});

add('compaction does not touch a watch that is up to date', async (c) => {
  const watched = await c.watch(c.all);
  await c.put('a');
  await watched.eventsUntil(1);
  await c.put('a');
  const at = await c.put('a');
  await watched.eventsUntil(3);
  await c.api.compact({ revision: at });
  await c.put('b');
  await watched.eventsUntil(4);
  assert.deepEqual(shown(c, watched), ['put a', 'put a', 'put a', 'put b']);
});

add('a negative start is refused', { needs: ['watch-negative-start-refused'] }, async (c) => {
  const watched = await c.watch({ ...c.all, startRevision: -1 });
  assert.deepEqual(watched.shown(), ['canceled 0 etcdserver: mvcc: required revision has been compacted']);
});

add('an empty range is refused', async (c) => {
  for (const [from, end] of [
    ['b', 'a'],
    ['a', 'a'],
  ] as const) {
    const watched = await c.watch({ key: c.key(from), rangeEnd: c.key(end) });
    assert.deepEqual(watched.shown(), ['canceled 0 mvcc: watcher range is empty']);
  }
});

add(
  'one key, a range, everything from a key on; an empty key is the zero byte',
  { fresh: true },
  async (c) => {
    const single = await c.watch({ key: c.key('b') });
    const range = await c.watch({ key: c.key('a'), rangeEnd: c.key('c') });
    const rest = await c.watch({ key: c.key('b'), rangeEnd: utf8('\0') });
    const zero = await c.watch({ key: EMPTY_BYTES });
    const everything = await c.watch({ key: EMPTY_BYTES, rangeEnd: utf8('\0') });
    for (const name of ['a', 'b', 'bb', 'c']) await c.put(name);
    await c.api.put({ key: utf8('\0') });
    await c.put('b', 'last');
    for (const [watched, count] of [
      [single, 2],
      [range, 4],
      [rest, 4],
      [zero, 1],
      [everything, 6],
    ] as const) {
      await watched.eventsUntil(count);
      assert.equal(watched.events.length, count);
    }
    assert.deepEqual(shown(c, single), ['put b', 'put b']);
    assert.deepEqual(shown(c, range), ['put a', 'put b', 'put bb', 'put b']);
    assert.deepEqual(shown(c, rest), ['put b', 'put bb', 'put c', 'put b']);
  },
);

add('filters: no puts or no deletes; what is all filtered is not sent', async (c) => {
  const noPut = await c.watch({ ...c.all, filters: ['noput'] });
  const noDelete = await c.watch({ ...c.all, filters: ['nodelete'] });
  const start = await c.put('a');
  await c.delete('a');
  await c.put('b');
  await c.delete('b');
  await c.put('c');
  await noPut.eventsUntil(2);
  await noDelete.eventsUntil(3);
  assert.deepEqual(shown(c, noPut), ['delete a', 'delete b']);
  assert.deepEqual(shown(c, noDelete), ['put a', 'put b', 'put c']);
  assert.deepEqual([noPut.responses.length, noDelete.responses.length], [3, 4]);
  const past = await c.watch({ ...c.all, filters: ['noput'], startRevision: start });
  await past.eventsUntil(2);
  assert.deepEqual(shown(c, past), ['delete a', 'delete b']);
});

add('previous values, live and from the past; none on a creation; never unasked', async (c) => {
  const live = await c.watch({ ...c.all, prevKv: true });
  const plain = await c.watch(c.all);
  const start = await c.put('k', 'one');
  await c.put('k', 'two');
  await c.delete('k');
  await c.put('k', 'three');
  const past = await c.watch({ ...c.all, prevKv: true, startRevision: start });
  for (const watched of [live, past]) {
    await watched.eventsUntil(4);
    const previous = watched.events.map((e) => e.prevKv && [e.prevKv.modRevision - start, e.prevKv.version]);
    assert.deepEqual(previous, [undefined, [0, 1], [1, 2], undefined]);
    assert.deepEqual(watched.events[1]?.prevKv?.value, utf8('one'));
  }
  await plain.eventsUntil(4);
  assert.ok(plain.events.every((e) => e.prevKv === undefined));
});

add('a previous value is that before the whole txn, whatever the txn did in between', async (c) => {
  const one = (op: RequestOp): RequestOp => ({
    type: 'txn',
    txn: { compare: [], success: [op], failure: [] },
  });
  await c.put('old', 'before');
  const live = await c.watch({ ...c.all, prevKv: true });
  const ops = ['new', 'old'].flatMap((name) => [one(c.putOp(name, 'during')), one(c.deleteOp(name))]);
  const { header } = await c.api.txn({ compare: [], success: ops, failure: [] });
  const past = await c.watch({ ...c.all, prevKv: true, startRevision: header.revision as number });
  for (const watched of [live, past]) {
    await watched.eventsUntil(4);
    assert.deepEqual(shown(c, watched), ['put new', 'delete new', 'put old', 'delete old']);
    const previous = watched.events.map((e) => e.prevKv && utf8Text(e.prevKv.value));
    assert.deepEqual(previous, [undefined, undefined, 'before', 'before']);
  }
});

add('a previous value below the compact revision is not told', async (c) => {
  await c.put('k', 'one');
  const at = await c.put('k', 'two');
  await c.put('k', 'three');
  await c.api.compact({ revision: at, physical: true });
  const watched = await c.watch({ ...c.all, prevKv: true, startRevision: at });
  await watched.eventsUntil(2);
  assert.deepEqual(
    watched.events.map((e) => e.prevKv?.modRevision),
    [undefined, at],
  );
});

add('all of a revision comes in one response, live and from the past', async (c) => {
  const live = await c.watch(c.all);
  const names = Array.from({ length: 60 }, (_, i) => `k${i}`);
  const ops = names.map((name) => c.putOp(name, 'x'.repeat(200)));
  const { header } = await c.api.txn({ compare: [], success: ops, failure: [] });
  await c.put('after');
  const past = await c.watch({ ...c.all, startRevision: header.revision as number });
  for (const watched of [live, past]) {
    await watched.eventsUntil(61);
    const [, first] = watched.responses;
    assert.ok(first?.type === 'events');
    const events = first.batch.events.filter((e) => e.kv.modRevision === header.revision);
    assert.deepEqual(
      events.map((e) => c.name(e.kv.key)),
      names,
    );
  }
});

add('a put and a delete of one key in one txn are two events of one revision', async (c) => {
  const watched = await c.watch(c.all);
  const inner = (op: ReturnType<typeof c.putOp>) =>
    ({ type: 'txn', txn: { compare: [], success: [op], failure: [] } }) as const;
  await c.api.txn({ compare: [], success: [inner(c.putOp('k')), inner(c.deleteOp('k'))], failure: [] });
  await watched.responsesUntil(2);
  assert.deepEqual(shown(c, watched), ['put k', 'delete k']);
});

add(
  'an update answered at a revision is seen by a watch from there; a list and a watch after it miss nothing',
  async (c) => {
    const revision = await c.put('k');
    const from = await c.watch({ ...c.all, startRevision: revision });
    await from.eventsUntil(1);
    assert.equal(from.events[0]?.kv.modRevision, revision);
    const writes = Array.from({ length: 20 }, (_, i) => c.put(`n${i}`));
    const list = await c.api.range(c.all);
    const after = await c.watch({ ...c.all, startRevision: (list.header.revision as number) + 1 });
    await Promise.all(writes);
    await after.eventsUntil(20 + 1 - list.count);
    const seen = new Set([...c.names(list.kvs), ...after.events.map((e) => c.name(e.kv.key))]);
    assert.equal(seen.size, 21);
    assert.equal(after.events.length, 21 - list.count, 'nothing twice');
  },
);

add('watches end one by one', async (c) => {
  const gone = await c.watch(c.all);
  const stays = await c.watch(c.all);
  await c.put('a');
  await gone.eventsUntil(1);
  gone.handle.cancel();
  gone.handle.cancel();
  await c.put('b');
  await stays.eventsUntil(2);
  await c.put('c');
  await stays.eventsUntil(3);
  assert.deepEqual(gone.shown().length, 2);
});

add(
  'progress on request comes behind all events up to its revision',
  { needs: ['progress-request'] },
  async (c) => {
    const watched = await c.watch(c.all);
    watched.handle.requestProgress();
    await watched.responsesUntil(2);
    assert.equal(watched.responses[1]?.type, 'progress');
    const writes = Array.from({ length: 30 }, (_, i) => c.put(`k${i}`));
    watched.handle.requestProgress();
    const last = Math.max(...(await Promise.all(writes)));
    watched.handle.requestProgress();
    const told = () => watched.responses.some((r) => r.type === 'progress' && r.header.revision === last);
    await watched.until(told, `progress at ${last}`);
    assert.equal(watched.events.length, 30);
    let newest = 0;
    for (const response of watched.responses) {
      if (response.type === 'progress') newest = Math.max(newest, response.header.revision as number);
      if (response.type === 'events') {
        assert.ok(
          (response.batch.events[0]?.kv.modRevision as number) > newest,
          'an event at or below a progress',
        );
      }
    }
    assert.ok(newest >= (watched.responses[0]?.header.revision as number));
  },
);

add(
  'progress is not told below a future start',
  { needs: ['progress-request', 'watch-future-progress'] },
  async (c) => {
    const now = await c.revision();
    const watched = await c.watch({ ...c.all, startRevision: now + 2 });
    watched.handle.requestProgress();
    await c.put('a');
    await c.put('b');
    await watched.eventsUntil(1);
    watched.handle.requestProgress();
    await watched.until(() => watched.responses.some((r) => r.type === 'progress'), 'progress');
    for (const response of watched.responses) {
      if (response.type === 'progress') assert.ok((response.header.revision as number) >= now + 2);
    }
  },
);

add(
  'a full sink is left alone until it resumes, then gets everything',
  { needs: ['watch-back-pressure'] },
  async (c) => {
    const watched = await c.watch(c.all);
    const other = await c.watch(c.all);
    watched.room = false;
    for (let i = 0; i < 20; i++) await c.put(`k${i}`);
    await other.eventsUntil(20);
    assert.ok(watched.events.length <= 1, `${watched.events.length} events for a full sink`);
    watched.room = true;
    watched.handle.resume();
    await watched.eventsUntil(20);
    await c.put('last');
    await watched.eventsUntil(21);
    assert.deepEqual(shown(c, watched), shown(c, other).slice(0, 20).concat('put last'));
  },
);

add(
  'compaction that overtakes a full sink cancels it with the compact revision',
  { needs: ['watch-back-pressure', 'watch-nothing-held'] },
  async (c) => {
    const watched = await c.watch(c.all);
    watched.room = false;
    await c.put('a');
    await c.put('b');
    const at = await c.put('c');
    await c.put('d');
    await watched.eventsUntil(1);
    await c.api.compact({ revision: at });
    watched.room = true;
    watched.handle.resume();
    await watched.until(() => watched.responses.at(-1)?.type === 'canceled', 'a cancel');
    assert.deepEqual(watched.shown().slice(2), [`canceled ${at} `]);
  },
);

add('many watches of many ranges, each exactly its own', async (c) => {
  const watches: Watched[] = [];
  for (let i = 0; i < 20; i++) {
    watches.push(await c.watch({ key: c.key(`${i % 10}/`), rangeEnd: c.key(`${i % 10}0`), prevKv: i >= 10 }));
  }
  for (let i = 0; i < 50; i++) await c.put(`${i % 10}/${i}`);
  for (const [i, watched] of watches.entries()) {
    await watched.eventsUntil(5);
    assert.deepEqual(
      shown(c, watched),
      [0, 1, 2, 3, 4].map((n) => `put ${i % 10}/${n * 10 + (i % 10)}`),
    );
  }
});
