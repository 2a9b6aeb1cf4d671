import assert from 'node:assert/strict';
import { area } from '../suite.ts';

const { cases, add } = area('lease');

/** Reference section 2.10. */
export const leaseCases = cases;

add('grant: at least two seconds, and the answer says what was granted', async (c) => {
  for (const [asked, granted] of [
    [-1, 2],
    [0, 2],
    [1, 2],
    [2, 2],
    [3, 3],
    [60, 60],
  ] as const) {
    const lease = await c.api.leaseGrant({ id: 0n, ttlSeconds: asked });
    assert.equal(lease.ttlSeconds, granted, `asked for ${asked}`);
    assert.equal((await c.api.leaseTimeToLive({ id: lease.id })).grantedTtlSeconds, granted);
    await c.api.leaseRevoke({ id: lease.id });
  }
});

add('grant: at most nine billion seconds', async (c) => {
  await c.rejects('LEASE_TTL_TOO_LARGE', c.api.leaseGrant({ id: 0n, ttlSeconds: 9_000_000_001 }));
  const { id, ttlSeconds } = await c.api.leaseGrant({ id: 0n, ttlSeconds: 9_000_000_000 });
  assert.equal(ttlSeconds, 9_000_000_000);
  await c.api.leaseRevoke({ id });
});

add(
  'grant: the server picks a positive id; a given one is kept, negative too; one in use is refused',
  async (c) => {
    const picked = await c.grant();
    assert.ok(picked > 0n && picked < 1n << 63n);
    const another = await c.grant();
    assert.notEqual(another, picked);
    for (const id of [777_001n, -5n, (1n << 63n) - 1n]) {
      assert.equal(await c.grant(60, id), id);
      await c.rejects('LEASE_EXISTS', c.api.leaseGrant({ id, ttlSeconds: 10 }));
    }
    const { leases } = await c.api.leaseLeases();
    for (const id of [picked, another, 777_001n, -5n, (1n << 63n) - 1n]) {
      assert.ok(leases.includes(id), String(id));
      await c.api.leaseRevoke({ id });
    }
    const after = (await c.api.leaseLeases()).leases;
    assert.ok(!after.includes(picked) && !after.includes(-5n));
  },
);

add('revoke: all keys die in one revision, in key order', async (c) => {
  const lease = await c.grant();
  for (const name of ['c', 'a', 'b']) await c.put(name, name, { lease });
  const before = await c.put('free');
  const watched = await c.watch({ ...c.all, prevKv: true });
  const answer = await c.api.leaseRevoke({ id: lease });
  assert.equal(answer.header.revision, before + 1);
  await watched.responsesUntil(2);
  assert.deepEqual(
    watched.events.map(
      (e) => `${e.type} ${c.name(e.kv.key)} ${e.kv.modRevision - before} ${e.prevKv?.lease === lease}`,
    ),
    ['delete a 1 true', 'delete b 1 true', 'delete c 1 true'],
  );
  assert.deepEqual(c.names((await c.api.range(c.all)).kvs), ['free']);
});

add(
  'revoke: an unknown lease is an error, a second time too; without keys it takes no revision',
  async (c) => {
    await c.rejects('LEASE_NOT_FOUND', c.api.leaseRevoke({ id: 31_337n }));
    const start = await c.revision();
    const lease = await c.grant();
    await c.api.leaseRevoke({ id: lease });
    await c.rejects('LEASE_NOT_FOUND', c.api.leaseRevoke({ id: lease }));
    assert.equal(await c.revision(), start);
  },
);

add('time to live: the whole seconds left, the granted ones, and keys when asked for', async (c) => {
  const lease = await c.grant(100);
  await c.put('a', 'v', { lease });
  await c.put('b', 'v', { lease });
  const plain = await c.api.leaseTimeToLive({ id: lease });
  assert.deepEqual([plain.id, plain.grantedTtlSeconds, plain.keys], [lease, 100, []]);
  assert.ok(plain.ttlSeconds >= 95 && plain.ttlSeconds <= 99, `${plain.ttlSeconds} left, floored`);
  const full = await c.api.leaseTimeToLive({ id: lease, keys: true });
  assert.deepEqual(full.keys.map((key) => c.name(key)).sort(), ['a', 'b']);
  await c.api.leaseRevoke({ id: lease });
});

add('time to live of an unknown lease is -1, not an error', async (c) => {
  const answer = await c.api.leaseTimeToLive({ id: 99_999n, keys: true });
  assert.deepEqual(
    [answer.id, answer.ttlSeconds, answer.grantedTtlSeconds, answer.keys],
    [99_999n, -1, 0, []],
  );
});

add('keepalive: the granted ttl; 0 for an unknown lease', async (c) => {
  const lease = await c.grant(30);
  const alive = await c.api.leaseKeepAlive({ id: lease });
  assert.deepEqual([alive.id, alive.ttlSeconds], [lease, 30]);
  await c.api.leaseRevoke({ id: lease });
  for (const id of [lease, 4_711n]) {
    const dead = await c.api.leaseKeepAlive({ id });
    assert.deepEqual([dead.id, dead.ttlSeconds], [id, 0]);
  }
});

add('expiry: keys die together soon after the ttl, not before; a kept lease lives on', async (c) => {
  const [doomed, kept] = [await c.grant(2), await c.grant(2)];
  await c.put('b', 'v', { lease: doomed });
  await c.put('a', 'v', { lease: doomed });
  await c.put('kept', 'v', { lease: kept });
  const watched = await c.watch(c.all);
  for (let i = 0; i < 3; i++) {
    await c.target.passTime(500);
    assert.deepEqual(watched.events, []);
    await c.api.leaseKeepAlive({ id: kept });
  }
  for (let i = 0; i < 8 && watched.events.length === 0; i++) {
    await c.target.passTime(500);
    await c.api.leaseKeepAlive({ id: kept });
  }
  assert.deepEqual(
    watched.events.map((e) => `${e.type} ${c.name(e.kv.key)}`),
    ['delete a', 'delete b'],
  );
  assert.equal(watched.responses.length, 2, 'created and one batch');
  assert.equal((await c.api.leaseTimeToLive({ id: doomed })).ttlSeconds, -1);
  assert.deepEqual(c.names((await c.api.range(c.all)).kvs), ['kept']);
  await c.api.leaseRevoke({ id: kept });
});

add('a key put again without the lease outlives it', async (c) => {
  const lease = await c.grant();
  await c.put('k', 'v', { lease });
  await c.put('k', 'v');
  await c.api.leaseRevoke({ id: lease });
  assert.ok(await c.get('k'));
});

add('a lease granted again under an old id starts without keys', async (c) => {
  const id = 616_161n;
  await c.grant(60, id);
  await c.put('k', 'v', { lease: id });
  await c.api.leaseRevoke({ id });
  await c.grant(60, id);
  assert.deepEqual((await c.api.leaseTimeToLive({ id, keys: true })).keys, []);
  await c.api.leaseRevoke({ id });
});
