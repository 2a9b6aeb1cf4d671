import type { ConfState, NodeId } from './messages.ts';
import { NONE } from './messages.ts';
import type { ProgressState } from './progress.ts';
import type { Role } from './ready.ts';
import type { RaftState } from './state.ts';

/** The leader's view of one other member. */
export type PeerStatus = {
  readonly id: NodeId;
  readonly match: number;
  readonly next: number;
  readonly state: ProgressState;
  readonly recentActive: boolean;
  readonly isLearner: boolean;
  /** Append messages under way. */
  readonly inflight: number;
  /** Index of the snapshot on its way, or 0. */
  readonly pendingSnapshot: number;
};

/** A copy of what a node knows of itself and, when it leads, of the others. */
export type RaftStatus = {
  readonly id: NodeId;
  readonly term: number;
  readonly vote: NodeId;
  readonly role: Role;
  /** NONE (0n) when unknown. */
  readonly leader: NodeId;
  readonly commit: number;
  /** Last index handed out in `committedEntries`. */
  readonly applying: number;
  /** Last index reported by `onApplied`. */
  readonly applied: number;
  readonly lastIndex: number;
  readonly lastTerm: number;
  readonly firstIndex: number;
  /** Everything up to here is durable on this node. */
  readonly stableIndex: number;
  readonly confState: ConfState;
  /** NONE (0n) unless leadership is being handed over. */
  readonly transferee: NodeId;
  /** Empty unless this node leads. Without the node itself. */
  readonly peers: readonly PeerStatus[];
};

export function statusOf(s: RaftState): RaftStatus {
  const { log } = s;
  return {
    id: s.id,
    term: s.term,
    vote: s.vote,
    role: s.role,
    leader: s.leader,
    commit: log.committed,
    applying: log.applying,
    applied: log.applied,
    lastIndex: log.lastIndex,
    lastTerm: log.lastTerm,
    firstIndex: log.firstIndex,
    stableIndex: log.stableIndex,
    confState: s.conf,
    transferee: s.role === 'leader' ? s.transferee : NONE,
    peers: s.role === 'leader' ? peerStatuses(s) : [],
  };
}

function peerStatuses(s: RaftState): PeerStatus[] {
  return s.peers.map((pr) => ({
    id: pr.id,
    match: pr.match,
    next: pr.next,
    state: pr.state,
    recentActive: pr.recentActive,
    isLearner: pr.isLearner,
    inflight: pr.inflights.count,
    pendingSnapshot: pr.pendingSnapshot,
  }));
}
