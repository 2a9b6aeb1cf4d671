/** A backlog read through connections that are cut at random places: every revision, in order, none torn. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prng } from '@muster/base';
import { connect } from '@muster/sdk';
import { CutProxy } from '../support/cut-proxy.ts';
import { type MusterCluster, startMuster } from '../support/muster.ts';
import { post } from './load.ts';

const REVISIONS = 3001;
const CUTS = 100;
const seed = Number(process.env.WATCH_CUT_SEED ?? Date.now() % 1_000_000);
const base64 = (text: string) => Buffer.from(text).toString('base64');

test(`${REVISIONS} revisions through ${CUTS} cuts, a compaction and a leader change (WATCH_CUT_SEED=${seed})`, async (t) => {
  const prng = new Prng(seed);
  const cluster = await startMuster(3);
  const proxies = await Promise.all(cluster.endpoints.map((url) => CutProxy.start(url, prng, 24_000)));
  const client = connect({ endpoints: proxies.map((proxy) => proxy.url) });
  try {
    const start = await startCursor(client);
    const { first, last } = await writeBacklog(cluster.endpoints, prng);
    for (const proxy of proxies) proxy.cutting = true;
    const cuts = () => proxies.reduce((sum, proxy) => sum + proxy.cuts, 0);
    const seen: number[] = [];
    let compacted = false;
    let leaderKilled = false;
    await using watch = client.watch('cut/', { from: start });
    for await (const batch of watch.batches()) {
      const keys = batch.changes.filter((c) => c.type !== 'synced');
      if (keys.length === 0) continue;
      assert.ok(
        keys.every((c) => c.type === 'put' && c.cause === 'live'),
        `revision ${batch.revision} is a repair`,
      );
      assert.equal(keys.length, 2, `revision ${batch.revision} came torn`);
      seen.push(batch.revision);
      if (!compacted && seen.length > 1000) {
        compacted = true;
        await post(cluster.endpoints[0] as string, '/v3/kv/compaction', { revision: first + 500 });
      }
      if (!leaderKilled && seen.length > 1500) {
        leaderKilled = true;
        await killLeader(cluster);
      }
      // A sip at a time: the watch is behind all along, and every cut falls into the backlog.
      if (cuts() >= CUTS) for (const proxy of proxies) proxy.cutting = false;
      if (batch.revision === last) break;
    }
    t.diagnostic(`${seen.length} revisions, ${cuts()} cuts, seed ${seed}`);
    assert.deepEqual(
      seen,
      Array.from({ length: REVISIONS }, (_, i) => first + i),
    );
    assert.ok(compacted && leaderKilled);
    assert.ok(cuts() >= CUTS, `only ${cuts()} cuts fell into the backlog`);
  } finally {
    await client.close();
    await Promise.all(proxies.map((proxy) => proxy.close()));
    await cluster.close();
  }
});

async function startCursor(client: ReturnType<typeof connect>): Promise<string> {
  await using watch = client.watch('cut/');
  return await watch.ready;
}

/** Two keys a revision, so that a torn one shows; 16 at a time, so that it does not take long. */
async function writeBacklog(
  endpoints: readonly string[],
  prng: Prng,
): Promise<{ first: number; last: number }> {
  const revisions: number[] = [];
  let next = 0;
  const value = base64('x'.repeat(150));
  const worker = async () => {
    while (next < REVISIONS) {
      const n = next++;
      const put = (side: string) => ({ request_put: { key: base64(`cut/${n % 40}/${side}`), value } });
      const answer = await post(prng.pick(endpoints), '/v3/kv/txn', { success: [put('a'), put('b')] });
      revisions.push(Number((answer as { header: { revision: string } }).header.revision));
    }
  };
  await Promise.all(Array.from({ length: 16 }, worker));
  const first = Math.min(...revisions);
  const last = Math.max(...revisions);
  assert.equal(last - first + 1, REVISIONS);
  return { first, last };
}

async function killLeader(cluster: MusterCluster): Promise<void> {
  const leader = cluster.members[await cluster.leader()];
  await leader?.stop('SIGKILL');
  await leader?.start();
}
