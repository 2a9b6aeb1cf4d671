import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { utf8, utf8Text } from '@muster/base';
import { KvError } from '@muster/contract';
import type { WatchResponse } from '@muster/kv';
import type { PeerMessage } from '../src/index.ts';
import { chosenSeeds, FaultRun } from './fault-run.ts';
import { put, SimCluster, type SimMember } from './sim-cluster.ts';

async function get(
  cluster: SimCluster,
  m: SimMember,
  key: string,
  serializable = false,
): Promise<string | undefined> {
  const { kvs } = await cluster.wait(m.api.range({ key: utf8(key), serializable }));
  return kvs[0] && utf8Text(kvs[0].value);
}

const code = async (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => 'no error',
    (error) => (error instanceof KvError ? error.code : String(error)),
  );

describe('one member', () => {
  test('elects itself at once, writes and reads', async () => {
    const cluster = new SimCluster(1, 1);
    const [m] = cluster.members as [SimMember];
    const result = await cluster.wait(put(m, 'a', '1'));
    assert.equal(result.header.revision, 2);
    assert.ok(cluster.clock.nowMs() < 500, `took ${cluster.clock.nowMs()} ms`);
    assert.equal(await get(cluster, m, 'a'), '1');
  });

  test('finds everything acknowledged after a crash', async () => {
    const cluster = new SimCluster(1, 2);
    const [m] = cluster.members as [SimMember];
    for (let i = 0; i < 50; i++) await cluster.wait(put(m, `k${i}`, `v${i}`));
    cluster.crash(m);
    cluster.start(m);
    for (let i = 0; i < 50; i++) assert.equal(await get(cluster, m, `k${i}`), `v${i}`);
    const next = await cluster.wait(put(m, 'z', 'z'));
    assert.equal(next.header.revision, 52);
  });

  test('a full disk refuses writes with its own error, serves reads, and loses nothing', async () => {
    const cluster = new SimCluster(1, 3);
    const [m] = cluster.members as [SimMember];
    await cluster.wait(put(m, 'a', '1'));
    m.disk.full = true;
    const stuck = put(m, 'b', '2');
    stuck.catch(() => {});
    await cluster.run(500);
    assert.equal(await code(put(m, 'c', '3')), 'DISK_FULL');
    assert.equal(await get(cluster, m, 'a', true), '1');
    m.disk.full = false;
    await cluster.wait(stuck);
    await cluster.wait(put(m, 'c', '3'));
    assert.equal(await get(cluster, m, 'b'), '2');
  });

  test('a data disk that is full, apart from the log, refuses writes while reads go on', async () => {
    const cluster = new SimCluster(1, 6, { engineBacklogBytesMax: 20_000 });
    const [m] = cluster.members as [SimMember];
    await cluster.elect();
    const { engine } = m.disk;
    engine.flush = (done) => cluster.clock.defer(() => done(new Error('no space')));
    let acked = 0;
    let refused = 'none';
    for (let i = 0; i < 1000 && refused === 'none'; i++) {
      const outcome = await cluster.wait(code(put(m, `k${i}`, 'x'.repeat(100))));
      if (outcome === 'no error') acked++;
      else refused = outcome;
    }
    assert.equal(refused, 'DISK_FULL');
    assert.ok(acked > 10 && acked < 200, `${acked} writes were taken`);
    assert.equal(await get(cluster, m, `k${acked - 1}`), 'x'.repeat(100));
    delete (engine as Partial<typeof engine>).flush;
    await cluster.run(300);
    await cluster.wait(put(m, 'after', 'x'));
    assert.equal(await get(cluster, m, 'after'), 'x');
  });

  test('too large a request is refused and changes nothing', async () => {
    const cluster = new SimCluster(1, 4);
    const [m] = cluster.members as [SimMember];
    await cluster.elect();
    const big = m.api.put({ key: utf8('big'), value: new Uint8Array(1.5 * 1024 * 1024) });
    assert.equal(await code(big), 'REQUEST_TOO_LARGE');
    assert.equal(await get(cluster, m, 'big'), undefined);
  });

  test('the log is compacted behind what the engine has flushed, and a restart still finds all', async () => {
    const cluster = new SimCluster(1, 5, { logEntriesMax: 40, logCatchUpEntries: 10 });
    const [m] = cluster.members as [SimMember];
    for (let i = 0; i < 200; i++) {
      await cluster.wait(put(m, `k${i % 7}`, `${i}`));
      if (i % 20 === 0) m.disk.engine.flush(() => {});
    }
    assert.ok(m.disk.log.compactedIndex > 100, `compacted to ${m.disk.log.compactedIndex}`);
    cluster.crash(m);
    cluster.start(m);
    assert.equal(await get(cluster, m, 'k3'), '199');
  });
});

/** A cluster whose log has moved on from where one member stopped. */
async function leaveBehind(cluster: SimCluster): Promise<{ leader: SimMember; away: SimMember }> {
  const leader = await cluster.elect();
  const away = cluster.live().find((m) => m !== leader) as SimMember;
  await cluster.wait(put(leader, 'first', '1'));
  cluster.crash(away);
  for (let i = 0; i < 100; i++) {
    await cluster.wait(put(leader, `k${i % 10}`, `${i}`));
    if (i % 10 === 9) for (const m of cluster.live()) m.disk.engine.flush(() => {});
  }
  return { leader, away };
}

describe('three members', () => {
  test('a write through any member is read through any other', async () => {
    const cluster = new SimCluster(3, 10);
    await cluster.elect();
    for (const [i, writer] of cluster.members.entries()) {
      await cluster.wait(put(writer, 'x', `${i}`));
      for (const reader of cluster.members) assert.equal(await get(cluster, reader, 'x'), `${i}`);
    }
  });

  test('a leader whose process dies is replaced in far less than an election timeout', async () => {
    const cluster = new SimCluster(3, 11);
    const leader = await cluster.elect();
    await cluster.wait(put(leader, 'a', '1'));
    const before = cluster.clock.nowMs();
    cluster.crash(leader);
    const [survivor] = cluster.live() as [SimMember];
    await cluster.wait(put(survivor, 'a', '2'));
    assert.ok(cluster.clock.nowMs() - before < 200, `took ${cluster.clock.nowMs() - before} ms`);
  });

  test('writes on their way through a dying leader complete exactly once', async () => {
    const cluster = new SimCluster(3, 12);
    const leader = await cluster.elect();
    const follower = cluster.live().find((m) => m !== leader) as SimMember;
    const writes = Array.from({ length: 20 }, (_, i) => put(follower, `w${i}`, 'once'));
    await cluster.run(5);
    cluster.crash(leader);
    for (const write of writes) await cluster.wait(write);
    for (let i = 0; i < 20; i++) {
      const { kvs } = await cluster.wait(follower.api.range({ key: utf8(`w${i}`) }));
      assert.equal(kvs[0]?.version, 1, `w${i}`);
    }
  });

  test('a leader told to stop hands leadership over first', async () => {
    const cluster = new SimCluster(3, 13);
    const leader = await cluster.elect();
    let stopped = false;
    leader.member?.stop(() => {
      stopped = true;
    });
    await cluster.run(2000, () => stopped);
    assert.ok(stopped);
    const next = cluster.members.find((m) => m !== leader && m.member?.isLeader);
    assert.ok(next, 'another member leads when the old leader has stopped');
  });

  test('without a quorum writes and linearizable reads time out, serializable reads go on', async () => {
    const cluster = new SimCluster(3, 14);
    const leader = await cluster.elect();
    await cluster.wait(put(leader, 'a', '1'));
    for (const m of cluster.members) if (m !== leader) cluster.crash(m);
    const write = code(put(leader, 'a', '2'));
    const read = code(leader.api.range({ key: utf8('a') }));
    assert.match(await cluster.wait(write), /^TIMEOUT/);
    assert.match(await cluster.wait(read), /^TIMEOUT/);
    assert.equal(await get(cluster, leader, 'a', true), '1');
  });

  test('a deposed leader cut off from the others serves no stale linearizable read', async () => {
    const cluster = new SimCluster(3, 15);
    const old = await cluster.elect();
    await cluster.wait(put(old, 'a', 'old'));
    for (const m of cluster.members) if (m !== old) cluster.network.cut(old.id, m.id);
    const stale = old.api.range({ key: utf8('a') });
    const others = cluster.members.filter((m) => m !== old);
    await cluster.run(10_000, () => others.some((m) => m.member?.isLeader));
    await cluster.wait(put(others[0] as SimMember, 'a', 'new'));
    cluster.network.heal();
    const outcome = await cluster.wait(
      stale.then(({ kvs }) => utf8Text(kvs[0]!.value)).catch(() => 'refused'),
    );
    assert.notEqual(outcome, 'old');
  });

  test('a member that missed more than the log holds is brought up by a snapshot', async () => {
    const cluster = new SimCluster(3, 16, { logEntriesMax: 20, logCatchUpEntries: 5 });
    const { leader, away } = await leaveBehind(cluster);
    cluster.start(away);
    assert.equal(await get(cluster, away, 'k9'), '99');
    await cluster.run(1000);
    assert.ok(
      cluster.logs.some((line) => line.includes('installing a snapshot')),
      'a snapshot was installed',
    );
    assert.equal(away.member?.machine.hashKv(0).hash, leader.member?.machine.hashKv(0).hash);
    cluster.crash(away);
    cluster.start(away);
    assert.equal(await get(cluster, away, 'k9'), '99');
  });

  test('a member that lost its data is refused, so that no acknowledged write can be lost with its vote', async () => {
    const cluster = new SimCluster(3, 25);
    const leader = await cluster.elect();
    const [wiped, behind] = cluster.members.filter((m) => m !== leader) as [SimMember, SimMember];
    await cluster.run(500);
    cluster.network.cut(leader.id, behind.id);
    cluster.network.cut(wiped.id, behind.id);
    await cluster.wait(put(leader, 'acknowledged', 'x'));
    cluster.crash(wiped);
    wiped.disk.wipe();
    const fatal: string[] = [];
    cluster.onFatal = (m, error) => {
      cluster.crash(m);
      fatal.push(`${m.id}: ${error.message}`);
    };
    cluster.crash(leader);
    cluster.network.heal();
    cluster.start(wiped);
    await cluster.run(5000);
    assert.equal(cluster.leader, undefined, 'the two that are left do not have the write');
    assert.match(fatal.join(), new RegExp(`^${wiped.id}: .*already been bootstrapped`));
    cluster.start(leader);
    assert.equal(await get(cluster, leader, 'acknowledged'), 'x');
    cluster.start(wiped);
    await cluster.run(1000);
    assert.equal(fatal.length, 2, 'it is refused again after a restart');
  });

  test('a leader whose disk is full lets another lead: writes and renewals go on', async () => {
    const cluster = new SimCluster(3, 19);
    const full = await cluster.elect();
    const { id } = await cluster.wait(full.api.leaseGrant({ id: 0n, ttlSeconds: 5 }));
    full.disk.full = true;
    put(full, 'stuck', 'x').catch(() => {});
    const [other] = cluster.members.filter((m) => m !== full) as [SimMember];
    await cluster.run(3000, () => cluster.leader !== undefined && cluster.leader !== full);
    for (let i = 0; i < 5; i++) {
      await cluster.run(2000);
      await cluster.wait(put(other, 'a', `${i}`), 1000);
      assert.equal((await cluster.wait(other.api.leaseKeepAlive({ id }), 1000)).ttlSeconds, 5);
    }
    assert.equal(await code(put(full, 'b', 'x')), 'DISK_FULL');
    full.disk.full = false;
    await cluster.run(1000);
    await cluster.wait(put(full, 'b', 'x'));
    assert.equal(await get(cluster, full, 'a'), '4');
  });

  test('a follower whose data disk is full takes entries up to a bound, and the rest once there is room', async () => {
    const limits = { logCatchUpBytes: 5000, logHoldBytes: 20_000, logBytesMax: 30_000 };
    const cluster = new SimCluster(3, 27, {
      engineBacklogBytesMax: 5000,
      logEntriesMax: 10,
      logCatchUpEntries: 5,
      ...limits,
    });
    const leader = await cluster.elect();
    const [follower, other] = cluster.members.filter((m) => m !== leader) as [SimMember, SimMember];
    const { engine } = follower.disk;
    engine.flush = (done) => cluster.clock.defer(() => done(new Error('no space')));
    // An image would take the place of what is stuck.
    const { transport } = leader;
    assert.ok(transport);
    transport.sendSnapshot = (_to, _message, _name, done) =>
      cluster.clock.defer(() => done(new Error('later')));
    const batch = async (from: number) => {
      for (let i = from; i < from + 100; i++) {
        await cluster.wait(put(leader, `k${i}`, 'x'.repeat(1000)));
        for (const m of [leader, other]) m.disk.engine.flush(() => {});
      }
    };
    await batch(0);
    await batch(100);
    const stable = follower.member?.raftStatus().stableIndex ?? 0;
    const applied = follower.member?.applied ?? 0;
    assert.ok(applied < 20, `${applied} applied`);
    assert.ok(stable > 20 && stable < 60, `${stable} in the log`);
    delete (engine as Partial<typeof engine>).flush;
    delete (transport as Partial<typeof transport>).sendSnapshot;
    assert.equal(await get(cluster, follower, 'k199'), 'x'.repeat(1000));
  });

  test('an answer to a former life of this process completes nothing in this one', async () => {
    const cluster = new SimCluster(3, 18);
    const leader = await cluster.elect();
    const asker = cluster.live().find((m) => m !== leader) as SimMember;
    await cluster.wait(put(leader, 'a', 'old'));
    const { id } = await cluster.wait(leader.api.leaseGrant({ id: 0n, ttlSeconds: 30 }));
    const late: PeerMessage[] = [];
    const { transport } = leader;
    assert.ok(transport);
    const send = transport.send.bind(transport);
    transport.send = (to, message) => {
      const isAnswer =
        message.type === 'response' ||
        (message.type === 'raft' && message.message.type === 'readIndexResponse');
      if (to !== asker.id || !isAnswer) return send(to, message);
      late.push(message);
      return true;
    };
    asker.api.range({ key: utf8('a') }).catch(() => {});
    asker.api.leaseKeepAlive({ id: 99n }).catch(() => {});
    await cluster.run(1000, () => late.length >= 2);
    transport.send = send;
    cluster.crash(asker);
    cluster.start(asker);
    await cluster.run(1000, () => asker.member?.soft.leader === leader.id);
    cluster.network.cut(leader.id, asker.id);
    await cluster.wait(put(leader, 'a', 'new'));
    const read = get(cluster, asker, 'a');
    const kept = asker.api.leaseKeepAlive({ id });
    await cluster.run(10);
    for (const message of late) asker.transport?.deliver({ type: 'message', from: leader.id, message });
    await cluster.run(10);
    cluster.network.heal();
    assert.equal(await read, 'new');
    assert.equal((await cluster.wait(kept)).ttlSeconds, 30);
  });

  test('a member that is brought up by a snapshot catches up while writes go on', async () => {
    const cluster = new SimCluster(3, 26, { logEntriesMax: 20, logCatchUpEntries: 5 });
    const { leader, away } = await leaveBehind(cluster);
    // Far longer than it takes to write what the log keeps.
    away.disk.installMs = 2000;
    cluster.start(away);
    let writing = true;
    const load = async () => {
      for (let i = 0; writing; i++) {
        await put(leader, `load${i % 10}`, `${i}`);
        if (i % 10 === 0) leader.disk.engine.flush(() => {});
      }
    };
    const loads = [load(), load()];
    const lag = () => (leader.member?.applied ?? 0) - (away.member?.applied ?? 0);
    await cluster.run(500);
    assert.ok(lag() > 20);
    const caughtUp = await cluster.run(10_000, () => lag() < 10);
    writing = false;
    for (const each of loads) await cluster.wait(each);
    assert.ok(caughtUp, `still ${lag()} entries behind`);
    const sent = cluster.logs.filter((line) => line.includes('sending a snapshot')).length;
    assert.equal(sent, 1, 'one snapshot is enough');
  });

  test('a newer snapshot that comes in while one is being installed is installed after it', async () => {
    const cluster = new SimCluster(3, 17, { logEntriesMax: 20, logCatchUpEntries: 5 });
    const { leader, away } = await leaveBehind(cluster);
    away.disk.installMs = 300;
    cluster.start(away);
    const installing = () => cluster.logs.filter((line) => line.includes('installing a snapshot')).length;
    await cluster.run(5000, () => installing() === 1);
    for (let i = 0; i < 30; i++) await cluster.wait(put(leader, `l${i}`, 'x'));
    cluster.deliverImage(leader, away);
    await cluster.run(2000);
    assert.equal(installing(), 2);
    assert.equal(await get(cluster, away, 'l29'), 'x');
    assert.equal(away.member?.machine.hashKv(0).hash, leader.member?.machine.hashKv(0).hash);
  });
});

describe('leases', () => {
  test('expire on the leader alone, at the earliest after their time, and delete their keys everywhere', async () => {
    const cluster = new SimCluster(3, 20);
    const leader = await cluster.elect();
    const { id } = await cluster.wait(leader.api.leaseGrant({ id: 0n, ttlSeconds: 5 }));
    const granted = cluster.clock.nowMs();
    await cluster.wait(put(leader, 'leased', 'x', id));
    await cluster.run(4500 - (cluster.clock.nowMs() - granted));
    assert.equal(await get(cluster, leader, 'leased'), 'x');
    await cluster.run(1500);
    for (const m of cluster.members) assert.equal(await get(cluster, m, 'leased'), undefined);
    assert.equal((await cluster.wait(leader.api.leaseTimeToLive({ id }))).ttlSeconds, -1);
  });

  test('are kept alive through any member', async () => {
    const cluster = new SimCluster(3, 21);
    const leader = await cluster.elect();
    const follower = cluster.live().find((m) => m !== leader) as SimMember;
    const { id } = await cluster.wait(follower.api.leaseGrant({ id: 7n, ttlSeconds: 3 }));
    await cluster.wait(put(follower, 'leased', 'x', id));
    for (let i = 0; i < 6; i++) {
      await cluster.run(1000);
      const kept = await cluster.wait(follower.api.leaseKeepAlive({ id }));
      assert.equal(kept.ttlSeconds, 3);
    }
    assert.equal(await get(cluster, leader, 'leased'), 'x');
    assert.equal((await cluster.wait(follower.api.leaseKeepAlive({ id: 99n }))).ttlSeconds, 0);
  });

  test('live at least their time on after a leader change, and end in bounded time', async () => {
    const cluster = new SimCluster(3, 22);
    const leader = await cluster.elect();
    const { id } = await cluster.wait(leader.api.leaseGrant({ id: 0n, ttlSeconds: 5 }));
    await cluster.wait(put(leader, 'leased', 'x', id));
    await cluster.run(4000);
    cluster.crash(leader);
    const next = await cluster.elect();
    await cluster.run(4000);
    assert.equal(await get(cluster, next, 'leased'), 'x');
    await cluster.run(3000);
    assert.equal(await get(cluster, next, 'leased'), undefined);
  });

  test('remaining time is checkpointed, so that a leader change does not restart it', async () => {
    const cluster = new SimCluster(3, 23);
    const leader = await cluster.elect();
    const { id } = await cluster.wait(leader.api.leaseGrant({ id: 0n, ttlSeconds: 60 }));
    await cluster.wait(put(leader, 'leased', 'x', id));
    await cluster.run(35_000);
    cluster.crash(leader);
    const next = await cluster.elect();
    const { ttlSeconds } = await cluster.wait(next.api.leaseTimeToLive({ id }));
    assert.ok(ttlSeconds <= 32 && ttlSeconds >= 24, `remaining ${ttlSeconds} s`);
    const kept = await cluster.wait(next.api.leaseKeepAlive({ id }));
    assert.equal(kept.ttlSeconds, 60);
    cluster.start(leader);
    cluster.crash(next);
    const third = await cluster.elect();
    const after = await cluster.wait(third.api.leaseTimeToLive({ id }));
    assert.ok(after.ttlSeconds >= 58, `a renewal undoes the checkpoint, remaining ${after.ttlSeconds} s`);
  });

  test('one whose grant fills the store is answered with an error, is there, and ends in its time', async () => {
    const cluster = new SimCluster(1, 34);
    const first = await cluster.elect();
    await cluster.wait(put(first, 'a', '1'));
    await cluster.run(500);
    cluster.crash(first);
    cluster.quotaBytes = first.disk.engine.size().inUse + 5000;
    cluster.start(first);
    await cluster.elect();
    await cluster.run(500);
    const room = cluster.quotaBytes - first.disk.engine.size().inUse;
    // A put is taken to need 256 bytes more, a grant 64: each has room, both have not.
    const value = new Uint8Array(room - 256 - 1 - 30);
    const filling = first.api.put({ key: utf8('b'), value, lease: 0n });
    const granting = code(first.api.leaseGrant({ id: 7n, ttlSeconds: 5 }));
    await cluster.wait(filling);
    assert.equal(await cluster.wait(granting), 'NO_SPACE');
    assert.equal((await cluster.wait(first.api.leaseTimeToLive({ id: 7n }))).grantedTtlSeconds, 5);
    assert.ok(await cluster.run(9000, () => first.member?.machine.leases.get(7n) === undefined), 'it ends');
  });

  test('an expiry that a cut-off leader saw does not reach a lease that was renewed elsewhere', async () => {
    const cluster = new SimCluster(3, 24);
    const old = await cluster.elect();
    const { id } = await cluster.wait(old.api.leaseGrant({ id: 0n, ttlSeconds: 5 }));
    await cluster.wait(put(old, 'leased', 'x', id));
    await cluster.run(4700);
    for (const m of cluster.members) if (m !== old) cluster.network.cut(old.id, m.id);
    await cluster.run(600);
    assert.ok(old.member?.isLeader, 'the old leader sees the lease expire while it still believes to lead');
    const others = cluster.members.filter((m) => m !== old);
    await cluster.run(10_000, () => others.some((m) => m.member?.isLeader && m.member.lessor.primary));
    const kept = await cluster.wait((others[0] as SimMember).api.leaseKeepAlive({ id }));
    assert.equal(kept.ttlSeconds, 5);
    cluster.network.heal();
    await cluster.run(2500);
    assert.equal(await get(cluster, others[0] as SimMember, 'leased'), 'x');
  });
});

describe('watch', () => {
  test('previous values are there for changes that nobody watched when they were applied', async () => {
    const cluster = new SimCluster(1, 29);
    const m = await cluster.elect();
    await cluster.wait(put(m, 'k', '1'));
    await cluster.wait(put(m, 'k', '2'));
    const seen: (string | undefined)[] = [];
    const handle = m.api.watch({ key: utf8('k'), startRevision: 2, prevKv: true }, (response) => {
      if (response.type !== 'events') return true;
      seen.push(...response.batch.events.map((e) => e.prevKv && utf8Text(e.prevKv.value)));
      return true;
    });
    await cluster.run(50, () => seen.length === 2);
    await cluster.wait(put(m, 'k', '3'));
    await cluster.run(50, () => seen.length === 3);
    handle.cancel();
    assert.deepEqual(seen, [undefined, '1', '2']);
  });

  test('on any member sees every revision in order, through a leader change', async () => {
    const cluster = new SimCluster(3, 30);
    const leader = await cluster.elect();
    const follower = cluster.live().find((m) => m !== leader) as SimMember;
    const seen: number[] = [];
    const sink = (response: WatchResponse) => {
      if (response.type === 'events') seen.push(...response.batch.events.map((e) => e.kv.modRevision));
      return true;
    };
    follower.api.watch({ key: utf8('k'), rangeEnd: utf8('l') }, sink);
    await cluster.run(50);
    for (let i = 0; i < 10; i++) await cluster.wait(put(leader, `k${i}`, 'x'));
    cluster.crash(leader);
    for (let i = 0; i < 10; i++) await cluster.wait(put(follower, `k${i}`, 'y'));
    await cluster.run(200);
    assert.deepEqual(
      seen,
      Array.from({ length: 20 }, (_, i) => i + 2),
    );
  });
});

async function randomFaults(seed: number): Promise<void> {
  const run = new FaultRun(seed);
  await run.run();
  await run.check();
}

for (const seed of chosenSeeds()) {
  test(`random crashes, cuts, pauses and full disks, seed ${seed} (MEMBER_SEED=${seed} replays it)`, () =>
    randomFaults(seed));
}
