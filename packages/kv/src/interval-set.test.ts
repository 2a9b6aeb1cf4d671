import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { IntervalSet } from './interval-set.ts';

const word = fc.string({ unit: fc.constantFrom('a', 'b', 'c', '\0'), maxLength: 3 });
const interval = fc.tuple(word, word);

test('an interval set covers what any of its intervals does, and keeps them apart and in order', () => {
  fc.assert(
    fc.property(fc.array(interval), fc.array(interval), fc.array(word), (first, second, words) => {
      const [set, other] = [new IntervalSet(), new IntervalSet()];
      for (const [start, end] of first) set.add(start, end);
      for (const [start, end] of second) other.add(start, end);
      set.addAll(other);
      const all = [...first, ...second];
      for (const each of [...words, ...all.flat()]) {
        const covered = all.some(([start, end]) => start <= each && each < end);
        assert.equal(set.has(each), covered, JSON.stringify([all, each]));
      }
      const flat = set.intervals.flat();
      assert.deepEqual(flat, [...new Set(flat)].sort());
    }),
    { numRuns: 500 },
  );
});
