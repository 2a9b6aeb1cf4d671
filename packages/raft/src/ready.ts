import type { Entry, HardState, Message, NodeId, ProposalRefusal, SnapshotMeta } from './messages.ts';

/** The answer to `readIndex(context)`: once the caller has applied `index`, a local read is linearizable. */
export type ReadState = { readonly context: number; readonly index: number };

/** Whom a proposal of that `context` was forwarded to did not take it: it may be proposed again. */
export type RefusedProposal = { readonly context: number; readonly reason: ProposalRefusal };

export type Role = 'follower' | 'preCandidate' | 'candidate' | 'leader';
export type SoftState = { readonly role: Role; readonly leader: NodeId; readonly term: number };

/**
 * Everything the driver must do next. Numbers grow by one; `onPersisted(number)` acknowledges a Ready and all before
 * it and may come many turns later. A Ready that needs nothing durable (`mustPersist` false) is acknowledged too.
 */
export type Ready = {
  readonly number: number;
  /** Set when role, leader or term changed. */
  readonly softState?: SoftState;
  /** Set when it changed. */
  readonly hardState?: HardState;
  /** To be appended to the log; entries of the same index and later are replaced. */
  readonly entries: readonly Entry[];
  /** To be installed before anything else of this Ready: it replaces the whole state and log. */
  readonly snapshot?: SnapshotMeta;
  /** Term or vote changed, or there are entries: needs a sync. A commit index alone does not. */
  readonly mustPersist: boolean;
  /** May leave at once: a leader's appends go out while its own write runs (thesis section 10.2.1). */
  readonly messages: readonly Message[];
  /** Must wait until this Ready is durable: votes and acknowledgements. */
  readonly messagesAfterPersist: readonly Message[];
  /** Committed and durable *here*, so may be applied now, in order. */
  readonly committedEntries: readonly Entry[];
  readonly readStates: readonly ReadState[];
  readonly refusedProposals: readonly RefusedProposal[];
};
