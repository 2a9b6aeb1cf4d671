/** Clients that mean harm, or stop in the worst moment. */
import assert from 'node:assert/strict';
import { connect as connectHttp2 } from 'node:http2';
import { connect, type Socket } from 'node:net';
import { test } from 'node:test';
import { deferred, utf8 } from '@muster/base';
import { GrpcCode, KvError } from '@muster/contract';
import type { CallOptions } from '@muster/kv';
import { StoreApi } from '../../../gateway/test/store-api.ts';
import { RawCall, type Rig, startGrpc, unary } from '../../test/grpc-harness.ts';
import { NodeClock } from '../client/node-clock.ts';
import { encodeFramed } from '../convert/codec.ts';
import { ETCD_METHODS, STREAM_METHODS } from '../convert/methods.ts';
import { watchRequest, watchResponse } from '../convert/watch.ts';
import type { GrpcLimits } from './grpc-limits.ts';

const PREFACE = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n';
const TYPE = { data: 0, headers: 1, reset: 3, settings: 4, ping: 6, goaway: 7, continuation: 9 } as const;
const CANCEL = 8;

function frame(type: number, flags: number, stream: number, body: Uint8Array = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(body.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, body]);
}

/** Fields as HPACK literals that no table keeps. */
function fields(entries: readonly (readonly [string, string])[]): Buffer {
  return Buffer.concat(
    entries.flatMap(([name, value]) => [
      Buffer.from([0, name.length]),
      Buffer.from(name),
      Buffer.from([value.length]),
      Buffer.from(value),
    ]),
  );
}

const callOf = (path: string): Buffer =>
  fields([
    [':method', 'POST'],
    [':scheme', 'http'],
    [':authority', 'test'],
    [':path', path],
    ['content-type', 'application/grpc'],
  ]);

const reset = (stream: number): Buffer => frame(TYPE.reset, 0, stream, Buffer.from([0, 0, 0, CANCEL]));

/** A connection on which every byte is ours. */
async function raw(rig: Rig): Promise<Socket> {
  const socket = connect(rig.port, '127.0.0.1');
  socket.on('error', () => {});
  socket.resume();
  const open = deferred<void>();
  socket.once('connect', () => open.resolve());
  await open.promise;
  socket.write(Buffer.concat([Buffer.from(PREFACE), frame(TYPE.settings, 0, 0)]));
  return socket;
}

const create = (key: string): Buffer =>
  encodeFramed(watchRequest, { type: 'create', watch: { key: utf8(key) }, watchId: 0n, fragment: false });

function against(name: string, run: (rig: Rig) => Promise<void>, limits: Partial<GrpcLimits> = {}): void {
  test(name, async () => {
    const rig = await startGrpc({ limits });
    try {
      await run(rig);
    } finally {
      await rig.close();
    }
  });
}

async function until(holds: () => boolean): Promise<void> {
  const endMs = performance.now() + 5000;
  while (!holds()) {
    assert.ok(performance.now() < endMs, 'in time');
    await new Promise((resolve) => setImmediate(resolve));
  }
}

against('watches that are asked for and given up in one breath leave nothing behind', async (rig) => {
  const socket = await raw(rig);
  const head = callOf(STREAM_METHODS.watch.path);
  for (let burst = 0; burst < 20; burst++) {
    const frames: Buffer[] = [];
    for (let i = 0; i < 50; i++) {
      const id = 1 + 2 * (burst * 50 + i);
      frames.push(frame(TYPE.headers, 4, id, head), frame(TYPE.data, 0, id, create('a')), reset(id));
    }
    socket.write(Buffer.concat(frames));
    await new Promise((resolve) => setImmediate(resolve));
  }
  await unary(rig.session, ETCD_METHODS.put, { key: utf8('a') });
  await until(() => rig.server.calls === 0);
  await until(() => rig.api.hub.stats().watchers === 0);
  socket.destroy();
});

against(
  'a stream that is reset while its requests wait leaves no watch behind',
  async (rig) => {
    const call = new RawCall(rig.session, STREAM_METHODS.watch.path);
    call.send(watchRequest, { type: 'create', watch: { key: utf8('a') }, watchId: 0n, fragment: false });
    await call.next(watchResponse);
    call.stream.pause();
    for (let i = 0; i < 30; i++) await rig.api.put({ key: utf8('a'), value: new Uint8Array(100_000) });
    assert.equal(rig.api.hub.stats().slowWatchers, 1);
    for (let i = 0; i < 1000; i++) call.stream.write(create(`b${i}`));
    await unary(rig.connect(), ETCD_METHODS.put, { key: utf8('c') });
    call.stream.close(CANCEL);
    await until(() => rig.server.calls === 0);
    assert.equal(rig.api.hub.stats().watchers, 0);
  },
  { streamBufferBytes: 1024 },
);

against(
  'a long answer reaches a client with a small window whole, trailers too, though it never ended its request',
  async (rig) => {
    await rig.api.put({ key: utf8('a'), value: new Uint8Array(1_000_000) });
    const session = connectHttp2(`http://127.0.0.1:${rig.port}`, { settings: { initialWindowSize: 1000 } });
    for (let i = 0; i < 2; i++) {
      const call = new RawCall(session, ETCD_METHODS.range.path);
      call.send(ETCD_METHODS.range.request, { key: utf8('a') });
      const answer = await call.answer;
      assert.equal(answer.status, 0);
      assert.ok(answer.body.length > 1_000_000);
    }
    session.destroy();
  },
);

against('a flood of calls that are given up at once ends its connection', async (rig) => {
  const socket = await raw(rig);
  let closed = false;
  socket.once('close', () => (closed = true));
  const head = callOf(ETCD_METHODS.range.path);
  for (let burst = 0; burst < 200 && !closed; burst++) {
    const frames: Buffer[] = [];
    for (let i = 0; i < 200; i++) {
      const id = 1 + 2 * (burst * 200 + i);
      frames.push(frame(TYPE.headers, 4, id, head), reset(id));
    }
    socket.write(Buffer.concat(frames));
    await new Promise((resolve) => setImmediate(resolve));
  }
  await until(() => closed);
  await until(() => rig.server.calls === 0);
});

against('headers that never end do not stay', async (rig) => {
  const socket = await raw(rig);
  let closed = false;
  socket.once('close', () => (closed = true));
  socket.write(frame(TYPE.headers, 0, 1, callOf(ETCD_METHODS.range.path)));
  const piece = fields([['x', 'y'.repeat(100)]]);
  for (let i = 0; i < 1000 && !closed; i++) {
    socket.write(frame(TYPE.continuation, 0, 1, piece));
    await new Promise((resolve) => setImmediate(resolve));
  }
  await until(() => closed);
  assert.equal((await unary(rig.session, ETCD_METHODS.put, { key: utf8('a') })).status, 0);
});

const LARGE = new Uint8Array(100_000);

against(
  'requests that never come whole, on however many connections, take a bounded amount of memory',
  async (rig) => {
    const part = encodeFramed(ETCD_METHODS.put.request, { key: utf8('a'), value: LARGE }).subarray(0, 60_000);
    const statuses: number[] = [];
    for (let i = 0; i < 40; i++) {
      const call = new RawCall(i % 2 === 0 ? rig.session : rig.connect(), ETCD_METHODS.put.path);
      call.stream.write(part);
      call.answer.then(({ status }) => statuses.push(status)).catch(() => {});
    }
    await until(() => statuses.length > 0 && rig.server.calls < 40);
    assert.deepEqual(new Set(statuses), new Set([GrpcCode.RESOURCE_EXHAUSTED]));
    assert.ok(rig.server.heldBytes.receiving < 1.2e6, `${rig.server.heldBytes.receiving}`);
    // What comes in one piece is served all the same.
    assert.equal((await unary(rig.session, ETCD_METHODS.put, { key: utf8('a') })).status, 0);
    rig.session.destroy();
    await until(() => rig.server.heldBytes.receiving < 0.8e6);
  },
  { receivingBytes: 1e6 },
);

against(
  'long answers that are not taken hold a bounded amount of memory, and give it back',
  async (rig) => {
    await rig.api.put({ key: utf8('a'), value: LARGE });
    const session = rig.connect();
    const paused = Array.from({ length: 40 }, () => {
      const call = new RawCall(session, ETCD_METHODS.range.path);
      call.stream.pause();
      call.stream.end(encodeFramed(ETCD_METHODS.range.request, { key: utf8('a') }));
      return call;
    });
    await until(() => rig.server.heldBytes.sending > 0.9e6);
    const refused = await unary(rig.session, ETCD_METHODS.range, { key: utf8('a') });
    assert.equal(refused.status, GrpcCode.RESOURCE_EXHAUSTED);
    assert.equal((await unary(rig.session, ETCD_METHODS.put, { key: utf8('b') })).status, 0);
    assert.ok(rig.server.heldBytes.sending <= 1.2e6);
    for (const { stream } of paused) stream.resume();
    await Promise.all(paused.map(({ answer }) => answer));
    await until(() => rig.server.heldBytes.sending === 0);
    assert.equal((await unary(rig.session, ETCD_METHODS.range, { key: utf8('a') })).status, 0);
  },
  { sendingBytes: 1e6 },
);

against(
  'calls that are opened and left are bounded in number',
  async (rig) => {
    const open = (): RawCall => new RawCall(rig.connect(), STREAM_METHODS.watch.path);
    const idle = [open(), open(), open()];
    for (const { stream } of idle) stream.write(create('a'));
    await until(() => rig.server.calls === 3);
    assert.equal((await open().answer).status, GrpcCode.RESOURCE_EXHAUSTED);
    idle[0]?.stream.close(CANCEL);
    await until(() => rig.server.calls === 2);
    assert.equal((await unary(rig.session, ETCD_METHODS.put, { key: utf8('a') })).status, 0);
  },
  { calls: 3 },
);

against('a deadline of years is no deadline of now', async (rig) => {
  for (const timeout of ['99999999H', '99999999M', '2147483S', '3000000S']) {
    const call = new RawCall(rig.session, STREAM_METHODS.watch.path, { 'grpc-timeout': timeout });
    call.send(watchRequest, { type: 'create', watch: { key: utf8('a') }, watchId: 0n, fragment: false });
    assert.equal((await call.next(watchResponse)).created, true);
    for (let i = 0; i < 20; i++) await new Promise((resolve) => setTimeout(resolve, 1));
    assert.equal(call.stream.destroyed, false, timeout);
  }
});

/** A store whose keepalives fail when they are told to. */
class Hesitating extends StoreApi {
  readonly asked = deferred<void>();
  readonly gate = deferred<void>();
  readonly left = deferred<void>();

  override async leaseKeepAlive(_: { readonly id: bigint }, options: CallOptions = {}): Promise<never> {
    options.signal?.addEventListener('abort', () => this.left.resolve());
    this.asked.resolve();
    await this.gate.promise;
    throw new KvError('TIMEOUT');
  }
}

/** Resolves when everything that was written before has been read on the other side. */
function pinged(socket: Socket): Promise<void> {
  const nonce = Buffer.from('whatsaid');
  const done = deferred<void>();
  let heard = Buffer.alloc(0);
  const listen = (chunk: Buffer): void => {
    heard = Buffer.concat([heard, chunk]);
    if (!heard.includes(frame(TYPE.ping, 1, 0, nonce))) return;
    socket.off('data', listen);
    done.resolve();
  };
  socket.on('data', listen);
  socket.write(frame(TYPE.ping, 0, 0, nonce));
  return done.promise;
}

for (const how of ['fails', 'is given up'] as const) {
  test(`a call that ${how} while requests wait unread keeps no connection`, {
    timeout: 10_000,
  }, async (t) => {
    const api = new Hesitating(new NodeClock());
    const rig = await startGrpc({ api });
    t.after(() => rig.close());
    const socket = await raw(rig);
    t.after(() => socket.destroy());
    const closed = deferred<void>();
    socket.once('close', () => closed.resolve());
    const { path, request } = STREAM_METHODS.leaseKeepAlive;
    const messages = Buffer.concat([1n, 2n].map((id) => encodeFramed(request, { id })));
    socket.write(Buffer.concat([frame(TYPE.headers, 4, 1, callOf(path)), frame(TYPE.data, 0, 1, messages)]));
    await api.asked.promise;
    socket.write(frame(TYPE.data, how === 'fails' ? 1 : 0, 1, messages));
    await pinged(socket);
    if (how === 'fails') {
      api.gate.resolve();
    } else {
      // Of all codes this one alone leaves it to the reader when the stream is closed.
      socket.write(frame(TYPE.reset, 0, 1, Buffer.alloc(4)));
      await api.left.promise;
    }
    await pinged(socket);
    // As clients leave that have nothing open: streams that are left would keep the connection.
    socket.end(frame(TYPE.goaway, 0, 0, Buffer.alloc(8)));
    await closed.promise;
  });
}
