import assert from 'node:assert/strict';
import { connect, type Socket } from 'node:net';
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
    await this.until((client) => client.frames.length >= n);
    return this.frames.map((frame) => JSON.parse(frame));
  }

  async until(condition: (client: Client) => boolean): Promise<void> {
    while (!condition(this)) {
      await new Promise<void>((resolve) => {
        this.#changed = resolve;
      });
    }
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

const b64 = (text: string): string => Buffer.from(text).toString('base64');
const put = (key: string, value: string) =>
  ask((server as TestServer).port, '/v3/kv/put', {
    body: JSON.stringify({ key: b64(key), value: b64(value) }),
  });

/** What the frames so far say: `created 0`, `canceled 0`, `progress`, and `id:key` for each event. */
function told(client: Client): string[] {
  return client.frames.flatMap((frame) => {
    const { result } = JSON.parse(frame) as { result: Told };
    const id = result.watch_id ?? '0';
    if (result.created) return [`created ${id}`];
    if (result.canceled) return [`canceled ${id}`];
    if (result.events === undefined) return ['progress'];
    return result.events.map(({ kv }) => `${id}:${Buffer.from(kv.key, 'base64')}@${kv.mod_revision}`);
  });
}

type Told = {
  readonly watch_id?: string;
  readonly created?: boolean;
  readonly canceled?: boolean;
  readonly events?: readonly { readonly kv: { readonly key: string; readonly mod_revision: string } }[];
};

test('lines that all sockets share and lines of one keep their order in each socket', async () => {
  server = await startServer();
  const all = '{"create_request":{"key":"AA==","range_end":"AA=="}}';
  const clients: Client[] = [];
  for (let i = 0; i < 3; i++) {
    const client = await new Client('/v3/watch').open();
    client.ws.send(all);
    // The second has one more watch, whose lines are its own.
    if (i === 1) client.ws.send(`{"create_request":{"key":"${b64('b')}"}}`);
    await client.count(i === 1 ? 2 : 1);
    clients.push(client);
  }
  const [plain, mixed, asking] = clients as [Client, Client, Client];
  for (let i = 0; i < 20; i++) {
    if (i === 10) asking.ws.send('{"progress_request":{}}');
    await Promise.all([put('a', String(i)), put('b', String(i))]);
  }
  await plain.count(41);
  await mixed.count(62);
  await asking.count(42);
  const keys = told(plain).slice(1);
  assert.deepEqual(
    keys.map((event) => Number(event.split('@')[1])),
    Array.from({ length: 40 }, (_, i) => i + 2),
  );
  assert.deepEqual(
    told(asking)
      .slice(1)
      .filter((line) => line !== 'progress'),
    keys,
  );
  assert.equal(told(asking).filter((line) => line === 'progress').length, 1);
  const lines = told(mixed).slice(2);
  assert.deepEqual(
    lines.filter((line) => line.startsWith('0:')),
    keys,
  );
  const revisions = lines.map((line) => Number(line.split('@')[1]));
  assert.deepEqual(
    revisions,
    [...revisions].sort((a, b) => a - b),
  );
  assert.equal(lines.filter((line) => line.startsWith('1:b')).length, 20);
});

test('a socket that does not read holds no other up and misses nothing', async () => {
  const api = new StoreApi(new RealClock());
  const limits = gatewayLimits({ bufferedBytes: 64 * 1024, outFrameBytes: 64 * 1024 });
  server = await startServer({ api, limits });
  const [slow, quick] = [await new Client('/v3/watch').open(), await new Client('/v3/watch').open()];
  for (const client of [slow, quick]) {
    client.ws.send('{"create_request":{"key":"AA==","range_end":"AA=="}}');
    await client.count(1);
  }
  slow.ws.pause();
  const value = 'x'.repeat(50_000);
  for (let i = 0; i < 400; i++) await put(`k${i % 7}`, value);
  const toldAll = (client: Client): boolean =>
    client.frames.at(-1)?.includes('"mod_revision":"401"') === true;
  await quick.until(toldAll);
  assert.equal(api.hub.stats().stalledWatchers, 1);
  assert.equal(told(quick).length, 401);
  slow.ws.resume();
  await slow.until(toldAll);
  assert.deepEqual(told(slow), told(quick));
});

test('a close in the middle of events is answered, nothing follows the answer, and the others go on', async () => {
  const api = new StoreApi(new RealClock());
  server = await startServer({ api });
  const all = '{"create_request":{"key":"AA==","range_end":"AA=="}}';
  const stays = await new Client('/v3/watch').open();
  stays.ws.send(all);
  await stays.count(1);
  const PUTS = 200;
  const leaving: Promise<void>[] = [];
  for (let i = 0; i < PUTS; i++) {
    if (i % 10 === 0) leaving.push(leaveWhileTold(server.port, all, i % 20 === 0));
    await put(`k${i}`, 'v'.repeat(3000));
  }
  await Promise.all(leaving);
  await stays.until((client) => client.frames.length === PUTS + 1);
  assert.equal(told(stays).length, PUTS + 1);
  const deadline = performance.now() + 5000;
  while (api.hub.stats().watchers > 1) {
    assert.ok(performance.now() < deadline, 'watches of closed sockets are still there');
    await new Promise((resolve) => setImmediate(resolve));
  }
  assert.deepEqual(server.errors, []);
});

test('a socket that is slow to take the answer to its close gets nothing after that answer', async () => {
  server = await startServer({ limits: gatewayLimits({ bufferedBytes: 64 * 1024 * 1024 }) });
  const client = new RawClient(server.port);
  await client.until(() => client.upgraded);
  client.send(TEXT, Buffer.from('{"create_request":{"key":"AA==","range_end":"AA=="}}'));
  await client.until(() => client.opcodes.length === 1);
  client.socket.pause();
  // More than the kernel holds.
  for (let i = 0; i < 16; i++) await put('k', 'x'.repeat(1_000_000));
  client.send(CLOSE, CLOSE_NORMAL);
  for (let i = 0; i < 50; i++) await put('k', 'after');
  client.socket.resume();
  await client.closed;
  assert.equal(client.opcodes.indexOf(CLOSE), client.opcodes.length - 1);
});

/** A watch on a raw socket. After two events it sends a close frame, or it only hangs up. */
async function leaveWhileTold(port: number, create: string, politely: boolean): Promise<void> {
  const client = new RawClient(port);
  await client.until(() => client.upgraded);
  client.send(TEXT, Buffer.from(create));
  await client.until(() => client.opcodes.length >= 3);
  if (politely) client.send(CLOSE, CLOSE_NORMAL);
  else client.socket.destroy();
  await client.closed;
  if (politely) assert.equal(client.opcodes.indexOf(CLOSE), client.opcodes.length - 1, 'the last one');
}

const TEXT = 1;
const CLOSE = 8;
const CLOSE_NORMAL = Buffer.from([0x03, 0xe8]);

/** A WebSocket at /v3/watch that keeps what kinds of frames it gets, whatever their order. */
class RawClient {
  readonly socket: Socket;
  readonly closed: Promise<unknown>;
  /** Of the whole frames so far. */
  readonly opcodes: number[] = [];
  upgraded = false;
  #rest: Buffer = Buffer.alloc(0);
  #changed: (() => void) | undefined;

  constructor(port: number) {
    this.socket = connect(port, '127.0.0.1');
    this.closed = new Promise((resolve) => this.socket.on('close', resolve));
    this.socket.write(
      'GET /v3/watch HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n' +
        'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
    );
    this.socket.on('data', (chunk) => {
      this.#take(Buffer.concat([this.#rest, chunk]));
      this.#changed?.();
    });
  }

  /** One short frame, masked with zeros. */
  send(opcode: number, body: Buffer): void {
    this.socket.write(Buffer.concat([Buffer.from([0x80 | opcode, 0x80 | body.length, 0, 0, 0, 0]), body]));
  }

  async until(condition: () => boolean): Promise<void> {
    while (!condition()) {
      await new Promise<void>((resolve) => {
        this.#changed = resolve;
      });
    }
  }

  #take(bytes: Buffer): void {
    let at = 0;
    if (!this.upgraded) {
      at = bytes.indexOf('\r\n\r\n') + 4;
      this.upgraded = at > 3;
    }
    while (this.upgraded && at + 2 <= bytes.length) {
      const short = (bytes[at + 1] as number) & 127;
      const head = short < 126 ? 2 : short === 126 ? 4 : 10;
      if (at + head > bytes.length) break;
      let length = short;
      if (head === 4) length = bytes.readUInt16BE(at + 2);
      if (head === 10) length = Number(bytes.readBigUInt64BE(at + 2));
      if (at + head + length > bytes.length) break;
      this.opcodes.push((bytes[at] as number) & 15);
      at += head + length;
    }
    this.#rest = bytes.subarray(this.upgraded ? at : 0);
  }
}

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
