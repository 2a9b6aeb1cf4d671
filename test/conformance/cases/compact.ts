import assert from 'node:assert/strict';
import { area } from '../suite.ts';

const { cases, add } = area('compact');

/** Reference section 2.7. */
export const compactCases = cases;

add('below the compact revision nothing is read, at it and above everything', async (c) => {
  await c.put('k', '1');
  const at = await c.put('k', '2');
  const last = await c.put('k', '3');
  const answer = await c.api.compact({ revision: at });
  assert.equal(answer.header.revision, last);
  await c.rejects('COMPACTED', c.api.range({ key: c.key('k'), revision: at - 1 }));
  assert.equal((await c.get('k', at))?.modRevision, at);
  assert.equal((await c.get('k'))?.modRevision, last);
  const read = (revision: number) =>
    c.api.txn({ compare: [], success: [c.getOp('k', { revision })], failure: [] });
  await c.rejects('COMPACTED', read(at - 1));
  assert.equal((await read(at)).succeeded, true);
});

add('a compaction at or below the last one, or above the store, is refused', async (c) => {
  await c.put('k');
  const at = await c.put('k');
  await c.api.compact({ revision: at });
  await c.rejects('COMPACTED', c.api.compact({ revision: at }));
  await c.rejects('COMPACTED', c.api.compact({ revision: at - 1 }));
  await c.rejects('COMPACTED', c.api.compact({ revision: 0 }));
  await c.rejects('COMPACTED', c.api.compact({ revision: -1 }));
  await c.rejects('FUTURE_REVISION', c.api.compact({ revision: at + 1 }));
});

add('a fresh store takes a compaction at 0 once', { fresh: true }, async (c) => {
  await c.put('k');
  await c.rejects('COMPACTED', c.api.compact({ revision: -1 }));
  await c.api.compact({ revision: 0 });
  await c.rejects('COMPACTED', c.api.compact({ revision: 0 }));
  await c.api.compact({ revision: 1 });
  assert.equal((await c.get('k'))?.version, 1);
});

add('at the current revision: it stays readable, and life goes on', async (c) => {
  await c.put('a', '1');
  await c.delete('a');
  await c.put('b', '1');
  const now = await c.put('b', '2');
  await c.api.compact({ revision: now });
  assert.deepEqual(c.names((await c.api.range({ ...c.all, revision: now })).kvs), ['b']);
  await c.put('b', '3');
  const again = await c.put('a', '2');
  assert.deepEqual([(await c.get('b'))?.version, (await c.get('a'))?.version], [3, 1]);
  assert.equal((await c.get('a'))?.createRevision, again);
  assert.equal((await c.get('b', now))?.modRevision, now);
});

add('what stays: of each key the newest record up to the revision, and all above', async (c) => {
  await c.put('kept', '1');
  const newest = await c.put('kept', '2');
  await c.put('deleted');
  await c.delete('deleted');
  const at = await c.put('other');
  await c.put('kept', '3');
  const last = await c.delete('other');
  await c.api.compact({ revision: at, physical: true });
  const names = async (revision: number) => c.names((await c.api.range({ ...c.all, revision })).kvs);
  assert.deepEqual(await names(at), ['kept', 'other']);
  assert.equal((await c.get('kept', at))?.modRevision, newest);
  assert.deepEqual(await names(last), ['kept']);
  assert.equal((await c.api.range({ ...c.all, revision: at, countOnly: true })).count, 2);
});

add('physical answers after the removal', async (c) => {
  for (let i = 0; i < 50; i++) await c.put('k', String(i));
  const at = await c.revision();
  await c.api.compact({ revision: at, physical: true });
  assert.equal((await c.get('k'))?.version, 50);
});

add(
  'a delete at the compact revision is still seen by a watch from there',
  {
    needs: ['tombstone-kept-at-compaction'],
  },
  async (c) => {
    await c.put('k');
    const at = await c.delete('k');
    await c.put('other');
    await c.api.compact({ revision: at, physical: true });
    const watched = await c.watch({ ...c.all, startRevision: at });
    await watched.eventsUntil(2);
    assert.deepEqual(
      watched.events.map((e) => `${e.type} ${c.name(e.kv.key)}`),
      ['delete k', 'put other'],
    );
  },
);

add('a compaction takes no revision', async (c) => {
  const now = await c.put('k');
  await c.api.compact({ revision: now });
  assert.equal(await c.revision(), now);
});
