/** What every call of etcd's has on the wire (reference 1.1), frame by frame. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { constants } from 'node:http2';
import { describe, test } from 'node:test';
import { deferred, ManualClock, utf8 } from '@muster/base';
import { KvError } from '@muster/contract';
import { type CallOptions, type ConcurrencyApi, createConcurrency, type PutRequest } from '@muster/kv';
import { StoreApi } from '../../../gateway/test/store-api.ts';
import { exchange, RawCall, type Rig, startGrpc, unary } from '../../test/grpc-harness.ts';
import { NodeClock } from '../client/node-clock.ts';
import { encodeFramed } from '../convert/codec.ts';
import { putRequest } from '../convert/kv-requests.ts';
import { CONCURRENCY_METHODS, ETCD_METHODS, HEALTH_METHODS, STREAM_METHODS } from '../convert/methods.ts';
import { watchRequest, watchResponse } from '../convert/watch.ts';
import { percentEncoded } from './grpc-status.ts';

const PUT = ETCD_METHODS.put.path;
const put = (key: string, size = 1): Buffer =>
  encodeFramed(putRequest, { key: utf8(key), value: new Uint8Array(size) });

function over(name: string, run: (rig: Rig) => Promise<void>, start = () => startGrpc()): void {
  test(name, async () => {
    const rig = await start();
    try {
      await run(rig);
    } finally {
      await rig.close();
    }
  });
}

describe('requests on the wire', () => {
  over('an answer is headers, one message and trailers', async ({ session }) => {
    const answer = await unary(session, ETCD_METHODS.put, { key: utf8('a') });
    assert.equal(answer.headers[':status'], 200);
    assert.equal(answer.headers['content-type'], 'application/grpc');
    assert.equal(answer.headers['grpc-status'], undefined);
    assert.equal(answer.trailers?.['grpc-status'], '0');
    assert.equal(answer.message?.header.revision, 2);
  });

  over('a message may come in any number of pieces', async ({ session, api }) => {
    const call = new RawCall(session, PUT);
    for (const byte of put('abc', 20)) {
      call.stream.write(Buffer.from([byte]));
      await new Promise((resolve) => setImmediate(resolve));
    }
    assert.equal((await call.answer).status, 0);
    assert.equal(api.machine.currentRevision, 2);
  });

  over('an error is one frame of headers', async ({ session }) => {
    const answer = await unary(session, ETCD_METHODS.put, { key: new Uint8Array() });
    assert.equal(answer.trailers, undefined);
    assert.equal(answer.headers['grpc-status'], '3');
    assert.equal(answer.headers['grpc-message'], 'etcdserver: key is not provided');
    assert.equal(answer.body.length, 0);
  });

  const REFUSED: readonly [string, string, Uint8Array, Record<string, string>, number, string][] = [
    [
      'an unknown method',
      '/etcdserverpb.KV/Nope',
      put('a'),
      {},
      12,
      'unknown method Nope for service etcdserverpb.KV',
    ],
    ['an unknown service', '/foo.Bar/Nope', put('a'), {}, 12, 'unknown service foo.Bar'],
    ['a path without a service', '/Nope', put('a'), {}, 12, 'malformed method name: "/Nope"'],
    [
      'gzip',
      PUT,
      put('a'),
      { 'grpc-encoding': 'gzip' },
      12,
      'grpc: Decompressor is not installed for grpc-encoding "gzip"',
    ],
    [
      'a compressed message without encoding',
      PUT,
      Buffer.from([1, 0, 0, 0, 0]),
      {},
      13,
      'grpc: compressed flag set with identity or empty encoding',
    ],
    ['another flag', PUT, Buffer.from([7, 0, 0, 0, 0]), {}, 13, 'grpc: received unexpected payload format 7'],
    [
      'what is no protobuf',
      PUT,
      Buffer.from([0, 0, 0, 0, 2, 0x0a, 9]),
      {},
      13,
      'grpc: error unmarshalling request: unexpected EOF',
    ],
    ['no message', PUT, Buffer.alloc(0), {}, 13, 'EOF'],
    ['half a message', PUT, put('a').subarray(0, 6), {}, 13, 'unexpected EOF'],
    ['a timeout without a unit', PUT, put('a'), { 'grpc-timeout': '5' }, 13, 'malformed grpc-timeout: "5"'],
    [
      'a client version that is no UTF-8',
      PUT,
      put('a'),
      { 'client-api-version': '\u00ff' },
      3,
      'etcdserver: invalid client api version',
    ],
  ];
  for (const [what, path, body, headers, status, text] of REFUSED) {
    over(`${what}: ${status}`, async ({ session, api }) => {
      const answer = await exchange(session, path, body, headers);
      assert.deepEqual([answer.status, answer.text], [status, text]);
      assert.equal(answer.trailers, undefined);
      assert.equal(api.machine.currentRevision, 1);
    });
  }

  over('a message at the limit is taken, one above it refused while it comes', async ({ session }) => {
    const limit = 2 * 1024 * 1024;
    const envelope = put('a', limit - 100).length - 5 - (limit - 100);
    assert.equal((await exchange(session, PUT, put('a', limit - envelope))).status, 0);
    const answer = await exchange(session, PUT, put('a', limit - envelope + 1));
    assert.deepEqual(
      [answer.status, answer.text],
      [8, `grpc: received message larger than max (${limit + 1} vs. ${limit})`],
    );
    assert.equal((await exchange(session, PUT, put('b'))).status, 0, 'the connection stays usable');
  });

  over('a length of 4 GiB makes no room for it', async ({ session }) => {
    const answer = await exchange(session, PUT, Buffer.from([0, 255, 255, 255, 255, 1]));
    assert.equal(answer.text, `grpc: received message larger than max (${2 ** 32 - 1} vs. 2097152)`);
  });

  over('a call that is no POST ends alone', async ({ session }) => {
    const stream = session.request({ ':method': 'GET', ':path': PUT, 'content-type': 'application/grpc' });
    const [error] = await once(stream, 'error');
    assert.match(String(error), /PROTOCOL_ERROR/);
    assert.equal((await exchange(session, PUT, put('b'))).status, 0);
  });

  over('what is not gRPC is left alone', async ({ session }) => {
    const stream = session.request({ ':method': 'POST', ':path': PUT, 'content-type': 'application/json' });
    stream.on('error', () => {});
    assert.equal((await exchange(session, PUT, put('b'))).status, 0);
    assert.equal(stream.closed, false);
  });

  over('settings: as many calls as clients like', async ({ session }) => {
    if (session.connecting || session.remoteSettings.maxConcurrentStreams === undefined)
      await once(session, 'remoteSettings');
    assert.equal(session.remoteSettings.maxConcurrentStreams, 0xffff_ffff);
  });

  test('texts are percent-encoded', () => {
    assert.equal(percentEncoded('100 % "ü"\n'), '100 %25 "%C3%BC"%0A');
    assert.equal(percentEncoded('etcdserver: no leader'), 'etcdserver: no leader');
  });
});

describe('what a call says of itself', () => {
  class Recording extends StoreApi {
    seen: CallOptions | undefined;
    override put(request: PutRequest, options?: CallOptions) {
      this.seen = options;
      return super.put(request);
    }
  }
  const CASES: readonly [Record<string, string>, CallOptions][] = [
    [{}, {}],
    [{ token: 'abc.1' }, { token: 'abc.1' }],
    [{ authorization: 'abc.1' }, { token: 'abc.1' }],
    [{ authorization: 'Bearer ey.J' }, { token: 'ey.J' }],
    [{ hasleader: 'true' }, { requireLeader: true }],
    [{ hasleader: 'false' }, {}],
    [{ 'x-forwarded-for': '10.0.0.1' }, {}],
    [{ 'grpc-timeout': '3S' }, { timeoutMs: 3000 }],
    [{ 'grpc-timeout': '250m' }, { timeoutMs: 250 }],
    [{ 'grpc-timeout': '2H', 'client-api-version': '3.6.0' }, { timeoutMs: 7_200_000 }],
  ];
  for (const [headers, expected] of CASES) {
    test(JSON.stringify(headers), async () => {
      const api = new Recording(new NodeClock());
      const rig = await startGrpc({ api });
      await exchange(rig.session, PUT, put('a'), headers);
      assert.deepEqual(api.seen, { source: '127.0.0.1', ...expected });
      await rig.close();
    });
  }
});

/** Locks that nobody gets: calls that last. */
function blocked(): {
  readonly concurrency: (api: StoreApi) => ConcurrencyApi;
  readonly aborted: Promise<KvError>;
  started: Promise<void>;
} {
  const aborted = deferred<KvError>();
  const started = deferred<void>();
  const lock = (_: unknown, options: CallOptions = {}) => {
    started.resolve();
    return new Promise<never>((_resolve, reject) =>
      options.signal?.addEventListener('abort', () => {
        aborted.resolve(options.signal?.reason as KvError);
        reject(options.signal?.reason);
      }),
    );
  };
  return {
    concurrency: (api: StoreApi) => Object.assign(createConcurrency(api), { lock }),
    aborted: aborted.promise,
    started: started.promise,
  };
}
const LOCK = { name: utf8('l'), lease: 0n };

describe('calls that end early', () => {
  test('a deadline ends the call with 4 and tells who answers', async () => {
    const { concurrency, aborted } = blocked();
    const rig = await startGrpc({ concurrency });
    const answer = await unary(rig.session, CONCURRENCY_METHODS.lock, LOCK, { 'grpc-timeout': '20m' });
    assert.deepEqual([answer.status, answer.text], [4, 'context deadline exceeded']);
    assert.equal((await aborted).code, 'DEADLINE');
    await rig.close();
  });

  test('a client that gives up tells who answers', async () => {
    const { concurrency, aborted, started } = blocked();
    const codes: number[] = [];
    const observer = { grpcStarted() {}, grpcHandled: (_: unknown, code: number) => void codes.push(code) };
    const rig = await startGrpc({ concurrency, observer });
    const call = new RawCall(rig.session, CONCURRENCY_METHODS.lock.path);
    call.stream.end(encodeFramed(CONCURRENCY_METHODS.lock.request, LOCK));
    await started;
    call.stream.close(constants.NGHTTP2_CANCEL);
    assert.equal((await aborted).code, 'CANCELED');
    assert.deepEqual(codes, [1]);
    await rig.close();
  });

  test('errors of locks and elections are code 2', async () => {
    const lock = () => Promise.reject(new KvError('LEASE_NOT_FOUND'));
    const concurrency = (api: StoreApi) => Object.assign(createConcurrency(api), { lock });
    const rig = await startGrpc({ concurrency });
    const { status, text } = await unary(rig.session, CONCURRENCY_METHODS.lock, LOCK);
    assert.deepEqual([status, text], [2, 'etcdserver: requested lease not found']);
    await rig.close();
  });

  test('close: GOAWAY, streams end with 14, a call with one answer finishes', async () => {
    const free = deferred<void>();
    const started = deferred<void>();
    const api = new StoreApi(new NodeClock());
    const put1 = api.put.bind(api);
    api.put = async (request) => {
      started.resolve();
      await free.promise;
      return put1(request);
    };
    const rig = await startGrpc({ api });
    const watch = new RawCall(rig.session, STREAM_METHODS.watch.path);
    watch.send(watchRequest, { type: 'create', watch: { key: utf8('a') }, watchId: 0n, fragment: false });
    assert.equal((await watch.next(watchResponse)).created, true);
    const putting = exchange(rig.session, PUT, put('a'));
    await started.promise;
    const goaway = once(rig.session, 'goaway');
    const closed = rig.server.close(10_000);
    assert.equal((await goaway)[0], 0);
    const ended = await watch.answer;
    assert.deepEqual([ended.status, ended.text], [14, 'etcdserver: server stopped']);
    free.resolve();
    assert.equal((await putting).status, 0);
    await closed;
    await rig.close();
  });
});

describe('keepalive', () => {
  const ping = (rig: Rig) =>
    new Promise<void>((resolve) => {
      rig.session.ping((error) => {
        assert.equal(error, null);
        resolve();
      });
    });

  test('the fourth early ping sends the client away', async () => {
    const rig = await startGrpc({ clock: new ManualClock() });
    await exchange(rig.session, PUT, put('a'));
    const goaway = once(rig.session, 'goaway');
    await ping(rig); // allowed: something was sent before it
    for (let i = 0; i < 3; i++) rig.session.ping(() => {});
    const [code, , data] = await goaway;
    assert.equal(code, constants.NGHTTP2_ENHANCE_YOUR_CALM);
    assert.equal(String(data), 'too_many_pings');
    rig.session.destroy();
    await rig.close();
  });

  test('pings at the permitted pace, or after an answer, may go on for ever', async () => {
    const clock = new ManualClock();
    const rig = await startGrpc({ clock });
    const watch = new RawCall(rig.session, STREAM_METHODS.watch.path);
    watch.send(watchRequest, { type: 'create', watch: { key: utf8('a') }, watchId: 0n, fragment: false });
    await watch.next(watchResponse);
    for (let i = 0; i < 8; i++) {
      await ping(rig);
      clock.advance(5000);
    }
    for (let i = 0; i < 8; i++) {
      await ping(rig);
      await exchange(rig.session, PUT, put('b'));
    }
    assert.equal(rig.session.closed, false);
    rig.session.destroy();
    await rig.close();
  });

  test('pings while a long answer comes in are how clients measure the line', async () => {
    const rig = await startGrpc({ clock: new ManualClock() });
    await exchange(rig.session, PUT, put('a', 1_900_000));
    for (let round = 0; round < 3; round++) {
      const call = new RawCall(rig.session, ETCD_METHODS.range.path);
      let asked = false;
      call.stream.on('data', () => {
        if (asked) return;
        asked = true;
        rig.session.ping(() => {
          asked = false;
        });
      });
      call.stream.end(encodeFramed(ETCD_METHODS.range.request, { key: utf8('a') }));
      assert.equal((await call.answer).status, 0);
    }
    assert.equal(rig.session.closed, false);
    await rig.close();
  });

  test('a silent client is asked, and kept when it answers', async () => {
    const clock = new ManualClock();
    const rig = await startGrpc({ clock, limits: { keepAlivePingMs: 1000, keepAliveTimeoutMs: 100 } });
    await exchange(rig.session, PUT, put('a'));
    for (let i = 0; i < 3; i++) {
      const asked = once(rig.session, 'ping');
      clock.advance(1000);
      await asked;
      await exchange(rig.session, PUT, put('a')); // behind the acknowledgement on the same connection
    }
    clock.advance(500);
    assert.equal(rig.session.closed, false);
    rig.session.destroy();
    await rig.close();
  });

  test('a client that does not answer is cut off', async () => {
    const clock = new ManualClock();
    const rig = await startGrpc({ clock, limits: { keepAlivePingMs: 1000, keepAliveTimeoutMs: 100 } });
    await exchange(rig.session, PUT, put('a'));
    const closed = once(rig.session, 'close');
    clock.advance(1000);
    clock.advance(100); // in the same turn: no acknowledgement can have come
    await closed;
    await rig.close();
  });
});

describe('health', () => {
  over('the server is serving; other names are unknown', async ({ session }) => {
    const answer = await unary(session, HEALTH_METHODS.check, { service: '' });
    assert.deepEqual(answer.message, { status: 'serving' });
    const other = await unary(session, HEALTH_METHODS.check, { service: 'etcd' });
    assert.deepEqual([other.status, other.text], [5, 'unknown service']);
    const watch = new RawCall(session, HEALTH_METHODS.watch.path);
    watch.send(HEALTH_METHODS.watch.request, { service: '' });
    assert.deepEqual(await watch.next(HEALTH_METHODS.watch.response), { status: 'serving' });
  });

  test('what the server says of itself is told, and what it refuses with', async () => {
    const answers = ['notServing', new KvError('LEARNER_UNSUPPORTED'), 'serving'] as const;
    let turn = 0;
    const rig = await startGrpc({
      health: () => {
        const now = answers[turn++ % answers.length] as (typeof answers)[number];
        if (now instanceof KvError) throw now;
        return now;
      },
    });
    const check = () => unary(rig.session, HEALTH_METHODS.check, { service: '' });
    assert.deepEqual((await check()).message, { status: 'notServing' });
    assert.equal((await check()).text, 'etcdserver: rpc not supported for learner');
    assert.deepEqual((await check()).message, { status: 'serving' });
    await rig.close();
  });
});

test('the observer hears of every call once, with its code', async () => {
  const heard: unknown[] = [];
  const rig = await startGrpc({
    observer: {
      grpcStarted: ({ type, service, method }) => void heard.push(['started', type, service, method]),
      grpcHandled: ({ method }, code, seconds) => void heard.push(['handled', method, code, seconds >= 0]),
      grpcBytes: (received, sent) => void heard.push(['bytes', received > 0, sent > 0]),
    },
  });
  await unary(rig.session, ETCD_METHODS.put, { key: utf8('a') });
  await unary(rig.session, ETCD_METHODS.put, { key: utf8('') });
  const started = ['started', 'unary', 'etcdserverpb.KV', 'Put'];
  assert.deepEqual(heard, [
    started,
    ['bytes', true, false],
    ['handled', 'Put', 0, true],
    ['bytes', false, true],
    started,
    ['bytes', true, false],
    ['handled', 'Put', 3, true],
  ]);
  await rig.close();
});
