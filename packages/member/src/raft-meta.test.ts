import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { decodeRaftMeta, encodeRaftMeta } from './raft-meta.ts';

test('the raft record survives its codec', () => {
  const ids = fc.array(fc.bigInt({ min: 1n, max: (1n << 64n) - 1n }), { maxLength: 9 });
  const number = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER });
  fc.assert(
    fc.property(
      fc.record(
        {
          index: number,
          term: number,
          confState: fc.record(
            {
              voters: ids,
              votersOutgoing: ids,
              learners: ids,
              learnersNext: ids,
              autoLeave: fc.boolean(),
            },
            { noNullPrototype: true },
          ),
        },
        { noNullPrototype: true },
      ),
      (meta) => assert.deepEqual(decodeRaftMeta(encodeRaftMeta(meta)), meta),
    ),
  );
});

test('a record of another version is refused', () => {
  assert.throws(() => decodeRaftMeta(new Uint8Array(40)), /version 0, expected 1/);
});
