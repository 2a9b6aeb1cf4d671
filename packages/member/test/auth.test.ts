import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { utf8, utf8Text } from '@muster/base';
import type { CallOptions } from '@muster/kv';
import { LocalApi } from '../src/index.ts';
import type { Member } from '../src/member.ts';
import { codeOf, get, login, permissionOf, put, watched, withUsers } from './auth-harness.ts';
import { simAuth } from './sim-auth.ts';
import { SimCluster, type SimMember } from './sim-cluster.ts';

const INTERNAL: CallOptions = { internal: true };
const DENIED = 'canceled: rpc error: code = PermissionDenied desc = etcdserver: permission denied';
const NOBODY = 'canceled: rpc error: code = InvalidArgument desc = etcdserver: user name is empty';
const BAD_TOKEN = 'canceled: rpc error: code = Unauthenticated desc = etcdserver: invalid auth token';

async function cluster3(seed: number): Promise<SimCluster> {
  const cluster = new SimCluster(3, seed);
  await withUsers(cluster);
  return cluster;
}

describe('tokens', () => {
  test('are good on every member at once, and each restarted member forgets them', async () => {
    const cluster = await cluster3(1);
    const [a, b, c] = cluster.members as [SimMember, SimMember, SimMember];
    for (const issuer of [a, b, c]) {
      const token = await login(cluster, issuer, 'ann');
      assert.match(token.token as string, /^[a-z]{16}\.\d+$/);
      const calls = [a, b, c].flatMap((m) => [
        put(m, 'a', token),
        get(m, 'a', token),
        get(m, 'a', token, true),
      ]);
      for (const call of calls.map(codeOf)) assert.equal(await cluster.wait(call), 'ok');
    }
    const token = await login(cluster, a, 'ann');
    assert.equal(await cluster.wait(codeOf(get(b, 'a', token))), 'ok');
    // In order, so that nothing of the log is left to be applied again.
    await cluster.wait(new Promise<void>((resolve) => (b.member as Member).stop(resolve)));
    cluster.crash(b);
    cluster.start(b);
    assert.equal(await cluster.wait(codeOf(get(b, 'a', token))), 'INVALID_AUTH_TOKEN');
    assert.equal(await cluster.wait(codeOf(get(c, 'a', token))), 'ok');
  });

  test('end after their time without use, and live on with it', async () => {
    const cluster = await cluster3(2);
    const [a] = cluster.members as [SimMember];
    const used = await login(cluster, a, 'ann');
    const idle = await login(cluster, a, 'ann');
    for (let i = 0; i < 4; i++) {
      await cluster.run(100_000);
      assert.equal(await cluster.wait(codeOf(get(a, 'a', used))), 'ok');
    }
    assert.equal(await cluster.wait(codeOf(get(a, 'a', idle))), 'INVALID_AUTH_TOKEN');
  });

  test('end with the user and with the password, everywhere, and with nothing else', async () => {
    const cluster = await cluster3(3);
    const [a, b, c] = cluster.members as [SimMember, SimMember, SimMember];
    const root = await login(cluster, a, 'root');
    const ann = await login(cluster, b, 'ann');
    await cluster.wait(a.api.roleAdd({ name: 'other' }, root));
    await cluster.wait(a.api.userGrantRole({ user: 'ann', role: 'other' }, root));
    for (const m of [a, b, c]) assert.equal(await cluster.wait(codeOf(get(m, 'a', ann))), 'ok');
    await cluster.wait(a.api.userChangePassword({ name: 'ann', password: 'ann' }, root));
    for (const m of [a, b, c]) {
      assert.equal(await cluster.wait(codeOf(get(m, 'a', root))), 'ok');
      assert.equal(await cluster.wait(codeOf(get(m, 'a', ann))), 'INVALID_AUTH_TOKEN');
    }
    const again = await login(cluster, b, 'ann');
    await cluster.wait(a.api.userDelete({ name: 'ann' }, root));
    await cluster.wait(a.api.userAdd({ name: 'ann', password: 'ann' }, root));
    for (const m of [a, b, c]) {
      assert.equal(await cluster.wait(codeOf(get(m, 'a', root))), 'ok');
      assert.equal(await cluster.wait(codeOf(get(m, 'a', again))), 'INVALID_AUTH_TOKEN');
    }
  });

  test('signed ones are good for their revision alone, on every member, and outlive restarts', async () => {
    const cluster = new SimCluster(3, 4);
    const signed = {
      sign: async ({ username, revision }: { username: string; revision: number }) =>
        `${username}@${revision}`,
      verify: async (token: string) => {
        const [username, revision] = token.split('@');
        return revision === undefined
          ? undefined
          : { username: username as string, revision: Number(revision) };
      },
    };
    cluster.auth = { ...simAuth(cluster.prng), signedTokens: signed };
    for (const m of cluster.members) {
      cluster.crash(m);
      cluster.start(m);
    }
    await withUsers(cluster);
    const [a, b] = cluster.members as [SimMember, SimMember];
    const ann = await login(cluster, a, 'ann');
    const root = await login(cluster, a, 'root');
    cluster.crash(b);
    cluster.start(b);
    assert.equal(await cluster.wait(codeOf(put(b, 'a', ann))), 'ok');
    assert.equal(await cluster.wait(codeOf(put(b, 'x', ann))), 'PERMISSION_DENIED');
    assert.equal(await cluster.wait(codeOf(put(b, 'a', { token: 'nonsense' }))), 'INVALID_AUTH_TOKEN');
    assert.deepEqual(watched(b, 'a', undefined, ann), []);
    await cluster.wait(a.api.roleAdd({ name: 'other' }, root));
    for (const m of [a, b]) assert.equal(await cluster.wait(codeOf(get(m, 'a', ann))), 'AUTH_OLD_REVISION');
    const fresh = await login(cluster, b, 'ann');
    const seen = watched(a, 'a', undefined, fresh);
    assert.equal(await cluster.wait(codeOf(put(b, 'a', fresh))), 'ok');
    await cluster.run(1000, () => seen.length === 2);
    assert.equal(seen[0], 'created');
  });
});

describe('calls', () => {
  test('need a user, a certificate names one, and the server itself needs none', async () => {
    const cluster = await cluster3(10);
    const [a] = cluster.members as [SimMember];
    const results: string[] = [];
    for (const options of [
      {},
      { token: '' },
      { token: 'x' },
      { certificateName: 'ann' },
      { certificateName: 'eve' },
      INTERNAL,
    ]) {
      results.push(await cluster.wait(codeOf(put(a, 'a', options))));
    }
    assert.deepEqual(results, [
      'USER_EMPTY',
      'INVALID_AUTH_TOKEN',
      'INVALID_AUTH_TOKEN',
      'ok',
      'PERMISSION_DENIED',
      'ok',
    ]);
  });

  test('each take the right that the table of the reference says', async () => {
    const cluster = await cluster3(11);
    const [a] = cluster.members as [SimMember];
    const { api } = a;
    const ann = await login(cluster, a, 'ann');
    const root = await login(cluster, a, 'root');
    const anns = (await cluster.wait(api.leaseGrant({ id: 0n, ttlSeconds: 60 }, ann))).id;
    const roots = (await cluster.wait(api.leaseGrant({ id: 0n, ttlSeconds: 60 }, root))).id;
    await cluster.wait(api.put({ key: utf8('a'), lease: anns }, ann));
    await cluster.wait(api.put({ key: utf8('x'), lease: roots }, root));
    const key = utf8('k');
    const denied = (options: CallOptions): Promise<unknown>[] => [
      api.range({ key }, options),
      api.put({ key: utf8('a'), lease: roots }, options),
      api.txn({ compare: [], success: [], failure: [{ type: 'range', range: { key } }] }, options),
      api.txn({ compare: [{ key, target: 'mod', result: 'equal' }], success: [], failure: [] }, options),
      api.leaseRevoke({ id: roots }, options),
      api.leaseTimeToLive({ id: roots, keys: true }, options),
      api.leaseLeases(options),
      api.compact({ revision: 2 }, options),
      api.alarm({ action: 'deactivate', memberId: 1n, alarm: 'nospace' }, options),
      api.hash(options),
      api.hashKv({ revision: 0 }, options),
      api.moveLeader({ targetId: 2n }, options),
      api.defragment(options),
      api.snapshot(options)[Symbol.asyncIterator]().next(),
      api.downgrade({ action: 'cancel', version: '' }, options),
      api.memberAdd({ peerUrls: ['http://127.0.0.1:1'] }, options),
      api.memberRemove({ id: 1n }, options),
      api.memberUpdate({ id: 1n, peerUrls: ['http://127.0.0.1:1'] }, options),
      api.memberPromote({ id: 1n }, options),
      api.authStatus(options),
      api.authDisable(options),
      api.userAdd({ name: 'eve', password: '' }, options),
      api.userList(options),
      api.userGet({ name: 'root' }, options),
      api.userDelete({ name: 'root' }, options),
      api.userChangePassword({ name: 'ann', password: 'x' }, options),
      api.userGrantRole({ user: 'ann', role: 'root' }, options),
      api.userRevokeRole({ name: 'ann', role: 'r' }, options),
      api.roleAdd({ name: 'q' }, options),
      api.roleGet({ role: 'q' }, options),
      api.roleList(options),
      api.roleDelete({ role: 'r' }, options),
      api.roleGrantPermission({ name: 'r', permission: permissionOf('read', 'k') }, options),
      api.roleRevokePermission({ role: 'r', key: utf8('a') }, options),
    ];
    for (const [i, call] of denied(ann).map(codeOf).entries()) {
      assert.equal(await cluster.wait(call), 'PERMISSION_DENIED', `call ${i}`);
    }
    const open = (options: CallOptions): Promise<unknown>[] => [
      api.range({ key: utf8('a'), rangeEnd: utf8('b') }, options),
      api.txn({ compare: [], success: [], failure: [] }, options),
      api.leaseGrant({ id: 0n, ttlSeconds: 60 }, options),
      api.leaseTimeToLive({ id: anns, keys: true }, options),
      api.leaseTimeToLive({ id: roots }, options),
      api.status(options),
      api.alarm({ action: 'get', memberId: 0n, alarm: 'none' }, options),
      api.userGet({ name: 'ann' }, options),
      api.roleGet({ role: 'r' }, options),
    ];
    for (const [i, call] of open(ann).map(codeOf).entries()) {
      assert.equal(await cluster.wait(call), 'ok', `call ${i}`);
    }
    for (const [i, call] of [...denied({}), ...open({})].map(codeOf).entries()) {
      assert.equal(await cluster.wait(call), 'USER_EMPTY', `call ${i}`);
    }
    assert.equal(await cluster.wait(codeOf(api.leaseRevoke({ id: anns }, ann))), 'ok');
    assert.equal(await cluster.wait(codeOf(api.leaseLeases(root))), 'ok');
    assert.equal(await cluster.wait(codeOf(api.leaseKeepAlive({ id: roots }, ann))), 'PERMISSION_DENIED');
    for (const anybody of [root, {}, { token: 'of nobody.1' }]) {
      assert.equal(await cluster.wait(codeOf(api.memberList({ linearizable: true }, anybody))), 'ok');
      assert.equal(await cluster.wait(codeOf(api.leaseKeepAlive({ id: roots }, anybody))), 'ok');
    }
  });

  test('a right taken away is gone on every member for whatever comes later', async () => {
    const cluster = await cluster3(12);
    const [a, b, c] = cluster.members as [SimMember, SimMember, SimMember];
    const root = await login(cluster, a, 'root');
    const ann = await login(cluster, a, 'ann');
    cluster.network.options.delayMs = 60;
    const permission = { role: 'r', key: utf8('a'), rangeEnd: utf8('b') };
    for (let i = 0; i < 5; i++) {
      await cluster.wait(a.api.roleRevokePermission(permission, root));
      const refused = [b, c].flatMap((m) => [codeOf(get(m, 'a', ann)), codeOf(put(m, 'a', ann))]);
      assert.deepEqual(await cluster.wait(Promise.all(refused)), Array(4).fill('PERMISSION_DENIED'));
      const given = { name: 'r', permission: permissionOf('readwrite', 'a', 'b') };
      await cluster.wait(a.api.roleGrantPermission(given, root));
      const allowed = [b, c].flatMap((m) => [codeOf(get(m, 'a', ann)), codeOf(put(m, 'a', ann))]);
      assert.deepEqual(await cluster.wait(Promise.all(allowed)), Array(4).fill('ok'));
    }
  });

  test('a refused write leaves nothing in the log', async () => {
    const cluster = await cluster3(13);
    const [a] = cluster.members as [SimMember];
    const ann = await login(cluster, a, 'ann');
    const member = (await cluster.elect()).member as Member;
    const before = member.raftStatus().commit;
    for (let i = 0; i < 10; i++) {
      assert.equal(await cluster.wait(codeOf(put(a, 'x', ann))), 'PERMISSION_DENIED');
    }
    assert.equal(member.raftStatus().commit, before);
  });

  test('what was asked for without a user and applies after authentication came on is refused', async () => {
    const cluster = new SimCluster(1, 14);
    const [m] = cluster.members as [SimMember];
    await withUsers(cluster);
    await cluster.wait(m.api.authDisable(await login(cluster, m, 'root')));
    const [enabled, write] = [codeOf(m.api.authEnable()), codeOf(put(m, 'a', {}))];
    assert.equal(await cluster.wait(enabled), 'ok');
    assert.equal(await cluster.wait(write), 'USER_EMPTY');
    assert.equal(m.member?.machine.currentRevision, 1);
  });

  test('leases end by time and checkpoints are kept while authentication is on', async () => {
    const cluster = await cluster3(15);
    const [a] = cluster.members as [SimMember];
    const ann = await login(cluster, a, 'ann');
    const { id } = await cluster.wait(a.api.leaseGrant({ id: 0n, ttlSeconds: 3 }, ann));
    await cluster.wait(a.api.put({ key: utf8('a'), lease: id }, ann));
    await cluster.run(6000);
    assert.equal((await cluster.wait(get(a, 'a', ann))).count, 0);
  });
});

describe('passwords', () => {
  test('wrong ones, unknown users and users without one are told as etcd tells them', async () => {
    const cluster = await cluster3(20);
    const [a] = cluster.members as [SimMember];
    const root = await login(cluster, a, 'root');
    await cluster.wait(a.api.userAdd({ name: 'cert', password: '', noPassword: true }, root));
    const tried = (name: string, password: string) =>
      cluster.wait(codeOf(a.api.authenticate({ name, password })));
    assert.equal(await tried('ann', 'wrong'), 'AUTH_FAILED');
    assert.equal(await tried('eve', ''), 'AUTH_FAILED');
    assert.equal(await tried('cert', ''), 'AUTH_NO_PASSWORD_USER');
    assert.equal(await tried('ann', 'ann'), 'ok');
    assert.equal(
      await cluster.wait(codeOf(a.api.userAdd({ name: 'l', password: 'x'.repeat(73) }, root))),
      'INVALID_AUTH_MANAGEMENT',
    );
    assert.equal(await cluster.wait(codeOf(put(a, 'a', { certificateName: 'cert' }))), 'PERMISSION_DENIED');
    const log = cluster.logs.join('\n');
    assert.ok(!log.includes('wrong') && !log.includes('eve'), log);
  });

  test('names that no backup could hold are refused', async () => {
    const cluster = await cluster3(12);
    const [a] = cluster.members as [SimMember];
    const root = await login(cluster, a, 'root');
    const fits = '\u{1f4a3}'.repeat(8192);
    for (const [name, code] of [
      [fits, 'ok'],
      [`${fits}x`, 'INVALID_AUTH_MANAGEMENT'],
    ] as const) {
      const user = a.api.userAdd({ name, password: '', noPassword: true }, root);
      assert.equal(await cluster.wait(codeOf(user)), code);
      assert.equal(await cluster.wait(codeOf(a.api.roleAdd({ name }, root))), code);
    }
  });

  test('a password changed while it is compared does not let the old one in', async () => {
    const cluster = await cluster3(21);
    const [a] = cluster.members as [SimMember];
    const root = await login(cluster, a, 'root');
    const ports = simAuth(cluster.prng);
    let finish = (): void => {};
    let compared = 0;
    const api = new LocalApi(a.member as Member, {
      version: '3.6.5',
      quotaBytes: 0,
      auth: {
        ...ports,
        passwords: {
          hash: ports.passwords.hash,
          verify: async (password, hashed) => {
            if (++compared === 1) await new Promise<void>((resolve) => (finish = resolve));
            return ports.passwords.verify(password, hashed);
          },
        },
      },
    });
    const old = codeOf(api.authenticate({ name: 'ann', password: 'ann' }));
    await cluster.run(1000, () => compared === 1);
    await cluster.wait(a.api.userChangePassword({ name: 'ann', password: 'new' }, root));
    finish();
    assert.equal(await cluster.wait(old), 'AUTH_FAILED');
    assert.equal(await cluster.wait(codeOf(api.authenticate({ name: 'ann', password: 'new' }))), 'ok');
  });

  test('a login while users are added all the time compares once and gets in', async () => {
    const cluster = await cluster3(22);
    const [a] = cluster.members as [SimMember];
    const root = await login(cluster, a, 'root');
    let adding = true;
    const adder = (async () => {
      for (let i = 0; adding && i < 1000; i++) await a.api.userAdd({ name: `u${i}`, password: '' }, root);
    })();
    for (let i = 0; i < 5; i++) await login(cluster, a, 'ann');
    adding = false;
    await cluster.wait(adder);
  });
});

describe('watches', () => {
  test('that may not be are told so alone', async () => {
    const cluster = await cluster3(30);
    const [a, b] = cluster.members as [SimMember, SimMember];
    const ann = await login(cluster, a, 'ann');
    const seen = [
      watched(b, 'x', undefined, ann),
      watched(b, 'a', 'c', ann),
      watched(b, 'a', undefined, {}),
      watched(b, 'a', undefined, { token: 'nonsense' }),
      watched(b, 'a', undefined, { token: 'aaaaaaaaaaaaaaaa.999999' }),
      watched(b, 'a', 'b', ann),
      watched(b, 'x', undefined, INTERNAL),
    ];
    assert.deepEqual(seen.flat(), []);
    await cluster.run(2000);
    assert.deepEqual(seen, [
      [DENIED],
      [DENIED],
      [NOBODY],
      [BAD_TOKEN],
      [BAD_TOKEN],
      ['created'],
      ['created'],
    ]);
  });

  test('see what came before their right ended and nothing after it, though it was given back at once', async () => {
    for (const seed of [31, 32, 33, 34]) {
      const cluster = await cluster3(seed);
      const [a] = cluster.members as [SimMember];
      const leader = await cluster.elect();
      const ann = await login(cluster, a, 'ann');
      const root = await login(cluster, leader, 'root');
      const synced = cluster.members.map((m) => watched(m, 'a', 'b', ann));
      let isFull = false;
      const full = cluster.members.map((m) => watched(m, 'a', 'b', ann, () => !isFull));
      const roots = cluster.members.map((m) => watched(m, 'a', 'b', root));
      await cluster.run(1000);
      isFull = true;
      const revoke = { role: 'r', key: utf8('a'), rangeEnd: utf8('b') };
      const grant = { name: 'r', permission: permissionOf('readwrite', 'a', 'b') };
      // One batch of the log, were it not for the rights.
      const calls = [
        put(leader, 'a1', INTERNAL),
        put(leader, 'a2', INTERNAL),
        leader.api.roleRevokePermission(revoke, INTERNAL),
        put(leader, 'a3', INTERNAL),
        leader.api.roleGrantPermission(grant, INTERNAL),
        put(leader, 'a4', INTERNAL),
      ];
      await cluster.wait(Promise.all(calls));
      await cluster.run(1000);
      for (const seen of synced) assert.deepEqual(seen, ['created', 'put a1@2', 'put a2@3', DENIED]);
      for (const seen of full) assert.deepEqual(seen, ['created', 'put a1@2', DENIED]);
      for (const seen of roots) assert.equal(seen.length, 5);
    }
  });

  test('end with their user, not with a password; those of nobody end when users come to count', async () => {
    const cluster = await cluster3(35);
    const [a] = cluster.members as [SimMember];
    const ann = await login(cluster, a, 'ann');
    const root = await login(cluster, a, 'root');
    const anns = watched(a, 'a', undefined, ann);
    await cluster.wait(a.api.userChangePassword({ name: 'ann', password: 'new' }, root));
    await cluster.wait(put(a, 'a', root));
    await cluster.run(100);
    assert.deepEqual(anns, ['created', 'put a@2']);
    await cluster.wait(a.api.userDelete({ name: 'ann' }, root));
    assert.deepEqual(anns, ['created', 'put a@2', DENIED]);
    await cluster.wait(a.api.authDisable(root));
    const nobodys = watched(a, 'a', undefined, {});
    const named = watched(a, 'a', undefined, { certificateName: 'root' });
    await cluster.wait(put(a, 'a', {}));
    await cluster.wait(a.api.authEnable());
    assert.deepEqual(nobodys, ['created', 'put a@3', NOBODY]);
    await cluster.wait(put(a, 'a', INTERNAL));
    await cluster.run(100);
    assert.deepEqual(named, ['created', 'put a@3', 'put a@4']);
  });

  test('a member that got an image in place of the log ends watches whose right went meanwhile', async () => {
    const cluster = await cluster3(36);
    const leader = await cluster.elect();
    const cut = cluster.members.find((m) => m !== leader) as SimMember;
    const root = await login(cluster, leader, 'root');
    const ann = await login(cluster, cut, 'ann');
    const seen = watched(cut, 'a', 'b', ann);
    await cluster.run(500);
    for (const m of cluster.members) if (m !== cut) cluster.network.cut(m.id, cut.id);
    await cluster.wait(leader.api.roleDelete({ role: 'r' }, root));
    await cluster.wait(put(leader, 'a', root));
    cluster.deliverImage(leader, cut);
    const applied = (leader.member as Member).applied;
    await cluster.run(2000, () => (cut.member as Member).applied >= applied);
    assert.deepEqual(seen, ['created', DENIED]);
    cluster.network.heal();
    await cluster.run(3000);
    assert.equal(await cluster.wait(codeOf(get(cut, 'a', ann))), 'INVALID_AUTH_TOKEN');
  });
});

/** etcd 14571: members came apart when rights changed while others wrote. */
test('members stay equal while rights change under writes, leaders move and members restart', async () => {
  for (const seed of [40, 41, 42, 43, 44, 45]) {
    const cluster = new SimCluster(3, seed);
    await withUsers(cluster);
    const tally = new Map<string, number>();
    const count = async (call: Promise<unknown>): Promise<void> => {
      const code = await codeOf(call);
      tally.set(code, (tally.get(code) ?? 0) + 1);
    };
    const { prng } = cluster;
    const anyone = (): SimMember => prng.pick(cluster.live());
    const ann: CallOptions = { certificateName: 'ann', timeoutMs: 2000 };
    const root: CallOptions = { certificateName: 'root', timeoutMs: 2000 };
    const permission = { role: 'r', key: utf8('a'), rangeEnd: utf8('b') };
    const changes: (() => Promise<unknown>)[] = [
      () => anyone().api.roleRevokePermission(permission, root),
      () =>
        anyone().api.roleGrantPermission(
          { name: 'r', permission: permissionOf('readwrite', 'a', 'b') },
          root,
        ),
      () =>
        anyone().api.roleGrantPermission(
          { name: 'r', permission: permissionOf('readwrite', 'a', 'b') },
          root,
        ),
      () => anyone().api.authDisable(root),
      () => anyone().api.authEnable(),
      () => anyone().api.userDelete({ name: 'ann' }, root),
      () => anyone().api.userAdd({ name: 'ann', password: 'p' }, root),
      () => anyone().api.userGrantRole({ user: 'ann', role: 'r' }, root),
    ];
    for (let round = 0; round < 150; round++) {
      for (let i = 0; i < 4; i++) {
        const who = prng.pick([ann, ann, root, { timeoutMs: 2000 }]);
        void count(put(anyone(), prng.pick(['a', 'a1', 'x']), who));
      }
      if (prng.chance(0.5)) void codeOf(prng.pick(changes)());
      await cluster.run(prng.int(1, 6) * 5);
      if (round % 50 === 25) {
        const victim = prng.pick(cluster.members);
        cluster.crash(victim);
        await cluster.run(500);
        cluster.start(victim);
      }
    }
    // Those of killed members never end.
    await cluster.run(10_000);
    const target = Math.max(...cluster.members.map((m) => (m.member as Member).raftStatus().commit));
    await cluster.run(20_000, () => cluster.members.every((m) => (m.member as Member).applied >= target));
    const hashes = cluster.members.map((m) => (m.member as Member).machine.storeHash());
    assert.equal(new Set(hashes).size, 1, `seed ${seed}: ${hashes}`);
    for (const code of ['ok', 'PERMISSION_DENIED', 'USER_EMPTY']) {
      assert.ok((tally.get(code) ?? 0) > 5, `seed ${seed}: ${code} in ${JSON.stringify([...tally])}`);
    }
  }
});

test('what a user wrote is what the user could write when it was applied', async () => {
  const cluster = await cluster3(50);
  const leader = await cluster.elect();
  const ann = await login(cluster, leader, 'ann');
  const revoke = { role: 'r', key: utf8('a'), rangeEnd: utf8('b') };
  // Checked before and applied after the revocation: all in one turn.
  const calls = [
    codeOf(put(leader, 'a', ann, 'before')),
    codeOf(leader.api.roleRevokePermission(revoke, INTERNAL)),
    codeOf(put(leader, 'a', ann, 'after')),
    codeOf(leader.api.deleteRange({ key: utf8('a') }, ann)),
    codeOf(
      leader.api.txn({ compare: [], success: [{ type: 'put', put: { key: utf8('a') } }], failure: [] }, ann),
    ),
  ];
  assert.deepEqual(await cluster.wait(Promise.all(calls)), [
    'ok',
    'ok',
    ...Array(3).fill('PERMISSION_DENIED'),
  ]);
  const { kvs } = await cluster.wait(get(leader, 'a', INTERNAL));
  assert.equal(utf8Text(kvs[0]?.value as Uint8Array), 'before');
});
