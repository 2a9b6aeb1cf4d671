import assert from 'node:assert/strict';
import { test } from 'node:test';
import { errorCode, Harness, op } from '../test/store-harness.ts';

/** The numbers are what `etcdctl endpoint hashkv` of etcd 3.4.23 printed after the same operations. */
const hashes = (h: Harness, ...revisions: number[]): number[] =>
  revisions.map((revision) => h.machine.hashKv(revision).hash);

test('HashKV of an empty store', () => {
  assert.deepEqual(new Harness().machine.hashKv(0), {
    hash: 1084519789,
    compactRevision: -1,
    hashRevision: 1,
  });
});

test('HashKV equals that of etcd, before and after compactions, whether or not removal is done', () => {
  const h = new Harness();
  h.put('a', '1');
  h.put('b', '1');
  h.put('a', '2');
  h.put('c', '1');
  h.delete('b');
  h.put('a', '3');
  h.put('d', '1');
  assert.deepEqual(
    hashes(h, 2, 3, 4, 5, 6, 7, 8),
    [2587454935, 2143169314, 3086679940, 1552270801, 1106805189, 4128752123, 2794975808],
  );
  for (const finish of [false, true]) {
    if (finish) while (!h.machine.compactStep());
    else h.compact(4, false);
    assert.deepEqual(hashes(h, 5, 6, 7, 8), [3668259351, 1749830759, 1848271298, 3981506623]);
  }
  // The deletion at 6 is the compact revision now: etcd 3.4 has removed it, Muster keeps it and leaves it out.
  for (const finish of [false, true]) {
    if (finish) while (!h.machine.compactStep());
    else h.compact(6, false);
    assert.deepEqual(hashes(h, 7, 8), [185727024, 1346570248]);
  }
});

test('HashKV equals that of etcd with nothing alive, long values, leases and several changes in a revision', () => {
  const h = new Harness();
  h.put('a', '1');
  h.put('a', '2');
  h.compact(3, false);
  h.delete('a');
  assert.deepEqual(hashes(h, 4), [573317793]);
  while (!h.machine.compactStep());
  assert.deepEqual(hashes(h, 4), [573317793]);
  h.put('bin', 'x'.repeat(300));
  h.grant(-7n);
  h.put('leased', '', { lease: -7n });
  h.txn({ success: [op.put('x', '1'), op.put('y', '2'), op.delete('bin')] });
  assert.deepEqual(hashes(h, 0), [3106876926]);
  h.compact(5);
  assert.deepEqual(hashes(h, 6, 7), [3724997278, 3074132463]);
  h.run({ type: 'leaseRevoke', id: -7n });
  assert.deepEqual(hashes(h, 8), [2017030239]);
  h.compact(7);
  assert.deepEqual(hashes(h, 8), [3387735746]);
  h.put('z', '1');
  assert.deepEqual(hashes(h, 9), [1548819076]);
});

test('HashKV is refused above the current revision and below the compact one, and allowed at both', () => {
  const h = new Harness();
  for (let i = 0; i < 4; i++) h.put('a', String(i));
  h.compact(3);
  const at = (revision: number) => errorCode(() => h.machine.hashKv(revision));
  assert.deepEqual([2, 3, 5, 6].map(at), ['COMPACTED', 'no error', 'no error', 'FUTURE_REVISION']);
  assert.deepEqual([h.machine.hashKv(0).hashRevision, h.machine.hashKv(4).compactRevision], [5, 3]);
});

test('storeHash is equal for equal state, however far compaction is, and sees every part of it', () => {
  const make = (): Harness => {
    const h = new Harness({ compactionBatch: 3 });
    h.grant(1n);
    for (let i = 0; i < 20; i++) h.put(`k${i % 4}`, String(i), { lease: 1n });
    h.compact(15, false);
    return h;
  };
  const [a, b] = [make(), make()];
  b.machine.compactStep();
  assert.equal(a.machine.storeHash(), b.machine.storeHash());
  while (!b.machine.compactStep());
  const same = a.machine.storeHash();
  assert.equal(same, b.machine.storeHash());
  const member = { id: 1n, name: 'n', peerUrls: [], clientUrls: [], isLearner: false };
  const changes: ((h: Harness) => unknown)[] = [
    (h) => h.put('k0', 'x'),
    (h) => h.grant(2n),
    (h) => h.run({ type: 'leaseCheckpoint', checkpoints: [{ id: 1n, remainingTtlSeconds: 5 }] }),
    (h) => h.run({ type: 'alarm', action: 'activate', memberId: 1n, alarm: 'nospace' }),
    (h) => h.machine.setMember(member),
    (h) => h.compact(16),
  ];
  for (const change of changes) {
    const h = make();
    change(h);
    assert.notEqual(h.machine.storeHash(), same, String(change));
  }
});
