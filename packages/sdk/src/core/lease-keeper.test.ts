import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock, Prng } from '@muster/base';
import { FakeTransport, settle } from '../../test/fake-transport.ts';
import { Caller } from './caller.ts';
import { Endpoints } from './endpoints.ts';
import { LeaseKeeper } from './lease-keeper.ts';
import { LeaseSession, type LossReason } from './lease-session.ts';
import { SILENT_LOGGER } from './status.ts';
import { TransportError } from './transport.ts';

function setup() {
  const clock = new ManualClock();
  const prng = new Prng(1);
  const transport = new FakeTransport();
  const endpoints = new Endpoints(['a:1', 'b:1'], clock, prng);
  const caller = new Caller({ endpoints, transport, clock, prng, headers: {} });
  const keeper = new LeaseKeeper({ caller, clock, prng, logger: SILENT_LOGGER });
  const ttls = new Map<string, number>();
  const lost = new Map<string, LossReason>();
  const renewals: string[][] = [];
  transport.respond = (request) => {
    const { ids } = JSON.parse(String(request.body)) as { ids: string[] };
    renewals.push(ids);
    return { status: 200, body: { results: ids.map((id) => ({ id, ttl: ttls.get(id) ?? 0 })) } };
  };
  const add = (id: string, ttlSeconds: number) => {
    ttls.set(id, ttlSeconds);
    const session = new LeaseSession(ttlSeconds * 1000, clock.nowMs());
    keeper.add({ id, session, onLost: (reason) => lost.set(id, reason) });
    return session;
  };
  /** Moves time in small steps, so that answers arrive in between. */
  const pass = async (ms: number) => {
    for (let at = 0; at < ms; at += 100) {
      clock.advance(100);
      await settle();
    }
  };
  return { clock, transport, keeper, ttls, lost, renewals, add, pass };
}

test('leases are renewed together at a third of their time and never lost while that works', async () => {
  const { add, pass, lost, renewals } = setup();
  for (let i = 0; i < 20; i++) add(`l${i}`, 15);
  await pass(60_000);
  assert.equal(lost.size, 0);
  assert(renewals.length >= 11 && renewals.length <= 13, `${renewals.length} requests in a minute`);
  assert(renewals.every((ids) => ids.length === 20));
});

test('leases with different starts fall into step', async () => {
  const { add, pass, renewals } = setup();
  for (let i = 0; i < 5; i++) {
    add(`l${i}`, 15);
    await pass(700);
  }
  await pass(60_000);
  assert.equal(renewals.at(-1)?.length, 5);
});

test('a lease that the server does not have is lost at once, the others are not', async () => {
  const { add, pass, lost, ttls } = setup();
  add('a', 15);
  add('b', 15);
  ttls.set('a', 0);
  await pass(6_000);
  assert.deepEqual([...lost], [['a', 'expired']]);
});

test('without an answer a lease is lost its ttl after the last confirmed renewal was sent, not later', async () => {
  const { add, pass, lost, transport, clock } = setup();
  const session = add('a', 6);
  await pass(2_500);
  const { deadlineMs } = session;
  transport.respond = () => Promise.reject(new TransportError('reset', true));
  await pass(deadlineMs - clock.nowMs() - 100);
  assert.equal(lost.size, 0);
  await pass(200);
  assert.deepEqual([...lost], [['a', 'unconfirmed']]);
});

test('a failed renewal is tried again soon, so that short trouble costs nothing', async () => {
  const { add, pass, lost, transport } = setup();
  add('a', 6);
  const { respond } = transport;
  transport.respond = () => Promise.reject(new TransportError('reset', true));
  await pass(5_000);
  transport.respond = respond;
  await pass(30_000);
  assert.equal(lost.size, 0);
});

test('a process that stood still for longer than the ttl assumes the loss as soon as it wakes', async () => {
  const { add, lost, clock } = setup();
  add('a', 6);
  // The event loop runs nothing for a long time: the timer, when it comes, is late.
  const { nowMs } = clock;
  let stalled = 0;
  clock.nowMs = () => nowMs.call(clock) + stalled;
  stalled = 10_000;
  clock.advance(2_000);
  assert.deepEqual([...lost], [['a', 'stalled']]);
});

test('a machine that slept is noticed by its wall clock, for monotonic time stood still', async () => {
  const { add, lost, clock } = setup();
  add('a', 6);
  const { wallMs } = clock;
  clock.wallMs = () => wallMs.call(clock) + 3_600_000;
  clock.advance(2_000);
  assert.deepEqual([...lost], [['a', 'stalled']]);
});

test('an answer to an old request does not move a deadline back', () => {
  const session = new LeaseSession(10_000, 0);
  session.confirmed(5_000, 10_000);
  session.confirmed(3_000, 10_000);
  assert.equal(session.deadlineMs, 15_000);
  assert.equal(session.lose('expired'), true);
  session.confirmed(9_000, 10_000);
  assert.equal(session.lose('revoked'), false);
  assert.equal(session.lost, 'expired');
});
