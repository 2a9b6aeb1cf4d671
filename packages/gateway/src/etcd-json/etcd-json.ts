import type { Clock } from '@muster/base';
import { GrpcCode } from '@muster/contract';
import type { CallOptions } from '@muster/kv';
import type { GrpcMethod } from '../ops/grpc-methods.ts';
import { BlockedCalls } from './blocked-calls.ts';
import { parseFirst } from './json-value.ts';
import { type CountedRoute, etcdRoutes, type RouteDeps, type StreamRoute } from './routes.ts';
import { errorBody, invalidArgument, StatusError, transportClosing } from './status-error.ts';
import { StreamCall, type StreamOutput } from './stream.ts';
import type { UnaryRoute } from './unary.ts';

/** An answer that is complete: its HTTP status and its JSON. */
export type Reply = { readonly status: number; readonly body: string };

type EtcdJsonDeps = RouteDeps & {
  readonly clock: Clock;
  readonly observer: CallObserver;
  /** Told of failures that are the server's own fault. */
  readonly onInternalError: (error: unknown) => void;
};

/** Told of every call, which stands for the one over gRPC. */
type CallObserver = {
  grpcStarted(method: GrpcMethod): void;
  grpcHandled(method: GrpcMethod, code: number, seconds: number): void;
};

export type CountedUnary = UnaryRoute & { readonly method: GrpcMethod };
export type CountedStream = StreamRoute & { readonly method: GrpcMethod };

/** What every request may say about itself besides its body. */
type RequestHeaders = (name: string) => string | undefined;

/** etcd's JSON calls, independent of what carries them: node's HTTP, fetch's Request, a WebSocket. */
export class EtcdJson {
  readonly #deps: EtcdJsonDeps;
  readonly #routes: ReadonlyMap<string, CountedRoute>;
  readonly #streams = new Set<StreamCall>();
  readonly #blocked: BlockedCalls;
  #draining = false;

  constructor(deps: EtcdJsonDeps) {
    this.#deps = deps;
    this.#routes = etcdRoutes(deps);
    this.#blocked = new BlockedCalls(deps.clock, deps.limits.streams);
  }

  /** By the exact path, without its query. */
  route(path: string): CountedRoute | undefined {
    return this.#routes.get(path);
  }

  /** The longest body that is read, in bytes. */
  get bodyBytes(): number {
    return this.#deps.limits.bodyBytes;
  }

  /**
   * Answers one unary call. Never rejects. `body` is the first JSON value and whatever follows it. A route that `blocks`
   * wants a signal in its options that fires when the client is gone.
   */
  async unary(route: CountedUnary, body: string, options: CallOptions): Promise<Reply> {
    const { clock, observer } = this.#deps;
    const startedMs = clock.nowMs();
    observer.grpcStarted(route.method);
    let code: number = GrpcCode.OK;
    try {
      const value = parseFirst(body);
      const call = route.blocks
        ? this.#blocked.run(options, (bounded) => route.call(value, bounded))
        : route.call(value, options);
      return { status: 200, body: await call };
    } catch (thrown) {
      const error = StatusError.from(thrown);
      code = error.grpc;
      return this.failure(thrown);
    } finally {
      observer.grpcHandled(route.method, code, (clock.nowMs() - startedMs) / 1000);
    }
  }

  failure(thrown: unknown): Reply {
    const error = StatusError.from(thrown);
    if (error.grpc === GrpcCode.INTERNAL) this.#deps.onInternalError(thrown);
    return { status: error.http, body: errorBody(error) };
  }

  /** Starts a streaming call; its answers go to `output`. `undefined` when it was refused there. */
  stream(route: CountedStream, output: StreamOutput, options: CallOptions): StreamCall | undefined {
    if (this.#draining) {
      output.refuse(transportClosing());
      return undefined;
    }
    if (this.#streams.size >= this.#deps.limits.streams) {
      output.refuse(new StatusError(GrpcCode.RESOURCE_EXHAUSTED, 'etcdserver: too many requests'));
      return undefined;
    }
    const { clock, observer, limits } = this.#deps;
    const startedMs = clock.nowMs();
    observer.grpcStarted(route.method);
    const call = new StreamCall(route.open(options), output, limits.bodyBytes, (closed, code) => {
      this.#streams.delete(closed);
      observer.grpcHandled(route.method, code, (clock.nowMs() - startedMs) / 1000);
    });
    this.#streams.add(call);
    return call;
  }

  /** Ends every stream and every waiting call in the way etcd's clients know; later ones are refused, unary calls go on. */
  drain(): void {
    this.#draining = true;
    this.#blocked.drain();
    for (const call of [...this.#streams]) call.abort(transportClosing());
  }
}

const NO_OPTIONS: CallOptions = {};

/** Credential, deadline and what else of gRPC's metadata counts. Throws code 3 for a timeout that cannot be read. */
export function callOptions(header: RequestHeaders): CallOptions {
  const timeout = header('grpc-timeout');
  const token =
    header('grpc-metadata-token') ?? header('grpc-metadata-authorization') ?? header('authorization');
  const hasLeader = header('grpc-metadata-hasleader');
  if (timeout === undefined && token === undefined && hasLeader === undefined) return NO_OPTIONS;
  return {
    ...(timeout === undefined ? {} : { timeoutMs: timeoutMs(timeout) }),
    ...(token === undefined ? {} : { token: withoutScheme(token) }),
    ...(hasLeader === 'true' ? { requireLeader: true } : {}),
  };
}

/** With the client's address, where the route wants it and there is one. */
export function withSource(
  route: CountedUnary,
  options: CallOptions,
  source: string | undefined,
): CallOptions {
  return route.wantsSource !== true || source === undefined ? options : { ...options, source };
}

/** Newer servers take `Bearer <token>` as well as the bare token. */
export function withoutScheme(token: string): string {
  return token.startsWith('Bearer ') ? token.slice('Bearer '.length) : token;
}

const UNIT_MS: Readonly<Record<string, number>> = {
  H: 3_600_000,
  M: 60_000,
  S: 1000,
  m: 1,
  u: 1 / 1000,
  n: 1 / 1_000_000,
};

function timeoutMs(text: string): number {
  const match = /^(\d{1,18})([HMSmun])$/.exec(text);
  if (match === null) throw invalidArgument(`invalid grpc-timeout: ${text}`);
  return Math.ceil(Number(match[1]) * (UNIT_MS[match[2] as string] as number));
}
