import assert from 'node:assert/strict';
import { area, type Conformance } from '../suite.ts';

const { cases, add } = area('cluster');

/** Reference sections 2.9, 2.12, 2.13 and 8.5. */
export const clusterCases = cases;

add(
  'the member list has this member, cluster and term in its header, and no revision',
  { needs: ['one-member'] },
  async (c) => {
    const { members, header } = await c.api.memberList();
    assert.equal(members.length, 1);
    const [member] = members;
    assert.equal(member?.id, header.memberId);
    assert.ok(member?.name !== '' && member?.peerUrls.length === 1 && member.clientUrls.length > 0);
    assert.equal(member?.isLearner, false);
    assert.notEqual(header.clusterId, 0n);
    assert.ok(header.raftTerm > 0);
    assert.equal(header.revision, undefined);
  },
);

add('a linearizable member list says the same', async (c) => {
  const plain = await c.api.memberList();
  const linearizable = await c.api.memberList({ linearizable: true });
  assert.deepEqual(linearizable.members, plain.members);
});

add(
  'status: a plain version, a size, a leader, and indexes that rise with writes',
  { needs: ['one-member'] },
  async (c) => {
    const before = await c.api.status();
    assert.match(before.version, /^\d+\.\d+\.\d+$/);
    assert.ok(before.dbSize > 0 && before.dbSizeInUse > 0 && before.dbSizeInUse <= before.dbSize);
    assert.equal(before.leader, before.header.memberId);
    assert.deepEqual([before.isLearner, before.errors], [false, []]);
    assert.ok(before.raftTerm > 0 && before.raftAppliedIndex > 0);
    const revision = await c.put('k');
    const after = await c.api.status();
    assert.ok(after.raftIndex > before.raftIndex && after.raftAppliedIndex > before.raftAppliedIndex);
    assert.ok(after.raftAppliedIndex <= after.raftIndex);
    assert.equal(after.header.revision, revision);
  },
);

async function memberId(c: Conformance): Promise<bigint> {
  return (await c.api.status()).header.memberId;
}

add(
  'without space: puts are refused, all that frees or reads is not, until disarmed exactly',
  { fresh: true },
  async (c) => {
    const id = await memberId(c);
    const lease = await c.grant();
    await c.put('a');
    await c.put('b');
    await c.put('leased', 'v', { lease });
    const raised = await c.api.alarm({ action: 'activate', memberId: id, alarm: 'nospace' });
    assert.deepEqual(raised.alarms, [{ memberId: id, alarm: 'nospace' }]);
    assert.deepEqual((await c.api.status()).errors, [`memberID:${id} alarm:NOSPACE `]);
    await c.rejects('NO_SPACE', c.put('c'));
    await c.rejects('NO_SPACE', c.grant());
    await c.rejects('NO_SPACE', c.api.txn({ compare: [], success: [c.putOp('c')], failure: [] }));
    await c.rejects('NO_SPACE', c.api.txn({ compare: [], success: [], failure: [c.putOp('c')] }));
    assert.equal(
      (await c.api.txn({ compare: [], success: [c.getOp('a')], failure: [] })).responses.length,
      1,
    );
    await c.api.txn({ compare: [], success: [c.deleteOp('b')], failure: [] });
    assert.equal((await c.api.leaseKeepAlive({ id: lease })).ttlSeconds, 60);
    await c.api.leaseRevoke({ id: lease });
    const now = await c.delete('a');
    await c.api.compact({ revision: now });
    assert.deepEqual(
      (await c.api.alarm({ action: 'deactivate', memberId: 0n, alarm: 'nospace' })).alarms,
      [],
    );
    await c.rejects('NO_SPACE', c.put('c'));
    const cleared = await c.api.alarm({ action: 'deactivate', memberId: id, alarm: 'nospace' });
    assert.deepEqual(cleared.alarms, [{ memberId: id, alarm: 'nospace' }]);
    assert.equal(await c.put('c'), now + 1);
    assert.deepEqual((await c.api.status()).errors, []);
  },
);

add('alarms are listed by kind, whatever member is named', { fresh: true }, async (c) => {
  const id = await memberId(c);
  const get = async (member: bigint, alarm: 'none' | 'nospace' | 'corrupt') =>
    (await c.api.alarm({ action: 'get', memberId: member, alarm })).alarms;
  assert.deepEqual(await get(0n, 'none'), []);
  await c.api.alarm({ action: 'activate', memberId: id, alarm: 'nospace' });
  await c.api.alarm({ action: 'activate', memberId: id, alarm: 'nospace' });
  const own = [{ memberId: id, alarm: 'nospace' }];
  assert.deepEqual(await get(0n, 'none'), own);
  assert.deepEqual(await get(id, 'none'), own);
  assert.deepEqual(await get(id, 'nospace'), own);
  assert.deepEqual(await get(0n, 'corrupt'), []);
  assert.deepEqual(await get(id + 1n, 'none'), own);
  await c.api.alarm({ action: 'deactivate', memberId: id, alarm: 'nospace' });
  assert.deepEqual(await get(0n, 'none'), []);
});

add('an alarm of no kind is not raised', { needs: ['alarm-none-ignored'], fresh: true }, async (c) => {
  const id = await memberId(c);
  await c.api.alarm({ action: 'activate', memberId: id, alarm: 'none' });
  assert.deepEqual((await c.api.alarm({ action: 'get', memberId: 0n, alarm: 'none' })).alarms, []);
});

add('alarm answers have a full header', { needs: ['alarm-header'] }, async (c) => {
  const { header } = await c.api.alarm({ action: 'get', memberId: 0n, alarm: 'none' });
  assert.ok(header.clusterId !== 0n && header.memberId !== 0n && header.raftTerm > 0);
});

add('hash is a 32-bit number', async (c) => {
  const { hash } = await c.api.hash();
  assert.ok(Number.isInteger(hash) && hash >= 0 && hash <= 0xffff_ffff);
});

add(
  'hashKv: of a revision, the same each time, another for other content',
  { needs: ['hashkv'] },
  async (c) => {
    const first = await c.put('k', '1');
    const one = await c.api.hashKv({ revision: first });
    await c.put('k', '2');
    const again = await c.api.hashKv({ revision: first });
    const now = await c.api.hashKv({ revision: 0 });
    assert.equal(again.hash, one.hash);
    assert.notEqual(now.hash, one.hash);
    assert.deepEqual([one.hashRevision, now.hashRevision], [first, first + 1]);
    await c.rejects('FUTURE_REVISION', c.api.hashKv({ revision: first + 2 }));
  },
);

add(
  'hashKv tells -1 when never compacted, then the compact revision; below it is refused',
  {
    needs: ['hashkv', 'hashkv-at-compaction'],
    fresh: true,
  },
  async (c) => {
    await c.put('k', '1');
    await c.put('gone', '1');
    await c.delete('gone');
    const at = await c.put('k', '2');
    await c.put('k', '3');
    assert.equal((await c.api.hashKv({ revision: 0 })).compactRevision, -1);
    await c.api.compact({ revision: at });
    const during = await c.api.hashKv({ revision: 0 });
    assert.equal(during.compactRevision, at);
    await c.rejects('COMPACTED', c.api.hashKv({ revision: at - 1 }));
    assert.equal((await c.api.hashKv({ revision: at })).hashRevision, at);
    await c.rejects('COMPACTED', c.api.compact({ revision: at, physical: true }));
    assert.equal((await c.api.hashKv({ revision: 0 })).hash, during.hash);
  },
);

add(
  'moveLeader to the leader itself is done at once; an unknown target is refused',
  { needs: ['one-member'] },
  async (c) => {
    const id = await memberId(c);
    await c.api.moveLeader({ targetId: id });
    await c.rejects('BAD_LEADER_TRANSFEREE', c.api.moveLeader({ targetId: id ^ 1n }));
    assert.equal((await c.api.status()).leader, id);
  },
);
