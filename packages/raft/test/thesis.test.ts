/** What Ongaro's thesis adds to the paper, by section, and what Muster adds to the thesis. */
import { strict as assert } from 'node:assert';
import { describe, test } from 'node:test';
import {
  type ConfChangeStep,
  type ConfState,
  EMPTY_CONF_STATE,
  type Entry,
  encodeConfChange,
  type Message,
  type NodeId,
} from '../src/index.ts';
import { bytes, entry, Lone, voters } from './lone.ts';
import { SimGroup } from './sim-group.ts';

function ledBy(leader: NodeId, ids: readonly NodeId[], learners: readonly NodeId[] = []): SimGroup {
  const group = new SimGroup({ seed: 1, voters: ids, learners });
  group.node(leader).campaign();
  group.settle();
  assert.equal(group.leader()?.id, leader);
  return group;
}

function change(...steps: (readonly [ConfChangeStep['type'], NodeId])[]) {
  return { steps: steps.map(([type, node]) => ({ type, node })), context: new Uint8Array(0) };
}

function without(...ids: NodeId[]) {
  return (m: Message) => !ids.includes(m.from) && !ids.includes(m.to);
}

describe('section 3.10: leadership transfer', () => {
  test('the target is brought up to date, told to stand, and leads without waiting for a timeout', () => {
    const group = ledBy(1n, [1n, 2n, 3n]);
    group.node(1n).propose([bytes('a')]);
    assert.deepEqual(group.node(1n).transferLeadership(3n), { accepted: true });
    assert.deepEqual(group.node(1n).propose([bytes('b')]), { accepted: false, reason: 'transferring' });
    group.settle();
    assert.deepEqual([group.leader()?.id, group.leader()?.term], [3n, 2]);
    assert.equal(group.node(1n).role, 'follower');
  });

  test('a follower may ask for it', () => {
    const group = ledBy(1n, [1n, 2n, 3n]);
    group.node(2n).transferLeadership(2n);
    group.settle();
    assert.equal(group.leader()?.id, 2n);
  });

  test('it is given up after an election timeout, and proposals are taken again', () => {
    const group = ledBy(1n, [1n, 2n, 3n]);
    group.node(1n).transferLeadership(3n);
    for (let i = 0; i < 10; i++) {
      group.tick(1n);
      group.settle(without(3n));
    }
    assert.deepEqual(group.node(1n).propose([bytes('b')]), { accepted: true });
  });

  test('to a learner or a stranger it is refused; to oneself it calls another one off', () => {
    const group = ledBy(1n, [1n, 2n, 3n], [4n]);
    for (const id of [4n, 9n]) {
      assert.deepEqual(group.node(1n).transferLeadership(id), { accepted: false, reason: 'notVoter' });
    }
    group.node(1n).transferLeadership(2n);
    group.node(1n).transferLeadership(1n);
    assert.deepEqual(group.node(1n).propose([bytes('b')]), { accepted: true });
  });
});

describe('section 4.1: one membership change at a time', () => {
  test('a second one is refused until the first is applied', () => {
    const group = ledBy(1n, [1n, 2n, 3n]);
    const leader = group.node(1n);
    assert.deepEqual(leader.proposeConfChange(change(['remove', 3n])), { accepted: true });
    const refused = { accepted: false, reason: 'confChangePending' };
    assert.deepEqual(leader.proposeConfChange(change(['addLearner', 4n])), refused);
    group.settle();
    assert.deepEqual(leader.confState.voters, [1n, 2n]);
    assert.deepEqual(leader.proposeConfChange(change(['addLearner', 4n])), { accepted: true });
  });

  test('a new leader waits for all that earlier terms may have left', () => {
    const fresh = new Lone({ terms: [1, 1] }).lead();
    const refused = { accepted: false, reason: 'confChangePending' };
    assert.deepEqual(fresh.node.proposeConfChange(change(['remove', 3n])), refused);
  });

  test('one that does not fit is refused', () => {
    const group = ledBy(1n, [1n]);
    const refused = { accepted: false, reason: 'invalidConfChange' };
    assert.deepEqual(group.node(1n).proposeConfChange(change(['remove', 1n])), refused);
    assert.deepEqual(group.node(1n).proposeConfChange(change()), refused);
  });

  test('nobody stands for election while a committed change waits to be applied', () => {
    const config: Entry = {
      index: 1,
      term: 1,
      type: 'config',
      data: encodeConfChange(change(['remove', 3n])),
    };
    const one = new Lone();
    one.step({ type: 'append', term: 1, entries: [config], commit: 1 });
    const ready = one.node.takeReady();
    one.log.append(ready.entries);
    one.node.onPersisted(ready.number);
    one.ticks(50);
    assert.equal(one.node.role, 'follower');
    one.node.applyConfChange(change(['remove', 3n]));
    one.node.takeReady();
    one.node.onApplied(1);
    assert.equal(one.ticks(1).node.role, 'preCandidate');
  });
});

describe('section 4.2: availability through changes', () => {
  test('4.2.1: a new member starts as a learner, from a snapshot, and does not count', () => {
    const group = ledBy(1n, [1n, 2n, 3n]);
    group.add(4n);
    group.node(1n).proposeConfChange(change(['addLearner', 4n]));
    group.settle();
    group.tick(1n);
    group.settle();
    const { applied, confState } = group.node(4n).status();
    assert.deepEqual([applied, confState.learners], [2, [4n]]);
    group.node(1n).propose([bytes('x')]);
    group.settle(without(2n, 3n));
    assert.equal(group.node(1n).status().commit, 2, 'leader and learner are no majority');
    group.node(4n).campaign();
    assert.equal(group.node(4n).role, 'follower', 'and a learner does not stand');
  });

  test('4.2.2: a leader that is removed steps down, and another follows at once', () => {
    const group = ledBy(1n, [1n, 2n, 3n]);
    group.node(1n).proposeConfChange(change(['remove', 1n]));
    group.settle();
    assert.deepEqual([group.node(1n).role, group.leader()?.confState.voters], ['follower', [2n, 3n]]);
    assert.deepEqual(group.node(1n).propose([bytes('x')]), { accepted: false, reason: 'notMember' });
  });

  test('4.2.3: a removed node that does not know it cannot disturb', () => {
    const group = ledBy(1n, [1n, 2n, 3n, 4n]);
    group.node(1n).proposeConfChange(change(['remove', 4n]));
    group.settle(without(4n));
    for (let i = 0; i < 100; i++) {
      for (const m of group.up) group.tick(m.id);
      group.settle();
    }
    assert.deepEqual([group.leader()?.id, group.leader()?.term], [1n, 1]);
    assert.equal(group.node(4n).term, 1);
  });

  test('a voter whose quorum has shrunk to itself learns so from those that do not vote any more', () => {
    const group = ledBy(2n, [1n, 2n]);
    group.node(2n).proposeConfChange(change(['addLearner', 2n]));
    // 1 takes the entry, and then hears neither of its commit nor the order to stand.
    group.settle((m) => m.to !== 1n || (m.type === 'append' && m.commit < 2));
    assert.ok(!group.leader());
    assert.deepEqual(group.node(1n).confState.voters, [1n, 2n]);
    for (let i = 0; i < 60; i++) {
      group.tick(1n);
      group.settle();
    }
    assert.deepEqual([group.leader()?.id, group.leader()?.confState.voters], [1n, [1n]]);
  });
});

describe('news of a commit that come with votes', () => {
  test('end a candidacy that counts by a configuration out of date', () => {
    const config: Entry = {
      index: 1,
      term: 1,
      type: 'config',
      data: encodeConfChange(change(['remove', 3n])),
    };
    const one = new Lone();
    one.step({ type: 'append', term: 1, entries: [config] }).run();
    one.ticks(20);
    one.step({ type: 'preVoteResponse', term: 2, commit: 1, commitTerm: 1 }).take();
    assert.deepEqual([one.node.role, one.node.term, one.node.status().commit], ['follower', 1, 1]);
  });

  test('are believed only where the very entry is in the log', () => {
    const one = new Lone({ terms: [1, 2] });
    one.step({ type: 'preVote', term: 3, lastIndex: 2, lastTerm: 3, commit: 2, commitTerm: 3 }).run();
    assert.equal(one.node.status().commit, 0);
    one.step({ type: 'preVote', term: 3, lastIndex: 2, lastTerm: 3, commit: 2, commitTerm: 2 }).run();
    assert.equal(one.node.status().commit, 2);
  });
});

describe('section 4.3: joint consensus', () => {
  const swap = change(['remove', 2n], ['remove', 3n], ['addVoter', 4n], ['addVoter', 5n]);

  function joint(): { group: SimGroup; conf: ConfState } {
    const group = ledBy(1n, [1n, 2n, 3n], [4n, 5n]);
    group.node(1n).proposeConfChange(swap);
    group.settle((m) => m.type !== 'appendResponse' || m.index <= 2);
    return { group, conf: group.node(1n).confState };
  }

  test('more than one voter goes through both configurations and leaves the old one by itself', () => {
    const { group, conf } = joint();
    assert.deepEqual(
      [conf.voters, conf.votersOutgoing],
      [
        [1n, 4n, 5n],
        [1n, 2n, 3n],
      ],
    );
    group.tick(1n);
    group.settle();
    const expected = { ...EMPTY_CONF_STATE, voters: [1n, 4n, 5n] };
    for (const id of [1n, 4n, 5n]) assert.deepEqual(group.node(id).confState, expected);
  });

  test('in between both majorities are needed: to commit, to elect, to stay', () => {
    for (const absent of [
      [2n, 3n],
      [4n, 5n],
    ]) {
      const { group } = joint();
      const before = group.node(1n).status().commit;
      group.node(1n).propose([bytes('x')]);
      for (let i = 0; i < 25; i++) {
        group.tick(1n);
        group.settle(without(...absent));
      }
      assert.equal(group.node(1n).status().commit, before);
      assert.notEqual(group.node(1n).role, 'leader');
    }
  });

  test('a voter that becomes a learner votes in the old set until the end', () => {
    const group = ledBy(1n, [1n, 2n, 3n]);
    group.node(1n).proposeConfChange(change(['addLearner', 2n], ['addLearner', 3n]));
    group.settle((m) => m.type !== 'appendResponse' || m.index <= 2);
    const { conf } = { conf: group.node(1n).confState };
    assert.deepEqual([conf.voters, conf.votersOutgoing, conf.learnersNext], [[1n], [1n, 2n, 3n], [2n, 3n]]);
    group.tick(1n);
    group.settle();
    assert.deepEqual(group.node(1n).confState.learners, [2n, 3n]);
  });

  test('a new leader leaves it when the old one could not', () => {
    const { group } = joint();
    group.settle();
    group.crash(1n);
    for (let i = 0; i < 80; i++) {
      for (const m of group.up) group.tick(m.id);
      group.settle();
    }
    assert.deepEqual(group.leader()?.confState.votersOutgoing, []);
  });
});

describe('section 6.2: routing, and leaders that are cut off', () => {
  test('a leader that hears from no majority for an election timeout steps down', () => {
    const one = new Lone().lead();
    assert.equal(one.ticks(9).node.role, 'leader');
    one.ticks(1).run();
    assert.deepEqual([one.node.role, one.node.leader], ['follower', 0n]);
  });

  test('one that does hear stays', () => {
    const one = new Lone().lead();
    for (let i = 0; i < 20; i++) one.ticks(5).step({ type: 'heartbeatResponse', term: 1 });
    assert.equal(one.node.role, 'leader');
  });

  test('a forwarded proposal counts only in the term that it names, so that its sender may know it lost', () => {
    const one = new Lone({ hardState: { term: 2, vote: 0n, commit: 0 } }).lead();
    const entries = [{ type: 'normal' as const, data: bytes('x') }];
    for (const term of [2, 4]) one.step({ type: 'propose', term, from: 3n, context: 0, entries });
    assert.equal(one.run().node.status().lastIndex, 1);
    one.step({ type: 'propose', term: 3, from: 3n, context: 0, entries });
    assert.equal(one.run().node.status().lastIndex, 2);
  });

  test('whoever does not take a forwarded proposal says so at once, and the proposer hears of it by its number', () => {
    const one = new Lone({ config: { maxUncommittedBytes: 100 } }).lead();
    const entries = [{ type: 'normal' as const, data: new Uint8Array(500) }];
    for (const context of [7, 8, 0]) one.step({ type: 'propose', term: 1, from: 3n, context, entries });
    const refused = one.drain('proposeRefused');
    assert.deepEqual(
      refused.map((m) => [m.to, m.context, m.reason]),
      [[3n, 8, 'overloaded']],
    );
    const follower = new Lone();
    follower.step({ type: 'heartbeat', term: 1 });
    follower.step({ type: 'propose', term: 1, from: 3n, context: 9, entries });
    assert.deepEqual(
      follower.drain('proposeRefused').map((m) => [m.to, m.context, m.reason]),
      [[3n, 9, 'noLeader']],
    );
    follower.step({ type: 'proposeRefused', term: 1, context: 4, reason: 'transferring' });
    assert.deepEqual(follower.node.takeReady().refusedProposals, [{ context: 4, reason: 'transferring' }]);
  });
});

describe('section 6.4: linearizable reads', () => {
  test('a leader answers a read when a majority has confirmed it since', () => {
    const group = ledBy(1n, [1n, 2n, 3n]);
    group.read(1n);
    group.turn(1n);
    assert.equal(group.reads.length, 0);
    group.settle();
    assert.deepEqual(
      group.reads.map((r) => r.index),
      [1],
    );
  });

  test('a deposed leader answers none', () => {
    const group = ledBy(1n, [1n, 2n, 3n]);
    group.node(2n).campaign();
    group.node(3n).leaderGone(1n);
    group.node(2n).leaderGone(1n);
    group.settle(without(1n));
    const successor = group.leader() as { id: NodeId };
    assert.notEqual(successor.id, 1n);
    group.node(successor.id).propose([bytes('x')]);
    group.settle(without(1n));
    group.read(1n);
    group.settle();
    assert.equal(group.reads.length, 0);
  });

  test('a new leader waits until an entry of its own term is committed', () => {
    const one = new Lone({ terms: [1] }).lead();
    one.node.readIndex(7);
    assert.equal(one.drain('heartbeat').length, 0);
    one.step({ type: 'appendResponse', term: 2, index: 2 });
    const round = one.drain('heartbeat').find((m) => m.context > 0)?.context as number;
    one.step({ type: 'heartbeatResponse', term: 2, context: round }).run();
    assert.deepEqual(one.reads, [{ context: 7, index: 2 }]);
  });

  test('all that is asked before a round starts shares it', () => {
    const one = new Lone().lead();
    one.step({ type: 'appendResponse', term: 1, index: 1 }).run().sent.length = 0;
    for (let context = 1; context <= 50; context++) one.node.readIndex(context);
    const beats = one.drain('heartbeat');
    assert.equal(beats.length, 2);
    one.step({ type: 'heartbeatResponse', term: 1, context: beats[0]?.context as number }).run();
    assert.equal(one.reads.length, 50);
  });

  test('a round whose heartbeats are lost goes out with the next ones', () => {
    const one = new Lone().lead();
    one.step({ type: 'appendResponse', term: 1, index: 1 }).run().sent.length = 0;
    one.node.readIndex(1);
    const first = one.drain('heartbeat')[0]?.context;
    assert.equal(one.ticks(2).drain('heartbeat')[0]?.context, first);
  });

  test('a single voter answers by itself, a follower asks the leader', () => {
    const single = ledBy(1n, [1n]);
    single.read(1n);
    single.take(1n);
    assert.equal(single.reads.length, 1);
    const group = ledBy(1n, [1n, 2n, 3n], [4n]);
    for (const id of [3n, 4n]) group.read(id);
    group.settle();
    assert.deepEqual(
      group.reads.map((r) => [r.id, r.index]),
      [
        [3n, 1],
        [4n, 1],
      ],
    );
  });

  test('the queue is bounded', () => {
    const one = new Lone({ config: { maxPendingReads: 2 } }).lead();
    assert.deepEqual(
      [one.node.readIndex(1), one.node.readIndex(2)],
      [{ accepted: true }, { accepted: true }],
    );
    assert.deepEqual(one.node.readIndex(3), { accepted: false, reason: 'overloaded' });
  });

  test('rounds under way complete when the quorum shrinks to the leader alone', () => {
    const group = ledBy(1n, [1n, 2n]);
    group.node(1n).proposeConfChange(change(['remove', 2n]));
    group.take(1n);
    group.read(1n);
    group.settle((m) => m.type !== 'heartbeatResponse');
    assert.deepEqual([group.node(1n).confState.voters, group.reads.length], [[1n], 1]);
  });
});

describe('section 9.6: pre-vote', () => {
  test('a node that is cut off does not raise its term, and comes back without an election', () => {
    const group = ledBy(1n, [1n, 2n, 3n]);
    for (let i = 0; i < 200; i++) {
      for (const m of group.up) group.tick(m.id);
      group.settle(without(3n));
    }
    assert.deepEqual([group.node(3n).role, group.node(3n).term], ['preCandidate', 1]);
    group.tick(1n);
    group.settle();
    assert.deepEqual([group.node(3n).role, group.leader()?.id, group.leader()?.term], ['follower', 1n, 1]);
  });

  test('a pre-vote changes neither term nor vote, and needs no disk', () => {
    const one = new Lone({ hardState: { term: 3, vote: 3n, commit: 0 } });
    one.step({ type: 'preVote', term: 4 }).take();
    assert.deepEqual(
      one.sent.map((m) => [m.type, m.term]),
      [['preVoteResponse', 4]],
    );
    assert.deepEqual([one.node.term, one.node.status().vote], [3, 3n]);
  });

  test('while a leader is alive none is granted, nor a vote, unless the leader ordered it', () => {
    for (const type of ['preVote', 'vote'] as const) {
      const one = new Lone();
      one.step({ type: 'heartbeat', term: 1, from: 3n }).run().sent.length = 0;
      one.ticks(9).step({ type, term: 2 });
      assert.deepEqual([one.drain(`${type}Response`).length, one.node.term], [0, 1]);
      one.step({ type, term: 2, transfer: true });
      assert.equal(one.drain(`${type}Response`)[0]?.reject, false);
    }
  });

  test('a member that may not stand lets the lease of a silent leader run out', () => {
    const one = new Lone({ conf: { ...voters(2, 3), learners: [1n] } });
    one.step({ type: 'heartbeat', term: 1, from: 3n });
    one.ticks(25).step({ type: 'preVote', term: 2 });
    assert.equal(one.drain('preVoteResponse')[0]?.reject, false);
  });
});

describe('section 10.2.1: the leader writes to its disk in parallel', () => {
  test('appends leave before the own write is done; the own part counts only after it', () => {
    const one = new Lone().lead();
    one.step({ type: 'appendResponse', term: 1, index: 1 }).run().sent.length = 0;
    one.node.propose([bytes('x')]);
    one.take();
    assert.equal(one.sent.filter((m) => m.type === 'append').length, 1, '2 is ahead, 3 is still probed');
    assert.equal(one.node.status().commit, 1);
    const five = new Lone({ conf: voters(1, 2, 3, 4, 5) }).lead();
    five.node.propose([bytes('x')]);
    five.take();
    for (const from of [2n, 3n]) five.step({ type: 'appendResponse', term: 1, index: 2, from });
    assert.equal(five.node.status().commit, 1, 'two of five');
    assert.equal(five.persist().node.status().commit, 2);
  });

  test('what a majority of others has is committed without it, but applied here only when durable here', () => {
    const one = new Lone().lead();
    for (const from of [2n, 3n]) one.step({ type: 'appendResponse', term: 1, index: 1, from });
    one.run().node.propose([bytes('x')]);
    one.take();
    for (const from of [2n, 3n]) one.step({ type: 'appendResponse', term: 1, index: 2, from });
    one.take();
    assert.deepEqual([one.node.status().commit, one.committed.length], [2, 1]);
    one.persist().take();
    assert.equal(one.committed.length, 2);
  });

  test('a leader whose disk is behind when it comes up counts itself only so far', () => {
    const one = new Lone({ conf: voters(1, 2, 3, 4, 5) });
    one.step({ type: 'append', term: 1, entries: [entry(1, 1)] }).run();
    one.ticks(10);
    one.lead();
    one.take();
    assert.equal(one.node.status().stableIndex, 2);
  });
});

describe("a leader's process is known dead", () => {
  test('of three, the survivors elect without one tick', () => {
    for (const dead of [1n, 2n, 3n]) {
      const group = ledBy(dead, [1n, 2n, 3n]);
      group.crash(dead);
      for (const m of group.up) m.running.leaderGone(dead);
      group.settle();
      const leader = group.leader();
      assert.ok(leader && leader.id !== dead, `after the death of ${dead}`);
      assert.equal(leader.term, 2);
    }
  });

  test('it does not matter who hears of it first: a pre-vote that comes too early is answered later', () => {
    for (const order of [
      [2n, 3n],
      [3n, 2n],
    ]) {
      const group = ledBy(1n, [1n, 2n, 3n]);
      group.crash(1n);
      for (const id of order) {
        group.node(id).leaderGone(1n);
        group.settle();
      }
      assert.equal(group.leader()?.id, 2n, `order ${order}`);
    }
  });

  test('when the first in line lacks entries, the one that refuses it stands at once', () => {
    const group = ledBy(1n, [1n, 2n, 3n]);
    group.node(1n).propose([bytes('x')]);
    group.settle(without(2n));
    group.crash(1n);
    group.node(3n).leaderGone(1n);
    group.node(2n).leaderGone(1n);
    group.settle();
    assert.equal(group.leader()?.id, 3n);
  });

  test('of five, the survivors elect without one tick, and one only', () => {
    const group = ledBy(1n, [1n, 2n, 3n, 4n, 5n]);
    group.crash(1n);
    for (const m of group.up) m.running.leaderGone(1n);
    group.settle();
    assert.deepEqual([group.leader()?.id, group.leader()?.term], [2n, 2]);
  });

  test('when the first in line is dead too, the next one stands within few ticks', () => {
    const group = ledBy(1n, [1n, 2n, 3n, 4n, 5n]);
    for (const id of [1n, 2n]) group.crash(id);
    for (const m of group.up) m.running.leaderGone(1n);
    let ticks = 0;
    for (; !group.leader(); ticks++) {
      for (const m of group.up) group.tick(m.id);
      group.settle();
    }
    assert.ok(ticks <= 4, `${ticks} ticks`);
  });

  test('a pre-vote that is lost is tried again after few ticks, as often as it takes', () => {
    const group = ledBy(1n, [1n, 2n, 3n]);
    group.crash(1n);
    group.node(2n).leaderGone(1n);
    let asked = 0;
    for (let i = 0; i < 20; i++) {
      group.tick(2n);
      group.settle((m) => {
        if (m.type === 'preVote') asked++;
        return m.type !== 'preVote';
      });
    }
    assert.ok(asked >= 2 * 5, `${asked} requests in 20 ticks`);
    group.node(3n).leaderGone(1n);
    for (let i = 0; i < 4; i++) {
      group.tick(2n);
      group.settle();
    }
    assert.equal(group.leader()?.id, 2n);
  });

  test('a dead leader that is back and needed may vote: of two, the other one alone cannot', () => {
    const group = ledBy(1n, [1n, 2n]);
    group.node(1n).propose([bytes('x')]);
    group.settle((m) => m.type !== 'appendResponse');
    group.crash(1n);
    group.member(1n).hardState = { term: 1, vote: 1n, commit: 1 };
    group.member(1n).disk.reset(0, 0);
    group.member(1n).disk.append([entry(1, 1, '')]);
    group.node(2n).leaderGone(1n);
    group.settle();
    group.start(1n);
    for (let i = 0; i < 30 && !group.leader(); i++) {
      group.tick(2n);
      group.settle();
    }
    assert.equal(group.leader()?.id, 2n);
  });

  test('a false alarm of one member changes nothing', () => {
    const group = ledBy(1n, [1n, 2n, 3n]);
    group.node(2n).leaderGone(1n);
    group.settle();
    group.tick(1n);
    group.settle();
    assert.deepEqual([group.leader()?.id, group.leader()?.term, group.node(2n).leader], [1n, 1, 1n]);
  });

  test('news of another death is none', () => {
    const group = ledBy(1n, [1n, 2n, 3n]);
    group.node(2n).leaderGone(3n);
    assert.deepEqual([group.node(2n).role, group.node(2n).leader], ['follower', 1n]);
  });
});
