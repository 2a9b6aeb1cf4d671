/** Comparing the members' data: it finds what differs, raises no false alarm, and never waits for long. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prng, utf8 } from '@muster/base';
import { KvError } from '@muster/contract';
import { CorruptionMonitor, type CorruptionOptions } from '../src/index.ts';
import { put, SimCluster, type SimMember } from './sim-cluster.ts';

const OPTIONS: CorruptionOptions = { periodicMs: 0, compactionMs: 0, log: () => {} };

const monitor = (m: SimMember, options = OPTIONS): CorruptionMonitor =>
  new CorruptionMonitor(m.member ?? assert.fail('it runs'), options);

const initial = (m: SimMember): Promise<string> =>
  monitor(m)
    .checkInitial()
    .then(
      () => 'fine',
      (error: unknown) => KvError.from(error).code,
    );

async function withData(seed: number, size = 3): Promise<{ cluster: SimCluster; leader: SimMember }> {
  const cluster = new SimCluster(size, seed);
  const leader = await cluster.elect();
  for (let i = 0; i < 20; i++) await cluster.wait(put(leader, `k${i}`, 'v'));
  await cluster.run(500);
  return { cluster, leader };
}

/** As a bad disk might. */
function spoil({ disk }: SimMember): void {
  const [at, record] = [...disk.engine.iterate('revisions')][5] ?? assert.fail('there is a record');
  const changed = record.slice();
  changed[changed.length - 1] = (changed.at(-1) as number) ^ 1;
  disk.engine.put('revisions', at, changed);
  disk.engine.commit(disk.engine.lastTag);
}

test('members that start together answer one another before they serve, and one that differs does not start', async () => {
  const { cluster } = await withData(71);
  for (const m of cluster.members) cluster.crash(m);
  for (const m of cluster.members) cluster.start(m);
  const together = cluster.members.map(initial);
  assert.deepEqual(await cluster.wait(Promise.all(together), 1000), ['fine', 'fine', 'fine']);
  await cluster.elect();
  const bad = cluster.members[1] as SimMember;
  cluster.crash(bad);
  spoil(bad);
  cluster.start(bad);
  assert.equal(await cluster.wait(initial(bad), 1000), 'CORRUPT');
});

test('the check before serving ends by its deadline, whoever is away, silent or stopping', async () => {
  const { cluster } = await withData(72);
  const [a, b, c] = cluster.members as [SimMember, SimMember, SimMember];
  for (const m of cluster.members) cluster.crash(m);
  cluster.start(a);
  cluster.start(b);
  b.clock.pause();
  assert.equal(await cluster.wait(initial(a), 8000), 'fine', 'one is away, the other stands still');
  cluster.start(c);
  cluster.network.cut(1n, 2n);
  cluster.network.cut(1n, 3n);
  assert.equal(await cluster.wait(initial(a), 8000), 'fine', 'nobody can be reached');
  const cut = initial(a);
  await cluster.run(100);
  a.member?.stop(() => {});
  assert.equal(await cluster.wait(cut, 8000), 'fine', 'it is stopped meanwhile');
});

test('an alarm is that of who differs from most, and of nobody where that cannot be said', async () => {
  const { cluster, leader } = await withData(73);
  const [x, y] = cluster.members.filter((m) => m !== leader) as [SimMember, SimMember];
  spoil(x);
  await cluster.wait(monitor(leader).check(0));
  assert.deepEqual(leader.member?.machine.alarms(), [{ memberId: x.id, alarm: 'corrupt' }]);
  assert.equal(
    await cluster.wait(put(leader, 'k', 'v').catch((error: unknown) => KvError.from(error).code)),
    'CORRUPT',
  );
  await cluster.wait(leader.api.alarm({ action: 'deactivate', memberId: x.id, alarm: 'corrupt' }));
  cluster.crash(y);
  await cluster.wait(monitor(leader).check(0), 80_000);
  assert.deepEqual(leader.member?.machine.alarms(), [{ memberId: 0n, alarm: 'corrupt' }]);
});

for (let seed = 1; seed <= 8; seed++) {
  test(`writes, deletions, compactions, snapshots and learners raise no alarm, seed ${seed}`, async () => {
    const cluster = new SimCluster(3, `corruption ${seed}`, { logEntriesMax: 40, logCatchUpEntries: 10 });
    const prng = new Prng(`corruption ${seed}`);
    await cluster.elect();
    await cluster.run(500);
    const leader = cluster.leader as SimMember;
    const { member } = await cluster.wait(
      leader.api.memberAdd({ peerUrls: ['http://l:1'], isLearner: true }),
    );
    const learner = cluster.join(member.id, leader);
    learner.disk.installMs = 300;
    let compared = 0;
    const log = (_: string, text: string) => {
      if (text.includes('left out')) compared--;
    };
    const checks: Promise<void>[] = [];
    const compare = (on: SimMember): void => {
      const { compactRevision } = on.member?.machine ?? assert.fail('it runs');
      const at = prng.chance(0.5) ? Math.max(0, compactRevision) : 0;
      const count = async (check: Promise<void>) =>
        check.then(
          () => {
            compared += 3;
          },
          () => {},
        );
      checks.push(count(monitor(on, { ...OPTIONS, log }).check(at)));
    };
    for (let step = 0; step < 150; step++) {
      const on = cluster.leader ?? leader;
      if (prng.chance(0.5)) compare(on);
      const key = `k${prng.int(0, 9)}`;
      if (prng.chance(0.7)) put(on, key, String(step)).catch(() => {});
      else on.api.deleteRange({ key: utf8(key) }).catch(() => {});
      const { currentRevision } = on.member?.machine ?? assert.fail('it runs');
      if (prng.chance(0.15)) on.api.compact({ revision: currentRevision - prng.int(0, 5) }).catch(() => {});
      if (prng.chance(0.03)) cluster.network.cut(2n, 3n);
      if (prng.chance(0.03)) cluster.network.cut(prng.pick([1n, 2n, 3n]), learner.id);
      if (prng.chance(0.1)) cluster.network.heal();
      if (prng.chance(0.05)) await cluster.run(1000);
      await cluster.run(prng.int(5, 60));
    }
    cluster.network.heal();
    await cluster.wait(Promise.all(checks), 100_000);
    for (const m of cluster.members) assert.deepEqual(m.member?.machine.alarms(), []);
    assert.ok(compared > 30, `${compared} comparisons`);
  });
}
