export type { AuthPorts, PasswordHasher, SignedTokens, TokenClaims } from './auth-ports.ts';
export { CorruptionMonitor, type CorruptionOptions } from './corruption.ts';
export { DEFAULT_LIMITS, type MemberLimits } from './limits.ts';
export { LocalApi } from './local-api.ts';
export { Member } from './member.ts';
export type { MemberLog } from './member-log.ts';
export type { MemberCounters, MemberOptions, MembershipPolicy } from './member-options.ts';
export { REMOVED_TEXT } from './membership.ts';
export {
  type PeerEvent,
  type PeerMessage,
  type PeerTransport,
  type SnapshotStore,
  type StorageUpkeep,
  type Wal,
  type WalBatch,
  type WalContents,
  WalError,
} from './ports.ts';
export { decodeRaftMeta, encodeRaftMeta, RAFT_META_KEY } from './raft-meta.ts';
export { isUnfilled } from './raft-state.ts';
export type { Observation } from './tallies.ts';
