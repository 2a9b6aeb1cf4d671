/** Members that come back without what they had: they must not take part, for their votes are forgotten. */
import assert from 'node:assert/strict';
import { cpSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type MusterCluster, type MusterMember, startMuster } from '../support/muster.ts';
import { post, putKey, readAll } from './load.ts';

let cluster: MusterCluster;

before(async () => {
  cluster = await startMuster(3);
});
after(() => cluster?.close());

/** From then on the members know each other as started. */
async function allPublished(url: string): Promise<void> {
  for (;;) {
    const answer = (await post(url, '/v3/cluster/member/list', {})) as {
      members: { clientURLs?: string[] }[];
    };
    if (answer.members.every((member) => (member.clientURLs ?? []).length > 0)) return;
    await sleep(20);
  }
}

test('a member whose data directory was emptied is refused, and the others go on', async () => {
  const [wiped, other] = cluster.members as [MusterMember, MusterMember];
  await allPublished(other.clientUrl);
  await putKey(other.clientUrl, 'lost/1', 'x');
  await wiped.stop('SIGKILL');
  rmSync(wiped.dataDir, { recursive: true });
  await assert.rejects(wiped.start(), /ended with 1.*already been bootstrapped/s);
  await assert.rejects(wiped.start(), /already been bootstrapped/, 'not at a second try either');
  await putKey(other.clientUrl, 'lost/2', 'x');
  assert.equal((await readAll(other.clientUrl, 'lost/')).size, 2);
});

test('with all stopped in order it comes back on a copy of another one, as the operator page says', async () => {
  const [lost, source] = cluster.members as [MusterMember, MusterMember];
  await Promise.all(cluster.members.map((member) => member.stop('SIGTERM')));
  rmSync(lost.dataDir, { recursive: true });
  for (const part of ['wal', 'kv']) {
    cpSync(join(source.dataDir, part), join(lost.dataDir, part), { recursive: true });
  }
  await Promise.all(cluster.members.map((member) => member.start()));
  await putKey(lost.clientUrl, 'lost/3', 'x');
  for (const member of cluster.members) assert.equal((await readAll(member.clientUrl, 'lost/')).size, 3);
});

test('a member whose log was removed is refused', async () => {
  const member = cluster.members[2] as MusterMember;
  await member.stop('SIGKILL');
  rmSync(join(member.dataDir, 'wal'), { recursive: true });
  await assert.rejects(member.start(), /the log of this member is gone/);
});
