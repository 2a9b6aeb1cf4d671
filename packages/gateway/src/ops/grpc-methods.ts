/** etcd's gRPC methods, which show in the metrics before they are called, and the paths that are the same under JSON. */
export type GrpcMethod = {
  readonly type: 'unary' | 'server_stream' | 'bidi_stream';
  /** With its package: `etcdserverpb.KV`. */
  readonly service: string;
  readonly method: string;
};

type Listed = readonly [method: string, type?: GrpcMethod['type']];

const SERVICES: Readonly<Record<string, readonly Listed[]>> = {
  'etcdserverpb.KV': [['Range'], ['Put'], ['DeleteRange'], ['Txn'], ['Compact']],
  'etcdserverpb.Watch': [['Watch', 'bidi_stream']],
  'etcdserverpb.Lease': [
    ['LeaseGrant'],
    ['LeaseRevoke'],
    ['LeaseKeepAlive', 'bidi_stream'],
    ['LeaseTimeToLive'],
    ['LeaseLeases'],
  ],
  'etcdserverpb.Cluster': [
    ['MemberAdd'],
    ['MemberRemove'],
    ['MemberUpdate'],
    ['MemberList'],
    ['MemberPromote'],
  ],
  'etcdserverpb.Maintenance': [
    ['Alarm'],
    ['Status'],
    ['Defragment'],
    ['Hash'],
    ['HashKV'],
    ['Snapshot', 'server_stream'],
    ['MoveLeader'],
    ['Downgrade'],
  ],
  'etcdserverpb.Auth': [
    ['AuthEnable'],
    ['AuthDisable'],
    ['AuthStatus'],
    ['Authenticate'],
    ['UserAdd'],
    ['UserGet'],
    ['UserList'],
    ['UserDelete'],
    ['UserChangePassword'],
    ['UserGrantRole'],
    ['UserRevokeRole'],
    ['RoleAdd'],
    ['RoleGet'],
    ['RoleList'],
    ['RoleDelete'],
    ['RoleGrantPermission'],
    ['RoleRevokePermission'],
  ],
  'v3lockpb.Lock': [['Lock'], ['Unlock']],
  'v3electionpb.Election': [['Campaign'], ['Proclaim'], ['Leader'], ['Observe', 'server_stream'], ['Resign']],
  'grpc.health.v1.Health': [['Check'], ['Watch', 'server_stream']],
};

export const GRPC_METHODS: readonly GrpcMethod[] = Object.entries(SERVICES).flatMap(([service, methods]) =>
  methods.map(([method, type = 'unary']) => ({ type, service, method })),
);

/** What etcd's JSON paths stand for. */
const JSON_NAMES: Readonly<Record<string, readonly [service: string, method: string]>> = {
  'kv/range': ['etcdserverpb.KV', 'Range'],
  'kv/put': ['etcdserverpb.KV', 'Put'],
  'kv/deleterange': ['etcdserverpb.KV', 'DeleteRange'],
  'kv/txn': ['etcdserverpb.KV', 'Txn'],
  'kv/compaction': ['etcdserverpb.KV', 'Compact'],
  watch: ['etcdserverpb.Watch', 'Watch'],
  'lease/grant': ['etcdserverpb.Lease', 'LeaseGrant'],
  'lease/revoke': ['etcdserverpb.Lease', 'LeaseRevoke'],
  'lease/keepalive': ['etcdserverpb.Lease', 'LeaseKeepAlive'],
  'lease/timetolive': ['etcdserverpb.Lease', 'LeaseTimeToLive'],
  'lease/leases': ['etcdserverpb.Lease', 'LeaseLeases'],
  'cluster/member/add': ['etcdserverpb.Cluster', 'MemberAdd'],
  'cluster/member/remove': ['etcdserverpb.Cluster', 'MemberRemove'],
  'cluster/member/update': ['etcdserverpb.Cluster', 'MemberUpdate'],
  'cluster/member/list': ['etcdserverpb.Cluster', 'MemberList'],
  'cluster/member/promote': ['etcdserverpb.Cluster', 'MemberPromote'],
  'maintenance/alarm': ['etcdserverpb.Maintenance', 'Alarm'],
  'maintenance/status': ['etcdserverpb.Maintenance', 'Status'],
  'maintenance/defragment': ['etcdserverpb.Maintenance', 'Defragment'],
  'maintenance/hash': ['etcdserverpb.Maintenance', 'Hash'],
  'maintenance/hashkv': ['etcdserverpb.Maintenance', 'HashKV'],
  'maintenance/snapshot': ['etcdserverpb.Maintenance', 'Snapshot'],
  'maintenance/transfer-leadership': ['etcdserverpb.Maintenance', 'MoveLeader'],
  'maintenance/downgrade': ['etcdserverpb.Maintenance', 'Downgrade'],
  'auth/enable': ['etcdserverpb.Auth', 'AuthEnable'],
  'auth/disable': ['etcdserverpb.Auth', 'AuthDisable'],
  'auth/status': ['etcdserverpb.Auth', 'AuthStatus'],
  'auth/authenticate': ['etcdserverpb.Auth', 'Authenticate'],
  'auth/user/add': ['etcdserverpb.Auth', 'UserAdd'],
  'auth/user/get': ['etcdserverpb.Auth', 'UserGet'],
  'auth/user/list': ['etcdserverpb.Auth', 'UserList'],
  'auth/user/delete': ['etcdserverpb.Auth', 'UserDelete'],
  'auth/user/changepw': ['etcdserverpb.Auth', 'UserChangePassword'],
  'auth/user/grant': ['etcdserverpb.Auth', 'UserGrantRole'],
  'auth/user/revoke': ['etcdserverpb.Auth', 'UserRevokeRole'],
  'auth/role/add': ['etcdserverpb.Auth', 'RoleAdd'],
  'auth/role/get': ['etcdserverpb.Auth', 'RoleGet'],
  'auth/role/list': ['etcdserverpb.Auth', 'RoleList'],
  'auth/role/delete': ['etcdserverpb.Auth', 'RoleDelete'],
  'auth/role/grant': ['etcdserverpb.Auth', 'RoleGrantPermission'],
  'auth/role/revoke': ['etcdserverpb.Auth', 'RoleRevokePermission'],
  'lock/lock': ['v3lockpb.Lock', 'Lock'],
  'lock/unlock': ['v3lockpb.Lock', 'Unlock'],
  'election/campaign': ['v3electionpb.Election', 'Campaign'],
  'election/proclaim': ['v3electionpb.Election', 'Proclaim'],
  'election/leader': ['v3electionpb.Election', 'Leader'],
  'election/observe': ['v3electionpb.Election', 'Observe'],
  'election/resign': ['v3electionpb.Election', 'Resign'],
};

/** The method that a JSON path stands for; `path` has no version before it. */
export function methodOfPath(path: string): GrpcMethod {
  // Some calls on leases are under `kv` too.
  const names = JSON_NAMES[path.replace(/^kv\/lease\//, 'lease/')];
  if (names === undefined) throw new TypeError(`no method belongs to ${path}`);
  return grpcMethod(...names);
}

/** The method with these names. */
export function grpcMethod(service: string, method: string): GrpcMethod {
  const found = GRPC_METHODS.find((each) => each.service === service && each.method === method);
  if (found === undefined) throw new TypeError(`${service}/${method} is no method of etcd`);
  return found;
}
