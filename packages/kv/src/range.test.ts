import assert from 'node:assert/strict';
import { test } from 'node:test';
import { utf8Text } from '@muster/base';
import { errorCode, FROM_KEY, Harness, type RangeText, rangeRequest } from '../test/store-harness.ts';
import { validateRange } from './request-validation.ts';
import type { RangeRequest } from './types.ts';

/** b c a d e written in that order at 2..6, then c again at 7. */
function filled(): Harness {
  const h = new Harness();
  for (const key of ['b', 'c', 'a', 'd', 'e']) h.put(key, `v${key}`);
  h.put('c', 'again');
  return h;
}

const keysOf = (h: Harness, options: RangeText): string => {
  const { kvs } = h.machine.range(rangeRequest('a', { end: FROM_KEY, ...options }));
  return kvs.map((kv) => utf8Text(kv.key)).join('');
};
const shape = (h: Harness, options: RangeText): string => {
  const { kvs, more, count } = h.machine.range(rangeRequest('a', { end: 'z', ...options }));
  return `${kvs.map((kv) => utf8Text(kv.key)).join('')} ${count}${more ? ' more' : ''}`;
};

test('an empty key is refused with etcd text', () => {
  assert.throws(() => validateRange(rangeRequest('')), { message: 'etcdserver: key is not provided' });
});

test('an unknown sort order or target is refused with etcd text', () => {
  const bad = [{ sortOrder: 'up' }, { sortTarget: 'size' }] as unknown as Partial<RangeRequest>[];
  for (const options of bad) {
    const request = { ...rangeRequest('a'), ...options };
    assert.throws(() => validateRange(request), { message: 'etcdserver: invalid sort option' });
  }
});

test('range_end: none is one key, a zero byte is to the end, else half open; upside down is empty', () => {
  const h = filled();
  assert.deepEqual(h.list('b'), ['b=vb@2']);
  assert.deepEqual(h.list('nope'), []);
  assert.equal(keysOf(h, {}), 'abcde');
  assert.equal(h.list('\0', { end: FROM_KEY }).length, 5);
  assert.deepEqual(h.list('b', { end: 'd' }), ['b=vb@2', 'c=again@7 c3 v2']);
  assert.deepEqual(h.list('d', { end: 'b' }), []);
  assert.deepEqual(h.list('b', { end: 'b' }), []);
});

test('revisions: 0 and negative are the newest, old ones are kept, future and compacted ones refused', () => {
  const h = filled();
  assert.equal(h.get('c', -5), 'c=again@7 c3 v2');
  assert.equal(h.get('c', 6), 'c=vc@3');
  assert.equal(h.get('c', 2), 'nothing');
  assert.deepEqual(h.all(3), ['b=vb@2', 'c=vc@3']);
  h.compact(4);
  const at = (revision: number) => h.machine.range(rangeRequest('c', { revision }));
  assert.throws(() => at(3), { message: 'etcdserver: mvcc: required revision has been compacted' });
  assert.throws(() => at(8), { message: 'etcdserver: mvcc: required revision is a future revision' });
  assert.equal(at(4).kvs.length, 1);
  assert.equal(
    errorCode(() => at(-1)),
    'no error',
  );
});

test('the answer carries the newest revision, whatever was asked for', () => {
  assert.equal(filled().machine.range(rangeRequest('a', { revision: 4 })).revision, 7);
});

test('limit: 0 and negative are none; more only when keys were left out; count ignores it', () => {
  const h = filled();
  assert.equal(shape(h, { limit: 0 }), 'abcde 5');
  assert.equal(shape(h, { limit: -1 }), 'abcde 5');
  assert.equal(shape(h, { limit: 2 }), 'ab 5 more');
  assert.equal(shape(h, { limit: 5 }), 'abcde 5');
  assert.equal(shape(h, { limit: 6 }), 'abcde 5');
  assert.equal(shape(h, { limit: 1, revision: 3 }), 'b 2 more');
});

test('count_only has no kvs and never more; keys_only drops the values alone', () => {
  const h = filled();
  assert.equal(shape(h, { countOnly: true, limit: 2 }), ' 5');
  assert.equal(h.machine.range(rangeRequest('b', { countOnly: true })).count, 1);
  assert.equal(h.machine.range(rangeRequest('zz', { countOnly: true })).count, 0);
  h.grant(9n);
  h.put('b', 'leased', { lease: 9n });
  assert.deepEqual(h.list('b', { end: 'd', keysOnly: true }), ['b=@8 c2 v2 l9', 'c=@7 c3 v2']);
  assert.deepEqual(h.list('b', { keysOnly: true, revision: 7 }), ['b=@2']);
});

test('keys_only reads no values, unless it sorts by them', () => {
  const h = filled();
  const get = h.engine.get.bind(h.engine);
  let values = 0;
  h.engine.get = (table, key) => {
    if (table === 'revisions') values++;
    return get(table, key);
  };
  keysOf(h, { keysOnly: true, sortTarget: 'mod', sortOrder: 'descend' });
  assert.equal(values, 0);
  assert.equal(keysOf(h, { keysOnly: true, sortTarget: 'value', sortOrder: 'ascend' }), 'cabde');
  assert.equal(values, 5);
});

test('an explicit order sorts by each target first and cuts afterwards', () => {
  const h = filled();
  const sorted = (sortTarget: RangeText['sortTarget'], sortOrder: RangeText['sortOrder']) =>
    keysOf(h, { ...(sortTarget ? { sortTarget } : {}), ...(sortOrder ? { sortOrder } : {}) });
  assert.equal(sorted('key', 'ascend'), 'abcde');
  assert.equal(sorted('key', 'descend'), 'edcba');
  assert.equal(sorted('create', 'ascend'), 'bcade');
  assert.equal(sorted('mod', 'ascend'), 'badec');
  assert.equal(sorted('mod', 'descend'), 'cedab');
  assert.equal(sorted('version', 'ascend'), 'abdec');
  assert.equal(sorted('version', 'descend'), 'cabde');
  assert.equal(sorted('value', 'descend'), 'edbac');
  assert.equal(shape(h, { limit: 2, sortTarget: 'mod', sortOrder: 'descend' }), 'ce 5 more');
  assert.equal(shape(h, { limit: 2, sortOrder: 'descend' }), 'ed 5 more');
});

test('without an order a target still sorts, but only one key more than the limit, in key order', () => {
  const h = filled();
  assert.equal(keysOf(h, { sortTarget: 'mod' }), 'badec');
  assert.equal(shape(h, { limit: 3, sortTarget: 'mod' }), 'bad 5 more');
  assert.equal(shape(h, { limit: 3, sortTarget: 'mod', sortOrder: 'none' }), 'bad 5 more');
  assert.equal(shape(h, { limit: 2, sortTarget: 'create' }), 'bc 5 more');
  assert.equal(shape(h, { limit: 2, sortTarget: 'mod', minModRevision: 3 }), 'ad 5 more');
});

test('min and max bounds are inclusive, 0 is off; limit and more apply after them, count before', () => {
  const h = filled();
  assert.equal(shape(h, { minModRevision: 5 }), 'cde 5');
  assert.equal(shape(h, { maxModRevision: 5 }), 'abd 5');
  assert.equal(shape(h, { minModRevision: 2, maxModRevision: 4 }), 'ab 5');
  assert.equal(shape(h, { minCreateRevision: 3, maxCreateRevision: 5 }), 'acd 5');
  assert.equal(shape(h, { minModRevision: 5, limit: 2 }), 'cd 5 more');
  assert.equal(shape(h, { minModRevision: 5, limit: 3 }), 'cde 5');
  assert.equal(shape(h, { minModRevision: 0, maxModRevision: 0 }), 'abcde 5');
  assert.equal(shape(h, { maxModRevision: 3, revision: 6 }), 'bc 5');
});

test('ties keep the order of the keys in both directions', () => {
  const h = new Harness();
  for (const key of ['c', 'a', 'b']) h.put(key, 'same');
  assert.equal(keysOf(h, { sortTarget: 'value', sortOrder: 'ascend' }), 'abc');
  assert.equal(keysOf(h, { sortTarget: 'value', sortOrder: 'descend' }), 'abc');
  assert.equal(keysOf(h, { sortTarget: 'version', sortOrder: 'descend' }), 'abc');
});

test('pages at a pinned revision put together are the whole, while the store moves on', () => {
  const h = new Harness();
  for (let i = 0; i < 25; i++) h.put(`k${String(i).padStart(2, '0')}`, 'old');
  const whole = h.all();
  const revision = h.machine.currentRevision;
  const pages: string[] = [];
  let [from, more, counts] = ['\0', true, ''];
  while (more) {
    const page = h.machine.range(rangeRequest(from, { end: FROM_KEY, limit: 7, revision }));
    pages.push(...h.list(from, { end: FROM_KEY, limit: 7, revision }));
    counts += `${page.count} `;
    more = page.more;
    from = `${utf8Text(page.kvs.at(-1)?.key as Uint8Array)}\0`;
    h.delete('k20');
    h.put('k10', 'new');
    h.put(`kk${from}`, 'new');
  }
  assert.deepEqual(pages, whole);
  assert.equal(counts, '25 18 11 4 ');
});
