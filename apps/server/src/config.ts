import { join } from 'node:path';
import type { Level } from 'pino';
import { type CommandLine, flagsRefused, StartRefused } from './command-line.ts';
import { type TlsConfig, tlsConfigOf } from './config-tls.ts';
import { FLAGS } from './flag-table.ts';
import { BadValue, durationMs, parseUnsigned, parseUrls } from './flag-values.ts';

/** How one member runs. Times in milliseconds, sizes in bytes. Every rule between values has been checked. */
export type Config = {
  readonly name: string;
  readonly dataDir: string;
  /** `undefined`: inside the data directory. */
  readonly walDir: string | undefined;
  readonly listenPeerUrls: readonly string[];
  readonly listenClientUrls: readonly string[];
  /** Where there are some, HTTP is served there, and `listenClientUrls` serve gRPC alone. */
  readonly listenClientHttpUrls: readonly string[];
  readonly listenMetricsUrls: readonly string[];
  readonly socketReusePort: boolean;
  /** `undefined` where no URL needs it. */
  readonly clientTls: TlsConfig | undefined;
  readonly peerTls: TlsConfig | undefined;
  readonly advertiseClientUrls: readonly string[];
  readonly advertisePeerUrls: readonly string[];
  /** Name to its peer URLs, sorted. */
  readonly initialCluster: ReadonlyMap<string, readonly string[]>;
  /** Where `initialCluster` is to come from instead. */
  readonly discoverySrv: { readonly domain: string; readonly name: string } | undefined;
  readonly initialClusterState: 'new' | 'existing';
  readonly initialClusterToken: string;
  readonly membership: {
    readonly strictReconfig: boolean;
    readonly maxLearners: number;
    /** Found a cluster of this member alone out of its data. */
    readonly forceNewCluster: boolean;
  };
  readonly heartbeatMs: number;
  readonly electionMs: number;
  readonly snapshotCount: number;
  readonly snapshotCatchUpEntries: number;
  /** 0 is none. */
  readonly quotaBytes: number;
  /** Free bytes of the data file at which it is defragmented at the start; 0 is never. */
  readonly bootDefragBytes: number;
  readonly maxTxnOps: number;
  readonly maxRequestBytes: number;
  readonly watchProgressMs: number;
  readonly autoCompaction: AutoCompaction;
  readonly grpc: GrpcConfig;
  /** Between comparisons of the members' data; 0 is never. */
  readonly corruptCheckMs: number;
  /** Between comparisons of the hashes at compactions; 0 is never. */
  readonly compactHashCheckMs: number;
  /** Compare with the other members before serving. */
  readonly initialCorruptCheck: boolean;
  readonly metrics: 'basic' | 'extensive';
  /** `token` as the flag says it: `simple`, or `jwt,` and its options. */
  readonly auth: {
    readonly token: string;
    readonly tokenTtlSeconds: number;
    readonly bcryptCost: number;
  };
  readonly cors: readonly string[];
  readonly allowedOrigins: readonly string[];
  readonly hostWhitelist: readonly string[];
  /** Whether etcd's JSON is served. */
  readonly etcdJson: boolean;
  readonly gateway: GatewayConfig;
  readonly dashboardDir: string | undefined;
  readonly logLevel: Level;
  readonly logFormat: 'json' | 'console';
  /** `stderr`, `stdout`, or paths of files. */
  readonly logOutputs: readonly string[];
  readonly stallWarningMs: number;
  readonly slowApplyMs: number;
  readonly slowRequestMs: number;
  readonly shutdownMs: number;
};

export type AutoCompaction =
  | { readonly mode: 'off' }
  | { readonly mode: 'periodic'; readonly retentionMs: number }
  | { readonly mode: 'revision'; readonly retentionRevisions: number };

type GrpcConfig = {
  /** Announced to every client. */
  readonly maxConcurrentStreams: number;
  /** Clients that ping more often are sent away. */
  readonly keepAliveMinMs: number;
  /** Silence after which a client is pinged, and how long the answer may take; 0 is never. */
  readonly keepAliveIntervalMs: number;
  readonly keepAliveTimeoutMs: number;
};

type GatewayConfig = {
  readonly connections: number;
  readonly sockets: number;
  readonly streams: number;
  readonly subscriptionsPerSocket: number;
  readonly frameBytes: number;
  readonly bodyBytes: number;
  readonly headerBytes: number;
  readonly bufferedBytes: number;
  readonly headersTimeoutMs: number;
  readonly requestTimeoutMs: number;
  readonly heartbeatMs: number;
};

const MIB = 2 ** 20;
const GIB = 2 ** 30;
const QUOTA_DEFAULT = 2 * GIB;
const QUOTA_HIGH = 8 * GIB;
/** As many as HTTP/2 can say. */
const STREAMS_MAX = 2 ** 32 - 1;
const ELECTION_MAX_MS = 50_000;
const REQUEST_BYTES_HIGH = 10 * 2 ** 20;
/** The transport's largest frame bounds what a request may be. */
const REQUEST_BYTES_MAX = 32 * 2 ** 20;

/** Checks how values relate, in etcd's order and words. Throws `StartRefused`; adds to `warnings`. */
export function configOf(line: CommandLine, warnings: string[] = []): Config {
  const { values } = line;
  checkUrls(line);
  checkBootstrap(line);
  checkTimes(values['heartbeat-interval'], values['election-timeout']);
  checkSizes(line, warnings);
  const config: Config = {
    name: values.name,
    dataDir: values['data-dir'] === '' ? `${values.name}.muster` : values['data-dir'],
    listenPeerUrls: values['listen-peer-urls'],
    walDir: values['wal-dir'] === '' ? undefined : values['wal-dir'],
    listenClientUrls: values['listen-client-urls'],
    listenClientHttpUrls: values['listen-client-http-urls'],
    listenMetricsUrls: values['listen-metrics-urls'],
    socketReusePort: values['socket-reuse-port'],
    clientTls: tlsConfigOf(values, 'client', warnings),
    peerTls: tlsConfigOf(values, 'peer', warnings),
    advertiseClientUrls: values['advertise-client-urls'],
    advertisePeerUrls: values['initial-advertise-peer-urls'],
    initialCluster: initialClusterOf(line),
    discoverySrv: discoveryOf(line),
    initialClusterState: values['initial-cluster-state'],
    initialClusterToken: values['initial-cluster-token'],
    membership: {
      strictReconfig: values['strict-reconfig-check'],
      maxLearners: values['max-learners'],
      forceNewCluster: values['force-new-cluster'],
    },
    heartbeatMs: values['heartbeat-interval'],
    electionMs: values['election-timeout'],
    snapshotCount: values['snapshot-count'],
    snapshotCatchUpEntries: Math.min(values['snapshot-catchup-entries'], values['snapshot-count']),
    quotaBytes: quotaOf(values['quota-backend-bytes'], warnings),
    bootDefragBytes: values['bootstrap-defrag-threshold-megabytes'] * MIB,
    maxTxnOps: values['max-txn-ops'],
    maxRequestBytes: values['max-request-bytes'],
    watchProgressMs: values['watch-progress-notify-interval'],
    autoCompaction: autoCompactionOf(values['auto-compaction-mode'], values['auto-compaction-retention']),
    auth: {
      token: values['auth-token'],
      tokenTtlSeconds: values['auth-token-ttl'],
      bcryptCost: bcryptCostOf(values['bcrypt-cost']),
    },
    grpc: grpcOf(line),
    ...checksOf(line, warnings),
    metrics: values.metrics,
    cors: values.cors,
    allowedOrigins: values['allowed-origins'],
    hostWhitelist: values['host-whitelist'],
    etcdJson: values['enable-grpc-gateway'],
    gateway: gatewayOf(line),
    dashboardDir: values['dashboard-dir'] === '' ? undefined : values['dashboard-dir'],
    logLevel: values['log-level'] === 'panic' ? 'fatal' : values['log-level'],
    logFormat: values['log-format'],
    logOutputs: logOutputsOf(values['log-outputs']),
    stallWarningMs: values['stall-warning'],
    slowApplyMs: values['warning-apply-duration'],
    slowRequestMs: values['warning-unary-request-duration'],
    shutdownMs: values['shutdown-timeout'],
  };
  return config;
}

function gatewayOf({ values, given }: CommandLine): GatewayConfig {
  // JSON carries keys and values in base64: a third more, and some for the rest.
  const bodyBytes = given.has('max-body-bytes')
    ? values['max-body-bytes']
    : Math.max(values['max-body-bytes'], 2 * values['max-request-bytes']);
  return {
    connections: values['max-connections'],
    sockets: values['max-sockets'],
    streams: values['max-streams'],
    subscriptionsPerSocket: values['max-subscriptions'],
    frameBytes: values['max-frame-bytes'],
    bodyBytes,
    headerBytes: values['max-header-bytes'],
    bufferedBytes: values['max-buffered-bytes'],
    headersTimeoutMs: values['headers-timeout'],
    requestTimeoutMs: values['body-timeout'],
    heartbeatMs: values['socket-heartbeat-interval'],
  };
}

function discoveryOf({ values }: CommandLine): Config['discoverySrv'] {
  const domain = values['discovery-srv'];
  return domain === '' ? undefined : { domain, name: values['discovery-srv-name'] };
}

function grpcOf({ values }: CommandLine): GrpcConfig {
  return {
    maxConcurrentStreams: Math.min(values['max-concurrent-streams'], STREAMS_MAX),
    keepAliveMinMs: values['grpc-keepalive-min-time'],
    keepAliveIntervalMs: values['grpc-keepalive-interval'],
    keepAliveTimeoutMs: values['grpc-keepalive-timeout'],
  };
}

/** Features that this server has under a name of their own; of the others it says that they change nothing. */
function checksOf({ values, given }: CommandLine, warnings: string[]) {
  const gates = values['feature-gates'];
  const pairs = [
    ['InitialCorruptCheck', 'experimental-initial-corrupt-check'],
    ['CompactHashCheck', 'experimental-compact-hash-check-enabled'],
  ] as const;
  for (const name of gates.keys()) {
    if (pairs.every(([gate]) => gate !== name)) warnings.push(`feature ${name} has no effect here`);
  }
  for (const [gate, flag] of pairs) {
    if (!gates.has(gate) || !given.has(flag)) continue;
    throw flagsRefused(
      `cannot specify both flags: --${flag} and --feature-gates=${gate}=..., at the same time`,
    );
  }
  const [initial, compactHash] = pairs.map(([gate, flag]) => gates.get(gate) ?? values[flag]);
  return {
    corruptCheckMs: values['corrupt-check-time'],
    compactHashCheckMs: compactHash ? values['compact-hash-check-time'] : 0,
    initialCorruptCheck: initial ?? false,
  };
}

function logOutputsOf(names: readonly string[]): readonly string[] {
  const outputs = names.map((name) => (name === 'default' ? 'stderr' : name));
  if (names.includes('default') && names.length > 1) {
    throw flagsRefused(`multi logoutput for "default" is not supported yet`);
  }
  if (outputs.includes('systemd/journal')) {
    throw flagsRefused(
      '--log-outputs=systemd/journal is not supported; expected stderr, which systemd keeps too',
    );
  }
  return outputs.length === 0 ? ['stderr'] : [...new Set(outputs)];
}

const CLIENT_URL_FLAGS = ['listen-client-urls', 'listen-client-http-urls', 'listen-metrics-urls'] as const;

function checkUrls({ values, given }: CommandLine): void {
  const bound = [...values['listen-peer-urls'], ...CLIENT_URL_FLAGS.flatMap((name) => values[name])];
  for (const url of bound) checkBindUrl(url);
  for (const url of [...values['listen-peer-urls'], ...values['initial-advertise-peer-urls']]) {
    if (/^https?:/.test(url)) continue;
    throw new StartRefused(
      `${url}: peers are not served on unix sockets; expected http://host:port or https://host:port`,
    );
  }
  if (given.has('listen-client-urls') && !given.has('advertise-client-urls')) {
    throw flagsRefused('--advertise-client-urls is required when --listen-client-urls is set explicitly');
  }
}

/** What only one thing can say. */
function checkBootstrap({ values, given }: CommandLine): void {
  if (values.proxy !== 'off') {
    throw flagsRefused(
      `--proxy=${values.proxy} is not supported: the v2 proxy is gone; expected --proxy=off`,
    );
  }
  if (values['discovery-srv'] !== '' && given.has('initial-cluster')) {
    throw flagsRefused(
      'multiple discovery or bootstrap flags are set. Choose one of "initial-cluster", "discovery" or "discovery-srv"',
    );
  }
}

function checkBindUrl(url: string): void {
  if (url.startsWith('unix')) return;
  const host = hostOf(url);
  const isIp = host.startsWith('[') || /^\d{1,3}(\.\d{1,3}){3}$/.test(host);
  if (host !== 'localhost' && !isIp) throw flagsRefused(`expected IP in URL for binding (${url})`);
}

function hostOf(url: string): string {
  return url.replace(/^[^:]*:\/\//, '').replace(/:\d+$/, '');
}

function checkTimes(heartbeatMs: number, electionMs: number): void {
  if (heartbeatMs === 0) throw flagsRefused('--heartbeat-interval must be >0 (set to 0ms)');
  if (electionMs === 0) throw flagsRefused('--election-timeout must be >0 (set to 0ms)');
  if (5 * heartbeatMs > electionMs) {
    throw flagsRefused(
      `--election-timeout[${electionMs}ms] should be at least as 5 times as --heartbeat-interval[${heartbeatMs}ms]`,
    );
  }
  if (electionMs > ELECTION_MAX_MS) {
    throw flagsRefused(
      `--election-timeout[${electionMs}ms] is too long, and should be set less than ${ELECTION_MAX_MS}ms`,
    );
  }
}

function checkSizes({ values }: CommandLine, warnings: string[]): void {
  const requestBytes = values['max-request-bytes'];
  if (requestBytes === 0 || requestBytes > REQUEST_BYTES_MAX) {
    throw flagsRefused(
      `--max-request-bytes must be between 1 and ${REQUEST_BYTES_MAX} (set to ${requestBytes})`,
    );
  }
  if (requestBytes > REQUEST_BYTES_HIGH) {
    warnings.push(
      `--max-request-bytes ${requestBytes} is above the recommended maximum of ${REQUEST_BYTES_HIGH}`,
    );
  }
  if (values['max-txn-ops'] === 0) throw flagsRefused('--max-txn-ops must be >0 (set to 0)');
  if (values['snapshot-count'] === 0) throw flagsRefused('--snapshot-count must be >0 (set to 0)');
  if (values['data-dir'].includes('\0')) throw flagsRefused('--data-dir must be a path');
  if (values.name === '' || /[=,/\0]/.test(values.name)) {
    throw flagsRefused(
      `--name must be a text without "=", "," and "/" (set to ${JSON.stringify(values.name)})`,
    );
  }
}

/** What is no cost of bcrypt's is taken as its default, as etcd does. */
function bcryptCostOf(cost: number): number {
  return cost >= 4 && cost <= 31 ? cost : 10;
}

function quotaOf(bytes: number, warnings: string[]): number {
  if (bytes > QUOTA_HIGH) {
    warnings.push(`--quota-backend-bytes ${bytes} is above the recommended maximum of ${QUOTA_HIGH}`);
  }
  if (bytes === 0) return QUOTA_DEFAULT;
  return Math.max(0, bytes);
}

/** Without `--initial-cluster`, a name that was given takes the default's place, alone. */
function initialClusterOf({ values, given }: CommandLine): ReadonlyMap<string, readonly string[]> {
  const text = given.has('initial-cluster')
    ? values['initial-cluster']
    : FLAGS['initial-cluster'].fallback.replace(/^default=/, `${values.name}=`);
  const cluster = new Map<string, string[]>();
  for (const pair of text.split(',')) {
    const equals = pair.indexOf('=');
    const name = equals < 0 ? pair.trim() : pair.slice(0, equals).trim();
    const url = equals < 0 ? '' : pair.slice(equals + 1);
    try {
      cluster.set(name, [...(cluster.get(name) ?? []), ...parseUrls(url)].sort());
    } catch (error) {
      if (!(error instanceof BadValue)) throw error;
      throw new StartRefused(`error setting up initial cluster: ${error.message}`);
    }
  }
  return cluster;
}

function autoCompactionOf(mode: string, retention: string): AutoCompaction {
  if (mode !== 'periodic' && mode !== 'revision') {
    throw flagsRefused(`unknown auto-compaction-mode "${mode}"`);
  }
  const whole = wholeNumber(retention);
  if (whole === 0) return { mode: 'off' };
  if (mode === 'revision') {
    if (whole !== undefined) return { mode, retentionRevisions: whole };
    throw new StartRefused(
      `error parsing CompactionRetention: expected a number of revisions, got "${retention}"`,
    );
  }
  if (whole !== undefined) return { mode, retentionMs: whole * 3_600_000 };
  const retentionMs = durationMs(retention);
  if (retentionMs === undefined || retentionMs < 0) {
    throw new StartRefused(`error parsing CompactionRetention: time: invalid duration "${retention}"`);
  }
  return retentionMs === 0 ? { mode: 'off' } : { mode, retentionMs };
}

function wholeNumber(text: string): number | undefined {
  try {
    return parseUnsigned(text);
  } catch {
    return undefined;
  }
}

/** Where things are inside the data directory that this program, and not the disk package, looks after. */
export function dashboardDirOf(config: Config): string {
  return config.dashboardDir ?? join(import.meta.dirname, '../../dashboard/dist');
}
