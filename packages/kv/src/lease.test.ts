import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventText, Harness } from '../test/store-harness.ts';

const LEAST = -(2n ** 63n);
const LARGEST = 2n ** 63n - 1n;

const error = (h: Harness, id: bigint, ttlSeconds: number): string => {
  const outcome = h.apply({ type: 'leaseGrant', id, ttlSeconds });
  return 'error' in outcome ? outcome.error.message : 'granted';
};
const keys = (h: Harness, id: bigint): string[] =>
  h.machine.leases.keysOf(id).map((key) => new TextDecoder().decode(key));

test('grant raises a TTL below the minimum, refuses one too large and an id in use (2.10)', () => {
  const h = new Harness();
  assert.deepEqual(
    [0, -1, 1, 2, 3].map((ttl, i) => h.grant(BigInt(i + 1), ttl)),
    [2, 2, 2, 2, 3],
  );
  assert.equal(error(h, 20n, 9_000_000_000), 'granted');
  assert.equal(error(h, 21n, 9_000_000_001), 'etcdserver: too large lease TTL');
  assert.equal(error(h, 1n, 60), 'etcdserver: lease already exists');
  assert.equal(error(h, 0n, 60), 'etcdserver: requested lease not found');
  assert.equal(h.machine.currentRevision, 1);
});

test('ids of the whole signed range are kept apart, and survive a restart', () => {
  const h = new Harness();
  const ids = [LEAST, -1n, 1n, LARGEST];
  for (const id of ids) {
    h.grant(id);
    h.put(`key of ${id}`, '', { lease: id });
  }
  h.seal();
  h.crash();
  const found = h.machine.leases.list().map((lease) => lease.id);
  assert.deepEqual(found.sort(), [...ids].sort());
  for (const id of ids) assert.deepEqual(keys(h, id), [`key of ${id}`]);
  assert.equal(h.get('key of -1'), 'key of -1=@3 l-1');
});

test('revoke deletes the attached keys in one revision, ascending; without keys there is none', () => {
  const h = new Harness();
  h.grant(1n);
  h.grant(2n);
  for (const key of ['c', 'a', 'b']) h.put(key, key, { lease: 1n });
  h.put('other', '', { lease: 2n });
  h.put('b', 'moved', { lease: 2n });
  h.delete('c');
  h.put('d', '', { lease: 1n });
  const outcome = h.apply({ type: 'leaseRevoke', id: 1n });
  assert.deepEqual(outcome.events.map(eventText), [
    'a deleted@9 (was a=a@3 l1)',
    'd deleted@9 (was d=@8 l1)',
  ]);
  assert.equal(outcome.revision, 9);
  assert.deepEqual([h.machine.leases.has(1n), keys(h, 1n), keys(h, 2n)], [false, [], ['b', 'other']]);
  h.grant(3n);
  assert.deepEqual(h.apply({ type: 'leaseRevoke', id: 3n }).events, []);
  assert.equal(h.machine.currentRevision, 9);
  const again = h.apply({ type: 'leaseRevoke', id: 1n });
  assert.ok('error' in again);
  assert.equal(again.error.message, 'etcdserver: requested lease not found');
});

test('a revoked id may be granted again and starts without keys', () => {
  const h = new Harness();
  h.grant(1n);
  h.put('a', '', { lease: 1n });
  h.run({ type: 'leaseRevoke', id: 1n });
  h.put('a', '');
  h.grant(1n, 9);
  assert.deepEqual([keys(h, 1n), h.machine.leases.get(1n)?.ttlSeconds], [[], 9]);
});

test('a checkpoint says what is left, survives a restart, and never exceeds the grant', () => {
  const h = new Harness();
  h.grant(1n, 600);
  h.grant(2n, 600);
  h.run({
    type: 'leaseCheckpoint',
    checkpoints: [
      { id: 1n, remainingTtlSeconds: 250 },
      { id: 2n, remainingTtlSeconds: 9999 },
      { id: 404n, remainingTtlSeconds: 1 },
    ],
  });
  const remaining = () => [1n, 2n, 404n].map((id) => h.machine.leases.get(id)?.remainingTtlSeconds);
  assert.deepEqual(remaining(), [250, 600, undefined]);
  h.seal();
  h.crash();
  assert.deepEqual(remaining(), [250, 600, undefined]);
  h.run({ type: 'leaseCheckpoint', checkpoints: [{ id: 1n, remainingTtlSeconds: 0 }] });
  assert.deepEqual(remaining(), [0, 600, undefined]);
});

test('leases open without reading the keys attached to them', () => {
  const h = new Harness();
  h.grant(1n);
  for (let i = 0; i < 100; i++) h.put(`k${i}`, '', { lease: 1n });
  h.seal();
  const tables = new Set<string>();
  const copy = h.engine.crashCopy();
  const iterate = copy.iterate.bind(copy);
  copy.iterate = (table, bounds) => {
    tables.add(table);
    return iterate(table, bounds);
  };
  h.engine = { crashCopy: () => copy } as typeof h.engine;
  h.crash();
  assert.deepEqual([...tables].sort(), ['alarms', 'auth', 'leases', 'members']);
  assert.equal(h.machine.leases.keysOf(1n).length, 100);
});
