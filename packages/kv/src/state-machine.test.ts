import assert from 'node:assert/strict';
import { test } from 'node:test';
import { utf8 } from '@muster/base';
import {
  compare,
  deleteRequest,
  Harness,
  op,
  putRequest,
  rangeRequest,
  txnRequest,
} from '../test/store-harness.ts';
import type { Command } from './commands.ts';
import type { AlarmType } from './types.ts';

const answer = (h: Harness, command: Command): string => {
  const outcome = h.apply(command);
  return 'error' in outcome ? outcome.error.message : 'done';
};
const raise = (h: Harness, alarm: AlarmType, memberId = 1n) =>
  h.run({ type: 'alarm', action: 'activate', memberId, alarm });

const PUT: Command = { type: 'put', put: putRequest('k', 'v') };
const DELETE: Command = { type: 'deleteRange', deleteRange: deleteRequest('k') };
const GRANT: Command = { type: 'leaseGrant', id: 50n, ttlSeconds: 5 };
const REVOKE: Command = { type: 'leaseRevoke', id: 1n };
const COMPACT: Command = { type: 'compact', revision: 2, physical: false };
const PUT_TXN: Command = { type: 'txn', txn: txnRequest({ failure: [op.put('k')] }) };
const NESTED_PUT_TXN: Command = {
  type: 'txn',
  txn: txnRequest({ success: [op.txn({ success: [op.put('k')] })] }),
};
const DELETE_TXN: Command = { type: 'txn', txn: txnRequest({ success: [op.delete('x')] }) };
const READ_TXN: Command = { type: 'txn', txn: txnRequest({ success: [op.range('k')] }) };

function withData(): Harness {
  const h = new Harness();
  h.grant(1n);
  h.put('k', 'v');
  h.put('k', 'w');
  return h;
}

test('NOSPACE refuses what needs space and lets all else through (8.5)', () => {
  const full = 'etcdserver: mvcc: database space exceeded';
  for (const command of [PUT, GRANT, PUT_TXN, NESTED_PUT_TXN]) {
    const h = withData();
    raise(h, 'nospace');
    assert.equal(answer(h, command), full, command.type);
    assert.equal(h.get('k'), 'k=w@3 c2 v2');
  }
  for (const command of [DELETE, DELETE_TXN, READ_TXN, COMPACT, REVOKE]) {
    const h = withData();
    raise(h, 'nospace');
    assert.equal(answer(h, command), 'done', command.type);
  }
});

test('CORRUPT refuses every change of the data and lets reads through (8.6)', () => {
  for (const command of [PUT, DELETE, PUT_TXN, DELETE_TXN, COMPACT, GRANT, REVOKE]) {
    const h = withData();
    raise(h, 'nospace');
    raise(h, 'corrupt');
    assert.equal(answer(h, command), 'etcdserver: corrupt cluster', command.type);
  }
  const h = withData();
  raise(h, 'corrupt');
  assert.equal(answer(h, READ_TXN), 'done');
  assert.equal(h.get('k'), 'k=w@3 c2 v2');
});

test('an alarm goes only by its exact member and kind, and any member raises it for all', () => {
  const h = withData();
  raise(h, 'nospace', 7n);
  raise(h, 'nospace', 7n);
  raise(h, 'nospace', 2n ** 64n - 1n);
  const drop = (memberId: bigint, alarm: AlarmType) =>
    h.run({ type: 'alarm', action: 'deactivate', memberId, alarm }).alarms;
  assert.deepEqual(drop(8n, 'nospace'), []);
  assert.deepEqual(drop(7n, 'corrupt'), []);
  assert.deepEqual(drop(7n, 'nospace'), [{ memberId: 7n, alarm: 'nospace' }]);
  h.seal();
  h.crash();
  assert.deepEqual(h.machine.alarms(), [{ memberId: 2n ** 64n - 1n, alarm: 'nospace' }]);
  assert.match(answer(h, PUT), /space exceeded/);
  drop(2n ** 64n - 1n, 'nospace');
  assert.equal(answer(h, PUT), 'done');
});

test('a write that crosses the quota happens and is answered with the error (8.5)', () => {
  const h = new Harness({ quotaBytes: 4000 });
  const write = (key: string): string => {
    const text = answer(h, { type: 'put', put: putRequest(key, 'x'.repeat(600)) });
    h.seal();
    return text;
  };
  let writes = 0;
  let text = 'done';
  while (text === 'done' && writes < 10) text = write(`k${writes++}`);
  assert.equal(text, 'etcdserver: mvcc: database space exceeded');
  assert.ok(writes > 2, `${writes} writes`);
  assert.deepEqual([h.machine.currentRevision, h.list('k', { end: 'l' }).length], [1 + writes, writes]);
  assert.ok(!h.machine.quotaAllows(PUT));
  assert.ok(
    h.machine.quotaAllows(DELETE) && h.machine.quotaAllows(COMPACT) && h.machine.quotaAllows(READ_TXN),
  );
  assert.equal(answer(h, { type: 'deleteRange', deleteRange: deleteRequest('k', 'l') }), 'done');
});

test('the quota counts what was written since it was last measured', () => {
  const h = new Harness({ quotaBytes: 3000 });
  const big: Command = { type: 'put', put: putRequest('k', 'x'.repeat(1000)) };
  assert.deepEqual([answer(h, big), answer(h, big)], ['done', 'done']);
  assert.match(answer(h, big), /space exceeded/);
});

test('members: set, attributes, removal that is never taken back, all kept over a restart', () => {
  const h = new Harness();
  const member = (id: bigint, isLearner = false) => ({
    id,
    name: '',
    peerUrls: [`http://10.0.0.${id % 100n}:2380`],
    clientUrls: [],
    isLearner,
  });
  h.machine.setMember(member(2n ** 64n - 1n));
  h.machine.setMember(member(3n, true));
  h.machine.setMember(member(4n));
  const attributes = (id: bigint) =>
    h.run({ type: 'memberAttributes', id, name: 'n1', clientUrls: ['http://a:2379', 'http://b:2379'] });
  attributes(3n);
  attributes(99n);
  h.machine.removeMember(4n);
  attributes(4n);
  h.seal();
  h.crash();
  assert.deepEqual(h.machine.members(), [
    { ...member(3n, true), name: 'n1', clientUrls: ['http://a:2379', 'http://b:2379'] },
    member(2n ** 64n - 1n),
  ]);
  assert.deepEqual([h.machine.isRemovedMember(4n), h.machine.isRemovedMember(3n)], [true, false]);
});

test('meta is written when something changed, and only then', () => {
  const h = new Harness();
  const writes = (): number => {
    let count = 0;
    const put = h.engine.put.bind(h.engine);
    h.engine.put = (table, key, value) => {
      if (table === 'meta') count++;
      put(table, key, value);
    };
    h.seal();
    h.engine.put = put;
    return count;
  };
  assert.equal(writes(), 0);
  h.put('a');
  h.put('a');
  assert.equal(writes(), 1);
  h.run({ type: 'noop' });
  h.grant(1n);
  h.delete('nope');
  assert.equal(writes(), 0);
  h.compact(2, false);
  assert.equal(writes(), 1);
  h.machine.compactStep();
  assert.equal(writes(), 1);
  h.machine.compactStep();
  assert.equal(writes(), 0);
});

test('opening reads meta and the small tables, never the data', () => {
  const h = new Harness();
  for (let i = 0; i < 50; i++) h.put(`k${i}`);
  h.seal();
  const copy = h.engine.crashCopy();
  const touched = new Set<string>();
  const [get, iterate] = [copy.get.bind(copy), copy.iterate.bind(copy)];
  copy.get = (table, key) => {
    touched.add(table);
    return get(table, key);
  };
  copy.iterate = (table, bounds) => {
    touched.add(table);
    return iterate(table, bounds);
  };
  h.engine = { crashCopy: () => copy } as typeof h.engine;
  h.crash();
  assert.deepEqual([...touched].sort(), ['alarms', 'auth', 'leases', 'members', 'meta']);
});

test('what is not sealed is lost whole: revision, data, leases, alarms and compaction together', () => {
  const h = withData();
  h.seal();
  h.put('k', 'lost');
  h.grant(2n);
  h.compact(3);
  raise(h, 'corrupt');
  h.crash();
  assert.deepEqual([h.machine.currentRevision, h.machine.compactRevision], [3, -1]);
  assert.equal(h.get('k'), 'k=w@3 c2 v2');
  assert.deepEqual([h.machine.leases.size, h.machine.alarms().length], [1, 0]);
});

test('an unknown format of a record stops the start with a sentence that says so', () => {
  const h = withData();
  h.engine.put('meta', utf8('store'), Uint8Array.of(9, 1, 2));
  h.engine.commit(99);
  assert.throws(() => h.crash(), /the store record is of format 9; this version reads format 1/);
});

test('noop does nothing', () => {
  const h = new Harness();
  assert.deepEqual(h.apply({ type: 'noop' }), { revision: 1, events: [], result: { type: 'noop' } });
});

test('a hundred keys of a thousand are ranged over after 20,000 puts within a small part of a second', () => {
  const h = new Harness();
  const value = 'v'.repeat(256);
  const startMs = performance.now();
  for (let i = 0; i < 20_000; i++) {
    h.machine.apply({ type: 'put', put: putRequest(`key/${i % 1000}`, value) });
  }
  for (let i = 0; i < 20; i++)
    assert.equal(h.machine.range(rangeRequest('key/', { end: 'key0' })).count, 1000);
  // Smoke only: about 0.15 s on an idle core; the bound leaves room for a loaded machine.
  assert.ok(performance.now() - startMs < 5000);
  assert.ok(h.machine.readTxn(txnRequest({ compare: [compare('key/1', 'version', 'equal', 20)] })).succeeded);
});
