import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import { HISTOGRAMS, type HistogramName, SAMPLED, type SampledName } from './metric-names.ts';

/** What the parts of a server know about themselves, asked whenever somebody scrapes. */
export interface MetricsSource {
  /** Values now; a counter's is its total. Names left out keep what another source says, or 0. */
  sample(): Partial<Readonly<Record<SampledName, number>>>;
}

/** Constant labels of a server, as etcd shows them. */
export type MetricsIdentity = {
  /** Member id in hex. */
  readonly serverId: string;
  readonly serverVersion: string;
  /** Two numbers, such as `3.6`. */
  readonly clusterVersion: string;
};

export type MetricsOptions = {
  /** False for a server that is no member: one that says it has no leader would set alarms off. Default true. */
  readonly member?: boolean;
};

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

export type GrpcMethod = {
  readonly type: 'unary' | 'server_stream' | 'bidi_stream';
  /** With its package: `etcdserverpb.KV`. */
  readonly service: string;
  readonly method: string;
};

const grpcLabels = ({ type, service, method }: GrpcMethod) => ({
  grpc_type: type,
  grpc_service: service,
  grpc_method: method,
});

/** A server's metrics under etcd's names, in a registry of their own. */
export class Metrics {
  /** For parts with metrics of their own. */
  readonly registry = new Registry();
  readonly #sources: MetricsSource[] = [];
  readonly #histograms = new Map<HistogramName, Histogram>();
  readonly #healthSuccess: Counter;
  readonly #healthFailures: Counter;
  readonly #grpcStarted: Counter<'grpc_type' | 'grpc_service' | 'grpc_method'>;
  readonly #grpcHandled: Counter<'grpc_type' | 'grpc_service' | 'grpc_method' | 'grpc_code'>;
  #sampled: Partial<Readonly<Record<SampledName, number>>> = {};

  constructor(options: MetricsOptions = {}) {
    const registers = [this.registry];
    collectDefaultMetrics({ register: this.registry });
    if (options.member ?? true) this.#addMember();
    const counter = (name: string, help: string): Counter => new Counter({ name, help, registers });
    this.#healthSuccess = counter('etcd_server_health_success', 'Health checks that passed.');
    this.#healthFailures = counter('etcd_server_health_failures', 'Health checks that failed.');
    const labels = ['grpc_type', 'grpc_service', 'grpc_method'] as const;
    this.#grpcStarted = new Counter({
      name: 'grpc_server_started_total',
      help: 'gRPC calls started.',
      labelNames: labels,
      registers,
    });
    this.#grpcHandled = new Counter({
      name: 'grpc_server_handled_total',
      help: 'gRPC calls completed, by code.',
      labelNames: [...labels, 'grpc_code'],
      registers,
    });
  }

  /** Adds an owner of values. A later source's value wins. */
  addSource(source: MetricsSource): void {
    this.#sources.push(source);
  }

  /** One duration, in seconds. */
  observe(name: HistogramName, seconds: number): void {
    this.#histograms.get(name)?.observe(seconds);
  }

  /** Everything as Prometheus text. Asks every source once. */
  scrape(): Promise<string> {
    this.#sampled = Object.assign({}, ...this.#sources.map((source) => source.sample()));
    return this.registry.metrics();
  }

  health(ok: boolean): void {
    (ok ? this.#healthSuccess : this.#healthFailures).inc();
  }

  /** Shows a method with zeros for every code from the start, as etcd does. */
  registerGrpcMethod(method: GrpcMethod): void {
    const labels = grpcLabels(method);
    this.#grpcStarted.inc(labels, 0);
    for (const grpc_code of GRPC_CODES) this.#grpcHandled.inc({ ...labels, grpc_code }, 0);
  }

  grpcStarted(method: GrpcMethod): void {
    this.#grpcStarted.inc(grpcLabels(method));
  }

  /** `code` is gRPC's number. */
  grpcHandled(method: GrpcMethod, code: number): void {
    this.#grpcHandled.inc({ ...grpcLabels(method), grpc_code: GRPC_CODES[code] ?? 'Unknown' });
  }

  /** Sets the gauges that say who this server is. Once, when it is known. */
  identify({ serverId, serverVersion, clusterVersion }: MetricsIdentity): void {
    const one = (name: string, help: string, label: string, value: string): void =>
      new Gauge({ name, help, labelNames: [label], registers: [this.registry] }).set({ [label]: value }, 1);
    one('etcd_server_id', 'Id of this member in hex.', 'server_id', serverId);
    one('etcd_server_version', 'Version of this server.', 'server_version', serverVersion);
    one('etcd_cluster_version', 'Version that the cluster speaks.', 'cluster_version', clusterVersion);
  }

  /** A value that is asked for whenever somebody scrapes. */
  addGauge(name: string, help: string, read: () => number): void {
    new Gauge({
      name,
      help,
      registers: [this.registry],
      collect() {
        this.set(read());
      },
    });
  }

  #addMember(): void {
    for (const name of Object.keys(SAMPLED) as SampledName[]) this.#addSampled(name);
    for (const name of Object.keys(HISTOGRAMS) as HistogramName[]) {
      const { help, buckets } = HISTOGRAMS[name];
      const registers = [this.registry];
      this.#histograms.set(name, new Histogram({ name, help, buckets: [...buckets], registers }));
    }
  }

  #addSampled(name: SampledName): void {
    const { kind, help } = SAMPLED[name];
    const read = (): number => this.#sampled[name] ?? 0;
    const registers = [this.registry];
    if (kind === 'gauge') {
      new Gauge({
        name,
        help,
        registers,
        collect() {
          this.set(read());
        },
      });
    } else {
      new Counter({
        name,
        help,
        registers,
        collect() {
          this.reset();
          this.inc(read());
        },
      });
    }
  }
}

/** A server's metrics, empty: its parts add their sources. */
export function createMetrics(options?: MetricsOptions): Metrics {
  return new Metrics(options);
}
