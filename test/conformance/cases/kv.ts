import assert from 'node:assert/strict';
import { EMPTY_BYTES, utf8, utf8Text } from '@muster/base';
import { area, joined } from '../suite.ts';

const { cases, add } = area('kv');

/** Reference sections 2.1, 2.3, 2.4 and 2.5. */
export const kvCases = cases;

add('a fresh store stands at revision 1; the first write is 2', { fresh: true }, async (c) => {
  assert.equal(await c.revision(), 1);
  const none = await c.api.range({ key: c.key('foo') });
  assert.deepEqual([none.kvs, none.count, none.more, none.header.revision], [[], 0, false, 1]);
  assert.equal(await c.put('foo', 'bar'), 2);
  assert.equal(await c.put('foo', 'baz'), 3);
  const answer = await c.api.range({ key: c.key('foo') });
  assert.equal(answer.header.revision, 3);
  assert.deepEqual(answer.kvs, [
    { key: c.key('foo'), value: utf8('baz'), createRevision: 2, modRevision: 3, version: 2, lease: 0n },
  ]);
});

add('headers tell cluster, member and term, and the term never goes back', async (c) => {
  const first = (await c.api.range({ key: c.key('a') })).header;
  const second = (await c.api.put({ key: c.key('a') })).header;
  for (const header of [first, second]) {
    assert.notEqual(header.clusterId, 0n);
    assert.notEqual(header.memberId, 0n);
    assert.ok(header.raftTerm > 0);
  }
  assert.deepEqual([second.clusterId, second.memberId], [first.clusterId, first.memberId]);
  assert.ok(second.raftTerm >= first.raftTerm);
});

add('each write takes one revision; its header has it', async (c) => {
  const start = await c.revision();
  const put = await c.api.put({ key: c.key('a'), value: utf8('1') });
  assert.deepEqual([put.revision, put.header.revision], [start + 1, start + 1]);
  const deleted = await c.api.deleteRange({ key: c.key('a') });
  assert.deepEqual([deleted.deleted, deleted.header.revision], [1, start + 2]);
  assert.equal(await c.revision(), start + 2);
});

add('what changes nothing takes no revision', async (c) => {
  const start = await c.put('there');
  assert.equal((await c.api.deleteRange({ key: c.key('missing') })).header.revision, start);
  await c.api.txn({ compare: [], success: [], failure: [] });
  await c.api.txn({ compare: [], success: [c.getOp('there'), c.deleteOp('missing')], failure: [] });
  const compare = { key: c.key('there'), target: 'version', result: 'equal' } as const;
  const failed = await c.api.txn({ compare: [compare], success: [c.putOp('there')], failure: [] });
  assert.deepEqual([failed.succeeded, failed.responses, failed.header.revision], [false, [], start]);
  const lease = await c.grant();
  await c.api.leaseKeepAlive({ id: lease });
  await c.api.leaseRevoke({ id: lease });
  assert.equal(await c.revision(), start);
});

add('a delete ends the generation; a put starts another', async (c) => {
  const first = await c.put('k', 'a');
  await c.put('k', 'b');
  const gone = await c.delete('k');
  assert.equal(gone, first + 2);
  assert.equal(await c.get('k'), undefined);
  const again = await c.put('k', 'c');
  const kv = await c.get('k');
  assert.deepEqual([kv?.createRevision, kv?.modRevision, kv?.version], [again, again, 1]);
  const before = await c.get('k', first + 1);
  assert.deepEqual(
    [before?.createRevision, before?.version, utf8Text(before?.value as Uint8Array)],
    [first, 2, 'b'],
  );
  assert.equal(await c.get('k', gone), undefined);
});

add('the header of a read at an old revision is the current one', async (c) => {
  const old = await c.put('a', '1');
  const now = await c.put('a', '2');
  const answer = await c.api.range({ key: c.key('a'), revision: old });
  assert.equal(answer.header.revision, now);
  assert.equal(answer.kvs[0]?.modRevision, old);
});

add('put: an empty key is refused, an empty value is not', async (c) => {
  await c.rejects('EMPTY_KEY', c.api.put({ key: EMPTY_BYTES, value: utf8('v') }));
  await c.api.put({ key: c.key('empty') });
  const kv = await c.get('empty');
  assert.equal(kv?.value.length, 0);
});

add('put: prevKv is what was there, or nothing', async (c) => {
  const request = { key: c.key('k'), value: utf8('1'), prevKv: true };
  assert.equal((await c.api.put(request)).prevKv, undefined);
  const before = await c.get('k');
  const second = await c.api.put({ ...request, value: utf8('2') });
  assert.deepEqual(second.prevKv, before);
  assert.equal((await c.api.put({ key: c.key('k') })).prevKv, undefined);
});

add('put: ignoreValue keeps the value and counts as a put', async (c) => {
  const first = await c.put('k', 'kept');
  const answer = await c.api.put({ key: c.key('k'), ignoreValue: true });
  const kv = await c.get('k');
  assert.equal(utf8Text(kv?.value as Uint8Array), 'kept');
  assert.deepEqual([kv?.createRevision, kv?.modRevision, kv?.version], [first, answer.revision, 2]);
  const put = { key: c.key('k'), ignoreValue: true, value: utf8('x') };
  await c.rejects('VALUE_PROVIDED', c.api.put(put));
  await c.rejects('KEY_NOT_FOUND', c.api.put({ key: c.key('none'), ignoreValue: true }));
});

add('put: ignoreLease keeps the lease', async (c) => {
  const lease = await c.grant();
  await c.put('k', '1', { lease });
  await c.put('k', '2', { ignoreLease: true });
  assert.equal((await c.get('k'))?.lease, lease);
  await c.rejects('LEASE_PROVIDED', c.put('k', '3', { ignoreLease: true, lease }));
  await c.rejects('KEY_NOT_FOUND', c.put('none', '3', { ignoreLease: true }));
  await c.api.leaseRevoke({ id: lease });
});

add('put: an unknown lease is refused and nothing is written', async (c) => {
  const start = await c.revision();
  await c.rejects('LEASE_NOT_FOUND', c.put('k', 'v', { lease: 4242n }));
  assert.equal(await c.get('k'), undefined);
  assert.equal(await c.revision(), start);
});

add('put: without a lease the key leaves its former one; with another it moves', async (c) => {
  const [one, two] = [await c.grant(), await c.grant()];
  const keysOf = async (id: bigint) =>
    (await c.api.leaseTimeToLive({ id, keys: true })).keys.map((key) => c.name(key)).sort();
  await c.put('a', 'v', { lease: one });
  await c.put('b', 'v', { lease: one });
  assert.deepEqual(await keysOf(one), ['a', 'b']);
  await c.put('a', 'v', { lease: two });
  assert.deepEqual([await keysOf(one), await keysOf(two)], [['b'], ['a']]);
  await c.put('a', 'v');
  assert.deepEqual([await keysOf(one), await keysOf(two)], [['b'], []]);
  assert.equal((await c.get('a'))?.lease, 0n);
  await c.api.leaseRevoke({ id: one });
  await c.api.leaseRevoke({ id: two });
  assert.ok(await c.get('a'));
  assert.equal(await c.get('b'), undefined);
});

add('keys and values hold every byte', async (c) => {
  const every = Uint8Array.from({ length: 256 }, (_, i) => i);
  const key = joined(c.key(''), every);
  await c.api.put({ key, value: every });
  const kv = (await c.api.range({ key })).kvs[0];
  assert.deepEqual([kv?.key, kv?.value], [key, every]);
  const above = joined(c.key(''), new Uint8Array([0xff, 0xff]));
  await c.api.put({ key: above });
  const order = (await c.api.range(c.all)).kvs.map((found) => found.key);
  assert.deepEqual(order, [key, above]);
});

add('a value of 1.5 MiB is too large, one of 1 MiB is not', async (c) => {
  const value = new Uint8Array(1024 * 1024).fill(7);
  await c.api.put({ key: c.key('big'), value });
  assert.deepEqual((await c.get('big'))?.value, value);
  const huge = new Uint8Array(1.5 * 1024 * 1024);
  await c.rejects('REQUEST_TOO_LARGE', c.api.put({ key: c.key('huge'), value: huge }));
  assert.equal(await c.get('huge'), undefined);
});

add('deleteRange: one key, a range, from a key on, and nothing', async (c) => {
  for (const name of ['a', 'b', 'c', 'd']) await c.put(name, name);
  const some = await c.api.deleteRange({ key: c.key('b'), rangeEnd: c.key('d') });
  assert.deepEqual([some.deleted, some.prevKvs], [2, []]);
  assert.deepEqual(c.names((await c.api.range(c.all)).kvs), ['a', 'd']);
  for (const [from, end] of [
    ['b', 'a'],
    ['a', 'a'],
  ] as const) {
    const none = await c.api.deleteRange({ key: c.key(from), rangeEnd: c.key(end) });
    assert.deepEqual([none.deleted, none.revision], [0, some.revision]);
  }
  await c.rejects('EMPTY_KEY', c.api.deleteRange({ key: EMPTY_BYTES, rangeEnd: utf8('z') }));
});

add('deleteRange from a key to the end of the keyspace', { fresh: true }, async (c) => {
  for (const name of ['a', 'b', 'c']) await c.put(name);
  const answer = await c.api.deleteRange({ key: c.key('b'), rangeEnd: utf8('\0') });
  assert.equal(answer.deleted, 2);
  const all = await c.api.deleteRange({ key: utf8('\0'), rangeEnd: utf8('\0') });
  assert.equal(all.deleted, 1);
});

add('deleteRange: prevKvs in key order, only when asked for', async (c) => {
  for (const name of ['b', 'a', 'c']) await c.put(name, `old ${name}`);
  const before = (await c.api.range(c.all)).kvs;
  const answer = await c.api.deleteRange({ ...c.all, prevKv: true });
  assert.equal(answer.deleted, 3);
  assert.deepEqual(answer.prevKvs, before);
  assert.deepEqual(c.names(answer.prevKvs), ['a', 'b', 'c']);
});

add('deleteRange takes keys off their lease', async (c) => {
  const lease = await c.grant();
  await c.put('k', 'v', { lease });
  await c.delete('k');
  assert.deepEqual((await c.api.leaseTimeToLive({ id: lease, keys: true })).keys, []);
  const start = await c.put('k', 'free');
  await c.api.leaseRevoke({ id: lease });
  assert.equal((await c.get('k'))?.modRevision, start);
});
