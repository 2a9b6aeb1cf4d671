/** What operators do to keep a cluster going: space that ran out, data that went bad. */
import assert from 'node:assert/strict';
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { utf8, utf8Text } from '@muster/base';
import { openEngine } from '@muster/disk';
import type { EtcdApi } from '@muster/kv';
import { connectEtcd } from '@muster/wire';
import { type MusterMember, startMuster } from '../support/muster.ts';

const MIB = 1024 * 1024;

async function until(what: string, holds: () => Promise<boolean>): Promise<void> {
  for (const end = Date.now() + 20_000; Date.now() < end; ) {
    if (await holds().catch(() => false)) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  assert.fail(`${what} did not come true in time`);
}

test('space that ran out: alarm, compaction, defragmentation, disarm, and writes are taken again', {
  timeout: 60_000,
}, async () => {
  const cluster = await startMuster(1, { flags: [`--quota-backend-bytes=${16 * MIB}`] });
  const remote = connectEtcd({ endpoints: cluster.endpoints });
  const { api } = remote;
  try {
    const write = () => api.put({ key: utf8('grows'), value: new Uint8Array(200_000) });
    await assert.rejects(
      async () => {
        for (let i = 0; i < 400; i++) await write();
      },
      { code: 'NO_SPACE' },
    );
    await assert.rejects(write(), { code: 'NO_SPACE' });
    const before = await api.status();
    assert.deepEqual(before.errors, [`memberID:${before.header.memberId} alarm:NOSPACE `]);
    assert.ok(before.dbSizeInUse > 15 * MIB && before.dbSizeInUse <= before.dbSize);
    const health = await fetch(`${cluster.endpoints[0]}/health`);
    assert.equal(((await health.json()) as { health: string }).health, 'false');
    await api.compact({ revision: before.header.revision as number, physical: true });
    const compacted = await api.status();
    assert.ok(compacted.dbSizeInUse < 2 * MIB, `${compacted.dbSizeInUse} in use after the compaction`);
    assert.ok(compacted.dbSize > 15 * MIB, 'a compaction alone does not shrink the file');
    await api.defragment();
    const after = await api.status();
    assert.ok(after.dbSize < 2 * MIB, `${after.dbSize} after defragmenting`);
    assert.equal(statSync(join(cluster.members[0]?.dataDir as string, 'kv/data.mdb')).size, after.dbSize);
    await assert.rejects(write(), { code: 'NO_SPACE' });
    const { alarms } = await api.alarm({ action: 'get', memberId: 0n, alarm: 'none' });
    for (const alarm of alarms) await api.alarm({ action: 'deactivate', ...alarm });
    await write();
    assert.deepEqual((await api.status()).errors, []);
    // The file that took the other's place is found at the next start.
    await cluster.members[0]?.stop();
    await cluster.members[0]?.start();
    await until(
      'the member serves again',
      async () => (await api.range({ key: utf8('grows') })).kvs.length === 1,
    );
  } finally {
    await remote.close();
    await cluster.close();
  }
});

test('a member is defragmented while it takes writes and feeds watches: nothing is lost', {
  timeout: 60_000,
}, async () => {
  const cluster = await startMuster(1);
  const remote = connectEtcd({ endpoints: cluster.endpoints });
  const { api } = remote;
  try {
    let written = 0;
    let stopping = false;
    const writers = Array.from({ length: 4 }, async (_, writer) => {
      for (let i = 0; !stopping; i++) {
        await api.put({ key: utf8(`w${writer}/${i}`), value: new Uint8Array(500) });
        written++;
      }
    });
    for (let round = 0; round < 5; round++) {
      const target = written + 200;
      await until('writes go on', async () => written >= target);
      await api.defragment();
    }
    stopping = true;
    await Promise.all(writers);
    const all = { key: utf8('w'), rangeEnd: utf8('x'), countOnly: true };
    assert.equal((await api.range(all)).count, written);
    const { hash } = await api.hashKv({ revision: 0 });
    await cluster.members[0]?.stop('SIGKILL');
    await cluster.members[0]?.start();
    await until('the member serves again', async () => (await api.range(all)).count === written);
    assert.equal((await api.hashKv({ revision: 0 })).hash, hash);
  } finally {
    await remote.close();
    await cluster.close();
  }
});

test('there is one storage format: a downgrade is refused as etcd refuses a target that is none', async () => {
  const cluster = await startMuster(1);
  const remote = connectEtcd({ endpoints: cluster.endpoints });
  const { api } = remote;
  try {
    for (const action of ['validate', 'enable'] as const) {
      await assert.rejects(api.downgrade({ action, version: '3.5.0' }), { code: 'DOWNGRADE_BAD_VERSION' });
      await assert.rejects(api.downgrade({ action, version: 'old' }), { code: 'DOWNGRADE_BAD_FORMAT' });
    }
    await assert.rejects(api.downgrade({ action: 'cancel', version: '' }), { code: 'DOWNGRADE_NONE' });
    const { storageVersion, downgrade } = await api.status();
    assert.deepEqual([storageVersion, downgrade], ['3.6.0', { enabled: false, targetVersion: '' }]);
  } finally {
    await remote.close();
    await cluster.close();
  }
});

/** Changes one value in the data of a member that is down, as a bad disk might. */
async function spoil(member: MusterMember, key: string): Promise<void> {
  const engine = openEngine(join(member.dataDir, 'kv'));
  let spoilt = 0;
  for (const [at, record] of [...engine.iterate('revisions')]) {
    const text = Buffer.from(record).indexOf(key);
    if (text < 0) continue;
    const changed = record.slice();
    changed[changed.length - 1] = (changed[changed.length - 1] as number) ^ 1;
    engine.put('revisions', at, changed);
    spoilt++;
  }
  assert.equal(spoilt, 1);
  engine.commit(engine.flushedTag);
  await engine.close();
}

async function withSpoilt(
  flags: readonly string[],
  run: (
    cluster: Awaited<ReturnType<typeof startMuster>>,
    spoilt: MusterMember,
    api: EtcdApi,
  ) => Promise<void>,
): Promise<void> {
  const cluster = await startMuster(3, { flags });
  const remote = connectEtcd({ endpoints: cluster.endpoints });
  try {
    for (let i = 0; i < 50; i++) await remote.api.put({ key: utf8(`k${i}`), value: utf8('value') });
    const spoilt = cluster.members[((await cluster.leader()) + 1) % 3] as MusterMember;
    await spoilt.stop();
    await spoil(spoilt, 'k27');
    await run(cluster, spoilt, remote.api);
  } finally {
    await remote.close();
    await cluster.close();
  }
}

test('a member whose data went bad gets the alarm CORRUPT, and writes stop', {
  timeout: 60_000,
}, async () => {
  await withSpoilt(['--corrupt-check-time=300ms'], async (_, spoilt, api) => {
    await api.put({ key: utf8('k1'), value: utf8('two of three are enough') });
    await spoilt.start();
    const own = connectEtcd({ endpoints: [spoilt.clientUrl] });
    const { memberId } = (await own.api.status()).header;
    let alarms: readonly unknown[] = [];
    await until('the alarm', async () => {
      ({ alarms } = await api.alarm({ action: 'get', memberId: 0n, alarm: 'none' }));
      return alarms.length > 0;
    });
    assert.deepEqual(alarms, [{ memberId, alarm: 'corrupt' }]);
    await until('every member knows', async () => (await own.api.status()).errors.length > 0);
    assert.deepEqual((await own.api.status()).errors, [`memberID:${memberId} alarm:CORRUPT `]);
    for (const write of [
      () => api.put({ key: utf8('k1'), value: utf8('') }),
      () => api.deleteRange({ key: utf8('k1') }),
      () => api.compact({ revision: 3 }),
      () => api.leaseGrant({ id: 0n, ttlSeconds: 60 }),
    ]) {
      await assert.rejects(write(), { code: 'CORRUPT' });
    }
    const { kvs } = await api.range({ key: utf8('k2') });
    assert.equal(utf8Text(kvs[0]?.value as Uint8Array), 'value');
    await own.close();
  });
});

test('with the initial check such a member does not start', { timeout: 60_000 }, async () => {
  await withSpoilt(['--experimental-initial-corrupt-check=true'], async (_, spoilt, api) => {
    await assert.rejects(spoilt.start(), /found data inconsistency with peers: at revision 51 member/);
    await api.put({ key: utf8('k1'), value: utf8('the others go on') });
  });
});
