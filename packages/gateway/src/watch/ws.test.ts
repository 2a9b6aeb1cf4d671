import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { utf8 } from '@muster/base';
import { KvError, type ServerFrame } from '@muster/contract';
import { WebSocket } from 'ws';
import { putJson, serveV1, type TestOptions, type TestServer, Watcher } from '../../test/v1-harness.ts';

const servers: TestServer[] = [];
after(() => Promise.all(servers.map((server) => server.stop())));

async function serve(options: TestOptions = {}): Promise<TestServer> {
  const server = await serveV1(options);
  servers.push(server);
  return server;
}

const put = (server: TestServer, key: string, value = 'v') =>
  server.api.put({ key: utf8(key), value: utf8(value) });

const kv = (prefix: string, more: object = {}) => ({ kv: { prefix, ...more } });

test('hello, welcome, a snapshot, then one frame for each revision', async () => {
  const server = await serve();
  await put(server, 'a/1');
  await put(server, 'b/1');
  const watcher = await Watcher.open(server.port);
  watcher.send({ t: 'sub', id: 'x', sel: kv('a/'), snapshot: true });
  assert.deepEqual(await watcher.next('subd'), { t: 'subd', id: 'x', mode: 'snapshot', rev: 3 });
  const snap = await watcher.next('snap');
  assert.equal(snap.more, false);
  assert.deepEqual(
    snap.items.map((item) => (item as { key: string }).key),
    ['a/1'],
  );
  await server.api.txn({
    compare: [],
    success: ['a/1', 'a/2', 'b/2'].map((key) => ({ type: 'put', put: { key: utf8(key), value: utf8('w') } })),
    failure: [],
  });
  await server.api.deleteRange({ key: utf8('a/1') });
  const first = await watcher.next('ev');
  assert.equal(first.rev, 4);
  assert.equal(first.events.length, 2, 'what one txn changed comes in one frame');
  const second = await watcher.next('ev');
  assert.deepEqual(second, {
    t: 'ev',
    id: 'x',
    rev: 5,
    events: [{ type: 'delete', key: 'a/1', modRevision: 5 }],
  });
  watcher.send({ t: 'unsub', id: 'x' });
  assert.deepEqual(await watcher.next('end'), { t: 'end', id: 'x' });
});

test('a resume after a cursor misses nothing and repeats nothing', async () => {
  const server = await serve();
  for (let i = 0; i < 50; i++) await put(server, `k${i % 7}`, String(i));
  const watcher = await Watcher.open(server.port);
  watcher.send({ t: 'sub', id: 'x', sel: kv('k'), from: 'abcdef0123456789.11' });
  assert.deepEqual(await watcher.next('subd'), { t: 'subd', id: 'x', mode: 'resume', rev: 11 });
  for (let rev = 12; rev <= 51; rev++) assert.equal((await watcher.next('ev')).rev, rev);
  await put(server, 'k');
  assert.equal((await watcher.next('ev')).rev, 52);
});

test('a compacted cursor is told of the gap and gets a replacing snapshot, then goes on', async () => {
  const server = await serve();
  for (let i = 0; i < 10; i++) await put(server, 'k', String(i));
  await server.api.compact({ revision: 8 });
  const watcher = await Watcher.open(server.port);
  watcher.send({ t: 'sub', id: 'x', sel: kv('k'), from: 'abcdef0123456789.3' });
  assert.equal((await watcher.next('subd')).mode, 'resume');
  assert.deepEqual(await watcher.next('gap'), {
    t: 'gap',
    id: 'x',
    reason: 'compacted',
    from: 'abcdef0123456789.3',
    to: 11,
  });
  const snap = await watcher.next('snap');
  assert.deepEqual([snap.rev, snap.replace, snap.more], [11, true, false]);
  await put(server, 'k');
  assert.equal((await watcher.next('ev')).rev, 12);
});

test('a cursor of another store is repaired in the same way', async () => {
  const server = await serve();
  await put(server, 'k');
  const watcher = await Watcher.open(server.port);
  watcher.send({ t: 'sub', id: 'x', sel: kv('k'), from: '0000000000000001.900' });
  assert.equal((await watcher.next('subd')).mode, 'snapshot');
  assert.equal((await watcher.next('gap')).reason, 'epoch');
  assert.equal((await watcher.next('snap')).replace, true);
});

test('without credit nothing more comes; acks bring the rest, in order, from history', async () => {
  const server = await serve();
  const watcher = await Watcher.open(server.port);
  watcher.send({ t: 'sub', id: 'x', sel: kv('k'), credit: 3 });
  await watcher.next('subd');
  for (let i = 0; i < 3001; i++) await put(server, 'k', String(i));
  for (let rev = 2; rev <= 4; rev++) assert.equal((await watcher.next('ev')).rev, rev);
  assert.ok((await watcher.next('lag')).behind > 0);
  watcher.send({ t: 'ping', n: 7 });
  assert.equal((await watcher.next('pong')).n, 7, 'nothing else came before it');
  watcher.send({ t: 'ack', id: 'x', rev: 4, credit: 100 });
  for (let rev = 5; rev <= 3002; rev++) {
    const frame = await watcher.find('ev');
    assert.equal(frame.rev, rev);
    if (rev % 50 === 0) watcher.send({ t: 'ack', id: 'x', rev });
  }
});

test('a lagging subscription whose history is compacted away gets a snapshot', async () => {
  const server = await serve();
  const watcher = await Watcher.open(server.port);
  watcher.send({ t: 'sub', id: 'x', sel: kv('k'), credit: 2 });
  await watcher.next('subd');
  for (let i = 0; i < 9000; i++) await put(server, 'k', String(i));
  await server.api.compact({ revision: 8990 });
  await watcher.find('lag');
  watcher.send({ t: 'ack', id: 'x', rev: 3 });
  const gap = await watcher.find('gap');
  assert.equal(gap.reason, 'compacted');
  const snap = await watcher.next('snap');
  assert.deepEqual([snap.rev, snap.replace], [9001, true]);
});

test('coalesce merges when behind: the last value of each key, never an older one after a newer', async () => {
  const server = await serve();
  const watcher = await Watcher.open(server.port);
  watcher.send({ t: 'sub', id: 'x', sel: kv('k'), credit: 1, coalesce: 'key' });
  await watcher.next('subd');
  for (let i = 0; i < 500; i++) await put(server, `k${i % 5}`, String(i));
  const first = await watcher.find('ev');
  watcher.send({ t: 'ack', id: 'x', rev: first.rev });
  const seen = new Map<string, number>();
  let frames = 1;
  for (let rev = first.rev; rev < 501; frames++) {
    const frame = await watcher.find('ev');
    rev = frame.rev;
    for (const event of frame.events) {
      const { entry } = event as { entry: { key: string; modRevision: number } };
      assert.ok(entry.modRevision > (seen.get(entry.key) ?? 0));
      seen.set(entry.key, entry.modRevision);
    }
    watcher.send({ t: 'ack', id: 'x', rev });
  }
  assert.ok(frames < 50, `${frames} frames for 500 revisions`);
  assert.deepEqual([...seen.values()].sort(), [497, 498, 499, 500, 501]);
});

test('a coalescing subscription that is very far behind gets a snapshot instead of history', async () => {
  const server = await serve({ limits: { replayRevisions: 100 } });
  for (let i = 0; i < 200; i++) await put(server, 'k', String(i));
  const watcher = await Watcher.open(server.port);
  watcher.send({ t: 'sub', id: 'x', sel: kv('k'), from: 'abcdef0123456789.5', coalesce: 'key' });
  await watcher.next('subd');
  assert.equal((await watcher.next('gap')).reason, 'overflow');
  assert.equal((await watcher.next('snap')).rev, 201);
});

test('a revision too large for a frame comes in parts, a large state in several snap frames', async () => {
  const server = await serve({ limits: { outFrameBytes: 2000, sliceItemsFirst: 3 } });
  const watcher = await Watcher.open(server.port);
  watcher.send({ t: 'sub', id: 'x', sel: kv('k') });
  await watcher.next('subd');
  const keys = Array.from({ length: 20 }, (_, i) => `k${String(i).padStart(2, '0')}`);
  const value = utf8('x'.repeat(300));
  await server.api.txn({
    compare: [],
    success: keys.map((key) => ({ type: 'put', put: { key: utf8(key), value } })),
    failure: [],
  });
  const parts: ServerFrame[] = [];
  const seen: string[] = [];
  for (let last = false; !last; ) {
    const frame = await watcher.next('ev');
    parts.push(frame);
    assert.equal(frame.rev, 2);
    assert.equal(frame.part?.[0], parts.length);
    last = frame.part?.[0] === frame.part?.[1];
    for (const event of frame.events) seen.push((event as { entry: { key: string } }).entry.key);
  }
  assert.ok(parts.length > 3);
  assert.deepEqual(seen, keys);
  watcher.send({ t: 'sub', id: 'y', sel: kv('k'), snapshot: true });
  await watcher.next('subd');
  const items: unknown[] = [];
  let frames = 0;
  for (let more = true; more; frames++) {
    const snap = await watcher.next('snap');
    items.push(...snap.items);
    more = snap.more;
  }
  assert.equal(items.length, 20);
  assert.ok(frames > 3);
});

test('a client that stops reading holds nothing up: it gets all of it when it reads again', async () => {
  const server = await serve({ limits: { bufferedBytes: 64 * 1024, outFrameBytes: 32 * 1024 } });
  const slow = await Watcher.open(server.port);
  const quick = await Watcher.open(server.port);
  for (const watcher of [slow, quick]) {
    watcher.send({ t: 'sub', id: 'x', sel: kv('k'), credit: 4096 });
    await watcher.next('subd');
  }
  slow.ws.pause();
  const before = process.memoryUsage().arrayBuffers;
  for (let i = 0; i < 1500; i++) {
    await put(server, 'k', 'x'.repeat(20_000));
    if (i % 10 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  for (let rev = 2; rev <= 1501; rev++) assert.equal((await quick.next('ev')).rev, rev);
  const held = process.memoryUsage().arrayBuffers - before;
  assert.ok(server.api.hub.stats().stalledWatchers <= 1);
  slow.ws.resume();
  for (let rev = 2; rev <= 1501; rev++) assert.equal((await slow.find('ev')).rev, rev);
  // History of 30 MB is the store's; what the slow socket may hold is its own buffer and the kernel's.
  assert.ok(held < 120 * 1024 * 1024, `${held} bytes`);
});

test('bookmarks move idle cursors, and never past what a slow subscription was sent', async () => {
  const server = await serve();
  const watcher = await Watcher.open(server.port);
  watcher.send({ t: 'sub', id: 'idle', sel: kv('zzz') });
  watcher.send({ t: 'sub', id: 'slow', sel: kv('k'), credit: 1 });
  await watcher.next('subd');
  await watcher.next('subd');
  for (let i = 0; i < 10; i++) await put(server, 'k', String(i));
  await watcher.find('lag');
  watcher.send({ t: 'progress' });
  assert.deepEqual(await watcher.next('bm'), { t: 'bm', rev: 2 });
  assert.deepEqual(await watcher.next('bm'), { t: 'bm', id: 'idle', rev: 11 });
  watcher.send({ t: 'progress', id: 'idle' });
  assert.deepEqual(await watcher.next('bm'), { t: 'bm', id: 'idle', rev: 11 });
});

test('bookmarks come by themselves, and a silent client is closed', async () => {
  const server = await serve({ limits: { heartbeatMs: 200 } });
  const watcher = await Watcher.open(server.port);
  watcher.send({ t: 'sub', id: 'x', sel: kv('k') });
  await watcher.next('subd');
  await put(server, 'other');
  await put(server, 'other');
  for (let bookmark = await watcher.next('bm'); bookmark.rev < 3; ) bookmark = await watcher.next('bm');
  const deaf = new WebSocket(`ws://127.0.0.1:${server.port}/v1/watch`, { autoPong: false });
  deaf.on('open', () => deaf.send('{"t":"hello","v":1}'));
  const code = await new Promise((resolve) => deaf.on('close', resolve));
  assert.equal(code, 4408);
  const mute = new Watcher(server.port);
  assert.deepEqual(await mute.closed, { code: 4408, reason: 'no hello' });
  assert.equal(watcher.ws.readyState, WebSocket.OPEN, 'the one that answers pings stays');
});

test('services: items are instances, filters make leaving ones deletes, and nothing else is told', async () => {
  const server = await serve();
  const ask = (id: string, body: object, method = 'PUT') =>
    server.ask(`/v1/services/orders/instances/${id}`, putJson(body, method));
  await ask('a', { zone: 'x' });
  await ask('b', { zone: 'y' });
  const watcher = await Watcher.open(server.port);
  watcher.send({
    t: 'sub',
    id: 's',
    sel: { service: { name: 'orders', zone: 'x', status: ['up'] } },
    snapshot: true,
  });
  await watcher.next('subd');
  const { items } = await watcher.next('snap');
  assert.deepEqual(
    items.map((item) => (item as { id: string }).id),
    ['a'],
  );
  await ask('b', { zone: 'y', weight: 2 });
  await ask('c', { zone: 'x' });
  const added = await watcher.next('ev');
  assert.equal((added.events[0] as { instance: { id: string } }).instance.id, 'c');
  await ask('a', { status: 'draining' }, 'PATCH');
  const [left] = (await watcher.next('ev')).events as readonly unknown[] as {
    type: string;
    id: string;
    filtered: boolean;
  }[];
  assert.deepEqual([left?.type, left?.id, left?.filtered], ['delete', 'a', true]);
  await server.ask('/v1/services/orders/instances/a', { method: 'DELETE' });
  await server.ask('/v1/services/orders/instances/c', { method: 'DELETE' });
  const [gone] = (await watcher.next('ev')).events as readonly unknown[] as {
    type: string;
    id: string;
    service: string;
  }[];
  assert.deepEqual([gone?.type, gone?.service, gone?.id], ['delete', 'orders', 'c']);
});

test('the cluster: at once, and again when the leader changes or a member falls silent', async () => {
  const health = new Map([[2n, true]]);
  const server = await serve({
    limits: { clusterPollMs: 20 },
    deps: { memberHealth: (id) => health.get(id) },
  });
  const watcher = await Watcher.open(server.port);
  watcher.send({ t: 'sub', id: 'c', sel: { cluster: {} } });
  await watcher.next('subd');
  const first = await watcher.next('cluster');
  assert.equal(first.leader, '0000000000000001');
  assert.deepEqual(
    first.members.map((m) => m.health),
    ['up', 'up'],
  );
  await server.api.moveLeader({ targetId: 2n });
  health.set(2n, false);
  const next = await watcher.next('cluster');
  assert.equal(next.leader, '0000000000000002');
  assert.deepEqual(
    next.members.map((m) => [m.leader, m.health]),
    [
      [false, 'up'],
      [true, 'down'],
    ],
  );
});

test('bad frames are answered and the socket is closed with 4400; nobody else notices', async () => {
  const server = await serve({ limits: { frameBytes: 4096 } });
  const other = await Watcher.open(server.port);
  other.send({ t: 'sub', id: 'x', sel: kv('k') });
  await other.next('subd');
  for (const bad of [
    '',
    'x',
    '[]',
    '{"t":"sub"}',
    '{"t":"nope"}',
    '{"t":"hello","v":1}',
    '\u0000',
    '{"t":"ack"}',
  ]) {
    const watcher = await Watcher.open(server.port);
    watcher.send(bad);
    assert.match((await watcher.next('err')).problem.detail as string, /expected/, bad);
    assert.equal((await watcher.closed).code, 4400, bad);
  }
  const early = new Watcher(server.port);
  await new Promise((resolve) => early.ws.once('open', resolve));
  early.send({ t: 'ping', n: 1 });
  assert.equal((await early.closed).code, 4400, 'hello first');
  const version = new Watcher(server.port);
  await new Promise((resolve) => version.ws.once('open', resolve));
  version.send({ t: 'hello', v: 2 });
  assert.match((await version.next('err')).problem.detail as string, /version 1/);
  const binary = await Watcher.open(server.port);
  binary.ws.send(Buffer.from([1, 2, 3]));
  assert.equal((await binary.closed).code, 4400);
  const big = await Watcher.open(server.port);
  big.send({ t: 'hello', v: 1, client: 'x'.repeat(5000) });
  assert.equal((await big.closed).code, 1009);
  await put(server, 'k');
  assert.equal((await other.next('ev')).rev, 2);
});

test('a subscription that cannot be is ended with its reason; the socket goes on', async () => {
  const server = await serve({ limits: { subscriptionsPerSocket: 2 } });
  const watcher = await Watcher.open(server.port);
  watcher.send({ t: 'sub', id: 'bad', sel: kv('k'), from: 'not-a-cursor' });
  assert.equal((await watcher.next('end')).problem?.code, 'BAD_REQUEST');
  watcher.send({ t: 'sub', id: 'empty', sel: { kv: { start: 'b', end: 'a' } } });
  assert.equal((await watcher.next('end')).problem?.code, 'WATCH_EMPTY_RANGE');
  server.api.failure = new KvError('NO_LEADER');
  watcher.send({ t: 'sub', id: 'snap', sel: kv('k'), snapshot: true });
  const { problem } = await watcher.next('end');
  assert.deepEqual([problem?.code, problem?.retryable], ['NO_LEADER', true]);
  server.api.failure = undefined;
  for (const id of ['1', '2', '3']) watcher.send({ t: 'sub', id, sel: kv('k') });
  const ended = await watcher.find('end');
  assert.deepEqual([ended.id, ended.problem?.code], ['3', 'RATE_LIMITED']);
});

test('a stopping store ends subscriptions with a retryable problem', async () => {
  const server = await serve();
  const watcher = await Watcher.open(server.port);
  watcher.send({ t: 'sub', id: 'x', sel: kv('k') });
  await watcher.next('subd');
  server.api.hub.closeAll('STOPPED');
  const { problem } = await watcher.next('end');
  assert.deepEqual([problem?.code, problem?.retryable], ['STOPPED', true]);
});

test('goaway on drain: told first, closed with 1001 when the time is up, and new ones refused', async () => {
  const server = await serve();
  const watcher = await Watcher.open(server.port);
  const stay = await Watcher.open(server.port);
  const drained = server.v1.drain('shutdown', 150);
  const goaway = await watcher.next('goaway');
  assert.ok(goaway.afterMs <= 150);
  watcher.ws.close();
  assert.equal((await stay.closed).code, 1001);
  await drained;
  assert.equal(server.v1.stats().sockets, 0);
  const late = new Watcher(server.port);
  assert.equal((await late.closed).code, 1013);
});

test('an abrupt end of a socket leaves nothing behind', async () => {
  const server = await serve();
  const watcher = await Watcher.open(server.port);
  watcher.send({ t: 'sub', id: 'x', sel: kv('k') });
  await watcher.next('subd');
  assert.equal(server.api.hub.stats().watchers, 1);
  watcher.ws.terminate();
  while (server.v1.stats().sockets > 0) await new Promise((resolve) => setImmediate(resolve));
  assert.equal(server.api.hub.stats().watchers, 0);
});
