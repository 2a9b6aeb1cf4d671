import assert from 'node:assert/strict';
import { EMPTY_BYTES, utf8 } from '@muster/base';
import type { Compare, RequestOp, TxnRequest, TxnResult } from '@muster/kv';
import { area, type Conformance } from '../suite.ts';

const { cases, add } = area('txn');

/** Reference section 2.6, and 2.1 on inner headers. */
export const txnCases = cases;

const txn = (success: RequestOp[], failure: RequestOp[] = [], compare: Compare[] = []): TxnRequest => ({
  compare,
  success,
  failure,
});
const nested = (success: RequestOp[], failure: RequestOp[] = [], compare: Compare[] = []): RequestOp => ({
  type: 'txn',
  txn: txn(success, failure, compare),
});
const puts = (c: Conformance, count: number, from = 0): RequestOp[] =>
  Array.from({ length: count }, (_, i) => c.putOp(`p${from + i}`));

/** Whether a compare holds. */
async function test(c: Conformance, compare: Compare): Promise<boolean> {
  return (await c.api.txn(txn([], [], [compare]))).succeeded;
}

function part<T extends TxnResult['responses'][number]['type']>(result: TxnResult, at: number, type: T) {
  const response = result.responses[at];
  assert.equal(response?.type, type);
  return response as Extract<TxnResult['responses'][number], { type: T }>;
}

add('an empty txn succeeds', async (c) => {
  const answer = await c.api.txn(txn([]));
  assert.deepEqual([answer.succeeded, answer.responses], [true, []]);
});

add('128 operations are accepted, 129 refused, in any of the three lists', async (c) => {
  const start = await c.revision();
  assert.equal((await c.api.txn(txn(puts(c, 128)))).responses.length, 128);
  const compare = Array.from(
    { length: 129 },
    (): Compare => ({ key: c.key('a'), target: 'mod', result: 'equal' }),
  );
  await c.rejects('TOO_MANY_OPS', c.api.txn(txn(puts(c, 129))));
  await c.rejects('TOO_MANY_OPS', c.api.txn(txn([], puts(c, 129))));
  await c.rejects('TOO_MANY_OPS', c.api.txn(txn([], [], compare)));
  assert.equal((await c.api.txn(txn([], [], compare.slice(1)))).succeeded, true);
  assert.equal(await c.revision(), start + 1);
});

add('a nested txn has what its parent left of the 128', async (c) => {
  const outer = (inner: number) => [...puts(c, 99), nested(puts(c, inner, 1000))];
  await c.api.txn(txn(outer(28)));
  await c.rejects('TOO_MANY_OPS', c.api.txn(txn(outer(29))));
});

add('operations are checked one by one, as on their own, in both branches', async (c) => {
  const start = await c.revision();
  const bad: [Parameters<Conformance['rejects']>[0], RequestOp][] = [
    ['KEY_NOT_FOUND', { type: 'none' }],
    ['EMPTY_KEY', { type: 'put', put: { key: EMPTY_BYTES } }],
    ['EMPTY_KEY', { type: 'range', range: { key: EMPTY_BYTES } }],
    ['EMPTY_KEY', { type: 'deleteRange', deleteRange: { key: EMPTY_BYTES } }],
    ['VALUE_PROVIDED', c.putOp('k', 'v', { ignoreValue: true })],
    ['LEASE_PROVIDED', c.putOp('k', 'v', { ignoreLease: true, lease: 5n })],
  ];
  for (const [code, op] of bad) {
    await c.rejects(code, c.api.txn(txn([c.putOp('first'), op])));
    await c.rejects(code, c.api.txn(txn([], [op])));
    await c.rejects(code, c.api.txn(txn([nested([op])])));
  }
  await c.rejects(
    'EMPTY_KEY',
    c.api.txn(txn([], [], [{ key: EMPTY_BYTES, target: 'mod', result: 'equal' }])),
  );
  assert.equal(await c.revision(), start);
});

add('duplicate keys: what is refused', async (c) => {
  const refused: [string, TxnRequest][] = [
    ['put and put', txn([c.putOp('k'), c.putOp('k', '2')])],
    ['put and put in failure', txn([], [c.putOp('k'), c.putOp('k', '2')])],
    ['put, then delete', txn([c.putOp('k'), c.deleteOp('k')])],
    ['delete, then put', txn([c.deleteOp('k'), c.putOp('k')])],
    ['delete of a range with the put', txn([c.deleteOp('a', 'z'), c.putOp('k')])],
    ['parent and nested', txn([c.putOp('k'), nested([c.putOp('k')])])],
    ['nested and parent', txn([nested([], [c.putOp('k')]), c.putOp('k')])],
    ['parent deletes, nested puts', txn([c.deleteOp('k'), nested([c.putOp('k')])])],
    ['siblings put', txn([nested([c.putOp('k')]), nested([c.putOp('k')])])],
    ['siblings delete, then put', txn([nested([c.deleteOp('k')]), nested([c.putOp('k')])])],
    ['nested twice', txn([nested([nested([c.putOp('k'), c.putOp('k')])])])],
  ];
  for (const [name, request] of refused) {
    await c.rejects('DUPLICATE_KEY', c.api.txn(request)).catch((error) => {
      throw new Error(name, { cause: error });
    });
  }
  assert.equal(await c.get('k'), undefined);
});

add('duplicate keys: what is allowed', async (c) => {
  const allowed: [string, TxnRequest][] = [
    ['put in success and in failure', txn([c.putOp('k')], [c.putOp('k')])],
    ['both branches of a nested txn', txn([nested([c.putOp('k')], [c.putOp('k')])])],
    ['range with anything', txn([c.putOp('k'), c.getOp('k'), c.getOp('k')])],
    ['overlapping deletes', txn([c.deleteOp('k', 'l'), c.deleteOp('a', 'z')])],
    ['siblings put, then delete', txn([nested([c.putOp('k')]), nested([c.deleteOp('k')])])],
    ['neighbours', txn([c.putOp('k'), c.deleteOp('k\0'), c.deleteOp('a', 'k')])],
  ];
  for (const [name, request] of allowed) {
    await c.api.txn(request).catch((error) => {
      throw new Error(name, { cause: error });
    });
  }
});

add('a delete to the end of the keyspace overlaps no put', { fresh: true }, async (c) => {
  const answer = await c.api.txn(txn([c.putOp('k'), c.deleteOp('a', '\0')]));
  assert.equal(part(answer, 1, 'deleteRange').deleteRange.deleted, 1);
});

add('overlapping deletes: the second counts what is left', async (c) => {
  for (const name of ['a', 'b', 'c']) await c.put(name);
  const answer = await c.api.txn(txn([c.deleteOp('a', 'c'), c.deleteOp('a', 'z')]));
  assert.equal(part(answer, 0, 'deleteRange').deleteRange.deleted, 2);
  assert.equal(part(answer, 1, 'deleteRange').deleteRange.deleted, 1);
});

add('compare: every target with every result', async (c) => {
  const lease = await c.grant();
  const created = await c.put('k', 'm');
  const mod = await c.put('k', 'm', { lease });
  const own = { version: 2, create: created, mod } as const;
  const check = async (compare: Omit<Compare, 'key' | 'result'>, expected: string) => {
    let held = '';
    for (const result of ['equal', 'notEqual', 'greater', 'less'] as const) {
      if (await test(c, { key: c.key('k'), result, ...compare })) held += ` ${result}`;
    }
    assert.equal(held.trim(), expected, `${compare.target}`);
  };
  for (const kind of ['version', 'create', 'mod'] as const) {
    const at = (number: number) => ({ target: kind, operand: { kind, number } });
    await check(at(own[kind]), 'equal');
    await check(at(own[kind] - 1), 'notEqual greater');
    await check(at(own[kind] + 1), 'notEqual less');
  }
  const value = (text: string) => ({
    target: 'value' as const,
    operand: { kind: 'value' as const, bytes: utf8(text) },
  });
  await check(value('m'), 'equal');
  await check(value('l'), 'notEqual greater');
  await check(value('mm'), 'notEqual less');
  const leased = (id: bigint) => ({ target: 'lease' as const, operand: { kind: 'lease' as const, id } });
  await check(leased(lease), 'equal');
  await check(leased(lease - 1n), 'notEqual greater');
  await check(leased(lease + 1n), 'notEqual less');
  await c.api.leaseRevoke({ id: lease });
});

add('compare: a missing key is zero, but its value never compares', async (c) => {
  const key = c.key('missing');
  for (const kind of ['version', 'create', 'mod'] as const) {
    assert.equal(await test(c, { key, target: kind, result: 'equal', operand: { kind, number: 0 } }), true);
    assert.equal(await test(c, { key, target: kind, result: 'less', operand: { kind, number: 1 } }), true);
    assert.equal(
      await test(c, { key, target: kind, result: 'greater', operand: { kind, number: 0 } }),
      false,
    );
  }
  assert.equal(
    await test(c, { key, target: 'lease', result: 'equal', operand: { kind: 'lease', id: 0n } }),
    true,
  );
  for (const result of ['equal', 'notEqual', 'greater', 'less'] as const) {
    const operand = { kind: 'value', bytes: EMPTY_BYTES } as const;
    assert.equal(await test(c, { key, target: 'value', result, operand }), false, result);
  }
});

add('compare over a range: every key must satisfy it; an empty one is a missing key', async (c) => {
  await c.put('a', 'x');
  await c.put('b', 'x');
  await c.put('b', 'x');
  const over = (from: string, end: string) => ({ key: c.key(from), rangeEnd: c.key(end) });
  const version = (number: number) => ({ target: 'version', operand: { kind: 'version', number } }) as const;
  assert.equal(await test(c, { ...over('a', 'c'), ...version(0), result: 'greater' }), true);
  assert.equal(await test(c, { ...over('a', 'c'), ...version(1), result: 'equal' }), false);
  assert.equal(await test(c, { ...over('a', 'b'), ...version(1), result: 'equal' }), true);
  assert.equal(await test(c, { ...over('x', 'z'), ...version(0), result: 'equal' }), true);
  assert.equal(await test(c, { ...over('x', 'z'), ...version(0), result: 'greater' }), false);
  const value = { target: 'value', operand: { kind: 'value', bytes: utf8('x') } } as const;
  assert.equal(await test(c, { ...over('a', 'c'), ...value, result: 'equal' }), true);
  assert.equal(await test(c, { ...over('x', 'z'), ...value, result: 'notEqual' }), false);
});

add('compare: an absent operand or one of another kind is zero or empty', async (c) => {
  await c.put('k', 'v');
  const key = c.key('k');
  assert.equal(await test(c, { key, target: 'version', result: 'greater' }), true);
  assert.equal(await test(c, { key, target: 'value', result: 'greater' }), true);
  const other = { kind: 'version', number: 1 } as const;
  assert.equal(await test(c, { key, target: 'value', result: 'equal', operand: other }), false);
  assert.equal(await test(c, { key, target: 'mod', result: 'greater', operand: other }), true);
  const wrong = { kind: 'value', bytes: utf8('v') } as const;
  assert.equal(await test(c, { key, target: 'version', result: 'equal', operand: wrong }), false);
});

add('compare: an unknown result or target number is true', async (c) => {
  await c.put('k', 'v');
  assert.equal(await test(c, { key: c.key('k'), target: 'version', result: 9 }), true);
  assert.equal(await test(c, { key: c.key('k'), target: 9, result: 'equal' }), true);
});

add('compare: an unknown target is zero against zero; a missing value stays false', async (c) => {
  await c.put('k', 'v');
  for (const name of ['k', 'missing']) {
    for (const result of ['notEqual', 'greater', 'less'] as const) {
      assert.equal(await test(c, { key: c.key(name), target: 9, result }), false, result);
    }
    assert.equal(await test(c, { key: c.key(name), target: 9, result: 'equal' }), true);
  }
  assert.equal(await test(c, { key: c.key('missing'), target: 'value', result: 9 }), false);
});

add('all compares see the state before the txn, those of nested txns too', async (c) => {
  const compare: Compare = { key: c.key('k'), target: 'create', result: 'equal' };
  const answer = await c.api.txn(txn([c.putOp('k'), nested([c.putOp('yes')], [c.putOp('no')], [compare])]));
  assert.equal(part(answer, 1, 'txn').txn.succeeded, true);
  assert.ok(await c.get('yes'));
  assert.equal(await c.get('no'), undefined);
});

add('operations see those before them; all take one revision', async (c) => {
  const start = await c.put('a', 'old');
  const answer = await c.api.txn(
    txn([
      c.getOp('a'),
      c.putOp('a', 'new', { prevKv: true }),
      c.getOp('a'),
      nested([c.putOp('b')]),
      c.getOp('b'),
    ]),
  );
  assert.equal(answer.header.revision, start + 1);
  assert.deepEqual(part(answer, 0, 'range').range.kvs[0]?.value, utf8('old'));
  assert.deepEqual(part(answer, 1, 'put').put.prevKv?.value, utf8('old'));
  assert.deepEqual(part(answer, 2, 'range').range.kvs[0]?.value, utf8('new'));
  assert.equal(part(answer, 4, 'range').range.kvs[0]?.modRevision, start + 1);
  assert.equal(await c.revision(), start + 1);
});

add('a nested put, then delete: the delete sees the put', async (c) => {
  const answer = await c.api.txn(txn([nested([c.putOp('k')]), nested([c.deleteOp('k')]), c.getOp('k')]));
  const inner = part(answer, 1, 'txn').txn;
  assert.equal(part(inner, 0, 'deleteRange').deleteRange.deleted, 1);
  assert.equal(part(answer, 2, 'range').range.count, 0);
});

add(
  "inner headers: before the first write the revision before the txn, from then on the txn's",
  async (c) => {
    const start = await c.put('a');
    const answer = await c.api.txn(
      txn([
        c.deleteOp('none'),
        c.getOp('a'),
        c.putOp('b'),
        c.deleteOp('none2'),
        c.getOp('a'),
        c.deleteOp('a'),
      ]),
    );
    assert.equal(part(answer, 0, 'deleteRange').deleteRange.revision, start);
    assert.equal(part(answer, 1, 'range').range.revision, start);
    assert.equal(part(answer, 2, 'put').put.revision, start + 1);
    assert.equal(part(answer, 3, 'deleteRange').deleteRange.revision, start + 1);
    assert.equal(part(answer, 4, 'range').range.revision, start + 1);
    assert.equal(part(answer, 5, 'deleteRange').deleteRange.revision, start + 1);
  },
);

add('the failure branch runs when a compare fails', async (c) => {
  const compare: Compare = { key: c.key('k'), target: 'version', result: 'greater' };
  const answer = await c.api.txn(txn([c.putOp('yes')], [c.putOp('no'), c.getOp('no')], [compare]));
  assert.equal(answer.succeeded, false);
  assert.equal(answer.responses.length, 2);
  assert.equal(part(answer, 1, 'range').range.count, 1);
  assert.equal(await c.get('yes'), undefined);
});

add('one bad operation on the chosen path fails the whole txn and changes nothing', async (c) => {
  await c.put('there');
  const start = await c.revision();
  const bad: [Parameters<Conformance['rejects']>[0], RequestOp][] = [
    ['LEASE_NOT_FOUND', c.putOp('b', 'v', { lease: 999_999n })],
    ['KEY_NOT_FOUND', { type: 'put', put: { key: c.key('b'), ignoreValue: true } }],
    ['KEY_NOT_FOUND', c.putOp('b', 'v', { ignoreLease: true })],
    ['FUTURE_REVISION', c.getOp('there', { revision: start + 1 })],
    ['FUTURE_REVISION', c.getOp('there', { revision: start + 100 })],
  ];
  for (const [code, op] of bad) {
    await c.rejects(code, c.api.txn(txn([c.putOp('a'), op])));
    await c.rejects(code, c.api.txn(txn([c.putOp('a'), nested([op])])));
  }
  assert.equal(await c.get('a'), undefined);
  assert.equal(await c.revision(), start);
});

add('an operation on the path not taken is not checked against the state', async (c) => {
  const bad = c.putOp('b', 'v', { lease: 999_999n });
  const answer = await c.api.txn(txn([c.putOp('a'), nested([c.putOp('c')], [bad])], [bad]));
  assert.equal(answer.succeeded, true);
});

add('ignoreValue of a key that the same txn made is refused', async (c) => {
  const ignore: RequestOp = { type: 'put', put: { key: c.key('k'), ignoreValue: true } };
  await c.rejects('KEY_NOT_FOUND', c.api.txn(txn([nested([c.putOp('other')]), ignore])));
});

add('a range in a txn reads old revisions; one that only reads takes no revision', async (c) => {
  const old = await c.put('k', 'old');
  const now = await c.put('k', 'new');
  const answer = await c.api.txn(
    txn([c.getOp('k', { revision: old }), c.getOp('k'), nested([c.getOp('k')])]),
  );
  assert.deepEqual(part(answer, 0, 'range').range.kvs[0]?.value, utf8('old'));
  assert.deepEqual(part(answer, 1, 'range').range.kvs[0]?.value, utf8('new'));
  assert.equal(answer.header.revision, now);
});

add('a negative revision in a txn is compared with the compact revision', { fresh: true }, async (c) => {
  await c.put('k');
  const read = (revision: number) => c.api.txn(txn([c.getOp('k', { revision })]));
  assert.equal(part(await read(-1), 0, 'range').range.count, 1);
  await c.rejects('COMPACTED', read(-5));
});

add('prevKv and leases work inside', async (c) => {
  const lease = await c.grant();
  await c.put('d', 'gone');
  const deletion: RequestOp = { type: 'deleteRange', deleteRange: { key: c.key('d'), prevKv: true } };
  const answer = await c.api.txn(txn([c.putOp('k', 'v', { lease }), deletion]));
  assert.deepEqual(part(answer, 1, 'deleteRange').deleteRange.prevKvs[0]?.value, utf8('gone'));
  assert.deepEqual((await c.api.leaseTimeToLive({ id: lease, keys: true })).keys, [c.key('k')]);
  await c.api.leaseRevoke({ id: lease });
  assert.equal(await c.get('k'), undefined);
});

add('three puts and a delete of two: one revision, five events in one response, in order', async (c) => {
  await c.put('x');
  await c.put('y');
  const watched = await c.watch(c.all);
  const answer = await c.api.txn(txn([c.putOp('c'), c.putOp('a'), c.deleteOp('x', 'z'), c.putOp('b')]));
  await watched.responsesUntil(2);
  assert.deepEqual(
    watched.events.map((e) => `${e.type} ${c.name(e.kv.key)} ${e.kv.modRevision === answer.header.revision}`),
    ['put c true', 'put a true', 'delete x true', 'delete y true', 'put b true'],
  );
});
