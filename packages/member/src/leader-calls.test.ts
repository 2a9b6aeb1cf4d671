import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  decodeAnswer,
  decodeCall,
  encodeAnswer,
  encodeCall,
  type LeaderAnswer,
  type LeaderCall,
} from './leader-calls.ts';

const id = fc.bigInt({ min: -(1n << 63n), max: (1n << 63n) - 1n });

test('calls survive their codec', () => {
  const call: fc.Arbitrary<LeaderCall> = fc.oneof(
    id.map((lease): LeaderCall => ({ type: 'keepAlive', id: lease })),
    fc.tuple(id, fc.boolean()).map(([lease, keys]): LeaderCall => ({ type: 'timeToLive', id: lease, keys })),
  );
  fc.assert(fc.property(call, (c) => assert.deepEqual(decodeCall(encodeCall(c)), c)));
});

test('answers survive their codec', () => {
  const seconds = fc.integer({ min: -1, max: 9_000_000_000 });
  const answer: fc.Arbitrary<LeaderAnswer> = fc.oneof(
    seconds.map((ttlSeconds): LeaderAnswer => ({ type: 'keepAlive', ttlSeconds })),
    fc.tuple(seconds, seconds, fc.array(fc.uint8Array({ minLength: 1, maxLength: 20 }))).map(
      ([ttlSeconds, grantedTtlSeconds, keys]): LeaderAnswer => ({
        type: 'timeToLive',
        ttlSeconds,
        grantedTtlSeconds,
        keys,
      }),
    ),
    fc
      .tuple(fc.boolean(), fc.nat(), fc.array(fc.bigInt({ min: 1n, max: (1n << 64n) - 1n })))
      .map(([known, index, voters]): LeaderAnswer => ({ type: 'isKnown', known, index, voters })),
    fc.constant<LeaderAnswer>({ type: 'error', code: 'NOT_LEADER' }),
  );
  fc.assert(fc.property(answer, (a) => assert.deepEqual(decodeAnswer(encodeAnswer(a)), a)));
});

test('bytes that are none of ours never crash: a call is undefined, an answer is an error', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
      decodeCall(bytes);
      try {
        decodeAnswer(bytes);
      } catch (error) {
        assert.equal((error as { code?: string }).code, 'INTERNAL');
      }
    }),
  );
  assert.equal(decodeCall(new Uint8Array(3)), undefined);
});
