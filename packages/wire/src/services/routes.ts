/** The table of all calls: what answers each. */
import { GrpcCode, grpcCodeOfRecipe, KvError } from '@muster/contract';
import type { ConcurrencyApi, EtcdApi } from '@muster/kv';
import { CONCURRENCY_METHODS, ETCD_METHODS, STREAM_METHODS } from '../convert/methods.ts';
import { GrpcStatus, statusOf } from '../grpc/grpc-status.ts';
import type { Route, StreamRoute, UnaryRoute } from '../grpc/route.ts';
import { type HealthSource, healthRoutes } from './health.ts';
import { KeepAliveSession } from './keep-alive-session.ts';
import { ServerStreamSession } from './server-stream-session.ts';
import { WatchSession } from './watch-session.ts';

type RoutesOptions = {
  readonly api: EtcdApi;
  readonly concurrency: ConcurrencyApi;
  /** Where a watch that allows fragments is cut. */
  readonly fragmentBytes: number;
  readonly health: HealthSource;
};

/** Calls that are answered in milliseconds or time out by themselves, and come by the ten thousand a second. */
const HOT: ReadonlySet<string> = new Set(['range', 'put', 'deleteRange', 'txn']);

/** Calls whose refusals etcd sends untranslated. */
const UPKEEP: ReadonlySet<string> = new Set(['defragment', 'hash', 'hashKv']);

/** Calls of the seam that take no request, only options. */
const WITHOUT_REQUEST: ReadonlySet<string> = new Set([
  'leaseLeases',
  'status',
  'defragment',
  'hash',
  'authEnable',
  'authDisable',
  'authStatus',
  'userList',
  'roleList',
]);

type AnyCall = (...args: unknown[]) => Promise<unknown>;

/** By path. */
export function etcdRoutes(options: RoutesOptions): ReadonlyMap<string, Route> {
  const routes = [
    ...etcdUnaryRoutes(options.api),
    ...concurrencyRoutes(options.concurrency),
    ...streamRoutes(options),
    ...healthRoutes(options.health),
  ];
  return new Map(routes.map((route) => [route.method.path, route]));
}

function etcdUnaryRoutes(api: EtcdApi): UnaryRoute[] {
  const names = Object.keys(ETCD_METHODS) as (keyof typeof ETCD_METHODS)[];
  return names.map((name) => {
    const method = ETCD_METHODS[name];
    const target = api[name].bind(api) as unknown as AnyCall;
    const call: UnaryRoute['call'] = WITHOUT_REQUEST.has(name)
      ? (_, callOptions) => target(callOptions)
      : (request, callOptions) => target(request, callOptions);
    const own = UPKEEP.has(name) ? withStatus(call, maintenanceStatus) : call;
    return { type: 'unary', method, call: own, abortable: !HOT.has(name), keepsRequest: name !== 'range' };
  });
}

function concurrencyRoutes(concurrency: ConcurrencyApi): UnaryRoute[] {
  const names = Object.keys(CONCURRENCY_METHODS) as (keyof typeof CONCURRENCY_METHODS)[];
  return names.map((name) => {
    const target = concurrency[name].bind(concurrency) as unknown as AnyCall;
    const call = withStatus(target, recipeStatus);
    return { type: 'unary', method: CONCURRENCY_METHODS[name], call, abortable: true, keepsRequest: true };
  });
}

function withStatus(call: UnaryRoute['call'], toStatus: (thrown: unknown) => GrpcStatus): UnaryRoute['call'] {
  return (request, callOptions) =>
    call(request, callOptions).catch((thrown) => {
      throw toStatus(thrown);
    });
}

/**
 * What is refused for want of rights is said in the words of etcd's store of users, and as Unknown: upkeep does so up
 * to 3.5, and scripts match on it (reference 3.2).
 */
function maintenanceStatus(thrown: unknown): GrpcStatus {
  const error = KvError.from(thrown);
  if (error.code !== 'PERMISSION_DENIED' && error.code !== 'USER_EMPTY') return statusOf(thrown);
  return new GrpcStatus(GrpcCode.UNKNOWN, error.message.replace('etcdserver:', 'auth:'));
}

function recipeStatus(thrown: unknown): GrpcStatus {
  const error = KvError.from(thrown);
  return new GrpcStatus(grpcCodeOfRecipe(error), error.message);
}

function streamRoutes({ api, concurrency, fragmentBytes }: RoutesOptions): StreamRoute[] {
  const { watch, leaseKeepAlive, snapshot, observe } = STREAM_METHODS;
  return [
    {
      type: 'stream',
      method: watch,
      open: (output, onReady, options) => new WatchSession({ api, options, output, onReady, fragmentBytes }),
    },
    {
      type: 'stream',
      method: leaseKeepAlive,
      open: (output, onReady, options) => new KeepAliveSession({ api, options, output, onReady }),
    },
    {
      type: 'stream',
      method: snapshot,
      open: (output, _, options) =>
        new ServerStreamSession(
          output,
          snapshot,
          (_request, signal) => api.snapshot({ ...options, signal }),
          maintenanceStatus,
        ),
    },
    {
      type: 'stream',
      method: observe,
      open: (output, _, options) =>
        new ServerStreamSession(
          output,
          observe,
          (request, signal) => concurrency.observe(request, { ...options, signal }),
          recipeStatus,
        ),
    },
  ];
}
