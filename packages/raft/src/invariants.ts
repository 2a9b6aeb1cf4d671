/** What must hold for a whole group at every moment: the safety rules of the Raft paper (figure 3), checked. */
import { assert, equalBytes } from '@muster/base';
import { isJoint } from './membership.ts';
import type { ConfState, Entry, NodeId } from './messages.ts';
import type { RaftStatus } from './status.ts';

/** A running node as the checker sees it; `RaftNode` is one. */
export type NodeView = {
  readonly id: NodeId;
  status(): RaftStatus;
  termAt(index: number): number | undefined;
  entryAt(index: number): Entry | undefined;
};

/** What a member, running or crashed, has on disk. */
export type DiskView = {
  readonly id: NodeId;
  readonly compactedIndex: number;
  readonly lastIndex: number;
  term(index: number): number | undefined;
};

type Seen = {
  term: number;
  vote: NodeId;
  commit: number;
  applied: number;
  led: number;
  terms: number[];
  first: number;
};
type Known = { readonly prevTerm: number | undefined; readonly entry: Entry };

/**
 * Watches a group over its life: call `check` after every step, `crashed` when a node loses its memory. It remembers
 * what was seen, so it finds conflicts between things that were never there at the same time. The cost of a check
 * is proportional to what changed.
 */
export class GroupInvariants {
  readonly #leaders = new Map<number, NodeId>();
  readonly #seen = new Map<NodeId, Seen>();
  readonly #entries = new Map<string, Known>();
  /** Term of each committed entry, from index 1. */
  readonly #committed: number[] = [0];

  /** The greatest index that any node knows to be committed. */
  get maxCommit(): number {
    return this.#committed.length - 1;
  }

  /** The node lost its memory: what it had seen and not kept is no promise any more. */
  crashed(id: NodeId): void {
    this.#seen.delete(id);
  }

  /** Throws AssertionFailed, naming the rule and the values. */
  check(running: Iterable<NodeView>, disks: readonly DiskView[]): void {
    for (const node of running) {
      const status = node.status();
      const seen = this.#seenOf(node, status);
      checkWatermarks(status);
      this.#checkMonotonic(status, seen);
      this.#checkLog(node, status, seen);
      this.#checkCommit(node, status, seen, disks);
      this.#checkLeader(node, status);
      seen.term = status.term;
      seen.vote = status.vote;
      seen.commit = status.commit;
      seen.applied = status.applied;
      seen.led = status.role === 'leader' ? status.term : 0;
    }
  }

  #seenOf(node: NodeView, status: RaftStatus): Seen {
    const known = this.#seen.get(node.id);
    if (known) return known;
    const fresh = {
      term: status.term,
      vote: status.vote,
      commit: 0,
      applied: 0,
      led: 0,
      terms: [],
      first: 1,
    };
    this.#seen.set(node.id, fresh);
    return fresh;
  }

  #checkMonotonic(now: RaftStatus, seen: Seen): void {
    rule(now.term >= seen.term, 'terms never fall', now, () => `from ${seen.term}`);
    rule(now.commit >= seen.commit, 'the commit index never falls', now, () => `from ${seen.commit}`);
    rule(now.applied >= seen.applied, 'the applied index never falls', now, () => `from ${seen.applied}`);
    if (now.term === seen.term && seen.vote !== 0n) {
      rule(now.vote === seen.vote, 'one vote a term (5.2)', now, () => `was ${seen.vote}, is ${now.vote}`);
    }
  }

  /**
   * Log Matching by induction: if each (index, term) has one content and one predecessor, equal (index, term) means
   * equal logs up to there. Only what changed since the last look is read.
   */
  #checkLog(node: NodeView, now: RaftStatus, seen: Seen): void {
    let low = now.lastIndex + 1;
    while (low > now.firstIndex && seen.terms[low - 1] !== node.termAt(low - 1)) low--;
    const shortest = Math.min(low - 1, now.lastIndex);
    if (now.role === 'leader' && seen.led === now.term) {
      rule(shortest >= seen.terms.length - 1, 'a leader only appends (5.3)', now, () => `cut to ${shortest}`);
    }
    seen.terms.length = now.lastIndex + 1;
    let uncommittedChanges = 0;
    for (let index = now.lastIndex; index >= now.firstIndex; index--) {
      if (index < low && index <= now.commit) break;
      const entry = node.entryAt(index) as Entry;
      if (entry.type === 'config' && index > now.commit) uncommittedChanges++;
      if (index < low) continue;
      seen.terms[index] = entry.term;
      this.#checkEntry(now, entry, node.termAt(index - 1));
    }
    rule(
      uncommittedChanges <= 1,
      'one membership change at a time (thesis 4.1)',
      now,
      () => `${uncommittedChanges}`,
    );
  }

  #checkEntry(now: RaftStatus, entry: Entry, prevTerm: number | undefined): void {
    rule(
      prevTerm === undefined || prevTerm <= entry.term,
      'terms never fall along a log',
      now,
      () => `${entry.index}`,
    );
    const key = `${entry.index}/${entry.term}`;
    const known = this.#entries.get(key);
    if (known === undefined) {
      this.#entries.set(key, { prevTerm, entry });
      return;
    }
    const same = known.entry.type === entry.type && equalBytes(known.entry.data, entry.data);
    const linked = known.prevTerm === undefined || prevTerm === undefined || known.prevTerm === prevTerm;
    rule(same && linked, 'log matching (5.3)', now, () => `entry ${key}`);
  }

  /** State Machine Safety, and that nothing is committed without a durable quorum. */
  #checkCommit(node: NodeView, now: RaftStatus, seen: Seen, disks: readonly DiskView[]): void {
    for (let index = Math.max(seen.commit + 1, now.firstIndex); index <= now.commit; index++) {
      const term = node.termAt(index) as number;
      const known = this.#committed[index];
      if (known !== undefined) {
        rule(
          known === term,
          'state machine safety (5.4.3)',
          now,
          () => `${index}: term ${known} and ${term}`,
        );
        continue;
      }
      rule(index === this.#committed.length, 'commits are contiguous', now, () => `${index}`);
      rule(
        isOnQuorum(now.confState, disks, now.commit, node),
        'commit needs a quorum (5.3)',
        now,
        () => `${now.commit}`,
      );
      this.#committed.push(term);
    }
  }

  /** Election Safety, and Leader Completeness at the moment a leader is first seen. */
  #checkLeader(node: NodeView, now: RaftStatus): void {
    if (now.role !== 'leader') return;
    const known = this.#leaders.get(now.term);
    rule(
      known === undefined || known === now.id,
      'election safety (5.2)',
      now,
      () => `${known} led this term`,
    );
    rule(now.leader === now.id && now.vote === now.id, 'a leader voted for itself', now, () => `${now.vote}`);
    if (known !== undefined) return;
    this.#leaders.set(now.term, now.id);
    for (let index = Math.max(now.firstIndex - 1, 1); index <= this.maxCommit; index++) {
      const term = this.#committed[index] as number;
      rule(
        node.termAt(index) === term,
        'leader completeness (5.4.3)',
        now,
        () => `${index}: lacks term ${term}`,
      );
    }
  }
}

function checkWatermarks(now: RaftStatus): void {
  const { firstIndex, applied, applying, commit, stableIndex, lastIndex } = now;
  const text = () => JSON.stringify({ firstIndex, applied, applying, commit, stableIndex, lastIndex });
  rule(applied <= applying && applying <= commit && commit <= lastIndex, 'watermarks in order', now, text);
  const installing = stableIndex === 0 && commit >= firstIndex - 1;
  rule(installing || firstIndex - 1 <= applied, 'only what is applied is compacted', now, text);
  rule(installing || (applying <= stableIndex && stableIndex <= lastIndex), 'applied is durable', now, text);
  const { confState } = now;
  rule(isJoint(confState) || confState.learnersNext.length === 0, 'learnersNext only while joint', now, text);
  rule(
    confState.learners.every(
      (id) => !confState.voters.includes(id) && !confState.votersOutgoing.includes(id),
    ),
    'a learner does not vote',
    now,
    text,
  );
  for (const peer of now.peers) {
    rule(peer.match < peer.next && peer.match <= lastIndex, 'match < next', now, () => `peer ${peer.id}`);
    rule(
      peer.next <= lastIndex + 1 || peer.state !== 'replicate',
      'next is within the log',
      now,
      () => `${peer.id}`,
    );
  }
}

/** The leader that first commits an index did it by its own configuration, with what is on the disks by now. */
function isOnQuorum(conf: ConfState, disks: readonly DiskView[], index: number, node: NodeView): boolean {
  const term = node.termAt(index);
  const has = (id: NodeId) =>
    disks.some(
      (d) => d.id === id && (d.compactedIndex >= index || (d.lastIndex >= index && d.term(index) === term)),
    );
  const majority = (ids: readonly NodeId[]) => ids.length === 0 || 2 * ids.filter(has).length > ids.length;
  return majority(conf.voters) && majority(conf.votersOutgoing);
}

function rule(holds: boolean, name: string, now: RaftStatus, detail: () => string): void {
  assert(holds, () => `${name}: node ${now.id}, term ${now.term}, ${now.role}: ${detail()}`);
}
