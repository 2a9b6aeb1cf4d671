/** What raft nodes say to each other, and what they keep. Ids are member ids (unsigned 64-bit, never 0n). */
export type NodeId = bigint;
/** No node: the leader is unknown, no vote was cast. */
export const NONE: NodeId = 0n;

/**
 * One log entry. Indexes start at 1. `normal` carries an opaque proposal (empty: the leader's first entry of its
 * term), `config` a membership change.
 */
export type Entry = {
  readonly term: number;
  readonly index: number;
  readonly type: 'normal' | 'config';
  readonly data: Uint8Array;
};

/** What must be durable before a message that depends on it leaves: figure 2 of the Raft paper. */
export type HardState = { readonly term: number; readonly vote: NodeId; readonly commit: number };

/** Members by role. In joint consensus `votersOutgoing` is not empty (thesis section 4.3). */
export type ConfState = {
  readonly voters: readonly NodeId[];
  readonly votersOutgoing: readonly NodeId[];
  readonly learners: readonly NodeId[];
  /** Become learners when the joint configuration is left. */
  readonly learnersNext: readonly NodeId[];
  /** Leave the joint configuration as soon as it is committed. */
  readonly autoLeave: boolean;
};

/** A snapshot's identity. The data itself travels outside raft; the member ties the two together. */
export type SnapshotMeta = { readonly index: number; readonly term: number; readonly confState: ConfState };

type Base = { readonly from: NodeId; readonly to: NodeId; readonly term: number };

/**
 * The sender's commit index and the term of that entry: a fact, whoever states it. With it those who vote tell each
 * other of a membership change that is committed, which some of them may not know and cannot elect without.
 */
type KnownCommit = { readonly commit: number; readonly commitTerm: number };

export type Message =
  /** Entries after (prevIndex, prevTerm); none is a probe or a commit advance. */
  | (Base & {
      readonly type: 'append';
      readonly prevIndex: number;
      readonly prevTerm: number;
      readonly entries: readonly Entry[];
      readonly commit: number;
    })
  /** Accepted up to `index`, or rejected at `index` with a hint where the logs may agree. */
  | (Base & {
      readonly type: 'appendResponse';
      readonly index: number;
      readonly reject: boolean;
      readonly hintIndex: number;
      readonly hintTerm: number;
    })
  /** `context` > 0 belongs to a ReadIndex round. */
  | (Base & { readonly type: 'heartbeat'; readonly commit: number; readonly context: number })
  | (Base & { readonly type: 'heartbeatResponse'; readonly context: number })
  | (Base & {
      readonly type: 'vote' | 'preVote';
      readonly lastIndex: number;
      readonly lastTerm: number;
      /** Sent on a leader's order: granted in spite of a live leader. */
      readonly transfer: boolean;
    } & KnownCommit)
  | (Base & { readonly type: 'voteResponse' | 'preVoteResponse'; readonly reject: boolean } & KnownCommit)
  | (Base & { readonly type: 'snapshot'; readonly snapshot: SnapshotMeta })
  /** Leadership transfer: campaign now (thesis section 3.10). */
  | (Base & { readonly type: 'timeoutNow' })
  /** A follower asks the leader for a read index; `context` is the follower's own number. */
  | (Base & { readonly type: 'readIndex'; readonly context: number })
  | (Base & { readonly type: 'readIndexResponse'; readonly context: number; readonly index: number })
  /** Proposals on their way to the leader. `context` > 0 is the proposer's name for them: it hears of a refusal. */
  | (Base & {
      readonly type: 'propose';
      readonly context: number;
      readonly entries: readonly { readonly type: Entry['type']; readonly data: Uint8Array }[];
    })
  /** What `context` stood for is not in the log and never will be by that message. */
  | (Base & { readonly type: 'proposeRefused'; readonly context: number; readonly reason: ProposalRefusal })
  /** A follower asks the leader to hand leadership over to it, or to `target`. */
  | (Base & { readonly type: 'transferLeader'; readonly target: NodeId });

/** Why a proposal was not taken. */
export type ProposalRefusal =
  | 'noLeader'
  | 'transferring'
  | 'overloaded'
  | 'notMember'
  | 'confChangePending'
  | 'invalidConfChange';

export type MessageType = Message['type'];

/** What an entry weighs beside its data wherever bytes are bounded, so that a million empty entries weigh too. */
export const ENTRY_OVERHEAD_BYTES = 32;

/** An entry's weight in every byte limit of this package. */
export function entryBytes(entry: { readonly data: Uint8Array }): number {
  return entry.data.length + ENTRY_OVERHEAD_BYTES;
}
