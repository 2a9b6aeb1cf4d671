/** The npm package etcd3, as it is published, on the real etcd and on Muster, plain and over TLS. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, describe, test } from 'node:test';
import { Etcd3, EtcdAuthenticationFailedError, EtcdPermissionDeniedError, type IOptions, Range } from 'etcd3';
import { canRun, KINDS, type Servers, startServers } from './servers.ts';

for (const kind of KINDS) {
  for (const tls of [false, true]) {
    const skip = !canRun(kind);
    describe(`etcd3 of npm on ${kind}, ${tls ? 'TLS' : 'plain'}`, { skip, timeout: 120_000 }, () => {
      let servers: Servers;
      let client: Etcd3;
      before(async () => {
        servers = await startServers(kind, { size: 3, tls });
        client = connect(servers);
      });
      after(async () => {
        client?.close();
        await servers?.stop();
      });

      test('puts, gets, lists, counts and deletes', async () => {
        await client.put('kv/a').value('1');
        await client.put('kv/b').value('zwei ☃');
        await client.put('kv/c').value('');
        assert.equal(await client.get('kv/a').string(), '1');
        assert.equal(await client.get('kv/missing').string(), null);
        assert.deepEqual(await client.getAll().prefix('kv/').strings(), {
          'kv/a': '1',
          'kv/b': 'zwei ☃',
          'kv/c': '',
        });
        assert.deepEqual(await client.getAll().prefix('kv/').sort('Key', 'Descend').limit(2).keys(), [
          'kv/c',
          'kv/b',
        ]);
        assert.equal(await client.getAll().prefix('kv/').count(), 3);
        assert.equal(await client.get('kv/a').exists(), true);
        const { deleted } = await client.delete().prefix('kv/');
        assert.equal(deleted, '3');
      });

      test('compares and swaps in a transaction', async () => {
        await client.put('txn/a').value('1');
        const win = await client
          .if('txn/a', 'Value', '==', '1')
          .and('txn/none', 'Create', '==', 0)
          .then(client.put('txn/a').value('2'), client.get('txn/a'))
          .else(client.get('txn/a'))
          .commit();
        assert.equal(win.succeeded, true);
        assert.equal(win.responses.length, 2);
        const lose = await client
          .if('txn/a', 'Version', '<', 2)
          .then(client.delete().key('txn/a'))
          .else(client.get('txn/a'))
          .commit();
        assert.equal(lose.succeeded, false);
        assert.equal(lose.responses[0]?.response_range?.kvs[0]?.value.toString(), '2');
      });

      test('watches a key and a prefix, with previous values, from a revision', async () => {
        const first = await client.put('watch/a').value('0');
        const watcher = await client.watch().prefix('watch/').withPreviousKV().create();
        const seen: string[] = [];
        watcher.on('put', (kv, previous) =>
          seen.push(`${kv.key}=${kv.value} was ${previous?.value ?? 'none'}`),
        );
        const gone = once(watcher, 'delete');
        await client.put('watch/a').value('1');
        await client.put('watch/b').value('2');
        await client.delete().key('watch/a');
        const [kv, previous] = await gone;
        assert.equal(kv.key.toString(), 'watch/a');
        assert.equal(previous.value.toString(), '1');
        assert.deepEqual(seen, ['watch/a=1 was 0', 'watch/b=2 was none']);
        await watcher.cancel();
        const replay = await client.watch().key('watch/a').startRevision(first.header.revision).create();
        const values: string[] = [];
        replay.on('put', (each) => values.push(each.value.toString()));
        await once(replay, 'delete');
        assert.deepEqual(values, ['0', '1']);
        await replay.cancel();
      });

      test('a lease is kept alive, revoked, and runs out when its owner is gone', async () => {
        const lease = client.lease(2);
        await lease.put('lease/a').value('held');
        await once(lease, 'keepaliveSucceeded');
        assert.equal(await client.get('lease/a').string(), 'held');
        const kept = await lease.keepaliveOnce();
        assert.equal(kept.TTL, '2');
        await lease.revoke();
        assert.equal(await client.get('lease/a').string(), null);

        const lost = client.lease(2, { autoKeepAlive: false });
        const watcher = await client.watch().key('lease/b').create();
        const gone = once(watcher, 'delete');
        await lost.put('lease/b').value('left');
        await gone;
        await assert.rejects(lost.keepaliveOnce(), /lease .*expired|not found/i);
        await watcher.cancel();
      });

      test('a lock has one holder at a time', async () => {
        const lock = client.lock('locks/one').ttl(10);
        await lock.acquire();
        await assert.rejects(client.lock('locks/one').ttl(2).acquire(), /Failed to acquire/);
        await lock.release();
        let inside = false;
        await client
          .lock('locks/one')
          .ttl(2)
          .do(async () => {
            inside = true;
          });
        assert.equal(inside, true);
      });

      test('an election hands leadership on, and observers see it', async () => {
        const election = client.election('leaders', 5);
        const first = election.campaign('one');
        await first.wait();
        assert.equal(await election.leader(), 'one');
        const observer = await election.observe();
        assert.equal(observer.leader(), 'one');
        const second = election.campaign('two');
        second.on('error', () => {});
        const elected = once(second, 'elected');
        const changed = new Promise<void>((resolve) =>
          observer.on('change', (value) => value === 'two' && resolve()),
        );
        await first.resign();
        await Promise.all([elected, changed]);
        await second.proclaim('two again');
        assert.equal(await election.leader(), 'two again');
        await observer.cancel();
        await second.resign();
        assert.equal(await election.leader(), undefined);
      });

      test('software transactional memory: concurrent increments all count', async () => {
        await client.put('stm/n').value(0);
        const increment = () =>
          client.stm({ retries: 100 }).transact(async (tx) => {
            const n = Number(await tx.get('stm/n').string());
            await tx.put('stm/n').value(n + 1);
          });
        await Promise.all(Array.from({ length: 10 }, increment));
        assert.equal(await client.get('stm/n').number(), 10);
      });

      test('a namespace sees its own keys alone', async () => {
        const a = client.namespace('ns-a/');
        const b = client.namespace('ns-b/');
        await a.put('x').value('of a');
        await b.put('x').value('of b');
        assert.equal(await a.get('x').string(), 'of a');
        assert.deepEqual(await b.getAll().strings(), { x: 'of b' });
        assert.equal(await client.get('ns-a/x').string(), 'of a');
        await a.delete().all();
        assert.equal(await b.get('x').string(), 'of b');
      });

      test('users and roles: what a user may do, and what is refused', async () => {
        await client.role('root').create();
        const root = await client.user('root').create('root-secret');
        await root.addRole('root');
        const role = await client.role('reader').create();
        await role.grant({ permission: 'Read', range: Range.prefix('shared/') });
        await role.grant({ permission: 'Readwrite', range: Range.prefix('mine/') });
        const user = await client.user('ann').create('ann-secret');
        await user.addRole('reader');
        assert.deepEqual((await client.getUsers()).map((each) => each.name).sort(), ['ann', 'root']);
        await client.auth.authEnable();
        const asRoot = connect(servers, { username: 'root', password: 'root-secret' });
        const asAnn = connect(servers, { username: 'ann', password: 'ann-secret' });
        const wrong = connect(servers, { username: 'ann', password: 'guess' });
        try {
          await asRoot.put('shared/a').value('for all');
          assert.equal(await asAnn.get('shared/a').string(), 'for all');
          await asAnn.put('mine/a').value('hers');
          await assert.rejects(asAnn.put('shared/a').value('no').exec(), EtcdPermissionDeniedError);
          await assert.rejects(asAnn.get('other').exec(), EtcdPermissionDeniedError);
          await assert.rejects(wrong.get('shared/a').exec(), EtcdAuthenticationFailedError);
          await asRoot.auth.authDisable();
          assert.equal(await client.get('mine/a').string(), 'hers');
        } finally {
          for (const each of [asRoot, asAnn, wrong]) each.close();
        }
      });
    });
  }
}

function connect({ endpoints, tls }: Servers, auth?: { username: string; password: string }): Etcd3 {
  const options: IOptions = {
    hosts: [...endpoints],
    ...(tls ? { credentials: { rootCertificate: tls.ca, certChain: tls.cert, privateKey: tls.key } } : {}),
    ...(auth ? { auth } : {}),
  };
  return new Etcd3(options);
}
