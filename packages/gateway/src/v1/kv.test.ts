import assert from 'node:assert/strict';
import { test } from 'node:test';
import { json, putJson, testV1 } from '../../test/v1-harness.ts';

test('what curl -d puts, curl prints: the body is the value, byte for byte', async () => {
  const { ask } = testV1();
  const put = await ask('/v1/kv/hello', {
    method: 'PUT',
    body: 'world',
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
  });
  assert.equal(put.status, 201);
  assert.deepEqual(await put.json(), {
    key: 'hello',
    createRevision: 2,
    modRevision: 2,
    version: 1,
    created: true,
    revision: 2,
  });
  const got = await ask('/v1/kv/hello');
  assert.equal(await got.text(), 'world');
  assert.equal(got.headers.get('content-type'), 'text/plain; charset=utf-8');
  assert.equal(got.headers.get('x-content-type-options'), 'nosniff');
  assert.equal(got.headers.get('vary'), 'Accept');
  assert.equal(got.headers.get('etag'), '"2"');
  assert.equal(got.headers.get('x-store-revision'), '2');
  assert.equal(got.headers.get('x-key-version'), '1');
  assert.equal(got.headers.get('x-store-epoch'), 'abcdef0123456789');
  assert.equal(got.headers.get('x-store-cursor'), 'abcdef0123456789.2');
  const head = await ask('/v1/kv/hello', { method: 'HEAD' });
  assert.equal(head.headers.get('content-length'), '5');
  assert.equal(await head.text(), '');
});

test('the entry comes when JSON is asked for, in the encoding asked for', async () => {
  const { ask } = testV1();
  await ask('/v1/kv/a', { method: 'PUT', body: '{"x":1}' });
  await ask('/v1/kv/b', { method: 'PUT', body: new Uint8Array([0xff, 0]) });
  const accept = { headers: { accept: 'application/json' } };
  assert.equal((await json(ask('/v1/kv/a', accept))).value, '{"x":1}');
  assert.deepEqual((await json(ask('/v1/kv/a?encoding=json', accept))).json, { x: 1 });
  assert.equal((await json(ask('/v1/kv/a?encoding=base64', accept))).valueBase64, 'eyJ4IjoxfQ==');
  const binary = await json(ask('/v1/kv/b?encoding=json', accept));
  assert.equal(binary.valueBase64, '/wA=');
  assert.ok(!('value' in binary));
  assert.equal((await ask('/v1/kv/a')).headers.get('content-type'), 'application/json');
  assert.equal((await ask('/v1/kv/b')).headers.get('content-type'), 'application/octet-stream');
});

test('If-Match and If-None-Match are compare-and-set; 412 tells the present revision', async () => {
  const { ask } = testV1();
  const put = (body: string, headers: Record<string, string>) =>
    ask('/v1/kv/k', { method: 'PUT', body, headers });
  const missing = await put('x', { 'if-match': '*' });
  assert.equal(missing.status, 412);
  assert.equal((await json(missing)).current, null);
  assert.equal((await put('1', { 'if-none-match': '*' })).status, 201);
  const again = await put('2', { 'if-none-match': '*' });
  assert.equal(again.status, 412);
  assert.equal(again.headers.get('etag'), '"2"');
  const problem = await json(again);
  assert.deepEqual(problem.current, { modRevision: 2, version: 1 });
  assert.equal(problem.code, 'PRECONDITION_FAILED');
  assert.equal((await put('3', { 'if-match': '"2"' })).status, 200);
  assert.equal((await put('4', { 'if-match': '"2"' })).status, 412);
  assert.equal((await put('5', { 'if-match': '"7", "3"' })).status, 200);
  assert.equal((await put('5', { 'if-match': '"7", "9"' })).status, 412);
  assert.equal((await put('6', { 'if-match': 'W/"4"' })).status, 412, 'a weak tag never matches strongly');
  assert.equal((await put('6', { 'if-none-match': '"4"' })).status, 412);
  assert.equal((await put('6', { 'if-none-match': '"3"' })).status, 200);
  assert.equal((await put('7', { 'if-match': 'nonsense' })).status, 400);
  assert.equal((await ask('/v1/kv/k', { method: 'DELETE', headers: { 'if-match': '"2"' } })).status, 412);
  const gone = await ask('/v1/kv/k?prev=1', { method: 'DELETE', headers: { 'if-match': '"5"' } });
  assert.deepEqual(await json(gone), {
    deleted: 1,
    revision: 6,
    prev: [{ key: 'k', value: '6', createRevision: 2, modRevision: 5, version: 4 }],
  });
  assert.equal((await ask('/v1/kv/k', { method: 'DELETE' })).status, 404);
});

test('conditional reads', async () => {
  const { ask } = testV1();
  await ask('/v1/kv/k', { method: 'PUT', body: 'v' });
  const same = await ask('/v1/kv/k', { headers: { 'if-none-match': '"2"' } });
  assert.equal(same.status, 304);
  assert.equal(same.headers.get('etag'), '"2"');
  assert.equal((await ask('/v1/kv/k', { headers: { 'if-none-match': '"1"' } })).status, 200);
  assert.equal((await ask('/v1/kv/k', { headers: { 'if-none-match': '*' } })).status, 304);
  assert.equal((await ask('/v1/kv/none')).status, 404);
});

test('an old revision can be read until it is compacted, a future one never', async () => {
  const { ask, api } = testV1();
  for (const body of ['1', '2', '3']) await ask('/v1/kv/k', { method: 'PUT', body });
  assert.equal(await (await ask('/v1/kv/k?at=2')).text(), '1');
  await api.compact({ revision: 3 });
  const gone = await ask('/v1/kv/k?at=2');
  assert.equal(gone.status, 410);
  assert.deepEqual(await pick(gone, 'code', 'compactRevision'), { code: 'COMPACTED', compactRevision: 3 });
  const future = await ask('/v1/kv/k?at=99');
  assert.equal(future.status, 400);
  assert.deepEqual(await pick(future, 'code'), { code: 'FUTURE_REVISION' });
});

test('leases: ?ttl grants one, ?lease attaches to one, a dead one is 410 and nothing is written', async () => {
  const { ask, api } = testV1();
  const put = await ask('/v1/kv/k?ttl=30s', { method: 'PUT', body: 'v' });
  const lease = put.headers.get('x-lease-id') as string;
  assert.match(lease, /^[0-9a-f]{16}$/);
  assert.equal((await ask('/v1/kv/k')).headers.get('x-lease-id'), lease);
  assert.equal((await ask(`/v1/kv/j?lease=${lease}`, { method: 'PUT', body: 'v' })).status, 201);
  assert.equal((await ask('/v1/kv/j?lease=1234', { method: 'PUT', body: 'v' })).status, 410);
  assert.equal((await ask('/v1/kv/j?lease=xyz', { method: 'PUT', body: 'v' })).status, 400);
  assert.equal((await ask('/v1/kv/j?ttl=0s', { method: 'PUT', body: 'v' })).status, 400);
  assert.equal((await ask(`/v1/kv/j?ttl=3s&lease=${lease}`, { method: 'PUT', body: 'v' })).status, 400);
  const before = (await api.leaseLeases()).leases.length;
  const refused = await ask('/v1/kv/k?ttl=9s', {
    method: 'PUT',
    body: 'v',
    headers: { 'if-none-match': '*' },
  });
  assert.equal(refused.status, 412);
  assert.equal((await api.leaseLeases()).leases.length, before, 'the lease of a refused put does not stay');
});

test('Prefer: return=minimal answers without a body', async () => {
  const { ask } = testV1();
  const headers = { prefer: 'return=minimal' };
  const put = await ask('/v1/kv/k', { method: 'PUT', body: 'v', headers });
  assert.equal(put.status, 204);
  assert.equal(put.headers.get('etag'), '"2"');
  assert.equal((await ask('/v1/kv/k', { method: 'DELETE', headers })).status, 204);
});

test('keys of every kind survive: in the path what a URL can carry, in the query all of it', async () => {
  const { ask } = testV1();
  for (const key of [
    'a/b',
    'a b',
    'ä€😀',
    'a%b',
    'a+b',
    '100%',
    'a?b#c',
    'a&b=c',
    '"',
    "'",
    '\u0000',
    'a//b',
    '/a',
  ]) {
    const path = `/v1/kv/${encodeURIComponent(key)}`;
    assert.equal((await ask(path, { method: 'PUT', body: key })).status, 201, key);
    assert.equal(await (await ask(path)).text(), key);
    const query = `/v1/kv?key=${encodeURIComponent(key)}`;
    assert.equal((await json(ask(query, { headers: { accept: 'application/json' } }))).key, key);
  }
  for (const key of ['.', '..', '/', 'a/../b', './x']) {
    const query = `/v1/kv?key=${encodeURIComponent(key)}`;
    assert.equal((await ask(query, { method: 'PUT', body: 'v' })).status, 201, key);
    assert.equal((await ask(query, { method: 'DELETE' })).status, 200, key);
  }
  assert.equal((await ask('/v1/kv/a/b')).status, 200, 'slashes of the path belong to the key');
});

test('a key of every byte, through base64', async () => {
  const { ask } = testV1();
  for (let byte = 0; byte < 256; byte++) {
    const text = Buffer.from([byte, 255 - byte]).toString('base64url');
    assert.equal(
      (await ask(`/v1/kv?keyB64=${text}`, { method: 'PUT', body: String(byte) })).status,
      201,
      text,
    );
  }
  for (let byte = 0; byte < 256; byte++) {
    const text = encodeURIComponent(Buffer.from([byte, 255 - byte]).toString('base64'));
    assert.equal(await (await ask(`/v1/kv?keyB64=${text}`)).text(), String(byte));
  }
});

test('an entry can be put as JSON of a txn and read raw', async () => {
  const { ask } = testV1();
  await ask('/v1/txn', putJson({ then: [{ put: { key: 'k', json: { a: [1] } } }] }, 'POST'));
  assert.equal(await (await ask('/v1/kv/k')).text(), '{"a":[1]}');
});

async function pick(response: Response, ...names: string[]): Promise<Record<string, unknown>> {
  const body = await json(response);
  return Object.fromEntries(names.map((name) => [name, body[name]]));
}
