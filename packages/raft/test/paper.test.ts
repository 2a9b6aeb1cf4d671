/** The rules of the Raft paper (extended version), by section. What the thesis adds is in thesis.test.ts. */
import { strict as assert } from 'node:assert';
import { describe, test } from 'node:test';
import { bytes, entry, Lone, voters } from './lone.ts';
import { SimGroup } from './sim-group.ts';

describe('section 5.1: terms', () => {
  for (const role of ['follower', 'candidate', 'leader'] as const) {
    test(`a ${role} that sees a later term becomes a follower in it`, () => {
      const one = new Lone();
      if (role === 'candidate') {
        one.node.campaign();
        one.step({ type: 'preVoteResponse', term: 1 }).run();
      } else if (role === 'leader') one.lead();
      assert.equal(one.node.role, role);
      one.step({ type: 'append', term: 7 });
      assert.deepEqual([one.node.role, one.node.term, one.node.leader], ['follower', 7, 2n]);
    });
  }

  test('a request of an earlier term changes nothing and is told the later one', () => {
    const one = new Lone({ terms: [1, 3] });
    one.step({ type: 'append', term: 2, prevIndex: 1, prevTerm: 1, entries: [entry(2, 2)], commit: 2 });
    const [answer] = one.drain('appendResponse');
    assert.deepEqual([answer?.term, answer?.reject], [3, true]);
    assert.deepEqual([one.terms, one.node.leader, one.node.status().commit], [[1, 3], 0n, 0]);
  });

  test('term and vote survive a restart; a node starts as a follower', () => {
    const one = new Lone({ hardState: { term: 4, vote: 3n, commit: 0 } });
    assert.deepEqual([one.node.role, one.node.term], ['follower', 4]);
    one.step({ type: 'vote', term: 4 });
    assert.equal(one.drain('voteResponse')[0]?.reject, true);
    one.step({ type: 'vote', term: 4, from: 3n });
    assert.equal(one.drain('voteResponse')[0]?.reject, false);
  });
});

describe('section 5.2: leader election', () => {
  test('a leader sends heartbeats to all at each heartbeat interval', () => {
    const one = new Lone().lead();
    assert.equal(one.ticks(1).drain('heartbeat').length, 0);
    assert.deepEqual(
      one
        .ticks(1)
        .drain('heartbeat')
        .map((m) => m.to),
      [2n, 3n],
    );
  });

  test('heartbeats hold an election off', () => {
    const one = new Lone();
    for (let i = 0; i < 20; i++) one.ticks(9).step({ type: 'heartbeat', term: 1 });
    assert.deepEqual([one.node.role, one.node.term], ['follower', 1]);
  });

  test('the election timeout is drawn anew from [electionTicks, 2 electionTicks), and all of it is used', () => {
    const seen = new Set<number>();
    for (let seed = 0; seed < 300; seed++) {
      const one = new Lone({ seed });
      let ticks = 0;
      while (one.node.role === 'follower') {
        one.ticks(1);
        ticks++;
      }
      seen.add(ticks);
    }
    assert.deepEqual(
      [...seen].sort((a, b) => a - b),
      [10, 11, 12, 13, 14, 15, 16, 17, 18, 19],
    );
  });

  test('a candidate enters a new term, votes for itself and asks all others', () => {
    const one = new Lone({ terms: [1, 2] });
    one.node.campaign();
    one.step({ type: 'preVoteResponse', term: 3 });
    const asked = one.drain('vote');
    assert.deepEqual([one.node.role, one.node.term, one.node.status().vote], ['candidate', 3, 1n]);
    assert.deepEqual(
      asked.map((m) => [m.to, m.term, m.lastIndex, m.lastTerm]),
      [
        [2n, 3, 2, 2],
        [3n, 3, 2, 2],
      ],
    );
  });

  const outcomes = [
    { size: 1, yes: 0, no: 0, role: 'leader' },
    { size: 3, yes: 1, no: 0, role: 'leader' },
    { size: 3, yes: 0, no: 1, role: 'candidate' },
    { size: 3, yes: 0, no: 2, role: 'follower' },
    { size: 5, yes: 2, no: 0, role: 'leader' },
    { size: 5, yes: 1, no: 2, role: 'candidate' },
    { size: 5, yes: 1, no: 3, role: 'follower' },
  ] as const;
  for (const { size, yes, no, role } of outcomes) {
    test(`of ${size}, ${yes} others for and ${no} against: ${role}`, () => {
      const one = new Lone({ conf: voters(...Array.from({ length: size }, (_, i) => i + 1)) });
      one.node.campaign();
      for (let id = 2; id <= size; id++) one.step({ type: 'preVoteResponse', term: 1, from: BigInt(id) });
      one.run();
      for (let i = 0; i < yes + no; i++) {
        one.step({ type: 'voteResponse', term: 1, from: BigInt(2 + i), reject: i >= yes });
      }
      assert.equal(one.run().node.role, role);
    });
  }

  test('one answer counts once', () => {
    const one = new Lone({ conf: voters(1, 2, 3, 4, 5) });
    one.node.campaign();
    for (const from of [2n, 3n]) one.step({ type: 'preVoteResponse', term: 1, from });
    one.run();
    for (let i = 0; i < 4; i++) one.step({ type: 'voteResponse', term: 1 });
    assert.equal(one.run().node.role, 'candidate');
  });

  test('a vote is given once a term, first come first served, and given again to the same one', () => {
    const one = new Lone();
    const ask = (from: bigint) => one.step({ type: 'vote', term: 1, from }).drain('voteResponse')[0]?.reject;
    assert.deepEqual([ask(2n), ask(3n), ask(2n)], [false, true, false]);
  });

  test('a vote leaves only when it is durable', () => {
    const one = new Lone();
    one.step({ type: 'vote', term: 1 }).take();
    assert.equal(one.sent.length, 0);
    assert.deepEqual(
      [one.waiting[0]?.mustPersist, one.waiting[0]?.hardState],
      [true, { term: 1, vote: 2n, commit: 0 }],
    );
    assert.equal(one.drain('voteResponse').length, 1);
  });

  test('nobody leads before its own vote is durable, whatever others say', () => {
    const one = new Lone({ conf: voters(1, 2, 3, 4, 5) });
    one.node.campaign();
    for (const from of [2n, 3n]) one.step({ type: 'preVoteResponse', term: 1, from });
    one.take();
    for (const from of [2n, 3n, 4n, 5n]) one.step({ type: 'voteResponse', term: 1, from });
    assert.equal(one.take().node.role, 'candidate');
    assert.equal(one.persist().node.role, 'leader');
  });

  test('nor when only what came before the vote is', () => {
    const one = new Lone();
    one.step({ type: 'append', term: 1, entries: [entry(1, 1)] }).take();
    one.node.campaign();
    one.step({ type: 'preVoteResponse', term: 2 }).take();
    one.step({ type: 'voteResponse', term: 2 });
    const [earlier, ...rest] = one.waiting.splice(0);
    assert.ok(earlier && rest.length > 0);
    one.log.append(earlier.entries);
    one.node.onPersisted(earlier.number);
    assert.equal(one.node.role, 'candidate');
    one.waiting.push(...rest);
    assert.equal(one.persist().node.role, 'leader');
  });

  test('a candidate gives way to a leader of its own term', () => {
    for (const type of ['append', 'heartbeat'] as const) {
      const one = new Lone();
      one.node.campaign();
      one.step({ type: 'preVoteResponse', term: 1 }).run();
      one.step({ type, term: 1, from: 3n });
      assert.deepEqual([one.node.role, one.node.leader, one.node.term], ['follower', 3n, 1]);
    }
  });

  test('a candidate that hears nothing starts over with a pre-vote', () => {
    const one = new Lone();
    one.node.campaign();
    one.step({ type: 'preVoteResponse', term: 1 }).run();
    assert.equal(one.ticks(20).node.role, 'preCandidate');
  });
});

describe('section 5.3: log replication', () => {
  test('a leader sends new entries to all, after the index and term that precede them', () => {
    const one = new Lone({ terms: [1, 1] }).lead();
    for (const from of [2n, 3n]) one.step({ type: 'appendResponse', term: 2, index: 3, from });
    one.run().sent.length = 0;
    one.node.propose([bytes('a'), bytes('b')]);
    const appends = one.drain('append');
    assert.deepEqual(
      appends.map((m) => [m.to, m.prevIndex, m.prevTerm, m.entries.length]),
      [
        [2n, 3, 2, 2],
        [3n, 3, 2, 2],
      ],
    );
  });

  test('an entry is committed, and applied, once a majority has it; earlier entries with it', () => {
    const one = new Lone({ terms: [1, 1] }).lead();
    assert.equal(one.node.status().commit, 0);
    one.step({ type: 'appendResponse', term: 2, index: 3 }).run();
    assert.equal(one.node.status().commit, 3);
    assert.deepEqual(
      one.committed.map((e) => e.index),
      [1, 2, 3],
    );
  });

  test('a follower learns of the commit by the next message and applies in order', () => {
    const one = new Lone();
    one.step({ type: 'append', term: 1, entries: [entry(1, 1), entry(2, 1)] }).run();
    assert.equal(one.committed.length, 0);
    one.step({ type: 'append', term: 1, prevIndex: 2, prevTerm: 1, commit: 2 }).run();
    assert.deepEqual(
      one.committed.map((e) => e.index),
      [1, 2],
    );
  });

  test('a follower commits no further than the entries that the message vouches for', () => {
    const one = new Lone({ terms: [1, 1, 1] });
    one.step({ type: 'append', term: 2, prevIndex: 1, prevTerm: 1, commit: 3 }).run();
    assert.equal(one.node.status().commit, 1);
  });

  test('an append that does not fit is rejected, with a hint where it might', () => {
    const one = new Lone({ terms: [1, 1, 4, 4] });
    one.step({ type: 'append', term: 5, prevIndex: 9, prevTerm: 5 });
    one.step({ type: 'append', term: 5, prevIndex: 4, prevTerm: 3 });
    const answers = one.drain('appendResponse').map((m) => [m.reject, m.index, m.hintIndex, m.hintTerm]);
    assert.deepEqual(answers, [
      [true, 9, 4, 4],
      [true, 4, 2, 1],
    ]);
  });

  // Figure 7: what a follower may hold when a leader of term 8 comes up.
  const leader = [1, 1, 1, 4, 4, 5, 5, 6, 6, 6];
  const figure7 = [
    [1, 1, 1, 4, 4, 5, 5, 6, 6],
    [1, 1, 1, 4],
    [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6],
    [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7],
    [1, 1, 1, 4, 4, 4, 4],
    [1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3],
  ];
  for (const [i, terms] of figure7.entries()) {
    test(`figure 7 (${'abcdef'[i]}): the leader brings the follower's log to its own`, () => {
      const group = new SimGroup({ seed: i, voters: [1n, 2n, 3n] });
      const logs = [leader, terms, [1]];
      for (const [at, log] of logs.entries()) {
        const id = BigInt(at + 1);
        group.crash(id);
        group.member(id).disk.append(log.map((term, n) => entry(n + 1, term)));
        group.member(id).hardState = { term: 7, vote: 0n, commit: 0 };
        group.start(id);
      }
      group.node(1n).campaign();
      group.settle();
      assert.equal(group.leader()?.id, 1n);
      group.tick(1n);
      group.settle();
      const status = group.node(2n).status();
      assert.deepEqual([status.lastIndex, status.lastTerm, status.commit], [11, 8, 11]);
    });
  }

  test('entries that conflict go, with all that follow; those that agree stay, though the message is old', () => {
    const one = new Lone({ terms: [1, 1, 2, 2] });
    one
      .step({ type: 'append', term: 3, prevIndex: 1, prevTerm: 1, entries: [entry(2, 1), entry(3, 3)] })
      .run();
    assert.deepEqual(one.terms, [1, 1, 3]);
    one.step({ type: 'append', term: 3, prevIndex: 0, prevTerm: 0, entries: [entry(1, 1)] }).run();
    assert.deepEqual(one.terms, [1, 1, 3]);
  });

  test('an acknowledgement waits for the disk', () => {
    const one = new Lone();
    one.step({ type: 'append', term: 1, entries: [entry(1, 1)] }).take();
    assert.equal(one.sent.length, 0);
    assert.equal(one.drain('appendResponse')[0]?.index, 1);
  });

  test('it waits for the term too, though the entries have long been durable', () => {
    const one = new Lone({ terms: [1] });
    one.step({ type: 'append', term: 2, prevIndex: 1, prevTerm: 1 }).take();
    assert.equal(one.sent.length, 0);
    assert.equal(one.drain('appendResponse')[0]?.index, 1);
    one.step({ type: 'append', term: 2, prevIndex: 1, prevTerm: 1 }).take();
    assert.equal(one.sent.length, 1, 'now both are');
  });

  test('late news from the disk about replaced entries says nothing of their replacements', () => {
    const one = new Lone();
    one.step({ type: 'append', term: 2, entries: [entry(1, 2), entry(2, 2)] }).take();
    one.step({ type: 'append', term: 3, from: 3n, entries: [entry(1, 3)] }).take();
    one.step({ type: 'append', term: 4, entries: [entry(1, 2), entry(2, 2)], commit: 2 }).take();
    const [first, ...rest] = one.waiting.splice(0);
    assert.ok(first);
    one.log.append(first.entries);
    one.node.onPersisted(first.number);
    assert.equal(one.node.status().stableIndex, 0);
    assert.equal(one.take().committed.length, 0);
    one.waiting.unshift(...rest);
    one.persist().run();
    assert.deepEqual([one.node.status().stableIndex, one.terms, one.committed.length], [2, [2, 2], 2]);
  });
});

describe('section 5.4: safety', () => {
  const cases = [
    { own: [1], lastIndex: 1, lastTerm: 1, granted: true, why: 'equal' },
    { own: [1], lastIndex: 2, lastTerm: 1, granted: true, why: 'longer' },
    { own: [1, 1], lastIndex: 1, lastTerm: 1, granted: false, why: 'shorter' },
    { own: [1, 1], lastIndex: 1, lastTerm: 2, granted: true, why: 'shorter, of a later term' },
    { own: [2], lastIndex: 5, lastTerm: 1, granted: false, why: 'longer, of an earlier term' },
  ];
  for (const { own, lastIndex, lastTerm, granted, why } of cases) {
    for (const type of ['vote', 'preVote'] as const) {
      test(`5.4.1: a candidate whose log is ${why} gets ${granted ? 'a' : 'no'} ${type}`, () => {
        const one = new Lone({ terms: own });
        one.step({ type, term: 5, lastIndex, lastTerm });
        assert.equal(one.drain(`${type}Response`)[0]?.reject, !granted);
      });
    }
  }

  test('5.4.2: entries of earlier terms are not committed by counting (figure 8)', () => {
    const one = new Lone({ terms: [1, 2], conf: voters(1, 2, 3, 4, 5) }).lead();
    assert.equal(one.node.term, 3);
    for (const from of [2n, 3n]) one.step({ type: 'appendResponse', term: 3, index: 2, from });
    assert.equal(one.run().node.status().commit, 0, 'a majority has entry 2, of term 2');
    for (const from of [2n, 3n]) one.step({ type: 'appendResponse', term: 3, index: 3, from });
    assert.equal(one.run().node.status().commit, 3);
  });

  test('5.4.3: votes need logs as new as the own, so a committed entry is in every later leader', () => {
    const group = new SimGroup({ seed: 1, voters: [1n, 2n, 3n] });
    group.node(1n).campaign();
    group.settle();
    group.node(1n).propose([bytes('kept')]);
    group.settle((m) => m.to !== 3n && m.from !== 3n);
    assert.equal(group.invariants.maxCommit, 2);
    group.crash(1n);
    for (let i = 0; i < 60 && !group.leader(); i++) {
      group.tick(3n);
      group.settle();
    }
    assert.ok(!group.leader(), 'node 3 lacks the entry');
    for (let i = 0; i < 60 && !group.leader(); i++) {
      group.tick(2n);
      group.settle();
    }
    assert.equal(group.leader()?.id, 2n);
  });
});

describe('section 7: snapshots', () => {
  function laggard(): SimGroup {
    const group = new SimGroup({ seed: 7, voters: [1n, 2n, 3n] });
    group.node(1n).campaign();
    group.settle((m) => m.to !== 3n);
    for (let i = 0; i < 10; i++) group.node(1n).propose([bytes(`${i}`)]);
    group.settle((m) => m.to !== 3n);
    group.flush(1n);
    group.compact(1n, 2);
    return group;
  }

  test('a follower whose next entry is compacted gets a snapshot, then entries', () => {
    const group = laggard();
    for (let i = 0; i < 3; i++) {
      group.tick(1n);
      group.settle();
    }
    group.node(1n).propose([bytes('after')]);
    group.settle();
    const { commit, applied, firstIndex } = group.node(3n).status();
    assert.deepEqual([commit, applied], [12, 12]);
    assert.ok(firstIndex > 1, 'its log starts after the snapshot');
    assert.equal(
      group
        .node(1n)
        .status()
        .peers.find((p) => p.id === 3n)?.state,
      'replicate',
    );
  });

  test('a snapshot that fails is sent again', () => {
    const group = laggard();
    let lost = 0;
    const loseOne = (m: { type: string; to: bigint }) => m.type !== 'snapshot' || ++lost > 1;
    for (let i = 0; i < 4; i++) {
      group.tick(1n);
      group.settle((m) => {
        const arrives = loseOne(m);
        if (!arrives) group.lose(m);
        return arrives;
      });
    }
    assert.equal(lost, 2);
    assert.equal(group.node(3n).status().commit, 11);
  });

  test('a snapshot of what the log has already changes nothing but the commit index', () => {
    const one = new Lone({ terms: [1, 1, 2] });
    one.step({ type: 'snapshot', term: 2, snapshot: { index: 2, term: 1, confState: voters(1, 2, 3) } });
    const [answer] = one.drain('appendResponse');
    assert.deepEqual(
      [answer?.reject, answer?.index, one.terms, one.node.status().commit],
      [false, 2, [1, 1, 2], 2],
    );
  });

  test('an older snapshot is answered with the commit index', () => {
    const one = new Lone({ terms: [1, 1, 2], hardState: { term: 2, vote: 0n, commit: 3 } });
    one.step({ type: 'snapshot', term: 2, snapshot: { index: 2, term: 1, confState: voters(1, 2, 3) } });
    assert.equal(one.drain('appendResponse')[0]?.index, 3);
  });
});

describe('section 8: clients', () => {
  test('a leader begins its term with an empty entry', () => {
    const one = new Lone({ terms: [1] });
    one.node.campaign();
    one.step({ type: 'preVoteResponse', term: 2 }).run();
    one.step({ type: 'voteResponse', term: 2 });
    const [append] = one.drain('append');
    assert.deepEqual(
      append?.entries.map((e) => [e.index, e.term, e.data.length]),
      [[2, 2, 0]],
    );
  });

  test('a follower passes proposals on as one message; without a leader they are refused', () => {
    const one = new Lone();
    assert.deepEqual(one.node.propose([bytes('x')]), { accepted: false, reason: 'noLeader' });
    one.step({ type: 'heartbeat', term: 1 });
    assert.deepEqual(one.node.propose([bytes('x'), bytes('y')]), { accepted: true });
    const sent = one.drain('propose');
    assert.deepEqual(
      sent.map((m) => [m.to, m.entries.length]),
      [[2n, 2]],
    );
  });

  test('a leader that takes in too much refuses', () => {
    const one = new Lone({ config: { maxUncommittedBytes: 100 } }).lead();
    one.step({ type: 'appendResponse', term: 1, index: 1 }).run();
    assert.deepEqual(one.node.propose([new Uint8Array(500)]), { accepted: true }, 'one is always taken');
    assert.deepEqual(one.node.propose([bytes('x')]), { accepted: false, reason: 'overloaded' });
    one.run().step({ type: 'appendResponse', term: 1, index: 2 }).run();
    assert.deepEqual(one.node.propose([bytes('x')]), { accepted: true });
  });
});
