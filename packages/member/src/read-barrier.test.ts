import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { KvError } from '@muster/contract';
import { ReadBarrier } from './read-barrier.ts';

function setUp(options: { countMax?: number } = {}) {
  const asked: number[] = [];
  const state = { canAsk: true };
  const barrier = new ReadBarrier({
    ask: (context) => {
      if (state.canAsk) asked.push(context);
      return state.canAsk;
    },
    countMax: options.countMax ?? 100,
    retryMs: 500,
    firstContext: 0,
  });
  const results: (string | undefined)[] = [];
  const add = (deadlineMs = 7000) =>
    barrier.add({ deadlineMs, done: (error: KvError | undefined) => results.push(error?.code) });
  return { barrier, asked, state, results, add };
}

test('all the reads of one turn share a round', () => {
  const { barrier, asked, results, add } = setUp();
  add();
  add();
  barrier.start(0);
  barrier.start(0);
  assert.deepEqual(asked, [1]);
  barrier.onIndex(1, 5, 5);
  assert.deepEqual(results, [undefined, undefined]);
  assert.equal(barrier.size, 0);
});

test('a read waits until its index is applied', () => {
  const { barrier, results, add } = setUp();
  add();
  barrier.start(0);
  barrier.onIndex(1, 9, 5);
  barrier.onApplied(8);
  assert.deepEqual(results, []);
  barrier.onApplied(9);
  assert.deepEqual(results, [undefined]);
});

test('a read that came after a round began is not answered by it', () => {
  const { barrier, results, add } = setUp();
  add();
  barrier.start(0);
  add();
  barrier.onIndex(1, 1, 1);
  assert.deepEqual(results, [undefined]);
  assert.equal(barrier.size, 1);
});

test('without a leader reads wait, and are asked when there is one', () => {
  const { barrier, asked, state, add } = setUp();
  state.canAsk = false;
  add();
  barrier.start(0);
  assert.deepEqual(asked, []);
  state.canAsk = true;
  barrier.start(10);
  assert.deepEqual(asked, [2]);
});

test('an unanswered round is asked again, and an answer to the old one is ignored', () => {
  const { barrier, asked, results, add } = setUp();
  add();
  barrier.start(0);
  barrier.sweep(499);
  barrier.start(499);
  assert.deepEqual(asked, [1]);
  barrier.sweep(500);
  barrier.start(500);
  assert.deepEqual(asked, [1, 2]);
  barrier.onIndex(1, 1, 1);
  assert.deepEqual(results, []);
  barrier.onIndex(2, 1, 1);
  assert.deepEqual(results, [undefined]);
});

test('deadlines end reads wherever they wait', () => {
  const { barrier, results, add } = setUp();
  add(100);
  barrier.start(0);
  barrier.onIndex(1, 50, 0);
  add(150);
  barrier.sweep(100);
  assert.deepEqual(results, ['TIMEOUT']);
  barrier.sweep(150);
  assert.deepEqual(results, ['TIMEOUT', 'TIMEOUT']);
  assert.equal(barrier.size, 0);
});

test('a full barrier refuses', () => {
  const { add } = setUp({ countMax: 1 });
  assert.equal(add(), true);
  assert.equal(add(), false);
});
