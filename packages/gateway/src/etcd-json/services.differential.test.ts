/** Locks, elections and what can be asked of one member's cluster, at the real etcd and here. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { debianProgram } from '../../../../test/support/debian.ts';
import { type EtcdProcess, startEtcd } from '../../../../test/support/etcd.ts';
import { Comparison, normal } from '../../test/comparison.ts';
import { ask, RawStream, startServer, type TestServer } from '../../test/gateway-harness.ts';

const etcdBinary = debianProgram('etcd', 'etcd-server');
const b64 = (text: string): string => Buffer.from(text).toString('base64');
const json = JSON.stringify;

describe('etcd and this gateway', { skip: etcdBinary === undefined }, () => {
  let etcd: EtcdProcess;
  let ours: TestServer;
  let both: Comparison;

  before(async () => {
    etcd = await startEtcd(etcdBinary as string);
    ours = await startServer();
    both = new Comparison(Number(new URL(etcd.url).port), ours.port);
  });

  after(async () => {
    await ours?.stop();
    await etcd?.stop();
  });

  async function grant(...ids: readonly number[]): Promise<void> {
    for (const id of ids) await both.compare('/v3/lease/grant', { body: json({ TTL: 100, ID: id }) });
  }

  test('locks', async () => {
    await grant(0x694d71ab, 2, 3, -8);
    const name = b64('my');
    await both.all([
      ['/v3/lock/lock', json({ name, lease: String(0x694d71ab) })],
      ['/v3/lock/lock', json({ name, lease: 0x694d71ab })],
      ['/v3/kv/range', json({ key: b64('my/'), range_end: b64('my0') })],
      ['/v3/lock/lock', json({ name, lease: 77 })],
      ['/v3/lock/lock', json({ name: b64('neg'), lease: -8 })],
      ['/v3/lock/lock', '{"name":7}'],
      ['/v3/lock/lock', '{'],
      ['/v3/lock/lock', '[]'],
      ['/v3beta/lock/unlock', json({ key: b64('my/694d71ab') })],
      ['/v3/lock/unlock', json({ key: b64('my/694d71ab') })],
      ['/v3/lock/unlock', '{}'],
      ['/v3/lock/unlock', ''],
      ['/v3/lock/unlock', 'null'],
    ]);
    for (const port of both.ports) {
      const { json: answer } = await ask(port, '/v3/lock/lock', { body: json({ name: b64('own') }) });
      const { key } = answer as { key: string };
      assert.match(Buffer.from(key, 'base64').toString(), /^own\/[1-9a-f][0-9a-f]*$/);
    }
  });

  test('a lock that waits: until its turn, its deadline, or the end of its lease', async () => {
    const name = b64('queue');
    await grant(11, 12, 13, 14);
    await both.compare('/v3/lock/lock', { body: json({ name, lease: 11 }) });
    await both.compare('/v3/lock/lock', {
      body: json({ name, lease: 12 }),
      headers: { 'Grpc-Timeout': '300m' },
    });
    await both.settled(async (port) => {
      const { text } = await ask(port, '/v3/kv/range', {
        body: json({ key: b64('queue/'), range_end: b64('queue0') }),
      });
      return /"count":"1"/.test(text);
    });
    const waiting = both.compare('/v3/lock/lock', { body: json({ name, lease: 13 }) });
    await both.settled(async (port) => {
      const { text } = await ask(port, '/v3/kv/range', { body: json({ key: b64('queue/d') }) });
      return /"count":"1"/.test(text);
    });
    await both.compare('/v3/lock/unlock', { body: json({ key: b64('queue/b') }) });
    const { status } = await waiting;
    assert.equal(status, 200);
    await both.compare('/v3/kv/range', { body: json({ key: b64('queue/'), range_end: b64('queue0') }) });
  });

  test('elections', async () => {
    const name = b64('vote');
    await grant(21, 22);
    const key = b64('vote/15');
    const { json: won } = await both.compare('/v3/election/campaign', {
      body: json({ name, lease: 21, value: b64('a') }),
    });
    const { rev } = (won as { leader: { rev: string } }).leader;
    const leader = { name, key, rev, lease: '21' };
    await both.all([
      ['/v3/election/leader', json({ name })],
      ['/v3/election/leader', json({ name: b64('nobody') })],
      ['/v3/election/leader', '{"name":"*"}'],
      ['/v3/election/campaign', json({ name, lease: 21, value: b64('b') })],
      ['/v3/election/leader', json({ name })],
      ['/v3/election/campaign', json({ name, lease: 77, value: b64('b') })],
      ['/v3/election/proclaim', json({ leader, value: b64('c') })],
      ['/v3/election/proclaim', json({ leader: { ...leader, rev: '1' }, value: b64('c') })],
      ['/v3/election/proclaim', json({ leader: { ...leader, lease: '77' }, value: b64('c') })],
      ['/v3/election/proclaim', json({ value: b64('c') })],
      ['/v3/election/proclaim', '{"leader":{}}'],
      ['/v3/election/resign', '{}'],
      ['/v3/election/resign', '{"leader":{}}'],
      ['/v3/election/resign', json({ leader: { ...leader, rev: '1' } })],
      ['/v3/election/leader', json({ name })],
      ['/v3/election/resign', json({ leader })],
      ['/v3/election/resign', json({ leader })],
      ['/v3/election/leader', json({ name })],
      ['/v3/election/proclaim', json({ leader, value: b64('c') })],
    ]);
  });

  test('observers see the leader, what it proclaims, and the next one', async () => {
    const name = b64('seen');
    await grant(31, 32);
    for (const body of ['{x', '{', '[]', '{"name":1}']) await both.compare('/v3/election/observe', { body });
    const streams = both.ports.map((port) => new RawStream(port, '/v3/election/observe'));
    for (const stream of streams) {
      stream.send(json({ name }));
      stream.endInput();
    }
    const campaign = (lease: number, value: string): string => json({ name, lease, value: b64(value) });
    const { json: won } = await both.compare('/v3/election/campaign', { body: campaign(31, 'a') });
    const { leader } = won as { leader: object };
    await Promise.all(streams.map((stream) => stream.count(1)));
    await both.compare('/v3/election/proclaim', { body: json({ leader, value: b64('b') }) });
    await Promise.all(streams.map((stream) => stream.count(2)));
    await both.compare('/v3/election/resign', { body: json({ leader }) });
    await both.compare('/v3/election/campaign', { body: campaign(32, 'z') });
    await Promise.all(streams.map((stream) => stream.count(3)));
    const [theirs, mine] = streams.map((stream) => stream.results.map((line) => normal(line)));
    assert.deepEqual(mine, theirs);
    for (const stream of streams) stream.close();
  });
});
