/** What a follower does with each message. */
import { acceptAppend, acceptHeartbeat, acceptSnapshot } from './append.ts';
import { campaign } from './candidate.ts';
import { isVoter } from './membership.ts';
import { type Message, NONE, type NodeId } from './messages.ts';
import type { RaftState } from './state.ts';

type Propose = Message & { readonly type: 'propose' };

export function stepFollower(s: RaftState, m: Message): void {
  switch (m.type) {
    case 'append':
      hearLeader(s, m.from);
      acceptAppend(s, m);
      return;
    case 'snapshot':
      hearLeader(s, m.from);
      acceptSnapshot(s, m);
      return;
    case 'heartbeat':
      hearLeader(s, m.from);
      acceptHeartbeat(s, m);
      return;
    case 'timeoutNow':
      campaign(s, 'transfer');
      return;
    case 'readIndexResponse':
      s.readStates.push({ context: m.context, index: m.index });
      return;
    case 'propose':
      passOn(s, m);
      return;
    default:
      return;
  }
}

function hearLeader(s: RaftState, leader: NodeId): void {
  s.electionElapsed = 0;
  if (s.leader !== leader) {
    s.setLeader(leader);
    s.drawElectionTimeout();
  }
  s.leaderGone = false;
  s.deferredPreVote = undefined;
}

/**
 * Proposals that reach a node which led until just now go on to its successor: only from an older term to a newer
 * one, so that they cannot go round in circles.
 */
function passOn(s: RaftState, m: Propose): void {
  if (s.leader === NONE || s.leader === m.from || m.term >= s.term) return;
  s.send({ type: 'propose', from: s.id, to: s.leader, term: s.term, entries: m.entries });
}

/**
 * The leader's process is known dead. Survivors take turns by rank, the voter with the lowest id at once and each
 * further one a tick or so later, so that they do not split the vote. See `takeTurn` in step.ts for the case that
 * the first one's log is too old, and `deferVote` for the case that it asks before this node has had the news.
 */
export function hurryAfterLeader(s: RaftState): void {
  const gone = s.leader;
  s.leader = NONE;
  s.leaderGone = true;
  if (!isVoter(s.conf, s.id)) return;
  const rank = survivorRank(s, gone);
  if (rank === 0) {
    s.hurryElection();
    campaign(s, 'preElection');
  } else {
    s.hurryElection(rank);
  }
}

/** How many voters other than the dead leader have a lower id. */
function survivorRank(s: RaftState, gone: NodeId): number {
  const lower = new Set<NodeId>();
  for (const list of [s.conf.voters, s.conf.votersOutgoing]) {
    for (const id of list) if (id !== gone && id < s.id) lower.add(id);
  }
  return lower.size;
}
