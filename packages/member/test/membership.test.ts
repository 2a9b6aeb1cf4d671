import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { utf8, utf8Text } from '@muster/base';
import { KvError } from '@muster/contract';
import type { WatchResponse } from '@muster/kv';
import { chosenSeeds, FaultRun } from './fault-run.ts';
import { put, SimCluster, type SimMember } from './sim-cluster.ts';

const code = async (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => 'no error',
    (error) => (error instanceof KvError ? error.code : String(error)),
  );

const url = (id: bigint) => `http://127.0.0.1:${3000 + Number(id)}`;

async function add(cluster: SimCluster, via: SimMember, isLearner: boolean): Promise<SimMember> {
  const next = BigInt(cluster.members.length + 1);
  const { member } = await cluster.wait(via.api.memberAdd({ peerUrls: [url(next)], isLearner }));
  return cluster.join(member.id, via);
}

const started = (on: SimMember, id: bigint) => () =>
  on.member?.machine.members().find((m) => m.id === id)?.name === `m${id}`;

/** Everybody's configuration and table say the same. */
function assertAgreed(members: readonly SimMember[]): void {
  const views = members.map((m) => {
    const { confState } = m.member?.raftStatus() ?? assert.fail('it runs');
    const table = m.member?.machine.members() ?? [];
    assert.deepEqual(
      confState.voters,
      table.filter((each) => !each.isLearner).map(({ id }) => id),
    );
    assert.deepEqual(
      confState.learners,
      table.filter((each) => each.isLearner).map(({ id }) => id),
    );
    return table;
  });
  for (const view of views) assert.deepEqual(view, views[0]);
}

describe('members', () => {
  test('one grows to three, the third by way of a learner, and each has the data', async () => {
    const cluster = new SimCluster(1, 41);
    const first = await cluster.elect();
    for (let i = 0; i < 30; i++) await cluster.wait(put(first, `k${i}`, 'v'));
    const second = await add(cluster, first, false);
    assert.ok(await cluster.run(5000, started(first, second.id)), 'the second publishes its name');
    const third = await add(cluster, second, true);
    assert.equal(await code(cluster.wait(second.api.memberPromote({ id: third.id }))), 'LEARNER_NOT_READY');
    assert.ok(await cluster.run(5000, started(second, third.id)));
    assert.equal((await third.api.status()).isLearner, true);
    const { members, header } = await cluster.wait(second.api.memberPromote({ id: third.id }));
    assert.deepEqual(
      members.map((m) => [m.id, m.isLearner]),
      [
        [1n, false],
        [2n, false],
        [3n, false],
      ],
    );
    assert.equal(header.revision, undefined);
    const { kvs } = await cluster.wait(third.api.range({ key: utf8('k'), rangeEnd: utf8('l') }));
    assert.equal(kvs.length, 30);
    await cluster.run(500);
    assertAgreed(cluster.members);
  });

  test('a change through a follower reaches the leader, and changes wait for one another', async () => {
    const cluster = new SimCluster(3, 42);
    const leader = await cluster.elect();
    await cluster.run(500);
    const [follower, other] = cluster.members.filter((m) => m !== leader) as [SimMember, SimMember];
    const urls = ['a', 'b', 'c'].map((name) => [`http://${name}:1`]);
    const results = await cluster.wait(
      Promise.all([
        code(leader.api.memberAdd({ peerUrls: urls[0] as string[] })),
        code(follower.api.memberAdd({ peerUrls: urls[1] as string[], isLearner: true })),
        code(follower.api.memberUpdate({ id: other.id, peerUrls: urls[2] as string[] })),
      ]),
    );
    assert.deepEqual(results, ['no error', 'no error', 'no error']);
    await cluster.run(500);
    assertAgreed(cluster.members);
    assert.equal((await leader.api.memberList()).members.length, 5);
  });

  test('of two that add the same URL at once one is refused, as is a URL, an id or a learner too many', async () => {
    const cluster = new SimCluster(3, 43);
    const leader = await cluster.elect();
    await cluster.run(500);
    const [x, y] = cluster.members.filter((m) => m !== leader) as [SimMember, SimMember];
    const peerUrls = ['http://new:2380'];
    const both = [x, y].map((m) => code(m.api.memberAdd({ peerUrls, isLearner: true })));
    assert.deepEqual((await cluster.wait(Promise.all(both))).sort(), ['PEER_URL_EXISTS', 'no error']);
    const learner = { peerUrls: ['http://other:2380'], isLearner: true };
    assert.equal(await code(cluster.wait(x.api.memberAdd(learner))), 'TOO_MANY_LEARNERS');
    for (const bad of [[], ['foo'], ['http://host'], ['ftp://host:1'], ['http://host:2380/path']]) {
      assert.equal(await code(x.api.memberAdd({ peerUrls: bad })), 'MEMBER_BAD_URLS', String(bad));
    }
    assert.equal(await code(x.api.memberRemove({ id: 99n })), 'MEMBER_NOT_FOUND');
    assert.equal(await code(x.api.memberPromote({ id: 1n })), 'MEMBER_NOT_LEARNER');
    assert.equal(await code(cluster.wait(x.api.memberUpdate({ id: 99n, peerUrls }))), 'MEMBER_NOT_FOUND');
    assertAgreed(cluster.members);
  });

  test('what would cost the quorum is refused, unless that is asked for', async () => {
    const cluster = new SimCluster(1, 44);
    const only = await cluster.elect();
    await cluster.run(500);
    assert.equal(await code(only.api.memberRemove({ id: only.id })), 'MEMBER_NOT_ENOUGH_STARTED');
    const { member } = await cluster.wait(only.api.memberAdd({ peerUrls: ['http://b:1'] }));
    // The second has not started: nothing can be committed, and a third may not be added.
    assert.equal(await code(only.api.memberAdd({ peerUrls: ['http://c:1'] })), 'MEMBER_NOT_ENOUGH_STARTED');
    assert.equal(await code(only.api.memberRemove({ id: only.id })), 'MEMBER_NOT_ENOUGH_STARTED');
    cluster.join(member.id, only);
    assert.ok(await cluster.run(5000, started(only, member.id)));
    cluster.network.cut(1n, member.id);
    assert.equal(
      await code(only.api.memberAdd({ peerUrls: ['http://c:1'], isLearner: true })),
      'UNHEALTHY_CLUSTER',
    );
    assert.equal(await code(only.api.memberRemove({ id: only.id })), 'UNHEALTHY_CLUSTER');
  });

  test('a learner answers status, serializable reads and snapshots, and nothing else', async () => {
    const cluster = new SimCluster(1, 45);
    const first = await cluster.elect();
    await cluster.wait(put(first, 'a', '1'));
    const learner = await add(cluster, first, true);
    assert.ok(await cluster.run(5000, started(first, learner.id)));
    await cluster.run(500);
    const key = utf8('a');
    const { kvs } = await learner.api.range({ key, serializable: true });
    assert.equal(utf8Text(kvs[0]?.value ?? new Uint8Array()), '1');
    assert.equal((await learner.api.status()).leader, 1n);
    const refused: Promise<unknown>[] = [
      learner.api.range({ key }),
      learner.api.put({ key, value: key, lease: 0n }),
      learner.api.leaseGrant({ id: 0n, ttlSeconds: 10 }),
      learner.api.leaseKeepAlive({ id: 5n }),
      learner.api.memberList(),
      learner.api.memberRemove({ id: 1n }),
    ];
    for (const call of refused) assert.equal(await code(call), 'LEARNER_UNSUPPORTED');
    const responses: WatchResponse[] = [];
    learner.api.watch({ key }, (response) => responses.push(response) > 0);
    await cluster.run(100);
    assert.deepEqual(
      responses.map((r) => (r.type === 'canceled' ? r.reason : r.type)),
      ['etcdserver: rpc not supported for learner'],
    );
    assert.equal(await code(first.api.moveLeader({ targetId: learner.id })), 'BAD_LEADER_TRANSFEREE');
  });

  test('a removed leader lets another lead; it is told, and its data never comes back under its id', async () => {
    const cluster = new SimCluster(3, 46);
    const leader = await cluster.elect();
    await cluster.run(500);
    await cluster.wait(put(leader, 'a', '1'));
    await cluster.wait(leader.api.memberRemove({ id: leader.id }));
    assert.ok(await cluster.run(2000, () => leader.removed), 'it is told');
    const others = cluster.members.filter((m) => m !== leader);
    assert.ok(await cluster.run(2000, () => cluster.leader !== undefined && cluster.leader !== leader));
    await cluster.wait(put(others[0] as SimMember, 'b', '2'));
    assertAgreed(others);
    leader.removed = false;
    cluster.start(leader);
    assert.ok(await cluster.run(2000, () => leader.removed), 'it refuses to serve when it is started again');
  });

  test('a leader is removed although one of those who could follow it stands still', async () => {
    for (const still of [0, 1]) {
      const cluster = new SimCluster(3, 53);
      const leader = await cluster.elect();
      await cluster.run(500);
      const others = cluster.members.filter((m) => m !== leader);
      others[still]?.clock.pause();
      const via = others[1 - still] as SimMember;
      await cluster.wait(via.api.memberRemove({ id: leader.id }), 4000);
      others[still]?.clock.resume();
      assert.ok(await cluster.run(5000, () => leader.removed && cluster.leader !== undefined));
      await cluster.wait(put(via, 'b', '2'));
    }
  });

  test('one whose own log has its removal does not go on alone, and says why', async () => {
    const cluster = new SimCluster(3, 54);
    const leader = await cluster.elect();
    await cluster.run(500);
    const gone = cluster.members.find((m) => m !== leader) as SimMember;
    await cluster.wait(leader.api.memberRemove({ id: gone.id }));
    await cluster.run(100);
    for (const m of cluster.members) cluster.crash(m);
    assert.throws(() => cluster.start(gone, { forceNewCluster: true }), /was removed from its cluster/);
  });

  test('one that was away when it was removed hears of it from the others', async () => {
    const cluster = new SimCluster(3, 47);
    const leader = await cluster.elect();
    await cluster.run(500);
    const gone = cluster.members.find((m) => m !== leader) as SimMember;
    cluster.crash(gone);
    await cluster.wait(leader.api.memberRemove({ id: gone.id }));
    cluster.start(gone);
    assert.ok(await cluster.run(5000, () => gone.removed));
    assert.equal(cluster.leader, leader, 'it disturbs nobody');
  });

  test('a member that lost its data is refused under its old id, and comes in once it is added anew', async () => {
    const cluster = new SimCluster(3, 48);
    const leader = await cluster.elect();
    await cluster.run(500);
    await cluster.wait(put(leader, 'a', '1'));
    const lost = cluster.members.find((m) => m !== leader) as SimMember;
    cluster.crash(lost);
    lost.disk.wipe();
    lost.joining = leader.member?.machine.members();
    let refusal = '';
    cluster.onFatal = (m, error) => {
      refusal = error.message;
      cluster.clock.defer(() => cluster.crash(m));
    };
    cluster.start(lost);
    await cluster.run(3000, () => refusal !== '');
    assert.match(refusal, /has already been bootstrapped/);
    await cluster.wait(leader.api.memberRemove({ id: lost.id }));
    const fresh = await add(cluster, leader, false);
    assert.ok(await cluster.run(5000, started(leader, fresh.id)));
    const { kvs } = await cluster.wait(fresh.api.range({ key: utf8('a') }));
    assert.equal(kvs.length, 1);
  });

  test('a joiner that crashes before it has anything joins again', async () => {
    const cluster = new SimCluster(1, 49);
    const first = await cluster.elect();
    const { member } = await cluster.wait(first.api.memberAdd({ peerUrls: [url(2n)], isLearner: true }));
    const joiner = cluster.join(member.id, first);
    await cluster.run(10);
    cluster.crash(joiner);
    await cluster.run(500);
    cluster.start(joiner);
    assert.ok(await cluster.run(5000, started(first, joiner.id)));
    await cluster.run(500);
    assertAgreed(cluster.members);
  });

  test('--force-new-cluster goes on alone with everything, and the others are members no longer', async () => {
    const cluster = new SimCluster(3, 52);
    const leader = await cluster.elect();
    await cluster.run(500);
    for (let i = 0; i < 20; i++) await cluster.wait(put(leader, `k${i}`, 'v'));
    for (const m of cluster.members) cluster.crash(m);
    const [alone, other] = cluster.members as [SimMember, SimMember];
    cluster.start(alone, { forceNewCluster: true });
    assert.equal(await cluster.elect(), alone);
    await cluster.wait(put(alone, 'after', 'x'));
    const { kvs } = await cluster.wait(alone.api.range({ key: utf8('k'), rangeEnd: utf8('l') }));
    assert.equal(kvs.length, 20);
    assert.deepEqual(
      alone.member?.machine.members().map((m) => m.id),
      [alone.id],
    );
    cluster.crash(alone);
    cluster.start(alone);
    await cluster.wait(put(alone, 'again', 'x'));
    cluster.start(other);
    assert.ok(await cluster.run(5000, () => other.removed), 'the others are told');
    assertAgreed([alone]);
  });

  test('a joiner catches up while writes go on', async () => {
    const cluster = new SimCluster(1, 50, { logEntriesMax: 40, logCatchUpEntries: 10 });
    const first = await cluster.elect();
    let acked = 0;
    const write = (i: number): void =>
      void put(first, `k${i}`, 'v').then(() => {
        acked++;
        if (acked < 4000) write(acked);
      });
    write(0);
    await cluster.run(500);
    const joiner = await add(cluster, first, true);
    joiner.disk.installMs = 300;
    assert.ok(await cluster.run(10_000, () => (joiner.member?.applied ?? 0) > 0));
    const promoted = await cluster.wait(
      (async () => {
        for (;;) {
          const outcome = await code(first.api.memberPromote({ id: joiner.id }));
          if (outcome !== 'LEARNER_NOT_READY') return outcome;
        }
      })(),
    );
    assert.equal(promoted, 'no error');
    assert.ok(acked < 4000, 'writes went on');
  });
});

describe('callers that want a leader', () => {
  test('are refused at once without one, and their watches end after three election timeouts', async () => {
    const cluster = new SimCluster(3, 51);
    const leader = await cluster.elect();
    const lone = cluster.members.find((m) => m !== leader) as SimMember;
    await cluster.wait(put(lone, 'a', '1'));
    const responses: string[] = [];
    const plain: string[] = [];
    const key = utf8('a');
    const text = (r: WatchResponse) => (r.type === 'canceled' ? r.reason : r.type);
    lone.api.watch({ key }, (r) => responses.push(text(r)) > 0, { requireLeader: true });
    lone.api.watch({ key }, (r) => plain.push(text(r)) > 0);
    for (const m of cluster.members) if (m !== lone) cluster.crash(m);
    await cluster.run(5000, () => lone.member?.soft.leader === 0n);
    assert.equal(
      await code(lone.api.range({ key, serializable: true }, { requireLeader: true })),
      'NO_LEADER',
    );
    assert.equal(
      await code(lone.api.put({ key, value: key, lease: 0n }, { requireLeader: true })),
      'NO_LEADER',
    );
    await cluster.run(4500);
    assert.deepEqual(responses, ['created', 'etcdserver: no leader']);
    assert.deepEqual(plain, ['created']);
  });
});

for (const seed of chosenSeeds()) {
  test(`members come and go among random faults, seed ${seed} (MEMBER_SEED=${seed} replays it)`, async (t) => {
    const run = new FaultRun(seed, true);
    await run.run();
    await run.check();
    const { added, promoted, removed } = run.changes ?? assert.fail('members change');
    t.diagnostic(`${added} added, ${promoted} promoted, ${removed} removed`);
  });
}
