import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock, utf8 } from '@muster/base';
import type { Instance, InstanceList, RegistrationResult, ServiceList } from '@muster/contract';
import { json, putJson, testV1 } from '../../test/v1-harness.ts';
import { matchesVersion } from './instances.ts';

function registry() {
  const clock = new ManualClock();
  const made = testV1({ clock });
  const at = (id: string, service = 'orders') => `/v1/services/${service}/instances/${id}`;
  return {
    ...made,
    clock,
    at,
    put: (id: string, body: object = {}, service = 'orders') => made.ask(at(id, service), putJson(body)),
    list: async (query = '', service = 'orders') =>
      (await json<InstanceList>(made.ask(`/v1/services/${service}/instances${query}`))).instances,
    names: async () => (await json<ServiceList>(made.ask('/v1/services'))).services,
  };
}

test('an instance is an ordinary leased key, and expires with its lease', async () => {
  const { put, list, api, ask, clock, at } = registry();
  const response = await put('a', { url: 'http://10.0.0.1:80', ttl: '10s', metadata: { team: 'red' } });
  assert.equal(response.status, 201);
  const registered = await json<RegistrationResult>(response);
  assert.equal(registered.ttl, 10);
  assert.equal(registered.heartbeatEvery, 3.333);
  const { kvs } = await api.range({ key: utf8('/muster/default/services/orders/a') });
  assert.equal(kvs[0]?.lease, BigInt(`0x${registered.leaseId}`));
  assert.equal((await list())[0]?.url, 'http://10.0.0.1:80');
  clock.advance(9_000);
  assert.equal((await ask(`${at('a')}/heartbeat`, { method: 'POST' })).status, 200);
  clock.advance(9_000);
  assert.equal((await list()).length, 1);
  clock.advance(1_001);
  assert.deepEqual(await list(), []);
  const late = await ask(`${at('a')}/heartbeat`, { method: 'POST' });
  assert.equal(late.status, 404);
  assert.equal((await json(late)).code, 'INSTANCE_EXPIRED');
  assert.equal((await put('a', { ttl: '10s' })).status, 201, 'registering again is always possible');
});

test('PUT again keeps the lease, renews it, and writes nothing when nothing changed', async () => {
  const { put, clock, list } = registry();
  const first = await json<RegistrationResult>(put('a', { url: 'http://x', ttl: 10 }));
  clock.advance(8_000);
  const response = await put('a', { url: 'http://x', ttl: 10 });
  assert.equal(response.status, 200);
  assert.deepEqual(await response.json(), first);
  clock.advance(8_000);
  assert.equal((await list()).length, 1, 'it was a heartbeat');
  const changed = await json<RegistrationResult>(put('a', { url: 'http://y', ttl: 10 }));
  assert.equal(changed.leaseId, first.leaseId);
  assert.equal(changed.revision, first.revision + 1);
});

test('a lease id of the caller’s choice makes a resend harmless; another one takes over', async () => {
  const { put, api, list } = registry();
  // The answer to the grant was lost: the lease is there, the instance is not.
  await api.leaseGrant({ id: 0x77n, ttlSeconds: 15 });
  const first = await json<RegistrationResult>(put('a', { leaseId: '77' }));
  assert.equal(first.leaseId, '0000000000000077');
  assert.deepEqual(await json(put('a', { leaseId: '77' })), first);
  assert.equal((await api.leaseLeases()).leases.length, 1);
  const second = await json<RegistrationResult>(put('a', { leaseId: '88' }));
  assert.equal(second.leaseId, '0000000000000088');
  await api.leaseRevoke({ id: 0x77n });
  assert.equal((await list())[0]?.leaseId, '0000000000000088');
  assert.equal((await put('a', { leaseId: '0' })).status, 400);
});

test('the ttl that counts is the lease’s own, whatever was asked for it later', async () => {
  const { put } = registry();
  await put('a', { leaseId: '77', ttl: 10 });
  assert.equal((await json<RegistrationResult>(put('a', { leaseId: '77', ttl: 60 }))).ttl, 10);
});

test('another ttl is another lease', async () => {
  const { put, api } = registry();
  const first = await json<RegistrationResult>(put('a', { ttl: 10 }));
  const second = await json<RegistrationResult>(put('a', { ttl: 20 }));
  assert.notEqual(first.leaseId, second.leaseId);
  assert.equal((await api.leaseTimeToLive({ id: BigInt(`0x${second.leaseId}`), keys: true })).keys.length, 1);
});

test('a heartbeat writes health and load only when they change', async () => {
  const { put, ask, at, list } = registry();
  await put('a');
  const beat = (body: object) => json<RegistrationResult>(ask(`${at('a')}/heartbeat`, putJson(body, 'POST')));
  const first = await beat({ health: 'warning', load: 0.5 });
  assert.equal((await beat({ health: 'warning', load: 0.5 })).revision, first.revision);
  const [instance] = await list();
  assert.deepEqual([instance?.health, instance?.load], ['warning', 0.5]);
  assert.equal((await json<RegistrationResult>(put('a'))).revision, first.revision + 1);
  assert.equal(
    (await list())[0]?.health,
    'warning',
    'what is observed is not forgotten by a put that does not say',
  );
});

test('what an operator overrides stays over what the owner says, until it is taken away', async () => {
  const { put, ask, at, list } = registry();
  await put('a', { weight: 5, tags: ['blue'] });
  const patch = (body: object, headers = {}) => ask(at('a'), putJson(body, 'PATCH', headers));
  const drained = await json<Instance>(patch({ status: 'draining', weight: 0 }));
  assert.deepEqual(
    [drained.status, drained.weight, drained.override],
    ['draining', 0, { status: 'draining', weight: 0 }],
  );
  await put('a', { weight: 9, tags: ['blue'], status: 'up' });
  assert.deepEqual([(await list())[0]?.status, (await list())[0]?.weight], ['draining', 0]);
  assert.equal((await patch({ status: null }, { 'if-match': '"2"' })).status, 412);
  const after = await json<Instance>(patch({ status: null, weight: null }));
  assert.deepEqual([after.status, after.weight, after.override], ['up', 9, undefined]);
  assert.equal((await ask(at('none'), putJson({ status: 'up' }, 'PATCH'))).status, 404);
  assert.equal((await patch({})).status, 400);
  assert.equal((await patch({ status: 'asleep' })).status, 400);
});

test('deregistering deletes the key and revokes a lease that holds nothing else', async () => {
  const { put, ask, at, api, list } = registry();
  await put('a', { leaseId: '77' });
  await put('b', { leaseId: '77' });
  assert.equal((await ask(`${at('a')}?leaseId=99`, { method: 'DELETE' })).status, 409);
  assert.equal((await ask(`${at('a')}?leaseId=77`, { method: 'DELETE' })).status, 204);
  assert.deepEqual(
    (await list()).map((i) => i.id),
    ['b'],
  );
  assert.equal((await api.leaseLeases()).leases.length, 1, 'b still hangs on it');
  assert.equal((await ask(at('b'), { method: 'DELETE' })).status, 204);
  assert.equal((await api.leaseLeases()).leases.length, 0);
  assert.equal((await ask(at('b'), { method: 'DELETE' })).status, 404);
});

test('filters, their ETag, and an unknown service', async () => {
  const { put, ask, list } = registry();
  await put('a', { zone: 'x', version: '2.1.0', tags: ['blue', 'new'], metadata: { team: 'red' } });
  await put('b', { zone: 'y', version: '2.0.9', tags: ['blue'], status: 'draining', health: 'critical' });
  await put('c', { zone: 'y', version: '3.0.0' });
  const ids = async (query: string) => (await list(query)).map((i) => i.id).join('');
  assert.equal(await ids(''), 'abc');
  assert.equal(await ids('?zone=y'), 'bc');
  assert.equal(await ids('?status=up'), 'ac');
  assert.equal(await ids('?status=up,draining'), 'abc');
  assert.equal(await ids('?status=down'), '');
  assert.equal(await ids('?health=unknown&zone=y'), 'c');
  assert.equal(await ids('?version=^2'), 'ab');
  assert.equal(await ids('?version=^2.1'), 'a');
  assert.equal(await ids('?version=2.0.9'), 'b');
  assert.equal(await ids('?tag=blue&tag=new'), 'a');
  assert.equal(await ids('?meta.team=red'), 'a');
  assert.equal(await ids('?limit=2'), 'ab');
  assert.equal((await ask('/v1/services/orders/instances?meta.=red')).status, 400);
  assert.equal((await ask('/v1/services/orders/instances?color=red')).status, 400);
  const etag = (await ask('/v1/services/orders/instances?zone=x')).headers.get('etag') as string;
  await put('d', { zone: 'z' });
  const headers = { 'if-none-match': etag };
  assert.equal((await ask('/v1/services/orders/instances?zone=x', { headers })).status, 304);
  assert.deepEqual(await list('', 'nothing'), []);
});

test('names with counts; a service does not see another whose name begins alike', async () => {
  const { put, names, list } = registry();
  await put('a', {}, 'user');
  await put('b', { status: 'draining' }, 'user');
  await put('c', { health: 'passing' }, 'user-admin');
  assert.deepEqual(await names(), [
    { name: 'user', instances: 2, status: { up: 1, draining: 1 }, health: { unknown: 2 } },
    { name: 'user-admin', instances: 1, status: { up: 1 }, health: { passing: 1 } },
  ]);
  assert.deepEqual(
    (await list('', 'user')).map((i) => i.id),
    ['a', 'b'],
  );
});

test('namespaces are apart, by query or header', async () => {
  const { ask, list, at } = registry();
  await ask(`${at('a')}?ns=prod`, putJson({}));
  await ask(at('b'), putJson({}, 'PUT', { 'x-namespace': 'prod' }));
  assert.deepEqual(await list(), []);
  assert.equal((await list('?ns=prod')).length, 2);
  assert.equal((await ask(`${at('a')}?ns=a/b`)).status, 400);
});

test('pick takes only what is up and not critical, by weight', async () => {
  const { put, ask } = registry();
  assert.equal((await ask('/v1/services/orders/pick')).status, 503);
  await put('a', { weight: 1 });
  await put('b', { weight: 3 });
  await put('c', { status: 'draining' });
  await put('d', { health: 'critical' });
  await put('e', { weight: 0 });
  const seen: Record<string, number> = {};
  for (let i = 0; i < 400; i++) {
    const { id } = await json<Instance>(ask('/v1/services/orders/pick'));
    seen[id] = (seen[id] ?? 0) + 1;
  }
  assert.deepEqual(Object.keys(seen).sort(), ['a', 'b']);
  assert.ok((seen.b as number) > (seen.a as number) * 2, JSON.stringify(seen));
});

test('whatever another client wrote under the prefix is shown or left out, never an error', async () => {
  const { api, list, ask, at } = registry();
  const put = (key: string, value: string) =>
    api.put({ key: utf8(`/muster/default/services/orders/${key}`), value: utf8(value) });
  await put('a', 'not json');
  await put('b', '[1]');
  await put(
    'c',
    '{"port":"80","tags":[1,"x"],"status":"odd","weight":"1","metadata":{"a":1,"b":"c"},"override":7}',
  );
  await api.put({ key: utf8('/muster/default/services/odd'), value: utf8('{}') });
  const [a, b, c] = await list();
  assert.equal(a?.malformed, true);
  assert.equal(b?.malformed, true);
  assert.deepEqual(
    [c?.tags, c?.metadata, c?.status, c?.weight, c?.port],
    [['x'], { b: 'c' }, 'up', 1, undefined],
  );
  assert.equal((await ask(at('a'))).status, 200);
  assert.equal((await ask(`${at('a')}/heartbeat`, { method: 'POST' })).status, 404, 'it has no lease');
});

test('bad registrations are refused with what was expected, and write nothing', async () => {
  const { put, api, ask, at } = registry();
  const before = api.machine.currentRevision;
  for (const body of [
    { ttl: 1 },
    { ttl: '100000s' },
    { ttl: 'x' },
    { port: 0 },
    { port: 70000 },
    { port: '80' },
    { status: 'sleepy' },
    { weight: -1 },
    { tags: 'x' },
    { tags: [''] },
    { metadata: { a: 1 } },
    { leaseId: 'zz' },
    { surprise: 1 },
    [],
    null,
    'x',
  ]) {
    assert.equal((await put('a', body as object)).status, 400, JSON.stringify(body));
  }
  assert.equal((await ask(at('a'), { method: 'PUT', body: '{}' })).status, 415);
  assert.equal((await ask(at('a'), putJson({}, 'PUT', { 'content-type': 'text/plain' }))).status, 415);
  for (const id of ['%20', '%2F', 'a%2Fb', '-a', 'x'.repeat(129), '%zz', '%ff']) {
    assert.equal((await put(id)).status, 400, id);
  }
  assert.equal(api.machine.currentRevision, before);
  assert.equal((await api.leaseLeases()).leases.length, 0);
});

test('registrations of one instance at the same time end as one', async () => {
  const { put, list, api } = registry();
  const answers = await Promise.all(Array.from({ length: 6 }, (_, i) => put('a', { url: `http://${i}` })));
  assert.equal(answers.filter((r) => r.status === 201).length, 1);
  assert.ok(answers.every((r) => r.status < 300));
  assert.equal((await list()).length, 1);
  const held = (await api.leaseLeases()).leases;
  assert.equal(held.length, 1, `${held.length} leases for one instance`);
});

test('versions', () => {
  for (const [version, wanted, expected] of [
    ['2.1.3', '^2', true],
    ['2.1.3', '^2.1', true],
    ['2.1.3', '^2.2', false],
    ['2.10.0', '^2.9', true],
    ['2.1', '^2.1.0', true],
    ['v2.1.3-rc.1', '^2.1', true],
    ['3.0.0', '^2', false],
    ['dev', '^2', false],
    ['2.1.3', '2.1.3', true],
    ['2.1.3', '2.1', false],
  ] as const) {
    assert.equal(matchesVersion(version, wanted), expected, `${version} ${wanted}`);
  }
  assert.equal(matchesVersion(undefined, '^2'), false);
});
