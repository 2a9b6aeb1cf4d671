import assert from 'node:assert/strict';
import { test } from 'node:test';
import { deviating } from './deviating.ts';

const answers = (...hashes: readonly number[]) =>
  hashes.map((hash, i) => ({
    member: BigInt(i + 1),
    result: { hash, compactRevision: 5, hashRevision: 9 },
  }));

test('who differs from a majority of the cluster is told apart', () => {
  assert.deepEqual(deviating(answers(7, 7, 7), 3), []);
  assert.deepEqual(deviating(answers(7, 8, 7), 3), [2n]);
  assert.deepEqual(deviating(answers(8, 7, 7), 3), [1n], 'also when it is the one that compares');
  assert.deepEqual(deviating(answers(7, 8, 7, 7, 9), 5), [2n, 5n]);
  assert.deepEqual(deviating(answers(7), 3), []);
});

test('without a majority nobody is: the alarm is that of member 0', () => {
  assert.deepEqual(deviating(answers(7, 8), 2), [0n]);
  assert.deepEqual(deviating(answers(7, 8), 3), [0n], 'the third could not be asked');
  assert.deepEqual(deviating(answers(7, 7, 8), 5), [0n], 'two of five are no majority');
  assert.deepEqual(deviating(answers(7, 8, 9), 3), [0n]);
});
