import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { GOOD, READER, tokenApi } from '../../test/token-api.ts';
import { json, putJson, serveV1, type TestServer, Watcher } from '../../test/v1-harness.ts';

const bearer = (token: string): Record<string, string> => ({ authorization: `Bearer ${token}` });

describe('a server where everybody has to say who they are', () => {
  let server: TestServer;
  before(async () => {
    server = await serveV1({ wrap: tokenApi });
  });
  after(() => server.stop());

  const requests: readonly (readonly [string, string, unknown?])[] = [
    ['GET', '/v1/kv/a'],
    ['GET', '/v1/kv?prefix=a'],
    ['GET', '/v1/kv?prefix=a&countOnly=true'],
    ['PUT', '/v1/kv/a', { x: 1 }],
    ['PUT', '/v1/kv/a?ttl=60s', { x: 1 }],
    ['DELETE', '/v1/kv/a'],
    ['DELETE', '/v1/kv?prefix=a'],
    ['POST', '/v1/txn', { then: [{ put: { key: 'a', value: '1' } }] }],
    ['POST', '/v1/batch', { ops: [{ put: { key: 'a', value: '1' } }] }],
    ['GET', '/v1/leases'],
    ['POST', '/v1/leases', { ttl: '60s' }],
    ['GET', '/v1/leases/1'],
    ['DELETE', '/v1/leases/1'],
    ['POST', '/v1/leases/1/keepalive'],
    ['GET', '/v1/services'],
    ['GET', '/v1/services/s/instances'],
    ['PUT', '/v1/services/s/instances/i', { address: '10.0.0.1', port: 80 }],
    ['GET', '/v1/services/s/instances/i'],
    ['DELETE', '/v1/services/s/instances/i'],
    ['GET', '/v1/services/s/pick'],
    ['GET', '/v1/watch?prefix=a'],
    ['GET', '/v1/watch?cluster=true'],
    ['GET', '/v1/members'],
    ['GET', '/v1/status'],
  ];
  const init = (method: string, body: unknown, headers: Record<string, string>): RequestInit =>
    body === undefined ? { method, headers } : putJson(body, method, headers);

  test('401 with a challenge, without a token and with a wrong one, on every route', async () => {
    for (const [method, path, body] of requests) {
      for (const [headers, code] of [
        [{}, 'USER_EMPTY'],
        [{ authorization: 'Basic cm9vdDpwdw==' }, 'USER_EMPTY'],
        [bearer('nonsense.1'), 'INVALID_AUTH_TOKEN'],
      ] as const) {
        const response = await server.ask(path, init(method, body, headers));
        assert.equal(response.status, 401, `${method} ${path}`);
        assert.equal(response.headers.get('www-authenticate'), 'Bearer');
        assert.equal((await json(response)).code, code, `${method} ${path}`);
      }
    }
  });

  test('with the token every route answers what it answers anyway', async () => {
    for (const [method, path, body] of requests) {
      const response = await server.ask(path, init(method, body, bearer(GOOD)));
      assert.ok(
        ![401, 403, 400, 415, 500].includes(response.status),
        `${method} ${path}: ${response.status}`,
      );
      await response.body?.cancel();
    }
  });

  test('403 for what the user may not do', async () => {
    assert.equal((await server.ask('/v1/kv/zz', { headers: bearer(READER) })).status, 404);
    const response = await server.ask('/v1/kv/zz', putJson({ x: 1 }, 'PUT', bearer(READER)));
    assert.equal(response.status, 403);
    assert.equal((await json(response)).code, 'PERMISSION_DENIED');
  });

  test('login answers a token, or 401', async () => {
    const good = await server.ask('/v1/auth/login', putJson({ name: 'root', password: 'pw' }, 'POST'));
    assert.equal(good.status, 200);
    assert.equal(good.headers.get('cache-control'), 'no-store');
    assert.deepEqual(await json(good), { token: GOOD });
    const bad = await server.ask('/v1/auth/login', putJson({ name: 'root', password: 'x' }, 'POST'));
    assert.equal(bad.status, 401);
    assert.equal((await json(bad)).code, 'AUTH_FAILED');
    const half = await server.ask('/v1/auth/login', putJson({ name: 'root' }, 'POST'));
    assert.equal(half.status, 400);
  });

  test('a held request and a stream keep the token of their request', async () => {
    const put = await server.ask('/v1/kv/held', putJson({ x: 0 }, 'PUT', bearer(GOOD)));
    const etag = put.headers.get('etag') as string;
    const held = server.ask('/v1/kv/held', {
      headers: { ...bearer(READER), 'if-none-match': etag, prefer: 'wait=20' },
    });
    const stream = await server.ask('/v1/watch?prefix=held&snapshot=true', { headers: bearer(READER) });
    const reader = (stream.body as ReadableStream<Uint8Array>).getReader();
    await server.ask('/v1/kv/held', putJson({ x: 1 }, 'PUT', bearer(GOOD)));
    assert.equal((await held).status, 200);
    let text = '';
    while (!text.includes('"ev"')) {
      const { value, done } = await reader.read();
      if (done) break;
      text += Buffer.from(value).toString();
    }
    assert.match(text, /"ev"/);
    await reader.cancel();
  });

  test('sockets: by protocol, by a frame, or closed with the reason', async () => {
    const named = await Watcher.open(server.port, [`bearer.${READER}`]);
    named.send({ t: 'sub', id: 'a', sel: { kv: { prefix: 'x' } }, snapshot: true });
    assert.equal((await named.next('subd')).id, 'a');
    named.ws.close();

    const framed = new Watcher(server.port);
    await new Promise((resolve) => framed.ws.once('open', resolve));
    framed.send({ t: 'auth', token: GOOD });
    framed.send({ t: 'hello', v: 1 });
    await framed.next('welcome');
    framed.send({ t: 'auth', token: 'late.9' });
    framed.send({ t: 'sub', id: 'b', sel: { kv: { prefix: 'x' } } });
    assert.equal((await framed.next('end')).problem?.code, 'INVALID_AUTH_TOKEN');
    framed.send({ t: 'auth', token: READER });
    framed.send({ t: 'sub', id: 'b', sel: { kv: { prefix: 'x' } } });
    assert.equal((await framed.next('subd')).id, 'b');
    framed.ws.close();

    const nobody = new Watcher(server.port);
    await new Promise((resolve) => nobody.ws.once('open', resolve));
    nobody.send({ t: 'hello', v: 1 });
    assert.equal((await nobody.next('err')).problem.code, 'USER_EMPTY');
    assert.equal((await nobody.closed).code, 4401);
  });
});
