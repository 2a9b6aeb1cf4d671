export { DEFAULT_LIMITS, type MemberLimits } from './limits.ts';
export { LocalApi } from './local-api.ts';
export { Member } from './member.ts';
export type { MemberLog } from './member-log.ts';
export type { MemberCounters, MemberOptions } from './member-options.ts';
export {
  type PeerEvent,
  type PeerMessage,
  type PeerTransport,
  type SnapshotStore,
  type Wal,
  type WalBatch,
  type WalContents,
  WalError,
} from './ports.ts';
export { decodeRaftMeta, encodeRaftMeta, RAFT_META_KEY } from './raft-meta.ts';
