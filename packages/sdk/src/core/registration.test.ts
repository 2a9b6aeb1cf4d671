import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock, Prng } from '@muster/base';
import type { KvEvent } from '@muster/contract';
import { type Answer, FakeTransport, settle } from '../../test/fake-transport.ts';
import { Caller } from './caller.ts';
import { Connection } from './connection.ts';
import { Endpoints } from './endpoints.ts';
import { LeaseKeeper } from './lease-keeper.ts';
import { Reconciler } from './registration.ts';
import { SILENT_LOGGER } from './status.ts';
import { TransportError } from './transport.ts';

const KEY = '/muster/default/services/orders/o1';

/** A registration and a registry that the test can make forget, refuse and fall silent. */
function setup() {
  const clock = new ManualClock();
  const prng = new Prng(1);
  const transport = new FakeTransport();
  const endpoints = new Endpoints(['a:1', 'b:1'], clock, prng);
  const caller = new Caller({ endpoints, transport, clock, prng, headers: {} });
  const logger = SILENT_LOGGER;
  const connection = new Connection({
    endpoints,
    transport,
    clock,
    prng,
    logger,
    headers: {},
    clientName: 't',
  });
  const keeper = new LeaseKeeper({ caller, clock, prng, logger });
  const puts: { leaseId: string; status: string; health?: string }[] = [];
  const alive = new Set<string>();
  let rev = 1;
  const registry = {
    put: undefined as (() => Answer | Promise<Answer>) | undefined,
    silent: false,
    puts,
    alive,
    deletes: [] as string[],
  };
  transport.respond = ({ method, url, body }) => {
    if (registry.silent) return Promise.reject(new TransportError('reset', true));
    const sent = body === undefined ? undefined : JSON.parse(String(body));
    if (url.endsWith('/keepalive')) {
      return {
        status: 200,
        body: { results: sent.ids.map((id: string) => ({ id, ttl: alive.has(id) ? 15 : 0 })) },
      };
    }
    if (method === 'DELETE') {
      registry.deletes.push(new URL(url).search);
      return { status: 204 };
    }
    puts.push(sent);
    if (registry.put) return registry.put();
    alive.add(sent.leaseId);
    return { status: 201, body: { leaseId: sent.leaseId, modRevision: ++rev, revision: rev, ttl: 15 } };
  };
  let ids = 0n;
  let health: 'passing' | 'critical' = 'passing';
  const reconciler = new Reconciler(
    { name: 'orders', id: 'o1', ttlSeconds: 15, document: { status: 'up' }, health: () => health },
    { caller, connection, keeper, clock, prng, logger, namespace: undefined, randomId: () => ++ids },
  );
  const states: string[] = [];
  reconciler.onState(({ state }) => states.push(state));
  const pass = async (ms: number) => {
    for (let at = 0; at <= ms; at += 100) {
      await settle();
      clock.advance(100);
    }
    await settle();
  };
  const socket = () => transport.socket;
  const sub = () => socket().subs.at(-1)?.id ?? '';
  return {
    reconciler,
    registry,
    states,
    pass,
    setHealth: (next: typeof health) => {
      health = next;
    },
    watch: () => {
      socket().welcome('e1', rev);
      socket().say({ t: 'subd', id: sub(), mode: 'snapshot', rev });
      socket().say({ t: 'snap', id: sub(), rev, items: [], more: false });
    },
    see: (make: (rev: number) => KvEvent) => {
      rev++;
      socket().say({ t: 'ev', id: sub(), rev, events: [make(rev)] });
    },
  };
}

const written =
  (lease: string) =>
  (rev: number): KvEvent => ({
    type: 'put',
    entry: { key: KEY, lease, modRevision: rev, createRevision: 1, version: 1 },
  });
const deleted = (rev: number): KvEvent => ({ type: 'delete', key: KEY, modRevision: rev });

test('what was tried with one lease id is tried again with the same, until it is confirmed', async () => {
  const { registry, pass, reconciler, states } = setup();
  registry.put = () => Promise.reject(new TransportError('reset', true));
  await pass(30_000);
  assert(registry.puts.length > 5);
  assert.equal(new Set(registry.puts.map(({ leaseId }) => leaseId)).size, 1);
  registry.put = undefined;
  await pass(11_000);
  assert.equal(reconciler.state, 'registered');
  assert.deepEqual(states, ['registered']);
});

test('it holds for as long as it is renewed, with no more than one put and a change of health', async () => {
  const { registry, pass, reconciler, setHealth } = setup();
  await pass(300_000);
  assert.equal(reconciler.state, 'registered');
  assert.deepEqual(
    registry.puts.map(({ health }) => health),
    [undefined, 'passing'],
  );
  setHealth('critical');
  await pass(6_000);
  assert.equal(registry.puts.at(-1)?.health, 'critical');
});

test('a lost lease is replaced at once by another', async () => {
  const { registry, pass, reconciler, states } = setup();
  await pass(1_000);
  const before = reconciler.leaseId;
  registry.alive.clear();
  await pass(6_000);
  assert.notEqual(reconciler.leaseId, before);
  assert.deepEqual(states, ['registered', 'lost', 'registered']);
});

test('a registry that is away for an hour gets the registration when it is back', async () => {
  const { registry, pass, reconciler } = setup();
  await pass(1_000);
  registry.silent = true;
  await pass(3_600_000 / 20);
  assert.equal(reconciler.state, 'lost');
  registry.silent = false;
  await pass(11_000);
  assert.equal(reconciler.state, 'registered');
});

test('a deleted key is put back, and so is one that was overwritten under a lease that is not the present one', async () => {
  const { registry, pass, watch, see, states } = setup();
  await pass(1_000);
  watch();
  const puts = registry.puts.length;
  see(deleted);
  await pass(1_000);
  assert.equal(registry.puts.length, puts + 1);
  await pass(31_000);
  see(written('00000000000000aa'));
  await pass(1_000);
  assert.equal(registry.puts.length, puts + 2);
  assert.deepEqual(states, ['registered', 'lost', 'registered', 'lost', 'registered']);
});

test('two that fight for one id do so with growing pauses', async () => {
  const { registry, pass, watch, see } = setup();
  await pass(1_000);
  watch();
  const before = registry.puts.length;
  for (let i = 0; i < 300; i++) {
    see(written('00000000000000aa'));
    await pass(100);
  }
  const fights = registry.puts.length - before;
  assert(fights > 3 && fights < 40, `${fights} puts in 60 seconds`);
});

test('a lease id that the registry refuses is not tried again', async () => {
  const { registry, pass, reconciler } = setup();
  registry.put = () => ({ status: 409, body: { code: 'LEASE_EXISTS', retryable: false } });
  await pass(100);
  registry.put = undefined;
  await pass(1_000);
  assert.equal(reconciler.state, 'registered');
  assert.notEqual(registry.puts[0]?.leaseId, registry.puts.at(-1)?.leaseId);
});

test('what is wanted wrongly is told to who wants it', async () => {
  const { registry, pass, reconciler } = setup();
  await pass(1_000);
  registry.put = () => ({
    status: 400,
    body: { code: 'BAD_REQUEST', title: 'weight: 0 to 1000000 expected' },
  });
  const refused = assert.rejects(reconciler.change({ weight: -1 }), /weight/);
  await pass(1_000);
  await refused;
});

test('leaving deletes what is registered under the present lease, and nothing puts it back', async () => {
  const { registry, pass, watch, see, reconciler, states } = setup();
  await pass(1_000);
  watch();
  await reconciler.leave();
  assert.deepEqual(registry.deletes, [`?leaseId=${reconciler.leaseId}`]);
  const puts = registry.puts.length;
  see(deleted);
  await pass(60_000);
  assert.equal(registry.puts.length, puts);
  assert.equal(states.at(-1), 'gone');
});
