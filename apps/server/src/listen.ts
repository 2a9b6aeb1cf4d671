/** The client port: HTTP/1.1 with WebSocket upgrades, on every listen URL. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { deferred } from '@muster/base';
import { StartRefused } from './command-line.ts';

/** What answers on the port. */
export type ClientDoor = {
  request(req: IncomingMessage, res: ServerResponse): void;
  upgrade(req: IncomingMessage, socket: Duplex, head: Buffer): void;
};

type ListenOptions = {
  readonly urls: readonly string[];
  readonly door: ClientDoor;
  readonly limits: {
    readonly headerBytes: number;
    readonly headersTimeoutMs: number;
    /** Open TCP connections, over all URLs. */
    readonly connections: number;
  };
};

/** Idle connections are kept for reuse this long; load balancers close theirs after 60 s. */
const KEEP_ALIVE_MS = 75_000;
/** How often Node looks for connections whose headers are late. */
const CHECK_MS = 1000;
/** While closing, how often connections that have turned idle are closed. */
const SWEEP_MS = 10;

/** Servers that share one door and one budget of connections. */
export class ClientPort {
  readonly #servers: Server[] = [];
  readonly #sockets = new Set<Socket>();
  readonly #options: ListenOptions;
  #closing = false;

  private constructor(options: ListenOptions) {
    this.#options = options;
  }

  /** Binds every URL, or none. Throws `StartRefused` with etcd's sentence for a port in use. */
  static async open(options: ListenOptions): Promise<ClientPort> {
    const port = new ClientPort(options);
    try {
      for (const url of options.urls) await port.#listen(url);
    } catch (error) {
      port.destroy();
      throw error;
    }
    return port;
  }

  /** `host:port` of every server, in the order of the URLs. */
  get addresses(): readonly string[] {
    return this.#servers.map((server) => {
      const address = server.address();
      return typeof address === 'object' && address !== null ? `${address.address}:${address.port}` : '';
    });
  }

  get connections(): number {
    return this.#sockets.size;
  }

  /**
   * Takes no more connections, closes idle ones, and waits for the rest for `graceMs`; then cuts them. Running
   * requests are answered with `Connection: close`.
   */
  async close(graceMs: number): Promise<void> {
    this.#closing = true;
    const closed = this.#servers.map((server) => {
      const done = deferred<void>();
      server.close(() => done.resolve());
      server.closeIdleConnections();
      return done.promise;
    });
    const cut = setTimeout(() => this.destroy(), graceMs);
    // A connection whose request was running turns idle when it is answered, and Node then keeps it.
    const sweep = setInterval(() => {
      for (const server of this.#servers) server.closeIdleConnections();
    }, SWEEP_MS);
    await Promise.all(closed);
    clearTimeout(cut);
    clearInterval(sweep);
    this.destroy();
  }

  /** Cuts every connection, upgraded ones too. */
  destroy(): void {
    for (const server of this.#servers) server.close();
    for (const socket of this.#sockets) socket.destroy();
  }

  async #listen(url: string): Promise<void> {
    const { host, port } = bindAddress(url);
    const { limits, door } = this.#options;
    const server = createServer({
      maxHeaderSize: limits.headerBytes,
      headersTimeout: limits.headersTimeoutMs,
      // Bodies of watches stay open for as long as the watch: the gateway guards bodies itself.
      requestTimeout: 0,
      keepAliveTimeout: KEEP_ALIVE_MS,
      connectionsCheckingInterval: Math.min(CHECK_MS, limits.headersTimeoutMs),
      noDelay: true,
    });
    server.on('request', (req, res) => {
      if (this.#closing) res.setHeader('Connection', 'close');
      door.request(req, res);
    });
    server.on('upgrade', (req, socket, head) => door.upgrade(req, socket, head));
    server.on('connection', (socket) => this.#admit(socket));
    server.on('clientError', (error, socket) => refuseBadRequest(error, socket));
    const bound = deferred<void>();
    server.once('error', (error) => bound.reject(bindRefusal(error, host, port)));
    server.listen({ host, port }, () => bound.resolve());
    await bound.promise;
    this.#servers.push(server);
  }

  #admit(socket: Socket): void {
    if (this.#closing || this.#sockets.size >= this.#options.limits.connections) {
      socket.destroy();
      return;
    }
    this.#sockets.add(socket);
    socket.once('close', () => this.#sockets.delete(socket));
  }
}

/** Where to bind for a URL. `localhost` is the IPv4 loopback, as etcd binds it. */
export function bindAddress(url: string): { readonly host: string; readonly port: number } {
  const match = /^[^:]*:\/\/(.*):(\d+)$/.exec(url);
  const host = (match?.[1] ?? '').replace(/^\[(.*)\]$/, '$1');
  return { host: host === 'localhost' ? '127.0.0.1' : host, port: Number(match?.[2]) };
}

/** Why an address cannot be bound, in etcd's words where it has some. */
export function bindRefusal(error: unknown, host: string, port: number): unknown {
  const code = (error as NodeJS.ErrnoException).code;
  const reason =
    code === 'EADDRINUSE'
      ? 'address already in use'
      : code === 'EACCES'
        ? 'permission denied'
        : code === 'EADDRNOTAVAIL'
          ? 'cannot assign requested address'
          : undefined;
  if (reason === undefined) return error;
  const address = host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
  return new StartRefused(`listen tcp ${address}: bind: ${reason}`);
}

const STATUS_OF: Readonly<Record<string, string>> = {
  HPE_HEADER_OVERFLOW: '431 Request Header Fields Too Large',
  ERR_HTTP_REQUEST_TIMEOUT: '408 Request Timeout',
};

function refuseBadRequest(error: NodeJS.ErrnoException, socket: Duplex): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy();
    return;
  }
  const status = STATUS_OF[error.code ?? ''] ?? '400 Bad Request';
  const text = `${status.slice(4)}\n`;
  const head = `HTTP/1.1 ${status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: ${text.length}\r\n`;
  socket.end(`${head}Connection: close\r\n\r\n${text}`);
}
