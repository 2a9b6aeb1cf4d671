/** Locks and elections over replicated members, whose leaders come and go. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { utf8, utf8Text } from '@muster/base';
import { createConcurrency } from '@muster/kv';
import { SimCluster, type SimMember } from './sim-cluster.ts';

const name = utf8('job');

async function cluster(
  seed: string,
): Promise<{ cluster: SimCluster; leader: SimMember; others: SimMember[] }> {
  const made = new SimCluster(3, seed);
  const leader = await made.elect();
  for (const id of [1n, 2n, 3n]) await made.wait(leader.api.leaseGrant({ id, ttlSeconds: 600 }));
  return { cluster: made, leader, others: made.members.filter((m) => m !== leader) };
}

async function keys(sim: SimCluster, m: SimMember): Promise<string[]> {
  const { kvs } = await sim.wait(m.api.range({ key: utf8('job/'), rangeEnd: utf8('job0') }));
  return kvs.map((kv) => utf8Text(kv.key));
}

test('a lock that waits on a follower outlives the leader', async () => {
  const { cluster: sim, leader, others } = await cluster('outlives');
  const [one, two] = others.map((m) => createConcurrency(m.api));
  const held = await sim.wait(one!.lock({ name, lease: 1n }));
  let won = false;
  const second = two!.lock({ name, lease: 2n }).then((answer) => {
    won = true;
    return answer;
  });
  await sim.run(500);
  assert.equal(won, false);
  sim.crash(leader);
  await sim.elect();
  await sim.run(500);
  assert.equal(won, false);
  await sim.wait(one!.unlock({ key: held.key }));
  assert.equal(utf8Text((await sim.wait(second)).key), 'job/2');
  assert.deepEqual(await keys(sim, others[0] as SimMember), ['job/2']);
});

test('who gives up while the cluster is between leaders leaves no key behind', async () => {
  const { cluster: sim, leader, others } = await cluster('between');
  const [one, two] = others.map((m) => createConcurrency(m.api));
  await sim.wait(one!.lock({ name, lease: 1n }));
  const gone = new AbortController();
  const second = two!.lock({ name, lease: 2n }, { signal: gone.signal });
  second.catch(() => {});
  await sim.run(500);
  assert.deepEqual(await keys(sim, leader), ['job/1', 'job/2']);
  sim.crash(leader);
  gone.abort();
  await assert.rejects(sim.wait(second), { code: 'CANCELED' });
  await sim.elect();
  assert.deepEqual(await keys(sim, others[0] as SimMember), ['job/1']);
});

test('a lease that ends makes room for the next campaign, and observers on every member agree', async () => {
  const { cluster: sim, leader } = await cluster('observers');
  const recipes = sim.members.map((m) => createConcurrency(m.api));
  const stop = new AbortController();
  const seen = recipes.map(() => [] as string[]);
  const ends = recipes.map(async (each, i) => {
    for await (const { kv } of each.observe({ name }, { signal: stop.signal })) {
      seen[i]?.push(utf8Text(kv.value));
    }
  });
  await sim.wait(recipes[0]!.campaign({ name, lease: 1n, value: utf8('a') }));
  const next = recipes[1]!.campaign({ name, lease: 2n, value: utf8('b') });
  await sim.run(500);
  await sim.wait(leader.api.leaseRevoke({ id: 1n }));
  const { leader: key } = await sim.wait(next);
  await sim.wait(recipes[2]!.proclaim({ leader: key, value: utf8('c') }));
  await sim.run(1000);
  assert.deepEqual(seen, [
    ['a', 'b', 'c'],
    ['a', 'b', 'c'],
    ['a', 'b', 'c'],
  ]);
  stop.abort();
  await sim.wait(Promise.all(ends));
});
