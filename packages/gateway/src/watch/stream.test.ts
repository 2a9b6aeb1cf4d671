import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock, utf8 } from '@muster/base';
import type { StreamFrame } from '@muster/contract';
import { type TestV1, testV1 } from '../../test/v1-harness.ts';

const EPOCH = 'abcdef0123456789';
const put = ({ api }: TestV1, key: string, value = 'v') => api.put({ key: utf8(key), value: utf8(value) });

/** Reads a streamed body piece by piece. */
class Lines {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #decoder = new TextDecoder();
  readonly #separator: string;
  #text = '';

  constructor(response: Response, separator = '\n') {
    assert.equal(response.status, 200);
    this.#reader = (response.body as ReadableStream<Uint8Array>).getReader();
    this.#separator = separator;
  }

  /** The next piece; `undefined` at the end. */
  async next(): Promise<string | undefined> {
    for (;;) {
      const at = this.#text.indexOf(this.#separator);
      if (at >= 0) {
        const piece = this.#text.slice(0, at);
        this.#text = this.#text.slice(at + this.#separator.length);
        return piece;
      }
      const { value, done } = await this.#reader.read();
      if (done) return undefined;
      this.#text += this.#decoder.decode(value, { stream: true });
    }
  }

  async frame(): Promise<StreamFrame> {
    return JSON.parse((await this.next()) as string) as StreamFrame;
  }

  close(): Promise<void> {
    return this.#reader.cancel();
  }
}

test('curl gets lines: subd at once, then the frames of the socket without their id', async () => {
  const made = testV1();
  const response = await made.ask('/v1/watch?prefix=hello');
  assert.equal(response.headers.get('content-type'), 'application/x-ndjson');
  assert.equal(response.headers.get('x-accel-buffering'), 'no');
  assert.equal(response.headers.get('cache-control'), 'no-store');
  const lines = new Lines(response);
  assert.deepEqual(await lines.frame(), { t: 'subd', mode: 'resume', rev: 1, epoch: EPOCH });
  await put(made, 'other');
  await put(made, 'hello', 'world');
  const entry = { key: 'hello', value: 'world', createRevision: 3, modRevision: 3, version: 1 };
  assert.deepEqual(await lines.frame(), { t: 'ev', rev: 3, events: [{ type: 'put', entry }] });
  await lines.close();
  assert.equal(made.v1.stats().streams, 0);
  assert.equal(made.api.hub.stats().watchers, 0);
});

test('since and snapshot', async () => {
  const made = testV1();
  for (let i = 0; i < 5; i++) await put(made, 'k', String(i));
  const since = new Lines(await made.ask(`/v1/watch?key=k&since=${EPOCH}.3`));
  assert.deepEqual(await since.frame(), { t: 'subd', mode: 'resume', rev: 3, epoch: EPOCH });
  for (const rev of [4, 5, 6]) assert.equal(((await since.frame()) as { rev: number }).rev, rev);
  const snapshot = new Lines(await made.ask('/v1/watch?prefix=k&snapshot=1'));
  assert.equal(((await snapshot.frame()) as { mode: string }).mode, 'snapshot');
  const snap = (await snapshot.frame()) as StreamFrame & { t: 'snap' };
  assert.deepEqual([snap.t, snap.rev, snap.more, snap.items.length], ['snap', 6, false, 1]);
  await Promise.all([since.close(), snapshot.close()]);
});

test('Server-Sent Events carry cursors as ids and resume by Last-Event-ID', async () => {
  const made = testV1();
  const accept = { accept: 'text/event-stream' };
  const response = await made.ask('/v1/watch?prefix=k&snapshot=1', { headers: accept });
  assert.equal(response.headers.get('content-type'), 'text/event-stream');
  const events = new Lines(response, '\n\n');
  assert.equal(await events.next(), 'retry: 1000');
  assert.match((await events.next()) as string, /^event: subscribed\ndata: \{/);
  assert.equal(
    await events.next(),
    `id: ${EPOCH}.1\nevent: snapshot\ndata: {"rev":1,"more":false,"items":[]}`,
  );
  await put(made, 'k', 'two\nlines');
  const change = (await events.next()) as string;
  assert.ok(change.startsWith(`id: ${EPOCH}.2\nevent: change\ndata: {"rev":2,"events":[`), change);
  await events.close();
  await put(made, 'k');
  const headers = { ...accept, 'last-event-id': `${EPOCH}.2` };
  const again = new Lines(await made.ask('/v1/watch?prefix=k&snapshot=1', { headers }), '\n\n');
  await again.next();
  assert.match((await again.next()) as string, /"mode":"resume","rev":2/);
  assert.ok(((await again.next()) as string).startsWith(`id: ${EPOCH}.3\nevent: change`));
  await again.close();
});

test('a compacted cursor on a stream is repaired, not refused', async () => {
  const made = testV1();
  for (let i = 0; i < 5; i++) await put(made, 'k', String(i));
  await made.api.compact({ revision: 5 });
  const lines = new Lines(await made.ask(`/v1/watch?prefix=k&since=${EPOCH}.2`));
  const kinds: string[] = [];
  for (let i = 0; i < 3; i++) kinds.push((await lines.frame()).t);
  assert.deepEqual(kinds, ['subd', 'gap', 'snap']);
  await lines.close();
  const foreign = new Lines(await made.ask('/v1/watch?prefix=k&since=0000000000000001.2'));
  assert.equal((await foreign.frame()).t, 'subd');
  assert.equal(((await foreign.frame()) as { reason: string }).reason, 'epoch');
  await foreign.close();
});

test('heartbeats: bookmarks on both kinds, a comment on SSE', async () => {
  const clock = new ManualClock();
  const made = testV1({ clock });
  const lines = new Lines(await made.ask('/v1/watch?prefix=k'));
  const events = new Lines(
    await made.ask('/v1/watch?prefix=k', { headers: { accept: 'text/event-stream' } }),
    '\n\n',
  );
  clock.runDeferred();
  await put(made, 'other');
  clock.advance(15_000);
  assert.equal((await lines.frame()).t, 'subd');
  assert.deepEqual(await lines.frame(), { t: 'bm', rev: 2 });
  await events.next();
  await events.next();
  assert.equal(await events.next(), ':');
  assert.equal(await events.next(), `id: ${EPOCH}.2\nevent: bookmark\ndata: {"rev":2}`);
  await Promise.all([lines.close(), events.close()]);
});

test('a stream that is not read is not buffered for, and loses nothing', async () => {
  const made = testV1({ limits: { bufferedBytes: 64 * 1024, outFrameBytes: 32 * 1024 } });
  const lines = new Lines(await made.ask('/v1/watch?prefix=k'));
  await lines.frame();
  for (let i = 0; i < 500; i++) await put(made, 'k', 'x'.repeat(5000));
  assert.equal(made.api.hub.stats().stalledWatchers, 1);
  for (let rev = 2; rev <= 501; rev++) assert.equal(((await lines.frame()) as { rev: number }).rev, rev);
  await lines.close();
});

test('services and the cluster as streams', async () => {
  const made = testV1({ limits: { clusterPollMs: 10 } });
  const services = new Lines(await made.ask('/v1/watch?service=*&snapshot=1'));
  await services.frame();
  await services.frame();
  const headers = { 'content-type': 'application/json' };
  await made.ask('/v1/services/orders/instances/a', { method: 'PUT', body: '{"zone":"x"}', headers });
  const event = ((await services.frame()) as StreamFrame & { t: 'ev' }).events[0] as {
    instance: { id: string };
  };
  assert.equal(event.instance.id, 'a');
  await services.close();
  const cluster = new Lines(await made.ask('/v1/watch?cluster=1'));
  assert.equal(((await cluster.frame()) as { leader: string }).leader, '0000000000000001');
  await made.api.moveLeader({ targetId: 2n });
  assert.equal(((await cluster.frame()) as { leader: string }).leader, '0000000000000002');
  await cluster.close();
});

test('HEAD tells the headers and starts nothing', async () => {
  const made = testV1();
  const head = await made.ask('/v1/watch?prefix=k', { method: 'HEAD' });
  assert.equal(head.headers.get('content-type'), 'application/x-ndjson');
  assert.equal(made.v1.stats().streams, 0);
  assert.equal(made.api.hub.stats().watchers, 0);
});

test('drain ends streams and says so', async () => {
  const made = testV1();
  const lines = new Lines(await made.ask('/v1/watch?prefix=k'));
  await lines.frame();
  const drained = made.v1.drain('shutdown', 20);
  const end = (await lines.frame()) as StreamFrame & { t: 'end' };
  assert.deepEqual([end.t, end.problem?.code], ['end', 'STOPPED']);
  assert.equal(await lines.next(), undefined);
  await drained;
  assert.equal((await made.ask('/v1/watch?prefix=k')).status, 503);
});

test('what a stream cannot be is refused before it begins', async () => {
  const made = testV1({ limits: { streams: 1 } });
  for (const query of [
    '',
    '?prefix=a&key=b',
    '?prefix=a&service=b',
    '?service=a/b',
    '?prefix=a&since=x',
    '?prefix=a&only=get',
    '?prefix=a&coalesce=all',
    '?cluster=0',
    '?prefix=%zz',
  ]) {
    assert.equal((await made.ask(`/v1/watch${query}`)).status, 400, query);
  }
  const one = new Lines(await made.ask('/v1/watch?prefix=k'));
  await one.frame();
  assert.equal((await made.ask('/v1/watch?prefix=k')).status, 429);
  await one.close();
});
