import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Clock } from '@muster/base';
import { type WebSocket, WebSocketServer } from 'ws';
import type { EtcdJson } from '../etcd-json/etcd-json.ts';
import { etcdSocketPath } from '../etcd-json/resolve.ts';
import type { GatewayLimits } from '../limits.ts';
import type { CommonNameCheck } from '../middleware/common-name.ts';
import type { HostCheck } from '../middleware/host-whitelist.ts';
import { isOriginAllowed } from '../middleware/origin.ts';
import { isEncrypted } from '../middleware/source.ts';
import { lineFrames } from '../outbox/framing.ts';
import { Outboxes } from '../outbox/outbox.ts';
import type { SocketRoute } from '../v1/index.ts';
import { BEARER_PROTOCOL, type EtcdSocketDeps, serveEtcdSocket } from './etcd-ws.ts';

type SocketServerDeps = {
  readonly clock: Clock;
  readonly json: EtcdJson;
  /** Whether etcd's paths are served. */
  readonly etcdJson: boolean;
  readonly limits: GatewayLimits;
  readonly checkHost: HostCheck;
  readonly checkName: CommonNameCheck;
  readonly allowedOrigins: readonly string[];
  readonly routes: readonly SocketRoute[];
  readonly log: { debug(fields: object, message: string): void };
};

/** Upgrades: who may open a socket, how many there may be, and which handler a path belongs to. */
export class SocketServer {
  readonly #deps: SocketServerDeps;
  readonly #routes: ReadonlyMap<string, SocketRoute>;
  readonly #etcd: WebSocketServer;
  readonly #etcdDeps: EtcdSocketDeps;
  readonly #own: WebSocketServer;
  readonly #sockets = new Set<WebSocket>();
  #draining = false;

  constructor(deps: SocketServerDeps) {
    this.#deps = deps;
    this.#routes = new Map(deps.routes.map((route) => [route.path, route]));
    const { bodyBytes, frameBytes, bufferedBytes } = deps.limits;
    this.#etcdDeps = { json: deps.json, outboxes: new Outboxes(deps.clock, lineFrames), bufferedBytes };
    // A message on etcd's paths is a request body.
    this.#etcd = webSocketServer(bodyBytes, (offered) =>
      offered.has(BEARER_PROTOCOL) ? BEARER_PROTOCOL : false,
    );
    this.#own = webSocketServer(frameBytes, (offered, request) => {
      const protocols = this.#routes.get(pathOf(request))?.protocols ?? [];
      return protocols.find((protocol) => offered.has(protocol)) ?? false;
    });
  }

  upgrade(req: IncomingMessage, socket: Duplex, head: Buffer): void {
    // A client that is gone before its answer is no fault.
    socket.on('error', () => socket.destroy());
    const etcdPath = this.#deps.etcdJson ? etcdSocketPath(req.url ?? '') : undefined;
    const route = this.#routes.get(pathOf(req));
    const known = etcdPath !== undefined || route !== undefined;
    const refusal = this.#refusal(req, known) ?? (etcdPath === undefined ? undefined : this.#named(req));
    if (refusal !== undefined) {
      this.#deps.log.debug({ url: req.url, origin: req.headers.origin, ...refusal }, 'socket refused');
      return refuse(socket, refusal);
    }
    if (etcdPath !== undefined) {
      this.#etcd.handleUpgrade(req, socket, head, (ws) => this.#acceptEtcd(ws, req, etcdPath));
    } else if (route !== undefined) {
      this.#own.handleUpgrade(req, socket, head, (ws) => this.#acceptOwn(ws, req, route));
    }
  }

  /** No more sockets; those of etcd's paths end with their streams, the others by their own handler. */
  drain(): void {
    this.#draining = true;
  }

  close(): void {
    for (const ws of this.#sockets) ws.terminate();
  }

  #refusal(req: IncomingMessage, known: boolean): Refusal | undefined {
    const { limits, checkHost, allowedOrigins } = this.#deps;
    const misdirected = checkHost(req.headers.host, isEncrypted(req.socket));
    if (misdirected !== undefined) return { status: '421 Misdirected Request', text: misdirected };
    if (!known) return { status: '404 Not Found', text: '404 page not found\n' };
    const { origin, host } = req.headers;
    if (!isOriginAllowed(origin, host, allowedOrigins)) {
      const text = `origin ${JSON.stringify(origin)} may not open sockets here (see the allowed origins)\n`;
      return { status: '403 Forbidden', text };
    }
    if (this.#draining) return { status: '503 Service Unavailable', text: 'the server is stopping\n' };
    if (this.#sockets.size >= limits.sockets) {
      return {
        status: '503 Service Unavailable',
        text: `${limits.sockets} sockets are open: no more are taken\n`,
      };
    }
    return undefined;
  }

  #named(req: IncomingMessage): Refusal | undefined {
    const text = this.#deps.checkName(req.socket);
    return text === undefined ? undefined : { status: '400 Bad Request', text };
  }

  #acceptEtcd(ws: WebSocket, req: IncomingMessage, path: string): void {
    this.#track(ws);
    serveEtcdSocket(this.#etcdDeps, ws, req, path);
  }

  #acceptOwn(ws: WebSocket, req: IncomingMessage, route: SocketRoute): void {
    this.#track(ws);
    route.accept(ws, req, new URL(req.url ?? '/', 'http://localhost'));
  }

  #track(ws: WebSocket): void {
    this.#sockets.add(ws);
    ws.on('close', () => this.#sockets.delete(ws));
  }
}

function webSocketServer(
  maxPayload: number,
  handleProtocols: (offered: Set<string>, request: IncomingMessage) => string | false,
): WebSocketServer {
  return new WebSocketServer({
    noServer: true,
    clientTracking: false,
    perMessageDeflate: false,
    maxPayload,
    handleProtocols,
  });
}

function pathOf(req: IncomingMessage): string {
  const url = req.url ?? '';
  const query = url.indexOf('?');
  return query < 0 ? url : url.slice(0, query);
}

type Refusal = { readonly status: string; readonly text: string };

/** Retry-After is for the two reasons that pass. */
function refuse(socket: Duplex, { status, text }: Refusal): void {
  const retry = status.startsWith('503') ? 'Retry-After: 1\r\n' : '';
  socket.end(
    `HTTP/1.1 ${status}\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n${retry}` +
      `Content-Length: ${Buffer.byteLength(text)}\r\n\r\n${text}`,
  );
}
