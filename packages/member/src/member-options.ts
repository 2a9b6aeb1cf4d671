import type { Clock, Prng } from '@muster/base';
import type { Engine, MemberInfo } from '@muster/kv';
import type { NodeId } from '@muster/raft';
import type { MemberLimits } from './limits.ts';
import type { MemberLog } from './member-log.ts';
import type { PeerTransport, SnapshotStore, Wal, WalContents } from './ports.ts';

export type MemberOptions = {
  readonly id: NodeId;
  readonly clusterId: bigint;
  readonly name: string;
  readonly clientUrls: readonly string[];
  /** The members a new cluster starts with; ignored once there is data. */
  readonly initialMembers: readonly MemberInfo[];
  /** One tick of raft, in milliseconds. */
  readonly heartbeatMs: number;
  readonly electionMs: number;
  /** Bytes of storage at which writes stop with a NOSPACE alarm; 0 for none. */
  readonly quotaBytes: number;
  /** Milliseconds between progress messages of watches that asked for them. */
  readonly watchProgressMs?: number;
  readonly limits?: Partial<MemberLimits>;
  readonly clock: Clock;
  readonly prng: Prng;
  readonly engine: Engine;
  readonly wal: Wal;
  readonly walContents: WalContents;
  readonly transport: PeerTransport;
  readonly snapshots: SnapshotStore;
  readonly log: MemberLog;
  /** What must never happen did (a failed sync, a broken invariant): the process must end. */
  readonly onFatal: (error: Error) => void;
};

/** Counters in etcd's terms, since start. */
export type MemberCounters = {
  readonly leaderChanges: number;
  readonly proposalsFailed: number;
  readonly proposalsCommitted: number;
  readonly proposalsApplied: number;
  readonly slowReadRounds: number;
  readonly leasesExpired: number;
  readonly snapshotsSent: number;
  readonly snapshotsFailed: number;
};
