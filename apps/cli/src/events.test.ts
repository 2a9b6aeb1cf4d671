import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { EtcdApi, WatchHandle, WatchSink } from '@muster/kv';
import { watchMessages } from './events.ts';
import { bytesOf } from './range.ts';

const header = { clusterId: 1n, memberId: 1n, revision: 1, raftTerm: 1 };

/** A watch that is fed by hand. */
function fake() {
  const state = { sink: undefined as WatchSink | undefined, resumed: 0, canceled: 0 };
  const handle: WatchHandle = {
    cancel: () => void state.canceled++,
    resume: () => void state.resumed++,
    synced: true,
    nextRevision: 1,
    requestProgress: () => undefined,
  };
  const api = {
    watch: (_: unknown, sink: WatchSink) => {
      state.sink = sink;
      return handle;
    },
  } as Partial<EtcdApi> as EtcdApi;
  return { api, state, send: () => state.sink?.({ type: 'progress', header }) };
}

test('a slow reader holds the watch back, and lets it go on', async () => {
  const { api, state, send } = fake();
  const stop = new AbortController();
  const messages = watchMessages(api, { key: bytesOf('k') }, stop.signal);
  const first = messages.next();
  let taken = 1;
  while (send()) taken++;
  assert.equal(taken, 64);
  const before = state.resumed;
  assert.equal((await first).value?.type, 'progress');
  assert.equal(state.resumed, before + 1);
  for (let i = 1; i < taken; i++) assert.equal((await messages.next()).done, false);
  const last = messages.next();
  stop.abort();
  assert.equal((await last).done, true);
  assert.equal(state.canceled, 1);
});

test('what is canceled ends after it was told', async () => {
  const { api, state } = fake();
  const messages = watchMessages(api, { key: bytesOf('k') }, new AbortController().signal);
  const first = messages.next();
  state.sink?.({ type: 'canceled', header, compactRevision: 5, reason: '' });
  assert.equal((await first).value?.type, 'canceled');
  assert.equal((await messages.next()).done, true);
});
