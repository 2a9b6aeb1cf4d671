import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { BatchResultResource, TxnResultResource } from '@muster/contract';
import { json, putJson, testV1 } from '../../test/v1-harness.ts';

test('compare, then one list or the other, in one revision', async () => {
  const { ask } = testV1();
  const txn = (body: object) => json<TxnResultResource>(ask('/v1/txn', putJson(body, 'POST')));
  const create = { if: [{ key: 'a', exists: false }], then: [{ put: { key: 'a', value: '1' } }] };
  assert.deepEqual(await txn(create), { succeeded: true, revision: 2, results: [{ put: {} }] });
  const again = await txn({ ...create, else: [{ get: { key: 'a' } }] });
  assert.equal(again.succeeded, false);
  assert.equal(again.results[0]?.get?.items[0]?.value, '1');
  const swap = await txn({
    if: [
      { key: 'a', modRevision: 2 },
      { key: 'a', value: '1' },
      { key: 'a', version: 1, op: '=' },
      { key: 'a', createRevision: 3, op: '<' },
      { key: 'a', valueBase64: 'Mg==', op: '!=' },
      { key: 'a', lease: '0' },
      { key: 'b', exists: false },
    ],
    then: [
      { put: { key: 'a', value: '2', prev: true } },
      { put: { key: 'b', valueBase64: '/w==' } },
      { get: { prefix: 'a', keysOnly: true } },
      { delete: { prefix: 'zz' } },
      {
        txn: { if: [{ key: 'a', exists: true }], then: [{ get: { start: 'a', end: 'c', countOnly: true } }] },
      },
    ],
  });
  assert.equal(swap.succeeded, true);
  assert.equal(swap.revision, 3);
  assert.equal(swap.results[0]?.put?.prev?.value, '1');
  assert.deepEqual(Object.keys(swap.results[2]?.get?.items[0] ?? {}).includes('value'), false);
  assert.deepEqual(swap.results[3], { delete: { deleted: 0 } });
  assert.equal(swap.results[4]?.txn?.results[0]?.get?.count, 2);
  assert.deepEqual((await txn({ if: [{ key: 'a', exists: true, op: '!=' }] })).succeeded, false);
});

test('a batch is one revision', async () => {
  const { ask } = testV1();
  const ops = ['a', 'b', 'c'].map((key) => ({ put: { key, json: [key] } }));
  const body = await json<BatchResultResource>(ask('/v1/batch', putJson({ ops }, 'POST')));
  assert.deepEqual(body, { revision: 2, results: [{ put: {} }, { put: {} }, { put: {} }] });
});

test('what is wrong with a txn is said where it is', async () => {
  const { ask } = testV1();
  const cases: [unknown, number, RegExp][] = [
    [{ if: [{ key: 'a' }] }, 400, /\/if\/0/],
    [{ if: [{ key: 'a', version: 1, value: 'x' }] }, 400, /\/if\/0/],
    [{ if: [{ key: 'a', version: -1 }] }, 400, /\/if\/0\/version/],
    [{ if: [{ key: 'a', version: 1e300 }] }, 400, /\/if\/0\/version/],
    [{ then: [{ putt: {} }] }, 400, /\/then\/0.*putt/],
    [{ then: [{}] }, 400, /\/then\/0/],
    [{ then: [{ put: { key: 'a' } }] }, 400, /\/then\/0\/put/],
    [{ then: [{ put: { key: '', value: '' } }] }, 400, /\/then\/0\/put/],
    [{ then: [{ put: { keyBase64: 'A', value: '' } }] }, 400, /keyBase64/],
    [{ then: 5 }, 400, /\/then/],
    [[], 400, /object/],
    [null, 400, /object/],
    [{ then: [{ put: { key: 'a', value: '1' } }, { put: { key: 'a', value: '2' } }] }, 422, /duplicate/],
    [{ then: [{ put: { key: 'a', value: '1', lease: 'ff' } }] }, 410, /lease/],
    [{ then: Array.from({ length: 129 }, (_, i) => ({ get: { key: `k${i}` } })) }, 400, /129 operations/],
  ];
  for (const [body, status, detail] of cases) {
    const response = await ask('/v1/txn', putJson(body, 'POST'));
    assert.equal(response.status, status, JSON.stringify(body));
    assert.match(String((await json(response)).detail), detail, JSON.stringify(body));
  }
});

test('nesting without end is refused', async () => {
  const { ask } = testV1();
  const depth = 20_000;
  const body = `${'{"then":[{"txn":'.repeat(depth)}{}${'}]}'.repeat(depth)}`;
  const headers = { 'content-type': 'application/json' };
  assert.equal((await ask('/v1/txn', { method: 'POST', body, headers })).status, 400);
  const some = `${'{"then":[{"txn":'.repeat(40)}{}${'}]}'.repeat(40)}`;
  assert.equal((await ask('/v1/txn', { method: 'POST', body: some, headers })).status, 400);
  const value = `{"then":[{"put":{"key":"a","json":${'['.repeat(50_000)}${']'.repeat(50_000)}}}]}`;
  const deep = await ask('/v1/txn', { method: 'POST', body: value, headers });
  assert.equal(deep.status, 400);
  await ask('/v1/kv/deep', { method: 'PUT', body: '['.repeat(50_000) + ']'.repeat(50_000) });
  const entry = await ask('/v1/kv/deep?encoding=json', { headers: { accept: 'application/json' } });
  assert.equal(((await entry.json()) as { value: string }).value.length, 100_000);
});
