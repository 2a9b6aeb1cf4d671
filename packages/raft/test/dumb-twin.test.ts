/** The quick code against deliberately dumb twins, on random input. */
import { strict as assert } from 'node:assert';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { type ConfState, EMPTY_CONF_STATE, type Entry, MemoryLog, nextConfState } from '../src/index.ts';
import { Inflights } from '../src/inflights.ts';
import { RaftLog } from '../src/log.ts';
import { jointValue, jointVoteResult, majorityValue, voteResult } from '../src/quorum.ts';
import { entry } from './lone.ts';

const RUNS = { numRuns: 500 };

describe('quorum', () => {
  const values = fc.array(fc.nat(20), { minLength: 1, maxLength: 9 });

  /** The greatest value for which more than half have at least that. */
  const dumb = (all: readonly number[]) =>
    Math.max(...all.filter((v) => 2 * all.filter((w) => w >= v).length > all.length));

  test('majority value', () => {
    fc.assert(
      fc.property(values, (all) =>
        assert.equal(
          majorityValue(all, (v) => v),
          dumb(all),
        ),
      ),
      RUNS,
    );
  });

  test('joint value: a majority of both', () => {
    const joint = (a: number[], b: number[]) =>
      assert.equal(
        jointValue(a, b, (v) => v),
        Math.min(dumb(a), dumb(b)),
      );
    fc.assert(fc.property(values, values, joint), RUNS);
    fc.assert(
      fc.property(values, (a) =>
        assert.equal(
          jointValue(a, [], (v) => v),
          dumb(a),
        ),
      ),
      RUNS,
    );
  });

  const ids = fc.uniqueArray(fc.bigInt(1n, 9n), { minLength: 1 });
  const votes = fc.array(fc.tuple(fc.bigInt(1n, 9n), fc.boolean())).map((all) => new Map(all));

  /** Tries all ways in which the missing votes may fall. */
  function dumbVote(sets: readonly (readonly bigint[])[], cast: ReadonlyMap<bigint, boolean>) {
    const missing = [...new Set(sets.flat())].filter((id) => !cast.has(id));
    const outcomes = new Set<boolean>();
    for (let mask = 0; mask < 2 ** missing.length; mask++) {
      const all = new Map(cast);
      for (const [i, id] of missing.entries()) all.set(id, (mask & (1 << i)) !== 0);
      outcomes.add(sets.every((set) => 2 * set.filter((id) => all.get(id)).length > set.length));
    }
    return outcomes.size === 2 ? 'pending' : outcomes.has(true) ? 'won' : 'lost';
  }

  test('votes', () => {
    fc.assert(
      fc.property(ids, votes, (set, cast) => assert.equal(voteResult(set, cast), dumbVote([set], cast))),
      RUNS,
    );
    const joint = (a: bigint[], b: bigint[], cast: Map<bigint, boolean>) =>
      assert.equal(jointVoteResult(a, b, cast), dumbVote([a, b], cast));
    fc.assert(fc.property(ids, ids, votes, joint), RUNS);
  });
});

test('send window', () => {
  type Step = { add?: number; freeTo?: number; clear?: boolean };
  const step: fc.Arbitrary<Step> = fc.oneof(
    fc.record({ add: fc.integer({ min: 1, max: 40 }) }),
    fc.record({ freeTo: fc.nat(300) }),
    fc.record({ clear: fc.constant(true) }),
  );
  const run = (maxMessages: number, maxBytes: number, steps: readonly Step[]) => {
    const window = new Inflights(maxMessages, maxBytes);
    let twin: { last: number; bytes: number }[] = [];
    let last = 0;
    for (const { add, freeTo } of steps) {
      if (add !== undefined) {
        if (window.full) continue;
        last += 3;
        window.add(last, add);
        twin.push({ last, bytes: add });
      } else if (freeTo !== undefined) {
        window.freeTo(freeTo);
        twin = twin.filter((m) => m.last > freeTo);
      } else {
        window.clear();
        twin = [];
      }
      const bytes = twin.reduce((sum, m) => sum + m.bytes, 0);
      assert.deepEqual([window.count, window.bytes], [twin.length, bytes]);
      assert.equal(window.full, twin.length >= maxMessages || bytes >= maxBytes);
    }
  };
  const sizes = [fc.integer({ min: 1, max: 20 }), fc.integer({ min: 1, max: 300 })] as const;
  fc.assert(fc.property(...sizes, fc.array(step, { maxLength: 100 }), run), RUNS);
});

/** A log that is an array, in which everything is durable or not by one number. */
class TwinLog {
  terms: number[] = [0];
  stable = 0;
  committed = 0;
  written: { last: number }[] = [];

  accept(from: number, terms: readonly number[]): void {
    const conflict = terms.findIndex((term, i) => this.terms[from + i] !== term);
    if (conflict < 0) return;
    const at = from + conflict;
    this.terms = [...this.terms.slice(0, at), ...terms.slice(conflict)];
    this.stable = Math.min(this.stable, at - 1);
    for (const write of this.written) write.last = Math.min(write.last, at - 1);
  }
}

test('log: entries, terms, what is durable, what is handed out', () => {
  const step = fc.oneof(
    fc.record({
      kind: fc.constant('accept'),
      back: fc.nat(4),
      count: fc.integer({ min: 1, max: 5 }),
      newTerm: fc.boolean(),
    }),
    fc.record({ kind: fc.constantFrom('handOut', 'persist', 'commit', 'apply', 'compact') }),
  );
  type Step = { kind: string; back?: number; count?: number; newTerm?: boolean };
  const run = (steps: readonly Step[]) => {
    const disk = new MemoryLog();
    const log = new RaftLog(disk, { commit: 0, applied: 0, maxApplyingBytes: 200 });
    const twin = new TwinLog();
    const writes: { number: number; entries: readonly Entry[] }[] = [];
    let number = 0;
    let term = 1;
    for (const { kind, back = 0, count = 0, newTerm } of steps) {
      if (kind === 'accept') {
        if (newTerm) term++;
        const from = Math.max(twin.committed, twin.terms.length - 1 - back) + 1;
        log.accept(Array.from({ length: count }, (_, i) => entry(from + i, term)));
        twin.accept(from, new Array<number>(count).fill(term));
      } else if (kind === 'handOut') {
        const { entries } = log.handOut(++number);
        writes.push({ number, entries });
        twin.written.push({ last: entries.at(-1)?.index ?? 0 });
      } else if (kind === 'persist' && writes.length > 0) {
        const write = writes.shift();
        assert.ok(write);
        disk.append(write.entries);
        log.persisted(write.number);
        twin.stable = Math.max(twin.stable, twin.written.shift()?.last ?? 0);
      } else if (kind === 'commit') {
        twin.committed = Math.max(twin.committed, twin.terms.length - 2);
        log.commitTo(twin.committed);
      } else if (kind === 'apply') {
        const low = log.applying + 1;
        const { entries } = log.handOutCommitted();
        for (const [i, e] of entries.entries())
          assert.deepEqual([e.index, e.term], [low + i, twin.terms[low + i]]);
        assert.ok(log.applying <= Math.min(twin.committed, twin.stable));
        log.appliedTo(log.applying);
      } else if (kind === 'compact') {
        disk.compactTo(log.applied - 1);
      }
      assert.deepEqual([log.lastIndex, log.stableIndex], [twin.terms.length - 1, twin.stable]);
      for (let i = log.firstIndex; i <= log.lastIndex; i++) assert.equal(log.term(i), twin.terms[i]);
      assert.equal(log.term(log.lastIndex + 1), undefined);
    }
  };
  fc.assert(fc.property(fc.array(step, { maxLength: 60 }), run), { numRuns: 1000 });
});

test('log: the last index of a term no later than a given one', () => {
  const terms = fc.array(fc.nat(3), { minLength: 1, maxLength: 30 }).map((gaps) => {
    let term = 1;
    return gaps.map((gap) => (term += gap === 3 ? 1 : 0));
  });
  const run = (all: number[], index: number, limit: number) => {
    const disk = new MemoryLog();
    disk.append(all.map((term, i) => entry(i + 1, term)));
    const log = new RaftLog(disk, { commit: 0, applied: 0, maxApplyingBytes: 1 });
    let dumb = Math.min(index, all.length);
    while (dumb > 0 && (all[dumb - 1] as number) > limit) dumb--;
    assert.equal(log.lastIndexWithTermUpTo(index, limit), dumb);
  };
  fc.assert(fc.property(terms, fc.nat(40), fc.nat(12), run), RUNS);
});

test('memory log: an array of entries', () => {
  const step = fc.oneof(
    { weight: 6, arbitrary: fc.record({ append: fc.integer({ min: 1, max: 400 }), back: fc.nat(20) }) },
    { weight: 2, arbitrary: fc.record({ compact: fc.nat(600) }) },
    { weight: 1, arbitrary: fc.record({ reset: fc.nat(5000) }) },
  );
  const run = (steps: readonly { append?: number; back?: number; compact?: number; reset?: number }[]) => {
    const log = new MemoryLog();
    let twin: Entry[] = [];
    let compacted = 0;
    for (const [term, { append, back, compact, reset }] of steps.entries()) {
      if (append !== undefined) {
        const from = Math.max(compacted, compacted + twin.length - (back as number)) + 1;
        const more = Array.from({ length: append }, (_, i) => entry(from + i, term));
        twin = [...twin.slice(0, from - compacted - 1), ...more];
        log.append(more);
      } else if (compact !== undefined) {
        const to = Math.min(compacted + compact, log.lastIndex);
        log.compactTo(to);
        twin = twin.slice(to - compacted);
        compacted = to;
      } else if (reset !== undefined) {
        log.reset(reset, term);
        [twin, compacted] = [[], reset];
      }
      assert.deepEqual([log.compactedIndex, log.lastIndex], [compacted, compacted + twin.length]);
      assert.equal(
        log.byteSize,
        twin.reduce((sum, e) => sum + e.data.length + 32, 0),
      );
      const [low, high] = [compacted + 1, log.lastIndex + 1];
      if (low < high) assert.deepEqual(log.entries(low, high, Number.POSITIVE_INFINITY), twin);
      assert.equal(log.term(compacted - 1), undefined);
      assert.equal(log.term(high), undefined);
    }
  };
  fc.assert(fc.property(fc.array(step, { maxLength: 30 }), run), { numRuns: 200 });
});

test('membership: a simple change and a joint one end in the same place', () => {
  const someIds = (max: number) => fc.uniqueArray(fc.bigInt(1n, 7n), { maxLength: max });
  const start = fc.tuple(someIds(5), someIds(3)).filter(([voters]) => voters.length > 0);
  const steps = fc.array(
    fc.record({
      type: fc.constantFrom('addVoter' as const, 'addLearner' as const, 'remove' as const),
      node: fc.bigInt(1n, 7n),
    }),
    { minLength: 1, maxLength: 4 },
  );
  const run = ([voters, learners]: [bigint[], bigint[]], change: { type: string; node: bigint }[]) => {
    const conf: ConfState = {
      ...EMPTY_CONF_STATE,
      voters,
      learners: learners.filter((id) => !voters.includes(id)),
    };
    const roles = new Map<bigint, string>();
    for (const id of conf.voters) roles.set(id, 'addVoter');
    for (const id of conf.learners) roles.set(id, 'addLearner');
    for (const { type, node } of change) roles.set(node, type);
    const with_ = (role: string) =>
      [...roles]
        .filter(([, r]) => r === role)
        .map(([id]) => id)
        .sort();
    const context = new Uint8Array(0);
    let next = nextConfState(conf, { steps: change as never, context });
    if (with_('addVoter').length === 0) {
      assert.equal(typeof next, 'string');
      return;
    }
    assert.ok(typeof next !== 'string');
    const moved = [...new Set([...voters, ...with_('addVoter')])].filter(
      (id) => voters.includes(id) !== with_('addVoter').includes(id),
    );
    assert.equal(next.votersOutgoing.length > 0, moved.length > 1);
    if (next.votersOutgoing.length > 0) next = nextConfState(next, { steps: [], context });
    assert.ok(typeof next !== 'string');
    assert.deepEqual([next.voters, next.learners], [with_('addVoter'), with_('addLearner')]);
  };
  fc.assert(fc.property(start, steps, run), RUNS);
});
