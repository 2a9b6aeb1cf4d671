import assert from 'node:assert/strict';
import { test } from 'node:test';
import { KvError } from '@muster/contract';
import { eventText, Harness, op } from '../test/store-harness.ts';

test('history is every change from a revision on, inclusive, with the values before', () => {
  const h = new Harness();
  h.put('a', '1');
  h.put('b', '1');
  h.put('a', '2');
  h.delete('a');
  h.put('a', '3');
  const all = ['a=1@2', 'b=1@3', 'a=2@4 c2 v2 (was a=1@2)', 'a deleted@5 (was a=2@4 c2 v2)', 'a=3@6'];
  assert.deepEqual(h.events(1), all);
  assert.deepEqual(h.events(4), all.slice(2));
  assert.deepEqual(h.events(7), []);
  assert.deepEqual(h.events(1, { key: 'b' }), ['b=1@3']);
  assert.deepEqual(h.events(1, { key: 'a', end: 'c' }), all);
  assert.deepEqual(h.events(1, { key: 'aa', end: '\0' }), ['b=1@3']);
  assert.deepEqual(h.events(1, { key: 'b', end: 'a' }), []);
});

test('at the compact revision it is legal, below it is refused with that revision', () => {
  const h = new Harness();
  for (let i = 0; i < 5; i++) h.put('a', String(i));
  h.compact(4);
  // The value before the change at the compact revision is of a compacted revision: it is not shown.
  assert.deepEqual(h.events(4)[0], 'a=2@4 c2 v3');
  assert.deepEqual(h.events(4)[1], 'a=3@5 c2 v4 (was a=2@4 c2 v3)');
  assert.throws(
    () => h.events(3),
    (error) => {
      assert.ok(error instanceof KvError);
      assert.deepEqual([error.code, error.extra?.compactRevision], ['COMPACTED', 4]);
      return true;
    },
  );
});

test('values before are the same while a compaction is only scheduled', () => {
  const h = new Harness();
  for (let i = 0; i < 5; i++) h.put('a', String(i));
  h.compact(4, false);
  assert.deepEqual(h.events(4)[0], 'a=2@4 c2 v3');
});

test('no more revisions are looked at than asked for, whether they match or not, but one always is', () => {
  const h = new Harness();
  for (let i = 0; i < 10; i++) h.put(i === 9 ? 'rare' : 'other');
  const read = (from: number, maxRevisions: number) =>
    h.machine.eventsBetween(from, 11, {
      key: new TextEncoder().encode('rare'),
      maxRevisions,
      maxBytes: 1000,
    });
  assert.deepEqual(read(2, 4), { events: [], nextRevision: 6 });
  assert.deepEqual(read(2, 0), { events: [], nextRevision: 3 });
  const last = read(6, 100);
  assert.deepEqual([last.events.map(eventText), last.nextRevision], [['rare=@11'], 12]);
  assert.equal(read(12, 5).nextRevision, 12);
});

test('slices hold whole revisions: bytes stop before the revision that is too much, unless it is alone', () => {
  const h = new Harness();
  const big = 'x'.repeat(1000);
  for (let revision = 2; revision <= 4; revision++) {
    h.txn({ success: [op.put(`a${revision}`, big), op.put(`b${revision}`, big)] });
  }
  const slice = (from: number, maxBytes: number) => {
    const { events, nextRevision } = h.machine.eventsBetween(from, 4, { maxRevisions: 100, maxBytes });
    return [events.map((event) => event.kv.modRevision), nextRevision];
  };
  assert.deepEqual(slice(2, 1), [[2, 2], 3]);
  assert.deepEqual(slice(2, 2500), [[2, 2], 3]);
  assert.deepEqual(slice(2, 4500), [[2, 2, 3, 3], 4]);
  assert.deepEqual(slice(3, 1e9), [[3, 3, 4, 4], 5]);
  assert.deepEqual(slice(4, 1), [[4, 4], 5]);
});

test('without previous values none are read', () => {
  const h = new Harness();
  h.put('a', '1');
  h.put('a', '2');
  let gets = 0;
  const get = h.engine.get.bind(h.engine);
  h.engine.get = (table, key) => {
    gets++;
    return get(table, key);
  };
  const { events } = h.machine.eventsBetween(2, 3, { maxRevisions: 9, maxBytes: 999, prevKv: false });
  assert.deepEqual([events.map(eventText), gets], [['a=1@2', 'a=2@3 c2 v2'], 0]);
});
