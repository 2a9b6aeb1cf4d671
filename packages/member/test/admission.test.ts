/** Who takes part with an empty log, and who does not: see `Admission`. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { utf8 } from '@muster/base';
import { put, SimCluster, type SimMember } from './sim-cluster.ts';

test('one that joins goes by the members that there are, not by those of when it asked', async () => {
  const cluster = new SimCluster(3, 61);
  cluster.strict = false;
  for (const m of cluster.members) {
    cluster.crash(m);
    cluster.start(m);
  }
  await cluster.elect();
  await cluster.run(500);
  const via = cluster.leader as SimMember;
  const { member } = await cluster.wait(via.api.memberAdd({ peerUrls: ['http://d:1'] }));
  const joiner = cluster.join(member.id, via);
  for (const { id } of cluster.members) if (id !== joiner.id) cluster.network.cut(id, joiner.id);
  for (const m of cluster.members.filter((each) => each !== via && each !== joiner)) {
    await cluster.wait(via.api.memberRemove({ id: m.id }));
    assert.ok(await cluster.run(5000, () => m.removed));
  }
  await cluster.run(5000, () => via.member?.soft.leader === 0n);
  cluster.network.heal();
  assert.ok(await cluster.run(5000, () => cluster.leader === via), 'the two that are left are enough');
  await cluster.wait(put(via, 'a', '1'));
  const { kvs } = await cluster.wait(joiner.api.range({ key: utf8('a') }));
  assert.equal(kvs.length, 1);
});

for (let seed = 1; seed <= 20; seed++) {
  test(`a member that lost its data and one that never ran do not begin anew together, seed ${seed}`, async () => {
    const cluster = new SimCluster(3, `admission ${seed}`);
    const [kept, lost, late] = cluster.members as [SimMember, SimMember, SimMember];
    cluster.crash(late);
    late.disk.wipe();
    await cluster.elect();
    await cluster.run(500);
    await cluster.wait(put(kept, 'acknowledged', 'x'));
    for (const m of [kept, lost]) cluster.crash(m);
    lost.disk.wipe();
    const fatal: string[] = [];
    cluster.onFatal = (m, error) => {
      cluster.clock.defer(() => cluster.crash(m));
      fatal.push(`${m.id}: ${error.message}`);
    };
    const order = cluster.prng.chance(0.5) ? [late, lost, kept] : [lost, kept, late];
    for (const m of order) {
      cluster.start(m);
      await cluster.run(cluster.prng.int(0, 40));
    }
    await cluster.run(5000);
    assert.match(fatal.join(), new RegExp(`^${lost.id}: .*already been bootstrapped`));
    const { kvs } = await cluster.wait(kept.api.range({ key: utf8('acknowledged') }));
    assert.equal(kvs.length, 1, 'what was acknowledged is there');
  });
}
