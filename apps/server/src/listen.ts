/** The client port: gRPC, HTTP/1.1 and HTTP/2 with WebSocket upgrades on every listen URL, plain or over TLS. */
import { lstatSync, unlinkSync } from 'node:fs';
import {
  createServer as createHttpServer,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http';
import {
  createServer as createHttp2Server,
  type Http2Server,
  type ServerHttp2Session,
  type ServerOptions,
} from 'node:http2';
import { createServer as createHttpsServer } from 'node:https';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import { assert, deferred } from '@muster/base';
import { guardTls, type TlsIdentity } from '@muster/wire';
import { type BindAddress, bindAddress, bindRefusal } from './bind.ts';
import { openHttp2 } from './http2-opening.ts';
import { serveHttp2Requests } from './http2-requests.ts';
import { sniff } from './sniff.ts';

/** What answers HTTP on the port. */
export type ClientDoor = {
  request(req: IncomingMessage, res: ServerResponse): void;
  upgrade(req: IncomingMessage, socket: Duplex, head: Buffer): void;
};

/** What answers gRPC on the port: it takes the streams whose content type is gRPC's, and leaves the others alone. */
export type GrpcDoor = {
  readonly http2Options: ServerOptions;
  attach(server: Http2Server): void;
  /** Tells clients to go elsewhere, lets calls finish and ends streams. */
  close(graceMs: number): Promise<void>;
};

type ListenOptions = {
  readonly urls: readonly string[];
  /** Without one, nothing but gRPC is answered. */
  readonly door: ClientDoor | undefined;
  /** Without one, nothing but HTTP is answered. */
  readonly grpc: GrpcDoor | undefined;
  /** For the URLs with https and unixs; there must be one when there are such. */
  readonly tls: TlsIdentity | undefined;
  /** Other processes may bind the same addresses; the kernel spreads connections among them. */
  readonly reusePort?: boolean;
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
  readonly #http2: Http2Server;
  readonly #sessions = new Set<ServerHttp2Session>();
  readonly #sockets = new Set<Socket>();
  /** Those of them that have not said yet what they speak. */
  readonly #undecided = new Set<Socket>();
  readonly #options: ListenOptions;
  #closing = false;

  private constructor(options: ListenOptions) {
    this.#options = options;
    this.#http2 = this.#createHttp2();
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

  /** `host:port`, or the path of a Unix socket, of every server, in the order of the URLs. */
  get addresses(): readonly string[] {
    return this.#servers.map((server) => {
      const address = server.address();
      if (typeof address === 'string') return address;
      return address === null ? '' : `${address.address}:${address.port}`;
    });
  }

  get connections(): number {
    return this.#sockets.size;
  }

  /**
   * Takes no more connections, closes idle ones, and waits for the rest for `graceMs`; then cuts them. Running
   * requests are answered with `Connection: close`; over HTTP/2, after a GOAWAY.
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
    const grpc = this.#options.grpc?.close(graceMs);
    for (const session of this.#sessions) session.close();
    for (const socket of this.#undecided) socket.destroy();
    await Promise.all([...closed, grpc]);
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
    const address = bindAddress(url);
    const server =
      url.startsWith('https:') || url.startsWith('unixs:') ? this.#tlsServer() : this.#plainServer();
    const { door } = this.#options;
    server.on('request', (req, res) => {
      if (door === undefined) return void req.socket.destroy();
      if (this.#closing) res.setHeader('Connection', 'close');
      door.request(req, res);
    });
    server.on('upgrade', (req, socket, head) => {
      if (door === undefined) socket.destroy();
      else door.upgrade(req, socket, head);
    });
    server.on('clientError', (error, socket) => refuseBadRequest(error, socket));
    await bind(server, address, this.#options.reusePort ?? false);
    this.#servers.push(server);
  }

  #httpOptions() {
    const { limits } = this.#options;
    return {
      maxHeaderSize: limits.headerBytes,
      headersTimeout: limits.headersTimeoutMs,
      // Bodies of watches stay open for as long as the watch: the gateway guards bodies itself.
      requestTimeout: 0,
      keepAliveTimeout: KEEP_ALIVE_MS,
      connectionsCheckingInterval: Math.min(CHECK_MS, limits.headersTimeoutMs),
      noDelay: true,
    };
  }

  /** HTTP/1.1 as Node serves it, after a look at what comes first. */
  #plainServer(): Server {
    const server = createHttpServer(this.#httpOptions());
    const serveHttp1 = takeListener(server, 'connection');
    server.on('connection', (socket: Socket) => {
      if (!this.#admit(socket)) return;
      this.#undecided.add(socket);
      socket.once('close', () => this.#undecided.delete(socket));
      const { headersTimeoutMs } = this.#options.limits;
      sniff(socket, headersTimeoutMs, (what) => {
        if (what === 'http2') return this.#openHttp2Connection(socket);
        this.#undecided.delete(socket);
        if (what === 'http1') serveHttp1(socket);
        else refuseBadRequest(Object.assign(new Error('late'), { code: 'ERR_HTTP_REQUEST_TIMEOUT' }), socket);
      });
    });
    return server;
  }

  #openHttp2Connection(socket: Socket): void {
    openHttp2(socket, this.#options.limits.headersTimeoutMs, (ready) => {
      this.#undecided.delete(socket);
      if (ready) this.#http2.emit('connection', socket);
      else socket.destroy();
    });
  }

  /** The same with the question left to ALPN; who does not take part in that speaks HTTP/1.1. */
  #tlsServer(): Server {
    const { tls, limits } = this.#options;
    assert(tls !== undefined, 'a URL with TLS has an identity');
    const server = createHttpsServer({
      ...this.#httpOptions(),
      ...tls.serverOptions,
      ALPNProtocols: ['h2', 'http/1.1'],
      handshakeTimeout: limits.headersTimeoutMs,
    });
    const shakeHands = takeListener(server, 'connection');
    server.on('connection', (socket: Socket) => {
      if (this.#admit(socket)) shakeHands(socket);
    });
    const serveHttp1 = takeListener(server, 'secureConnection');
    guardTls(server, tls, (socket: TLSSocket) => {
      if (socket.alpnProtocol === 'h2') this.#http2.emit('connection', socket);
      else serveHttp1(socket);
    });
    return server;
  }

  /** Listens nowhere: it is handed the connections that speak HTTP/2. */
  #createHttp2(): Http2Server {
    const { grpc, door } = this.#options;
    const server = createHttp2Server({ ...grpc?.http2Options });
    server.on('session', (session) => {
      this.#sessions.add(session);
      session.once('close', () => this.#sessions.delete(session));
      session.on('error', () => {});
      if (this.#closing) session.close();
    });
    serveHttp2Requests(server, door?.request.bind(door), grpc !== undefined);
    grpc?.attach(server);
    return server;
  }

  #admit(socket: Socket): boolean {
    if (this.#closing || this.#sockets.size >= this.#options.limits.connections) {
      socket.destroy();
      return false;
    }
    this.#sockets.add(socket);
    socket.once('close', () => this.#sockets.delete(socket));
    return true;
  }
}

/** Takes a server's own listener away, for a stand-in that calls it. */
function takeListener(server: Server, event: string): (socket: Socket) => void {
  const [listener] = server.listeners(event);
  assert(listener !== undefined, () => `the server listens to ${event}`);
  server.removeAllListeners(event);
  return (socket) => void listener.call(server, socket);
}

async function bind(server: Server, address: BindAddress, reusePort: boolean): Promise<void> {
  const bound = deferred<void>();
  server.once('error', (error) => bound.reject(bindRefusal(error, address)));
  if ('path' in address) {
    removeStaleSocket(address.path);
    server.listen({ path: address.path }, () => bound.resolve());
  } else {
    server.listen({ ...address, reusePort }, () => bound.resolve());
  }
  await bound.promise;
}

/** What a process that was killed left behind would keep its successor from binding; etcd removes it too. */
function removeStaleSocket(path: string): void {
  if (lstatSync(path, { throwIfNoEntry: false })?.isSocket()) unlinkSync(path);
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
