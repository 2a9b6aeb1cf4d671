import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prng, utf8 } from '@muster/base';
import fc from 'fast-check';
import { holds, WatchHistory } from '../test/watch-history.ts';
import { HistoryRing } from './history-ring.ts';
import { IntervalIndex } from './interval-index.ts';
import { fragmentEvents, OPEN_END, rangeHolds, watchRange } from './watch-filter.ts';

test('an interval index answers as a list of intervals does, under inserts and deletes', () => {
  const prng = new Prng('intervals');
  const index = new IntervalIndex<string>();
  const list = new Map<string, { start: string; end: string }>();
  const word = () =>
    Array.from({ length: prng.int(1, 3) }, () => prng.pick(['a', 'b', 'c', '\xff'])).join('');
  for (let i = 0; i < 5000; i++) {
    const [start, end] = [word(), prng.chance(0.2) ? OPEN_END : word()];
    const id = `${start}|${end}`;
    const there = list.has(id);
    assert.equal(index.get(start, end), there ? id : undefined);
    if (start < end && !there) {
      index.insert(start, end, id);
      list.set(id, { start, end });
    } else if (there) {
      index.delete(start, end);
      list.delete(id);
    }
    assert.equal(index.size, list.size);
    const point = word();
    const found: string[] = [];
    index.stab(point, found);
    const expected = [...list].filter(([, r]) => r.start <= point && point < r.end).map(([key]) => key);
    assert.deepEqual(found.sort(), expected.sort());
  }
  assert.ok(list.size > 100);
});

test('an interval index with ten thousand prefixes inserted in order stays flat', () => {
  const index = new IntervalIndex<number>();
  const name = (i: number) => `k${String(i).padStart(5, '0')}`;
  for (let i = 0; i < 10_000; i++) index.insert(`${name(i)}/`, `${name(i)}0`, i);
  for (let i = 0; i < 10_000; i += 97) {
    const found: number[] = [];
    index.stab(`${name(i)}/x`, found);
    assert.deepEqual(found, [i]);
  }
  for (let i = 0; i < 10_000; i++) index.delete(`${name(i)}/`, `${name(i)}0`);
  assert.equal(index.size, 0);
});

test('the ring keeps the newest revisions within its count', () => {
  const store = new WatchHistory();
  const ring = new HistoryRing(4, 1_000_000);
  ring.clear(2);
  assert.deepEqual([ring.firstRevision, ring.length], [2, 0]);
  for (let i = 0; i < 10; i++) {
    const { revision, events } = store.write([{ key: 'a', value: String(i) }]);
    ring.push(revision, events);
    assert.equal(ring.length, Math.min(4, i + 1));
    assert.equal(ring.firstRevision + ring.length, revision + 1);
    assert.equal(ring.at(revision), events);
  }
  assert.equal(ring.at(8)[0]?.kv.modRevision, 8);
  assert.throws(() => ring.at(7), /revision 7 is not in the ring/);
  assert.throws(() => ring.at(12), /not in the ring/);
});

test('the ring keeps within its bytes, if need be by holding nothing, and a gap empties it', () => {
  const store = new WatchHistory();
  const ring = new HistoryRing(64, 2000);
  ring.clear(2);
  for (let i = 0; i < 20; i++) {
    const { revision, events } = store.write([{ key: 'a', value: 'x'.repeat(300) }]);
    ring.push(revision, events);
    assert.ok(ring.bytes <= 2000, `${ring.bytes} bytes`);
  }
  assert.ok(ring.length >= 2 && ring.length < 7, String(ring.length));
  const big = store.write([{ key: 'b', value: 'x'.repeat(5000) }]);
  ring.push(big.revision, big.events);
  assert.deepEqual([ring.length, ring.bytes, ring.firstRevision], [0, 0, big.revision + 1]);
  ring.push(100, []);
  ring.push(102, []);
  assert.deepEqual([ring.firstRevision, ring.length], [102, 1]);
});

test('a watch range holds what the plain rules say, as bytes and as strings', () => {
  const bytes = () => fc.uint8Array({ maxLength: 3, max: 3 });
  fc.assert(
    fc.property(bytes(), bytes(), bytes(), (key, rangeEnd, probe) => {
      const range = watchRange(key, rangeEnd);
      const expected = holds({ key, rangeEnd }, probe);
      assert.equal(rangeHolds(range, probe), expected);
      const text = String.fromCharCode(...probe);
      assert.equal(range.start <= text && text < range.end, expected);
      if (range.kind === 'empty') assert.ok(!expected);
    }),
  );
  assert.equal(watchRange(utf8('b'), utf8('b')).kind, 'empty');
  assert.equal(watchRange(utf8('b'), utf8('a')).kind, 'empty');
  assert.equal(watchRange(utf8('b'), new Uint8Array([0])).kind, 'range');
  assert.equal(watchRange(utf8('b')).kind, 'exact');
});

test('fragments hold every event once, in order, within the size where one event allows it', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 50 })), fc.integer({ min: 1, max: 100 }), (sizes, max) => {
      const parts = fragmentEvents(sizes, (n) => n, max);
      assert.deepEqual(parts.flat(), sizes);
      for (const [i, part] of parts.entries()) {
        const sum = part.reduce((a, b) => a + b, 0);
        assert.ok(part.length === 1 || (part.length > 1 && sum <= max));
        const next = parts[i + 1]?.[0];
        if (next !== undefined) assert.ok(sum + next > max, 'cut too early');
      }
    }),
  );
});
