import { strict as assert } from 'node:assert';
import { test } from 'node:test';
import { Inflights } from './inflights.ts';
import { Progress } from './progress.ts';

function progress(match: number, next: number): Progress {
  const pr = new Progress(2n, false, new Inflights(4, 1000));
  pr.match = match;
  pr.next = next;
  return pr;
}

test('in probe, only the rejection of what is out moves next back, and never below match + 1', () => {
  const pr = progress(3, 10);
  assert.equal(pr.maybeRetreat(7, 5), false, 'old news');
  assert.equal(pr.next, 10);
  assert.equal(pr.maybeRetreat(9, 5), true);
  assert.equal(pr.next, 6);
  assert.equal(pr.maybeRetreat(5, 0), true);
  assert.equal(pr.next, 4);
});

test('in replicate, a rejection above match goes back to probing from match', () => {
  const pr = progress(3, 4);
  pr.becomeReplicate();
  pr.next = 9;
  pr.inflights.add(8, 100);
  assert.equal(pr.maybeRetreat(3, 3), false, 'it has 3: old news');
  assert.equal(pr.maybeRetreat(8, 3), true);
  assert.deepEqual([pr.state, pr.next, pr.inflights.count], ['probe', 4, 0]);
});

test('an acknowledgement moves match forward only', () => {
  const pr = progress(3, 4);
  assert.equal(pr.maybeAdvance(3), false);
  assert.equal(pr.maybeAdvance(6), true);
  assert.deepEqual([pr.match, pr.next], [6, 7]);
});

test('after a snapshot probing goes on behind it; after a failed one, behind match', () => {
  const arrived = progress(3, 4);
  arrived.becomeSnapshot(20);
  arrived.becomeProbe();
  assert.equal(arrived.next, 21);
  const failed = progress(3, 4);
  failed.becomeSnapshot(20);
  failed.pendingSnapshot = 0;
  failed.becomeProbe();
  assert.equal(failed.next, 4);
});
