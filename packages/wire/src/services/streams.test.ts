/** Keepalives, and calls whose answers are streams. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { deferred, utf8, utf8Text } from '@muster/base';
import { KvError } from '@muster/contract';
import type { CallOptions, SnapshotChunk } from '@muster/kv';
import { StoreApi } from '../../../gateway/test/store-api.ts';
import { RawCall, startGrpc } from '../../test/grpc-harness.ts';
import { NodeClock } from '../client/node-clock.ts';
import { encodeFramed } from '../convert/codec.ts';
import { STREAM_METHODS } from '../convert/methods.ts';

const { leaseKeepAlive, snapshot, observe } = STREAM_METHODS;

test('keepalive: an answer a request, in order, unknown leases with 0; ends when the requests do', async () => {
  const rig = await startGrpc();
  const granted = await rig.api.leaseGrant({ id: 7n, ttlSeconds: 60 });
  const call = new RawCall(rig.session, leaseKeepAlive.path);
  const ids = [7n, 99n, 7n, -3n];
  for (const id of ids) call.send(leaseKeepAlive.request, { id });
  call.stream.end();
  for (const id of ids) {
    const answer = await call.next(leaseKeepAlive.response);
    assert.deepEqual([answer.id, answer.ttlSeconds], [id, id === 7n ? granted.ttlSeconds : 0]);
  }
  assert.equal((await call.answer).status, 0);
  await rig.close();
});

test('keepalive: a failure ends the stream with its status', async () => {
  const rig = await startGrpc();
  rig.api.failure = new KvError('TIMEOUT');
  const call = new RawCall(rig.session, leaseKeepAlive.path);
  call.send(leaseKeepAlive.request, { id: 7n });
  const { status, text } = await call.answer;
  assert.deepEqual([status, text], [14, 'etcdserver: request timed out']);
  await rig.close();
});

/** A store whose snapshot is made while it is read, and which counts what was. */
class Snapshotting extends StoreApi {
  made = 0;
  readonly ended = deferred<void>();
  readonly #chunks: number;
  readonly #failure: KvError | undefined;

  constructor(chunks: number, failure?: KvError) {
    super(new NodeClock());
    this.#chunks = chunks;
    this.#failure = failure;
    this.snapshot = ((options?: CallOptions) => this.#read(options)) as unknown as StoreApi['snapshot'];
  }

  async *#read(_?: CallOptions): AsyncIterable<SnapshotChunk> {
    try {
      for (let i = this.#chunks - 1; i >= 0; i--) {
        this.made++;
        yield { blob: new Uint8Array(32 * 1024).fill(i), remainingBytes: i * 32 * 1024, version: '3.6.0' };
      }
      if (this.#failure !== undefined) throw this.#failure;
    } finally {
      this.ended.resolve();
    }
  }
}

async function openSnapshot(api: StoreApi) {
  const rig = await startGrpc({ api, limits: { streamBufferBytes: 16 * 1024 } });
  const call = new RawCall(rig.session, snapshot.path);
  call.stream.end(encodeFramed(snapshot.request, {}));
  return { rig, call };
}

test('snapshot: every chunk in order, then the end', async () => {
  const { rig, call } = await openSnapshot(new Snapshotting(20));
  for (let i = 19; i >= 0; i--) {
    const chunk = await call.next(snapshot.response);
    assert.deepEqual([chunk.remainingBytes, chunk.blob[0], chunk.version], [i * 32 * 1024, i, '3.6.0']);
  }
  assert.equal((await call.answer).status, 0);
  await rig.close();
});

test('snapshot: read no faster than the client takes it, and given up with it', async () => {
  const api = new Snapshotting(10_000);
  const { rig, call } = await openSnapshot(api);
  await call.next(snapshot.response);
  call.stream.pause();
  call.stream.close(8);
  await call.answer.catch(() => {});
  await api.ended.promise;
  assert.ok(api.made < 1000, `${api.made} chunks were made`);
  await rig.close();
});

test('snapshot: a failure in the middle ends the stream with its status', async () => {
  const { rig, call } = await openSnapshot(new Snapshotting(2, new KvError('CORRUPT')));
  const { status, text } = await call.answer;
  assert.deepEqual([status, text], [15, 'etcdserver: corrupt cluster']);
  await rig.close();
});

test('observe: the leader, and each change', async () => {
  const rig = await startGrpc();
  const call = new RawCall(rig.session, observe.path);
  call.stream.end(encodeFramed(observe.request, { name: utf8('e') }));
  for (const value of ['one', 'two']) {
    await rig.api.put({ key: utf8('e/1'), value: utf8(value) });
    const { kv } = await call.next(observe.response);
    assert.equal(utf8Text(kv.value), value);
  }
  await rig.close();
});
