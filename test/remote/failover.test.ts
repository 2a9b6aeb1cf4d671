/** The client of a remote cluster when members and connections fail, on three members of etcd and three of Muster. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Prng, prefixEnd, utf8, utf8Text } from '@muster/base';
import { KvError } from '@muster/contract';
import type { WatchResponse } from '@muster/kv';
import { connectEtcd } from '@muster/wire';
import type { TestCluster } from '../support/clusters.ts';
import { CutProxy } from '../support/cut-proxy.ts';
import { debianProgram } from '../support/debian.ts';
import { startEtcdCluster } from '../support/etcd-cluster.ts';
import { startMuster } from '../support/muster.ts';
import { freePorts } from '../support/ports.ts';

const program = debianProgram('etcd', 'etcd-server');
const skip = program === undefined ? 'the etcd-server package of Debian is missing' : false;

describe('etcd', { skip }, () => suite(() => startEtcdCluster(program as string, 3)));
describe('Muster', () => suite(() => startMuster(3)));

/** Collects what a watch is told. */
class Seen {
  readonly values: string[] = [];
  readonly types: string[] = [];
  room = true;
  #wake = () => {};

  readonly sink = (response: WatchResponse): boolean => {
    this.types.push(response.type === 'canceled' ? `canceled ${response.reason}` : response.type);
    if (response.type === 'events')
      this.values.push(...response.batch.events.map((event) => utf8Text(event.kv.value)));
    this.#wake();
    return this.room;
  };

  async until(done: () => boolean): Promise<void> {
    while (!done()) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}

const prefix = (text: string) => ({ key: utf8(text), rangeEnd: prefixEnd(utf8(text)) as Uint8Array });
const numbers = (count: number) => Array.from({ length: count }, (_, i) => String(i));

function suite(start: () => Promise<TestCluster>): void {
  let cluster: TestCluster;
  before(async () => {
    cluster = await start();
  });
  after(() => cluster?.close());

  test('reads go on while members are killed and started again, writes fail rather than run twice', {
    timeout: 60_000,
  }, async () => {
    const remote = connectEtcd({ endpoints: cluster.endpoints });
    try {
      const key = utf8('failover/count');
      await remote.api.put({ key, value: utf8('0') });
      let acknowledged = 0;
      let unknown = 0;
      for (const member of cluster.members) {
        const stopped = member.stop('SIGKILL');
        for (let i = 0; i < 40; i++) {
          try {
            await remote.api.put({ key, value: utf8(String(i)) }, { timeoutMs: 10_000 });
            acknowledged++;
          } catch (error) {
            assert.ok(error instanceof KvError && error.row.grpc === 14, String(error));
            unknown++;
          }
          await remote.api.range({ key }, { timeoutMs: 10_000 });
        }
        await stopped;
        await member.start();
      }
      const { kvs } = await remote.api.range({ key });
      const version = kvs[0]?.version ?? 0;
      assert.ok(acknowledged > 100, `${acknowledged} writes were acknowledged`);
      assert.ok(
        version >= 1 + acknowledged && version <= 1 + acknowledged + unknown,
        `version ${version} after ${acknowledged} acknowledged and ${unknown} unknown writes`,
      );
    } finally {
      remote.close();
    }
  });

  test('a watch through connections that are cut tells every change once, in order', {
    timeout: 60_000,
  }, async () => {
    const seed = Date.now();
    console.log(`seed ${seed}`);
    const prng = new Prng(seed);
    const proxies = await Promise.all(cluster.endpoints.map((url) => CutProxy.start(url, prng, 4000)));
    const remote = connectEtcd({ endpoints: proxies.map(({ url }) => url), prng });
    const direct = connectEtcd({ endpoints: cluster.endpoints });
    try {
      const whole = new Seen();
      const odd = new Seen();
      remote.api.watch(prefix('cut/'), whole.sink);
      remote.api.watch({ key: utf8('cut/1') }, odd.sink);
      await Promise.all([whole.until(() => whole.types.length > 0), odd.until(() => odd.types.length > 0)]);
      for (const proxy of proxies) proxy.cutting = true;
      for (const value of numbers(600)) {
        await direct.api.put({ key: utf8(`cut/${Number(value) % 2}`), value: utf8(value) });
      }
      for (const proxy of proxies) proxy.cutting = false;
      await whole.until(() => whole.values.length >= 600);
      await odd.until(() => odd.values.length >= 300);
      assert.deepEqual(whole.values, numbers(600));
      assert.deepEqual(
        odd.values,
        numbers(600).filter((value) => Number(value) % 2 === 1),
      );
      assert.deepEqual(new Set(whole.types), new Set(['created', 'events']), 'created once, nothing else');
      assert.equal(whole.types.filter((type) => type === 'created').length, 1);
      const cuts = proxies.reduce((sum, { cuts }) => sum + cuts, 0);
      assert.ok(cuts >= 5, `${cuts} cuts`);
    } finally {
      remote.close();
      direct.close();
      await Promise.all(proxies.map((proxy) => proxy.close()));
    }
  });

  test('a full sink holds up nobody, and gets everything when it has room again', {
    timeout: 60_000,
  }, async () => {
    const remote = connectEtcd({ endpoints: cluster.endpoints });
    try {
      const slow = new Seen();
      const fast = new Seen();
      const handle = remote.api.watch(prefix('slow/'), slow.sink);
      remote.api.watch(prefix('slow/'), fast.sink);
      await Promise.all([slow.until(() => slow.types.length > 0), fast.until(() => fast.types.length > 0)]);
      slow.room = false;
      for (const value of numbers(300)) await remote.api.put({ key: utf8('slow/key'), value: utf8(value) });
      await fast.until(() => fast.values.length >= 300);
      assert.deepEqual(slow.values, ['0']);
      // Room for one at a time, then for all.
      handle.resume();
      await slow.until(() => slow.values.length >= 2);
      slow.room = true;
      handle.resume();
      await slow.until(() => slow.values.length >= 300);
      assert.deepEqual(slow.values, numbers(300));
      assert.deepEqual(fast.values, numbers(300));
    } finally {
      remote.close();
    }
  });

  test('a thousand watches share streams, and each hears of its own key', { timeout: 60_000 }, async () => {
    const remote = connectEtcd({ endpoints: cluster.endpoints });
    try {
      const all = numbers(1000).map((name) => {
        const seen = new Seen();
        return { name, seen, handle: remote.api.watch({ key: utf8(`many/${name}`) }, seen.sink) };
      });
      await Promise.all(all.map(({ seen }) => seen.until(() => seen.types.length > 0)));
      await Promise.all(
        all.map(({ name }) => remote.api.put({ key: utf8(`many/${name}`), value: utf8(name) })),
      );
      await Promise.all(all.map(({ seen }) => seen.until(() => seen.values.length > 0)));
      for (const { name, seen } of all) assert.deepEqual(seen.values, [name]);
      for (const { handle } of all) handle.cancel();
      assert.deepEqual(all.at(-1)?.seen.types, ['created', 'events'], 'nothing after a cancel');
    } finally {
      remote.close();
    }
  });

  test('keepalives and locks outlive the member that they went to', { timeout: 60_000 }, async () => {
    const remote = connectEtcd({ endpoints: cluster.endpoints });
    try {
      const { id } = await remote.api.leaseGrant({ id: 0n, ttlSeconds: 30 });
      for (const member of cluster.members) {
        await member.stop('SIGKILL');
        const { ttlSeconds } = await remote.api.leaseKeepAlive({ id }, { timeoutMs: 10_000 });
        assert.equal(ttlSeconds, 30);
        await member.start();
      }
      const { key } = await remote.concurrency.lock({ name: utf8('lock'), lease: id });
      const abort = new AbortController();
      const second = await remote.api.leaseGrant({ id: 0n, ttlSeconds: 30 });
      const waiting = remote.concurrency.lock(
        { name: utf8('lock'), lease: second.id },
        { signal: abort.signal },
      );
      abort.abort();
      await assert.rejects(waiting, (error) => error instanceof KvError && error.code === 'CANCELED');
      await remote.concurrency.unlock({ key });
      const third = await remote.api.leaseGrant({ id: 0n, ttlSeconds: 30 });
      await remote.concurrency.lock({ name: utf8('lock'), lease: third.id }, { timeoutMs: 10_000 });
    } finally {
      remote.close();
    }
  });

  test('an election is observed through the loss of a member', { timeout: 60_000 }, async () => {
    const remote = connectEtcd({ endpoints: cluster.endpoints });
    try {
      const name = utf8('election');
      const { id } = await remote.api.leaseGrant({ id: 0n, ttlSeconds: 60 });
      const { leader } = await remote.concurrency.campaign({ name, lease: id, value: utf8('one') });
      const abort = new AbortController();
      const observed = remote.concurrency.observe({ name }, { signal: abort.signal })[Symbol.asyncIterator]();
      assert.equal(utf8Text((await observed.next()).value.kv.value), 'one');
      for (const member of cluster.members) {
        await member.stop('SIGKILL');
        await member.start();
      }
      const next = observed.next();
      await remote.concurrency.proclaim({ leader, value: utf8('two') }, { timeoutMs: 10_000 });
      assert.equal(utf8Text((await next).value.kv.value), 'two');
      await remote.concurrency.resign({ leader });
      await assert.rejects(
        remote.concurrency.leader({ name }),
        (error) => error instanceof KvError && error.code === 'ELECTION_NO_LEADER',
      );
      const last = observed.next();
      abort.abort();
      await assert.rejects(last, (error) => error instanceof KvError && error.code === 'CANCELED');
    } finally {
      remote.close();
    }
  });

  test('the member list replaces the endpoints; one member can be asked alone', {
    timeout: 60_000,
  }, async () => {
    const remote = connectEtcd({ endpoints: [cluster.endpoints[0] as string] });
    try {
      assert.deepEqual([...(await remote.sync())].sort(), [...cluster.endpoints].sort());
      const ids = new Set<bigint>();
      for (const url of cluster.endpoints) {
        const one = remote.direct(url);
        const { header } = await one.status();
        assert.equal((await one.status()).header.memberId, header.memberId);
        ids.add(header.memberId);
        let bytes = 0;
        for await (const { blob } of one.snapshot()) bytes += blob.length;
        assert.ok(bytes > 4096 && bytes % 512 === 32, `${bytes} bytes: pages and 32 of the checksum`);
      }
      assert.equal(ids.size, 3);
    } finally {
      remote.close();
    }
  });
}

test('nobody there: a clear refusal after the dial timeout, a deadline before it, and a signal at once', {
  skip: false,
  timeout: 20_000,
}, async () => {
  const [port] = await freePorts(1);
  const remote = connectEtcd({ endpoints: [`127.0.0.1:${port}`], dialTimeoutMs: 400 });
  const rejects = (code: string, call: Promise<unknown>) =>
    assert.rejects(call, (error) => error instanceof KvError && error.code === code);
  try {
    await rejects('UNAVAILABLE', remote.api.put({ key: utf8('a') }));
    await rejects('DEADLINE', remote.api.range({ key: utf8('a') }, { timeoutMs: 50 }));
    await rejects('CANCELED', remote.api.range({ key: utf8('a') }, { signal: AbortSignal.abort() }));
  } finally {
    remote.close();
  }
  await rejects('CANCELED', remote.api.range({ key: utf8('a') }));
  assert.throws(() => connectEtcd({ endpoints: ['ftp://x'] }), /expected http/);
  assert.throws(() => connectEtcd({ endpoints: [] }), /at least one/);
});
