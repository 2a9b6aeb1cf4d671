import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SystemClock } from './system-clock.ts';

test('a timer of months does not end now, and one that is over in time does', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const clock = new SystemClock();
  const longest = 2 ** 31 - 1;
  let ended = 0;
  clock.schedule(2 * longest + 5, () => ended++);
  const cancelled = clock.schedule(2 * longest + 5, () => ended++);
  t.mock.timers.tick(longest);
  clock.cancel(cancelled);
  t.mock.timers.tick(longest);
  t.mock.timers.tick(4);
  assert.equal(ended, 0);
  t.mock.timers.tick(1);
  assert.equal(ended, 1);
});
