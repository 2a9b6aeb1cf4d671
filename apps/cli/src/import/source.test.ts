import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { EtcdApi, KeyValue, RangeRequest } from '@muster/kv';
import type { EtcdClient } from '../client.ts';
import { bytesOf } from '../range.ts';
import { pagesByChange, pagesByKey, rangeOfPrefix } from './source.ts';

const header = { clusterId: 1n, memberId: 1n, revision: 9_999, raftTerm: 1 };

/** A store that knows what the pages ask for: order by key or change, a least revision, a limit. */
function clientOf(all: readonly KeyValue[]): EtcdClient & { readonly asked: number[] } {
  const asked: number[] = [];
  const range = async (request: RangeRequest) => {
    const limit = request.limit ?? 0;
    asked.push(limit);
    const found = all.filter(
      (kv) =>
        Buffer.compare(kv.key, request.key) >= 0 &&
        kv.modRevision >= (request.minModRevision ?? 0) &&
        kv.modRevision <= (request.revision ?? 0),
    );
    found.sort((a, b) =>
      request.sortTarget === 'mod' ? a.modRevision - b.modRevision : Buffer.compare(a.key, b.key),
    );
    const kvs = found.slice(0, limit);
    return { header, revision: 9_999, kvs, more: found.length > limit, count: found.length };
  };
  return {
    api: { range } as Partial<EtcdApi> as EtcdApi,
    concurrency: {} as never,
    endpoints: [],
    options: () => ({}),
    close: () => undefined,
    asked,
  };
}

function kvOf(name: string, modRevision: number, size = 1): KeyValue {
  const value = new Uint8Array(size);
  return { key: bytesOf(name), value, createRevision: modRevision, modRevision, version: 1, lease: 0n };
}

const signal = new AbortController().signal;
const everything = rangeOfPrefix('');

test('pages by change bring every key once, in order, and no revision in two pages', async () => {
  const all = [
    ...Array.from({ length: 150 }, (_, i) => kvOf(`a${String(i).padStart(4, '0')}`, i + 2)),
    // More keys of one revision than the first page holds.
    ...Array.from({ length: 450 }, (_, i) => kvOf(`b${String(i).padStart(4, '0')}`, 500)),
    kvOf('c', 501),
  ];
  const pages: KeyValue[][] = [];
  for await (const kvs of pagesByChange(clientOf(all), everything, 9_999, 0, signal)) pages.push([...kvs]);
  const revisions = pages.flat().map((kv) => kv.modRevision);
  assert.equal(new Set(pages.flat()).size, all.length);
  assert.equal(pages.flat().length, all.length);
  assert.deepEqual(
    revisions,
    revisions.toSorted((a, b) => a - b),
  );
  pages.slice(1).forEach((page, i) => {
    assert.ok((pages[i]?.at(-1)?.modRevision ?? 0) < (page[0]?.modRevision ?? 0));
  });
  const later: KeyValue[] = [];
  for await (const kvs of pagesByChange(clientOf(all), everything, 9_999, 499, signal)) later.push(...kvs);
  assert.equal(later.length, 451);
});

test('the larger the values, the fewer keys a page asks for', async () => {
  const all = Array.from({ length: 300 }, (_, i) =>
    kvOf(`k${String(i).padStart(4, '0')}`, i + 2, 1024 * 1024),
  );
  const client = clientOf(all);
  const keys: string[] = [];
  for await (const kvs of pagesByKey(client, everything, 9_999, signal)) {
    keys.push(...kvs.map((kv) => Buffer.from(kv.key).toString()));
  }
  assert.deepEqual(
    keys,
    all.map((kv) => Buffer.from(kv.key).toString()),
  );
  assert.deepEqual([client.asked[0], client.asked[1]], [100, 3]);
});
