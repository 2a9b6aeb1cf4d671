import type { Clock, Prng } from '@muster/base';
import type { Engine, MemberInfo } from '@muster/kv';
import type { NodeId } from '@muster/raft';
import type { MemberLimits } from './limits.ts';
import type { MemberLog } from './member-log.ts';
import type { PeerTransport, SnapshotStore, Wal, WalContents } from './ports.ts';
import type { Observation } from './tallies.ts';

export type MemberOptions = {
  readonly id: NodeId;
  readonly clusterId: bigint;
  readonly name: string;
  readonly clientUrls: readonly string[];
  /** The members a new cluster starts with; none when this one joins. Ignored once there is data. */
  readonly initialMembers: readonly MemberInfo[];
  /** Who the members are, as the others said, until the state that they send says it. */
  readonly joining?: readonly MemberInfo[];
  readonly membership: MembershipPolicy;
  /** Goes on alone with the data that is there: all other members are dropped. */
  readonly forceNewCluster?: boolean;
  /** One tick of raft, in milliseconds. */
  readonly heartbeatMs: number;
  readonly electionMs: number;
  /** Bytes of storage at which writes stop with a NOSPACE alarm; 0 for none. */
  readonly quotaBytes: number;
  /** Seconds that a simple token lives after its last use; etcd's 300 when left out. */
  readonly tokenTtlSeconds?: number;
  /** Milliseconds between progress messages of watches that asked for them. */
  readonly watchProgressMs?: number;
  /** Milliseconds beyond which applying a batch is counted and logged as slow; never when left out. */
  readonly slowApplyMs?: number;
  readonly observe?: (what: Observation, value: number) => void;
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
  /** This member was removed and serves no longer: it should be stopped. Called once. */
  readonly onRemoved: () => void;
};

/** What a change of the members is judged by, and what it takes from outside. */
export type MembershipPolicy = {
  /** Refuse changes that could cost the cluster its quorum. */
  readonly strictReconfigCheck: boolean;
  readonly learnersMax: number;
  /** The id of a member added at this wall-clock time, in whole seconds since 1970. */
  readonly memberIdOf: (peerUrls: readonly string[], unixSeconds: number) => bigint;
  readonly unixSeconds: () => number;
};

/** Counters in etcd's terms, since start. */
export type MemberCounters = {
  readonly leaderChanges: number;
  readonly proposalsFailed: number;
  readonly proposalsCommitted: number;
  readonly proposalsApplied: number;
  readonly slowReadRounds: number;
  readonly readRoundsFailed: number;
  readonly leasesExpired: number;
  readonly leasesRenewed: number;
  readonly snapshotsSent: number;
  readonly snapshotsFailed: number;
  readonly snapshotsReceived: number;
  readonly slowApplies: number;
  /** Heartbeats that this member, leading, could not send in time. */
  readonly lateHeartbeats: number;
  /** Learners promoted by calls of this member. */
  readonly learnersPromoted: number;
  /** 1 while a snapshot takes the place of the state. */
  readonly snapshotsInstalling: number;
};
