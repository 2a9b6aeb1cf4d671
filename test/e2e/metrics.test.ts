/** What etcd's dashboard and alert rules read is there, from the start and under load, on a real member. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { utf8 } from '@muster/base';
import { connectEtcd, type RemoteEtcd } from '@muster/wire';
import { type MusterCluster, startMuster } from '../support/muster.ts';

/** By name, with the type that it has in etcd. */
const NAMES: Readonly<Record<string, string>> = {
  etcd_server_has_leader: 'gauge',
  etcd_server_is_leader: 'gauge',
  etcd_server_is_learner: 'gauge',
  etcd_server_id: 'gauge',
  etcd_server_version: 'gauge',
  etcd_server_go_version: 'gauge',
  etcd_cluster_version: 'gauge',
  etcd_server_leader_changes_seen_total: 'counter',
  etcd_server_proposals_failed_total: 'counter',
  etcd_server_proposals_pending: 'gauge',
  etcd_server_proposals_committed_total: 'gauge',
  etcd_server_proposals_applied_total: 'gauge',
  etcd_server_heartbeat_send_failures_total: 'counter',
  etcd_server_slow_apply_total: 'counter',
  etcd_server_slow_read_indexes_total: 'counter',
  etcd_server_read_indexes_failed_total: 'counter',
  etcd_server_health_success: 'counter',
  etcd_server_health_failures: 'counter',
  etcd_server_client_requests_total: 'counter',
  etcd_server_quota_backend_bytes: 'gauge',
  etcd_server_snapshot_apply_in_progress_total: 'gauge',
  etcd_server_learner_promote_successes: 'counter',
  etcd_mvcc_db_total_size_in_bytes: 'gauge',
  etcd_mvcc_db_total_size_in_use_in_bytes: 'gauge',
  etcd_mvcc_db_open_read_transactions: 'gauge',
  etcd_mvcc_put_total: 'counter',
  etcd_mvcc_delete_total: 'counter',
  etcd_mvcc_range_total: 'counter',
  etcd_mvcc_txn_total: 'counter',
  etcd_mvcc_hash_duration_seconds: 'histogram',
  etcd_mvcc_hash_rev_duration_seconds: 'histogram',
  etcd_debugging_mvcc_current_revision: 'gauge',
  etcd_debugging_mvcc_compact_revision: 'gauge',
  etcd_debugging_mvcc_events_total: 'counter',
  etcd_debugging_mvcc_pending_events_total: 'gauge',
  etcd_debugging_mvcc_watch_stream_total: 'gauge',
  etcd_debugging_mvcc_watcher_total: 'gauge',
  etcd_debugging_mvcc_slow_watcher_total: 'gauge',
  etcd_debugging_mvcc_total_put_size_in_bytes: 'gauge',
  etcd_debugging_mvcc_db_compaction_keys_total: 'counter',
  etcd_debugging_mvcc_db_compaction_total_duration_milliseconds: 'histogram',
  etcd_debugging_mvcc_db_compaction_pause_duration_milliseconds: 'histogram',
  etcd_debugging_lease_ttl_total: 'histogram',
  etcd_debugging_lease_granted_total: 'counter',
  etcd_debugging_lease_revoked_total: 'counter',
  etcd_debugging_lease_renewed_total: 'counter',
  etcd_debugging_server_lease_expired_total: 'counter',
  etcd_disk_wal_fsync_duration_seconds: 'histogram',
  etcd_disk_wal_write_bytes_total: 'gauge',
  etcd_disk_backend_commit_duration_seconds: 'histogram',
  etcd_disk_backend_defrag_duration_seconds: 'histogram',
  etcd_disk_backend_snapshot_duration_seconds: 'histogram',
  etcd_disk_defrag_inflight: 'gauge',
  etcd_snap_fsync_duration_seconds: 'histogram',
  etcd_network_active_peers: 'gauge',
  etcd_network_disconnected_peers_total: 'counter',
  etcd_network_client_grpc_received_bytes_total: 'counter',
  etcd_network_client_grpc_sent_bytes_total: 'counter',
  etcd_network_peer_sent_bytes_total: 'counter',
  etcd_network_peer_received_bytes_total: 'counter',
  etcd_network_peer_sent_failures_total: 'counter',
  etcd_network_peer_received_failures_total: 'counter',
  etcd_network_peer_round_trip_time_seconds: 'histogram',
  etcd_network_snapshot_send_success: 'counter',
  etcd_network_snapshot_send_failures: 'counter',
  etcd_network_snapshot_receive_success: 'counter',
  etcd_network_snapshot_receive_failures: 'counter',
  grpc_server_started_total: 'counter',
  grpc_server_handled_total: 'counter',
  grpc_server_handling_seconds: 'histogram',
  process_resident_memory_bytes: 'gauge',
  process_cpu_seconds_total: 'counter',
  process_open_fds: 'gauge',
  process_max_fds: 'gauge',
  process_start_time_seconds: 'gauge',
  os_fd_used: 'gauge',
  os_fd_limit: 'gauge',
};

let cluster: MusterCluster;
let remote: RemoteEtcd;
before(async () => {
  cluster = await startMuster(1, { flags: ['--metrics=extensive'] });
  remote = connectEtcd({ endpoints: cluster.endpoints });
});
after(async () => {
  await remote?.close();
  await cluster?.close();
});

class Scrape {
  readonly types = new Map<string, string>();
  readonly values = new Map<string, number>();

  constructor(text: string) {
    for (const line of text.split('\n')) {
      const type = /^# TYPE (\S+) (\S+)$/.exec(line);
      if (type) this.types.set(type[1] as string, type[2] as string);
      const value = /^([^#\s]\S*) (\S+)$/.exec(line);
      if (value) this.values.set(value[1] as string, Number(value[2]));
    }
  }

  static async take(endpoint = cluster.endpoints[0]): Promise<Scrape> {
    return new Scrape(await (await fetch(`${endpoint}/metrics`)).text());
  }

  value(name: string): number {
    const value = this.values.get(name);
    assert.notEqual(value, undefined, name);
    return value as number;
  }
}

const grpc = (name: string, type: string, service: string, method: string, code?: string): string =>
  `grpc_server_${name}{grpc_type="${type}",grpc_service="${service}",grpc_method="${method}"` +
  (code === undefined ? '}' : `,grpc_code="${code}"}`);
const handled = (service: string, method: string, code = 'OK', type = 'unary'): string =>
  grpc('handled_total', type, service, method, code);

test('every name is there with its type, and every method with every code', async () => {
  const scrape = await Scrape.take();
  const wrong = Object.entries(NAMES).filter(([name, type]) => scrape.types.get(name) !== type);
  assert.deepEqual(
    wrong.map(([name]) => `${name} is ${scrape.types.get(name)}`),
    [],
  );
  for (const le of ['0.001', '8.192', '+Inf']) {
    scrape.value(`etcd_disk_wal_fsync_duration_seconds_bucket{le="${le}"}`);
    scrape.value(`etcd_disk_backend_commit_duration_seconds_bucket{le="${le}"}`);
  }
  for (const code of ['OK', 'Canceled', 'DeadlineExceeded', 'Unavailable', 'Unauthenticated']) {
    assert.equal(scrape.value(handled('etcdserverpb.Auth', 'RoleGrantPermission', code)), 0);
    assert.equal(scrape.value(handled('v3electionpb.Election', 'Observe', code, 'server_stream')), 0);
    assert.equal(scrape.value(handled('etcdserverpb.Watch', 'Watch', code, 'bidi_stream')), 0);
  }
  assert.equal(scrape.value('etcd_server_has_leader'), 1);
  assert.ok(scrape.value('os_fd_limit') >= scrape.value('os_fd_used'));
});

test('what happens shows', async () => {
  const { api } = remote;
  const key = utf8('metrics/a');
  const before = await Scrape.take();
  const { id } = await api.leaseGrant({ id: 0n, ttlSeconds: 60 });
  const seen = new Promise<void>((resolve) => {
    api.watch({ key }, (response) => {
      if (response.type === 'created') void api.put({ key, value: utf8('12345'), lease: id });
      if (response.type === 'events') resolve();
      return true;
    });
  });
  await seen;
  const during = await Scrape.take();
  assert.equal(during.value('etcd_debugging_mvcc_watch_stream_total'), 1);
  assert.equal(during.value('etcd_debugging_mvcc_watcher_total'), 1);
  await api.leaseKeepAlive({ id });
  await api.txn({ compare: [], success: [{ type: 'put', put: { key: utf8('metrics/b') } }], failure: [] });
  const { header } = await api.range({ key });
  await api.deleteRange({ key: utf8('metrics/b') });
  await api.leaseRevoke({ id });
  await api.compact({ revision: (header.revision ?? 0) + 1, physical: true });
  await api.hashKv({ revision: 0 });
  await api.defragment();
  await assert.rejects(api.range({ key, revision: 1 }), { code: 'COMPACTED' });
  await fetch(`${cluster.endpoints[0]}/v3/kv/range`, { method: 'POST', body: '{"key":"YQ=="}' });
  await fetch(`${cluster.endpoints[0]}/health`);
  const scrape = await Scrape.take();
  const grown = (name: string): number => scrape.value(name) - before.value(name);
  const exactly: Readonly<Record<string, number>> = {
    [handled('etcdserverpb.Lease', 'LeaseGrant')]: 1,
    // One of them over JSON.
    [handled('etcdserverpb.KV', 'Range')]: 2,
    [handled('etcdserverpb.KV', 'Range', 'OutOfRange')]: 1,
    [handled('etcdserverpb.KV', 'Put')]: 1,
    [grpc('started_total', 'bidi_stream', 'etcdserverpb.Watch', 'Watch')]: 1,
    [`${grpc('handling_seconds_count', 'unary', 'etcdserverpb.KV', 'Put')}`]: 1,
    etcd_mvcc_put_total: 2,
    etcd_mvcc_delete_total: 2,
    etcd_mvcc_txn_total: 1,
    etcd_debugging_mvcc_total_put_size_in_bytes: 'metrics/a12345'.length + 'metrics/b'.length,
    etcd_debugging_lease_granted_total: 1,
    etcd_debugging_lease_ttl_total_count: 1,
    etcd_debugging_lease_ttl_total_sum: 60,
    etcd_debugging_mvcc_db_compaction_total_duration_milliseconds_count: 1,
    etcd_debugging_lease_renewed_total: 1,
    etcd_debugging_lease_revoked_total: 1,
    etcd_debugging_mvcc_events_total: 2,
    etcd_debugging_mvcc_current_revision: 4,
    etcd_mvcc_hash_rev_duration_seconds_count: 1,
    etcd_disk_backend_defrag_duration_seconds_count: 1,
    etcd_server_health_success: 1,
  };
  const wrong = Object.entries(exactly).filter(([name, by]) => grown(name) !== by);
  assert.deepEqual(
    wrong.map(([name, by]) => `${name} grew by ${grown(name)}, not ${by}`),
    [],
  );
  const more = [
    'etcd_server_proposals_committed_total',
    'etcd_server_proposals_applied_total',
    'etcd_mvcc_range_total',
    'etcd_debugging_mvcc_compact_revision',
    'etcd_debugging_mvcc_db_compaction_pause_duration_milliseconds_count',
    'etcd_debugging_mvcc_db_compaction_keys_total',
    'etcd_disk_wal_fsync_duration_seconds_count',
    'etcd_disk_wal_write_bytes_total',
    'etcd_disk_backend_commit_duration_seconds_count',
    'etcd_network_client_grpc_received_bytes_total',
    'etcd_network_client_grpc_sent_bytes_total',
  ];
  assert.deepEqual(
    more.filter((name) => grown(name) <= 0),
    [],
  );
  const requests = [...scrape.values].filter(([name]) =>
    name.startsWith('etcd_server_client_requests_total'),
  );
  assert.ok(requests.reduce((sum, [, value]) => sum + value, 0) >= 12, JSON.stringify(requests));
});

test('a peer that goes and comes back far behind shows on the others and on itself', async () => {
  const three = await startMuster(3, {
    flags: ['--snapshot-count=10', '--snapshot-catchup-entries=1', '--warning-apply-duration=0s'],
  });
  try {
    const leader = await three.leader();
    const url = three.endpoints[leader] as string;
    const goes = three.members[(leader + 1) % 3] as (typeof three.members)[number];
    const before = await Scrape.take(url);
    assert.equal(before.value(`etcd_server_go_version{server_go_version="${process.version}"}`), 1);
    assert.equal(before.value('etcd_network_active_peers'), 2);
    await goes.stop('SIGKILL');
    for (let i = 0; i < 100; i++) {
      const body = JSON.stringify({ key: 'YQ==', value: 'YQ==' });
      assert.equal((await fetch(`${url}/v3/kv/put`, { method: 'POST', body })).status, 200);
    }
    const without = await Scrape.take(url);
    assert.ok(without.value('etcd_network_disconnected_peers_total') >= 1);
    assert.equal(without.value('etcd_network_active_peers'), 1);
    assert.ok(without.value('etcd_server_slow_apply_total') > before.value('etcd_server_slow_apply_total'));
    assert.match((three.members[leader] as typeof goes).log(), /"applying took too long"/);
    await goes.start();
    const back = await Scrape.take(goes.clientUrl);
    assert.ok(back.value('etcd_network_snapshot_receive_success') >= 1);
    assert.equal(back.value('etcd_network_snapshot_receive_failures'), 0);
    assert.ok(back.value('etcd_snap_fsync_duration_seconds_count') >= 1);
    assert.equal(back.value('etcd_server_snapshot_apply_in_progress_total'), 0);
    const after = await Scrape.take(url);
    assert.ok(after.value('etcd_network_snapshot_send_success') >= 1);
    assert.ok(after.value('etcd_snap_fsync_duration_seconds_count') >= 1);
  } finally {
    await three.close();
  }
});
