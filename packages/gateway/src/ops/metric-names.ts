/** etcd's metrics: the names that its dashboards and alerts read. */

type SampledSpec = { readonly kind: 'gauge' | 'counter'; readonly help: string };

const gauge = (help: string): SampledSpec => ({ kind: 'gauge', help });
const counter = (help: string): SampledSpec => ({ kind: 'counter', help });

/** Values that are read from their owners when somebody scrapes. */
export const SAMPLED = {
  etcd_server_has_leader: gauge('Whether this member knows a leader: 1 or 0.'),
  etcd_server_is_leader: gauge('Whether this member leads: 1 or 0.'),
  etcd_server_is_learner: gauge('Whether this member is a learner: 1 or 0.'),
  etcd_server_leader_changes_seen_total: counter('Changes of leader that this member has seen.'),
  etcd_server_proposals_committed_total: gauge('Consensus entries committed.'),
  etcd_server_proposals_applied_total: gauge('Consensus entries applied.'),
  etcd_server_proposals_pending: gauge('Proposals waiting to be committed.'),
  etcd_server_proposals_failed_total: counter('Proposals that failed.'),
  etcd_server_heartbeat_send_failures_total: counter('Heartbeats that the leader could not send in time.'),
  etcd_server_slow_apply_total: counter('Applies that took too long.'),
  etcd_server_slow_read_indexes_total: counter('Read index rounds that took too long.'),
  etcd_server_read_indexes_failed_total: counter('Read index rounds that failed.'),
  etcd_server_quota_backend_bytes: gauge('Storage quota in bytes.'),
  etcd_server_snapshot_apply_in_progress_total: gauge('1 while a received snapshot is being installed.'),
  etcd_server_learner_promote_successes: counter('Learners promoted.'),
  etcd_mvcc_db_total_size_in_bytes: gauge('Bytes that the store takes on disk.'),
  etcd_mvcc_db_total_size_in_use_in_bytes: gauge('Bytes of the store that are in use.'),
  etcd_mvcc_db_open_read_transactions: gauge('Open read transactions.'),
  etcd_mvcc_put_total: counter('Puts seen by this member.'),
  etcd_mvcc_delete_total: counter('Deletes seen by this member.'),
  etcd_mvcc_range_total: counter('Ranges seen by this member.'),
  etcd_mvcc_txn_total: counter('Transactions seen by this member.'),
  etcd_debugging_mvcc_current_revision: gauge('Current revision of the store.'),
  etcd_debugging_mvcc_compact_revision: gauge('Revision of the last compaction.'),
  etcd_debugging_mvcc_events_total: counter('Events sent to watchers.'),
  etcd_debugging_mvcc_pending_events_total: gauge('Events waiting to be sent to watchers.'),
  etcd_debugging_mvcc_watch_stream_total: gauge('Watch streams.'),
  etcd_debugging_mvcc_watcher_total: gauge('Watchers.'),
  etcd_debugging_mvcc_slow_watcher_total: gauge('Watchers that lag.'),
  etcd_debugging_mvcc_total_put_size_in_bytes: gauge('Bytes of keys and values put.'),
  etcd_debugging_mvcc_db_compaction_keys_total: counter('Keys removed by compactions.'),
  etcd_debugging_lease_granted_total: counter('Leases granted.'),
  etcd_debugging_lease_revoked_total: counter('Leases revoked.'),
  etcd_debugging_lease_renewed_total: counter('Lease renewals.'),
  etcd_debugging_server_lease_expired_total: counter('Leases that expired.'),
  etcd_disk_wal_write_bytes_total: gauge('Bytes written to the write-ahead log.'),
  etcd_disk_defrag_inflight: gauge('1 while a defragmentation runs.'),
  etcd_network_active_peers: gauge('Connected peers.'),
  etcd_network_disconnected_peers_total: counter('Disconnections of peers.'),
  etcd_network_peer_sent_bytes_total: counter('Bytes sent to peers.'),
  etcd_network_peer_received_bytes_total: counter('Bytes received from peers.'),
  etcd_network_peer_sent_failures_total: counter('Messages to peers that could not be sent.'),
  etcd_network_peer_received_failures_total: counter('Faulty messages from peers.'),
  etcd_network_client_grpc_sent_bytes_total: counter('Bytes sent to gRPC clients.'),
  etcd_network_client_grpc_received_bytes_total: counter('Bytes received from gRPC clients.'),
  etcd_network_snapshot_send_success: counter('Snapshots sent to peers.'),
  etcd_network_snapshot_send_failures: counter('Snapshots that could not be sent.'),
  etcd_network_snapshot_receive_success: counter('Snapshots received.'),
  etcd_network_snapshot_receive_failures: counter('Snapshots that could not be received.'),
} as const satisfies Record<string, SampledSpec>;

export type SampledName = keyof typeof SAMPLED;

export type HistogramSpec = {
  readonly help: string;
  readonly buckets: readonly number[];
  readonly labels?: readonly string[];
};

const doubling = (first: number, count: number): number[] =>
  Array.from({ length: count }, (_, i) => first * 2 ** i);

/** Durations in seconds, told one by one. */
export const HISTOGRAMS = {
  etcd_disk_wal_fsync_duration_seconds: {
    help: 'Durations of syncs of the write-ahead log.',
    buckets: doubling(0.001, 14),
  },
  etcd_disk_backend_commit_duration_seconds: {
    help: 'Durations of commits of the storage backend.',
    buckets: doubling(0.001, 14),
  },
  etcd_disk_backend_snapshot_duration_seconds: {
    help: 'Durations of writing a snapshot image.',
    buckets: doubling(0.01, 17),
  },
  etcd_disk_backend_defrag_duration_seconds: {
    help: 'Durations of defragmentations.',
    buckets: doubling(0.1, 13),
  },
  etcd_mvcc_hash_duration_seconds: {
    help: 'Durations of hashing the whole store.',
    buckets: doubling(0.01, 15),
  },
  etcd_mvcc_hash_rev_duration_seconds: {
    help: 'Durations of hashing a revision.',
    buckets: doubling(0.01, 15),
  },
  etcd_network_peer_round_trip_time_seconds: {
    help: 'Round trips to peers.',
    labels: ['To'],
    buckets: doubling(0.0001, 16),
  },
  etcd_debugging_lease_ttl_total: {
    help: 'TTLs of granted leases, in seconds.',
    buckets: doubling(1, 24),
  },
  etcd_debugging_mvcc_db_compaction_total_duration_milliseconds: {
    help: 'Durations of compactions, in milliseconds.',
    buckets: doubling(100, 14),
  },
  etcd_debugging_mvcc_db_compaction_pause_duration_milliseconds: {
    help: 'Durations of the pauses of compactions, in milliseconds.',
    buckets: doubling(1, 12),
  },
  etcd_snap_fsync_duration_seconds: {
    help: 'Durations of syncs of snapshots.',
    buckets: doubling(0.001, 14),
  },
} as const satisfies Record<string, HistogramSpec>;

export type HistogramName = keyof typeof HISTOGRAMS;
