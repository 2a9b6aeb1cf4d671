import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '@muster/base';
import { json, putJson, testV1 } from '../../test/v1-harness.ts';

test('grant, look, renew, revoke; a dead lease is 410 everywhere', async () => {
  const clock = new ManualClock();
  const { ask } = testV1({ clock });
  const granted = await ask('/v1/leases', putJson({ ttl: '30s', id: 'ABC'.toLowerCase() }, 'POST'));
  assert.equal(granted.status, 201);
  assert.equal(granted.headers.get('location'), '/v1/leases/0000000000000abc');
  assert.deepEqual(await granted.json(), { id: '0000000000000abc', ttl: 30, grantedTtl: 30 });
  assert.equal((await ask('/v1/leases', putJson({ ttl: 30, id: 'abc' }, 'POST'))).status, 409);
  await ask('/v1/kv/k?lease=abc', { method: 'PUT', body: 'v' });
  clock.advance(10_000);
  const id = '/v1/leases/0000000000000abc';
  assert.deepEqual(await json(ask(`${id}?keys=1`)), {
    id: '0000000000000abc',
    ttl: 20,
    grantedTtl: 30,
    keys: [{ key: 'k' }],
  });
  assert.deepEqual(await json(ask(`${id}/keepalive`, { method: 'POST' })), {
    id: '0000000000000abc',
    ttl: 30,
  });
  assert.deepEqual(await json(ask('/v1/leases')), { leases: ['0000000000000abc'] });
  const many = await json<{ results: unknown[] }>(
    ask('/v1/leases/keepalive', putJson({ ids: ['abc', 'def'] }, 'POST')),
  );
  assert.deepEqual(many.results, [
    { id: '0000000000000abc', ttl: 30 },
    { id: '0000000000000def', ttl: 0 },
  ]);
  assert.equal((await ask(id, { method: 'DELETE' })).status, 204);
  assert.equal((await ask('/v1/kv/k')).status, 404);
  assert.equal((await ask(id)).status, 410);
  assert.equal((await ask(id, { method: 'DELETE' })).status, 410);
  assert.equal((await ask(`${id}/keepalive`, { method: 'POST' })).status, 410);
});

test('negative ids, absurd times to live and bad ids', async () => {
  const { ask } = testV1();
  const grant = (body: unknown) => ask('/v1/leases', putJson(body, 'POST'));
  assert.equal((await json(grant({ ttl: 5, id: 'ffffffffffffffff' }))).id, 'ffffffffffffffff');
  assert.equal((await ask('/v1/leases/ffffffffffffffff')).status, 200);
  for (const ttl of [0, -1, 1.5, 1e300, '0s', '-5s', '5', 'forever', null, 9_000_000_001, '99999999999h']) {
    assert.equal((await grant({ ttl })).status, 400, String(ttl));
  }
  for (const id of ['xyz', '12345678901234567', '-1', ''])
    assert.equal((await grant({ ttl: 5, id })).status, 400, id);
  for (const path of ['/v1/leases/xyz', '/v1/leases/%zz', '/v1/leases/12345678901234567']) {
    assert.equal((await ask(path)).status, 400, path);
  }
  const ids = Array.from({ length: 1001 }, () => '1');
  assert.equal((await ask('/v1/leases/keepalive', putJson({ ids }, 'POST'))).status, 400);
  assert.equal((await ask('/v1/leases/keepalive', putJson({ ids: [] }, 'POST'))).status, 400);
});
