import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ManualClock } from '@muster/base';
import { AutoCompactor } from './auto-compactor.ts';
import type { AutoCompaction } from './config.ts';

const MINUTE = 60_000;

/** One revision a minute, the clock starting at revision 1. */
function run(policy: AutoCompaction, minutes: number, isLeader: (minute: number) => boolean = () => true) {
  const clock = new ManualClock();
  const compacted: [minute: number, revision: number][] = [];
  const minute = () => Math.floor(clock.nowMs() / MINUTE);
  const compactor = new AutoCompactor(
    policy,
    clock,
    {
      isLeader: () => isLeader(minute()),
      revision: () => 1 + minute(),
      compact: async (revision) => void compacted.push([minute(), revision]),
    },
    (error) => assert.fail(error),
  );
  clock.advance(minutes * MINUTE);
  compactor.stop();
  clock.advance(1000 * MINUTE);
  return compacted;
}

describe('auto compaction', () => {
  it('is off when it is off', () => {
    assert.deepEqual(run({ mode: 'off' }, 1000), []);
  });

  it('by time keeps what is younger than the retention, and waits for one first', () => {
    const compacted = run({ mode: 'periodic', retentionMs: 10 * MINUTE }, 45);
    assert.deepEqual(
      compacted.map(([at]) => at),
      [11, 21, 31, 41],
    );
    for (const [at, revision] of compacted) assert.equal(revision, at - 10 + 1);
  });

  it('by time runs hourly when the retention is longer than an hour', () => {
    const compacted = run({ mode: 'periodic', retentionMs: 180 * MINUTE }, 400);
    assert.deepEqual(
      compacted.map(([at]) => at),
      [186, 246, 306, 366],
    );
    for (const [at, revision] of compacted) assert.equal(revision, at - 180 + 1);
  });

  it('by revision keeps so many, every five minutes', () => {
    const compacted = run({ mode: 'revision', retentionRevisions: 7 }, 21);
    assert.deepEqual(compacted, [
      [10, 4],
      [15, 9],
      [20, 14],
    ]);
  });

  it("is the leader's alone", () => {
    const compacted = run({ mode: 'revision', retentionRevisions: 1 }, 30, (minute) => minute > 20);
    assert.deepEqual(
      compacted.map(([at]) => at),
      [25, 30],
    );
  });
});
