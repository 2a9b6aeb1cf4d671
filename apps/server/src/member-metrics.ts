import type { LmdbEngine } from '@muster/disk';
import type { HistogramName, MetricsSource } from '@muster/gateway';
import type { Member, Observation } from '@muster/member';
import type { TcpPeerTransport } from '@muster/wire';

/** Where a member's observations go. */
export const OBSERVED = {
  leaseTtlSeconds: 'etcd_debugging_lease_ttl_total',
  compactionMs: 'etcd_debugging_mvcc_db_compaction_total_duration_milliseconds',
  compactionPauseMs: 'etcd_debugging_mvcc_db_compaction_pause_duration_milliseconds',
} as const satisfies Readonly<Record<Observation, HistogramName>>;

/** What a member, its engine and its transport say when metrics are scraped. */
export function memberMetrics(parts: {
  readonly member: Member;
  readonly engine: Pick<LmdbEngine, 'openViews'>;
  readonly transport: TcpPeerTransport;
  readonly quotaBytes: number;
  /** Bytes written to the log so far. */
  readonly logBytes: () => number;
}): MetricsSource {
  const { member, engine, transport, quotaBytes, logBytes } = parts;
  return {
    sample() {
      const counters = member.counters();
      const { confState } = member.raftStatus();
      const size = member.engine.size();
      const peers = transport.peerStats();
      const sum = (pick: (peer: (typeof peers)[number]) => number): number =>
        peers.reduce((total, peer) => total + pick(peer), 0);
      const watches = member.hub.stats();
      const store = member.machine.counters;
      const { disconnected, malformed, snapshotsLost } = transport.tallies;
      return {
        etcd_server_has_leader: member.soft.leader === 0n ? 0 : 1,
        etcd_server_is_leader: member.isLeader ? 1 : 0,
        etcd_server_is_learner: confState.learners.includes(member.id) ? 1 : 0,
        etcd_server_leader_changes_seen_total: counters.leaderChanges,
        etcd_server_proposals_committed_total: counters.proposalsCommitted,
        etcd_server_proposals_applied_total: counters.proposalsApplied,
        etcd_server_proposals_pending: member.pendingWrites,
        etcd_server_proposals_failed_total: counters.proposalsFailed,
        etcd_server_slow_read_indexes_total: counters.slowReadRounds,
        etcd_server_read_indexes_failed_total: counters.readRoundsFailed,
        etcd_server_quota_backend_bytes: quotaBytes,
        etcd_mvcc_db_total_size_in_bytes: size.total,
        etcd_mvcc_db_total_size_in_use_in_bytes: size.inUse,
        etcd_mvcc_put_total: store.puts,
        etcd_mvcc_delete_total: store.deletes,
        etcd_mvcc_range_total: store.ranges,
        etcd_mvcc_txn_total: store.txns,
        etcd_debugging_mvcc_current_revision: member.machine.currentRevision,
        etcd_debugging_mvcc_compact_revision: Math.max(0, member.machine.compactRevision),
        etcd_debugging_mvcc_total_put_size_in_bytes: store.putBytes,
        etcd_debugging_mvcc_db_compaction_keys_total: store.compactedRecords,
        etcd_debugging_mvcc_events_total: watches.eventsSent,
        etcd_debugging_lease_granted_total: store.leasesGranted,
        etcd_debugging_lease_revoked_total: store.leasesRevoked,
        etcd_debugging_lease_renewed_total: counters.leasesRenewed,
        etcd_disk_wal_write_bytes_total: logBytes(),
        etcd_debugging_mvcc_watcher_total: watches.watchers,
        etcd_debugging_mvcc_slow_watcher_total: watches.slowWatchers,
        // Watches that lag read what they missed again: no event waits for them.
        etcd_debugging_mvcc_pending_events_total: 0,
        etcd_debugging_server_lease_expired_total: counters.leasesExpired,
        etcd_network_active_peers: sum((peer) => (peer.connected ? 1 : 0)),
        etcd_network_peer_sent_bytes_total: sum((peer) => peer.sentBytes),
        etcd_network_peer_received_bytes_total: transport.receivedBytes,
        etcd_network_peer_sent_failures_total: sum((peer) => peer.droppedMessages),
        etcd_network_snapshot_send_success: counters.snapshotsSent,
        etcd_network_snapshot_send_failures: counters.snapshotsFailed,
        etcd_network_snapshot_receive_success: counters.snapshotsReceived,
        etcd_network_snapshot_receive_failures: snapshotsLost,
        etcd_network_disconnected_peers_total: disconnected,
        etcd_network_peer_received_failures_total: malformed,
        etcd_mvcc_db_open_read_transactions: engine.openViews,
        etcd_server_heartbeat_send_failures_total: counters.lateHeartbeats,
        etcd_server_slow_apply_total: counters.slowApplies,
        etcd_server_learner_promote_successes: counters.learnersPromoted,
        etcd_server_snapshot_apply_in_progress_total: counters.snapshotsInstalling,
      };
    },
  };
}
