import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '@muster/base';
import { SimpleTokens, TOKENS_MAX } from './simple-tokens.ts';

test('a token lives for its time after each use, not longer', () => {
  const clock = new ManualClock();
  const tokens = new SimpleTokens(clock, 10);
  tokens.install('used', 'ann');
  tokens.install('idle', 'ann');
  for (let i = 0; i < 10; i++) {
    clock.advance(9000);
    assert.equal(tokens.use('used'), 'ann');
  }
  assert.equal(tokens.use('idle'), undefined);
  assert.equal(tokens.use('never'), undefined);
  clock.advance(10_001);
  assert.equal(tokens.use('used'), undefined);
  assert.equal(tokens.size, 0);
});

test('uses in quick succession count', () => {
  const clock = new ManualClock();
  const tokens = new SimpleTokens(clock, 10);
  tokens.install('t', 'ann');
  for (let i = 0; i < 400; i++) {
    clock.advance(100);
    assert.equal(tokens.use('t'), 'ann');
  }
  clock.advance(9950);
  assert.equal(tokens.use('t'), 'ann');
  clock.advance(900);
  assert.equal(tokens.use('t'), 'ann');
  clock.advance(9950);
  assert.equal(tokens.use('t'), 'ann');
});

test("a user's tokens end together, and nobody else's", () => {
  const tokens = new SimpleTokens(new ManualClock(), 10);
  tokens.install('a1', 'ann');
  tokens.install('b1', 'bob');
  tokens.install('a2', 'ann');
  tokens.forgetUser('ann');
  assert.deepEqual(
    ['a1', 'a2', 'b1'].map((token) => tokens.use(token)),
    [undefined, undefined, 'bob'],
  );
});

test('too many push out the ones unused for longest; dead ones go by themselves', () => {
  const clock = new ManualClock();
  const tokens = new SimpleTokens(clock, 10);
  tokens.install('kept', 'ann');
  tokens.install('dropped', 'ann');
  clock.advance(2000);
  assert.equal(tokens.use('kept'), 'ann');
  for (let i = 0; i < TOKENS_MAX - 1; i++) tokens.install(`t${i}`, 'bob');
  assert.equal(tokens.size, TOKENS_MAX);
  assert.equal(tokens.use('dropped'), undefined);
  assert.equal(tokens.use('kept'), 'ann');
  clock.advance(11_000);
  tokens.install('new', 'bob');
  assert.equal(tokens.size, 1);
});
