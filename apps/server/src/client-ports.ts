/** Everything a member listens on for clients: the client URLs, and what HTTP and metrics have for themselves. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { TlsIdentity } from '@muster/wire';
import type { Config } from './config.ts';
import { type ClientDoor, ClientPort, type GrpcDoor } from './listen.ts';

type ClientPortsOptions = {
  readonly config: Config;
  readonly door: ClientDoor;
  readonly grpc: GrpcDoor;
  readonly tls: TlsIdentity | undefined;
};

/** What is answered on `--listen-metrics-urls`. */
const METRICS_PATH = /^\/(metrics|health|(livez|readyz)(\/[a-z_]+)?)(\?|$)/;

export class ClientPorts {
  readonly #ports: readonly ClientPort[];

  private constructor(ports: readonly ClientPort[]) {
    this.#ports = ports;
  }

  /** Binds every URL, or none. Throws `StartRefused`. */
  static async open({ config, door, grpc, tls }: ClientPortsOptions): Promise<ClientPorts> {
    const { listenClientUrls, listenClientHttpUrls, listenMetricsUrls } = config;
    const common = { tls, reusePort: config.socketReusePort, limits: config.gateway };
    const wanted = [
      { urls: listenClientUrls, door: listenClientHttpUrls.length === 0 ? door : undefined, grpc },
      { urls: listenClientHttpUrls, door, grpc: undefined },
      { urls: listenMetricsUrls, door: metricsDoor(door), grpc: undefined },
    ].filter(({ urls }) => urls.length > 0);
    const ports: ClientPort[] = [];
    try {
      for (const one of wanted) ports.push(await ClientPort.open({ ...common, ...one }));
    } catch (error) {
      for (const port of ports) port.destroy();
      throw error;
    }
    return new ClientPorts(ports);
  }

  /** Of every server, the client URLs' first. */
  get addresses(): readonly string[] {
    return this.#ports.flatMap((port) => port.addresses);
  }

  /** As `ClientPort.close`. */
  async close(graceMs: number): Promise<void> {
    await Promise.all(this.#ports.map((port) => port.close(graceMs)));
  }
}

function metricsDoor(door: ClientDoor): ClientDoor {
  return {
    request(req: IncomingMessage, res: ServerResponse) {
      if (METRICS_PATH.test(req.url ?? '')) return door.request(req, res);
      res.writeHead(404, ['Content-Type', 'text/plain; charset=utf-8', 'X-Content-Type-Options', 'nosniff']);
      res.end('404 page not found\n');
    },
    upgrade: (_, socket) => void socket.destroy(),
  };
}
