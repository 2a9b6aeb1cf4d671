import type { MetricsSource } from '@muster/gateway';
import type { Member } from '@muster/member';
import type { TcpPeerTransport } from '@muster/wire';

/** What a member, its engine and its transport say when metrics are scraped. */
export function memberMetrics(parts: {
  readonly member: Member;
  readonly transport: TcpPeerTransport;
  readonly quotaBytes: number;
}): MetricsSource {
  const { member, transport, quotaBytes } = parts;
  return {
    sample() {
      const counters = member.counters();
      const { confState } = member.raftStatus();
      const size = member.engine.size();
      const peers = transport.peerStats();
      const sum = (pick: (peer: (typeof peers)[number]) => number): number =>
        peers.reduce((total, peer) => total + pick(peer), 0);
      const watches = member.hub.stats();
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
        etcd_server_quota_backend_bytes: quotaBytes,
        etcd_mvcc_db_total_size_in_bytes: size.total,
        etcd_mvcc_db_total_size_in_use_in_bytes: size.inUse,
        etcd_debugging_mvcc_watcher_total: watches.watchers,
        etcd_debugging_mvcc_slow_watcher_total: watches.slowWatchers,
        etcd_debugging_server_lease_expired_total: counters.leasesExpired,
        etcd_network_active_peers: sum((peer) => (peer.connected ? 1 : 0)),
        etcd_network_peer_sent_bytes_total: sum((peer) => peer.sentBytes),
        etcd_network_peer_received_bytes_total: transport.receivedBytes,
        etcd_network_peer_sent_failures_total: sum((peer) => peer.droppedMessages),
        etcd_network_snapshot_send_success: counters.snapshotsSent,
        etcd_network_snapshot_send_failures: counters.snapshotsFailed,
      };
    },
  };
}
