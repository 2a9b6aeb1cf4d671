/** Who gets a vote (Raft sections 5.2 and 5.4.1, PreVote: thesis section 9.6). */
import { DEFERRED_PRE_VOTE_TICKS } from './limits.ts';
import { type Message, NONE } from './messages.ts';
import type { RaftState } from './state.ts';

export type VoteRequest = Message & { readonly type: 'vote' | 'preVote' };

/**
 * A live leader was heard from within the minimum election timeout: nobody gets a vote, unless the leader ordered
 * it (thesis section 4.2.3). So a removed or a cut-off node cannot disturb the group.
 */
export function inLease(s: RaftState): boolean {
  return s.leader !== NONE && s.electionElapsed < s.config.electionTicks;
}

/** Keeps a pre-vote that the lease forbids to answer: the news of the leader's death may be just behind it. */
export function deferVote(s: RaftState, m: VoteRequest): void {
  if (m.type !== 'preVote' || s.role !== 'follower') return;
  const message = m as VoteRequest & { readonly type: 'preVote' };
  s.deferredPreVote = { message, ticksLeft: DEFERRED_PRE_VOTE_TICKS };
}

/** Answers a request of this term or, a pre-vote, of a later one. Returns whether it was granted. */
export function answerVote(s: RaftState, m: VoteRequest): boolean {
  const free = s.vote === m.from || (s.vote === NONE && s.leader === NONE);
  const eligible = free || (m.type === 'preVote' && m.term > s.term);
  const granted = eligible && s.log.isUpToDate(m.lastIndex, m.lastTerm);
  const base = { from: s.id, to: m.from, reject: !granted, ...knownCommit(s) };
  if (m.type === 'preVote') {
    // Nothing changed, so nothing must be durable. A grant names the term asked for, a refusal the own one.
    s.send({ ...base, type: 'preVoteResponse', term: granted ? m.term : s.term });
  } else {
    s.sendAfterPersist({ ...base, type: 'voteResponse', term: s.term });
    if (granted) {
      s.vote = m.from;
      s.electionElapsed = 0;
    }
  }
  return granted;
}

/** What every vote message tells beside its own business. */
export function knownCommit(s: RaftState): { readonly commit: number; readonly commitTerm: number } {
  return { commit: s.log.committed, commitTerm: s.log.mustTerm(s.log.committed) };
}

/**
 * Takes over a commit index that another node states, where the log has that very entry. A voter whose quorum has
 * moved on, to members that do not stand or do not need its vote, could otherwise ask in vain for ever.
 */
export function learnCommit(
  s: RaftState,
  m: Message & { readonly commit: number; readonly commitTerm: number },
): void {
  if (s.role === 'leader' || m.commit <= s.log.committed) return;
  if (!s.log.matches(m.commit, m.commitTerm)) return;
  s.log.commitTo(m.commit);
  // The configuration that this candidacy counts by may be out of date now.
  if (s.role !== 'follower' && s.log.hasUnappliedConfig) s.becomeFollower(s.term, NONE);
}
