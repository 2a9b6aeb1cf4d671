import assert from 'node:assert/strict';
import { test } from 'node:test';
import { KvError } from '@muster/contract';
import { errorCode, Harness, op } from '../test/store-harness.ts';

const compactError = (h: Harness, revision: number): string => errorCode(() => h.compact(revision));

test('compact refuses what is compacted and what is yet to come, and takes the current revision (2.7)', () => {
  const h = new Harness();
  h.put('a', '1');
  h.put('a', '2');
  assert.equal(compactError(h, 4), 'FUTURE_REVISION');
  assert.equal(compactError(h, 3), 'no error');
  assert.equal(h.get('a', 3), 'a=2@3 c2 v2');
  assert.equal(compactError(h, 3), 'COMPACTED');
  assert.equal(compactError(h, 2), 'COMPACTED');
  const error = (() => {
    try {
      return h.compact(1);
    } catch (thrown) {
      return thrown;
    }
  })();
  assert.ok(error instanceof KvError);
  assert.equal(error.message, 'etcdserver: mvcc: required revision has been compacted');
  assert.equal(error.extra?.compactRevision, 3);
});

test('compact at 0 succeeds once on a fresh store, -1 never; compacting makes no revision', () => {
  const h = new Harness();
  assert.equal(compactError(h, -1), 'COMPACTED');
  assert.equal(compactError(h, 0), 'no error');
  assert.equal(compactError(h, 0), 'COMPACTED');
  assert.deepEqual([h.machine.compactRevision, h.machine.currentRevision], [0, 1]);
});

test('what stays: the newest of each key at the compact revision, if a put, and all above', () => {
  const h = new Harness();
  h.put('a', '1'); // 2, superseded at 4
  h.put('b', '1'); // 3, stays
  h.put('a', '2'); // 4, stays
  h.delete('b'); // 5
  h.put('a', '3'); // 6
  h.compact(4);
  assert.equal(h.records('revisions'), 4);
  assert.deepEqual(h.all(4), ['a=2@4 c2 v2', 'b=1@3']);
  h.compact(6);
  assert.deepEqual([h.records('revisions'), h.records('keys')], [1, 1]);
  assert.deepEqual(h.all(), ['a=3@6 c2 v3']);
});

test('a deletion exactly at the compact revision stays until the next compaction', () => {
  const h = new Harness();
  h.put('a', '1');
  h.delete('a');
  h.put('b', '1');
  h.compact(3);
  assert.deepEqual(h.events(3), ['a deleted@3', 'b=1@4']);
  assert.equal(h.get('a', 3), 'nothing');
  assert.deepEqual([h.records('revisions'), h.records('keys')], [2, 2]);
  h.compact(4);
  assert.deepEqual([h.records('revisions'), h.records('keys')], [1, 1]);
});

test('a deletion at the compact revision whose key came back goes with the next compaction too', () => {
  const h = new Harness();
  h.put('a', '1');
  h.delete('a');
  h.put('a', '2');
  h.compact(3);
  h.compact(4);
  assert.deepEqual([h.records('revisions'), h.get('a')], [1, 'a=2@4']);
});

test('deleting everything and compacting leaves nothing behind but the last deletion', () => {
  const h = new Harness();
  for (let i = 0; i < 50; i++) h.put(`k${i % 10}`, String(i));
  h.delete('k', 'l');
  h.put('end');
  h.compact(h.machine.currentRevision);
  assert.deepEqual([h.records('revisions'), h.records('keys'), h.all().length], [1, 1, 1]);
});

test('removal runs in slices of the batch; until it is done and after, reads and history are the same', () => {
  const h = new Harness({ compactionBatch: 10 });
  for (let i = 0; i < 100; i++) h.put(`k${i % 7}`, String(i));
  h.compact(80, false);
  const seen = () => [h.all(80), h.all(95), h.events(80), h.machine.hashKv(90).hash];
  const before = seen();
  let slices = 0;
  do {
    assert.ok(h.machine.compactionPending);
    const records = h.records('revisions');
    slices++;
    const done = h.machine.compactStep();
    assert.ok(records - h.records('revisions') <= 10);
    assert.deepEqual(seen(), before);
    assert.equal(h.machine.compactionPending, !done);
  } while (h.machine.compactionPending);
  assert.equal(slices, 8);
  assert.equal(h.records('revisions'), 101 - 80 + 7);
  assert.equal(h.machine.compactStep(), true);
});

test('a compaction extended while it runs removes what two in a row would', () => {
  for (const stepsBefore of [0, 1, 3, 7, 20]) {
    const h = new Harness({ compactionBatch: 4 });
    const twin = new Harness();
    for (const each of [h, twin]) {
      for (let i = 0; i < 40; i++) {
        each.put(`k${i % 5}`, String(i));
        if (i % 6 === 5) each.delete(`k${i % 5}`);
      }
    }
    h.compact(20, false);
    for (let i = 0; i < stepsBefore; i++) h.machine.compactStep();
    h.compact(33, false);
    twin.compact(20);
    twin.compact(33);
    while (!h.machine.compactStep());
    const dump = (each: Harness) => [...each.engine.iterate('revisions'), ...each.engine.iterate('keys')];
    assert.deepEqual(dump(h), dump(twin), `after ${stepsBefore} steps`);
  }
});

test('an unfinished compaction goes on after a restart, from its last sealed slice', () => {
  const h = new Harness({ compactionBatch: 5 });
  for (let i = 0; i < 60; i++) h.put(`k${i % 3}`, String(i));
  h.compact(50, false);
  h.machine.compactStep();
  h.seal();
  const sealed = h.records('revisions');
  h.machine.compactStep();
  h.crash();
  assert.equal(h.records('revisions'), sealed);
  assert.ok(h.machine.compactionPending);
  while (!h.machine.compactStep());
  assert.equal(h.records('revisions'), 60 - 49 + 3);
  assert.equal(h.machine.compactRevision, 50);
});

test('the cost is that of the changes since the last compaction, not of the data', () => {
  const h = new Harness();
  for (let i = 0; i < 5000; i++) h.put(`k${i}`);
  h.compact(h.machine.currentRevision);
  for (let i = 0; i < 10; i++) h.put('k1');
  let touched = 0;
  const iterate = h.engine.iterate.bind(h.engine);
  h.engine.iterate = function* (table, bounds) {
    for (const entry of iterate(table, bounds)) {
      touched++;
      yield entry;
    }
  };
  h.compact(h.machine.currentRevision);
  assert.ok(touched <= 12, `${touched} records read`);
});

test('revisions go on from where they were although compaction removed the newest records', () => {
  const h = new Harness();
  h.put('a');
  h.delete('a');
  h.put('b');
  h.delete('b');
  h.compact(5);
  h.seal();
  h.crash();
  assert.equal(h.machine.currentRevision, 5);
  assert.equal(h.put('c'), 6);
});

test('the compacted revision stays whole: a watch from it sees a key changed twice in it', () => {
  const h = new Harness();
  h.put('k', 'old');
  h.txn({ success: [op.txn({ success: [op.put('k', 'new')] }), op.txn({ success: [op.delete('k')] })] });
  h.put('k', 'again');
  h.compact(3);
  assert.equal(h.get('k', 3), 'nothing');
  assert.deepEqual(h.events(3), ['k=new@3 c2 v2', 'k deleted@3', 'k=again@4']);
  h.compact(4);
  assert.equal(h.records('revisions'), 1);
});

test('a key deleted and put again in the compacted revision: both are seen, and neither lasts too long', () => {
  const h = new Harness();
  h.put('k', '1');
  h.txn({ success: [op.delete('k', '\0'), op.put('k', '2')] });
  h.compact(3);
  assert.deepEqual(h.events(3), ['k deleted@3', 'k=2@3']);
  assert.equal(h.get('k', 3), 'k=2@3');
  h.put('other', 'x');
  h.compact(4);
  assert.equal(h.get('k'), 'k=2@3');
  assert.equal(h.records('revisions'), 2);
});

test('slices that end inside a revision of many changes miss none of them', () => {
  for (const compactionBatch of [1, 2, 3]) {
    const h = new Harness({ compactionBatch });
    for (const round of ['1', '2', '3']) {
      h.txn({ success: ['a', 'b', 'c', 'd', 'e'].map((key) => op.put(key, round)) });
    }
    h.delete('a', 'z');
    h.put('end');
    h.compact(4);
    assert.equal(h.records('revisions'), 5 + 5 + 1);
    h.compact(6);
    assert.deepEqual([h.records('revisions'), h.records('keys')], [1, 1]);
  }
});
