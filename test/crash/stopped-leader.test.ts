/** A leader that stands still for longer than an election timeout, and then goes on as if nothing had been. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type MusterMember, startMuster } from '../support/muster.ts';
import { post } from './load.ts';

const base64 = (text: string) => Buffer.from(text).toString('base64');
const LEASE = '7001';
const STOPPED_MS = 5000;

test('no stale read, no lost write and no early expiry around a leader that stands still for 5 s', async (t) => {
  const cluster = await startMuster(3);
  try {
    const stopped = cluster.members[await cluster.leader()] as MusterMember;
    const others = cluster.members.filter((m) => m !== stopped).map((m) => m.clientUrl);
    await post(stopped.clientUrl, '/v3/lease/grant', { ID: LEASE, TTL: '4' });
    await post(stopped.clientUrl, '/v3/kv/put', { key: base64('leased'), value: base64('x'), lease: LEASE });
    let acknowledged = 0;
    let reads = 0;
    let running = true;
    const keep = async (work: () => Promise<unknown>, everyMs: number) => {
      while (running) {
        await work().catch(() => {});
        await sleep(everyMs);
      }
    };
    const write = async () => {
      const value = acknowledged + 1;
      await post(others[value % 2] as string, '/v3/kv/put', { key: base64('n'), value: base64(`${value}`) });
      acknowledged = value;
    };
    const read = async (url: string) => {
      const least = acknowledged;
      const { kvs } = (await post(url, '/v3/kv/range', { key: base64('n') }, 20_000)) as {
        kvs?: { value: string }[];
      };
      const seen = Number(Buffer.from(kvs?.[0]?.value ?? '', 'base64').toString());
      reads++;
      assert.ok(seen >= least, `read ${seen} after ${least} was acknowledged`);
    };
    const stale: unknown[] = [];
    const checkedRead = (url: string) =>
      read(url).catch((error) => {
        if (error instanceof assert.AssertionError) stale.push(error.message);
      });
    await write();
    const renew = () => post(others[0] as string, '/v3/lease/keepalive', { ID: LEASE }, 2000);
    const loops = [
      keep(write, 2),
      keep(renew, 400),
      ...cluster.endpoints.map((url) => keep(() => checkedRead(url), 5)),
    ];
    await sleep(500);
    stopped.process?.kill('SIGSTOP');
    const pending = Array.from({ length: 20 }, () => checkedRead(stopped.clientUrl));
    await sleep(STOPPED_MS);
    const during = acknowledged;
    stopped.process?.kill('SIGCONT');
    const burst = Array.from({ length: 50 }, () => checkedRead(stopped.clientUrl));
    await sleep(2500);
    running = false;
    await Promise.all([...loops, ...pending, ...burst]);
    t.diagnostic(`${acknowledged} writes, ${during} of them by the end of the stop, ${reads} reads`);
    assert.deepEqual(stale, []);
    assert.ok(during > 50, 'the others went on');
    const { kvs } = (await post(others[0] as string, '/v3/kv/range', { key: base64('leased') })) as {
      kvs?: unknown[];
    };
    assert.equal(kvs?.length, 1, 'the lease was renewed all along');
  } finally {
    for (const member of cluster.members) member.process?.kill('SIGCONT');
    await cluster.close();
  }
});
