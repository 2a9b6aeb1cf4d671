/** The HTTP side of a server on one client port: etcd's JSON, Muster's REST, sockets, health and metrics. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { getRequestListener } from '@hono/node-server';
import type { Clock, Prng } from '@muster/base';
import type { ConcurrencyApi, EtcdApi } from '@muster/kv';
import { Hono } from 'hono';
import { EtcdJson } from './etcd-json/etcd-json.ts';
import { fetchEtcd } from './etcd-json/fetch-door.ts';
import { NodeDoor } from './etcd-json/node-door.ts';
import { isEtcdPath } from './etcd-json/resolve.ts';
import type { GatewayLimits } from './limits.ts';
import { BodyDeadline } from './middleware/body-deadline.ts';
import { type CommonNameCheck, commonNameCheck } from './middleware/common-name.ts';
import { etcdCors, type RawHeaders, restCors } from './middleware/cors.ts';
import { type HostCheck, hostWhitelist } from './middleware/host-whitelist.ts';
import { requestId } from './middleware/request-id.ts';
import { isEncrypted, isSecure, sourceOf } from './middleware/source.ts';
import type { Metrics } from './ops/metrics.ts';
import { opsRoutes, pageNotFound, type VersionInfo } from './ops/routes.ts';
import type { V1 } from './v1/index.ts';
import { SocketServer } from './ws/socket-server.ts';

/** Where the gateway writes its log: pino's shape, fields first. */
export type GatewayLog = {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
};

/** A file of the web page. */
export type StaticFile = {
  readonly body: Uint8Array<ArrayBuffer>;
  readonly contentType: string;
  readonly cacheControl?: string;
};

export type GatewayOptions = {
  readonly api: EtcdApi;
  /** Locks and elections. */
  readonly concurrency: ConcurrencyApi;
  /** Whether users have to say who they are now. Default: never. */
  readonly authEnabled?: () => boolean;
  readonly clock: Clock;
  readonly prng: Prng;
  readonly limits: GatewayLimits;
  /** Origins that may call etcd's paths from a browser, etcd's `--cors`; `*` is every one. Default `*`, as etcd's. */
  readonly cors?: readonly string[];
  /** Host names that are answered without TLS, etcd's `--host-whitelist`. Default: all. */
  readonly hostWhitelist?: readonly string[];
  /** Origins that may use `/v1` from a browser and open any socket, besides the server's own pages; `*` is every one. */
  readonly allowedOrigins?: readonly string[];
  /** Whether etcd's JSON is served, etcd's `--enable-grpc-gateway`. Default true. */
  readonly etcdJson?: boolean;
  readonly metrics: Metrics;
  readonly version: () => VersionInfo;
  /** The web page's files by path (`/` for its start); `undefined` for what there is not. */
  readonly staticFiles?: (path: string) => StaticFile | undefined;
  readonly log: GatewayLog;
  /** Muster's own API, out of `createV1`. */
  readonly v1: Pick<V1, 'app' | 'sockets' | 'drain'>;
};

export type Gateway = {
  /** Everything but sockets, on fetch's types. */
  readonly app: Hono;
  /** For node's `request` event; the fast way for etcd's paths. */
  readonly listener: (req: IncomingMessage, res: ServerResponse) => void;
  /** For node's `upgrade` event. */
  readonly upgrade: (req: IncomingMessage, socket: Duplex, head: Buffer) => void;
  /** Options for `http.createServer` that belong to the limits. */
  readonly serverOptions: {
    readonly maxHeaderSize: number;
    readonly headersTimeout: number;
    readonly requestTimeout: number;
  };
  /**
   * Tells clients to go elsewhere and ends their streams; resolves when all of them are closed. Calls in progress are
   * answered.
   */
  drain(): Promise<void>;
  /** Drops what is still open. */
  close(): void;
};

export function createGateway(options: GatewayOptions): Gateway {
  const { api, limits, log, v1 } = options;
  const json = new EtcdJson({
    api,
    concurrency: options.concurrency,
    clock: options.clock,
    observer: options.metrics,
    limits,
    storageVersion: options.version().storage,
    onInternalError: (error) => log.error({ err: error }, 'a call under /v3 failed with an internal error'),
  });
  const checkHost = hostWhitelist(options.hostWhitelist ?? []);
  const cors = etcdCors(options.cors ?? ['*']);
  const checkName = commonNameCheck(options.authEnabled ?? (() => false));
  const app = composeApp(options, json, cors, checkHost);
  const sockets = new SocketServer({
    clock: options.clock,
    json,
    etcdJson: options.etcdJson ?? true,
    limits,
    checkHost,
    checkName,
    allowedOrigins: options.allowedOrigins ?? [],
    routes: v1.sockets,
    log,
  });
  return {
    app,
    listener: makeListener(options, json, app, cors, checkHost, checkName),
    upgrade: (req, socket, head) => sockets.upgrade(req, socket, head),
    serverOptions: {
      maxHeaderSize: limits.headerBytes,
      headersTimeout: limits.headersTimeoutMs,
      // The body of a watch stays open; the gateway itself watches over the others.
      requestTimeout: 0,
    },
    drain() {
      sockets.drain();
      json.drain();
      return v1.drain('shutdown');
    },
    close() {
      sockets.close();
    },
  };
}

type Cors = (origin: string | undefined) => RawHeaders;

function composeApp(options: GatewayOptions, json: EtcdJson, cors: Cors, checkHost: HostCheck): Hono {
  const { staticFiles, log, etcdJson = true } = options;
  const app = new Hono({ getPath });
  app.use(async (c, next) => {
    const refusal = checkHost(c.req.header('host'), isSecure(c));
    return refusal === undefined ? next() : misdirected(refusal);
  });
  app.use('/v1/*', requestId(options.prng), restCors(options.allowedOrigins ?? []));
  app.use(async (c, next) => {
    const { method, path } = c.req;
    if (path.startsWith('/v1/')) return next();
    const headers = cors(c.req.header('origin'));
    if (method === 'OPTIONS') return withHeaders(new Response(null, { status: 200 }), headers);
    if (etcdJson && isEtcdPath(path)) return fetchEtcd(json, c.req.raw, headers, sourceOf(c));
    await next();
    withHeaders(c.res, headers);
    return undefined;
  });
  app.route('/', options.v1.app);
  app.route('/', opsRoutes(options));
  if (staticFiles !== undefined) {
    app.get('*', (c, next) => {
      const file = staticFiles(c.req.path);
      return file === undefined ? next() : fileResponse(file);
    });
  }
  app.notFound(() => pageNotFound());
  app.onError((error) => {
    log.error({ err: error }, 'a request failed with an internal error');
    return new Response('internal error\n', { status: 500, headers: { 'Content-Type': 'text/plain' } });
  });
  return app;
}

/** The path as it came: keys in paths are decoded by their own handlers. */
function getPath(request: Request): string {
  const { url } = request;
  const start = url.indexOf('/', url.indexOf('//') + 2);
  const query = url.indexOf('?', start);
  return start < 0 ? '/' : url.slice(start, query < 0 ? undefined : query);
}

function fileResponse(file: StaticFile): Response {
  return new Response(file.body, {
    headers: {
      'Content-Type': file.contentType,
      'Cache-Control': file.cacheControl ?? 'no-cache',
      'X-Content-Type-Options': 'nosniff',
    },
  });
}

function withHeaders(response: Response, headers: RawHeaders): Response {
  for (let i = 0; i < headers.length; i += 2)
    response.headers.set(headers[i] as string, headers[i + 1] as string);
  return response;
}

function misdirected(refusal: string): Response {
  return new Response(refusal, { status: 421, headers: { 'Content-Type': 'text/plain; charset=utf-8' } });
}

function refuse(res: ServerResponse, text: string): void {
  res.writeHead(400, {
    'Content-Type': 'text/plain; charset=utf-8',
    'Content-Length': Buffer.byteLength(text),
  });
  res.end(text);
}

function makeListener(
  options: GatewayOptions,
  json: EtcdJson,
  app: Hono,
  cors: Cors,
  checkHost: HostCheck,
  checkName: CommonNameCheck,
): Gateway['listener'] {
  const { clock, limits, etcdJson = true } = options;
  const bodyDeadline = new BodyDeadline(clock, limits.requestTimeoutMs);
  const door = new NodeDoor(json, { clock, bodyDeadline, bufferedBytes: limits.bufferedBytes });
  const rest = getRequestListener(app.fetch);
  return function listener(req, res) {
    if (etcdJson && isEtcdPath(req.url as string) && req.method !== 'OPTIONS') {
      const refusal = checkHost(req.headers.host, isEncrypted(req.socket));
      if (refusal === undefined) {
        const ignored = checkName(req.socket);
        if (ignored !== undefined) return refuse(res, ignored);
        return door.handle(req, res, cors(req.headers.origin));
      }
    }
    bodyDeadline.add(req);
    req.once('close', () => bodyDeadline.settle(req));
    rest(req, res);
  };
}
