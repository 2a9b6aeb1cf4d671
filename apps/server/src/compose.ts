/** Wires one member out of its parts, and takes it down again in order. */
import { randomBytes } from 'node:crypto';
import { hex, Prng } from '@muster/base';
import { KvError } from '@muster/contract';
import { memberIdOf } from '@muster/disk';
import {
  createGateway,
  createMetrics,
  createV1,
  DEFAULT_LIMITS,
  type Gateway,
  type GatewayLimits,
  gatewayLimits,
} from '@muster/gateway';
import { createConcurrency } from '@muster/kv';
import { CorruptionMonitor, isUnfilled, LocalApi, Member } from '@muster/member';
import { ENVELOPE_BYTES, fetchClusterInfo, GrpcServer, idText, TcpPeerTransport } from '@muster/wire';
import { openAuthPorts } from './auth/auth-ports.ts';
import { AutoCompactor } from './auto-compactor.ts';
import { bindRefusal, peerBindAddress } from './bind.ts';
import { type Identity, identify, join } from './bootstrap.ts';
import { ClientPorts } from './client-ports.ts';
import { StartRefused } from './command-line.ts';
import { type Config, dashboardDirOf } from './config.ts';
import { type Logger, memberLog } from './logger.ts';
import { memberMetrics, OBSERVED } from './member-metrics.ts';
import { ReadinessGate } from './readiness-gate.ts';
import { untilServing } from './ready.ts';
import { slowCallLog } from './slow-calls.ts';
import { StallMonitor } from './stall-monitor.ts';
import { loadStatic } from './static.ts';
import { type OpenParts, openStorage, type Storage } from './storage.ts';
import { SystemClock } from './system-clock.ts';
import { openTls, type TlsIdentities } from './tls-identities.ts';
import { ETCD_CLUSTER_VERSION, ETCD_STORAGE_VERSION, ETCD_VERSION, MUSTER_VERSION } from './version.ts';

type ServerOptions = {
  readonly config: Config;
  readonly logger: Logger;
  /** What must never happen did: the process is to end with this. */
  readonly onFatal: (error: Error) => void;
  /** This member was removed from the cluster: it is to be stopped, and not to be started again. */
  readonly onRemoved: () => void;
};

type Parts = {
  readonly storage: Storage;
  readonly transport: TcpPeerTransport;
  readonly member: Member;
  readonly gateway: Gateway;
  readonly readiness: ReadinessGate;
  readonly port: ClientPorts;
  readonly compactor: AutoCompactor;
  readonly corruption: CorruptionMonitor;
  readonly stalls: StallMonitor;
};

/** A running member with its client port. */
export class Server {
  readonly #options: ServerOptions;
  readonly #parts: Parts;
  #stopping = false;

  private constructor(options: ServerOptions, parts: Parts) {
    this.#options = options;
    this.#parts = parts;
  }

  /** Opens everything and starts; what was opened is closed again when something fails. */
  static async start(options: ServerOptions): Promise<Server> {
    const undo: (() => Promise<void>)[] = [];
    try {
      return new Server(options, await open(options, undo));
    } catch (error) {
      for (const step of undo.reverse()) await step();
      throw error;
    }
  }

  get memberId(): bigint {
    return this.#parts.member.id;
  }

  get clientAddresses(): readonly string[] {
    return this.#parts.port.addresses;
  }

  /** Resolves once linearizable requests can be answered. Rejects when the server is stopped before. */
  serving(): Promise<void> {
    return untilServing(this.#parts.member, () => this.#stopping);
  }

  /**
   * Stops in order: not ready any more, clients told to go elsewhere, leadership handed over, running requests
   * answered, then peers, log and engine closed.
   */
  async stop(): Promise<void> {
    this.#stopping = true;
    const { config, logger } = this.#options;
    const { readiness, gateway, member, port, transport, storage, compactor, corruption, stalls } =
      this.#parts;
    readiness.close();
    corruption.stop();
    compactor.stop();
    const drained = gateway.drain();
    await new Promise<void>((resolve) => member.handOver(resolve));
    await Promise.all([drained, port.close(config.shutdownMs)]);
    gateway.close();
    await new Promise<void>((resolve) => member.stop(resolve));
    await new Promise<void>((resolve) => transport.close(resolve));
    await storage.close();
    stalls.stop();
    logger.info({ member: idText(member.id) }, 'stopped');
  }
}

async function open(options: ServerOptions, undo: (() => Promise<void>)[]): Promise<Parts> {
  const { config, logger, onFatal } = options;
  const clock = new SystemClock();
  const prng = new Prng(hex(randomBytes(16)));
  const metrics = createMetrics({
    extensive: config.metrics === 'extensive',
    slowCall: {
      seconds: config.slowRequestMs / 1000,
      report: slowCallLog(clock, logger, config.slowRequestMs),
    },
  });
  let logBytes = 0;
  const storage = await openStorage(config, logger, {
    onLogSync: (seconds, bytes) => {
      metrics.observe('etcd_disk_wal_fsync_duration_seconds', seconds);
      logBytes += bytes;
    },
    onEngineCommit: (seconds) => metrics.observe('etcd_disk_backend_commit_duration_seconds', seconds),
    onImageSync: (seconds) => metrics.observe('etcd_snap_fsync_duration_seconds', seconds),
  });
  undo.push(() => storage.close());
  const tls = openTls(config, logger);
  const ask = (url: string) => fetchClusterInfo(url, { clock, tls: tls.peer });
  let start = await identify(config, storage.identity, ask, (text) => logger.warn(text));
  const { identity } = start;
  const parts = await storage.open(identity, config.name);
  await defragmentAtStart(parts, config.bootDefragBytes, logger);
  // Joining was cut short before the others had sent anything.
  if (start.founding.length === 0 && !start.joining && isUnfilled(parts.engine)) {
    start = await join(config, ask, identity);
  }
  const authPorts = await openAuthPorts(config.auth, memberLog(logger));
  const transport = await openTransport(options, { clock, prng, identity, storage: parts, tls, metrics });
  undo.push(() => new Promise((resolve) => transport.close(resolve)));
  const member = new Member({
    id: identity.memberId,
    clusterId: identity.clusterId,
    name: config.name,
    clientUrls: config.advertiseClientUrls,
    initialMembers: start.founding,
    ...(start.joining && { joining: start.joining }),
    forceNewCluster: config.membership.forceNewCluster,
    membership: {
      strictReconfigCheck: config.membership.strictReconfig,
      learnersMax: config.membership.maxLearners,
      // etcd leaves the cluster's token out of ids that are given at run time.
      memberIdOf: (peerUrls, unixSeconds) => memberIdOf(peerUrls, String(unixSeconds)),
      unixSeconds: () => Math.floor(Date.now() / 1000),
    },
    tokenTtlSeconds: config.auth.tokenTtlSeconds,
    heartbeatMs: config.heartbeatMs,
    electionMs: config.electionMs,
    quotaBytes: config.quotaBytes,
    watchProgressMs: config.watchProgressMs,
    slowApplyMs: config.slowApplyMs,
    observe: (what, value) => metrics.observe(OBSERVED[what], value),
    limits: {
      requestBytesMax: config.maxRequestBytes,
      proposalBatchBytesMax: Math.max(PROPOSAL_BATCH_BYTES, config.maxRequestBytes),
      txnOpsMax: config.maxTxnOps,
      logEntriesMax: config.snapshotCount,
      logCatchUpEntries: config.snapshotCatchUpEntries,
    },
    clock,
    prng: new Prng(hex(randomBytes(16))),
    engine: parts.engine,
    wal: parts.wal,
    walContents: parts.walContents,
    transport,
    snapshots: parts.snapshots,
    log: memberLog(logger),
    onFatal,
    onRemoved: options.onRemoved,
  });
  const stalls = new StallMonitor(clock, config.stallWarningMs, (stalledMs) =>
    logger.warn({ stalledMs: Math.round(stalledMs) }, 'the event loop stood still'),
  );
  undo.push(async () => stalls.stop());
  const api = new LocalApi(member, {
    version: ETCD_VERSION,
    storageVersion: ETCD_STORAGE_VERSION,
    quotaBytes: config.quotaBytes,
    upkeep: parts.upkeep,
    auth: authPorts,
  });
  const corruption = new CorruptionMonitor(member, {
    periodicMs: config.corruptCheckMs,
    compactionMs: config.compactHashCheckMs,
    log: memberLog(logger),
  });
  if (config.initialCorruptCheck) await checkCorruption(member, corruption, undo);
  const { quotaBytes } = config;
  metrics.addSource(
    memberMetrics({ member, engine: parts.engine, transport, quotaBytes, logBytes: () => logBytes }),
  );
  const gateway = await openGateway(options, { api, member, transport, clock, prng, stalls, metrics });
  const readiness = new ReadinessGate(gateway.listener);
  const health = (): 'serving' | 'notServing' => {
    // As etcd's learners, which answer next to nothing.
    if (member.isLearner) throw new KvError('LEARNER_UNSUPPORTED');
    return readiness.closed ? 'notServing' : 'serving';
  };
  const grpc = openGrpc(options, { api, clock, health, metrics });
  const port = await ClientPorts.open({
    config,
    door: { request: readiness.listener, upgrade: gateway.upgrade },
    grpc,
    tls: tls.client,
  });
  undo.push(() => port.close(0));
  const compactor = new AutoCompactor(
    config.autoCompaction,
    clock,
    {
      isLeader: () => member.isLeader,
      revision: () => member.machine.currentRevision,
      compact: async (revision) => void (await api.compact({ revision }, { internal: true })),
    },
    (error) => logger.warn({ error: error.message }, 'auto compaction failed'),
  );
  if (!config.initialCorruptCheck) member.start();
  corruption.start();
  const ids = { member: idText(identity.memberId), cluster: idText(identity.clusterId) };
  logger.info(
    { name: config.name, ...ids, dataDir: config.dataDir, version: MUSTER_VERSION },
    'member started',
  );
  return { storage, transport, member, gateway, readiness, port, compactor, corruption, stalls };
}

/** etcd's `--bootstrap-defrag-threshold-megabytes`; 0 bytes is never. */
async function defragmentAtStart(
  { engine, upkeep }: OpenParts,
  bytes: number,
  logger: Logger,
): Promise<void> {
  const { total, inUse } = engine.size();
  if (bytes === 0 || total - inUse < bytes) return;
  try {
    await upkeep.defragment();
    logger.info({ bytesBefore: total, bytesAfter: engine.size().total }, 'defragmented at the start');
  } catch (error) {
    logger.warn({ error: String(error) }, 'the defragmentation at the start failed');
  }
}

/** Before any client is let in. The others are asked over the member's own connections, so that it has to run. */
async function checkCorruption(
  member: Member,
  corruption: CorruptionMonitor,
  undo: (() => Promise<void>)[],
): Promise<void> {
  undo.push(() => new Promise((resolve) => member.stop(resolve)));
  member.start();
  try {
    await corruption.checkInitial();
  } catch (error) {
    throw new StartRefused(error instanceof KvError ? (error.detail ?? error.message) : String(error));
  }
}

const PROPOSAL_BATCH_BYTES = 4 * 1024 * 1024;

async function openTransport(
  { config, logger }: ServerOptions,
  parts: {
    readonly clock: SystemClock;
    readonly prng: Prng;
    readonly identity: Identity;
    readonly storage: OpenParts;
    readonly tls: TlsIdentities;
    readonly metrics: ReturnType<typeof createMetrics>;
  },
): Promise<TcpPeerTransport> {
  const listen = config.listenPeerUrls.map(peerBindAddress);
  try {
    return await TcpPeerTransport.listen({
      clusterId: parts.identity.clusterId,
      id: parts.identity.memberId,
      serverVersion: MUSTER_VERSION,
      listen,
      clock: parts.clock,
      prng: parts.prng,
      snapshots: parts.storage.snapshotFiles,
      ...(parts.tls.peer && { tls: parts.tls.peer }),
      onRoundTrip: (peer, ms) => parts.metrics.observeRoundTrip(idText(peer), ms / 1000),
      log: logger,
    });
  } catch (error) {
    const { address, port } = error as { address?: string; port?: number };
    throw bindRefusal(error, {
      host: address ?? listen[0]?.host ?? '',
      port: port ?? listen[0]?.port ?? 0,
    });
  }
}

async function openGateway(
  { config, logger }: ServerOptions,
  parts: {
    readonly api: LocalApi;
    readonly member: Member;
    readonly transport: TcpPeerTransport;
    readonly clock: SystemClock;
    readonly prng: Prng;
    readonly stalls: StallMonitor;
    readonly metrics: ReturnType<typeof createMetrics>;
  },
): Promise<Gateway> {
  const { api, member, transport, clock, prng, stalls, metrics } = parts;
  const limits = gatewayLimits(limitsOf(config));
  stalls.register(metrics.registry);
  metrics.identify({
    serverId: idText(member.id),
    serverVersion: ETCD_VERSION,
    clusterVersion: ETCD_CLUSTER_VERSION.replace(/\.\d+$/, ''),
    runtimeVersion: process.version,
  });
  const v1 = createV1({
    api,
    clock,
    prng,
    limits,
    log: logger,
    memberHealth: (id) => id === member.id || transport.connectedForMs(id) !== undefined,
  });
  return createGateway({
    api,
    authEnabled: () => api.authEnabled,
    concurrency: createConcurrency(api),
    clock,
    prng,
    limits,
    cors: config.cors,
    hostWhitelist: config.hostWhitelist,
    etcdJson: config.etcdJson,
    allowedOrigins: config.allowedOrigins,
    metrics,
    version: () => ({ server: ETCD_VERSION, cluster: ETCD_CLUSTER_VERSION, storage: ETCD_CLUSTER_VERSION }),
    staticFiles: await loadStatic(dashboardDirOf(config)),
    log: logger,
    v1,
  });
}

function openGrpc(
  { config, logger }: ServerOptions,
  parts: {
    readonly api: LocalApi;
    readonly clock: SystemClock;
    readonly health: () => 'serving' | 'notServing';
    readonly metrics: ReturnType<typeof createMetrics>;
  },
): GrpcServer {
  const { maxConcurrentStreams, keepAliveMinMs, keepAliveIntervalMs, keepAliveTimeoutMs } = config.grpc;
  return new GrpcServer({
    api: parts.api,
    concurrency: createConcurrency(parts.api),
    clock: parts.clock,
    health: parts.health,
    limits: {
      messageBytes: config.maxRequestBytes + ENVELOPE_BYTES,
      concurrentStreams: maxConcurrentStreams,
      keepAliveMinMs,
      keepAlivePingMs: keepAliveIntervalMs,
      keepAliveTimeoutMs,
    },
    observer: parts.metrics,
    log: logger,
  });
}

/** The gateway's limits out of the flags; those that no flag names follow from those that one does. */
export function limitsOf(config: Config): Partial<GatewayLimits> {
  const { gateway, maxRequestBytes, maxTxnOps } = config;
  const valueBytes = Math.min(maxRequestBytes, gateway.bodyBytes);
  return {
    ...gateway,
    valueBytes,
    keyBytes: Math.min(DEFAULT_LIMITS.keyBytes, valueBytes),
    outFrameBytes: Math.min(DEFAULT_LIMITS.outFrameBytes, gateway.bufferedBytes),
    txnOps: maxTxnOps,
  };
}
