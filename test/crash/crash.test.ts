/** kill -9 of real processes under load: whatever was acknowledged is there afterwards, and members agree. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Prng } from '@muster/base';
import { type MusterCluster, type MusterMember, startMuster, statusOf } from '../support/muster.ts';
import { Load, post, putKey, readAll } from './load.ts';

const ROUNDS = Number(process.env.CRASH_ROUNDS ?? 20);
const seed = Number(process.env.CRASH_SEED ?? Date.now() % 1_000_000);
const prng = new Prng(seed);
let cluster: MusterCluster;

before(async () => {
  cluster = await startMuster(3);
});
after(() => cluster?.close());

test(`kill -9 of any member, of the leader, of all at once, ${ROUNDS} times (CRASH_SEED=${seed})`, async (t) => {
  const load = new Load({
    endpoints: () => cluster.members.filter((m) => m.process).map((m) => m.clientUrl),
    prefix: 'crash/',
    width: 16,
  });
  for (let round = 0; round < ROUNDS; round++) {
    await load.progress(50);
    const victims = await chooseVictims(round);
    await Promise.all(victims.map((member) => member.stop('SIGKILL')));
    if (victims.length < cluster.members.length) await load.progress(30);
    await Promise.all(victims.map((member) => member.start()));
  }
  await load.progress(50);
  await load.stop();
  t.diagnostic(`${load.acks.length} writes acknowledged, ${load.failures} failed, seed ${seed}`);
  assert.ok(load.acks.length > ROUNDS * 80);
  await assertAllThere(load);
  await assertSameHashes(load);
});

async function chooseVictims(round: number): Promise<readonly MusterMember[]> {
  if (round % 3 === 0) return [prng.pick(cluster.members)];
  if (round % 3 === 1) return [cluster.members[await cluster.leader()] as MusterMember];
  return cluster.members;
}

async function assertAllThere(load: Load): Promise<void> {
  for (const member of cluster.members) {
    const found = await readAll(member.clientUrl, 'crash/');
    for (const { key, value } of load.acks) {
      assert.equal(found.get(key)?.value, value, `${key} was acknowledged and is gone from ${member.name}`);
    }
    for (const [key, { version }] of found) assert.equal(version, 1, `${key} was written ${version} times`);
  }
}

/** At the newest revision, and at revisions spread over the whole history. */
async function assertSameHashes(load: Load): Promise<void> {
  const newest = Math.max(...load.acks.map((ack) => ack.revision));
  const step = Math.max(1, Math.floor(newest / 50));
  for (let revision = newest; revision > 1; revision -= step) {
    const hashes = await Promise.all(
      cluster.members.map(async (member) => {
        await post(member.clientUrl, '/v3/kv/range', { key: 'AA==' });
        const answer = await post(member.clientUrl, '/v3/maintenance/hashkv', { revision });
        return (answer as { hash: number }).hash;
      }),
    );
    assert.equal(new Set(hashes).size, 1, `members disagree at revision ${revision}: ${hashes}`);
  }
}

test('the survivors of a killed leader accept writes again in under 0.2 s at the median of ten', async (t) => {
  const gaps: number[] = [];
  for (let i = 0; i < 10; i++) {
    const at = await cluster.leader();
    const leader = cluster.members[at] as MusterMember;
    const survivors = cluster.members.filter((m) => m !== leader);
    await Promise.all(survivors.map((m) => putKey(m.clientUrl, 'gap', `${i}`)));
    const killed = performance.now();
    const dead = leader.stop('SIGKILL');
    await putKey((survivors[i % 2] as MusterMember).clientUrl, 'gap', `after ${i}`);
    gaps.push(performance.now() - killed);
    await dead;
    await leader.start();
    assert.ok(await statusOf(leader.clientUrl), 'the old leader serves again');
  }
  const sorted = [...gaps].sort((a, b) => a - b);
  const median = ((sorted[4] as number) + (sorted[5] as number)) / 2;
  t.diagnostic(`gaps in ms: ${gaps.map((gap) => gap.toFixed(0)).join(' ')}; median ${median.toFixed(0)}`);
  assert.ok(median < 200, `median ${median.toFixed(0)} ms of ${gaps.map((gap) => gap.toFixed(0))}`);
});
