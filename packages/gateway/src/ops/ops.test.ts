import assert from 'node:assert/strict';
import { test } from 'node:test';
import { KvError } from '@muster/contract';
import type { Alarm, AlarmRequest, RangeRequest, WithHeader } from '@muster/kv';
import { RealClock } from '../../../../test/support/real-clock.ts';
import { testGateway } from '../../test/gateway-harness.ts';
import { StoreApi } from '../../test/store-api.ts';
import { tokenApi } from '../../test/token-api.ts';
import type { GrpcMethod } from './grpc-methods.ts';
import { createMetrics } from './metrics.ts';

/** A store with troubles to order. */
class Patient extends StoreApi {
  alarms: Alarm[] = [];
  learner = false;
  quorum = true;

  constructor() {
    super(new RealClock());
  }

  override async alarm(request: AlarmRequest): Promise<WithHeader<{ readonly alarms: readonly Alarm[] }>> {
    const asked = (alarm: Alarm) => request.alarm === 'none' || request.alarm === alarm.alarm;
    return { alarms: this.alarms.filter(asked), header: this.header() };
  }

  override async status() {
    return { ...(await super.status()), isLearner: this.learner };
  }

  override async range(request: RangeRequest) {
    if (!this.quorum && request.serializable !== true) throw new KvError('TIMEOUT');
    return super.range(request);
  }
}

const alarm = (name: Alarm['alarm']): Alarm => ({ memberId: 1n, alarm: name });

function patient() {
  const api = new Patient();
  const { gateway } = testGateway({ api });
  const get = async (path: string, method = 'GET') => {
    const response = await gateway.app.request(`http://x${path}`, { method });
    return [response.status, await response.text()] as const;
  };
  return { api, get, gateway };
}

test('/health', async () => {
  const { api, get, gateway } = patient();
  const ill = (reason: string) => [503, `{"health":"false","reason":"${reason}"}`];
  const well = [200, '{"health":"true","reason":""}'];
  assert.deepEqual(await get('/health'), well);
  const response = await gateway.app.request('http://x/health');
  assert.match(response.headers.get('content-type') as string, /^text\/plain/);
  api.alarms = [alarm('corrupt'), alarm('nospace')];
  assert.deepEqual(await get('/health'), ill('ALARM NOSPACE'));
  assert.deepEqual(await get('/health?exclude=NOSPACE'), ill('ALARM CORRUPT'));
  assert.deepEqual(await get('/health?exclude=NOSPACE&exclude=CORRUPT'), well);
  api.alarms = [];
  api.leader = 0n;
  assert.deepEqual(await get('/health'), ill('RAFT NO LEADER'));
  api.quorum = false;
  assert.deepEqual(await get('/health?serializable=true'), well);
  api.leader = 1n;
  assert.deepEqual(await get('/health'), ill('RANGE ERROR:etcdserver: request timed out'));
  for (const method of ['POST', 'HEAD', 'DELETE']) assert.equal((await get('/health', method))[0], 405);
});

test('/livez and /readyz', async () => {
  const { api, get } = patient();
  assert.deepEqual(await get('/livez'), [200, 'ok\n']);
  assert.deepEqual(await get('/readyz?verbose'), [
    200,
    '[+]data_corruption ok\n[+]serializable_read ok\n[+]linearizable_read ok\n[+]non_learner ok\nreadyz check passed\n',
  ]);
  api.quorum = false;
  api.learner = true;
  assert.deepEqual(await get('/livez?verbose'), [200, '[+]serializable_read ok\nlivez check passed\n']);
  assert.deepEqual(await get('/readyz'), [
    503,
    '[+]data_corruption ok\n[+]serializable_read ok\n' +
      '[-]linearizable_read failed: etcdserver: request timed out\n' +
      '[-]non_learner failed: not supported for learner\nreadyz check failed\n',
  ]);
  assert.equal((await get('/readyz?exclude=linearizable_read&exclude=non_learner'))[0], 200);
  assert.equal((await get('/readyz/data_corruption'))[0], 200);
  assert.equal((await get('/readyz/non_learner'))[0], 503);
  assert.equal((await get('/livez/nothing'))[0], 404);
  assert.equal((await get('/livez', 'POST'))[0], 405);
  api.alarms = [alarm('corrupt')];
  assert.equal((await get('/readyz/data_corruption'))[0], 503);
});

test('/version', async () => {
  const { get } = patient();
  assert.deepEqual(await get('/version'), [
    200,
    '{"etcdserver":"3.6.1","etcdcluster":"3.6.0","storage":"3.6.0"}',
  ]);
});

const PUT: GrpcMethod = { type: 'unary', service: 'etcdserverpb.KV', method: 'Put' };

test("/metrics under etcd's names", async () => {
  const metrics = createMetrics();
  let leader = 1;
  metrics.addSource({
    sample: () => ({ etcd_server_has_leader: leader, etcd_server_leader_changes_seen_total: 3 }),
  });
  metrics.addSource({ sample: () => ({ etcd_mvcc_db_total_size_in_bytes: 4096 }) });
  metrics.observe('etcd_disk_wal_fsync_duration_seconds', 0.003);
  metrics.observeRoundTrip('2b', 0.001);
  metrics.identify({
    serverId: 'ab',
    serverVersion: '3.6.1',
    clusterVersion: '3.6',
    runtimeVersion: 'v24.0.0',
  });
  metrics.grpcStarted(PUT);
  metrics.grpcHandled(PUT, 9, 0.1);
  const { gateway } = testGateway({ metrics });
  const scrape = async () => (await gateway.app.request('http://x/metrics')).text();
  const text = await scrape();
  for (const line of [
    '# TYPE etcd_server_has_leader gauge',
    'etcd_server_has_leader 1',
    'etcd_server_leader_changes_seen_total 3',
    'etcd_mvcc_db_total_size_in_bytes 4096',
    'etcd_mvcc_put_total 0',
    'etcd_disk_wal_fsync_duration_seconds_bucket{le="0.002"} 0',
    'etcd_disk_wal_fsync_duration_seconds_bucket{le="0.004"} 1',
    'etcd_disk_wal_fsync_duration_seconds_bucket{le="8.192"} 1',
    'etcd_network_peer_round_trip_time_seconds_count{To="2b"} 1',
    'etcd_server_id{server_id="ab"} 1',
    'etcd_cluster_version{cluster_version="3.6"} 1',
    'grpc_server_started_total{grpc_type="unary",grpc_service="etcdserverpb.KV",grpc_method="Put"} 1',
    'grpc_server_handled_total{grpc_type="unary",grpc_service="etcdserverpb.KV",grpc_method="Put",grpc_code="OK"} 0',
    'grpc_server_handled_total{grpc_type="unary",grpc_service="etcdserverpb.KV",grpc_method="Put",grpc_code="FailedPrecondition"} 1',
  ]) {
    assert.ok(text.split('\n').includes(line), line);
  }
  assert.match(text, /^process_resident_memory_bytes \d+/m);
  leader = 0;
  const later = await scrape();
  assert.match(later, /^etcd_server_has_leader 0$/m);
  assert.match(later, /^etcd_server_leader_changes_seen_total 3$/m);
});

test('health is told to those who are no user', async () => {
  const { gateway } = testGateway({ api: tokenApi(new StoreApi(new RealClock())) });
  for (const path of ['/health', '/health?serializable=true', '/livez', '/readyz', '/version', '/metrics']) {
    const { status } = await gateway.app.request(`http://x${path}`);
    assert.equal(status, 200, path);
  }
  const refused = await gateway.app.request('http://x/v3/kv/range', {
    method: 'POST',
    body: '{"key":"YQ=="}',
  });
  assert.equal(refused.status, 400);
});
