/** Every call of the protocol: its path, its kind, and how what goes in and out is encoded. */
import * as auth from './auth.ts';
import * as cluster from './cluster.ts';
import type { Codec } from './codec.ts';
import * as concurrency from './concurrency.ts';
import * as health from './health.ts';
import * as kv from './kv-requests.ts';
import * as kvAnswers from './kv-responses.ts';
import * as lease from './lease.ts';
import * as maintenance from './maintenance.ts';
import { txnRequest, txnResponse } from './txn.ts';
import { watchRequest, watchResponse } from './watch.ts';

export type MethodType = 'unary' | 'server_stream' | 'bidi_stream';

export type Method<Request, Response> = {
  readonly type: MethodType;
  /** With its package: `etcdserverpb.KV`. */
  readonly service: string;
  readonly method: string;
  /** `/service/method`. */
  readonly path: string;
  readonly request: Codec<Request>;
  readonly response: Codec<Response>;
};

function method<Request, Response>(
  type: MethodType,
  service: string,
  name: string,
  request: Codec<Request>,
  response: Codec<Response>,
): Method<Request, Response> {
  return { type, service, method: name, path: `/${service}/${name}`, request, response };
}

function service(name: string) {
  return <Request, Response>(
    methodName: string,
    request: Codec<Request>,
    response: Codec<Response>,
  ): Method<Request, Response> => method('unary', name, methodName, request, response);
}

const KV = service('etcdserverpb.KV');
const LEASE = service('etcdserverpb.Lease');
const CLUSTER = service('etcdserverpb.Cluster');
const MAINTENANCE = service('etcdserverpb.Maintenance');
const AUTH = service('etcdserverpb.Auth');
const LOCK = service('v3lockpb.Lock');
const ELECTION = service('v3electionpb.Election');
const { headerResponse } = kvAnswers;

/** Calls with one answer that are a method of `EtcdApi`, by its name. */
export const ETCD_METHODS = {
  range: KV('Range', kv.rangeRequest, kvAnswers.rangeResponse),
  put: KV('Put', kv.putRequest, kvAnswers.putResponse),
  deleteRange: KV('DeleteRange', kv.deleteRangeRequest, kvAnswers.deleteRangeResponse),
  txn: KV('Txn', txnRequest, txnResponse),
  compact: KV('Compact', kv.compactRequest, headerResponse),
  leaseGrant: LEASE('LeaseGrant', lease.leaseGrantRequest, lease.leaseGrantResponse),
  leaseRevoke: LEASE('LeaseRevoke', lease.leaseRevokeRequest, headerResponse),
  leaseTimeToLive: LEASE('LeaseTimeToLive', lease.leaseTimeToLiveRequest, lease.leaseTimeToLiveResponse),
  leaseLeases: LEASE('LeaseLeases', lease.leaseLeasesRequest, lease.leaseLeasesResponse),
  memberAdd: CLUSTER('MemberAdd', cluster.memberAddRequest, cluster.memberAddResponse),
  memberRemove: CLUSTER('MemberRemove', cluster.memberRemoveRequest, cluster.membersResponse),
  memberUpdate: CLUSTER('MemberUpdate', cluster.memberUpdateRequest, cluster.membersResponse),
  memberList: CLUSTER('MemberList', cluster.memberListRequest, cluster.membersResponse),
  memberPromote: CLUSTER('MemberPromote', cluster.memberPromoteRequest, cluster.membersResponse),
  alarm: MAINTENANCE('Alarm', maintenance.alarmRequest, maintenance.alarmResponse),
  status: MAINTENANCE('Status', maintenance.statusRequest, maintenance.statusResponse),
  defragment: MAINTENANCE('Defragment', maintenance.defragmentRequest, headerResponse),
  hash: MAINTENANCE('Hash', maintenance.hashRequest, maintenance.hashResponse),
  hashKv: MAINTENANCE('HashKV', maintenance.hashKvRequest, maintenance.hashKvResponse),
  moveLeader: MAINTENANCE('MoveLeader', maintenance.moveLeaderRequest, headerResponse),
  downgrade: MAINTENANCE('Downgrade', maintenance.downgradeRequest, maintenance.downgradeResponse),
  authEnable: AUTH('AuthEnable', auth.authEnableRequest, headerResponse),
  authDisable: AUTH('AuthDisable', auth.authDisableRequest, headerResponse),
  authStatus: AUTH('AuthStatus', auth.authStatusRequest, auth.authStatusResponse),
  authenticate: AUTH('Authenticate', auth.authenticateRequest, auth.authenticateResponse),
  userAdd: AUTH('UserAdd', auth.userAddRequest, headerResponse),
  userGet: AUTH('UserGet', auth.userGetRequest, auth.userGetResponse),
  userList: AUTH('UserList', auth.userListRequest, auth.userListResponse),
  userDelete: AUTH('UserDelete', auth.userDeleteRequest, headerResponse),
  userChangePassword: AUTH('UserChangePassword', auth.userChangePasswordRequest, headerResponse),
  userGrantRole: AUTH('UserGrantRole', auth.userGrantRoleRequest, headerResponse),
  userRevokeRole: AUTH('UserRevokeRole', auth.userRevokeRoleRequest, headerResponse),
  roleAdd: AUTH('RoleAdd', auth.roleAddRequest, headerResponse),
  roleGet: AUTH('RoleGet', auth.roleGetRequest, auth.roleGetResponse),
  roleList: AUTH('RoleList', auth.roleListRequest, auth.roleListResponse),
  roleDelete: AUTH('RoleDelete', auth.roleDeleteRequest, headerResponse),
  roleGrantPermission: AUTH('RoleGrantPermission', auth.roleGrantPermissionRequest, headerResponse),
  roleRevokePermission: AUTH('RoleRevokePermission', auth.roleRevokePermissionRequest, headerResponse),
} as const;

/** Calls with one answer that are a method of `ConcurrencyApi`, by its name. */
export const CONCURRENCY_METHODS = {
  lock: LOCK('Lock', concurrency.lockRequest, concurrency.lockResponse),
  unlock: LOCK('Unlock', concurrency.unlockRequest, headerResponse),
  campaign: ELECTION('Campaign', concurrency.campaignRequest, concurrency.campaignResponse),
  proclaim: ELECTION('Proclaim', concurrency.proclaimRequest, headerResponse),
  leader: ELECTION('Leader', concurrency.leaderRequest, concurrency.leaderResponse),
  resign: ELECTION('Resign', concurrency.resignRequest, headerResponse),
} as const;

/** Calls whose requests or answers are streams. */
export const STREAM_METHODS = {
  watch: method('bidi_stream', 'etcdserverpb.Watch', 'Watch', watchRequest, watchResponse),
  leaseKeepAlive: method(
    'bidi_stream',
    'etcdserverpb.Lease',
    'LeaseKeepAlive',
    lease.leaseKeepAliveRequest,
    lease.leaseKeepAliveResponse,
  ),
  snapshot: method(
    'server_stream',
    'etcdserverpb.Maintenance',
    'Snapshot',
    maintenance.snapshotRequest,
    maintenance.snapshotResponse,
  ),
  observe: method(
    'server_stream',
    'v3electionpb.Election',
    'Observe',
    concurrency.leaderRequest,
    concurrency.leaderResponse,
  ),
} as const;

const HEALTH = 'grpc.health.v1.Health';

export const HEALTH_METHODS = {
  check: method('unary', HEALTH, 'Check', health.healthCheckRequest, health.healthCheckResponse),
  watch: method('server_stream', HEALTH, 'Watch', health.healthCheckRequest, health.healthCheckResponse),
} as const;
