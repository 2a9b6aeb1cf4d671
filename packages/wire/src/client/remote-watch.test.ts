import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock, utf8 } from '@muster/base';
import type { Event, WatchRequest, WatchResponse } from '@muster/kv';
import { CLIENT_LIMITS } from './limits.ts';
import { RemoteWatch } from './remote-watch.ts';

const header = (revision: number) => ({ clusterId: 1n, memberId: 2n, raftTerm: 3, revision });
const event = (modRevision: number, value = ''): Event => ({
  type: 'put',
  kv: {
    key: utf8('k'),
    value: utf8(value),
    createRevision: 1,
    modRevision,
    version: 1,
    lease: 0n,
  },
});

/** A watch with a sink that notes what it gets, and what the watch asked of its owner. */
function rig(request: Partial<WatchRequest> = {}) {
  const clock = new ManualClock();
  const told: string[] = [];
  const asked: string[] = [];
  const state = { room: true };
  const sink = (response: WatchResponse) => {
    told.push(
      response.type === 'events'
        ? response.batch.events.map((e) => e.kv.modRevision).join(' ')
        : response.type === 'canceled'
          ? `canceled ${response.compactRevision} ${response.reason}`
          : `${response.type} ${response.header.revision}`,
    );
    return state.room;
  };
  const owner = {
    attach: () => asked.push(`attach ${watch.startRevision}`),
    detach: () => asked.push('detach'),
    wantProgress: () => asked.push('progress'),
  };
  const watch: RemoteWatch = new RemoteWatch({ key: utf8('k'), ...request }, sink, undefined, owner, clock);
  return { clock, told, asked, state, watch };
}

test('it goes on after the last event, never after the revision of a header', () => {
  const { watch, told } = rig();
  watch.created(header(10));
  assert.equal(watch.startRevision, 11);
  watch.events(header(99), [event(12), event(14)], false);
  assert.equal(watch.startRevision, 15);
  // On another stream: told once that it was created, and nothing that came before.
  watch.created(header(99));
  watch.events(header(99), [event(14), event(15)], false);
  assert.deepEqual(told, ['created 10', '12 14', '15']);
  assert.equal(watch.nextRevision, 16);
});

test('fragments are passed on by whole revisions', () => {
  const { watch, told } = rig({ startRevision: 5 });
  watch.created(header(20));
  watch.events(header(20), [event(5), event(6), event(6)], true);
  watch.events(header(20), [event(6)], true);
  watch.events(header(20), [event(6), event(7)], false);
  assert.deepEqual(told, ['created 20', '5', '6 6 6 6 7']);
});

test('half of a revision is forgotten with the stream that brought it', () => {
  const { watch, told } = rig({ startRevision: 5 });
  watch.created(header(20));
  watch.events(header(20), [event(5), event(6)], true);
  assert.equal(watch.startRevision, 6);
  watch.created(header(20));
  watch.events(header(20), [event(6), event(6)], false);
  assert.deepEqual(told, ['created 20', '5', '6 6']);
});

test('a full sink gets nothing; a little is held for it, then the watch leaves its stream until there is room', () => {
  const { watch, told, asked, state, clock } = rig();
  watch.created(header(10));
  state.room = false;
  const beyond = 11 + CLIENT_LIMITS.heldResponses + 1;
  for (let revision = 11; revision <= beyond; revision++)
    watch.events(header(revision), [event(revision)], false);
  assert.deepEqual(told, ['created 10', '11']);
  assert.deepEqual(asked, ['detach']);
  watch.events(header(beyond + 1), [event(beyond + 1)], false);
  watch.resume();
  assert.equal(told.length, 2, 'not from inside resume');
  clock.runDeferred();
  assert.deepEqual(told.slice(2), ['12'], 'one for one');
  state.room = true;
  watch.resume();
  clock.runDeferred();
  assert.deepEqual(told.at(-1), String(beyond));
  assert.equal(watch.nextRevision, beyond + 1);
  assert.deepEqual(asked, ['detach', `attach ${beyond + 1}`]);
  watch.created(header(beyond + 1));
  watch.events(header(beyond + 1), [event(beyond + 1)], false);
  assert.equal(told.at(-1), String(beyond + 1));
});

test('large responses are held by their bytes', () => {
  const { watch, asked, state } = rig();
  watch.created(header(10));
  state.room = false;
  watch.events(header(11), [event(11)], false);
  watch.events(header(12), [event(12, 'x'.repeat(CLIENT_LIMITS.heldBytes))], false);
  assert.deepEqual(asked, ['detach']);
});

test('progress: to who asked, not below a future start, and from old servers only when history is surely over', () => {
  const past = rig({ startRevision: 5 });
  past.watch.created(header(20));
  assert.equal(past.watch.synced, false);
  past.watch.progress(header(20), true, true);
  assert.deepEqual(past.told, ['created 20'], 'nobody asked');
  past.watch.requestProgress();
  past.watch.requestProgress();
  assert.deepEqual(past.asked, ['progress']);
  past.watch.progress(header(20), true, false);
  past.watch.events(header(20), [event(7)], false);
  past.watch.progress(header(20), true, false);
  assert.deepEqual(past.told, ['created 20', '7'], 'history may follow');
  past.clock.advance(CLIENT_LIMITS.progressQuietMs);
  past.watch.progress(header(21), true, false);
  assert.deepEqual(past.told, ['created 20', '7', 'progress 21']);
  assert.deepEqual([past.watch.synced, past.watch.nextRevision], [true, 22]);

  const future = rig({ startRevision: 30 });
  future.watch.created(header(20));
  future.watch.requestProgress();
  future.watch.progress(header(20), true, true);
  future.watch.progress(header(30), true, true);
  assert.deepEqual(future.told, ['created 20', 'progress 30']);

  const periodic = rig({ progressNotify: true });
  periodic.watch.created(header(20));
  periodic.watch.progress(header(25), false, true);
  assert.deepEqual(periodic.told, ['created 20', 'progress 25']);
});

test('the last word comes after what is held, and nothing after it or after a cancel', () => {
  const { watch, told, state, clock, asked } = rig();
  watch.created(header(10));
  state.room = false;
  watch.events(header(11), [event(11)], false);
  watch.events(header(12), [event(12)], false);
  watch.canceled(header(0), 12, '');
  state.room = true;
  watch.resume();
  clock.runDeferred();
  assert.deepEqual(told, ['created 10', '11', '12', 'canceled 12 ']);
  watch.events(header(13), [event(13)], false);
  watch.cancel();
  assert.deepEqual([told.length, asked], [4, []]);
  const other = rig();
  other.watch.created(header(10));
  other.watch.cancel();
  other.watch.events(header(11), [event(11)], false);
  assert.deepEqual([other.told, other.asked], [['created 10'], ['detach']]);
});
