/** The calls under `/v3` and `/v3beta`, by path. */
import type { CallOptions, EtcdApi } from '@muster/kv';
import type { GatewayLimits } from '../limits.ts';
import type { JsonValue } from './json-value.ts';
import { KeepAliveSession } from './keepalive-session.ts';
import {
  alarmRequest,
  compactRequest,
  deleteRangeRequest,
  emptyRequest,
  hashKvRequest,
  leaseGrantRequest,
  leaseIdRequest,
  leaseTimeToLiveRequest,
  memberListRequest,
  moveLeaderRequest,
  putRequest,
  rangeRequest,
  txnRequest,
} from './requests.ts';
import {
  alarmListJson,
  deleteRangeJson,
  hashJson,
  hashKvJson,
  headerOnlyJson,
  leaseGrantJson,
  leaseLeasesJson,
  leaseTimeToLiveJson,
  memberListJson,
  putJson,
  rangeJson,
  statusJson,
  txnJson,
} from './responses.ts';
import { StatusError } from './status-error.ts';
import type { OpenSession } from './stream.ts';
import { WatchSession } from './watch-session.ts';

export type UnaryRoute = {
  readonly type: 'unary';
  /** The answer's JSON. Throws or rejects with what `StatusError.from` takes. */
  readonly call: (value: JsonValue | undefined, options: CallOptions) => Promise<string>;
};
export type StreamRoute = {
  readonly type: 'stream';
  readonly open: (options: CallOptions) => OpenSession;
};
export type Route = UnaryRoute | StreamRoute;

export type RouteDeps = {
  readonly api: EtcdApi;
  readonly limits: GatewayLimits;
  /** What status says as `storageVersion`, such as `3.6.0`. */
  readonly storageVersion: string;
};

/** Known to etcd, not served here yet: code 12. */
const UNIMPLEMENTED = [
  ...['add', 'remove', 'update', 'promote'].map((name) => `cluster/member/${name}`),
  ...['defragment', 'snapshot', 'downgrade'].map((name) => `maintenance/${name}`),
  ...['enable', 'disable', 'status', 'authenticate'].map((name) => `auth/${name}`),
  ...['add', 'get', 'list', 'delete', 'changepw', 'grant', 'revoke'].map((name) => `auth/user/${name}`),
  ...['add', 'get', 'list', 'delete', 'grant', 'revoke'].map((name) => `auth/role/${name}`),
  ...['campaign', 'proclaim', 'leader', 'observe', 'resign'].map((name) => `election/${name}`),
  ...['lock', 'unlock'].map((name) => `lock/${name}`),
];

export const ROUTE_PREFIXES = ['/v3/', '/v3beta/'] as const;

/** Every path with its call. */
export function etcdRoutes(deps: RouteDeps): ReadonlyMap<string, Route> {
  const routes = new Map<string, Route>();
  const calls = {
    ...kvCalls(deps.api),
    ...leaseCalls(deps.api),
    ...clusterCalls(deps),
    ...streamCalls(deps),
  };
  const refusal = unary(() => Promise.reject(new StatusError(12, 'not implemented')));
  for (const prefix of ROUTE_PREFIXES) {
    for (const [name, route] of Object.entries(calls)) routes.set(prefix + name, route);
    for (const name of UNIMPLEMENTED) routes.set(prefix + name, refusal);
  }
  return routes;
}

function unary(call: UnaryRoute['call']): UnaryRoute {
  return { type: 'unary', call };
}

function kvCalls(api: EtcdApi): Record<string, Route> {
  return {
    'kv/range': unary((value, options) => api.range(rangeRequest(value), options).then(rangeJson)),
    'kv/put': unary((value, options) => api.put(putRequest(value), options).then(putJson)),
    'kv/deleterange': unary((value, options) =>
      api.deleteRange(deleteRangeRequest(value), options).then(deleteRangeJson),
    ),
    'kv/txn': unary((value, options) => api.txn(txnRequest(value), options).then(txnJson)),
    'kv/compaction': unary((value, options) =>
      api.compact(compactRequest(value), options).then(headerOnlyJson),
    ),
  };
}

function leaseCalls(api: EtcdApi): Record<string, Route> {
  const revoke = unary((value, options) =>
    api.leaseRevoke(leaseIdRequest(value), options).then(headerOnlyJson),
  );
  const timeToLive = unary((value, options) =>
    api.leaseTimeToLive(leaseTimeToLiveRequest(value), options).then(leaseTimeToLiveJson),
  );
  const leases = unary((value, options) => {
    emptyRequest(value);
    return api.leaseLeases(options).then(leaseLeasesJson);
  });
  return {
    'lease/grant': unary((value, options) =>
      api.leaseGrant(leaseGrantRequest(value), options).then(leaseGrantJson),
    ),
    'lease/revoke': revoke,
    'kv/lease/revoke': revoke,
    'lease/timetolive': timeToLive,
    'kv/lease/timetolive': timeToLive,
    'lease/leases': leases,
    'kv/lease/leases': leases,
  };
}

function clusterCalls({ api, storageVersion }: RouteDeps): Record<string, Route> {
  return {
    'cluster/member/list': unary((value, options) =>
      api.memberList(memberListRequest(value), options).then(memberListJson),
    ),
    'maintenance/status': unary((value, options) => {
      emptyRequest(value);
      return api.status(options).then((result) => statusJson(result, storageVersion));
    }),
    'maintenance/alarm': unary((value, options) =>
      api.alarm(alarmRequest(value), options).then(alarmListJson),
    ),
    'maintenance/hash': unary((value, options) => {
      emptyRequest(value);
      return api.hash(options).then(hashJson);
    }),
    'maintenance/hashkv': unary((value, options) =>
      api.hashKv(hashKvRequest(value), options).then(hashKvJson),
    ),
    'maintenance/transfer-leadership': unary((value, options) =>
      api.moveLeader(moveLeaderRequest(value), options).then(headerOnlyJson),
    ),
  };
}

function streamCalls({ api, limits }: RouteDeps): Record<string, Route> {
  return {
    watch: {
      type: 'stream',
      open: (options) => (output, onReady) => new WatchSession(api, options, limits, output, onReady),
    },
    'lease/keepalive': {
      type: 'stream',
      open: (options) => (output, onReady) => new KeepAliveSession(api, options, output, onReady),
    },
  };
}
