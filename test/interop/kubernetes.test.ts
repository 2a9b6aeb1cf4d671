/** Kubernetes' ways with its store, over gRPC, on the real etcd (which shows the test right) and on Muster. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { Event } from '../../packages/wire/src/gen/kv_pb.js';
import { KubeStore, type KubeWatch, text } from './kube-store.ts';
import { RawClient } from './raw-client.ts';
import { canRun, KINDS, type Servers, startServers } from './servers.ts';

const DELETE = 1;

for (const kind of KINDS) {
  describe(`Kubernetes' patterns on ${kind}`, { skip: !canRun(kind), timeout: 120_000 }, () => {
    let servers: Servers;
    let client: RawClient;
    let store: KubeStore;
    before(async () => {
      servers = await startServers(kind, { size: 3 });
      client = new RawClient(servers.addresses);
      store = new KubeStore(client);
    });
    after(async () => {
      client?.close();
      await servers?.stop();
    });

    test('an object is created once', async () => {
      const created = await store.create('/registry/pods/a/one', 'v1');
      assert.ok(created.ok);
      const again = await store.create('/registry/pods/a/one', 'other');
      assert.ok(!again.ok);
      assert.equal(text(again.current?.value), 'v1');
      assert.equal(again.current?.modRevision, created.revision);
      assert.equal(again.current?.createRevision, created.revision);
    });

    test('an update and a delete happen only to the revision that was read', async () => {
      const first = await store.create('/registry/pods/a/two', 'v1');
      assert.ok(first.ok);
      const second = await store.update('/registry/pods/a/two', first.revision, 'v2');
      assert.ok(second.ok);
      const stale = await store.update('/registry/pods/a/two', first.revision, 'lost');
      assert.ok(!stale.ok);
      assert.equal(text(stale.current?.value), 'v2');
      const staleDelete = await store.delete('/registry/pods/a/two', first.revision);
      assert.ok(!staleDelete.ok);
      assert.ok((await store.delete('/registry/pods/a/two', second.revision)).ok);
      assert.equal(await store.get('/registry/pods/a/two'), undefined);
      const gone = await store.update('/registry/pods/a/two', second.revision, 'lost');
      assert.deepEqual(gone, { ok: false, current: undefined });
    });

    test('of many concurrent updates of one revision exactly one wins', async () => {
      const made = await store.create('/registry/leases/one', '0');
      assert.ok(made.ok);
      const tries = Array.from({ length: 20 }, (_, i) =>
        store.update('/registry/leases/one', made.revision, String(i)),
      );
      const outcomes = await Promise.all(tries);
      assert.equal(outcomes.filter(({ ok }) => ok).length, 1);
    });

    test('pages of a list are one revision, whatever changes meanwhile', async () => {
      const names = Array.from(
        { length: 25 },
        (_, i) => `/registry/configmaps/p/${String(i).padStart(2, '0')}`,
      );
      for (const name of names) assert.ok((await store.create(name, 'before')).ok);
      const first = await store.page('/registry/configmaps/p/', { limit: 10 });
      assert.deepEqual([first.kvs.length, first.more, first.count], [10, true, 25n]);
      const changed = await store.get(names[15] as string);
      await store.update(names[15] as string, changed?.modRevision as bigint, 'after');
      const removed = await store.get(names[20] as string);
      await store.delete(names[20] as string, removed?.modRevision as bigint);
      await store.create('/registry/configmaps/p/155', 'new');
      const seen = [...first.kvs];
      for (let page = first; page.more; ) {
        const after = seen.at(-1)?.key as Uint8Array;
        page = await store.page('/registry/configmaps/p/', { limit: 10, revision: first.revision, after });
        assert.ok(page.revision >= first.revision);
        assert.equal(page.count, BigInt(25 - seen.length));
        seen.push(...page.kvs);
      }
      assert.deepEqual(
        seen.map(({ key }) => text(key)),
        names,
      );
      assert.ok(seen.every(({ value }) => text(value) === 'before'));
      assert.equal(await store.count('/registry/configmaps/p/'), 25n);
    });

    test('a watch after a list misses nothing, and every change carries what was before', async () => {
      const made = await store.create('/registry/events/w/a', '1');
      assert.ok(made.ok);
      const { revision } = await store.list('/registry/events/w/');
      const watch = store.watch('/registry/events/w/', revision + 1n, 1);
      const updated = await store.update('/registry/events/w/a', made.revision, '2');
      assert.ok(updated.ok);
      const other = await store.create('/registry/events/w/b', 'x');
      assert.ok(other.ok);
      assert.ok((await store.delete('/registry/events/w/a', updated.revision)).ok);
      await watch.until(() => watch.events.length >= 3, 'three events');
      assert.deepEqual(watch.events.map(shown), ['modify a: 1 -> 2', 'create b: x', 'delete a: 2']);
      const last = watch.events.at(-1)?.kv?.modRevision as bigint;
      watch.requestProgress();
      await watch.until(() => watch.responses.some(isAnswerToProgress), 'the answer to the progress request');
      const at = watch.responses.findIndex(isAnswerToProgress);
      assert.ok((watch.responses[at]?.header?.revision as bigint) >= last);
      assert.equal(watch.responses.slice(at).flatMap(({ events }) => events).length, 0);
      watch.close();
    });

    test('objects with a time to live go with their lease', async () => {
      const lease = await store.lease(2);
      const made = await store.create('/registry/events/ttl/one', 'soon gone', lease);
      assert.ok(made.ok);
      const watch = store.watch('/registry/events/ttl/', made.revision, 2);
      await watch.until(() => watch.events.length >= 2, 'the end of the lease');
      assert.deepEqual(watch.events.map(shown), ['create one: soon gone', 'delete one: soon gone']);
      watch.close();
    });

    test('of two servers one compacts each round, the other follows', async () => {
      const one = await store.compactRound(0n, 0n);
      assert.ok(one.won);
      const other = await store.compactRound(0n, 0n);
      assert.ok(!other.won);
      assert.deepEqual([other.version, other.value], [1n, '0']);
      const before = await store.create('/registry/pods/compact/a', '1');
      assert.ok(before.ok);
      await store.update('/registry/pods/compact/a', before.revision, '2');
      const { revision } = await store.list('/registry/pods/compact/');
      const two = await store.compactRound(other.version, revision);
      assert.ok(two.won);
      assert.equal((await store.compactRound(other.version, revision)).won, false);
      await assert.rejects(
        store.page('/registry/pods/compact/', { limit: 1, revision: revision - 1n }),
        /^Error: 11 OUT_OF_RANGE: etcdserver: mvcc: required revision has been compacted$/,
      );
      const watch = store.watch('/registry/pods/compact/', revision - 1n, 0);
      await watch.until(
        () => watch.responses.some(({ canceled }) => canceled),
        'the end of a compacted watch',
      );
      const canceled = watch.responses.find((response) => response.canceled);
      assert.equal(canceled?.compactRevision, revision);
      watch.close();
    });

    test('all of it holds across a change of leader: no update is lost, no event is missed', async () => {
      await leaderChange(store, servers);
    });
  });
}

/**
 * Counters that are bumped by read and guarded update while the leader dies, and a reflector that lists and watches on
 * another member: at the end what it saw is what is there, step by step.
 */
async function leaderChange(store: KubeStore, servers: Servers): Promise<void> {
  const prefix = '/registry/counters/';
  const names = ['a', 'b', 'c'].map((name) => prefix + name);
  for (const name of names) assert.ok((await store.create(name, '0')).ok);
  const { kvs, revision } = await store.list(prefix);
  const state = new Map(kvs.map((kv) => [text(kv.key), text(kv.value)]));
  const leader = await leaderIndex(servers);
  const watch = store.watch(prefix, revision + 1n, (leader + 1) % 3);
  let running = true;
  let unknown = 0;
  const workers = names.map(async (name) => {
    let sure = 0;
    while (running) {
      try {
        const now = await store.get(name);
        const next = String(Number(text(now?.value)) + 1);
        if ((await store.update(name, now?.modRevision as bigint, next)).ok) sure++;
      } catch {
        // The dead member, or an answer that was lost with it: the write may have happened.
        unknown++;
      }
    }
    return sure;
  });
  await watch.until(() => watch.events.length >= 30, 'events before the leader dies');
  await servers.children[leader]?.stop('SIGKILL');
  const then = watch.events.length;
  await watch.until(() => watch.events.length >= then + 100, 'events after the leader died');
  running = false;
  const sure = (await Promise.all(workers)).reduce((sum, n) => sum + n, 0);
  const end = await listed(store, prefix);
  const final = end.kvs.map((kv) => Number(text(kv.value))).reduce((sum, n) => sum + n, 0);
  assert.ok(final >= sure, `${sure} updates were acknowledged, ${final} are there`);
  assert.ok(
    final <= sure + unknown,
    `${sure} acknowledged and ${unknown} unknown updates, ${final} are there`,
  );
  const revisions = end.kvs.map((kv) => kv.modRevision).sort((a, b) => Number(a - b));
  const newest = revisions.at(-1) as bigint;
  await watch.until(() => (watch.events.at(-1)?.kv?.modRevision ?? 0n) >= newest, 'the last event');
  checkReflector(watch, state);
  for (const kv of end.kvs) assert.equal(state.get(text(kv.key)), text(kv.value));
  watch.close();
}

/** Every event follows from the one before of the same key: none is missing, none comes twice. */
function checkReflector(watch: KubeWatch, state: Map<string, string>): void {
  let last = 0n;
  for (const { kv, prevKv } of watch.events) {
    const key = text(kv?.key);
    assert.ok((kv?.modRevision as bigint) > last);
    last = kv?.modRevision as bigint;
    assert.equal(text(prevKv?.value), state.get(key), `before revision ${last}`);
    assert.equal(Number(text(kv?.value)), Number(state.get(key)) + 1, `revision ${last}`);
    state.set(key, text(kv?.value));
  }
}

/** One of the endpoints is dead: the next one is asked. */
async function listed(store: KubeStore, prefix: string): ReturnType<KubeStore['list']> {
  try {
    return await store.list(prefix);
  } catch {
    return store.list(prefix);
  }
}

async function leaderIndex(servers: Servers): Promise<number> {
  for (const [i, endpoint] of servers.endpoints.entries()) {
    const response = await fetch(`${endpoint}/v3/maintenance/status`, { method: 'POST', body: '{}' });
    const status = (await response.json()) as { leader: string; header: { member_id: string } };
    if (status.leader === status.header.member_id) return i;
  }
  throw new Error('no member leads');
}

function shown({ type, kv, prevKv }: Event): string {
  const name = text(kv?.key).split('/').at(-1);
  if (type === DELETE) return `delete ${name}: ${text(prevKv?.value)}`;
  if (kv?.createRevision === kv?.modRevision) return `create ${name}: ${text(kv?.value)}`;
  assert.ok(prevKv, 'a change without what was before');
  return `modify ${name}: ${text(prevKv.value)} -> ${text(kv?.value)}`;
}

function isAnswerToProgress(response: {
  readonly watchId: bigint;
  readonly events: readonly Event[];
}): boolean {
  return response.watchId === -1n && response.events.length === 0;
}
