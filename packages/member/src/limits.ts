import { assert } from '@muster/base';

/** Every bound of a member. Times in milliseconds, sizes in bytes. */
export type MemberLimits = {
  /** Largest encoded command: etcd's `max-request-bytes`. */
  readonly requestBytesMax: number;
  readonly txnOpsMax: number;
  /** Requests of this member that wait for their own apply. Beyond: "too many requests". */
  readonly pendingMax: number;
  /** Bytes of those requests, kept so that they can be proposed again after a leader change. */
  readonly pendingBytesMax: number;
  /** Committed but not yet applied entries at which proposals are refused (etcd: 5000). */
  readonly applyLagMax: number;
  /** Reads that wait for a read index or for their apply. */
  readonly pendingReadsMax: number;
  /** Requests sent to the leader (keepalives, time-to-live) that wait for its answer. */
  readonly forwardedMax: number;
  /** Entries and bytes handed to raft in one turn. */
  readonly proposalBatchMax: number;
  readonly proposalBatchBytesMax: number;
  /** Entries applied in one turn before input is looked at again. */
  readonly applyBatchMax: number;
  /** Sealed bytes waiting for the engine at which applying pauses. */
  readonly engineBacklogBytesMax: number;
  /** Applied entries between compactions of the log: etcd's `snapshot-count`. */
  readonly logEntriesMax: number;
  /** Entries kept for slow followers after a compaction: `snapshot-catchup-entries`. */
  readonly logCatchUpEntries: number;
  /** Bytes of log kept in memory after a compaction; cuts the catch-up entries short. */
  readonly logCatchUpBytes: number;
  /** Bytes up to which a leader's log may grow while a connected follower catches up. */
  readonly logHoldBytes: number;
  /**
   * Bytes of log in memory at which a follower takes no more: its engine makes nothing durable, so that nothing of the
   * log can be let go.
   */
  readonly logBytesMax: number;
  /** Leases revoked by expiry per second (etcd: 1000). */
  readonly leaseRevokesPerSecondMax: number;
  /** An unrenewed lease's remaining time enters the log this often. */
  readonly leaseCheckpointMs: number;
  /** Leases in one checkpoint command (etcd: 1000). */
  readonly leaseCheckpointBatchMax: number;
  /** An unanswered read-index round is asked again after this long (etcd: 500). */
  readonly readIndexRetryMs: number;
  readonly snapshotsKept: number;
};

export const DEFAULT_LIMITS: MemberLimits = {
  requestBytesMax: 1.5 * 1024 * 1024,
  txnOpsMax: 128,
  pendingMax: 10_000,
  pendingBytesMax: 256 * 1024 * 1024,
  applyLagMax: 5000,
  pendingReadsMax: 20_000,
  forwardedMax: 20_000,
  proposalBatchMax: 1024,
  proposalBatchBytesMax: 4 * 1024 * 1024,
  applyBatchMax: 512,
  engineBacklogBytesMax: 64 * 1024 * 1024,
  logEntriesMax: 10_000,
  logCatchUpEntries: 5000,
  logCatchUpBytes: 32 * 1024 * 1024,
  logHoldBytes: 128 * 1024 * 1024,
  logBytesMax: 256 * 1024 * 1024,
  leaseRevokesPerSecondMax: 1000,
  leaseCheckpointMs: 10_000,
  leaseCheckpointBatchMax: 1000,
  readIndexRetryMs: 500,
  snapshotsKept: 5,
};

/** Checks how the bounds relate; a contradiction is a programming error. */
export function checkLimits(limits: MemberLimits): MemberLimits {
  assert(limits.proposalBatchBytesMax >= limits.requestBytesMax, 'a batch must hold the largest request');
  assert(limits.pendingBytesMax >= limits.requestBytesMax, 'pending bytes must hold the largest request');
  assert(limits.logCatchUpEntries <= limits.logEntriesMax, 'catch-up entries must fit into the kept log');
  assert(limits.logHoldBytes >= 2 * limits.logCatchUpBytes, 'a held log is larger than one that is not');
  assert(limits.logBytesMax > limits.logHoldBytes, 'a log that is held is not full yet');
  assert(limits.applyBatchMax <= limits.applyLagMax, 'one apply batch must fit into the allowed lag');
  assert(limits.txnOpsMax > 0 && limits.pendingMax > 0, 'limits must be positive');
  return limits;
}
