/** What a follower does with each message. */
import { acceptAppend, acceptHeartbeat, acceptSnapshot } from './append.ts';
import { campaign } from './candidate.ts';
import { isVoter } from './membership.ts';
import { type Message, NONE, type NodeId } from './messages.ts';
import type { RaftState } from './state.ts';

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
      if (s.log.hasUnappliedConfig) s.standWhenApplied = true;
      else campaign(s, 'transfer');
      return;
    case 'readIndexResponse':
      s.readStates.push({ context: m.context, index: m.index });
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
  s.goneLeader = NONE;
  s.deferredPreVote = undefined;
}

/** Follows an order that came with the leader's own removal, which had to be applied first. */
export function maybeStand(s: RaftState): void {
  if (s.standWhenApplied && s.role === 'follower') campaign(s, 'transfer');
}

/**
 * The leader's process is known dead. Survivors take turns by rank, the voter with the lowest id at once and each
 * further one a tick later, so that they do not split the vote. See `takeTurn` in step.ts for the case that
 * the first one's log is too old, and `deferVote` for the case that it asks before this node has had the news.
 */
export function hurryAfterLeader(s: RaftState): void {
  s.goneLeader = s.leader;
  s.leader = NONE;
  if (!isVoter(s.conf, s.id)) return;
  const rank = survivorRank(s);
  if (rank === 0) {
    s.hurryElection();
    campaign(s, 'preElection');
  } else {
    s.electionElapsed = 0;
    s.electionTimeout = Math.min(rank, s.electionTimeout);
  }
}

/** How many voters other than the dead leader have a lower id. */
function survivorRank(s: RaftState): number {
  const lower = new Set<NodeId>();
  for (const list of [s.conf.voters, s.conf.votersOutgoing]) {
    for (const id of list) if (id !== s.goneLeader && id < s.id) lower.add(id);
  }
  return lower.size;
}
