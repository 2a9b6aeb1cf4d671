import assert from 'node:assert/strict';
import { test } from 'node:test';
import { utf8 } from '@muster/base';
import {
  deleteRequest,
  eventText,
  FROM_KEY,
  Harness,
  kvText,
  type PutText,
  putRequest,
} from '../test/store-harness.ts';
import { validateDeleteRange, validatePut } from './request-validation.ts';

const put = (h: Harness, key: string, value?: string, options?: PutText) =>
  h.apply({ type: 'put', put: putRequest(key, value, options) });
const failure = (outcome: ReturnType<typeof put>): string =>
  'error' in outcome ? `${outcome.error.message} @${outcome.revision} ${outcome.events.length}` : 'done';

test('put checks: empty key, value with ignore_value, lease with ignore_lease (2.3)', () => {
  const bad = (message: string, ...request: Parameters<typeof putRequest>) =>
    assert.throws(() => validatePut(putRequest(...request)), { message });
  bad('etcdserver: key is not provided', '', 'x');
  bad('etcdserver: value is provided', 'k', 'x', { ignoreValue: true });
  bad('etcdserver: lease is provided', 'k', undefined, { ignoreLease: true, lease: 1n });
  validatePut(putRequest('k', '', { ignoreValue: true, lease: 1n }));
  validatePut(putRequest('k', undefined, { ignoreLease: true, lease: 0n }));
});

test('an empty value is a value; prev_kv is the old one, absent on a creation', () => {
  const h = new Harness();
  assert.equal(h.put('k', ''), 2);
  const first = h.run({ type: 'put', put: putRequest('k', 'x', { prevKv: true }) }).put;
  assert.equal(kvText(first.prevKv), 'k=@2');
  h.delete('k');
  assert.deepEqual(h.run({ type: 'put', put: putRequest('k', 'y', { prevKv: true }) }).put, { revision: 5 });
  assert.deepEqual(h.run({ type: 'put', put: putRequest('k', 'z') }).put, { revision: 6 });
});

test('ignore_value and ignore_lease keep them, count as a change, and need the key', () => {
  const h = new Harness();
  h.grant(7n);
  const missing = 'etcdserver: key not found @1 0';
  assert.equal(failure(put(h, 'k', undefined, { ignoreValue: true })), missing);
  assert.equal(failure(put(h, 'k', 'v', { ignoreLease: true })), missing);
  h.put('k', 'v', { lease: 7n });
  h.put('k', undefined, { ignoreValue: true });
  assert.equal(h.get('k'), 'k=v@3 c2 v2');
  h.put('k', 'w', { lease: 7n });
  h.put('k', 'x', { ignoreLease: true });
  assert.equal(h.get('k'), 'k=x@5 c2 v4 l7');
  h.put('k', undefined, { ignoreLease: true, ignoreValue: true });
  assert.equal(h.get('k'), 'k=x@6 c2 v5 l7');
  h.delete('k');
  assert.equal(failure(put(h, 'k', undefined, { ignoreValue: true })), 'etcdserver: key not found @7 0');
});

test('a put with an unknown lease writes nothing; without one it detaches, with another it moves', () => {
  const h = new Harness();
  h.grant(1n);
  h.grant(2n);
  assert.equal(failure(put(h, 'k', 'v', { lease: 3n })), 'etcdserver: requested lease not found @1 0');
  assert.equal(h.get('k'), 'nothing');
  const keys = (id: bigint): number => h.machine.leases.keysOf(id).length;
  h.put('k', 'v', { lease: 1n });
  assert.deepEqual([keys(1n), keys(2n)], [1, 0]);
  h.put('k', 'v', { lease: 2n });
  assert.deepEqual([keys(1n), keys(2n)], [0, 1]);
  h.put('k', 'v');
  assert.deepEqual([keys(1n), keys(2n)], [0, 0]);
  assert.equal(h.records('leaseKeys'), 0);
});

test('delete: empty key refused, nothing matched is no revision, keys go in order (2.5)', () => {
  assert.throws(() => validateDeleteRange(deleteRequest('')), { message: 'etcdserver: key is not provided' });
  const h = new Harness();
  h.grant(1n);
  for (const key of ['b', 'a', 'c']) h.put(key, `v${key}`, { lease: 1n });
  assert.equal(h.delete('nope'), 0);
  assert.equal(h.delete('c', 'a'), 0);
  assert.equal(h.machine.currentRevision, 4);
  const outcome = h.apply({ type: 'deleteRange', deleteRange: deleteRequest('a', FROM_KEY, true) });
  assert.ok('result' in outcome && outcome.result.type === 'deleteRange');
  const { deleted, revision, prevKvs } = outcome.result.deleteRange;
  assert.deepEqual([deleted, revision, h.machine.currentRevision], [3, 5, 5]);
  assert.deepEqual(prevKvs.map(kvText), ['a=va@3 l1', 'b=vb@2 l1', 'c=vc@4 l1']);
  assert.deepEqual(outcome.events.map(eventText), [
    'a deleted@5 (was a=va@3 l1)',
    'b deleted@5 (was b=vb@2 l1)',
    'c deleted@5 (was c=vc@4 l1)',
  ]);
  assert.equal(h.records('leaseKeys'), 0);
  assert.equal(h.delete('a', FROM_KEY), 0);
});

test('prev_kvs of a delete only when asked for', () => {
  const h = new Harness();
  h.put('a');
  const { prevKvs, deleted } = h.run({ type: 'deleteRange', deleteRange: deleteRequest('a') }).deleteRange;
  assert.deepEqual([prevKvs, deleted], [[], 1]);
});

test('a tombstone event has key and mod revision only', () => {
  const h = new Harness();
  h.grant(1n);
  h.put('a', 'v', { lease: 1n });
  const { events } = h.apply({ type: 'deleteRange', deleteRange: deleteRequest('a') });
  const { kv } = events[0] ?? assert.fail('no event');
  assert.deepEqual(
    { ...kv, key: [...kv.key], value: kv.value.length },
    { key: [...utf8('a')], value: 0, createRevision: 0, modRevision: 3, version: 0, lease: 0n },
  );
});

test('events carry the value before, unless that is not wanted', () => {
  const h = new Harness();
  h.put('a', '1');
  const again = (): string[] => put(h, 'a', '2').events.map(eventText);
  assert.deepEqual(again(), ['a=2@3 c2 v2 (was a=1@2)']);
  h.machine.wantPrevValues = false;
  assert.deepEqual(again(), ['a=2@4 c2 v3']);
});

test('keys and values of any bytes come back as they went in', () => {
  const h = new Harness();
  for (let byte = 0; byte < 256; byte++) {
    const key = Uint8Array.of(byte, 255 - byte, 0);
    h.run({ type: 'put', put: { key, value: Uint8Array.of(byte) } });
  }
  const { kvs } = h.machine.range({ key: Uint8Array.of(0), rangeEnd: Uint8Array.of(0) });
  assert.deepEqual(
    kvs.map((kv) => [...kv.key, ...kv.value]),
    Array.from({ length: 256 }, (_, byte) => [byte, 255 - byte, 0, byte]),
  );
});
