/** `/v1`: Muster's own REST surface and watch protocol, in terms of EtcdApi alone. */
import type { IncomingMessage } from 'node:http';
import { type GoawayReason, WATCH_PROTOCOL } from '@muster/contract';
import { Hono } from 'hono';
import type { WebSocket } from 'ws';
import { WatchGateway } from '../watch/watch-gateway.ts';
import { ClusterWatch } from './cluster-state.ts';
import { V1Context, type V1Deps } from './context.ts';
import { loadDocument, type OpenApiDocument } from './document.ts';
import { requireQueryKey } from './keys.ts';
import { Registry } from './registry.ts';
import { V1Router } from './router.ts';
import { login } from './routes/auth.ts';
import { getStatus, listMembers } from './routes/cluster.ts';
import { deleteKey, getKey, pathKey, putKey } from './routes/kv.ts';
import { deleteKeys, listKeys } from './routes/kv-prefix.ts';
import {
  getLease,
  grantLease,
  keepAliveLease,
  keepAliveLeases,
  listLeases,
  revokeLease,
} from './routes/leases.ts';
import {
  deleteInstance,
  getInstance,
  heartbeatInstance,
  listInstances,
  listServices,
  patchInstance,
  pickInstance,
  putInstance,
} from './routes/services.ts';
import { batch, txn } from './routes/txn.ts';
import { makeValidators } from './validate.ts';

export type { V1Deps, V1Log } from './context.ts';

/** A path whose upgrade requests become WebSockets. `protocols` are those the server may choose. */
export type SocketRoute = {
  readonly path: string;
  readonly protocols?: readonly string[];
  accept(ws: WebSocket, request: IncomingMessage, url: URL): void;
};

export type V1 = {
  /** Routes with their full paths (`/v1/…`, `/openapi.json`): mount it at the root. */
  readonly app: Hono;
  readonly sockets: readonly SocketRoute[];
  readonly document: OpenApiDocument;
  /** Open WebSockets, and open streams with held requests. */
  stats(): { readonly sockets: number; readonly streams: number };
  /**
   * Sends `goaway` to all sockets and ends all streams, spread over `withinMs`, and answers held requests at once;
   * resolves when all are closed. New ones
   * are refused from then on, plain requests are not.
   */
  drain(reason?: GoawayReason, withinMs?: number): Promise<void>;
};

export function createV1(deps: V1Deps): V1 {
  const context = new V1Context(deps);
  const document = loadDocument();
  const cluster = new ClusterWatch(context, deps);
  const watch = new WatchGateway(context, cluster);
  const app = new Hono();
  const router = new V1Router(app, context, document, makeValidators(document));
  addKv(router, context);
  addLeases(router, context);
  addServices(router, context, new Registry(context));
  router
    .on('watch', (request) => watch.stream(request))
    .on('listMembers', (request) => listMembers(context, cluster, request))
    .on('login', (request) => login(context, request))
    .on('getStatus', (request) => getStatus(context, request))
    .on('getDocument', () => jsonText(document.json));
  router.closeWith('/v1');
  return {
    app,
    sockets: [
      { path: '/v1/watch', protocols: [WATCH_PROTOCOL], accept: (ws, request) => watch.accept(ws, request) },
    ],
    document,
    stats: () => ({ sockets: watch.sockets, streams: context.streams }),
    drain: (reason = 'shutdown', withinMs) => {
      context.releaseHeld();
      return watch.drain(reason, withinMs);
    },
  };
}

function addKv(router: V1Router, context: V1Context): void {
  router
    .on('listKeys', (request) => listKeys(context, request))
    .on('putKeyByQuery', (request) => putKey(context, request, requireQueryKey(request.query)))
    .on('deleteKeys', (request) => deleteKeys(context, request))
    .on('getKey', (request) => getKey(context, request, pathKey(context, request)))
    .on('putKey', (request) => putKey(context, request, pathKey(context, request)))
    .on('deleteKey', (request) => deleteKey(context, request, pathKey(context, request)))
    .on('txn', (request) => txn(context, request))
    .on('batch', (request) => batch(context, request));
}

function addLeases(router: V1Router, context: V1Context): void {
  router
    .on('listLeases', (request) => listLeases(context, request))
    .on('grantLease', (request) => grantLease(context, request))
    .on('keepAliveLeases', (request) => keepAliveLeases(context, request))
    .on('getLease', (request) => getLease(context, request))
    .on('revokeLease', (request) => revokeLease(context, request))
    .on('keepAliveLease', (request) => keepAliveLease(context, request));
}

function addServices(router: V1Router, context: V1Context, registry: Registry): void {
  router
    .on('listServices', (request) => listServices(context, request))
    .on('listInstances', (request) => listInstances(context, request))
    .on('getInstance', (request) => getInstance(context, request))
    .on('putInstance', (request) => putInstance(context, registry, request))
    .on('patchInstance', (request) => patchInstance(context, registry, request))
    .on('deleteInstance', (request) => deleteInstance(context, registry, request))
    .on('heartbeatInstance', (request) => heartbeatInstance(context, registry, request))
    .on('pickInstance', (request) => pickInstance(context, request));
}

function jsonText(text: string): Response {
  return new Response(text, { headers: { 'content-type': 'application/json', 'cache-control': 'no-cache' } });
}
