/** Calls by method and code, under the names that gRPC's servers give them. */
import { Counter, Histogram, type Registry } from 'prom-client';
import { GRPC_METHODS, type GrpcMethod } from './grpc-methods.ts';

/** gRPC's names of its status codes, by number. */
const GRPC_CODES = [
  'OK',
  'Canceled',
  'Unknown',
  'InvalidArgument',
  'DeadlineExceeded',
  'NotFound',
  'AlreadyExists',
  'PermissionDenied',
  'ResourceExhausted',
  'FailedPrecondition',
  'Aborted',
  'OutOfRange',
  'Unimplemented',
  'Internal',
  'Unavailable',
  'DataLoss',
  'Unauthenticated',
] as const;
const UNKNOWN = 2;

const LABELS = ['grpc_type', 'grpc_service', 'grpc_method'] as const;
const HANDLING_BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];
/** Versions come from clients: no more different ones than these are told apart. */
const CLIENT_VERSIONS_MAX = 16;
const CLIENT_VERSION = /^\d{1,4}\.\d{1,4}$/;

type Labels = Record<(typeof LABELS)[number], string>;

/** Plain numbers, because every call counts here; they become labelled metrics when somebody scrapes. */
class MethodCount {
  readonly labels: Labels;
  started = 0;
  readonly handled: number[] = GRPC_CODES.map(() => 0);
  handledTotal = 0;

  constructor({ type, service, method }: GrpcMethod) {
    this.labels = { grpc_type: type, grpc_service: service, grpc_method: method };
  }
}

type GrpcMetricsOptions = {
  readonly registry: Registry;
  /** Durations too, etcd's `--metrics extensive`. */
  readonly extensive: boolean;
};

export class GrpcMetrics {
  readonly #byName = new Map<string, MethodCount>();
  /** The same by the object that a server names its method with. */
  readonly #byMethod = new WeakMap<GrpcMethod, MethodCount>();
  readonly #clients = new Map<string, number>();
  readonly #handling: Histogram<(typeof LABELS)[number]> | undefined;
  received = 0;
  sent = 0;

  constructor({ registry, extensive }: GrpcMetricsOptions) {
    for (const method of GRPC_METHODS) this.#byName.set(nameOf(method), new MethodCount(method));
    const counts = this.#byName;
    const registers = [registry];
    new Counter({
      name: 'grpc_server_started_total',
      help: 'gRPC calls started.',
      labelNames: LABELS,
      registers,
      collect() {
        this.reset();
        for (const { labels, started } of counts.values()) this.inc(labels, started);
      },
    });
    new Counter({
      name: 'grpc_server_handled_total',
      help: 'gRPC calls completed, by code.',
      labelNames: [...LABELS, 'grpc_code'],
      registers,
      collect() {
        this.reset();
        for (const { labels, handled } of counts.values()) {
          GRPC_CODES.forEach((grpc_code, i) => {
            this.inc({ ...labels, grpc_code }, handled[i]);
          });
        }
      },
    });
    this.#addClients(registry);
    if (!extensive) return;
    this.#handling = new Histogram({
      name: 'grpc_server_handling_seconds',
      help: 'Durations of gRPC calls.',
      labelNames: LABELS,
      buckets: HANDLING_BUCKETS,
      registers,
    });
    for (const { labels } of counts.values()) this.#handling.zero(labels);
  }

  started(method: GrpcMethod, clientVersion: string | undefined): void {
    const count = this.#countOf(method);
    count.started++;
    const type = method.type === 'unary' ? 'unary' : 'stream';
    const key = `${type} ${this.#knownVersion(type, clientVersion)}`;
    this.#clients.set(key, (this.#clients.get(key) ?? 0) + 1);
  }

  /** `code` is gRPC's number. */
  handled(method: GrpcMethod, code: number, seconds: number): void {
    const count = this.#countOf(method);
    const known = code in GRPC_CODES ? code : UNKNOWN;
    count.handled[known] = (count.handled[known] as number) + 1;
    count.handledTotal++;
    this.#handling?.observe(count.labels, seconds);
  }

  /** Calls of a method that have not ended. */
  open(method: GrpcMethod): number {
    const { started, handledTotal } = this.#countOf(method);
    return started - handledTotal;
  }

  #countOf(method: GrpcMethod): MethodCount {
    let count = this.#byMethod.get(method);
    if (count === undefined) {
      const name = nameOf(method);
      count = this.#byName.get(name);
      if (count === undefined) this.#byName.set(name, (count = new MethodCount(method)));
      this.#byMethod.set(method, count);
    }
    return count;
  }

  #knownVersion(type: string, version: string | undefined): string {
    if (version === undefined || !CLIENT_VERSION.test(version)) return 'unknown';
    return this.#clients.has(`${type} ${version}`) || this.#clients.size < CLIENT_VERSIONS_MAX
      ? version
      : 'unknown';
  }

  #addClients(registry: Registry): void {
    const clients = this.#clients;
    new Counter({
      name: 'etcd_server_client_requests_total',
      help: 'Requests by the API version that the client says it speaks.',
      labelNames: ['type', 'client_api_version'],
      registers: [registry],
      collect() {
        this.reset();
        for (const [key, value] of clients) {
          const [type, client_api_version] = key.split(' ') as [string, string];
          this.inc({ type, client_api_version }, value);
        }
      },
    });
  }
}

const nameOf = ({ service, method }: GrpcMethod): string => `${service}/${method}`;
