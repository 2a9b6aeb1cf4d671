/** A watch stream as etcd's clients see it (reference 2.8), message by message. */
import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { test } from 'node:test';
import { utf8, utf8Text } from '@muster/base';
import type { CallOptions, Event, ResponseHeader, WatchRequest, WatchSink } from '@muster/kv';
import { StoreApi } from '../../../gateway/test/store-api.ts';
import { RawCall, type Rig, startGrpc } from '../../test/grpc-harness.ts';
import { NodeClock } from '../client/node-clock.ts';
import { STREAM_METHODS } from '../convert/methods.ts';
import { type WatchMessage, watchRequest, watchResponse } from '../convert/watch.ts';
import type { GrpcLimits } from '../grpc/grpc-limits.ts';

class Watching {
  readonly rig: Rig;
  readonly call: RawCall;

  constructor(rig: Rig) {
    this.rig = rig;
    this.call = new RawCall(rig.session, STREAM_METHODS.watch.path);
  }

  create(watch: Partial<WatchRequest> = {}, watchId = 0n, fragment = false): void {
    const request = { key: utf8('a'), ...watch };
    this.call.send(watchRequest, { type: 'create', watch: request, watchId, fragment });
  }

  /** Creates, and returns what answers it. */
  created(watch: Partial<WatchRequest> = {}, watchId = 0n, fragment = false): Promise<WatchMessage> {
    this.create(watch, watchId, fragment);
    return this.next();
  }

  cancel(watchId: bigint): void {
    this.call.send(watchRequest, { type: 'cancel', watchId });
  }

  askProgress(): void {
    this.call.send(watchRequest, { type: 'progress' });
  }

  next(): Promise<WatchMessage> {
    return this.call.next(watchResponse);
  }

  put(key: string, value = ''): Promise<{ readonly header: ResponseHeader }> {
    return this.rig.api.put({ key: utf8(key), value: utf8(value) });
  }
}

function rule(
  name: string,
  run: (watching: Watching) => Promise<void>,
  options: { readonly limits?: Partial<GrpcLimits>; readonly api?: StoreApi } = {},
): void {
  test(name, async () => {
    const rig = await startGrpc(options);
    try {
      await run(new Watching(rig));
    } finally {
      await rig.close();
    }
  });
}

const EVERYTHING = { key: utf8('a'), rangeEnd: utf8('\0') };
const shown = (events: readonly Event[] = []) =>
  events.map(({ type, kv, prevKv }) => [
    type,
    utf8Text(kv.key),
    kv.modRevision,
    prevKv && utf8Text(prevKv.value),
  ]);

rule('created comes first and says when; events follow, one answer a revision', async (w) => {
  await w.put('a', '1');
  const created = await w.created();
  assert.equal(created.created, true);
  assert.equal(created.header.revision, 2);
  assert.equal(created.events, undefined);
  await w.put('a', '2');
  await w.rig.api.deleteRange({ key: utf8('a') });
  const put = await w.next();
  assert.equal(put.header.revision, 3);
  assert.deepEqual(shown(put.events), [['put', 'a', 3, undefined]]);
  assert.deepEqual(shown((await w.next()).events), [['delete', 'a', 4, undefined]]);
});

rule(
  'ids: the next free one from 0, or the one asked for, negative too; one in use is refused',
  async (w) => {
    assert.equal((await w.created()).watchId, 0n);
    assert.equal((await w.created({}, 1n)).watchId, 1n);
    assert.equal((await w.created()).watchId, 2n);
    assert.equal((await w.created({}, -7n)).watchId, -7n);
    const again = await w.created({}, 1n);
    assert.deepEqual(
      [again.watchId, again.created, again.canceled, again.cancelReason],
      [-1n, true, true, 'mvcc: duplicate watch ID provided on the WatchStream'],
    );
    assert.equal((await w.created()).watchId, 3n, 'a refusal uses up no id');
  },
);

rule('a range that holds nothing is refused', async (w) => {
  const refused = await w.created({ key: utf8('b'), rangeEnd: utf8('a') });
  assert.deepEqual(
    [refused.watchId, refused.created, refused.canceled, refused.cancelReason],
    [-1n, true, true, 'mvcc: watcher range is empty'],
  );
  assert.equal((await w.created()).watchId, 0n);
});

rule('cancel: answered for a watch there is, without a reason; no answer for another', async (w) => {
  await w.created();
  w.cancel(55n);
  w.cancel(0n);
  const canceled = await w.next();
  assert.deepEqual([canceled.watchId, canceled.canceled, canceled.cancelReason], [0n, true, undefined]);
  await w.put('a');
  assert.equal((await w.created()).watchId, 1n, 'nothing of the canceled one came');
});

rule('history from a revision on, with the values before', async (w) => {
  await w.put('a', '1');
  await w.put('a', '2');
  await w.put('a', '3');
  await w.created({ startRevision: 3, prevKv: true });
  const { events, header } = await w.next();
  assert.deepEqual(shown(events), [
    ['put', 'a', 3, '1'],
    ['put', 'a', 4, '2'],
  ]);
  assert.equal(header.revision, 4);
});

rule('filters leave events out, and answers in which none is left', async (w) => {
  await w.created({ filters: ['noput'] });
  await w.put('a');
  await w.rig.api.deleteRange({ key: utf8('a') });
  assert.deepEqual(shown((await w.next()).events), [['delete', 'a', 3, undefined]]);
});

rule('history that is gone: created, then canceled with the compacted revision alone', async (w) => {
  for (let i = 0; i < 4; i++) await w.put('a');
  await w.rig.api.compact({ revision: 4 });
  assert.equal((await w.created({ startRevision: 2 })).created, true);
  const canceled = await w.next();
  assert.deepEqual(
    [canceled.canceled, canceled.compactRevision, canceled.cancelReason, canceled.header.revision],
    [true, 4, undefined, undefined],
  );
  await w.created({ startRevision: 4 });
  assert.deepEqual(shown((await w.next()).events).length, 2, 'the compacted revision itself is there');
});

rule('a negative start is refused at once', async (w) => {
  const refused = await w.created({ startRevision: -2 });
  assert.deepEqual(
    [refused.watchId, refused.created, refused.canceled, refused.cancelReason],
    [-1n, true, true, 'etcdserver: mvcc: required revision has been compacted'],
  );
});

rule('progress: one answer for the stream, none while it has no watch', async (w) => {
  w.askProgress();
  await w.created();
  await w.created();
  await w.put('b');
  w.askProgress();
  const progress = await w.next();
  assert.deepEqual([progress.watchId, progress.events, progress.header.revision], [-1n, undefined, 2]);
});

rule('progress comes behind the events that it covers', async (w) => {
  for (let i = 0; i < 50; i++) await w.put(`k${i}`);
  w.create({ ...EVERYTHING, startRevision: 1 });
  w.askProgress();
  let last = 0;
  for (;;) {
    const message = await w.next();
    last = message.events?.at(-1)?.kv.modRevision ?? last;
    if (message.watchId !== -1n) continue;
    assert.equal(message.header.revision, 51);
    assert.equal(last, 51);
    return;
  }
});

rule('a request with nothing set is ignored', async (w) => {
  w.call.send(watchRequest, { type: 'none' });
  assert.equal((await w.created()).watchId, 0n);
});

rule('watches outlive the end of the requests', async (w) => {
  await w.created();
  w.call.stream.end();
  await w.put('a');
  assert.deepEqual(shown((await w.next()).events), [['put', 'a', 2, undefined]]);
});

rule('what cannot be read ends the stream with 13', async (w) => {
  await w.created();
  w.call.stream.write(Buffer.from([0, 0, 0, 0, 2, 0x0a, 9]));
  const { status, text } = await w.call.answer;
  assert.deepEqual([status, text], [13, 'grpc: failed to unmarshal the received message: unexpected EOF']);
});

rule(
  'fragments for who allows them, a whole answer for who does not',
  async (w) => {
    await w.created({ ...EVERYTHING }, 1n, true);
    await w.created({ ...EVERYTHING }, 2n, false);
    const op = (key: string) =>
      ({ type: 'put', put: { key: utf8(key), value: new Uint8Array(400) } }) as const;
    await w.rig.api.txn({ compare: [], success: ['a', 'b', 'c', 'd'].map(op), failure: [] });
    const parts: WatchMessage[] = [];
    let whole: WatchMessage | undefined;
    while (whole === undefined || parts.length === 0 || parts.at(-1)?.fragment) {
      const message = await w.next();
      if (message.watchId === 2n) whole = message;
      else parts.push(message);
    }
    assert.deepEqual(whole.events?.length, 4);
    assert.deepEqual(
      parts.map(({ events }) => events?.length),
      [2, 2],
    );
    assert.ok(parts.every(({ header }) => header.revision === 2));
  },
  { limits: { messageBytes: 1000 } },
);

/** Says of a client that it is refused, as a member with authentication on does. */
class Denying extends StoreApi {
  override watch(_request: WatchRequest, sink: WatchSink) {
    const reason = 'rpc error: code = PermissionDenied desc = etcdserver: permission denied';
    setImmediate(() => sink({ type: 'canceled', header: this.header(), compactRevision: 0, reason }));
    return { cancel() {}, resume() {}, requestProgress() {}, synced: true, nextRevision: 1 };
  }
}

rule(
  'who may not read is told so in one message, and the stream goes on',
  async (w) => {
    for (let i = 0; i < 2; i++) {
      const refused = await w.created();
      assert.deepEqual(
        [refused.watchId, refused.created, refused.canceled, refused.cancelReason],
        [-1n, true, true, 'rpc error: code = PermissionDenied desc = etcdserver: permission denied'],
      );
    }
  },
  { api: new Denying(new NodeClock()) },
);

rule(
  'a client that does not read holds little back, and misses nothing once it does',
  async (w) => {
    await w.created({ ...EVERYTHING });
    w.call.stream.pause();
    const value = 'x'.repeat(10_000);
    const puts = 400; // 4 MB, against 16 kB of buffer, Node's own, and the client's window
    for (let i = 0; i < puts; i++) await w.put(`k${i}`, value);
    assert.equal(w.rig.api.hub.stats().slowWatchers, 1, 'it was told to wait');
    w.call.stream.resume();
    const seen: number[] = [];
    while (seen.length < puts) {
      for (const { kv } of (await w.next()).events ?? []) seen.push(kv.modRevision);
    }
    assert.deepEqual(
      seen,
      Array.from({ length: puts }, (_, i) => i + 2),
    );
  },
  { limits: { streamBufferBytes: 16 * 1024 } },
);

test('watches that come and go on a stream leave nothing behind while it lasts', async () => {
  const signals = new Set<AbortSignal>();
  class Heard extends StoreApi {
    override watch(request: WatchRequest, sink: WatchSink, options: CallOptions = {}) {
      const { signal } = options;
      if (signal) signals.add(signal);
      // As a member does.
      const handle = super.watch(request, sink);
      signal?.addEventListener('abort', () => handle.cancel(), { once: true });
      return handle;
    }
  }
  const rig = await startGrpc({ api: new Heard(new NodeClock()) });
  const w = new Watching(rig);
  for (let i = 0; i < 20; i++) {
    const { watchId } = await w.created();
    w.cancel(watchId);
    assert.equal((await w.next()).canceled, true);
  }
  for (const signal of signals) assert.ok(getEventListeners(signal, 'abort').length <= 1);
  assert.equal(rig.api.hub.stats().watchers, 0);
  await rig.close();
});

test('a stream that its client resets leaves no watch behind', async () => {
  const rig = await startGrpc();
  const w = new Watching(rig);
  await w.created();
  w.call.stream.close(8);
  await w.call.answer.catch(() => {});
  const other = new Watching(rig);
  await other.created(); // behind the reset on the same connection
  assert.equal(rig.api.hub.stats().watchers, 1);
  await rig.close();
});
