import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { afterEach, test } from 'node:test';
import { ManualClock, Prng } from '@muster/base';
import { WebSocket } from 'ws';
import { ask, startServer, type TestServer, testGateway } from '../test/gateway-harness.ts';
import { gatewayLimits } from './limits.ts';

let server: TestServer | undefined;

afterEach(async () => {
  await server?.stop();
  server = undefined;
});

const SMALL = gatewayLimits({ bodyBytes: 4000, valueBytes: 2000, keyBytes: 1000 });

/** Headers that either of the two ways may add by itself. */
const TRANSPORT = new Set(['date', 'connection', 'keep-alive', 'transfer-encoding', 'content-length']);

function headersOf(headers: Iterable<readonly [string, unknown]>): Record<string, unknown> {
  return Object.fromEntries([...headers].filter(([name]) => !TRANSPORT.has(name)));
}

test('the fast way and hono answer alike', async () => {
  server = await startServer({ limits: SMALL, cors: ['https://a.example'] });
  const origin = { Origin: 'https://a.example' };
  await ask(server.port, '/v3/kv/put', { body: '{"key":"YQ==","value":"YQ=="}' });
  await ask(server.port, '/v3/lease/grant', { body: '{"ID":7,"TTL":60}' });
  const requests: readonly (readonly [
    method: string,
    path: string,
    body?: string | undefined,
    headers?: Record<string, string>,
  ])[] = [
    ['POST', '/v3/kv/put', '{"key":"YQ==","value":"YQ==","prev_kv":true}'],
    ['POST', '/v3/kv/range', '{"key":"YQ=="}'],
    ['POST', '/v3/kv/range?a=b', '{"key":"YQ=="}', origin],
    ['POST', '/v3beta/kv/%72ange', '{"key":"YQ=="}'],
    ['POST', '/v3/kv/range', ''],
    ['POST', '/v3/kv/range', '{x'],
    ['POST', '/v3/kv/range', `{"key":"${'A'.repeat(5000)}"}`],
    ['POST', '/v3/kv/range', '{"key":"YQ=="}', { 'Grpc-Timeout': '1x' }],
    ['POST', '/v3/kv/txn', '{"success":[{"request_put":{"key":"YQ=="}},{"request_range":{"key":"YQ=="}}]}'],
    ['GET', '/v3/kv/range'],
    ['DELETE', '/v3/kv/range'],
    ['OPTIONS', '/v3/kv/range', undefined, origin],
    ['OPTIONS', '/v3/kv/range', undefined, { Origin: 'https://b.example' }],
    ['POST', '/v3/nothing', '{}'],
    ['POST', '/v3/', '{}'],
    ['GET', '/v3'],
    ['POST', '/v3beta', '{}', origin],
    ['POST', '/v3/auth/enable', '{}'],
    ['POST', '/v3/lease/grant', '{"ID":7,"TTL":60}'],
    ['POST', '/v3/lease/keepalive', '{"ID":7}{"ID":8}', origin],
    ['POST', '/v3/lease/keepalive', ''],
    ['POST', '/v3/lease/keepalive', '{x'],
    ['POST', '/v3/lease/keepalive', '{"ID":7}', { 'Grpc-Timeout': 'x' }],
    ['POST', '/v3/watch', '{x'],
    ['POST', '/v3/cluster/member/list', ''],
    ['POST', '/v3/maintenance/status', 'null'],
    ['GET', '/nope'],
    ['GET', '/version', undefined, origin],
  ];
  for (const [method, path, body, headers = {}] of requests) {
    const what = `${method} ${path} ${body?.slice(0, 100)}`;
    const fast = await ask(server.port, path, { method, headers, ...(body === undefined ? {} : { body }) });
    const init = { method, headers: { ...headers, Host: 'x' }, ...(body === undefined ? {} : { body }) };
    const hono = await server.gateway.app.request(`http://x${path}`, init);
    assert.equal(hono.status, fast.status, what);
    const revision = /"(mod_|)revision":"\d+"|"version":"\d+"/g;
    assert.equal((await hono.text()).replace(revision, ''), fast.text.replace(revision, ''), what);
    assert.deepEqual(headersOf(hono.headers), headersOf(Object.entries(fast.headers)), what);
  }
  assert.deepEqual(server.errors, []);
});

test('a watch over fetch: lines as they come, and an end when its reader goes', async () => {
  const { gateway } = testGateway();
  const post = (path: string, body: string) =>
    gateway.app.request(`http://x${path}`, { method: 'POST', body });
  const response = await post('/v3/watch', '{"create_request":{"key":"YQ=="}}');
  assert.equal(response.status, 200);
  const reader = (response.body as ReadableStream<Uint8Array>).getReader();
  const line = async () =>
    JSON.parse(Buffer.from((await reader.read()).value as Uint8Array).toString()).result;
  assert.equal((await line()).created, true);
  await post('/v3/kv/put', '{"key":"YQ==","value":"YQ=="}');
  assert.equal((await line()).events[0].kv.value, 'YQ==');
  await reader.cancel();
  await gateway.drain();
});

test('what the store behind does not do is said so', async () => {
  server = await startServer();
  const paths = ['/v3/auth/authenticate', '/v3/auth/role/grant', '/v3beta/cluster/member/add'];
  for (const path of [...paths, '/v3/maintenance/defragment', '/v3/maintenance/downgrade']) {
    const { status, json } = await ask(server.port, path, { body: '{}' });
    assert.deepEqual(
      [status, json],
      [501, { error: 'not implemented', message: 'not implemented', code: 12 }],
    );
  }
  const { status, json } = await ask(server.port, '/v3/maintenance/snapshot', { body: '{}' });
  assert.equal(status, 501);
  assert.equal((json as { error: { grpc_code: number } }).error.grpc_code, 12);
});

test('bodies are limited whether their length is announced or not', async () => {
  server = await startServer({ limits: SMALL });
  const body = `{"key":"YQ==","value":"${'A'.repeat(5000)}"}`;
  const announced = await ask(server.port, '/v3/kv/put', { body });
  const chunked = await ask(server.port, '/v3/kv/put', { body, headers: { 'Transfer-Encoding': 'chunked' } });
  for (const answer of [announced, chunked]) {
    assert.equal(answer.status, 413);
    assert.match(
      answer.text,
      /"message":"grpc: received message larger than max \(\d+ vs. 4000\)","code":8}$/,
    );
  }
  const rest = await ask(server.port, '/v1/kv/a', { method: 'PUT', body: 'x'.repeat(5000) });
  assert.equal(rest.status, 413);
  assert.equal(rest.headers['content-type'], 'application/problem+json');
});

test('headers are limited', async () => {
  server = await startServer({ limits: gatewayLimits({ headerBytes: 2000 }) });
  const { status } = await ask(server.port, '/v3/kv/range', { headers: { 'x-long': 'a'.repeat(4000) } });
  assert.equal(status, 431);
});

test('hosts that are not on the list are refused everywhere', async () => {
  server = await startServer({ hostWhitelist: ['muster.example', '::1'] });
  const get = (path: string, host: string, method = 'GET') =>
    ask((server as TestServer).port, path, { method, headers: { Host: host } });
  for (const path of ['/v3/kv/range', '/version', '/v1/kv/a', '/nope']) {
    const { status, text, headers } = await get(path, 'evil.example:2379');
    assert.equal(status, 421, path);
    assert.match(text, /"evil\.example:2379"/);
    assert.equal(headers['content-type'], 'text/plain; charset=utf-8');
  }
  assert.equal((await get('/v3/kv/range', 'evil.example', 'POST')).status, 421);
  assert.equal((await get('/version', 'MUSTER.example:2379')).status, 200);
  assert.equal((await get('/version', '[::1]:2379')).status, 200);
});

test("etcd's JSON can be switched off, on every way to it", async () => {
  server = await startServer({ etcdJson: false });
  for (const path of ['/v3/kv/range', '/v3beta/kv/put', '/v3']) {
    assert.equal((await ask(server.port, path, { body: '{}' })).status, 404, path);
    const response = await testGateway({ etcdJson: false }).gateway.app.request(`http://x${path}`, {
      method: 'POST',
      body: '{}',
    });
    assert.equal(response.status, 404, path);
  }
  const ws = new WebSocket(`ws://127.0.0.1:${server.port}/v3/watch`);
  await assert.rejects(once(ws, 'open'), /404/);
  assert.equal((await ask(server.port, '/version', { method: 'GET' })).status, 200);
  assert.equal((await ask(server.port, '/v1/kv/a', { method: 'GET' })).status, 404);
});

test("etcd's CORS: every answer for all, only listed origins otherwise", async () => {
  const all = testGateway().gateway.app;
  const some = testGateway({ cors: ['https://a.example', 'https://b.example'] }).gateway.app;
  const allowed = async (app: typeof all, path: string, origin?: string) => {
    const headers: Record<string, string> = origin === undefined ? {} : { Origin: origin };
    const response = await app.request(`http://x${path}`, { headers });
    return response.headers.get('access-control-allow-origin');
  };
  for (const path of ['/v3/kv/range', '/version', '/nope', '/metrics']) {
    assert.equal(await allowed(all, path), '*');
    assert.equal(await allowed(some, path), null);
    assert.equal(await allowed(some, path, 'https://c.example'), null);
    assert.equal(await allowed(some, path, 'https://b.example'), 'https://b.example');
  }
});

test('/v1 has a CORS list of its own and lets scripts read its headers', async () => {
  const { gateway } = testGateway({ allowedOrigins: ['https://a.example'] });
  const from = (origin: string, method = 'GET') =>
    gateway.app.request('http://x/v1/kv/a', { method, headers: { Origin: origin } });
  const known = await from('https://a.example');
  assert.equal(known.headers.get('access-control-allow-origin'), 'https://a.example');
  assert.match(known.headers.get('access-control-expose-headers') as string, /ETag.*X-Request-Id/);
  assert.match(known.headers.get('vary') as string, /Origin/);
  assert.equal((await from('https://b.example')).headers.get('access-control-allow-origin'), null);
  const preflight = await from('https://a.example', 'OPTIONS');
  assert.equal(preflight.status, 204);
  assert.match(preflight.headers.get('access-control-allow-methods') as string, /PATCH/);
  assert.match(preflight.headers.get('access-control-allow-headers') as string, /if-match/);
});

test('every /v1 answer names its request', async () => {
  const { gateway } = testGateway();
  const ids = new Set<string>();
  for (const given of [undefined, 'client-7', 'bad id\u00e9', 'x'.repeat(65)]) {
    const headers: Record<string, string> = given === undefined ? {} : { 'X-Request-Id': given };
    const response = await gateway.app.request('http://x/v1/kv/missing', {
      headers: { Accept: 'application/json', ...headers },
    });
    const id = response.headers.get('x-request-id') as string;
    assert.match(id, given === 'client-7' ? /^client-7$/ : /^[0-9a-f]{16}$/);
    assert.equal(((await response.json()) as { requestId: string }).requestId, id);
    ids.add(id);
  }
  assert.equal(ids.size, 4);
});

test('the web page is served below everything else', async () => {
  const file = { body: Uint8Array.from(Buffer.from('<p>')), contentType: 'text/html; charset=utf-8' };
  const { gateway } = testGateway({ staticFiles: (path) => (path === '/' ? file : undefined) });
  const page = await gateway.app.request('http://x/');
  assert.deepEqual(
    [page.status, await page.text(), page.headers.get('content-type'), page.headers.get('cache-control')],
    [200, '<p>', 'text/html; charset=utf-8', 'no-cache'],
  );
  const missing = await gateway.app.request('http://x/nope');
  assert.deepEqual([missing.status, await missing.text()], [404, '404 page not found\n']);
});

test('a body that does not arrive ends its connection, a watch may take its time', async () => {
  const clock = new ManualClock();
  server = await startServer({ clock, limits: gatewayLimits({ requestTimeoutMs: 1000 }) });
  const started = (path: string) => {
    const socket = connect((server as TestServer).port, '127.0.0.1');
    socket.write(`POST ${path} HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{`);
    const closed = new Promise<void>((resolve) => socket.on('close', () => resolve()));
    socket.on('error', () => {}).resume();
    return { socket, closed };
  };
  const requests = ['/v3/kv/range', '/v1/kv/a?x', '/v3/watch'].map(started);
  const seen = new Promise<void>((resolve) => {
    let count = 0;
    server?.server.on('request', () => {
      if (++count === requests.length) resolve();
    });
  });
  await seen;
  clock.advance(2000);
  const [range, rest, watch] = requests as [
    ReturnType<typeof started>,
    ReturnType<typeof started>,
    ReturnType<typeof started>,
  ];
  await Promise.all([range.closed, rest.closed]);
  assert.equal(watch.socket.destroyed, false);
  watch.socket.destroy();
});

test('whatever is sent, the server goes on', async () => {
  server = await startServer({ limits: SMALL });
  const seed = process.env.SEED ?? 'gateway fuzz';
  const prng = new Prng(seed);
  const paths = [
    '/v3/kv/range',
    '/v3/kv/txn',
    '/v3/watch',
    '/v3/lease/keepalive',
    '/v3/%',
    '/v3/%ff',
    '/v3?',
    '//',
    '/v1/%',
  ];
  const words = [
    '{',
    '}',
    '[',
    ']',
    '"',
    ':',
    ',',
    'null',
    '1e999',
    '-',
    '"key"',
    '"YQ=="',
    '"success"',
    '\\u12',
    '\u0000',
    '\xff',
    '{"create_request":',
    '{"ID":7}',
  ];
  for (let i = 0; i < 300; i++) {
    const body = Array.from({ length: prng.int(0, 12) }, () => prng.pick(words)).join('');
    const path = prng.pick(paths);
    const length = prng.pick([body.length, body.length + 5, 0, 99_999_999, -1]);
    const socket = connect(server.port, '127.0.0.1');
    socket.on('error', () => {});
    const closed = new Promise<void>((resolve) => socket.on('close', () => resolve()));
    socket.write(
      `${prng.pick(['POST', 'GET', 'PUT', 'BREW'])} ${path} HTTP/1.1\r\nHost: x\r\nContent-Length: ${length}\r\n\r\n`,
    );
    socket.write(Buffer.from(body, 'latin1'));
    socket.end();
    await Promise.race([closed, new Promise((resolve) => socket.once('data', resolve))]);
    socket.destroy();
  }
  const { status } = await ask(server.port, '/v3/kv/range', { body: '{"key":"YQ=="}' });
  assert.equal(status, 200, `seed ${seed}`);
  assert.deepEqual(server.errors, [], `seed ${seed}`);
});
