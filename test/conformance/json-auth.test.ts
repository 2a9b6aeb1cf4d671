/** Users, roles, rights and members over JSON: the same requests to the real etcd and to a running member. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Comparison } from '../../packages/gateway/test/comparison.ts';
import { type Answer, ask } from '../../packages/gateway/test/gateway-harness.ts';
import { debianProgram } from '../support/debian.ts';
import { type EtcdProcess, startEtcd } from '../support/etcd.ts';
import { type MusterCluster, startMuster } from '../support/muster.ts';

const etcdBinary = debianProgram('etcd', 'etcd-server');
const b64 = (text: string): string => Buffer.from(text).toString('base64');
const portOf = (url: string): number => Number(new URL(url).port);
const json = JSON.stringify;

describe('etcd and Muster', { skip: etcdBinary === undefined }, () => {
  let etcd: EtcdProcess;
  let muster: MusterCluster;
  let both: Comparison;

  before(async () => {
    etcd = await startEtcd(etcdBinary as string);
    muster = await startMuster(1);
    both = new Comparison(portOf(etcd.url), portOf(muster.endpoints[0] as string));
    // Both stores at the same revision: a member's own start does not write keys.
    await both.compare('/v3/kv/put', { body: json({ key: b64('a'), value: b64('1') }) });
  });

  after(async () => {
    await muster?.close();
    await etcd?.stop();
  });

  const call = (path: string, body: object = {}): Promise<Answer> =>
    both.compare(`/v3/auth/${path}`, { body: json(body) });

  test('users and roles', async () => {
    await call('authenticate', { name: 'root', password: 'x' });
    await call('enable');
    await call('disable');
    for (const body of [
      { name: 'root', password: 'pw' },
      { name: 'root', password: 'pw' },
      { name: '', password: 'x' },
      {},
      { name: 'bare', options: { no_password: true } },
      { name: 'camel', options: { noPassword: true }, password: 'given' },
      { name: 7 },
    ])
      await call('user/add', body);
    await call('enable');
    for (const body of [{ name: 'reader' }, { name: 'reader' }, { name: '' }, {}])
      await call('role/add', body);
    const range = { key: b64('a'), range_end: b64('c') };
    for (const body of [
      { name: 'reader', perm: { permType: 'READ', ...range } },
      { name: 'reader', perm: { permType: 1, key: b64('w') } },
      { name: 'reader', perm: { permType: 'READWRITE', key: b64('x'), rangeEnd: 'AA==' } },
      { name: 'reader', perm: { permType: 'BOGUS', key: b64('x') } },
      { name: 'nobody', perm: { key: b64('x') } },
    ])
      await call('role/grant', body);
    await call('role/get', { role: 'reader' });
    await call('role/get', { role: 'nobody' });
    await call('role/get', {});
    await call('role/revoke', { role: 'reader', key: b64('w') });
    await call('role/revoke', { role: 'reader', key: b64('w') });
    await call('role/revoke', { role: 'nobody', key: b64('w') });
    await call('role/get', { role: 'reader' });
    await call('role/list');
    await call('user/add', { name: 'ann', password: 'pw' });
    await call('user/grant', { user: 'ann', role: 'reader' });
    await call('user/grant', { user: 'ann', role: 'reader' });
    await call('user/grant', { user: 'ann', role: 'nobody' });
    await call('user/grant', { user: 'nobody', role: 'reader' });
    await call('user/get', { name: 'ann' });
    await call('user/get', { name: 'nobody' });
    await call('user/get', { name: 'bare' });
    await call('user/revoke', { name: 'ann', role: 'root' });
    await call('user/revoke', { name: 'nobody', role: 'reader' });
    await call('user/changepw', { name: 'ann', password: 'new' });
    await call('user/changepw', { name: 'nobody', password: 'new' });
    await call('user/list');
    await call('user/delete', { name: 'nobody' });
    await call('role/delete', { role: 'nobody' });
  });

  test('rights', async () => {
    await call('role/add', { name: 'root' });
    await call('user/grant', { user: 'root', role: 'root' });
    await call('enable');
    await call('authenticate', { name: 'ann', password: 'old' });
    await call('authenticate', { name: 'nobody', password: 'pw' });
    await call('authenticate', { name: 'bare', password: '' });
    const ann = await tokens('ann', 'new');
    const root = await tokens('root', 'pw');
    const kv = (name: string, body: object) => [`/v3/kv/${name}`, json(body)] as const;
    const requests = [
      kv('range', { key: b64('a') }),
      kv('range', { key: b64('a'), range_end: b64('c') }),
      kv('range', { key: b64('a'), range_end: b64('d') }),
      kv('range', { key: b64('x'), range_end: 'AA==' }),
      kv('range', { key: 'AA==', range_end: 'AA==' }),
      kv('put', { key: b64('a'), value: b64('2') }),
      kv('put', { key: b64('y'), value: b64('2'), prev_kv: true }),
      kv('deleterange', { key: b64('a') }),
      kv('deleterange', { key: b64('y') }),
      kv('txn', { compare: [{ key: b64('zzz'), target: 'VERSION' }], success: [] }),
      kv('txn', { compare: [{ key: b64('e'), target: 'VERSION' }], success: [] }),
      kv('txn', { success: [{ request_put: { key: b64('e') } }] }),
      ['/v3/auth/user/list', '{}'],
      ['/v3/auth/user/get', json({ name: 'ann' })],
      ['/v3/auth/user/get', json({ name: 'root' })],
      ['/v3/auth/role/get', json({ role: 'reader' })],
      ['/v3/auth/role/add', json({ name: 'r2' })],
      ['/v3/auth/disable', '{}'],
      ['/v3/cluster/member/add', json({ peerURLs: ['http://127.0.0.1:1'] })],
      ['/v3/election/leader', json({ name: b64('e') })],
      ['/v3/lock/unlock', json({ key: b64('e') })],
    ] as const;
    for (const [path, body] of requests) {
      await both.compare(path, { body });
      await both.compare(path, { body, headers: { Authorization: 'nonsense.1' } });
      await both.compareEach(
        path,
        ann.map((token) => ({ body, headers: { Authorization: token } })),
      );
      await both.compareEach(
        path,
        ann.map((token) => ({ body, headers: { 'Grpc-Metadata-Token': token } })),
      );
    }
    const asRoot = (path: string, body: object) =>
      both.compareEach(
        path,
        root.map((token) => ({ body: json(body), headers: { Authorization: token } })),
      );
    await asRoot('/v3/kv/put', { key: b64('e'), value: b64('1') });
    await asRoot('/v3/auth/user/list', {});
    await asRoot('/v3/auth/user/delete', { name: 'root' });
    await asRoot('/v3/auth/role/delete', { role: 'root' });
    await asRoot('/v3/auth/user/revoke', { name: 'root', role: 'root' });
    await asRoot('/v3/lock/lock', { name: b64('l'), lease: '12345' });
    await asRoot('/v3/election/leader', { name: b64('e') });
    await asRoot('/v3/auth/role/delete', { role: 'reader' });
    await asRoot('/v3/auth/user/get', { name: 'ann' });
    await asRoot('/v3/auth/user/delete', { name: 'ann' });
    await both.compareEach(
      '/v3/kv/range',
      ann.map((token) => ({ body: json({ key: b64('a') }), headers: { Authorization: token } })),
    );
    await asRoot('/v3/auth/disable', {});
    await both.compare('/v3/kv/range', { body: json({ key: b64('a') }) });
  });

  test('members that cannot be added, removed, updated or promoted', async () => {
    const member = (name: string, body: object) =>
      both.compare(`/v3/cluster/member/${name}`, { body: json(body) });
    for (const body of [{}, { peerURLs: [] }, { peerURLs: ['nothing'] }, { peerURLs: 7 }, { peerURLs: [7] }])
      await member('add', body);
    await member('remove', { ID: '12' });
    await member('remove', {});
    await member('update', { ID: '12', peerURLs: ['http://127.0.0.1:1'] });
    await member('promote', { ID: '12' });
    await member('remove', { ID: 'x' });
  });

  test('a snapshot comes as lines of 32 KiB, the checksum last', async () => {
    for (const port of both.ports) {
      const { status, headers, text } = await ask(port, '/v3/maintenance/snapshot', { body: '' });
      assert.equal(status, 200);
      assert.equal(headers['content-type'], 'application/json');
      const lines = text.trimEnd().split('\n');
      const pieces = lines.map((line) => (JSON.parse(line) as Snapshot).result);
      assert.equal(Buffer.from(pieces.at(-1)?.blob ?? '', 'base64').length, 32);
      assert.equal(pieces.at(-1)?.remaining_bytes, undefined);
      const sizes = pieces.slice(0, -1).map(({ blob }) => Buffer.from(blob, 'base64').length);
      let left = sizes.reduce((sum, size) => sum + size, 0);
      sizes.forEach((size, i) => {
        left -= size;
        assert.ok(size === 32 * 1024 || i === sizes.length - 1, `piece ${i} has ${size} bytes`);
        assert.equal(Number(pieces[i]?.remaining_bytes ?? 0), left);
      });
    }
  });

  async function tokens(name: string, password: string): Promise<[string, string]> {
    const answers = await Promise.all(
      both.ports.map((port) => ask(port, '/v3/auth/authenticate', { body: json({ name, password }) })),
    );
    return answers.map(({ json: answer }) => (answer as { token: string }).token) as [string, string];
  }
});

type Snapshot = { readonly result: { readonly blob: string; readonly remaining_bytes?: string } };
