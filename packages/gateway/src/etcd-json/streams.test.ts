import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { afterEach, test } from 'node:test';
import { KvError } from '@muster/contract';
import type { Event, WatchBatch } from '@muster/kv';
import { RealClock } from '../../../../test/support/real-clock.ts';
import { ask, RawStream, startServer, type TestServer } from '../../test/gateway-harness.ts';
import { StoreApi } from '../../test/store-api.ts';
import { gatewayLimits } from '../limits.ts';
import { watchBatchLine, watchFragmentLines } from './watch-line.ts';

let server: TestServer | undefined;
const streams: RawStream[] = [];

afterEach(async () => {
  for (const stream of streams.splice(0)) stream.close();
  await server?.stop();
  server = undefined;
});

function open(path: string, headers?: string): RawStream {
  const stream = new RawStream((server as TestServer).port, path, headers);
  streams.push(stream);
  return stream;
}

const b64 = (text: string): string => Buffer.from(text).toString('base64');
const put = (key: string, value = 'v') =>
  ask((server as TestServer).port, '/v3/kv/put', {
    body: JSON.stringify({ key: b64(key), value: b64(value) }),
  });

type Result = {
  readonly header: { readonly revision?: string };
  readonly watch_id?: string;
  readonly created?: boolean;
  readonly canceled?: boolean;
  readonly fragment?: boolean;
  readonly compact_revision?: string;
  readonly cancel_reason?: string;
  readonly events?: readonly { readonly kv: { readonly key: string; readonly mod_revision: string } }[];
};
const resultsOf = (stream: RawStream): Result[] =>
  stream.results.map((line) => (line as { readonly result: Result }).result);

test('several watches on one stream, created, asked and cancelled while its request goes on', async () => {
  server = await startServer();
  const stream = open('/v3/watch');
  stream.send(`{"create_request":{"key":"${b64('a')}"}}{"create_`);
  await stream.count(1);
  assert.match(stream.head, /^HTTP\/1.1 200 OK\r\n/);
  assert.match(stream.head, /content-type: application\/json/i);
  stream.send(`request":{"key":"${b64('b')}","prevKv":true}}\n\n{"progress_request":{}}`);
  await stream.count(3);
  await put('a');
  await put('b');
  await stream.count(5);
  stream.send('{"cancel_request":{"watch_id":0}}{"cancel_request":{"watch_id":77}}{}');
  await stream.count(6);
  await put('a');
  await put('b', 'w');
  await stream.count(7);
  stream.endInput();
  await put('b', 'x');
  await stream.count(8);
  const seen = resultsOf(stream).map(({ watch_id, created, canceled, events, header }) => [
    watch_id ?? '0',
    created
      ? 'created'
      : canceled
        ? 'canceled'
        : events
          ? `at ${header.revision}`
          : `progress ${header.revision}`,
  ]);
  assert.deepEqual(seen, [
    ['0', 'created'],
    ['1', 'created'],
    ['-1', 'progress 1'],
    ['0', 'at 2'],
    ['1', 'at 3'],
    ['0', 'canceled'],
    ['1', 'at 5'],
    ['1', 'at 6'],
  ]);
});

test('a progress request is never answered before a watch that lags has caught up', async () => {
  server = await startServer();
  for (let i = 0; i < 30; i++) await put(`k${i}`, 'x'.repeat(1000));
  const stream = open('/v3/watch');
  stream.send(
    `{"create_request":{"key":"${b64('k')}","range_end":"${b64('l')}","start_revision":2}}{"progress_request":{}}` +
      `{"create_request":{"key":"AA==","range_end":"AA==","start_revision":1000}}{"progress_request":{}}`,
  );
  await stream.until((s) => resultsOf(s).filter((r) => r.watch_id === '-1').length >= 1);
  const results = resultsOf(stream);
  const progress = results.findIndex((result) => result.watch_id === '-1');
  const before = results.slice(0, progress).flatMap((result) => result.events ?? []);
  assert.equal(before.length, 30);
  assert.equal(results[progress]?.header.revision, '31');
});

test('a progress request on a stream without watches is not answered', async () => {
  server = await startServer();
  const stream = open('/v3/watch');
  stream.send(`{"progress_request":{}}{"create_request":{"key":"YQ=="}}`);
  await stream.count(1);
  assert.deepEqual(
    resultsOf(stream).map((result) => result.created),
    [true],
  );
});

test('refused creations are answered in order and use up no id', async () => {
  server = await startServer();
  const stream = open('/v3/watch');
  stream.send(
    [
      { create_request: { key: 'YQ==', watch_id: 4 } },
      { create_request: { key: 'YQ==', watch_id: '4' } },
      { create_request: { key: 'Yg==', range_end: 'YQ==' } },
      { create_request: { key: 'YQ==', start_revision: '-1' } },
      { create_request: { key: 'YQ==' } },
    ]
      .map((request) => JSON.stringify(request))
      .join(''),
  );
  await stream.count(5);
  const seen = resultsOf(stream).map(({ header: _, ...rest }) => rest);
  const refused = { watch_id: '-1', created: true, canceled: true };
  assert.deepEqual(seen, [
    { watch_id: '4', created: true },
    { ...refused, cancel_reason: 'mvcc: duplicate watch ID provided on the WatchStream' },
    { ...refused, cancel_reason: 'mvcc: watcher range is empty' },
    { ...refused, cancel_reason: 'etcdserver: mvcc: required revision has been compacted' },
    { created: true },
  ]);
});

test('watches of one stream are limited', async () => {
  server = await startServer({ limits: gatewayLimits({ subscriptionsPerSocket: 2 }) });
  const stream = open('/v3/watch');
  stream.send('{"create_request":{"key":"YQ=="}}'.repeat(3));
  await stream.count(3);
  assert.equal(resultsOf(stream)[2]?.cancel_reason, 'etcdserver: too many requests');
});

test('a watch below the compaction is created, then cancelled with the compact revision', async () => {
  server = await startServer();
  for (let i = 0; i < 3; i++) await put('a', String(i));
  await ask(server.port, '/v3/kv/compaction', { body: '{"revision":3}' });
  const stream = open('/v3/watch');
  stream.send('{"create_request":{"key":"YQ==","start_revision":2}}');
  await stream.count(2);
  const { header, ...rest } = resultsOf(stream)[1] as Result;
  assert.deepEqual(rest, { canceled: true, compact_revision: '3' });
  assert.equal(header.revision, undefined);
});

test('a client that does not read holds nothing up and misses nothing', async () => {
  const limits = gatewayLimits({ bufferedBytes: 64 * 1024, outFrameBytes: 64 * 1024 });
  const api = new StoreApi(new RealClock());
  server = await startServer({ api, limits });
  const slow = open('/v3/watch');
  slow.send('{"create_request":{"key":"AA==","range_end":"AA=="}}');
  await slow.count(1);
  slow.socket.pause();
  const value = 'x'.repeat(50_000);
  for (let i = 0; i < 400; i++) await put(`k${i % 7}`, value);
  assert.equal(api.hub.stats().stalledWatchers, 1);
  const quick = open('/v3/watch');
  quick.send('{"create_request":{"key":"AA==","range_end":"AA==","start_revision":401}}');
  await quick.count(2);
  slow.socket.resume();
  await slow.until((s) => resultsOf(s).at(-1)?.events?.at(-1)?.kv.mod_revision === '401', 20_000);
  const revisions = resultsOf(slow).flatMap((result) => result.events ?? []);
  assert.deepEqual(
    revisions.map((event) => Number(event.kv.mod_revision)),
    Array.from({ length: 400 }, (_, i) => i + 2),
  );
});

test('a keepalive stream answers in order and ends with its requests', async () => {
  server = await startServer();
  await ask(server.port, '/v3/lease/grant', { body: '{"ID":7,"TTL":60}' });
  const stream = open('/v3/lease/keepalive');
  stream.send('{"ID":7}');
  await stream.count(1);
  stream.send('{"ID":8}{"ID":"7"}');
  await stream.count(3);
  stream.endInput();
  await stream.until((s) => s.complete);
  assert.deepEqual(
    resultsOf(stream).map(({ header: _, ...rest }) => rest),
    [{ ID: '7', TTL: '60' }, { ID: '8' }, { ID: '7', TTL: '60' }],
  );
});

test('an error in a stream: alone it is the answer, later it is the last line', async () => {
  class Failing extends StoreApi {
    override async leaseKeepAlive(request: { id: bigint }) {
      if (request.id === 1n) return super.leaseKeepAlive(request);
      throw new KvError('NO_LEADER');
    }
  }
  server = await startServer({ api: new Failing(new RealClock()) });
  const error =
    '{"error":{"grpc_code":14,"http_code":503,"message":"etcdserver: no leader","http_status":"Service Unavailable","code":14}}';
  const alone = await ask(server.port, '/v3/lease/keepalive', { body: '{"ID":2}' });
  assert.deepEqual([alone.status, alone.text], [503, error]);
  const later = await ask(server.port, '/v3/lease/keepalive', { body: '{"ID":1}{"ID":2}{"ID":1}' });
  assert.equal(later.status, 200);
  assert.match(later.text, /^{"result":.*"ID":"1"}}\n{"error":/);
  assert.ok(later.text.endsWith(error));
});

test('draining ends streams as etcd does and takes no new ones, while calls are answered', async () => {
  server = await startServer();
  const stream = open('/v3/watch');
  stream.send('{"create_request":{"key":"YQ=="}}');
  await stream.count(1);
  const drained = server.gateway.drain();
  await stream.until((s) => s.complete);
  assert.equal(
    stream.lines.at(-1),
    '{"error":{"grpc_code":14,"http_code":503,"message":"transport is closing","http_status":"Service Unavailable","code":14}}',
  );
  const late = await ask(server.port, '/v3/watch', { body: '{"create_request":{"key":"YQ=="}}' });
  assert.equal(late.status, 503);
  assert.equal((await put('a')).status, 200);
  await drained;
});

test('streams are limited in number and in what one message may be', async () => {
  server = await startServer({
    limits: gatewayLimits({ streams: 1, bodyBytes: 2000, valueBytes: 1000, keyBytes: 1000 }),
  });
  const first = open('/v3/watch');
  first.send('{"create_request":{"key":"YQ=="}}');
  await first.count(1);
  const second = await ask(server.port, '/v3/watch', { body: '{"create_request":{"key":"YQ=="}}' });
  assert.equal(second.status, 429);
  first.send(`{"create_request":{"key":"${'A'.repeat(3000)}`);
  await first.until((s) => s.complete);
  assert.match(first.lines.at(-1) as string, /"grpc_code":8,.*received message larger than max/);
  const again = open('/v3/watch');
  again.send('{"create_request":{"key":"YQ=="}}');
  await again.count(1);
});

test('a client that hangs up leaves no watch behind', async () => {
  const api = new StoreApi(new RealClock());
  server = await startServer({ api });
  const stream = open('/v3/watch');
  stream.send('{"create_request":{"key":"YQ=="}}'.repeat(3));
  await stream.count(3);
  assert.equal(api.hub.stats().watchers, 3);
  stream.close();
  const deadline = performance.now() + 5000;
  while (api.hub.stats().watchers > 0) {
    assert.ok(performance.now() < deadline, 'watches are still there');
    await new Promise((resolve) => setImmediate(resolve));
  }
});

test('HTTP/1.0 and pipelined clients get their streams too', async () => {
  server = await startServer();
  const body = '{"create_request":{"key":"YQ=="}}';
  const socket = connect(server.port, '127.0.0.1').setEncoding('latin1');
  let text = '';
  socket.write(`POST /v3/watch HTTP/1.0\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
  await new Promise<void>((resolve) => {
    socket.on('data', (chunk) => {
      text += chunk;
      if (text.includes('"created":true')) resolve();
    });
  });
  assert.doesNotMatch(text, /transfer-encoding/i);
  assert.match(text, /\r\n\r\n{"result":.*}\n$/);
  socket.destroy();

  const range = '{"key":"YQ=="}';
  const pipelined = connect(server.port, '127.0.0.1').setEncoding('latin1');
  let both = '';
  const call = (path: string, content: string) =>
    `POST ${path} HTTP/1.1\r\nHost: x\r\nContent-Length: ${content.length}\r\n\r\n${content}`;
  pipelined.write(call('/v3/kv/range', range) + call('/v3/watch', body));
  await new Promise<void>((resolve) => {
    pipelined.on('data', (chunk) => {
      both += chunk;
      if (both.includes('"created":true}}\n\r\n')) resolve();
    });
  });
  assert.ok(both.indexOf('Content-Length') < both.indexOf('"created":true'));
  pipelined.destroy();
});

const event = (key: string, valueBytes: number): Event => ({
  type: 'put',
  kv: {
    key: Buffer.from(key),
    value: Buffer.alloc(valueBytes, 65),
    createRevision: 5,
    modRevision: 5,
    version: 1,
    lease: 0n,
  },
});
const header = { clusterId: 1n, memberId: 2n, revision: 5, raftTerm: 3 };

test('a batch is encoded once for all first watches with equal headers', () => {
  const batch: WatchBatch = { headerRevision: 5, lastRevision: 5, events: [event('a', 3)] };
  const line = watchBatchLine(batch, header, 0n);
  assert.equal(watchBatchLine(batch, { ...header }, 0n), line);
  assert.notEqual(watchBatchLine(batch, { ...header, raftTerm: 4 }, 0n), line);
  const other = JSON.parse(watchBatchLine(batch, header, 9n).toString());
  assert.equal(other.result.watch_id, '9');
  assert.deepEqual(other.result.events, JSON.parse(line.toString()).result.events);
});

test('fragments: cut between events, all but the last say so, nothing is lost', () => {
  const events = Array.from({ length: 30 }, (_, i) => event(`key${i}`, 100));
  const batch: WatchBatch = { headerRevision: 5, lastRevision: 5, events };
  const parts = watchFragmentLines(batch, header, 0n, 1000).map((line) => JSON.parse(line.toString()).result);
  assert.ok(parts.length > 3);
  assert.deepEqual(
    parts.map((part) => part.fragment === true),
    parts.map((_, i) => i < parts.length - 1),
  );
  const whole = JSON.parse(watchBatchLine(batch, header, 0n).toString()).result.events;
  assert.deepEqual(
    parts.flatMap((part) => part.events),
    whole,
  );
  for (const part of parts) assert.ok(part.events.length <= 9, 'a part is below the limit');
  const [single] = watchFragmentLines(batch, header, 0n, 1_000_000);
  assert.equal(single, watchBatchLine(batch, header, 0n));
  const large: WatchBatch = { ...batch, events: [event('a', 5000), event('b', 5000)] };
  assert.equal(watchFragmentLines(large, header, 0n, 1000).length, 2);
});

test('three megabytes in one revision come in parts to a watch that allows it', async () => {
  server = await startServer();
  const stream = open('/v3/watch');
  stream.send('{"create_request":{"key":"AA==","range_end":"AA==","fragment":true}}');
  stream.send('{"create_request":{"key":"AA==","range_end":"AA=="}}');
  await stream.count(2);
  for (const key of ['a', 'b', 'c']) await put(key, key.repeat(1_000_000));
  await stream.count(8);
  const txn = ['a', 'b', 'c'].map((key) => ({ request_delete_range: { key: b64(key) } }));
  const replay = open('/v3/watch');
  await ask(server.port, '/v3/kv/txn', { body: JSON.stringify({ success: txn }) });
  replay.send(
    '{"create_request":{"key":"AA==","range_end":"AA==","fragment":true,"start_revision":5,"prev_kv":true}}',
  );
  await replay.count(3);
  const parts = resultsOf(replay).slice(1);
  assert.deepEqual(
    parts.map((part) => [part.fragment, part.events?.length]),
    [
      [true, 2],
      [undefined, 1],
    ],
  );
});
