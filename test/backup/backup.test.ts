/** Snapshots of a cluster under load, restored by Muster and by the real etcd, and the other way about. */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { appendFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { Prng, utf8, utf8Text } from '@muster/base';
import { parseInitialCluster, restoreSnapshot, snapshotStatus, verifySnapshot } from '@muster/disk';
import type { EtcdApi } from '@muster/kv';
import { connectEtcd, type RemoteEtcd } from '@muster/wire';
import { Child } from '../support/child.ts';
import { debianProgram } from '../support/debian.ts';
import { healthy, startEtcd } from '../support/etcd.ts';
import { type MusterCluster, startMuster, temporaryDirectory } from '../support/muster.ts';
import { freePorts } from '../support/ports.ts';

const etcd = debianProgram('etcd', 'etcd-server');
const etcdctl = debianProgram('etcdctl', 'etcd-client');
const skip = etcd && etcdctl ? false : 'the etcd-server and etcd-client packages of Debian are missing';

const ALL = { key: new Uint8Array([0]), rangeEnd: new Uint8Array([0]) };

function ctl(...args: string[]): string {
  return execFileSync(etcdctl as string, args, {
    env: { ...process.env, ETCDCTL_API: '3' },
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

async function save(api: EtcdApi, path: string): Promise<void> {
  writeFileSync(path, '');
  for await (const { blob } of api.snapshot()) appendFileSync(path, blob);
}

/** Everything alive at a revision, and what HashKV says of it. */
async function contentAt(api: EtcdApi, revision: number): Promise<unknown> {
  const { kvs } = await api.range({ ...ALL, revision });
  const { hash } = await api.hashKv({ revision });
  return { hash, kvs };
}

const restoredCluster = (snapshot: string, size: number, token = 'etcd-cluster'): Promise<MusterCluster> =>
  startMuster(size, {
    flags: ['--initial-cluster-state=existing', `--initial-cluster-token=${token}`],
    prepare: async ({ name, dataDir, peerUrl }, initialCluster) => {
      await restoreSnapshot({
        snapshot,
        name,
        initialCluster: parseInitialCluster(initialCluster),
        initialClusterToken: token,
        initialAdvertisePeerUrls: [peerUrl],
        dataDir,
      });
    },
  });

/** Puts, deletes, transactions and leased keys until told to stop. */
async function load(remote: RemoteEtcd, prng: Prng, stop: AbortSignal): Promise<void> {
  const { api } = remote;
  const { id } = await api.leaseGrant({ id: 0n, ttlSeconds: 600 });
  while (!stop.aborted) {
    const key = utf8(`load/${prng.int(0, 500)}`);
    const value = new Uint8Array(prng.int(0, 400)).fill(prng.int(97, 122));
    if (prng.chance(0.1)) await api.deleteRange({ key });
    else if (prng.chance(0.2)) {
      const success = [0, 1, 2].map((i) => ({
        type: 'put' as const,
        put: { key: utf8(`txn/${prng.int(0, 50)}/${i}`), value },
      }));
      await api.txn({ compare: [], success, failure: [] });
    } else await api.put({ key, value, ...(prng.chance(0.2) && { lease: id }) });
  }
}

test('a snapshot taken under load is restored into a new cluster with the content of its revision', {
  timeout: 120_000,
}, async () => {
  const source = await startMuster(3);
  const remote = connectEtcd({ endpoints: source.endpoints });
  let restored: MusterCluster | undefined;
  try {
    const stop = new AbortController();
    const loads = Array.from({ length: 8 }, (_, i) => load(remote, new Prng(i), stop.signal));
    const path = join(temporaryDirectory('backup'), 's.db');
    while ((await remote.api.range({ key: utf8('x') })).header.revision! < 2000);
    await remote.api.compact({ revision: 700 });
    await save(remote.api, path);
    const { header } = await remote.api.range({ key: utf8('x') });
    stop.abort();
    await Promise.all(loads);
    verifySnapshot(path);
    const { revision } = snapshotStatus(path);
    assert.ok(revision >= 2000 && revision <= header.revision!);
    restored = await restoredCluster(path, 3, 'another');
    for (const endpoint of restored.endpoints) {
      const again = connectEtcd({ endpoints: [endpoint] });
      const now = await again.api.range(ALL);
      assert.equal(now.header.revision, revision);
      assert.notEqual(now.header.clusterId, header.clusterId);
      for (const at of [700, 1500, revision])
        assert.deepEqual(await contentAt(again.api, at), await contentAt(remote.api, at));
      assert.deepEqual((await again.api.leaseLeases()).leases.length, 8);
      await again.close();
    }
    const again = connectEtcd({ endpoints: restored.endpoints });
    assert.equal((await again.api.put({ key: utf8('a'), value: utf8('b') })).header.revision, revision + 1);
    await again.close();
    // Its members start again as any others do.
    await restored.members[0]?.stop();
    await restored.members[0]?.start();
  } finally {
    await remote.close();
    await source.close();
    await restored?.close();
  }
});

test('etcd reads, restores and serves a snapshot of Muster', { skip, timeout: 60_000 }, async () => {
  const dir = temporaryDirectory('backup');
  const source = await startMuster(1);
  const remote = connectEtcd({ endpoints: source.endpoints });
  const [client, peer] = (await freePorts(2)).map((port) => `http://127.0.0.1:${port}`) as [string, string];
  let child: Child | undefined;
  try {
    const { api } = remote;
    const { id } = await api.leaseGrant({ id: 0n, ttlSeconds: 500 });
    for (let i = 0; i < 300; i++)
      await api.put({
        key: utf8(`k${i % 40}`),
        value: new Uint8Array(i * 30).fill(i),
        lease: i % 7 ? 0n : id,
      });
    await api.deleteRange({ key: utf8('k3') });
    await api.compact({ revision: 150, physical: true });
    const path = join(dir, 's.db');
    ctl('--endpoints', source.endpoints[0] as string, 'snapshot', 'save', path);
    const { hash, revision, totalKey, totalSize } = JSON.parse(ctl('snapshot', 'status', path, '-w', 'json'));
    const own = snapshotStatus(path);
    assert.deepEqual(
      [own.hash, own.revision, own.totalKeys, own.totalSize],
      [hash, revision, totalKey, totalSize],
    );
    const data = join(dir, 'real');
    const cluster = `real=${peer}`;
    const flags = [
      '--name=real',
      `--data-dir=${data}`,
      `--initial-advertise-peer-urls=${peer}`,
      `--initial-cluster=${cluster}`,
    ];
    ctl('snapshot', 'restore', path, ...flags);
    child = new Child(etcd as string, [
      ...flags,
      `--listen-client-urls=${client}`,
      `--advertise-client-urls=${client}`,
      `--listen-peer-urls=${peer}`,
      '--initial-cluster-state=existing',
    ]);
    await child.ready(() => healthy(client));
    const real = connectEtcd({ endpoints: [client] });
    assert.equal((await real.api.range(ALL)).header.revision, revision);
    for (const at of [200, 290, revision])
      assert.deepEqual(await contentAt(real.api, at), await contentAt(api, at));
    assert.deepEqual(
      (await real.api.leaseTimeToLive({ id, keys: true })).keys.map(utf8Text).sort(),
      (await api.leaseTimeToLive({ id, keys: true })).keys.map(utf8Text).sort(),
    );
    assert.equal((await real.api.put({ key: utf8('a'), value: utf8('b') })).header.revision, revision + 1);
    // Ids are etcd's own.
    const { memberId, clusterId } = await restoreSnapshot({
      snapshot: path,
      name: 'real',
      initialCluster: parseInitialCluster(cluster),
      initialClusterToken: 'etcd-cluster',
      initialAdvertisePeerUrls: [peer],
      dataDir: join(dir, 'ours'),
    });
    const { header } = await real.api.status();
    assert.deepEqual([memberId, clusterId], [header.memberId, header.clusterId]);
    await real.close();
  } finally {
    await child?.stop('SIGKILL');
    await remote.close();
    await source.close();
  }
});

test("Muster restores etcd's snapshot: history, leases, users", { skip, timeout: 60_000 }, async () => {
  const dir = temporaryDirectory('backup');
  const source = await startEtcd(etcd as string);
  const remote = connectEtcd({ endpoints: [source.url] });
  let restored: MusterCluster | undefined;
  try {
    const { api } = remote;
    const { id } = await api.leaseGrant({ id: -77n, ttlSeconds: 500 });
    for (let i = 0; i < 300; i++)
      await api.put({
        key: utf8(`k${i % 40}`),
        value: new Uint8Array(i * 30).fill(i),
        lease: i % 7 ? 0n : id,
      });
    await api.deleteRange({ key: utf8('k3') });
    await api.compact({ revision: 150, physical: true });
    await api.roleAdd({ name: 'r' });
    await api.roleGrantPermission({
      name: 'r',
      permission: { type: 'read', key: utf8('k'), rangeEnd: new Uint8Array([0]) },
    });
    await api.userAdd({ name: 'u', password: 'secret' });
    await api.userGrantRole({ user: 'u', role: 'r' });
    await api.userAdd({ name: 'root', password: 'toor' });
    await api.userGrantRole({ user: 'root', role: 'root' });
    const path = join(dir, 's.db');
    await save(api, path);
    restored = await restoredCluster(path, 1);
    const again = connectEtcd({ endpoints: restored.endpoints });
    const { revision } = snapshotStatus(path);
    assert.equal((await again.api.range(ALL)).header.revision, revision);
    for (const at of [200, 290, revision])
      assert.deepEqual(await contentAt(again.api, at), await contentAt(api, at));
    assert.deepEqual(
      (await again.api.leaseTimeToLive({ id, keys: true })).keys.map(utf8Text).sort(),
      (await api.leaseTimeToLive({ id, keys: true })).keys.map(utf8Text).sort(),
    );
    assert.deepEqual(
      (await again.api.roleGet({ role: 'r' })).permissions,
      (await api.roleGet({ role: 'r' })).permissions,
    );
    assert.deepEqual((await again.api.userGet({ name: 'u' })).roles, ['r']);
    await again.api.authEnable();
    const user = connectEtcd({
      endpoints: restored.endpoints,
      credentials: { name: 'u', password: 'secret' },
    } as never);
    assert.equal((await user.api.range({ key: utf8('k1') })).kvs.length, 1);
    await assert.rejects(user.api.put({ key: utf8('k1'), value: utf8('') }), { code: 'PERMISSION_DENIED' });
    await user.close();
    await again.close();
  } finally {
    await remote.close();
    await source.stop();
    await restored?.close();
  }
});

test('a snapshot that was cut short or altered is refused by name, as etcd refuses it', {
  skip,
  timeout: 60_000,
}, async () => {
  const dir = temporaryDirectory('backup');
  const source = await startMuster(1);
  const remote = connectEtcd({ endpoints: source.endpoints });
  try {
    for (let i = 0; i < 100; i++) await remote.api.put({ key: utf8(`k${i}`), value: new Uint8Array(500) });
    const path = join(dir, 's.db');
    await save(remote.api, path);
    const whole = readFileSync(path);
    const altered = Buffer.from(whole);
    altered.write('XXXX', 9000);
    for (const [name, bytes] of [
      ['altered.db', altered],
      ['cut.db', whole.subarray(0, whole.length - 4096)],
      ['shorter.db', whole.subarray(0, 20_000)],
    ] as const) {
      const file = join(dir, name);
      writeFileSync(file, bytes);
      const options = {
        snapshot: file,
        name: 'x',
        initialCluster: parseInitialCluster('x=http://127.0.0.1:1'),
        initialClusterToken: 'etcd-cluster',
        initialAdvertisePeerUrls: ['http://127.0.0.1:1'],
        dataDir: join(dir, `${name}.ours`),
      };
      const args = [
        '--name=x',
        '--initial-cluster=x=http://127.0.0.1:1',
        '--initial-advertise-peer-urls=http://127.0.0.1:1',
      ];
      const theirs = spawnSync(
        etcdctl as string,
        ['snapshot', 'restore', file, `--data-dir=${dir}/${name}.theirs`, ...args],
        {
          env: { ...process.env, ETCDCTL_API: '3' },
          encoding: 'utf8',
        },
      );
      const said = /^Error: (.*)$/m.exec(theirs.stderr)?.[1] as string;
      await assert.rejects(restoreSnapshot(options), { name: 'SnapshotRefused', message: said });
      assert.ok(!existsSync(options.dataDir));
    }
  } finally {
    await remote.close();
    await source.close();
  }
});
