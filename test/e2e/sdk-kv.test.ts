/** The SDK's calls against three real members. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { bytesCodec, type Client, connect, jsonCodec, MusterError } from '@muster/sdk';
import { CLUSTER_KINDS, type ClusterKind, type TestCluster } from '../support/clusters.ts';
import { freePorts } from '../support/ports.ts';

for (const kind of CLUSTER_KINDS) describe(kind.name, { skip: kind.skip }, () => suite(kind));

function suite(kind: ClusterKind): void {
  let cluster: TestCluster;
  let muster: Client;

  before(async () => {
    cluster = await kind.start(3);
    muster = connect({ endpoints: cluster.endpoints });
  });
  after(async () => {
    await muster?.close();
    await cluster?.close();
  });

  const code = (expected: string) => (error: unknown) =>
    error instanceof MusterError && error.code === expected;

  test('text, bytes and JSON come back as they were put', async () => {
    await muster.kv.put('a/text', 'größe');
    assert.equal((await muster.kv.get('a/text'))?.value, 'größe');
    const bytes = Uint8Array.of(0, 255, 128, 10);
    await muster.kv.put('a/bytes', bytes);
    assert.deepEqual((await muster.kv.get('a/bytes', { codec: bytesCodec }))?.value, bytes);
    await assert.rejects(muster.kv.get('a/bytes'), code('BAD_RESPONSE'));
    await muster.kv.put('a/json', { on: true, list: [1, 2] });
    assert.deepEqual((await muster.kv.get('a/json', { codec: jsonCodec() }))?.value, {
      on: true,
      list: [1, 2],
    });
  });

  test('keys of every kind reach the store as they are', async () => {
    for (const key of ['a b', '../x', './', '//', 'ä/ö', '%2F', 'x?y=1&z', '#', '+', '\u0000', 'a/b/']) {
      await muster.kv.put(key, `of ${key}`);
      assert.equal((await muster.kv.get(key))?.value, `of ${key}`);
      assert.equal((await muster.kv.get(key))?.key, key);
    }
    const bytes = Uint8Array.of(0xff, 0xfe, 0);
    await muster.kv.put(bytes, 'of bytes');
    const entry = await muster.kv.get(bytes);
    assert.equal(entry?.value, 'of bytes');
    assert.deepEqual(entry?.keyBytes, bytes);
  });

  test('conditions hold, and what is missing is null or false', async () => {
    assert.equal(await muster.kv.get('c/none'), null);
    assert.equal(await muster.kv.delete('c/none'), false);
    const first = await muster.kv.put('c/key', '1', { ifAbsent: true });
    assert.equal(first.created, true);
    await assert.rejects(muster.kv.put('c/key', '2', { ifAbsent: true }), code('PRECONDITION_FAILED'));
    const second = await muster.kv.put('c/key', '2', { ifRevision: first.modRevision });
    assert.equal(second.version, 2);
    await assert.rejects(
      muster.kv.delete('c/key', { ifRevision: first.modRevision }),
      code('PRECONDITION_FAILED'),
    );
    assert.equal(await muster.kv.delete('c/key', { ifRevision: second.modRevision }), true);
  });

  test('a listing is of one revision, whatever is written between its pages', async () => {
    for (let i = 0; i < 25; i++) await muster.kv.put(`l/${String(i).padStart(2, '0')}`, 'old');
    const seen: string[] = [];
    for await (const { key, value } of muster.kv.list('l/', { pageSize: 10 })) {
      if (seen.length === 0) {
        await muster.kv.put('l/24', 'new');
        await muster.kv.put('l/99', 'new');
      }
      assert.equal(value, 'old');
      seen.push(key);
    }
    assert.equal(seen.length, 25);
    const page = await muster.kv.list('l/', { pageSize: 10 });
    assert.equal(page.items.length, 10);
    assert.ok(page.nextCursor);
  });

  test('concurrent updates all count', async () => {
    const add = () =>
      muster.kv.update<number>('u/count', (n) => (n ?? 0) + 1, { codec: jsonCodec<number>() });
    await Promise.all(Array.from({ length: 20 }, add));
    assert.equal((await muster.kv.get('u/count'))?.value, '20');
  });

  test('a transaction takes one branch, in one revision', async () => {
    const txn = {
      if: [{ key: 't/a', exists: false }],
      then: [{ put: { key: 't/a', value: '1' } }, { put: { key: 't/b', value: '1' } }],
      else: [{ get: { prefix: 't/' } }],
    };
    const first = await muster.kv.txn(txn);
    assert.equal(first.succeeded, true);
    const second = await muster.kv.txn(txn);
    assert.equal(second.succeeded, false);
    const items = second.results[0]?.get?.items ?? [];
    assert.deepEqual(
      items.map(({ key, value, modRevision }) => [key, value, modRevision]),
      [
        ['t/a', '1', first.revision],
        ['t/b', '1', first.revision],
      ],
    );
  });

  test('a lease holds its keys while it is kept, and takes them with it', async () => {
    const lease = await muster.leases.grant('1s');
    await muster.kv.put('s/leased', 'x', { lease });
    assert.equal((await muster.kv.get('s/leased'))?.leaseId, lease.id);
    await new Promise((resolve) => setTimeout(resolve, 2500));
    assert.notEqual(await muster.kv.get('s/leased'), null, 'renewed beyond its ttl');
    await lease.revoke();
    assert.equal(await lease.lost, 'revoked');
    assert.equal(lease.signal.aborted, true);
    assert.equal(await muster.kv.get('s/leased'), null);
  });

  test('a lease that somebody else revokes is lost at its next renewal', async () => {
    const lease = await muster.leases.grant('3s');
    await fetch(`${cluster.endpoints[0]}/v1/leases/${lease.id}`, { method: 'DELETE' });
    assert.equal(await lease.lost, 'expired');
  });

  test('members that are not there are passed over, and a deadline ends a call that nobody can answer', async () => {
    const [dead] = await freePorts(1);
    await using client = connect({ endpoints: [`http://127.0.0.1:${dead}`, ...cluster.endpoints] });
    for (let i = 0; i < 10; i++) await client.kv.put('e/key', String(i));
    assert.equal((await client.kv.get('e/key'))?.value, '9');
    await using alone = connect({ endpoints: [`http://127.0.0.1:${dead}`] });
    const startedAt = performance.now();
    await assert.rejects(alone.kv.get('e/key', { timeout: '500ms' }), code('CONNECT_FAILED'));
    assert.ok(performance.now() - startedAt < 1500);
    const abort = new AbortController();
    const call = alone.kv.get('e/key', { timeout: '30s', signal: abort.signal });
    abort.abort();
    await assert.rejects(call, code('ABORTED'));
  });
}
