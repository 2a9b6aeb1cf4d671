import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '@muster/base';
import { KvError } from '@muster/contract';
import { Tallies } from './tallies.ts';

function make() {
  const clock = new ManualClock();
  const observed: [string, number][] = [];
  const lines: object[] = [];
  const tallies = new Tallies({
    clock,
    log: (_level, _text, fields) => void lines.push(fields ?? {}),
    slowApplyMs: 100,
    heartbeatMs: 100,
    observe: (what, value) => observed.push([what, value]),
  });
  return { clock, observed, lines, tallies };
}

test('batches that take longer than is expected are counted and logged', () => {
  const { clock, lines, tallies } = make();
  for (const ms of [0, 100, 101]) {
    const result = tallies.applying(() => {
      clock.advance(ms);
      return ms;
    });
    assert.equal(result, ms);
  }
  assert.equal(tallies.counts.slowApplies, 1);
  assert.deepEqual(lines, [{ tookMs: 101, expectedMs: 100 }]);
});

test('a compaction is as long as from its first slice to its last, and pauses for each of them', () => {
  const { clock, observed, tallies } = make();
  for (const isLast of [false, true, true]) {
    tallies.compacting(() => {
      clock.advance(2);
      return isLast;
    });
    clock.advance(10);
  }
  assert.deepEqual(observed, [
    ['compactionPauseMs', 2],
    ['compactionPauseMs', 2],
    ['compactionMs', 14],
    ['compactionPauseMs', 2],
    ['compactionMs', 2],
  ]);
});

test('late heartbeats are those of leaders, and learners are promoted once, where they were asked to be', () => {
  const { observed, tallies } = make();
  for (const [since, isLeader] of [
    [200, true],
    [201, false],
    [201, true],
  ] as const)
    tallies.onTick(since, isLeader);
  const promote = { type: 'memberPromote', id: 1n } as const;
  const done = { result: {}, revision: 1, events: [] } as never;
  tallies.onApplied(promote, done, true);
  tallies.onApplied(promote, done, false);
  const failed = { error: new KvError('MEMBER_NOT_LEARNER'), revision: 1, events: [] } as never;
  tallies.onApplied(promote, failed, true);
  tallies.onApplied({ type: 'leaseGrant', id: 1n, ttlSeconds: 7 }, done, false);
  const { lateHeartbeats, learnersPromoted, proposalsApplied } = tallies.counts;
  assert.deepEqual([lateHeartbeats, learnersPromoted, proposalsApplied], [1, 1, 4]);
  assert.deepEqual(observed, [['leaseTtlSeconds', 7]]);
});
