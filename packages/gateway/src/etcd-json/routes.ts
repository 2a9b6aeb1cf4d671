/** The calls under `/v3` and `/v3beta`, by path. */
import type { CallOptions, ConcurrencyApi, EtcdApi } from '@muster/kv';
import type { GatewayLimits } from '../limits.ts';
import { type GrpcMethod, methodOfPath } from '../ops/grpc-methods.ts';
import { authCalls } from './auth-calls.ts';
import { concurrencyCalls } from './concurrency-calls.ts';
import { KeepAliveSession } from './keepalive-session.ts';
import { ListSession } from './list-session.ts';
import {
  alarmRequest,
  compactRequest,
  deleteRangeRequest,
  downgradeRequest,
  emptyRequest,
  hashKvRequest,
  leaseGrantRequest,
  leaseIdRequest,
  leaseTimeToLiveRequest,
  memberAddRequest,
  memberIdRequest,
  memberListRequest,
  memberUpdateRequest,
  moveLeaderRequest,
  putRequest,
  rangeRequest,
  txnRequest,
} from './requests.ts';
import {
  alarmListJson,
  deleteRangeJson,
  downgradeJson,
  hashJson,
  hashKvJson,
  headerOnlyJson,
  leaseGrantJson,
  leaseLeasesJson,
  leaseTimeToLiveJson,
  memberAddJson,
  membersJson,
  putJson,
  rangeJson,
  snapshotChunkJson,
  statusJson,
  txnJson,
} from './responses.ts';
import { snapshotPieces } from './snapshot-pieces.ts';
import { StatusError } from './status-error.ts';
import type { OpenSession } from './stream.ts';
import { type UnaryRoute, unary } from './unary.ts';
import { WatchSession } from './watch-session.ts';

export type StreamRoute = {
  readonly type: 'stream';
  readonly open: (options: CallOptions) => OpenSession;
};
export type Route = UnaryRoute | StreamRoute;
/** A route that is known by its gRPC method. */
export type CountedRoute = (UnaryRoute | StreamRoute) & { readonly method: GrpcMethod };

export type RouteDeps = {
  readonly api: EtcdApi;
  readonly concurrency: ConcurrencyApi;
  readonly limits: GatewayLimits;
  /** What status says as `storageVersion`, such as `3.6.0`. */
  readonly storageVersion: string;
};

export const ROUTE_PREFIXES = ['/v3/', '/v3beta/'] as const;

/** Every path with its call. */
export function etcdRoutes(deps: RouteDeps): ReadonlyMap<string, CountedRoute> {
  const routes = new Map<string, CountedRoute>();
  const calls = {
    ...kvCalls(deps.api),
    ...leaseCalls(deps.api),
    ...clusterCalls(deps.api),
    ...maintenanceCalls(deps),
    ...authCalls(deps.api),
    ...concurrencyCalls(deps.concurrency),
    ...streamCalls(deps),
  };
  for (const prefix of ROUTE_PREFIXES) {
    for (const [name, route] of Object.entries(calls)) {
      routes.set(prefix + name, { ...route, method: methodOfPath(name) });
    }
  }
  return routes;
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

function clusterCalls(api: EtcdApi): Record<string, Route> {
  return {
    'cluster/member/list': unary((value, options) =>
      api.memberList(memberListRequest(value), options).then(membersJson),
    ),
    'cluster/member/add': unary((value, options) =>
      api.memberAdd(memberAddRequest(value), options).then(memberAddJson),
    ),
    'cluster/member/remove': unary((value, options) =>
      api.memberRemove(memberIdRequest(value), options).then(membersJson),
    ),
    'cluster/member/update': unary((value, options) =>
      api.memberUpdate(memberUpdateRequest(value), options).then(membersJson),
    ),
    'cluster/member/promote': unary((value, options) =>
      api.memberPromote(memberIdRequest(value), options).then(membersJson),
    ),
  };
}

function maintenanceCalls({ api, storageVersion }: RouteDeps): Record<string, Route> {
  return {
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
    'maintenance/defragment': unary((value, options) => {
      emptyRequest(value);
      return api.defragment(options).then(headerOnlyJson);
    }),
    'maintenance/downgrade': unary((value, options) =>
      api.downgrade(downgradeRequest(value), options).then(downgradeJson),
    ),
    'maintenance/snapshot': {
      type: 'stream',
      open: (options) => (output) =>
        new ListSession(
          {
            request: emptyRequest,
            items: (_, signal) => snapshotPieces(api.snapshot({ ...options, signal })),
            answers: (piece) => [snapshotChunkJson(piece)],
            error: StatusError.from,
          },
          output,
        ),
    },
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
