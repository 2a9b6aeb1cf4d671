/** Credentials and certificates of the client of a remote cluster, on the real etcd. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { utf8, utf8Text } from '@muster/base';
import { KvError } from '@muster/contract';
import type { WatchResponse } from '@muster/kv';
import { connectEtcd } from '@muster/wire';
import { CertificateAuthority } from '../support/certificates.ts';
import { Child } from '../support/child.ts';
import { debianProgram } from '../support/debian.ts';
import { startEtcd } from '../support/etcd.ts';
import { temporaryDirectory } from '../support/muster.ts';
import { freePorts } from '../support/ports.ts';

const program = debianProgram('etcd', 'etcd-server');
const skip = program === undefined ? 'the etcd-server package of Debian is missing' : false;
const refused = (code: string) => (error: unknown) => error instanceof KvError && error.code === code;

/** Resolves with the first response that `wanted` accepts. */
function told(wanted: (response: WatchResponse) => boolean) {
  let resolve: (response: WatchResponse) => void;
  const first = new Promise<WatchResponse>((done) => {
    resolve = done;
  });
  const sink = (response: WatchResponse) => {
    if (wanted(response)) resolve(response);
    return true;
  };
  return { first, sink };
}

test('a user is authenticated when it is asked for, again when its token is too old, and is told what it may not', {
  skip,
  timeout: 60_000,
}, async () => {
  // Simple tokens of one second: they run out while the test goes on.
  const etcd = await startEtcd(program as string, ['--auth-token-ttl=1', '--bcrypt-cost=4']);
  const open = connectEtcd({ endpoints: [etcd.url] });
  const endpoints = [etcd.url];
  const root = connectEtcd({ endpoints, credentials: { name: 'root', password: 'r' } });
  const user = connectEtcd({ endpoints, credentials: { name: 'u', password: 'p' } });
  const wrong = connectEtcd({ endpoints, credentials: { name: 'u', password: 'wrong' } });
  try {
    // Credentials do no harm while authentication is off.
    await root.api.put({ key: utf8('open/a'), value: utf8('1') });
    await root.api.userAdd({ name: 'root', password: 'r' });
    await root.api.roleAdd({ name: 'root' });
    await root.api.userGrantRole({ user: 'root', role: 'root' });
    await root.api.userAdd({ name: 'u', password: 'p' });
    await root.api.roleAdd({ name: 'some' });
    const permission = { type: 'readwrite', key: utf8('some/'), rangeEnd: utf8('some0') } as const;
    await root.api.roleGrantPermission({ name: 'some', permission });
    await root.api.userGrantRole({ user: 'u', role: 'some' });
    await root.api.authEnable();
    await root.api.put({ key: utf8('root/a'), value: utf8('1') });
    assert.deepEqual((await root.api.userGet({ name: 'u' })).roles, ['some']);
    assert.deepEqual((await root.api.roleGet({ role: 'some' })).permissions, [permission]);

    await user.api.put({ key: utf8('some/a'), value: utf8('1') });
    await assert.rejects(user.api.range({ key: utf8('root/a') }), refused('PERMISSION_DENIED'));
    await assert.rejects(open.api.range({ key: utf8('some/a') }), refused('USER_EMPTY'));
    await assert.rejects(wrong.api.range({ key: utf8('some/a') }), refused('AUTH_FAILED'));
    const { token } = await open.api.authenticate({ name: 'u', password: 'p' });
    assert.equal((await open.api.range({ key: utf8('some/a') }, { token })).count, 1);
    // A caller's own token goes before the client's credentials, and is not renewed for it.
    await assert.rejects(root.api.range({ key: utf8('root/a') }, { token }), refused('PERMISSION_DENIED'));

    const events = told((response) => response.type === 'events');
    user.api.watch({ key: utf8('some/b') }, events.sink);
    const denied = told((response) => response.type === 'canceled');
    user.api.watch({ key: utf8('root/a') }, denied.sink);
    const cancel = await denied.first;
    assert.match(cancel.type === 'canceled' ? cancel.reason : '', /permission denied/);

    // Any use of a token keeps it: it runs out in a second of silence.
    await assert.rejects(async () => {
      for (;;) {
        await new Promise((resolve) => setTimeout(resolve, 2200));
        await open.api.range({ key: utf8('some/a') }, { token });
      }
    }, refused('INVALID_AUTH_TOKEN'));
    await user.api.put({ key: utf8('some/b'), value: utf8('2') });
    const event = await events.first;
    assert.equal(event.type === 'events' && utf8Text(event.batch.events[0]?.kv.value as Uint8Array), '2');
    const later = told((response) => response.type === 'created');
    await new Promise((resolve) => setTimeout(resolve, 2200));
    user.api.watch({ key: utf8('some/c') }, later.sink);
    await later.first;
    const { id } = await user.api.leaseGrant({ id: 0n, ttlSeconds: 60 });
    assert.equal((await user.api.leaseKeepAlive({ id })).ttlSeconds, 60);
    await root.api.authDisable();
    await user.api.put({ key: utf8('root/a'), value: utf8('3') });
  } finally {
    for (const remote of [open, root, user, wrong]) remote.close();
    await etcd.stop();
  }
});

test('over TLS: with the right certificates, and with none of the wrong ones', {
  skip,
  timeout: 60_000,
}, async () => {
  const ca = new CertificateAuthority();
  const other = new CertificateAuthority('another authority');
  const server = ca.issue({ name: 'server', hosts: ['localhost', 'etcd.internal'] });
  const client = ca.issue({ name: 'client', usage: 'clientAuth' });
  const stranger = other.issue({ name: 'stranger' });
  const [port, peerPort] = await freePorts(2);
  const url = `https://127.0.0.1:${port}`;
  const peer = `http://127.0.0.1:${peerPort}`;
  const etcd = new Child(program as string, [
    '--name=one',
    `--data-dir=${join(temporaryDirectory('etcd-tls'), 'data')}`,
    `--listen-client-urls=${url}`,
    `--advertise-client-urls=${url}`,
    `--listen-peer-urls=${peer}`,
    `--initial-advertise-peer-urls=${peer}`,
    `--initial-cluster=one=${peer}`,
    '--client-cert-auth',
    `--trusted-ca-file=${ca.cert}`,
    `--cert-file=${server.cert}`,
    `--key-file=${server.key}`,
  ]);
  const pem = (file: string) => readFileSync(file);
  const own = { cert: pem(client.cert), key: pem(client.key) };
  const reads = async (tls: Parameters<typeof connectEtcd>[0]['tls']) => {
    const remote = connectEtcd({ endpoints: [url], dialTimeoutMs: 600, ...(tls ? { tls } : {}) });
    try {
      return (await remote.api.range({ key: utf8('a') })).count;
    } finally {
      remote.close();
    }
  };
  try {
    await etcd.ready(() => reads({ ca: pem(ca.cert), ...own }));
    assert.equal(await reads({ ca: pem(ca.cert), ...own, serverName: 'etcd.internal' }), 0);
    assert.equal(await reads({ ...own, insecureSkipVerify: true }), 0);
    const no = refused('UNAVAILABLE');
    await assert.rejects(reads({ ca: pem(ca.cert), ...own, serverName: 'elsewhere' }), no);
    await assert.rejects(reads({ ca: pem(other.cert), ...own }), no);
    await assert.rejects(reads({ ca: pem(ca.cert) }), no);
    await assert.rejects(reads({ ca: pem(ca.cert), cert: pem(stranger.cert), key: pem(stranger.key) }), no);
    await assert.rejects(reads(undefined), no);
    const renewed = connectEtcd({
      endpoints: [url],
      dialTimeoutMs: 4000,
      tls: { ca: pem(other.cert), ...own },
    });
    try {
      await assert.rejects(renewed.api.range({ key: utf8('a') }, { timeoutMs: 600 }), refused('DEADLINE'));
      assert.throws(() => renewed.renewTls({ cert: pem(stranger.cert) }), /key values mismatch/);
      renewed.renewTls({ ca: pem(ca.cert) });
      assert.equal((await renewed.api.range({ key: utf8('a') }, { timeoutMs: 10_000 })).count, 0);
    } finally {
      renewed.close();
    }
  } finally {
    await etcd.stop('SIGKILL');
  }
});
