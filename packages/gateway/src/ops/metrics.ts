import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import { type GrpcMethod, grpcMethod } from './grpc-methods.ts';
import { GrpcMetrics } from './grpc-metrics.ts';
import {
  HISTOGRAMS,
  type HistogramName,
  type HistogramSpec,
  SAMPLED,
  type SampledName,
} from './metric-names.ts';

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
  /** What runs it: Node's version, under the name where etcd says Go's. */
  readonly runtimeVersion: string;
};

type MetricsOptions = {
  /** False for a server that is no member: one that says it has no leader would set alarms off. Default true. */
  readonly member?: boolean;
  /** Durations of every gRPC method too, etcd's `--metrics extensive`. Default false. */
  readonly extensive?: boolean;
  /** Told of calls with one answer that took longer than `seconds`; those that wait for others by nature are left out. */
  readonly slowCall?: {
    readonly seconds: number;
    readonly report: (method: GrpcMethod, code: number, seconds: number) => void;
  };
};

/** Locks and elections wait for others. */
const MAY_WAIT: ReadonlySet<string> = new Set(['v3lockpb.Lock', 'v3electionpb.Election']);

const WATCH = grpcMethod('etcdserverpb.Watch', 'Watch');
const DEFRAGMENT = grpcMethod('etcdserverpb.Maintenance', 'Defragment');
const UPKEEP: Readonly<Record<string, HistogramName>> = {
  Defragment: 'etcd_disk_backend_defrag_duration_seconds',
  Snapshot: 'etcd_disk_backend_snapshot_duration_seconds',
  Hash: 'etcd_mvcc_hash_duration_seconds',
  HashKV: 'etcd_mvcc_hash_rev_duration_seconds',
};

/** A server's metrics under etcd's names, in a registry of their own. */
export class Metrics {
  /** For parts with metrics of their own. */
  readonly registry = new Registry();
  readonly #sources: MetricsSource[] = [];
  readonly #histograms = new Map<HistogramName, Histogram>();
  readonly #healthSuccess: Counter;
  readonly #healthFailures: Counter;
  readonly #grpc: GrpcMetrics;
  readonly #slowCall: MetricsOptions['slowCall'];
  readonly #slowSeconds: number;
  #sampled: Partial<Readonly<Record<SampledName, number>>> = {};

  constructor(options: MetricsOptions = {}) {
    this.#slowCall = options.slowCall;
    this.#slowSeconds = options.slowCall?.seconds ?? Number.POSITIVE_INFINITY;
    const registers = [this.registry];
    collectDefaultMetrics({ register: this.registry });
    if (options.member ?? true) this.#addMember();
    const counter = (name: string, help: string): Counter => new Counter({ name, help, registers });
    this.#healthSuccess = counter('etcd_server_health_success', 'Health checks that passed.');
    this.#healthFailures = counter('etcd_server_health_failures', 'Health checks that failed.');
    this.#grpc = new GrpcMetrics({ registry: this.registry, extensive: options.extensive ?? false });
    this.#sources.push({ sample: () => this.#grpcSample() });
    this.#addFileLimits();
  }

  /** Adds an owner of values. A later source's value wins. */
  addSource(source: MetricsSource): void {
    this.#sources.push(source);
  }

  /** One duration, in seconds. */
  observe(name: HistogramName, seconds: number): void {
    this.#histograms.get(name)?.observe(seconds);
  }

  /** The round trip of one ping; `to` is the peer's id as etcd prints it. */
  observeRoundTrip(to: string, seconds: number): void {
    this.#histograms.get('etcd_network_peer_round_trip_time_seconds')?.observe({ To: to }, seconds);
  }

  /** Everything as Prometheus text. Asks every source once. */
  scrape(): Promise<string> {
    this.#sampled = Object.assign({}, ...this.#sources.map((source) => source.sample()));
    return this.registry.metrics();
  }

  health(ok: boolean): void {
    (ok ? this.#healthSuccess : this.#healthFailures).inc();
  }

  /** A call over gRPC, or over JSON, which stands for one. */
  grpcStarted(method: GrpcMethod, clientVersion?: string): void {
    this.#grpc.started(method, clientVersion);
  }

  /** `code` is gRPC's number. */
  grpcHandled(method: GrpcMethod, code: number, seconds: number): void {
    this.#grpc.handled(method, code, seconds);
    if (code === 0) this.#observeUpkeep(method, seconds);
    if (seconds > this.#slowSeconds && method.type === 'unary' && !MAY_WAIT.has(method.service)) {
      this.#slowCall?.report(method, code, seconds);
    }
  }

  /** Bytes of messages, their prefixes included. */
  grpcBytes(received: number, sent: number): void {
    this.#grpc.received += received;
    this.#grpc.sent += sent;
  }

  /** Sets the gauges that say who this server is. Once, when it is known. */
  identify({ serverId, serverVersion, clusterVersion, runtimeVersion }: MetricsIdentity): void {
    const one = (name: string, help: string, label: string, value: string): void =>
      new Gauge({ name, help, labelNames: [label], registers: [this.registry] }).set({ [label]: value }, 1);
    one('etcd_server_id', 'Id of this member in hex.', 'server_id', serverId);
    one('etcd_server_version', 'Version of this server.', 'server_version', serverVersion);
    one('etcd_server_go_version', 'Version of what runs this server.', 'server_go_version', runtimeVersion);
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
      const { help, buckets, labels = [] }: HistogramSpec = HISTOGRAMS[name];
      const options = { name, help, buckets: [...buckets], labelNames: [...labels] };
      this.#histograms.set(name, new Histogram({ ...options, registers: [this.registry] }));
    }
  }

  #grpcSample(): ReturnType<MetricsSource['sample']> {
    return {
      etcd_network_client_grpc_received_bytes_total: this.#grpc.received,
      etcd_network_client_grpc_sent_bytes_total: this.#grpc.sent,
      etcd_debugging_mvcc_watch_stream_total: this.#grpc.open(WATCH),
      etcd_disk_defrag_inflight: Math.min(1, this.#grpc.open(DEFRAGMENT)),
    };
  }

  /** Upkeep that is nothing but its call. */
  #observeUpkeep({ service, method }: GrpcMethod, seconds: number): void {
    if (service !== DEFRAGMENT.service) return;
    const histogram = UPKEEP[method];
    if (histogram !== undefined) this.observe(histogram, seconds);
  }

  /** What is known of the process under etcd's own names. */
  #addFileLimits(): void {
    const { registry } = this;
    const copy = (name: string, help: string, source: string): void => {
      new Gauge({
        name,
        help,
        registers: [registry],
        async collect() {
          const values = (await registry.getSingleMetric(source)?.get())?.values ?? [];
          this.set(Number(values[0]?.value ?? 0));
        },
      });
    };
    copy('os_fd_used', 'Open file descriptors.', 'process_open_fds');
    copy('os_fd_limit', 'File descriptors that may be open.', 'process_max_fds');
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
