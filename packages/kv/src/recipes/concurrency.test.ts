import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { ManualClock, utf8, utf8Text } from '@muster/base';
import { KvError } from '@muster/contract';
import { StoreApi } from '../../../gateway/test/store-api.ts';
import type { ConcurrencyApi, LeaderKey } from '../api.ts';
import { createConcurrency } from './concurrency.ts';

type Made = { readonly api: StoreApi; readonly recipes: ConcurrencyApi };

const name = utf8('my');
const code = (expected: string) => (error: unknown) => error instanceof KvError && error.code === expected;
const turns = async (api: StoreApi, n = 5): Promise<void> => {
  for (let i = 0; i < n; i++) {
    clockOf(api).advance(1);
    await new Promise((resolve) => setImmediate(resolve));
  }
};
const clocks = new WeakMap<StoreApi, ManualClock>();
function clockOf(api: StoreApi): ManualClock {
  return clocks.get(api) as ManualClock;
}
function made(): Made {
  const clock = new ManualClock();
  const api = new StoreApi(clock);
  clocks.set(api, clock);
  return { api, recipes: createConcurrency(api) };
}

async function keys(api: StoreApi): Promise<string[]> {
  const { kvs } = await api.range({ key: new Uint8Array([0]), rangeEnd: new Uint8Array([0]) });
  return kvs.map((kv) => utf8Text(kv.key));
}

/** What a promise came to, once it has. */
function follow<T>(promise: Promise<T>): { value?: T; error?: unknown } {
  const seen: { value?: T; error?: unknown } = {};
  promise.then(
    (value) => {
      seen.value = value;
    },
    (error) => {
      seen.error = error;
    },
  );
  return seen;
}

describe('locks', () => {
  test('the key is the name, a slash and the lease in hex', async () => {
    const { api, recipes } = made();
    await api.leaseGrant({ id: 0x694d_71abn, ttlSeconds: 60 });
    await api.leaseGrant({ id: -8n, ttlSeconds: 60 });
    const held = await recipes.lock({ name, lease: 0x694d_71abn });
    assert.equal(utf8Text(held.key), 'my/694d71ab');
    assert.equal(held.header.revision, 2);
    const again = await recipes.lock({ name, lease: 0x694d_71abn });
    assert.equal(utf8Text(again.key), 'my/694d71ab');
    assert.equal(again.header.revision, 2);
    const other = await recipes.lock({ name: utf8('other'), lease: -8n });
    assert.equal(utf8Text(other.key), 'other/-8');
    const { header } = await recipes.unlock({ key: held.key });
    assert.equal(header.revision, 4);
    assert.equal((await recipes.unlock({ key: held.key })).header.revision, 4);
    await assert.rejects(recipes.unlock({ key: new Uint8Array() }), code('EMPTY_KEY'));
  });

  test('lease 0 is one of a minute that the server grants', async () => {
    const { api, recipes } = made();
    const { key } = await recipes.lock({ name, lease: 0n });
    const { leases } = await api.leaseLeases();
    assert.equal(leases.length, 1);
    const { grantedTtlSeconds } = await api.leaseTimeToLive({ id: leases[0] as bigint });
    assert.equal(grantedTtlSeconds, 60);
    assert.equal(utf8Text(key), `my/${(leases[0] as bigint).toString(16)}`);
  });

  test('an unknown lease is refused as the store refuses it', async () => {
    const { api, recipes } = made();
    await assert.rejects(recipes.lock({ name, lease: 77n }), code('LEASE_NOT_FOUND'));
    assert.deepEqual(await keys(api), []);
  });

  test('the queue is served in the order of arrival', async () => {
    const { api, recipes } = made();
    const order: number[] = [];
    const held: Uint8Array[] = [];
    for (const id of [9n, 3n, 7n, 1n]) {
      await api.leaseGrant({ id, ttlSeconds: 60 });
      void recipes.lock({ name, lease: id }).then(({ key }) => {
        order.push(Number(id));
        held.push(key);
      });
      await turns(api);
    }
    for (let n = 1; n <= 4; n++) {
      assert.equal(order.length, n);
      await recipes.unlock({ key: held[n - 1] as Uint8Array });
      await turns(api);
    }
    assert.deepEqual(order, [9, 3, 7, 1]);
    assert.deepEqual(await keys(api), []);
  });

  test('a lease that is lost while its place waits', async () => {
    const { api, recipes } = made();
    for (const id of [1n, 2n]) await api.leaseGrant({ id, ttlSeconds: 60 });
    await recipes.lock({ name, lease: 1n });
    const waiting = follow(recipes.lock({ name, lease: 2n }));
    await turns(api);
    await api.leaseRevoke({ id: 2n });
    await turns(api);
    assert.ok(code('SESSION_EXPIRED')(waiting.error), String(waiting.error));
    assert.deepEqual(await keys(api), ['my/1']);
  });

  test('who gives up leaves nothing behind, and those after it move up', async () => {
    const { api, recipes } = made();
    for (const id of [1n, 2n, 3n]) await api.leaseGrant({ id, ttlSeconds: 60 });
    const { key } = await recipes.lock({ name, lease: 1n });
    const gone = new AbortController();
    const second = follow(recipes.lock({ name, lease: 2n }, { signal: gone.signal }));
    await turns(api);
    const third = follow(recipes.lock({ name, lease: 3n }));
    await turns(api);
    gone.abort(new KvError('DEADLINE'));
    await turns(api);
    assert.ok(code('DEADLINE')(second.error), String(second.error));
    assert.deepEqual(await keys(api), ['my/1', 'my/3']);
    assert.deepEqual(Object.keys(third), []);
    await recipes.unlock({ key });
    await turns(api);
    assert.equal(utf8Text(third.value?.key ?? new Uint8Array()), 'my/3');
    assert.deepEqual(api.hub.stats().watchers, 0);
  });

  test('who gives up with a lease of the server leaves no lease either', async () => {
    const { api, recipes } = made();
    await api.leaseGrant({ id: 1n, ttlSeconds: 60 });
    await recipes.lock({ name, lease: 1n });
    const gone = new AbortController();
    const second = follow(recipes.lock({ name, lease: 0n }, { signal: gone.signal }));
    await turns(api);
    assert.equal((await api.leaseLeases()).leases.length, 2);
    gone.abort();
    await turns(api);
    assert.ok(code('CANCELED')(second.error));
    assert.deepEqual((await api.leaseLeases()).leases, [1n]);
    assert.deepEqual(await keys(api), ['my/1']);
  });

  test('giving up just as the turn comes', async () => {
    const { api, recipes } = made();
    for (const id of [1n, 2n]) await api.leaseGrant({ id, ttlSeconds: 60 });
    const { key } = await recipes.lock({ name, lease: 1n });
    const gone = new AbortController();
    const second = follow(recipes.lock({ name, lease: 2n }, { signal: gone.signal }));
    await turns(api);
    await recipes.unlock({ key });
    gone.abort();
    await turns(api);
    assert.ok(code('CANCELED')(second.error));
    assert.deepEqual(await keys(api), []);
  });

  test('a second call of the lease that gives up does not take the lock from the first', async () => {
    const { api, recipes } = made();
    for (const id of [1n, 2n]) await api.leaseGrant({ id, ttlSeconds: 60 });
    const { key } = await recipes.lock({ name, lease: 1n });
    const first = follow(recipes.lock({ name, lease: 2n }));
    await turns(api);
    const gone = new AbortController();
    const second = follow(recipes.lock({ name, lease: 2n }, { signal: gone.signal }));
    await turns(api);
    await recipes.unlock({ key });
    gone.abort();
    await turns(api);
    assert.ok(first.value !== undefined && code('CANCELED')(second.error));
    assert.deepEqual(await keys(api), ['my/2']);
  });
});

describe('elections', () => {
  test('campaign, leader, proclaim, resign', async () => {
    const { api, recipes } = made();
    await api.leaseGrant({ id: 5n, ttlSeconds: 60 });
    await assert.rejects(recipes.leader({ name }), code('ELECTION_NO_LEADER'));
    const { leader, header } = await recipes.campaign({ name, lease: 5n, value: utf8('a') });
    assert.deepEqual(leader, { name, key: utf8('my/5'), rev: 2, lease: 5n });
    assert.equal(header.revision, 2);
    assert.equal(utf8Text((await recipes.leader({ name })).kv.value), 'a');
    await recipes.proclaim({ leader, value: utf8('b') });
    assert.equal(utf8Text((await recipes.leader({ name })).kv.value), 'b');
    const again = await recipes.campaign({ name, lease: 5n, value: utf8('c') });
    assert.equal(again.leader.rev, 2);
    assert.equal(utf8Text((await recipes.leader({ name })).kv.value), 'c');
    const wrong = { ...leader, rev: 1 };
    await assert.rejects(recipes.proclaim({ leader: wrong, value: utf8('x') }), code('ELECTION_NOT_LEADER'));
    await recipes.resign({ leader: wrong });
    assert.deepEqual(await keys(api), ['my/5']);
    await recipes.resign({ leader });
    await recipes.resign({ leader });
    assert.deepEqual(await keys(api), []);
    await assert.rejects(recipes.proclaim({ leader, value: utf8('x') }), code('ELECTION_NOT_LEADER'));
    const missing: LeaderKey | undefined = undefined;
    await assert.rejects(
      recipes.proclaim({ leader: missing, value: utf8('x') }),
      code('ELECTION_LEADER_MISSING'),
    );
    await assert.rejects(recipes.resign({ leader: missing }), code('ELECTION_LEADER_MISSING'));
  });

  test('observe: the leader now, each change of it, and nothing while there is none', async () => {
    const { api, recipes } = made();
    for (const id of [1n, 2n]) await api.leaseGrant({ id, ttlSeconds: 60 });
    const seen: string[] = [];
    const stop = new AbortController();
    const done = (async () => {
      for await (const { kv, header } of recipes.observe({ name }, { signal: stop.signal })) {
        seen.push(`${utf8Text(kv.key)}=${utf8Text(kv.value)} at ${header.revision}`);
      }
    })();
    await turns(api);
    assert.deepEqual(seen, []);
    const { leader } = await recipes.campaign({ name, lease: 1n, value: utf8('a') });
    const second = recipes.campaign({ name, lease: 2n, value: utf8('z') });
    await turns(api);
    await recipes.proclaim({ leader, value: utf8('b') });
    await turns(api);
    await recipes.resign({ leader });
    await turns(api);
    await recipes.resign({ leader: (await second).leader });
    await turns(api);
    await recipes.campaign({ name, lease: 1n, value: utf8('c') });
    await turns(api);
    assert.deepEqual(seen, ['my/1=a at 2', 'my/1=b at 4', 'my/2=z at 5', 'my/1=c at 7']);
    stop.abort();
    await done;
    assert.equal(api.hub.stats().watchers, 0);
  });

  test('an observer that stops while it waits', async () => {
    const { api, recipes } = made();
    const leaders = recipes.observe({ name })[Symbol.asyncIterator]();
    const next = follow(leaders.next());
    await turns(api);
    assert.equal(api.hub.stats().watchers, 1);
    await leaders.return?.();
    await turns(api);
    assert.equal((next.value as { done?: boolean }).done, true);
    assert.equal(api.hub.stats().watchers, 0);
    const stop = new AbortController();
    const idle = recipes.observe({ name }, { signal: stop.signal })[Symbol.asyncIterator]();
    await api.leaseGrant({ id: 1n, ttlSeconds: 60 });
    await recipes.campaign({ name, lease: 1n, value: utf8('a') });
    await idle.next();
    stop.abort();
    await turns(api);
    assert.equal(api.hub.stats().watchers, 0, 'nobody asks for the next leader, and still the watch is gone');
  });

  test('a refusal ends the observer with its error', async () => {
    const { api, recipes } = made();
    api.failure = new KvError('PERMISSION_DENIED');
    const leaders = recipes.observe({ name })[Symbol.asyncIterator]();
    await assert.rejects(leaders.next(), code('PERMISSION_DENIED'));
    assert.deepEqual(await leaders.next(), { done: true, value: undefined });
  });
});
