import {
  constants,
  type Http2Server,
  type Http2Session,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
  type ServerOptions,
} from 'node:http2';
import type { Clock } from '@muster/base';
import { deferred } from '@muster/base';
import { GrpcCode } from '@muster/contract';
import type { ConcurrencyApi, EtcdApi } from '@muster/kv';
import type { HealthSource } from '../services/health.ts';
import { etcdRoutes } from '../services/routes.ts';
import { ByteBudget } from './byte-budget.ts';
import { Connection } from './connection.ts';
import { GRPC_LIMITS, type GrpcLimits } from './grpc-limits.ts';
import { GrpcStatus, statusOf } from './grpc-status.ts';
import { callOptionsOf } from './metadata.ts';
import type { GrpcObserver } from './observer.ts';
import { refuse } from './reply.ts';
import type { Route } from './route.ts';
import type { CallHost } from './server-call.ts';
import { StreamCall } from './stream-call.ts';
import { UnaryCall } from './unary-call.ts';

export type GrpcServerOptions = {
  readonly api: EtcdApi;
  readonly concurrency: ConcurrencyApi;
  readonly clock: Clock;
  /** What gRPC's health service says; throws what it is refused with. Default: serving. */
  readonly health?: HealthSource;
  readonly limits?: Partial<GrpcLimits>;
  readonly observer?: GrpcObserver;
  readonly log?: { warn(fields: Readonly<Record<string, unknown>>, message: string): void };
};

/** Megabytes of headers and unsent answers that one connection may hold before Node refuses new calls on it. */
const SESSION_MEMORY_MB = 1024;
/** Watches are given up in bursts, and each is a reset; beyond this the connection is taken for an attack. */
const RESETS_BURST = 10_000;
const RESETS_PER_SECOND = 1000;
const GRPC_TYPE = 'application/grpc';

/** etcd's services over HTTP/2. It listens nowhere: it takes its calls from HTTP/2 servers that it is attached to. */
export class GrpcServer {
  readonly http2Options: ServerOptions;
  readonly #host: CallHost;
  readonly #routes: ReadonlyMap<string, Route>;
  readonly #services: ReadonlySet<string>;
  readonly #sessions = new Map<ServerHttp2Session, Connection>();
  #closing = false;

  constructor({ api, concurrency, clock, health, limits, observer, log }: GrpcServerOptions) {
    const all: GrpcLimits = { ...GRPC_LIMITS, ...limits };
    this.#host = {
      clock,
      limits: all,
      receiving: new ByteBudget(all.receivingBytes),
      sending: new ByteBudget(all.sendingBytes),
      observer,
      calls: new Set(),
      onInternalError: (error, call) => log?.warn({ call, error: reasonOf(error) }, 'a gRPC call failed'),
    };
    this.#routes = etcdRoutes({
      api,
      concurrency,
      fragmentBytes: all.messageBytes,
      health: health ?? (() => 'serving'),
    });
    this.#services = new Set([...this.#routes.values()].map((route) => route.method.service));
    this.http2Options = {
      maxSessionMemory: SESSION_MEMORY_MB,
      streamResetBurst: RESETS_BURST,
      streamResetRate: RESETS_PER_SECOND,
      settings: {
        maxConcurrentStreams: all.concurrentStreams,
        initialWindowSize: all.streamWindowBytes,
        enablePush: false,
      },
    };
  }

  /** Those whose stream is open. */
  get calls(): number {
    return this.#host.calls.size;
  }

  /** Bytes held for clients: of requests that have come in part, and of answers that have not gone out. */
  get heldBytes(): { readonly receiving: number; readonly sending: number } {
    return { receiving: this.#host.receiving.used, sending: this.#host.sending.used };
  }

  /** Takes the server's streams whose content type is gRPC's, and leaves the others alone. */
  attach(server: Http2Server): void {
    server.on('stream', (stream, headers) => {
      if (headers['content-type']?.startsWith(GRPC_TYPE) === true) this.#open(stream, headers);
    });
  }

  /**
   * Tells clients to go elsewhere (GOAWAY), ends streams, and lets calls with one answer finish for `graceMs`; then
   * cuts what is left.
   */
  async close(graceMs: number): Promise<void> {
    this.#closing = true;
    const closed = [...this.#sessions.keys()].map((session) => whenClosed(session));
    for (const session of this.#sessions.keys()) session.close();
    for (const call of [...this.#host.calls]) call.stop();
    const cut = this.#host.clock.schedule(graceMs, () => {
      for (const session of this.#sessions.keys()) session.destroy();
    });
    await Promise.all(closed);
    this.#host.clock.cancel(cut);
  }

  #open(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): void {
    const { session } = stream;
    if (session === undefined || stream.destroyed) return;
    if (headers[':method'] !== 'POST') {
      // Node reports a reset of our own as an error, too; unheard it would end the process.
      stream.on('error', () => {});
      stream.close(constants.NGHTTP2_PROTOCOL_ERROR);
      return;
    }
    const connection = this.#connectionOf(session as ServerHttp2Session);
    try {
      if (this.#host.calls.size >= this.#host.limits.calls) {
        throw new GrpcStatus(GrpcCode.RESOURCE_EXHAUSTED, 'grpc: too many calls are open');
      }
      const route = this.#routeOf(headers[':path'] ?? '');
      const options = callOptionsOf(headers, connection.certificateName, connection.source);
      const clientVersion = headers['client-api-version']?.toString();
      const start = { stream, connection, options, clientVersion };
      const call =
        route.type === 'unary'
          ? new UnaryCall(this.#host, route, start)
          : new StreamCall(this.#host, route, start);
      if (this.#closing) call.stop();
    } catch (thrown) {
      stream.on('error', () => {});
      stream.resume();
      connection.sent();
      refuse(stream, statusOf(thrown));
    }
  }

  #connectionOf(session: ServerHttp2Session): Connection {
    const known = this.#sessions.get(session);
    if (known !== undefined) return known;
    const connection = new Connection(session, this.#host.clock, this.#host.limits);
    this.#sessions.set(session, connection);
    session.once('close', () => this.#sessions.delete(session));
    return connection;
  }

  #routeOf(path: string): Route {
    const route = this.#routes.get(path);
    if (route !== undefined) return route;
    const slash = path.lastIndexOf('/');
    if (slash <= 0) {
      throw new GrpcStatus(GrpcCode.UNIMPLEMENTED, `malformed method name: ${JSON.stringify(path)}`);
    }
    const service = path.slice(1, slash);
    const text = this.#services.has(service)
      ? `unknown method ${path.slice(slash + 1)} for service ${service}`
      : `unknown service ${service}`;
    throw new GrpcStatus(GrpcCode.UNIMPLEMENTED, text);
  }
}

function whenClosed(session: Http2Session): Promise<void> {
  const closed = deferred<void>();
  if (session.destroyed) closed.resolve();
  else session.once('close', () => closed.resolve());
  return closed.promise;
}

const reasonOf = (error: unknown): string => {
  const cause = error instanceof Error ? error.cause : undefined;
  if (cause instanceof Error) return cause.message;
  return error instanceof Error ? error.message : String(error);
};
