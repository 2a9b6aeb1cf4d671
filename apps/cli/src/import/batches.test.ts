import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Event } from '@muster/kv';
import { bytesOf } from '../range.ts';
import { byRevision } from '../replay.ts';
import { stateBatches } from './batches.ts';

function put(revision: number, options: { readonly lease?: bigint; readonly bytes?: number } = {}): Event {
  const { lease = 0n, bytes = 1 } = options;
  const at = { createRevision: revision, modRevision: revision, version: 1, lease };
  return { type: 'put', kv: { key: bytesOf(`k${revision}`), value: new Uint8Array(bytes), ...at } };
}

function batches(events: readonly Event[], opsMax: number): readonly (readonly number[])[] {
  return [...stateBatches(byRevision(events), opsMax)].map(({ revision, events: together }) => {
    assert.equal(revision, together.at(-1)?.kv.modRevision);
    return together.map(({ kv }) => kv.modRevision);
  });
}

test('changes go together in their order, as many as fit, and no revision is split', () => {
  assert.deepEqual(batches([], 3), []);
  assert.deepEqual(batches([put(2), put(3), put(4), put(7)], 3), [[2, 3, 4], [7]]);
  assert.deepEqual(batches([put(2), put(3), put(4), put(4), put(5)], 3), [
    [2, 3],
    [4, 4, 5],
  ]);
  const large = { bytes: 300_000 };
  assert.deepEqual(batches([put(2, large), put(3, large), put(4), put(5, { bytes: 2 ** 20 })], 100), [
    [2],
    [3, 4],
    [5],
  ]);
});

test('keys with leases stay by themselves', () => {
  const leased = { lease: 7n };
  assert.deepEqual(batches([put(2), put(3, leased), put(4, leased), put(5), put(6)], 100), [
    [2],
    [3],
    [4],
    [5, 6],
  ]);
});
