/** Debian's Patroni, unchanged, on three members of the real etcd and of Muster, without and with users. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Child } from '../support/child.ts';
import { debianFile } from '../support/debian.ts';
import { canRun, KINDS, type Servers, startServers } from './servers.ts';

/** Debian's own interpreter: another one on the path would not find Debian's modules. */
const PYTHON = '/usr/bin/python3';
const SCRIPT = new URL('python/patroni_dcs.py', import.meta.url).pathname;
const present = debianFile('/usr/lib/python3/dist-packages/patroni/dcs/etcd3.py', 'patroni') !== undefined;

/** A user that has what Patroni's own guide gives it: the keys of its name space. */
async function addUsers({ endpoints }: Servers): Promise<void> {
  const call = async (path: string, body: object) => {
    const answer = await fetch(`${endpoints[0]}/v3${path}`, { method: 'POST', body: JSON.stringify(body) });
    assert.equal(answer.status, 200, `${path}: ${await answer.text()}`);
  };
  const base64 = (text: string) => Buffer.from(text).toString('base64');
  const key = base64('/service/');
  const range_end = base64('/service0');
  await call('/auth/user/add', { name: 'root', password: 'root' });
  await call('/auth/role/add', { name: 'root' });
  await call('/auth/user/grant', { user: 'root', role: 'root' });
  await call('/auth/user/add', { name: 'patroni', password: 'secret' });
  await call('/auth/role/add', { name: 'patroni' });
  await call('/auth/role/grant', { name: 'patroni', perm: { permType: 'READWRITE', key, range_end } });
  await call('/auth/user/grant', { user: 'patroni', role: 'patroni' });
  await call('/auth/enable', {});
}

for (const kind of KINDS) {
  for (const withUsers of [false, true]) {
    const title = `patroni on ${kind}, ${withUsers ? 'as a user' : 'without users'}`;
    describe(title, { skip: !present || !canRun(kind), timeout: 120_000 }, () => {
      test('locks, renews, watches, fails over and races', async () => {
        const servers = await startServers(kind, { size: 3 });
        try {
          if (withUsers) await addUsers(servers);
          const credentials = withUsers ? ['patroni', 'secret'] : ['', ''];
          const members = servers.endpoints.map((url, i) => `${url}=${servers.children[i]?.process.pid}`);
          const client = new Child(PYTHON, [SCRIPT, ...credentials, ...members]);
          const limit = setTimeout(() => client.process.kill(), 100_000);
          client.exited.finally(() => clearTimeout(limit));
          assert.equal(await client.exited, 'exit code 0', client.output);
          assert.match(client.output, /^ok$/m);
        } finally {
          await servers.stop();
        }
      });
    });
  }
}
