import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock, Prng } from '@muster/base';
import type { ServiceEvent, Instance as WireInstance } from '@muster/contract';
import { FakeTransport } from '../../test/fake-transport.ts';
import { Connection } from './connection.ts';
import { Endpoints } from './endpoints.ts';
import { type Diff, LiveServiceView, type Stale } from './service-view.ts';
import { SILENT_LOGGER } from './status.ts';

function setup() {
  const clock = new ManualClock();
  const prng = new Prng(1);
  const transport = new FakeTransport();
  const endpoints = new Endpoints(['a:1'], clock, prng);
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
  const view = new LiveServiceView('orders', {}, { connection, clock, logger, namespace: undefined });
  const diffs: Diff[] = [];
  view.on('change', (diff) => diffs.push(diff));
  let rev = 10;
  const id = () => transport.socket.subs.at(-1)?.id ?? '';
  return {
    clock,
    transport,
    view,
    diffs,
    /** The first answer: these instances. */
    begin(ids: readonly string[]) {
      transport.socket.welcome();
      transport.socket.say({ t: 'subd', id: id(), mode: 'snapshot', rev });
      transport.socket.say({
        t: 'snap',
        id: id(),
        rev,
        items: ids.map((each) => instance(each, rev)),
        more: false,
      });
    },
    event(...events: ((rev: number) => ServiceEvent)[]) {
      rev++;
      transport.socket.say({ t: 'ev', id: id(), rev, events: events.map((make) => make(rev)) });
    },
    get ids() {
      return view.instances.map((each) => (each.suspect ? `${each.id}?` : each.id));
    },
  };
}

function instance(id: string, modRevision: number, status: WireInstance['status'] = 'up'): WireInstance {
  return {
    service: 'orders',
    id,
    status,
    health: 'passing',
    weight: 1,
    tags: [],
    metadata: {},
    createRevision: 1,
    modRevision,
  };
}

const put =
  (id: string, status: WireInstance['status'] = 'up') =>
  (rev: number): ServiceEvent => ({
    type: 'put',
    instance: instance(id, rev, status),
  });
const gone =
  (id: string) =>
  (rev: number): ServiceEvent => ({ type: 'delete', service: 'orders', id, modRevision: rev });

test('a view shows the snapshot, then every change, and says what changed', async () => {
  const setupView = setup();
  const { view, diffs, begin, event } = setupView;
  assert.notEqual(view.stale, false);
  begin(['a', 'b']);
  await view.loaded();
  assert.equal(view.stale, false);
  assert.deepEqual(setupView.ids, ['a', 'b']);
  event(put('c'));
  event(put('a', 'draining'));
  event(gone('a'));
  event(gone('b'));
  assert.deepEqual(setupView.ids, ['c']);
  assert.deepEqual(
    diffs[1]?.added.map(({ id }) => id),
    ['c'],
  );
  assert.deepEqual(
    diffs[2]?.changed.map(({ before, after }) => [before.status, after.status]),
    [['up', 'draining']],
  );
  assert.deepEqual(
    diffs.slice(3).map(({ removed }) => removed[0]?.reason),
    ['deregistered', 'expired'],
  );
});

test('without a connection a view keeps what it knows and says since when and why it may be stale', () => {
  const setupView = setup();
  const { view, transport, clock, begin } = setupView;
  begin(['a']);
  clock.advance(5_000);
  transport.socket.lose();
  assert.deepEqual(setupView.ids, ['a']);
  assert(view.stale && view.stale.since.getTime() === clock.wallMs() && view.stale.cause.includes('1006'));
  const { since } = view.stale;
  clock.advance(5_000);
  const later: Stale = setupView.view.stale;
  assert.deepEqual(
    later === false ? undefined : later.since,
    since,
    'since it was lost, whatever was tried in between',
  );
  transport.socket.welcome();
  transport.socket.say({ t: 'subd', id: transport.socket.subs[0]?.id ?? '', mode: 'resume', rev: 10 });
  assert.equal(view.stale, false);
});

test('when most of a service expires at once, it stays for a minute as suspect, after the live ones', () => {
  const setupView = setup();
  const { clock, begin, event, diffs } = setupView;
  begin(['a', 'b', 'c', 'd']);
  event(gone('a'));
  event(gone('b'));
  assert.deepEqual(setupView.ids, ['c', 'd'], 'two are not a mass');
  event(gone('c'));
  assert.deepEqual(setupView.ids, ['d', 'a?', 'b?', 'c?']);
  assert.deepEqual(diffs.at(-1)?.removed, []);
  assert.deepEqual(
    diffs.at(-1)?.added.map(({ id }) => id),
    ['a', 'b'],
  );
  event(put('b'));
  assert.deepEqual(setupView.ids, ['b', 'd', 'a?', 'c?'], 'one that registers again is live again');
  clock.advance(60_000);
  assert.deepEqual(setupView.ids, ['b', 'd']);
  assert.deepEqual(
    diffs.at(-1)?.removed.map(({ reason }) => reason),
    ['expired', 'expired'],
  );
});

test('the guard does not hold back what goes on purpose, slowly, or is filtered out', () => {
  const onPurpose = setup();
  onPurpose.begin(['a', 'b', 'c']);
  for (const id of ['a', 'b', 'c']) onPurpose.event(put(id, 'draining'));
  for (const id of ['a', 'b', 'c']) onPurpose.event(gone(id));
  assert.deepEqual(onPurpose.ids, []);
  const slowly = setup();
  slowly.begin(['a', 'b', 'c', 'd']);
  for (const id of ['a', 'b', 'c', 'd']) {
    slowly.event(gone(id));
    slowly.clock.advance(6_000);
  }
  assert.deepEqual(slowly.ids, []);
  const filtered = setup();
  filtered.begin(['a', 'b', 'c']);
  filtered.event(
    ...['a', 'b', 'c'].map(
      (id) =>
        (rev: number): ServiceEvent =>
          ({ ...gone(id)(rev), filtered: true }) as ServiceEvent,
    ),
  );
  assert.deepEqual(filtered.ids, []);
});
