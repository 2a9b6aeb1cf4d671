import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { KeyPage } from '@muster/contract';
import { json, testV1 } from '../../test/v1-harness.ts';

type Ask = ReturnType<typeof testV1>['ask'];

async function fill(ask: Ask, keys: readonly string[], value = 'v'): Promise<void> {
  for (const key of keys) await ask(`/v1/kv?key=${encodeURIComponent(key)}`, { method: 'PUT', body: value });
}

/** Follows `Link: rel="next"` to the end. */
async function pages(ask: Ask, first: string): Promise<KeyPage[]> {
  const out: KeyPage[] = [];
  for (let path: string | undefined = first; path; ) {
    const response: Response = await ask(path);
    assert.equal(response.status, 200, await response.clone().text());
    const page = await json<KeyPage>(response);
    out.push(page);
    path = /<([^>]+)>; rel="next"/.exec(response.headers.get('link') ?? '')?.[1];
    assert.equal(path !== undefined, page.nextCursor !== undefined);
    assert.ok(out.length < 1000, 'pages without end');
  }
  return out;
}

const keysOf = (list: readonly KeyPage[]) => list.flatMap((page) => page.items.map((item) => item.key));

test('a prefix does not read its neighbours, and pages are one snapshot however the store changes', async () => {
  const { ask } = testV1();
  const keys = Array.from({ length: 25 }, (_, i) => `user/${String(i).padStart(2, '0')}`);
  await fill(ask, [...keys, 'user-admin', 'user0', 'use']);
  const first = await json<KeyPage>(ask('/v1/kv?prefix=user/&limit=10'));
  assert.equal(first.count, 25);
  await ask('/v1/kv?prefix=user/1', { method: 'DELETE' });
  await fill(ask, ['user/005', 'user/99']);
  const rest = await pages(ask, `/v1/kv?prefix=user/&limit=10&cursor=${first.nextCursor}`);
  assert.deepEqual([...keysOf([first]), ...keysOf(rest)], keys);
  assert.ok(rest.every((page) => page.revision === first.revision));
});

test('descending pages', async () => {
  const { ask } = testV1();
  await fill(ask, ['a', 'b', 'c', 'd', 'e']);
  assert.deepEqual(keysOf(await pages(ask, '/v1/kv?limit=2&order=desc')), ['e', 'd', 'c', 'b', 'a']);
});

test('a page ends when it is large enough, whatever its limit', async () => {
  const { ask } = testV1({ limits: { pageBytes: 40_000, sliceBytes: 20_000 } });
  const keys = Array.from({ length: 100 }, (_, i) => `k${String(i).padStart(3, '0')}`);
  await fill(ask, keys, 'x'.repeat(1000));
  const list = await pages(ask, '/v1/kv?prefix=k');
  assert.deepEqual(keysOf(list), keys);
  assert.ok(list.length >= 2 && list.every((page) => page.items.length < 100), String(list.length));
});

test('a delimiter answers each group once, over pages too', async () => {
  const { ask } = testV1();
  const keys = ['a/1', 'a/2/x', 'a/2/y', 'a/3', 'b/1', 'c', 'd/1', 'd/2'];
  await fill(ask, keys);
  const all = await json<KeyPage>(ask('/v1/kv?prefix=&delimiter=/'));
  assert.deepEqual([all.prefixes, keysOf([all])], [['a/', 'b/', 'd/'], ['c']]);
  const inside = await json<KeyPage>(ask('/v1/kv?prefix=a/&delimiter=/'));
  assert.deepEqual([inside.prefixes, keysOf([inside])], [['a/2/'], ['a/1', 'a/3']]);
  const list = await pages(ask, '/v1/kv?delimiter=/&limit=1');
  assert.deepEqual(
    list.flatMap((page) => page.prefixes ?? []),
    ['a/', 'b/', 'd/'],
  );
  assert.deepEqual(keysOf(list), ['c']);
});

test('start and end, sorting, keysOnly, countOnly, minModRevision, at', async () => {
  const { ask } = testV1();
  await fill(ask, ['a', 'b', 'c', 'd']);
  await fill(ask, ['b'], 'again');
  assert.deepEqual(keysOf([await json<KeyPage>(ask('/v1/kv?start=b&end=d'))]), ['b', 'c']);
  assert.deepEqual(keysOf([await json<KeyPage>(ask('/v1/kv?start=c'))]), ['c', 'd']);
  assert.deepEqual(keysOf([await json<KeyPage>(ask('/v1/kv?sort=mod&order=desc'))]), ['b', 'd', 'c', 'a']);
  assert.deepEqual(keysOf([await json<KeyPage>(ask('/v1/kv?minModRevision=5'))]), ['b', 'd']);
  const names = await json<KeyPage>(ask('/v1/kv?keysOnly=1'));
  assert.ok(names.items.every((item) => !('value' in item)));
  const count = await json<KeyPage>(ask('/v1/kv?countOnly=1'));
  assert.deepEqual([count.count, count.items], [4, []]);
  assert.deepEqual(keysOf([await json<KeyPage>(ask('/v1/kv?at=3'))]), ['a', 'b']);
});

test('the ETag of a selection changes with the selection and with nothing else', async () => {
  const { ask } = testV1();
  await fill(ask, ['a/1', 'a/2', 'b/1']);
  const etag = (await ask('/v1/kv?prefix=a/')).headers.get('etag') as string;
  assert.match(etag, /^W\/"/);
  await fill(ask, ['b/1', 'b/2']);
  const headers = { 'if-none-match': etag };
  assert.equal((await ask('/v1/kv?prefix=a/', { headers })).status, 304);
  await fill(ask, ['a/2']);
  assert.equal((await ask('/v1/kv?prefix=a/', { headers })).status, 200);
});

test('deleting a selection: dry run, refusal of everything, all=true', async () => {
  const { ask } = testV1();
  await fill(ask, ['a/1', 'a/2', 'b']);
  const remove = (query: string) => ask(`/v1/kv${query}`, { method: 'DELETE' });
  assert.deepEqual(await json(remove('?prefix=a/&dryRun=1')), { deleted: 2, revision: 4, dryRun: true });
  for (const query of ['', '?prefix=', '?start=%00', '?start=']) {
    assert.equal((await remove(query)).status, 400, query);
  }
  assert.deepEqual(await json(remove('?prefix=a/')), { deleted: 2, revision: 5 });
  assert.deepEqual(await json(remove('?prefix=a/')), { deleted: 0, revision: 5 });
  assert.deepEqual(await json(remove('?all=true')), { deleted: 1, revision: 6 });
});

test('cursors: of another store 410, compacted 410, garbage 400', async () => {
  const { ask, api } = testV1();
  await fill(ask, ['a', 'b', 'c']);
  const { nextCursor } = await json<KeyPage>(ask('/v1/kv?limit=1'));
  const foreign = await ask('/v1/kv?cursor=0000000000000001.3.YQA');
  assert.equal(foreign.status, 410);
  assert.equal((await json(foreign)).code, 'FOREIGN_EPOCH');
  await fill(ask, ['d']);
  await api.compact({ revision: 5 });
  const compacted = await ask(`/v1/kv?limit=1&cursor=${nextCursor}`);
  assert.equal(compacted.status, 410);
  assert.equal((await json(compacted)).compactRevision, 5);
  for (const bad of ['x', '.1', 'a.b', 'abcdef0123456789.1.A', 'abcdef0123456789.99999999999999999999']) {
    assert.equal((await ask(`/v1/kv?cursor=${bad}`)).status, 400, bad);
  }
});

test('combinations that mean nothing are refused', async () => {
  const { ask } = testV1();
  for (const query of [
    '?key=a&prefix=b',
    '?key=a&keyB64=YQ==',
    '?prefix=a&start=b',
    '?prefix=a&prefixB64=YQ==',
    '?delimiter=/&sort=mod',
    '?delimiter=/&order=desc',
    '?cursor=abcdef0123456789.1.YQ&sort=mod',
    '?wait=1s',
    '?since=abcdef0123456789.1',
    '?limit=0',
    '?limit=1001',
    '?limit=1e3',
    '?limit=1&limit=2',
    '?at=0',
    '?at=99999999999999999999',
    '?sort=size',
    '?keysOnly=maybe',
    '?consistency=eventual',
  ]) {
    const response = await ask(`/v1/kv${query}`);
    assert.equal(response.status, 400, query);
    assert.ok(String((await json(response)).detail).length > 10, query);
  }
});
