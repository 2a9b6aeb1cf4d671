/** Where the gateway listens: HTTP/1.1 with WebSocket upgrades, plain and over TLS. */
import {
  createServer as createHttpServer,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { assert, deferred } from '@muster/base';
import { guardTls, type TlsIdentity } from '@muster/wire';
import { StartRefused } from './flags.ts';

type HttpPortOptions = {
  readonly urls: readonly string[];
  readonly request: (req: IncomingMessage, res: ServerResponse) => void;
  readonly upgrade: (req: IncomingMessage, socket: Duplex, head: Buffer) => void;
  /** For the https URLs. */
  readonly tls: TlsIdentity | undefined;
  readonly serverOptions: { readonly maxHeaderSize: number; readonly headersTimeout: number };
  /** Open connections, over all URLs. */
  readonly connections: number;
};

/** Idle connections are kept for reuse this long; load balancers close theirs after 60 s. */
const KEEP_ALIVE_MS = 75_000;
/** While closing, how often connections that have turned idle are closed. */
const SWEEP_MS = 10;

export class HttpPort {
  readonly #options: HttpPortOptions;
  readonly #servers: Server[] = [];
  readonly #sockets = new Set<Socket>();
  #closing = false;

  private constructor(options: HttpPortOptions) {
    this.#options = options;
  }

  /** Binds every URL, or none. Throws `StartRefused` for an address that is not to be had. */
  static async open(options: HttpPortOptions): Promise<HttpPort> {
    const port = new HttpPort(options);
    try {
      for (const url of options.urls) await port.#listen(url);
    } catch (error) {
      port.#destroy();
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

  /** Takes no more connections, answers what runs with `Connection: close`, and cuts the rest after `graceMs`. */
  async close(graceMs: number): Promise<void> {
    this.#closing = true;
    const closed = this.#servers.map((server) => {
      const done = deferred<void>();
      server.close(() => done.resolve());
      server.closeIdleConnections();
      return done.promise;
    });
    const cut = setTimeout(() => this.#destroy(), graceMs);
    // A connection whose request was running turns idle when it is answered, and Node then keeps it.
    const sweep = setInterval(() => {
      for (const server of this.#servers) server.closeIdleConnections();
    }, SWEEP_MS);
    await Promise.all(closed);
    clearTimeout(cut);
    clearInterval(sweep);
    this.#destroy();
  }

  #destroy(): void {
    for (const server of this.#servers) server.close();
    for (const socket of this.#sockets) socket.destroy();
  }

  async #listen(url: string): Promise<void> {
    const { hostname, port } = new URL(url);
    // `URL` leaves the port of the scheme itself out.
    const portNumber = Number(port || (url.startsWith('https:') ? 443 : 80));
    const host = hostname === 'localhost' ? '127.0.0.1' : hostname.replace(/^\[(.*)\]$/, '$1');
    const server = url.startsWith('https:') ? this.#tlsServer() : this.#plainServer();
    server.on('connection', (socket) => this.#admit(socket));
    server.on('request', (req, res) => {
      if (this.#closing) res.setHeader('Connection', 'close');
      this.#options.request(req, res);
    });
    server.on('upgrade', this.#options.upgrade);
    const bound = deferred<void>();
    server.once('error', (error: NodeJS.ErrnoException) => {
      bound.reject(new StartRefused(`listen ${url}: ${error.code ?? error.message}`));
    });
    server.listen({ host, port: portNumber }, () => bound.resolve());
    await bound.promise;
    this.#servers.push(server);
  }

  #plainServer(): Server {
    return createHttpServer(this.#httpOptions());
  }

  #tlsServer(): Server {
    const { tls } = this.#options;
    assert(tls !== undefined, 'an https URL has an identity');
    const server = createHttpsServer({
      ...this.#httpOptions(),
      ...tls.serverOptions,
      ALPNProtocols: ['http/1.1'],
    });
    const [serve] = server.listeners('secureConnection');
    assert(serve !== undefined, 'the server listens to secure connections');
    guardTls(server, tls, (socket) => void serve.call(server, socket));
    return server;
  }

  #httpOptions() {
    return {
      ...this.#options.serverOptions,
      // Bodies of watches stay open for as long as the watch: the gateway guards bodies itself.
      requestTimeout: 0,
      keepAliveTimeout: KEEP_ALIVE_MS,
      noDelay: true,
    };
  }

  #admit(socket: Socket): void {
    if (this.#closing || this.#sockets.size >= this.#options.connections) {
      socket.destroy();
      return;
    }
    this.#sockets.add(socket);
    socket.once('close', () => this.#sockets.delete(socket));
  }
}
