import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  compare,
  errorCode,
  eventText,
  FROM_KEY,
  Harness,
  kvText,
  op,
  txnRequest,
} from '../test/store-harness.ts';
import { isReadOnlyTxn, isSerializableTxn } from './apply-guards.ts';
import { validateTxn } from './request-validation.ts';
import type { Compare, RequestOp, ResponseOp, TxnRequest } from './types.ts';

const MAX_OPS = 128;
const times = <T>(count: number, make: (i: number) => T): T[] =>
  Array.from({ length: count }, (_, i) => make(i));
const check = (request: Partial<TxnRequest>) => errorCode(() => validateTxn(txnRequest(request), MAX_OPS));
const responseText = (response: ResponseOp): string => {
  switch (response.type) {
    case 'put':
      return `put@${response.put.revision}${response.put.prevKv ? ` was ${kvText(response.put.prevKv)}` : ''}`;
    case 'deleteRange':
      return `deleted ${response.deleteRange.deleted}@${response.deleteRange.revision}`;
    case 'range':
      return `[${response.range.kvs.map(kvText).join(', ')}]@${response.range.revision}`;
    case 'txn':
      return `txn@${response.txn.revision} ${response.txn.succeeded}: ${response.txn.responses.map(responseText).join('; ')}`;
  }
};
const run = (h: Harness, ...success: RequestOp[]): string[] => h.txn({ success }).responses.map(responseText);

// --- validation ---

test('128 operations of a kind pass, 129 do not; a nested transaction gets what its parents left', () => {
  const puts = (count: number) => times(count, (i) => op.put(`k${i}`));
  assert.equal(check({ success: puts(128), failure: puts(128) }), 'no error');
  assert.equal(check({ success: puts(129) }), 'TOO_MANY_OPS');
  assert.equal(check({ failure: puts(129) }), 'TOO_MANY_OPS');
  assert.equal(check({ compare: times(129, () => compare('a', 'mod', 'equal', 0)) }), 'TOO_MANY_OPS');
  const nested = (inside: number) => [
    ...times(99, (i) => op.put(`o${i}`)),
    op.txn({ success: times(inside, (i) => op.put(`i${i}`)) }),
  ];
  assert.equal(check({ success: nested(28) }), 'no error');
  assert.equal(check({ success: nested(29) }), 'TOO_MANY_OPS');
  assert.throws(() => validateTxn(txnRequest({ success: puts(129) }), MAX_OPS), {
    message: 'etcdserver: too many operations in txn request',
  });
});

test('operations and compares have the checks of the single requests', () => {
  assert.equal(check({ compare: [compare('', 'mod', 'equal', 0)] }), 'EMPTY_KEY');
  assert.equal(check({ success: [{ type: 'none' }] }), 'KEY_NOT_FOUND');
  assert.equal(check({ failure: [op.put('')] }), 'EMPTY_KEY');
  assert.equal(check({ success: [op.put('k', 'v', { ignoreValue: true })] }), 'VALUE_PROVIDED');
  assert.equal(check({ success: [op.put('k', '', { ignoreLease: true, lease: 4n })] }), 'LEASE_PROVIDED');
  assert.equal(check({ success: [op.txn({ failure: [op.range('')] })] }), 'EMPTY_KEY');
  assert.equal(check({ success: [op.delete('')] }), 'EMPTY_KEY');
  const sortOrder = 'sideways' as unknown as 'ascend';
  assert.equal(check({ success: [op.range('a', { sortOrder })] }), 'INVALID_SORT_OPTION');
});

const nestedPut = (branch: 'success' | 'failure', key = 'k') => op.txn({ [branch]: [op.put(key)] });
const nestedDelete = op.txn({ success: [op.delete('k')] });
const duplicates: [string, Partial<TxnRequest>, boolean][] = [
  ['put twice', { success: [op.put('k'), op.put('k')] }, true],
  ['put, then delete of it', { success: [op.put('k'), op.delete('k')] }, true],
  ['delete of a range, then put in it', { success: [op.delete('a', 'z'), op.put('k')] }, true],
  ['put at the open end of a deleted range', { success: [op.delete('a', 'k'), op.put('k')] }, false],
  ['put at the start of a deleted range', { success: [op.delete('k', 'z'), op.put('k')] }, true],
  ['overlapping deletes', { success: [op.delete('a', 'm'), op.delete('k', 'z'), op.delete('k')] }, false],
  ['range with anything', { success: [op.range('a', { end: 'z' }), op.put('k'), op.range('k')] }, false],
  ['put in both branches', { success: [op.put('k')], failure: [op.put('k')] }, false],
  [
    'put in both branches inside',
    { success: [op.txn({ success: [op.put('k')], failure: [op.put('k')] })] },
    false,
  ],
  ['put outside and inside', { success: [op.put('k'), nestedPut('failure')] }, true],
  ['put inside and outside', { failure: [nestedPut('success'), op.put('k')] }, true],
  ['put in two siblings', { success: [nestedPut('success'), nestedPut('failure')] }, true],
  ['sibling deletes, then sibling puts', { success: [nestedDelete, nestedPut('success')] }, true],
  ['sibling puts, then sibling deletes (quirk)', { success: [nestedPut('success'), nestedDelete] }, false],
  ['put outside, delete inside', { success: [op.put('k'), nestedDelete] }, true],
  ['delete outside, put inside', { success: [op.delete('k'), nestedPut('failure')] }, true],
  ['put and delete from a key on (quirk)', { success: [op.put('k'), op.delete('a', FROM_KEY)] }, false],
  ['put in one branch, delete in the other', { success: [op.put('k')], failure: [op.delete('k')] }, false],
  [
    'inside: put in one branch, delete in the other',
    { success: [op.txn({ success: [op.put('k')], failure: [op.delete('k')] })] },
    false,
  ],
  [
    'two levels down and outside',
    { success: [op.txn({ success: [nestedPut('success')] }), op.put('k')] },
    true,
  ],
];
for (const [what, request, refused] of duplicates) {
  test(`duplicate keys, ${what}: ${refused ? 'refused' : 'allowed'}`, () => {
    assert.equal(check(request), refused ? 'DUPLICATE_KEY' : 'no error');
  });
}

test('a transaction of very many nested operations is checked in reasonable time', () => {
  const level = (depth: number, name: string): RequestOp =>
    op.txn({
      success: times(31, (i) =>
        depth === 0
          ? i % 2
            ? op.put(`${name}-${i}`)
            : op.delete(`d${name}-${i}`, `d${name}-${i}a`)
          : level(depth - 1, `${name}-${i}`),
      ),
    });
  const before = performance.now();
  assert.equal(check({ success: [level(2, 'x')] }), 'no error');
  assert.ok(performance.now() - before < 5000, `${performance.now() - before} ms for 30,000 operations`);
});

// --- compares ---

const holds = (h: Harness, ...compares: Compare[]): boolean => h.txn({ compare: compares }).succeeded;

test('compares: every target with every result', () => {
  const h = new Harness();
  h.grant(5n);
  h.put('k', 'a');
  h.put('k', 'm', { lease: 5n });
  const cases: [
    Compare['target'],
    number | bigint | string,
    number | bigint | string,
    number | bigint | string,
  ][] = [
    ['version', 1, 2, 3],
    ['create', 1, 2, 3],
    ['mod', 2, 3, 4],
    ['value', 'a', 'm', 'z'],
    ['lease', 4n, 5n, 6n],
  ];
  const results = ['less', 'equal', 'greater', 'notEqual'] as const;
  for (const [target, below, same, above] of cases) {
    const row = (operand: number | bigint | string) =>
      results.map((r) => holds(h, compare('k', target, r, operand)));
    assert.deepEqual(row(below), [false, false, true, true], String(target));
    assert.deepEqual(row(same), [false, true, false, false], String(target));
    assert.deepEqual(row(above), [true, false, false, true], String(target));
  }
});

test('a missing key compares as 0, but its value compares with nothing', () => {
  const h = new Harness();
  for (const target of ['version', 'create', 'mod'] as const) {
    assert.ok(holds(h, compare('no', target, 'equal', 0)));
    assert.ok(holds(h, compare('no', target, 'less', 1)));
  }
  assert.ok(holds(h, compare('no', 'lease', 'equal', 0n)));
  for (const result of ['equal', 'notEqual', 'less', 'greater', 9] as const) {
    assert.ok(!holds(h, compare('no', 'value', result, '')), String(result));
  }
  h.put('no', '');
  h.delete('no');
  assert.ok(!holds(h, compare('no', 'value', 'equal', '')));
  assert.ok(holds(h, compare('no', 'mod', 'equal', 0)));
});

test('a compare over a range holds when every key satisfies it; an empty range is a missing key', () => {
  const h = new Harness();
  h.put('a', 'x');
  h.put('b', 'x');
  assert.ok(holds(h, compare('a', 'value', 'equal', 'x', 'c')));
  assert.ok(!holds(h, compare('a', 'mod', 'equal', 2, 'c')));
  assert.ok(holds(h, compare('a', 'mod', 'less', 4, FROM_KEY)));
  assert.ok(holds(h, compare('x', 'mod', 'equal', 0, 'z')));
  assert.ok(!holds(h, compare('x', 'value', 'notEqual', 'q', 'z')));
  h.delete('b');
  assert.ok(holds(h, compare('a', 'mod', 'equal', 2, 'c')));
});

test('an absent operand, or one of another kind, is 0 or no bytes', () => {
  const h = new Harness();
  h.put('k', '');
  assert.ok(holds(h, compare('k', 'value', 'equal', undefined)));
  assert.ok(holds(h, compare('k', 'lease', 'equal', undefined)));
  assert.ok(holds(h, compare('k', 'mod', 'greater', undefined)));
  assert.ok(!holds(h, { ...compare('k', 'mod', 'equal', 2), operand: { kind: 'create', number: 2 } }));
  assert.ok(holds(h, { ...compare('k', 'mod', 'equal', 2), operand: { kind: 'mod', number: 2 } }));
});

test('unknown numbers: any result is true, an unknown target is equal (as etcd 3.4.23 answers)', () => {
  const h = new Harness();
  h.put('k', 'v');
  assert.ok(holds(h, compare('k', 'create', 9, 77)));
  const unknown = (result: Compare['result']) => holds(h, compare('k', 9, result, 77));
  assert.deepEqual(
    ['equal', 'greater', 'less', 'notEqual'].map((r) => unknown(r as 'equal')),
    [true, false, false, false],
  );
  assert.ok(unknown(-4));
});

// --- execution ---

test('an empty transaction succeeds and makes no revision; neither does a branch that only reads', () => {
  const h = new Harness();
  assert.deepEqual(h.txn({}), { revision: 1, succeeded: true, responses: [] });
  h.put('k', 'v');
  assert.deepEqual(run(h, op.range('k'), op.delete('no')), ['[k=v@2]@2', 'deleted 0@2']);
  const failed = h.txn({ compare: [compare('k', 'version', 'greater', 5)], success: [op.put('k')] });
  assert.deepEqual(failed, { revision: 2, succeeded: false, responses: [] });
  assert.equal(h.machine.currentRevision, 2);
});

test('all changes share one revision, in order of sub-revision, and later operations see earlier ones', () => {
  const h = new Harness();
  h.put('x', 'old');
  h.put('y', 'old');
  const outcome = h.apply({
    type: 'txn',
    txn: txnRequest({
      success: [
        op.range('a', { end: 'z' }),
        op.delete('no'),
        op.put('b', '1'),
        op.delete('x', 'z'),
        op.put('a', '2'),
        op.delete('no'),
        op.range('a', { end: 'z' }),
        op.put('c', '3', { prevKv: true }),
      ],
    }),
  });
  assert.ok('result' in outcome && outcome.result.type === 'txn');
  assert.deepEqual(outcome.result.txn.responses.map(responseText), [
    '[x=old@2, y=old@3]@3',
    'deleted 0@3',
    'put@4',
    'deleted 2@4',
    'put@4',
    'deleted 0@4',
    '[a=2@4, b=1@4]@4',
    'put@4',
  ]);
  assert.equal(outcome.result.txn.revision, 4);
  const expected = ['b=1@4', 'x deleted@4 (was x=old@2)', 'y deleted@4 (was y=old@3)', 'a=2@4', 'c=3@4'];
  assert.deepEqual(outcome.events.map(eventText), expected);
  assert.deepEqual(h.events(4), expected);
});

test('the second of two overlapping deletes counts what is left', () => {
  const h = new Harness();
  for (const key of ['a', 'b', 'c']) h.put(key);
  assert.deepEqual(run(h, op.delete('a', 'c'), op.delete('b', 'd')), ['deleted 2@5', 'deleted 1@5']);
});

test('nested: compares see the state before the whole, inner headers are empty, writes share the revision', () => {
  const h = new Harness();
  const inner = op.txn({
    compare: [compare('a', 'version', 'equal', 0)],
    success: [op.put('b', 'a was not there'), op.txn({ success: [op.range('a', { end: 'z' })] })],
    failure: [op.put('b', 'a was there')],
  });
  assert.deepEqual(run(h, op.put('a', '1'), inner), [
    'put@2',
    'txn@0 true: put@2; txn@0 true: [a=1@2, b=a was not there@2]@2',
  ]);
});

test('a put that must fail fails the whole, and nothing of it happened', () => {
  const h = new Harness();
  h.put('k', 'v');
  const fails = (...success: RequestOp[]): string => {
    const outcome = h.apply({ type: 'txn', txn: txnRequest({ success: [op.put('first'), ...success] }) });
    assert.deepEqual([outcome.revision, outcome.events.length, h.get('first')], [2, 0, 'nothing']);
    return 'error' in outcome ? outcome.error.message : 'done';
  };
  assert.equal(fails(op.put('k', 'x', { lease: 8n })), 'etcdserver: requested lease not found');
  assert.equal(fails(op.put('no', undefined, { ignoreValue: true })), 'etcdserver: key not found');
  assert.equal(
    fails(op.txn({ success: [op.put('no', 'x', { ignoreLease: true })] })),
    'etcdserver: key not found',
  );
  assert.equal(fails({ type: 'none' }), 'etcdserver: key not found');
  const future = 'etcdserver: mvcc: required revision is a future revision';
  assert.equal(fails(op.range('k', { revision: 3 })), future);
  h.compact(2);
  assert.equal(
    fails(op.range('k', { revision: 1 })),
    'etcdserver: mvcc: required revision has been compacted',
  );
  // A key that an earlier operation deletes is not there to lend its value: etcd stops for good here.
  assert.equal(
    fails(op.delete('a', FROM_KEY), op.put('k', undefined, { ignoreValue: true })),
    'etcdserver: key not found',
  );
});

test('what the branch not taken would do wrong does not matter', () => {
  const h = new Harness();
  const failure = [op.put('k', 'x', { lease: 8n }), op.range('k', { revision: 99 })];
  assert.equal(h.txn({ success: [op.put('k', 'fine')], failure }).succeeded, true);
  assert.equal(h.get('k'), 'k=fine@2');
});

test('a range in a transaction reads old revisions, and negative ones down to the compact revision', () => {
  const h = new Harness();
  h.put('k', '1');
  h.put('k', '2');
  assert.deepEqual(run(h, op.put('k', '3'), op.range('k', { revision: 2 }), op.range('k', { revision: 3 })), [
    'put@4',
    '[k=1@2]@4',
    '[k=2@3 c2 v2]@4',
  ]);
  assert.deepEqual(run(h, op.range('k', { revision: -1 })), ['[k=3@4 c2 v3]@4']);
  const negative = (revision: number) => errorCode(() => run(h, op.range('k', { revision })));
  assert.equal(negative(-5), 'COMPACTED');
  h.compact(3);
  assert.equal(negative(-1), 'COMPACTED');
  assert.equal(negative(0), 'no error');
});

test('a key put and deleted in one revision: prev_kv is of the operation, an event of the revision before', () => {
  const h = new Harness();
  h.put('k', 'old');
  const put = op.txn({ success: [op.put('k', 'new', { prevKv: true })] });
  const outcome = h.apply({
    type: 'txn',
    txn: txnRequest({ success: [put, op.txn({ success: [op.delete('k', undefined, true)] })] }),
  });
  assert.ok('result' in outcome && outcome.result.type === 'txn');
  const [, second] = outcome.result.txn.responses;
  assert.ok(second?.type === 'txn' && second.txn.responses[0]?.type === 'deleteRange');
  assert.deepEqual(second.txn.responses[0].deleteRange.prevKvs.map(kvText), ['k=new@3 c2 v2']);
  const expected = ['k=new@3 c2 v2 (was k=old@2)', 'k deleted@3 (was k=old@2)'];
  assert.deepEqual(outcome.events.map(eventText), expected);
  assert.deepEqual(h.events(3), expected);
  assert.equal(h.get('k', 2), 'k=old@2');
  assert.equal(h.get('k', 3), 'nothing');
});

test('read-only and serializable are told by what a transaction holds, in both branches and inside', () => {
  const reads = txnRequest({ success: [op.range('a')], failure: [op.txn({ success: [op.range('b')] })] });
  assert.ok(isReadOnlyTxn(reads) && !isSerializableTxn(reads));
  assert.ok(isReadOnlyTxn(txnRequest({})) && isSerializableTxn(txnRequest({})));
  assert.ok(!isReadOnlyTxn(txnRequest({ failure: [op.txn({ success: [op.delete('a')] })] })));
  const local = op.range('a', { serializable: true });
  assert.ok(isSerializableTxn(txnRequest({ success: [local, op.txn({ failure: [local] })] })));
  assert.ok(!isSerializableTxn(txnRequest({ success: [local, op.txn({ failure: [op.range('a')] })] })));
});

test('readTxn answers as apply would and changes nothing', () => {
  const h = new Harness();
  h.put('k', 'v');
  const request = txnRequest({
    compare: [compare('k', 'version', 'equal', 1)],
    success: [op.range('k'), op.txn({ success: [op.range('k', { countOnly: true })] })],
  });
  assert.deepEqual(h.machine.readTxn(request), h.txn(request));
  assert.equal(h.machine.currentRevision, 2);
  assert.throws(() => h.machine.readTxn(txnRequest({ success: [op.put('k')] })), /has to be applied/);
});
