/** The SDK's watch against real members, through connections that break. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Prng } from '@muster/base';
import { type Change, type Client, connect, type Watch } from '@muster/sdk';
import { CLUSTER_KINDS, type ClusterKind, type TestCluster } from '../support/clusters.ts';
import { CutProxy } from '../support/cut-proxy.ts';

for (const kind of CLUSTER_KINDS) describe(kind.name, { skip: kind.skip }, () => suite(kind));

function suite(kind: ClusterKind): void {
  let cluster: TestCluster;
  let muster: Client;

  before(async () => {
    cluster = await kind.start(3);
    muster = connect({ endpoints: cluster.endpoints });
  });
  after(async () => {
    await muster?.close();
    await cluster?.close();
  });

  const post = (path: string, body: unknown) =>
    fetch(`${cluster.endpoints[0]}${path}`, { method: 'POST', body: JSON.stringify(body) });

  test('a snapshot, then every change, with what was there before', async () => {
    await muster.kv.put('s/a', '1');
    await using watch = muster.watch('s/', { previous: true });
    const seen: Change<string>[] = [];
    await watch.ready;
    await muster.kv.put('s/b', '1');
    await muster.kv.put('s/a', '2');
    await muster.kv.delete('s/a');
    for await (const change of watch) {
      seen.push(change);
      if (change.type === 'delete') break;
    }
    const short = seen.map((change) =>
      change.type === 'synced'
        ? 'synced'
        : `${change.cause} ${change.type} ${change.type === 'put' ? change.entry.key : change.key} was ${change.prev?.value}`,
    );
    assert.deepEqual(short, [
      'snapshot put s/a was undefined',
      'synced',
      'live put s/b was undefined',
      'live put s/a was 1',
      'live delete s/a was 2',
    ]);
  });

  test('a watch goes on from its cursor in another client', async () => {
    const first = muster.watch('f/', { snapshot: false });
    await first.ready;
    for (let i = 0; i < 5; i++) await muster.kv.put(`f/${i}`, 'x');
    let taken = 0;
    for await (const change of first) if (change.type === 'put' && ++taken === 3) break;
    const { cursor } = first;
    assert.ok(cursor);
    await using other = connect({ endpoints: cluster.endpoints });
    const keys: string[] = [];
    for await (const change of other.watch('f/', { from: cursor })) {
      if (change.type === 'put') keys.push(change.entry.key);
      if (keys.at(-1) === 'f/4') break;
    }
    // The third was in hand when the loop was left, so it is not counted as taken: at least once.
    assert.deepEqual(keys, ['f/2', 'f/3', 'f/4']);
  });

  test('cut a hundred times: every revision, in order, whole; a slow consumer too', async () => {
    const seed = Number(process.env.SEED ?? Date.now() % 1e9);
    const prng = new Prng(seed);
    const proxies = await Promise.all(cluster.endpoints.map((url) => CutProxy.start(url, prng, 20_000)));
    const client = connect({ endpoints: proxies.map((proxy) => proxy.url) });
    try {
      const watch = client.watch('c/', { snapshot: false });
      // What a connection that nobody cuts gets is what there was to get.
      const control = muster.watch('c/', { snapshot: false });
      await Promise.all([watch.ready, control.ready]);
      for (const proxy of proxies) proxy.cutting = true;
      const cuts = () => proxies.reduce((sum, proxy) => sum + proxy.cuts, 0);
      const collect = async (from: Watch<string>, slow: boolean) => {
        const seen: number[] = [];
        for await (const { revision, changes } of from.batches()) {
          const puts = changes.filter((change) => change.type === 'put');
          if (puts[0]?.entry.key === 'c/end') break;
          if (puts.length === 0) continue;
          assert.equal(puts.length, 2, `seed ${seed}: revision ${revision} is torn`);
          seen.push(revision);
          if (slow && cuts() >= 100) for (const proxy of proxies) proxy.cutting = false;
          if (slow && prng.chance(0.01)) await new Promise((resolve) => setTimeout(resolve, 20));
        }
        return seen;
      };
      const collected = Promise.all([collect(watch, true), collect(control, false)]);
      let written = 0;
      for (let i = 0; written < 1500; i++) {
        const put = (key: string) => ({ put: { key, value: 'x'.repeat(100) } });
        // On a busy machine a write may fail; whether it took effect is what the control says.
        const txn = { then: [put(`c/${i % 7}`), put(`c/pair-${i % 7}`)] };
        await muster.kv.txn(txn).then(
          () => written++,
          () => {},
        );
      }
      await muster.kv.put('c/end', '', { idempotent: true });
      const [seen, expected] = await collected;
      assert.deepEqual(seen, expected, `seed ${seed}`);
      assert.ok(expected.length >= 1500);
      assert.ok(cuts() >= 20, `cut ${cuts()} times`);
    } finally {
      await client.close();
      await Promise.all(proxies.map((proxy) => proxy.close()));
    }
  });

  test('a gap over compacted history is repaired by the smallest difference', async () => {
    const prng = new Prng(1);
    const proxy = await CutProxy.start(cluster.endpoints[0] ?? '', prng, 1);
    const client = connect({ endpoints: [proxy.url] });
    try {
      for (const key of ['g/keep', 'g/change', 'g/delete']) await muster.kv.put(key, '1');
      const watch = client.watch('g/');
      const changes = watch[Symbol.asyncIterator]();
      for (;;) if ((await changes.next()).value.type === 'synced') break;
      // Nothing gets through any more while the store moves on and forgets.
      proxy.cutting = true;
      proxy.cutAll();
      await muster.kv.put('g/change', '2');
      await muster.kv.delete('g/delete');
      const { revision } = await muster.kv.put('g/add', '1');
      const compacted = await post('/v3/kv/compaction', { revision: String(revision), physical: true });
      assert.equal(compacted.status, 200);
      proxy.cutting = false;
      const repairs: string[] = [];
      for (;;) {
        const { value } = await changes.next();
        if (value.type === 'synced') break;
        repairs.push(`${value.cause} ${value.type} ${value.type === 'put' ? value.entry.key : value.key}`);
      }
      assert.deepEqual(repairs.sort(), ['repair delete g/delete', 'repair put g/add', 'repair put g/change']);
      await watch.close();
    } finally {
      await client.close();
      await proxy.close();
    }
  });

  test('a member that dies does not end a watch', async () => {
    const watch = muster.watch('d/', { snapshot: false });
    await watch.ready;
    const changes = watch[Symbol.asyncIterator]();
    const status = muster.status();
    const victim = cluster.members.find(
      (member) => status.state === 'open' && member.clientUrl === status.endpoint,
    );
    assert.ok(victim, JSON.stringify(status));
    await victim.stop('SIGKILL');
    await putUntilDone(muster, 'd/after');
    for (;;) {
      const { value } = await changes.next();
      if (value.type === 'put' && value.entry.key === 'd/after') break;
    }
    await watch.close();
    await victim.start();
  });
}

/** Real etcd gives up on writes that were under way when its leader died; whether they happened does not matter here. */
async function putUntilDone(muster: Client, key: string): Promise<void> {
  for (const end = performance.now() + 20_000; ; ) {
    try {
      await muster.kv.put(key, '1', { timeout: '20s' });
      return;
    } catch (error) {
      if (performance.now() > end) throw error;
    }
  }
}
