import assert from 'node:assert/strict';
import { test } from 'node:test';
import { KvError } from '@muster/contract';
import fc from 'fast-check';
import { json, putJson, testV1 } from '../../test/v1-harness.ts';

test('a body that is not JSON, not UTF-8, or not sent as JSON', async () => {
  const { ask } = testV1();
  const send = (body: BodyInit, type = 'application/json') =>
    ask('/v1/txn', { method: 'POST', body, headers: { 'content-type': type } });
  for (const body of ['', '{', '{"a":}', 'null x', "{'a':1}", '\u0000']) {
    const response = await send(body);
    assert.equal(response.status, 400, JSON.stringify(body));
    assert.match(String((await json(response)).detail), /not JSON/);
  }
  assert.equal((await send(new Uint8Array([0x22, 0xff, 0x22]))).status, 400);
  for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'application/jsonp', '']) {
    assert.equal((await send('{}', type)).status, 415, type);
  }
  assert.equal((await send('{}', 'Application/JSON; charset=utf-8')).status, 200);
});

test('a value sent as JSON must be JSON; sent as anything else it is bytes', async () => {
  const { ask } = testV1();
  const put = (body: string, type: string) =>
    ask('/v1/kv/k', { method: 'PUT', body, headers: { 'content-type': type } });
  assert.equal((await put('{', 'application/json')).status, 400);
  assert.equal((await put('{', 'text/plain')).status, 201);
  assert.equal((await put('{}', 'application/json')).status, 200);
});

test('oversize bodies are 413, with a length and without', async () => {
  const { ask } = testV1({ limits: { valueBytes: 100_000, bodyBytes: 200_000 } });
  const value = new Uint8Array(100_001);
  assert.equal((await ask('/v1/kv/k', { method: 'PUT', body: value })).status, 413);
  const headers = { 'content-length': '100001' };
  assert.equal((await ask('/v1/kv/k', { method: 'PUT', body: value, headers })).status, 413);
  const stream = () =>
    new ReadableStream({
      pull(controller) {
        controller.enqueue(new Uint8Array(50_000));
      },
    });
  const endless = { method: 'PUT', body: stream(), duplex: 'half' } as RequestInit;
  assert.equal((await ask('/v1/kv/k', endless)).status, 413);
  assert.equal((await ask('/v1/kv/k', { method: 'PUT', body: value.subarray(1) })).status, 201);
  const big = { then: [{ put: { key: 'k', value: 'x'.repeat(200_000) } }] };
  assert.equal((await ask('/v1/txn', putJson(big, 'POST'))).status, 413);
  assert.equal((await ask(`/v1/kv/${'k'.repeat(70_000)}`)).status, 400);
});

test('bad percent-encoding is 400 wherever it is', async () => {
  const { ask } = testV1();
  for (const path of [
    '/v1/kv/%',
    '/v1/kv/a%2',
    '/v1/kv/%zz',
    '/v1/kv/%ff',
    '/v1/kv/%c3%28',
    '/v1/kv?prefix=%zz',
  ]) {
    const response = await ask(path);
    assert.equal(response.status, 400, path);
    assert.match(String((await json(response)).detail), /percent/);
  }
  for (const path of [
    '/v1/kv?%zz=1',
    '/v1/services?ns=%ff',
    '/v1/kv?keyB64=***',
    '/v1/kv?keyB64=A',
    '/v1/kv?key=',
  ]) {
    assert.equal((await ask(path)).status, 400, path);
  }
  assert.equal((await ask('/v1/kv/')).status, 400, 'an empty key');
});

test('wrong verbs are 405 with Allow, unknown paths 404, both as problems', async () => {
  const { v1 } = testV1();
  const ask = (path: string, method: string) => v1.app.request(`http://test${path}`, { method });
  for (const [path, method, allow] of [
    ['/v1/kv/a', 'PATCH', 'GET, PUT, DELETE, HEAD'],
    ['/v1/kv/a', 'POST', 'GET, PUT, DELETE, HEAD'],
    ['/v1/txn', 'GET', 'POST'],
    ['/v1/leases/keepalive', 'PUT', 'POST'],
    ['/v1/services', 'DELETE', 'GET, HEAD'],
    ['/v1/watch', 'POST', 'GET, HEAD'],
  ] as const) {
    const response = await ask(path, method);
    assert.equal(response.status, 405, `${method} ${path}`);
    assert.equal(response.headers.get('allow'), allow, `${method} ${path}`);
    assert.equal(response.headers.get('content-type'), 'application/problem+json');
  }
  for (const path of ['/v1/', '/v1/nope', '/v1/kvx', '/v1/services/a', '/v1/leases/1/2/3']) {
    assert.equal((await ask(path, 'GET')).status, 404, path);
  }
});

test('bad headers', async () => {
  const { ask } = testV1();
  for (const headers of [
    { 'x-timeout': 'soon' },
    { 'x-timeout': '-1s' },
    { 'if-none-match': '42' },
    { 'if-none-match': '"a' },
    { 'if-none-match': '"a" "b"' },
  ]) {
    assert.equal((await ask('/v1/kv/k', { headers })).status, 400, JSON.stringify(headers));
  }
  assert.equal((await ask('/v1/services', { headers: { 'x-namespace': '../x' } })).status, 400);
});

test('errors of the store come through as problems, retryable ones with Retry-After', async () => {
  const { ask, api } = testV1();
  api.failure = new KvError('NO_LEADER');
  const response = await ask('/v1/kv/k');
  assert.equal(response.status, 503);
  assert.equal(response.headers.get('retry-after'), '1');
  const { code, retryable, grpcCode, instance, title } = await json(response);
  assert.deepEqual(
    [code, retryable, grpcCode, instance, title],
    ['NO_LEADER', true, 14, '/v1/kv/k', 'No leader'],
  );
  api.failure = new KvError('NO_SPACE');
  assert.equal((await ask('/v1/kv/k', { method: 'PUT', body: 'v' })).status, 507);
});

test('whatever is asked, the answer is one the document allows and never a 500', async () => {
  const { ask, v1 } = testV1();
  const ids = [...v1.document.operations.values()].filter((o) => o.id !== 'watch');
  const text = fc.oneof(
    fc.string({ maxLength: 20 }),
    fc.constantFrom('..', '%', '%00', '\u0000', '1e9', '-1', '💥'),
  );
  const params = ids.flatMap((o) => o.parameters.filter((p) => p.in === 'query').map((p) => p.name));
  const scenario = fc.record({
    operation: fc.constantFrom(...ids),
    path: fc.array(text, { minLength: 3, maxLength: 3 }),
    query: fc.array(fc.tuple(fc.constantFrom(...params, 'x'), text), { maxLength: 3 }),
    body: fc.oneof(fc.json(), fc.string()),
    type: fc.constantFrom('application/json', 'text/plain'),
    encode: fc.boolean(),
  });
  await fc.assert(
    fc.asyncProperty(scenario, async ({ operation, path, query, body, type, encode }) => {
      const write = (value: string) => (encode ? encodeURIComponent(value.toWellFormed()) : value);
      let i = 0;
      const filled = operation.path.replaceAll(/\{[a-z]+\}/gi, () => write(path[i++] as string));
      const asked = query.map(([name, value]) => `${name}=${write(value)}`).join('&');
      const method = operation.method.toUpperCase();
      const init = { method, headers: { 'content-type': type }, ...(method === 'GET' ? {} : { body }) };
      const url = new URL(`http://test${filled}?${asked}`);
      if (!url.pathname.startsWith('/v1/')) return;
      const response = await v1.app.request(url, init);
      assert.ok(response.status < 500 || response.status === 503, `${response.status} ${method} ${url}`);
    }),
    { numRuns: 600 },
  );
  assert.equal((await ask('/v1/status')).status, 200);
});
