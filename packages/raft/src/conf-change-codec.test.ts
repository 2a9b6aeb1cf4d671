import { strict as assert } from 'node:assert';
import { test } from 'node:test';
import fc from 'fast-check';
import { ConfChangeError, decodeConfChange, encodeConfChange } from './conf-change-codec.ts';

const change = fc.record({
  steps: fc.array(
    fc.record({
      type: fc.constantFrom('addVoter' as const, 'addLearner' as const, 'remove' as const),
      node: fc.bigInt(1n, (1n << 64n) - 1n),
    }),
    { maxLength: 10 },
  ),
  context: fc.uint8Array({ maxLength: 50 }),
});

test('a change comes back as it was', () => {
  fc.assert(
    fc.property(change, (c) => assert.deepEqual(decodeConfChange(encodeConfChange(c)), structuredClone(c))),
  );
});

test('anything else is a ConfChangeError, never another', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
      try {
        assert.deepEqual(encodeConfChange(decodeConfChange(bytes)), bytes);
      } catch (error) {
        assert.ok(error instanceof ConfChangeError, String(error));
      }
    }),
  );
  const whole = encodeConfChange({ steps: [{ type: 'remove', node: 7n }], context: new Uint8Array(0) });
  for (let cut = 0; cut < whole.length; cut++) {
    assert.throws(() => decodeConfChange(whole.subarray(0, cut)), ConfChangeError);
  }
  assert.throws(() => decodeConfChange(Uint8Array.of(2, 0, 0)), /version 2, expected 1/);
  assert.throws(() => decodeConfChange(Uint8Array.of(1, 0, 1, 9, 0, 0, 0, 0, 0, 0, 0, 1)), /step type 9/);
});

test('too many steps are refused on the way in', () => {
  const steps = Array.from({ length: 65 }, (_, i) => ({ type: 'addLearner' as const, node: BigInt(i + 1) }));
  assert.throws(
    () => encodeConfChange({ steps, context: new Uint8Array(0) }),
    /65 steps, expected at most 64/,
  );
});
