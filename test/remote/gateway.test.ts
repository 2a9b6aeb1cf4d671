/** The stand-alone gateway as a process: with users, over TLS, without its cluster, and when it is told to stop. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { WATCH_PROTOCOL } from '@muster/contract';
import { connectEtcd } from '@muster/wire';
import { Agent, fetch as tlsFetch } from 'undici';
import { WebSocket } from 'ws';
import { CertificateAuthority } from '../support/certificates.ts';
import { Child } from '../support/child.ts';
import { debianProgram } from '../support/debian.ts';
import { startEtcd } from '../support/etcd.ts';
import { startEtcdCluster } from '../support/etcd-cluster.ts';
import { makeGateway } from '../support/gateway.ts';
import { freePorts } from '../support/ports.ts';

const program = debianProgram('etcd', 'etcd-server');
const options = {
  skip: program === undefined ? 'the etcd-server package of Debian is missing' : false,
  timeout: 60_000,
} as const;
const MAIN = new URL('../../apps/gateway/src/main.ts', import.meta.url).pathname;

test('with users: its own for who brings no token, the caller otherwise', options, async () => {
  const etcd = await startEtcd(program as string, ['--bcrypt-cost=4']);
  const [portOwn, portOpen] = await freePorts(2);
  const own = makeGateway(portOwn as number, [etcd.url], ['--user=root:r']);
  const open = makeGateway(portOpen as number, [etcd.url]);
  const setup = connectEtcd({ endpoints: [etcd.url] });
  try {
    await Promise.all([own.start(), open.start()]);
    await setup.api.userAdd({ name: 'root', password: 'r' });
    await setup.api.roleAdd({ name: 'root' });
    await setup.api.userGrantRole({ user: 'root', role: 'root' });
    await setup.api.authEnable();
    const put = (url: string, headers: Record<string, string> = {}) =>
      fetch(`${url}/v3/kv/put`, { method: 'POST', headers, body: '{"key":"YQ==","value":"YQ=="}' });
    assert.equal((await put(own.url)).status, 200);
    const refused = await put(open.url);
    assert.equal(refused.status, 400);
    assert.equal(((await refused.json()) as { message: string }).message, 'etcdserver: user name is empty');
    const authenticate = await fetch(`${open.url}/v3/auth/authenticate`, {
      method: 'POST',
      body: '{"name":"root","password":"r"}',
    });
    const { token } = (await authenticate.json()) as { token: string };
    assert.equal((await put(open.url, { authorization: token })).status, 200);
    assert.equal((await put(own.url, { authorization: 'nonsense' })).status, 401);
  } finally {
    setup.close();
    await Promise.all([own.stop(), open.stop()]);
    await etcd.stop();
  }
});

test('without its cluster: unhealthy, then healthy again; stopped in order', options, async () => {
  const etcd = await startEtcdCluster(program as string, 1);
  const [member] = etcd.members;
  const [port] = await freePorts(1);
  const gateway = makeGateway(port as number, etcd.endpoints, ['--dial-timeout=300ms']);
  await gateway.start();
  try {
    assert.deepEqual(await (await fetch(`${gateway.url}/health`)).json(), { health: 'true', reason: '' });
    const metrics = await (await fetch(`${gateway.url}/metrics`)).text();
    assert.match(metrics, /^muster_gateway_cluster_reachable 1$/m);
    assert.doesNotMatch(metrics, /etcd_server_has_leader/);
    await member?.stop();
    const health = await fetch(`${gateway.url}/health`);
    assert.equal(health.status, 503);
    const read = await fetch(`${gateway.url}/v1/kv/a`);
    assert.equal(read.status, 503);
    assert.equal(((await read.json()) as { code: string }).code, 'UNAVAILABLE');
    await member?.start();
    while ((await fetch(`${gateway.url}/health`)).status !== 200);
    const socket = new WebSocket(`${gateway.url.replace('http', 'ws')}/v1/watch`, WATCH_PROTOCOL);
    await once(socket, 'open');
    const goaway = new Promise<string>((resolve) => {
      socket.on('message', (data) => {
        if (String(data).includes('goaway')) resolve(String(data));
      });
    });
    const stopped = gateway.stop('SIGTERM');
    assert.match(await goaway, /"reason":"shutdown"/);
    socket.close();
    assert.equal(await stopped, 'exit code 0');
  } finally {
    await gateway.stop('SIGKILL');
    await etcd.close();
  }
});

test('over TLS on its own port; flags that do not fit are refused', options, async () => {
  const etcd = await startEtcd(program as string);
  const ca = new CertificateAuthority();
  const server = ca.issue({ name: 'gateway' });
  const client = ca.issue({ name: 'client', usage: 'clientAuth' });
  const [port] = await freePorts(1);
  const url = `https://127.0.0.1:${port}`;
  const flags = [`--endpoints=${etcd.url}`, `--listen-urls=${url}`];
  const files = [`--cert-file=${server.cert}`, `--key-file=${server.key}`, `--trusted-ca-file=${ca.cert}`];
  const gateway = new Child(process.execPath, [MAIN, ...flags, ...files, '--client-cert-auth']);
  const [trusted, own] = [
    readFileSync(ca.cert),
    { cert: readFileSync(client.cert), key: readFileSync(client.key) },
  ];
  const withCertificate = new Agent({ connect: { ca: trusted, ...own } });
  const without = new Agent({ connect: { ca: trusted } });
  try {
    await gateway.ready(async () => {
      const { status } = await tlsFetch(`${url}/health`, { dispatcher: withCertificate });
      assert.equal(status, 200);
    });
    await assert.rejects(tlsFetch(`${url}/health`, { dispatcher: without }));
    const bare = new Child(process.execPath, [MAIN, ...flags]);
    assert.equal(await bare.exited, 'exit code 2');
    assert.match(bare.output, /https URLs take --cert-file and --key-file/);
    const half = new Child(process.execPath, [MAIN, ...flags, `--cert=${client.cert}`]);
    assert.equal(await half.exited, 'exit code 2');
    assert.match(half.output, /--cert and --key are given together/);
  } finally {
    await Promise.all([withCertificate.close(), without.close()]);
    await gateway.stop();
    await etcd.stop();
  }
});
