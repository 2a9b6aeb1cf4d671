/** Elections: standing, counting, giving way (Raft section 5.2, PreVote: thesis section 9.6). */
import { acceptAppend, acceptHeartbeat, acceptSnapshot } from './append.ts';
import { startLeading } from './leader.ts';
import { type Message, NONE } from './messages.ts';
import { jointVoteResult, type VoteResult } from './quorum.ts';
import type { RaftState } from './state.ts';
import { knownCommit, learnCommit } from './vote.ts';

/** preElection asks first whether an election could be won; transfer skips that on the leader's order. */
type CampaignKind = 'preElection' | 'election' | 'transfer';

/**
 * Stands for election where that is allowed at all. A configuration that is committed but not applied here forbids
 * it: electing by the old one could elect a second leader. It is applied soon, and the election timer tries again.
 */
export function campaign(s: RaftState, kind: CampaignKind): void {
  if (s.role === 'leader' || !s.promotable || s.log.hasUnappliedConfig) return;
  if (kind === 'preElection') s.becomePreCandidate();
  else s.becomeCandidate();
  // A dead leader will not answer; to wait for it would hide that the vote is lost.
  if (s.goneLeader !== NONE) s.votes.set(s.goneLeader, false);
  requestVotes(s, kind);
  // A pre-vote of one's own counts at once, a vote when it is durable: `countOwnVote`.
  if (kind === 'preElection') recordVote(s, true, s.id);
}

function requestVotes(s: RaftState, kind: CampaignKind): void {
  const type = kind === 'preElection' ? 'preVote' : 'vote';
  const term = kind === 'preElection' ? s.term + 1 : s.term;
  const { lastIndex, lastTerm } = s.log;
  const known = knownCommit(s);
  for (const pr of s.peers) {
    if (pr.isLearner) continue;
    s.send({
      type,
      from: s.id,
      to: pr.id,
      term,
      lastIndex,
      lastTerm,
      transfer: kind === 'transfer',
      ...known,
    });
  }
}

export function stepCandidate(s: RaftState, m: Message): void {
  switch (m.type) {
    case 'append':
    case 'heartbeat':
    case 'snapshot':
      // Someone else leads this term.
      s.becomeFollower(m.term, m.from);
      if (m.type === 'append') acceptAppend(s, m);
      else if (m.type === 'snapshot') acceptSnapshot(s, m);
      else acceptHeartbeat(s, m);
      return;
    case 'preVoteResponse':
      learnCommit(s, m);
      if (s.role === 'preCandidate') recordVote(s, !m.reject, m.from);
      return;
    case 'voteResponse':
      learnCommit(s, m);
      if (s.role === 'candidate') recordVote(s, !m.reject, m.from);
      return;
    default:
      return;
  }
}

/**
 * The own vote counts once it is durable, and nobody leads without it. Else a node could win, lead, crash before its
 * vote is on disk, stand again in the same term and win again, with other entries at the same places.
 */
export function countOwnVote(s: RaftState): void {
  if (s.role !== 'candidate' || s.votes.has(s.id)) return;
  if (s.durable.term === s.term && s.durable.vote === s.id) recordVote(s, true, s.id);
}

function recordVote(s: RaftState, granted: boolean, from: Message['from']): void {
  if (!s.votes.has(from)) s.votes.set(from, granted);
  const result: VoteResult = jointVoteResult(s.conf.voters, s.conf.votersOutgoing, s.votes);
  if (result === 'lost') {
    s.becomeFollower(s.term, NONE);
    if (s.goneLeader !== NONE) s.hurryElection();
  } else if (result === 'won' && s.votes.has(s.id)) {
    if (s.role === 'preCandidate') campaign(s, 'election');
    else startLeading(s);
  }
}
