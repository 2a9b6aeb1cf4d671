/** Wires the gateway out of its parts, and takes it down again in order. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { Prng } from '@muster/base';
import {
  createGateway,
  createMetrics,
  createV1,
  DEFAULT_LIMITS,
  type Gateway,
  type GatewayLimits,
  gatewayLimits,
} from '@muster/gateway';
import { NodeClock, TlsFilesRefused, TlsIdentity } from '@muster/wire';
import { type FlagValues, StartRefused } from './flags.ts';
import { HttpPort } from './http-port.ts';
import type { Logger } from './logger.ts';
import { Upstream } from './upstream.ts';

/** A look at one member, for the list of members. */
const PROBE_TIMEOUT_MS = 1_000;

type Parts = {
  readonly upstream: Upstream;
  readonly gateway: Gateway;
  readonly port: HttpPort;
  readonly shutdownMs: number;
  readonly beginStop: () => void;
};

/** A running gateway. */
export class GatewayServer {
  readonly #parts: Parts;

  private constructor(parts: Parts) {
    this.#parts = parts;
  }

  get addresses(): readonly string[] {
    return this.#parts.port.addresses;
  }

  /** Serves whether or not the cluster is there yet. Throws `StartRefused`. */
  static async start(values: FlagValues, log: Logger): Promise<GatewayServer> {
    const clock = new NodeClock();
    const upstream = new Upstream(values, clock, log);
    try {
      await upstream.start();
      return new GatewayServer(await open(values, log, clock, upstream));
    } catch (error) {
      upstream.close();
      throw error;
    }
  }

  /** `/readyz` fails, clients are told to go elsewhere, running requests are answered, then the cluster is left. */
  async stop(): Promise<void> {
    const { beginStop, gateway, port, upstream, shutdownMs } = this.#parts;
    beginStop();
    await Promise.all([gateway.drain(), port.close(shutdownMs)]);
    gateway.close();
    upstream.close();
  }
}

async function open(values: FlagValues, log: Logger, clock: NodeClock, upstream: Upstream): Promise<Parts> {
  const { api, concurrency } = upstream.remote;
  const limits = limitsOf(values);
  const prng = new Prng(crypto.randomUUID());
  const metrics = createMetrics({ member: false });
  const v1 = createV1({
    api,
    clock,
    prng,
    limits,
    log,
    probe: async (clientUrl) => {
      try {
        await upstream.remote.direct(clientUrl).status({ timeoutMs: PROBE_TIMEOUT_MS });
        return true;
      } catch {
        return false;
      }
    },
  });
  const gateway = createGateway({
    api,
    concurrency,
    clock,
    prng,
    limits,
    cors: values.cors,
    hostWhitelist: values['host-whitelist'],
    allowedOrigins: values['allowed-origins'],
    metrics,
    version: () => upstream.version,
    log,
    v1,
  });
  let stopping = false;
  const port = await HttpPort.open({
    urls: values['listen-urls'],
    request: (req, res) => {
      if (stopping && /^\/readyz(?:[/?]|$)/.test(req.url ?? '')) refuseReadiness(req, res);
      else gateway.listener(req, res);
    },
    upgrade: gateway.upgrade,
    tls: identityOf(values, log),
    serverOptions: gateway.serverOptions,
    connections: limits.connections,
  });
  metrics.addGauge('muster_gateway_connections', 'Open connections of callers.', () => port.connections);
  metrics.addGauge('muster_gateway_sockets', 'Open WebSockets under /v1.', () => v1.stats().sockets);
  metrics.addGauge('muster_gateway_streams', 'Open streams and held requests.', () => v1.stats().streams);
  metrics.addGauge('muster_gateway_cluster_reachable', 'Whether the cluster answered last: 1 or 0.', () =>
    Number(upstream.reachable),
  );
  const beginStop = () => {
    stopping = true;
  };
  return { upstream, gateway, port, shutdownMs: values['shutdown-timeout'], beginStop };
}

function refuseReadiness(_req: IncomingMessage, res: ServerResponse): void {
  res.writeHead(503, { 'Content-Type': 'text/plain; charset=utf-8' });
  res.end('[-]stopping failed: this gateway is stopping\n');
}

function limitsOf(values: FlagValues): GatewayLimits {
  const bodyBytes = values['max-request-bytes'] * 2;
  const valueBytes = values['max-request-bytes'];
  return gatewayLimits({
    bodyBytes,
    valueBytes,
    keyBytes: Math.min(DEFAULT_LIMITS.keyBytes, valueBytes),
    txnOps: values['max-txn-ops'],
    connections: values['max-connections'],
    sockets: values['max-sockets'],
    streams: values['max-streams'],
  });
}

function identityOf(values: FlagValues, log: Logger): TlsIdentity | undefined {
  if (!values['listen-urls'].some((url) => url.startsWith('https:'))) return undefined;
  const { 'cert-file': cert, 'key-file': key, 'trusted-ca-file': ca } = values;
  if (cert === '' || key === '') throw new StartRefused('https URLs take --cert-file and --key-file', 2);
  const requireCertificate = values['client-cert-auth'];
  if (requireCertificate && ca === '')
    throw new StartRefused('--client-cert-auth takes --trusted-ca-file', 2);
  try {
    return new TlsIdentity({
      name: 'client port',
      files: { cert, key, ...(ca === '' ? {} : { ca }) },
      policy: {
        requireCertificate,
        certificateNames: false,
        allowedNames: [],
        allowedHosts: [],
        cipherSuites: [],
        minVersion: 'TLSv1.2',
        maxVersion: undefined,
        trustAnyServer: false,
      },
      log,
    });
  } catch (error) {
    if (error instanceof TlsFilesRefused) throw new StartRefused(error.message);
    throw error;
  }
}
