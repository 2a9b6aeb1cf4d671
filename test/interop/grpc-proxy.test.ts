/** etcd's own `etcd grpc-proxy` before a cluster: it coalesces watches, caches, and passes the rest on. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { describe, test } from 'node:test';
import { Etcd3 } from 'etcd3';
import { Child } from '../support/child.ts';
import { debianProgram } from '../support/debian.ts';
import { freePorts } from '../support/ports.ts';
import { canRun, KINDS, startServers } from './servers.ts';

const proxyProgram = debianProgram('etcd', 'etcd-server');

for (const kind of KINDS) {
  const skip = proxyProgram === undefined || !canRun(kind);
  describe(`etcd grpc-proxy before ${kind}`, { skip, timeout: 60_000 }, () => {
    test('serves reads, writes, watches, leases, locks and elections', async () => {
      const servers = await startServers(kind, { size: 3 });
      const [port] = await freePorts(1);
      const proxy = new Child(proxyProgram as string, [
        'grpc-proxy',
        'start',
        `--endpoints=${servers.addresses.join(',')}`,
        `--listen-addr=127.0.0.1:${port}`,
      ]);
      const client = new Etcd3({ hosts: `http://127.0.0.1:${port}` });
      try {
        await proxy.ready(() => client.get('ready').exec());
        await useThrough(client);
      } finally {
        client.close();
        await proxy.stop('SIGKILL');
        await servers.stop();
      }
    });
  });
}

async function useThrough(client: Etcd3): Promise<void> {
  const watchers = await Promise.all([1, 2, 3].map(() => client.watch().prefix('proxy/').create()));
  const seen = watchers.map((watcher) => {
    const puts: string[] = [];
    watcher.on('put', (kv) => puts.push(`${kv.key}=${kv.value}`));
    return { puts, gone: once(watcher, 'delete') };
  });
  await client.put('proxy/a').value('1');
  assert.equal(await client.get('proxy/a').string(), '1');
  const outcome = await client
    .if('proxy/a', 'Value', '==', '1')
    .then(client.put('proxy/a').value('2'))
    .commit();
  assert.equal(outcome.succeeded, true);
  await client.delete().key('proxy/a');
  for (const { puts, gone } of seen) {
    await gone;
    assert.deepEqual(puts, ['proxy/a=1', 'proxy/a=2']);
  }
  await Promise.all(watchers.map((watcher) => watcher.cancel()));
  const lease = client.lease(5);
  await lease.put('proxy/leased').value('x');
  assert.equal((await lease.keepaliveOnce()).TTL, '5');
  await lease.revoke();
  assert.equal(await client.get('proxy/leased').string(), null);
  const lock = client.lock('proxy/lock').ttl(5);
  await lock.acquire();
  await lock.release();
  const campaign = client.election('proxy/leader', 5).campaign('me');
  await campaign.wait();
  await campaign.resign();
}
