export { ConfChangeError, decodeConfChange, encodeConfChange } from './conf-change-codec.ts';
export { ConfigError, type RaftConfig, validateConfig } from './config.ts';
export { type DiskView, GroupInvariants, type NodeView } from './invariants.ts';
export type { LogReader } from './log-reader.ts';
export {
  type ConfChange,
  type ConfChangeStep,
  EMPTY_CONF_STATE,
  isJoint,
  isMember,
  isVoter,
  memberIds,
  nextConfState,
} from './membership.ts';
export { MemoryLog } from './memory-log.ts';
export {
  type ConfState,
  ENTRY_OVERHEAD_BYTES,
  type Entry,
  entryBytes,
  type HardState,
  type Message,
  type MessageType,
  NONE,
  type NodeId,
  type ProposalRefusal,
  type SnapshotMeta,
} from './messages.ts';
export type { ProgressState } from './progress.ts';
export { type ConfChangeResult, type ProposeResult, RaftNode } from './raft-node.ts';
export type { ReadState, Ready, RefusedProposal, Role, SoftState } from './ready.ts';
export type { PeerStatus, RaftStatus } from './status.ts';
export type { TransferResult } from './transfer.ts';
