/** The rules of terms, common to all roles (Raft section 5.1), then the role's own. */
import { assertNever } from '@muster/base';
import { campaign, stepCandidate } from './candidate.ts';
import { hurryAfterLeader, stepFollower } from './follower.ts';
import { refuseProposal, stepLeader, tickLeader } from './leader.ts';
import { type Message, NONE, type NodeId } from './messages.ts';
import { maybeLeaveJoint } from './reconfigure.ts';
import type { RaftState } from './state.ts';
import { answerVote, deferVote, inLease, knownCommit, learnCommit, type VoteRequest } from './vote.ts';

export function step(s: RaftState, m: Message): void {
  if (m.to !== s.id || m.from === s.id) return;
  if (m.from === s.goneLeader) s.goneLeader = NONE;
  if (isRequestToLeader(m)) {
    // Carries no claim about leadership; an older term only says that the asker has yet to hear of this one. A
    // proposal counts in the term it names alone: once an entry of a later term is applied, its sender knows that
    // it is lost and may propose it again without being applied twice.
    if (m.type === 'propose' && m.term === s.term && s.role !== 'leader') refuseProposal(s, m, 'noLeader');
    else if (m.type === 'propose' ? m.term === s.term : m.term <= s.term) dispatch(s, m);
    return;
  }
  if (m.term > s.term && !meetLaterTerm(s, m)) return;
  if (m.term < s.term && !meetEarlierTerm(s, m)) return;
  if (m.type === 'vote' || m.type === 'preVote') receiveVote(s, m);
  else if (m.type === 'proposeRefused') s.refusedProposals.push({ context: m.context, reason: m.reason });
  else dispatch(s, m);
}

function isRequestToLeader(m: Message): boolean {
  return m.type === 'propose' || m.type === 'readIndex' || m.type === 'transferLeader';
}

/** Whether to go on with the message. */
function meetLaterTerm(s: RaftState, m: Message): boolean {
  if (m.type === 'vote' || m.type === 'preVote') {
    if (!m.transfer && inLease(s)) {
      deferVote(s, m);
      return false;
    }
    // A pre-vote never changes the asked one's term.
    if (m.type === 'preVote') return true;
  }
  // A granted pre-vote names the term that the candidate would have.
  if (m.type === 'preVoteResponse' && !m.reject) return true;
  const fromLeader = m.type === 'append' || m.type === 'heartbeat' || m.type === 'snapshot';
  s.becomeFollower(m.term, fromLeader ? m.from : NONE);
  return true;
}

/** Whether to go on with the message. */
function meetEarlierTerm(s: RaftState, m: Message): boolean {
  switch (m.type) {
    case 'append':
    case 'heartbeat':
      // A leader of an old term learns of the new one. Without this a node that came back with a higher term, and
      // may not disturb the group by a vote, would stay shut out.
      s.send({
        type: 'appendResponse',
        from: s.id,
        to: m.from,
        term: s.term,
        index: m.type === 'append' ? m.prevIndex : 0,
        reject: true,
        hintIndex: 0,
        hintTerm: 0,
      });
      return false;
    case 'preVote':
      s.send({
        type: 'preVoteResponse',
        from: s.id,
        to: m.from,
        term: s.term,
        reject: true,
        ...knownCommit(s),
      });
      return false;
    case 'preVoteResponse':
      // A refusal names the refuser's own term, which may well be older.
      return m.reject;
    default:
      return false;
  }
}

function receiveVote(s: RaftState, m: VoteRequest): void {
  learnCommit(s, m);
  const granted = answerVote(s, m);
  if (s.goneLeader === NONE || s.role !== 'follower') return;
  if (m.type === 'preVote') takeTurn(s, granted);
}

/**
 * With the leader known dead, whoever grants a pre-vote lets the asker try first. Whoever refuses one has the newer
 * log: it stands itself, at once, for the asker cannot win its vote.
 */
function takeTurn(s: RaftState, granted: boolean): void {
  s.hurryElection();
  if (!granted) campaign(s, 'preElection');
}

function dispatch(s: RaftState, m: Message): void {
  switch (s.role) {
    case 'follower':
      stepFollower(s, m);
      return;
    case 'preCandidate':
    case 'candidate':
      stepCandidate(s, m);
      return;
    case 'leader':
      stepLeader(s, m);
      return;
    default:
      assertNever(s.role, 'role');
  }
}

export function tick(s: RaftState): void {
  if (s.role === 'leader') {
    tickLeader(s);
    maybeLeaveJoint(s);
    return;
  }
  const deferred = s.deferredPreVote;
  if (deferred && --deferred.ticksLeft < 0) s.deferredPreVote = undefined;
  s.electionElapsed++;
  if (s.electionElapsed < s.electionTimeout) return;
  // Starting over is the campaign's business: a node that may not stand must not renew the lease of a silent leader.
  campaign(s, 'preElection');
}

/** The process of `peer` is known dead. */
export function leaderGone(s: RaftState, peer: NodeId): void {
  if (s.role !== 'follower' || s.leader === NONE || s.leader !== peer) return;
  const deferred = s.deferredPreVote;
  s.deferredPreVote = undefined;
  hurryAfterLeader(s);
  if (deferred) step(s, deferred.message);
}
