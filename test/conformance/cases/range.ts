import assert from 'node:assert/strict';
import { EMPTY_BYTES, utf8, utf8Text } from '@muster/base';
import type { RangeRequest } from '@muster/kv';
import { area, type Conformance, joined } from '../suite.ts';

const { cases, add } = area('range');

/** Reference section 2.2. */
export const rangeCases = cases;

/** a..e with values that sort otherwise, versions 5..1, and modified in the order c, e, a, d, b at last. */
async function fill(c: Conformance): Promise<Map<string, number>> {
  const order = ['c', 'e', 'a', 'd', 'b'];
  const created = new Map<string, number>();
  for (const name of 'abcde') created.set(name, await c.put(name, 'first'));
  for (const [i, name] of [...'abcde'].entries()) {
    for (let n = 0; n < 3 - i; n++) await c.put(name, 'more');
  }
  for (const [i, name] of order.entries()) await c.put(name, `value ${9 - i}`);
  return created;
}

const found = async (c: Conformance, more: Partial<RangeRequest>) => {
  const answer = await c.api.range({ ...c.all, ...more });
  return { names: c.names(answer.kvs).join(''), more: answer.more, count: answer.count };
};

add('an empty key is refused', async (c) => {
  await c.rejects('EMPTY_KEY', c.api.range({ key: EMPTY_BYTES }));
  await c.rejects('EMPTY_KEY', c.api.range({ key: EMPTY_BYTES, rangeEnd: utf8('z') }));
});

add('one key, a half-open range, an empty one, a prefix', async (c) => {
  await fill(c);
  await c.put('bb');
  const names = async (from: string, end: string) =>
    c.names((await c.api.range({ key: c.key(from), rangeEnd: c.key(end) })).kvs);
  assert.deepEqual(await names('a', 'c'), ['a', 'b', 'bb']);
  assert.deepEqual(await names('b', 'b\0'), ['b']);
  assert.deepEqual(await names('c', 'a'), []);
  assert.deepEqual(await names('c', 'c'), []);
  assert.deepEqual(await names('b', 'c'), ['b', 'bb']);
  const single = await c.api.range({ key: c.key('b'), rangeEnd: EMPTY_BYTES });
  assert.deepEqual([c.names(single.kvs), single.count], [['b'], 1]);
});

add('a range end of one zero byte is the end of the keyspace', { fresh: true }, async (c) => {
  await fill(c);
  const high = joined(new Uint8Array([0xff, 0xff]), 'last');
  await c.api.put({ key: high });
  const from = await c.api.range({ key: c.key('d'), rangeEnd: utf8('\0') });
  assert.deepEqual(
    from.kvs.map((kv) => kv.key),
    [c.key('d'), c.key('e'), high],
  );
  const all = await c.api.range({ key: utf8('\0'), rangeEnd: utf8('\0'), countOnly: true });
  assert.deepEqual([all.count, all.kvs], [6, []]);
});

add(
  'revisions: at or below zero is the latest, each kept one is readable, a later one is refused',
  async (c) => {
    const first = await c.put('k', '1');
    const second = await c.put('k', '2');
    const valueAt = async (revision: number) => utf8Text((await c.get('k', revision))?.value as Uint8Array);
    assert.equal(await valueAt(0), '2');
    assert.equal(await valueAt(-1), '2');
    assert.equal(await valueAt(first), '1');
    assert.equal(await valueAt(second), '2');
    assert.equal(await c.get('k', first - 1), undefined);
    await c.rejects('FUTURE_REVISION', c.api.range({ key: c.key('k'), revision: (await c.revision()) + 1 }));
  },
);

add('limit: 0 and below is none; more tells of keys left out; count does not mind', async (c) => {
  await fill(c);
  assert.deepEqual(await found(c, { limit: 0 }), { names: 'abcde', more: false, count: 5 });
  assert.deepEqual(await found(c, { limit: -3 }), { names: 'abcde', more: false, count: 5 });
  assert.deepEqual(await found(c, { limit: 2 }), { names: 'ab', more: true, count: 5 });
  assert.deepEqual(await found(c, { limit: 5 }), { names: 'abcde', more: false, count: 5 });
  assert.deepEqual(await found(c, { limit: 6 }), { names: 'abcde', more: false, count: 5 });
});

add('countOnly and keysOnly', async (c) => {
  await fill(c);
  assert.deepEqual(await found(c, { countOnly: true }), { names: '', more: false, count: 5 });
  assert.deepEqual(await found(c, { countOnly: true, limit: 2 }), { names: '', more: false, count: 5 });
  const lease = await c.grant();
  await c.put('a', 'leased', { lease });
  const full = (await c.api.range(c.all)).kvs;
  const bare = (await c.api.range({ ...c.all, keysOnly: true })).kvs;
  assert.deepEqual(
    bare,
    full.map((kv) => ({ ...kv, value: EMPTY_BYTES })),
  );
  assert.equal(bare[0]?.lease, lease);
  const single = await c.api.range({ key: c.key('a'), countOnly: true });
  assert.deepEqual([single.count, single.kvs], [1, []]);
  assert.equal((await c.api.range({ key: c.key('none'), countOnly: true })).count, 0);
  await c.api.leaseRevoke({ id: lease });
});

add('count and keys at an old revision', async (c) => {
  await c.put('a');
  const two = await c.put('b');
  await c.put('c');
  await c.delete('a');
  assert.deepEqual(await found(c, { revision: two }), { names: 'ab', more: false, count: 2 });
  assert.deepEqual(await found(c, { revision: two, countOnly: true }), { names: '', more: false, count: 2 });
  assert.deepEqual(await found(c, {}), { names: 'bc', more: false, count: 2 });
});

add('every sort, both ways', async (c) => {
  await fill(c);
  const expected = { key: 'abcde', version: 'edcba', create: 'abcde', mod: 'ceadb', value: 'bdaec' } as const;
  for (const [target, names] of Object.entries(expected)) {
    const sortTarget = target as keyof typeof expected;
    // d and e were put the same number of times, as their order among equals is nobody's business.
    const byVersion = (text: string) => (target === 'version' ? text.replace(/[de]/g, '*') : text);
    const up = await found(c, { sortOrder: 'ascend', sortTarget });
    const down = await found(c, { sortOrder: 'descend', sortTarget });
    assert.equal(byVersion(up.names), byVersion(names), target);
    assert.equal(byVersion(down.names), byVersion([...names].reverse().join('')), target);
  }
});

add('a sort takes the limit after it; limit 2 of 5, newest first', async (c) => {
  await fill(c);
  const newest = await found(c, { sortOrder: 'descend', sortTarget: 'mod', limit: 2 });
  assert.deepEqual(newest, { names: 'bd', more: true, count: 5 });
  const last = await found(c, { sortOrder: 'descend', sortTarget: 'key', limit: 5 });
  assert.deepEqual(last, { names: 'edcba', more: false, count: 5 });
});

add('a sort target without an order: limit + 1 keys in key order, sorted ascending, then cut', async (c) => {
  await fill(c);
  const unordered = (limit: number) => found(c, { sortOrder: 'none', sortTarget: 'mod', limit });
  assert.deepEqual(await unordered(1), { names: 'a', more: true, count: 5 });
  assert.deepEqual(await unordered(2), { names: 'ca', more: true, count: 5 });
  assert.deepEqual(await unordered(3), { names: 'cad', more: true, count: 5 });
  assert.deepEqual(await unordered(4), { names: 'cead', more: true, count: 5 });
  assert.deepEqual(await unordered(5), { names: 'ceadb', more: false, count: 5 });
  assert.equal((await found(c, { sortTarget: 'value' })).names, 'bdaec');
  const bounded = await found(c, { sortTarget: 'mod', minCreateRevision: 1, limit: 2 });
  assert.deepEqual(bounded, { names: 'ce', more: true, count: 5 });
});

add(
  'bounds on mod and create revisions are inclusive, come before the limit, and leave count alone',
  async (c) => {
    const created = await fill(c);
    const mods = new Map((await c.api.range(c.all)).kvs.map((kv) => [c.name(kv.key), kv.modRevision]));
    const mod = (name: string) => mods.get(name) as number;
    const create = (name: string) => created.get(name) as number;
    assert.deepEqual(await found(c, { minModRevision: mod('a') }), { names: 'abd', more: false, count: 5 });
    assert.deepEqual(await found(c, { maxModRevision: mod('a') }), { names: 'ace', more: false, count: 5 });
    assert.equal((await found(c, { minModRevision: mod('e'), maxModRevision: mod('d') })).names, 'ade');
    assert.equal((await found(c, { minCreateRevision: create('d') })).names, 'de');
    assert.equal((await found(c, { maxCreateRevision: create('b') })).names, 'ab');
    const limited = await found(c, { minModRevision: mod('a'), limit: 2 });
    assert.deepEqual(limited, { names: 'ab', more: true, count: 5 });
    const exact = await found(c, { minModRevision: mod('a'), limit: 3 });
    assert.deepEqual(exact, { names: 'abd', more: false, count: 5 });
  },
);

add('a serializable read answers from local state', async (c) => {
  await c.put('k', 'v');
  await c.api.range({ key: c.key('k') });
  const answer = await c.api.range({ key: c.key('k'), serializable: true });
  assert.equal(answer.count, 1);
});

add("paging at the first page's revision sees one moment", async (c) => {
  for (let i = 0; i < 25; i++) await c.put(`k${String(i).padStart(2, '0')}`, 'old');
  const names: string[] = [];
  let key = c.all.key;
  let revision = 0;
  for (let more = true; more; ) {
    const page = await c.api.range({ ...c.all, key, limit: 7, revision });
    revision ||= page.header.revision as number;
    names.push(...c.names(page.kvs));
    assert.ok(page.kvs.every((kv) => utf8Text(kv.value) === 'old'));
    more = page.more;
    key = joined(page.kvs.at(-1)?.key as Uint8Array, '\0');
    await c.put(`k${String(names.length + 1).padStart(2, '0')}`, 'new');
    await c.delete('k24');
  }
  assert.deepEqual(
    names,
    Array.from({ length: 25 }, (_, i) => `k${String(i).padStart(2, '0')}`),
  );
});
