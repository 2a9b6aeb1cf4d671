/**
 * WebSocket on every path of etcd's JSON: each message is a piece of the request body followed by a newline, each line
 * of the answer a text frame. The call is always a POST, unary ones included.
 */

import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import type { CallOptions } from '@muster/kv';
import type { WebSocket } from 'ws';
import { type CountedUnary, type EtcdJson, withoutScheme, withSource } from '../etcd-json/etcd-json.ts';
import { JsonScanner } from '../etcd-json/json-scanner.ts';
import { errorBody, StatusError, streamErrorBody } from '../etcd-json/status-error.ts';
import type { StreamCall, StreamOutput } from '../etcd-json/stream.ts';
import { Outbox, type Outboxes } from '../outbox/outbox.ts';

const NEWLINE = Buffer.from('\n');
/** The protocol that carries a credential: `Bearer, <token>`. */
export const BEARER_PROTOCOL = 'Bearer';

/** Where the handshake carries the credential. The cookie wins, as in etcd. */
type SocketCredential = { readonly protocol: string | undefined; readonly cookie: string | undefined };

export function socketOptions({ protocol, cookie }: SocketCredential): CallOptions {
  const fromCookie = /(?:^|;\s*)token=([^;]*)/.exec(cookie ?? '')?.[1];
  if (fromCookie !== undefined) return { token: fromCookie };
  if (protocol === undefined) return {};
  const [scheme, token] = protocol.split(',').map((part) => part.trim());
  return { token: scheme === BEARER_PROTOCOL ? withoutScheme(token ?? '') : '' };
}

/** What the sockets of a gateway have in common. */
export type EtcdSocketDeps = {
  readonly json: EtcdJson;
  /** With `lineFrames`. */
  readonly outboxes: Outboxes;
  /** Bytes that may wait in one stream's socket. */
  readonly bufferedBytes: number;
};

/** Serves one open socket, which came with `request`. `path` has no query. */
export function serveEtcdSocket(
  deps: EtcdSocketDeps,
  ws: WebSocket,
  request: IncomingMessage,
  path: string,
): void {
  const { json } = deps;
  const options = socketOptions({
    protocol: request.headers['sec-websocket-protocol'],
    cookie: request.headers.cookie,
  });
  // Faults of the protocol (bad frames, too large ones) close this socket and nothing else.
  ws.on('error', () => ws.terminate());
  const route = json.route(path);
  if (route === undefined) return sendLast(ws, Buffer.from('Not Found'));
  if (route.type === 'unary') {
    return serveUnary(json, ws, route, withSource(route, options, request.socket.remoteAddress));
  }
  const output = new SocketOutput(ws, request.socket, deps);
  const call = json.stream(route, output, options);
  if (call === undefined) return;
  output.call = call;
  ws.on('message', (data) => {
    const ready = call.push(Buffer.concat([toBuffer(data), NEWLINE]), () => ws.resume());
    if (!ready) ws.pause();
  });
  ws.on('close', () => call.close());
}

type RawData = Buffer | ArrayBuffer | Buffer[];

function toBuffer(data: RawData): Buffer {
  if (Array.isArray(data)) return Buffer.concat(data);
  return Buffer.isBuffer(data) ? data : Buffer.from(data);
}

/** Answers the first value that arrives, then hangs up. */
function serveUnary(json: EtcdJson, ws: WebSocket, route: CountedUnary, options: CallOptions): void {
  const scanner = new JsonScanner();
  const decoder = new TextDecoder();
  let text = '';
  let answered = false;
  ws.on('message', (data) => {
    if (answered) return;
    const from = text.length;
    text += decoder.decode(Buffer.concat([toBuffer(data), NEWLINE]), { stream: true });
    const found = scanner.scan(text, from);
    if (found.type === 'more' && text.length <= json.bodyBytes) return;
    answered = true;
    if (found.type === 'more') {
      const reason = `grpc: received message larger than max (${text.length} vs. ${json.bodyBytes})`;
      return sendLast(ws, Buffer.from(errorBody(new StatusError(8, reason))));
    }
    const gone = new AbortController();
    ws.on('close', () => gone.abort());
    json
      .unary(route, text, route.blocks ? { ...options, signal: gone.signal } : options)
      .then((reply) => sendLast(ws, Buffer.from(reply.body)));
  });
}

/** Sends one frame and drops the connection, without a closing handshake, as etcd's proxy does. */
function sendLast(ws: WebSocket, frame: Buffer): void {
  ws.send(frame, { binary: false }, () => ws.terminate());
}

class SocketOutput implements StreamOutput {
  readonly #ws: WebSocket;
  readonly #outbox: Outbox;
  call: StreamCall | undefined;

  constructor(ws: WebSocket, socket: Socket, { outboxes, bufferedBytes }: EtcdSocketDeps) {
    this.#ws = ws;
    this.#outbox = new Outbox(outboxes, socket, {
      limitBytes: bufferedBytes,
      onRoom: () => this.call?.room(),
      isOpen: () => ws.readyState === ws.OPEN,
    });
  }

  line(line: Buffer): boolean {
    this.#outbox.push(line);
    return this.#outbox.hasRoom;
  }

  end(error?: StatusError): void {
    this.#outbox.flush();
    if (error === undefined) this.#ws.terminate();
    else sendLast(this.#ws, Buffer.from(streamErrorBody(error)));
  }

  refuse(error: StatusError): void {
    sendLast(this.#ws, Buffer.from(errorBody(error)));
  }
}
