import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '@muster/base';
import { testV1 } from '../../test/v1-harness.ts';

const put = (ask: ReturnType<typeof testV1>['ask'], key: string, body = 'v') =>
  ask(`/v1/kv/${key}`, { method: 'PUT', body });

/** Lets requests in flight get as far as they can, with every deferred turn of the clock. */
async function settle(clock: ManualClock): Promise<void> {
  for (let i = 0; i < 50; i++) {
    await new Promise((resolve) => setImmediate(resolve));
    clock.runDeferred();
  }
}

function held() {
  const clock = new ManualClock();
  return { clock, ...testV1({ clock }) };
}

test('a held read answers when the key changes, not when another does', async () => {
  const { clock, ask, v1 } = held();
  await put(ask, 'k');
  let answered = false;
  const waiting = ask('/v1/kv/k', { headers: { 'if-none-match': '"2"', prefer: 'wait=30' } });
  void waiting.then(() => (answered = true));
  await settle(clock);
  assert.equal(v1.stats().streams, 1);
  await put(ask, 'other');
  await settle(clock);
  assert.equal(answered, false);
  await put(ask, 'k', 'new');
  await settle(clock);
  const response = await waiting;
  assert.equal(response.status, 200);
  assert.equal(await response.text(), 'new');
  assert.equal(v1.stats().streams, 0);
});

test('a held read that nothing happens to is 304, with what was waited', async () => {
  const { clock, ask, v1 } = held();
  await put(ask, 'k');
  const waiting = ask('/v1/kv/k', { headers: { 'if-none-match': '"2"', prefer: 'wait=30' } });
  await settle(clock);
  clock.advance(29_999);
  await settle(clock);
  assert.equal(v1.stats().streams, 1, 'not before its time');
  clock.advance(2_000);
  await settle(clock);
  const response = await waiting;
  assert.equal(response.status, 304);
  assert.equal(response.headers.get('preference-applied'), 'wait=30');
  assert.equal(v1.stats().streams, 0);
});

test('?wait&since sees what happened in between, deletes too, and waits when nothing did', async () => {
  const { clock, ask } = held();
  await put(ask, 'a/1');
  const cursor = (await ask('/v1/kv?prefix=a/')).headers.get('x-store-cursor');
  await ask('/v1/kv/a/1', { method: 'DELETE' });
  const gone = ask(`/v1/kv?prefix=a/&wait=10s&since=${cursor}`);
  await settle(clock);
  const response = await gone;
  assert.equal(response.status, 200);
  const { items, cursor: next } = (await response.json()) as { items: unknown[]; cursor: string };
  assert.deepEqual(items, []);
  const waiting = ask(`/v1/kv?prefix=a/&wait=10s&since=${next}`);
  await settle(clock);
  await put(ask, 'a/2');
  await settle(clock);
  assert.equal(((await (await waiting).json()) as { items: unknown[] }).items.length, 1);
});

test('a key that is not there yet can be waited for', async () => {
  const { clock, ask } = held();
  await put(ask, 'x');
  const cursor = (await ask('/v1/kv/x')).headers.get('x-store-cursor');
  const waiting = ask(`/v1/kv/later?wait=10s&since=${cursor}`);
  await settle(clock);
  await put(ask, 'later', 'now');
  await settle(clock);
  assert.equal(await (await waiting).text(), 'now');
});

test('since before the compaction or of another store is 410', async () => {
  const { clock, ask, api } = held();
  for (let i = 0; i < 5; i++) await put(ask, 'k', String(i));
  await api.compact({ revision: 5 });
  const compacted = ask('/v1/kv/k?wait=10s&since=abcdef0123456789.2');
  await settle(clock);
  assert.equal((await compacted).status, 410);
  assert.equal(((await (await compacted).json()) as { compactRevision: number }).compactRevision, 5);
  assert.equal((await ask('/v1/kv/k?wait=10s&since=0000000000000001.2')).status, 410);
});

test('a filtered change does not wake a held list of instances', async () => {
  const { clock, ask, v1 } = held();
  const instance = (id: string, body: object) =>
    ask(`/v1/services/orders/instances/${id}`, {
      method: 'PUT',
      body: JSON.stringify(body),
      headers: { 'content-type': 'application/json' },
    });
  await instance('a', { zone: 'x' });
  const path = '/v1/services/orders/instances?zone=x';
  const etag = (await ask(path)).headers.get('etag') as string;
  const waiting = ask(path, { headers: { 'if-none-match': etag, prefer: 'wait=60' } });
  await settle(clock);
  await instance('b', { zone: 'y' });
  await settle(clock);
  assert.equal(v1.stats().streams, 1);
  await instance('c', { zone: 'x' });
  await settle(clock);
  assert.equal(((await (await waiting).json()) as { instances: unknown[] }).instances.length, 2);
});

test('a client that goes away is not waited for, and held requests are bounded', async () => {
  const { clock, ask, v1 } = held();
  await put(ask, 'k');
  const abort = new AbortController();
  const headers = { 'if-none-match': '"2"', prefer: 'wait=600' };
  void ask('/v1/kv/k', { headers, signal: abort.signal }).catch(() => {});
  await settle(clock);
  assert.equal(v1.stats().streams, 1);
  abort.abort();
  await settle(clock);
  assert.equal(v1.stats().streams, 0);
  const few = testV1({ clock, limits: { streams: 1 } });
  await put(few.ask, 'k');
  void few.ask('/v1/kv/k', { headers });
  await settle(clock);
  const second = await few.v1.app.request('http://test/v1/kv/k', { headers });
  assert.equal(second.status, 429);
  assert.equal(second.headers.get('retry-after'), '1');
});

test('a server that stops answers what it holds', async () => {
  const { clock, ask, v1 } = held();
  await put(ask, 'k');
  const waiting = ask('/v1/kv/k', { headers: { 'if-none-match': '"2"', prefer: 'wait=600' } });
  await settle(clock);
  await v1.drain();
  assert.equal((await waiting).status, 304);
});
