import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { afterEach, test } from 'node:test';
import { Prng } from '@muster/base';
import type { CallOptions } from '@muster/kv';
import { type ClientOptions, WebSocket } from 'ws';
import { RealClock } from '../../../../test/support/real-clock.ts';
import { ask, startServer, type TestServer } from '../../test/gateway-harness.ts';
import { StoreApi } from '../../test/store-api.ts';
import { gatewayLimits } from '../limits.ts';
import { socketOptions } from './etcd-ws.ts';

let server: TestServer | undefined;
const clients: WebSocket[] = [];

afterEach(async () => {
  for (const ws of clients.splice(0)) ws.terminate();
  await server?.stop();
  server = undefined;
});

/** A client socket whose frames are kept, and what happened to it. */
class Client {
  readonly ws: WebSocket;
  readonly frames: string[] = [];
  readonly ended: Promise<number | string>;
  #changed: (() => void) | undefined;

  constructor(path: string, options: ClientOptions = {}, protocols: string[] = []) {
    const url = `ws://127.0.0.1:${(server as TestServer).port}${path}`;
    this.ws = new WebSocket(url, protocols, options);
    clients.push(this.ws);
    this.ws.on('message', (data) => {
      this.frames.push(String(data));
      this.#changed?.();
    });
    this.ended = new Promise((resolve) => {
      this.ws.on('unexpected-response', (_, response) => resolve(`HTTP ${response.statusCode}`));
      this.ws.on('error', (error) => resolve(error.message));
      this.ws.on('close', (code) => resolve(code));
    });
  }

  async open(): Promise<this> {
    const refused = this.ended.then((how) => Promise.reject(new Error(`not opened: ${how}`)));
    refused.catch(() => {});
    await Promise.race([new Promise((resolve) => this.ws.once('open', resolve)), refused]);
    return this;
  }

  async count(n: number): Promise<unknown[]> {
    while (this.frames.length < n) {
      await new Promise<void>((resolve) => {
        this.#changed = resolve;
      });
    }
    return this.frames.map((frame) => JSON.parse(frame));
  }
}

const WATCH = '{"create_request":{"key":"YQ=="}}';

test('a watch over a socket, its request in several messages, binary ones too', async () => {
  server = await startServer();
  const client = await new Client('/v3/watch').open();
  client.ws.send('{"create_request":');
  client.ws.send(Buffer.from('{"key":"YQ=="}}'), { binary: true });
  await client.count(1);
  await ask(server.port, '/v3/kv/put', { body: '{"key":"YQ==","value":"YQ=="}' });
  const [created, changed] = (await client.count(2)) as [
    { result: { created: boolean } },
    { result: { events: { kv: { value: string } }[] } },
  ];
  assert.equal(created.result.created, true);
  assert.equal(changed.result.events[0]?.kv.value, 'YQ==');
  assert.ok(!client.frames[0]?.endsWith('\n'));
});

test('a unary call over a socket: one frame, then the line goes dead', async () => {
  server = await startServer();
  const client = await new Client('/v3/kv/range').open();
  client.ws.send('{"key":');
  client.ws.send('"YQ=="}');
  assert.equal(await client.ended, 1006);
  assert.equal(client.frames.length, 1);
  const unknown = await new Client('/v3/nothing').open();
  assert.equal(await unknown.ended, 1006);
  assert.deepEqual(unknown.frames, ['Not Found']);
});

test('a page of another origin may not open a socket, unless it is listed', async () => {
  server = await startServer({ allowedOrigins: ['https://a.example'] });
  const from = async (origin: string | undefined, path = '/v3/watch') => {
    const client = new Client(path, origin === undefined ? {} : { origin });
    return Promise.race([client.open().then(() => 'open'), client.ended]);
  };
  assert.equal(await from('https://evil.example'), 'HTTP 403');
  assert.equal(await from('null'), 'HTTP 403');
  assert.equal(await from('https://evil.example', '/v1/watch'), 'HTTP 403');
  assert.equal(await from(`https://127.0.0.1:${server.port + 1}`), 'HTTP 403');
  assert.equal(await from('https://a.example'), 'open');
  assert.equal(await from(`http://127.0.0.1:${server.port}`), 'open');
  assert.equal(await from(undefined), 'open');
  await server.stop();
  server = await startServer({ allowedOrigins: ['*'] });
  assert.equal(await from('https://evil.example'), 'open');
});

test('sockets on paths and hosts that are not served, and one too many', async () => {
  server = await startServer({ hostWhitelist: ['127.0.0.1'], limits: gatewayLimits({ sockets: 1 }) });
  assert.equal(await new Client('/nope').ended, 'HTTP 404');
  assert.equal(await new Client('/v3').ended, 'HTTP 404');
  assert.equal(await new Client('/v3/watch', { headers: { Host: 'evil.example' } }).ended, 'HTTP 421');
  const first = await new Client('/v3/watch').open();
  assert.equal(await new Client('/v3/watch').ended, 'HTTP 503');
  first.ws.terminate();
  const deadline = performance.now() + 5000;
  for (;;) {
    const next = new Client('/v3/watch');
    if ((await Promise.race([next.open().then(() => 'open'), next.ended])) === 'open') break;
    assert.ok(performance.now() < deadline, 'its place was not given back');
  }
});

test('the credential of a handshake: the cookie first, then the Bearer protocol, never the header', async () => {
  const of = (protocol: string | undefined, cookie?: string) => socketOptions({ protocol, cookie });
  assert.deepEqual(of(undefined), {});
  assert.deepEqual(of('Bearer, abc.7'), { token: 'abc.7' });
  assert.deepEqual(of('Bearer, abc', 'a=b; token=xyz'), { token: 'xyz' });
  assert.deepEqual(of('chat'), { token: '' });
  assert.deepEqual(of(undefined, 'mytoken=1'), {});

  let seen: CallOptions | undefined;
  class Listening extends StoreApi {
    override range(request: Parameters<StoreApi['range']>[0], options?: CallOptions) {
      seen = options;
      return super.range(request);
    }
  }
  server = await startServer({ api: new Listening(new RealClock()) });
  const headers = { Authorization: 'dropped' };
  const client = await new Client('/v3/kv/range', { headers }, ['Bearer', 'abc.7']).open();
  assert.equal(client.ws.protocol, 'Bearer');
  client.ws.send('{"key":"YQ=="}');
  await client.ended;
  assert.deepEqual(seen, { token: 'abc.7' });
  await ask(server.port, '/v3/kv/range', {
    body: '{"key":"YQ=="}',
    headers: { Authorization: 'Bearer t.1' },
  });
  assert.deepEqual(seen, { token: 't.1' });
  await ask(server.port, '/v3/kv/range', {
    body: '{"key":"YQ=="}',
    headers: { 'Grpc-Metadata-Token': 'raw', 'Grpc-Timeout': '1500m' },
  });
  assert.deepEqual(seen, { token: 'raw', timeoutMs: 1500 });
});

test('a bad frame or one that is too large closes its own socket and no other', async () => {
  server = await startServer({
    limits: gatewayLimits({ bodyBytes: 4000, valueBytes: 2000, keyBytes: 1000 }),
  });
  const good = await new Client('/v3/watch').open();
  good.ws.send(WATCH);
  await good.count(1);
  const large = await new Client('/v3/watch').open();
  large.ws.send('x'.repeat(5000));
  assert.notEqual(await large.ended, 1000);
  const garbage = connect(server.port, '127.0.0.1');
  garbage.write(
    'GET /v3/watch HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n' +
      'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
  );
  const closed = new Promise((resolve) => garbage.on('close', resolve));
  garbage.on('error', () => {}).resume();
  garbage.write(Buffer.from([0xff, 0xff, 0xff, 0xff]));
  await closed;
  await ask(server.port, '/v3/kv/put', { body: '{"key":"YQ=="}' });
  await good.count(2);
  assert.deepEqual(server.errors, []);
});

test('bad JSON: first it is the answer, later it ends the requests while watches go on', async () => {
  server = await startServer();
  const first = await new Client('/v3/watch').open();
  first.ws.send('{x');
  assert.equal(await first.ended, 1006);
  assert.match(first.frames[0] as string, /^{"error":"invalid character 'x' .*"code":2}$/);
  const later = await new Client('/v3/watch').open();
  later.ws.send(`${WATCH}{x`);
  await later.count(1);
  later.ws.send(WATCH);
  await ask(server.port, '/v3/kv/put', { body: '{"key":"YQ=="}' });
  await later.count(2);
  assert.match(later.frames[1] as string, /"events"/);
});

test('draining ends the streams of sockets and takes no new sockets', async () => {
  server = await startServer();
  const client = await new Client('/v3/watch').open();
  client.ws.send(WATCH);
  await client.count(1);
  const drained = server.gateway.drain();
  assert.equal(await client.ended, 1006);
  assert.match(client.frames[1] as string, /"grpc_code":14.*"transport is closing"/);
  assert.equal(await new Client('/v3/watch').ended, 'HTTP 503');
  await drained;
});

test('whatever frames are sent, the server goes on', async () => {
  server = await startServer();
  const seed = process.env.SEED ?? 'socket fuzz';
  const prng = new Prng(seed);
  const words = [
    '{',
    '}',
    '[',
    ']',
    '"',
    ':',
    '{"create_request":',
    '{"key":"YQ=="}',
    '{"cancel_request":',
    '{"watch_id":1}',
    '{"progress_request":{}}',
    'null',
    '1',
    '\u0000',
    'é',
  ];
  for (let i = 0; i < 60; i++) {
    const client = new Client(
      prng.pick(['/v3/watch', '/v3/kv/txn', '/v3/lease/keepalive', '/v3beta/%ff', '/v3/x']),
    );
    if ((await Promise.race([client.open().then(() => 'open'), client.ended])) !== 'open') continue;
    for (let n = prng.int(1, 6); n > 0; n--) {
      const text = Array.from({ length: prng.int(0, 8) }, () => prng.pick(words)).join('');
      client.ws.send(prng.chance(0.2) ? Buffer.from(text, 'latin1') : text);
    }
    client.ws.close();
    await client.ended;
  }
  const { status } = await ask(server.port, '/v3/kv/range', { body: '{"key":"YQ=="}' });
  assert.equal(status, 200, `seed ${seed}`);
  assert.deepEqual(server.errors, [], `seed ${seed}`);
});
