/** etcd's JSON straight on node's HTTP: the fast way, with no framework between the socket and the call. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Clock } from '@muster/base';
import type { CallOptions } from '@muster/kv';
import type { BodyDeadline } from '../middleware/body-deadline.ts';
import type { RawHeaders } from '../middleware/cors.ts';
import { httpChunk } from '../outbox/framing.ts';
import { Outbox, Outboxes } from '../outbox/outbox.ts';
import {
  type CountedStream,
  type CountedUnary,
  callOptions,
  type EtcdJson,
  type Reply,
  withSource,
} from './etcd-json.ts';
import { resolveEtcd } from './resolve.ts';
import { errorBody, StatusError, streamErrorBody } from './status-error.ts';
import type { StreamCall, StreamOutput } from './stream.ts';

const JSON_TYPE: RawHeaders = ['Content-Type', 'application/json'];
const GRPC_TYPE: RawHeaders = [...JSON_TYPE, 'Grpc-Metadata-Content-Type', 'application/grpc'];
const TEXT_TYPE: RawHeaders = [
  'Content-Type',
  'text/plain; charset=utf-8',
  'X-Content-Type-Options',
  'nosniff',
];

type NodeDoorOptions = {
  readonly clock: Clock;
  readonly bodyDeadline: BodyDeadline;
  /** Bytes that may wait in one stream's socket. */
  readonly bufferedBytes: number;
};

export class NodeDoor {
  readonly #json: EtcdJson;
  readonly #options: NodeDoorOptions;
  readonly #outboxes: StreamOutboxes;

  constructor(json: EtcdJson, options: NodeDoorOptions) {
    this.#json = json;
    this.#options = options;
    this.#outboxes = { chunks: new Outboxes(options.clock, httpChunk), lines: new Outboxes(options.clock) };
  }

  /** Answers one request whose path `isEtcdPath`. `cors` are headers for every answer. */
  handle(req: IncomingMessage, res: ServerResponse, cors: RawHeaders): void {
    const resolved = resolveEtcd(this.#json, req.method as string, req.url as string);
    if (resolved.type === 'route') {
      if (resolved.route.type === 'unary') this.#unary(req, res, cors, resolved.route);
      else this.#stream(req, res, cors, resolved.route);
      return;
    }
    this.#options.bodyDeadline.add(req);
    req.once('close', () => this.#options.bodyDeadline.settle(req));
    const location = resolved.location === undefined ? [] : ['Location', resolved.location];
    send(res, resolved.status, [...cors, ...TEXT_TYPE, ...location], resolved.text);
  }

  #unary(req: IncomingMessage, res: ServerResponse, cors: RawHeaders, route: CountedUnary): void {
    const reply = ({ status, body }: Reply): void =>
      send(res, status, status === 200 ? [...cors, ...GRPC_TYPE] : [...cors, ...JSON_TYPE], body);
    readBody(req, this.#json.bodyBytes, this.#options.bodyDeadline, (error, body) => {
      if (error !== undefined) return tooLarge(res, cors, error);
      try {
        const said = callOptions((name) => headerOf(req, name));
        const options = route.wantsSource ? withSource(route, said, req.socket.remoteAddress) : said;
        this.#json.unary(route, body, route.blocks ? untilGone(res, options) : options).then(reply);
      } catch (thrown) {
        reply(this.#json.failure(thrown));
      }
    });
  }

  #stream(req: IncomingMessage, res: ServerResponse, cors: RawHeaders, route: CountedStream): void {
    const output = new NodeOutput(req, res, cors, this.#outboxes, this.#options);
    let call: StreamCall | undefined;
    try {
      call = this.#json.stream(
        route,
        output,
        callOptions((name) => headerOf(req, name)),
      );
    } catch (thrown) {
      output.refuse(StatusError.from(thrown));
    }
    if (call === undefined) return;
    const open = call;
    output.onRoom = () => open.room();
    req.on('data', (chunk: Buffer) => {
      if (!open.push(chunk, () => req.resume())) req.pause();
    });
    req.on('end', () => open.endInput());
    req.on('error', () => open.close());
    res.on('close', () => open.close());
  }
}

function untilGone(res: ServerResponse, options: CallOptions): CallOptions {
  const gone = new AbortController();
  res.once('close', () => gone.abort());
  if (res.destroyed) gone.abort();
  return { ...options, signal: gone.signal };
}

function headerOf(req: IncomingMessage, name: string): string | undefined {
  const value = req.headers[name];
  return Array.isArray(value) ? value[0] : value;
}

function send(res: ServerResponse, status: number, headers: RawHeaders, body: string): void {
  if (res.destroyed || res.headersSent) return;
  const length = Buffer.byteLength(body);
  res.writeHead(status, [...headers, 'Content-Length', String(length)]);
  // Nearly every body is ASCII, which goes out as it stands.
  res.end(body, length === body.length ? 'latin1' : 'utf8');
}

function tooLarge(res: ServerResponse, cors: RawHeaders, error: StatusError): void {
  // What still comes is dropped as it comes: ending the connection now could destroy the answer on its way.
  send(res, 413, [...cors, ...JSON_TYPE], errorBody(error));
}

/** The whole body as text. A body that is too large ends in an error, one that is too slow with its connection. */
function readBody(
  req: IncomingMessage,
  maxBytes: number,
  deadline: BodyDeadline,
  done: (error: StatusError | undefined, body: string) => void,
): void {
  let first: Buffer | undefined;
  let more: Buffer[] | undefined;
  let length = 0;
  deadline.add(req);
  const announced = Number(req.headers['content-length'] ?? 0);
  let refused = announced > maxBytes;
  if (refused) done(bodyTooLarge(announced, maxBytes), '');
  req.on('data', (chunk: Buffer) => {
    length += chunk.length;
    if (refused) return;
    if (length > maxBytes) {
      refused = true;
      first = more = undefined;
      done(bodyTooLarge(length, maxBytes), '');
    } else if (first === undefined) first = chunk;
    else (more ??= [first]).push(chunk);
  });
  req.on('end', () => {
    deadline.settle(req);
    if (refused) return;
    done(undefined, more === undefined ? (first?.toString() ?? '') : Buffer.concat(more, length).toString());
  });
  req.on('close', () => deadline.settle(req));
}

function bodyTooLarge(length: number, maxBytes: number): StatusError {
  return new StatusError(8, `grpc: received message larger than max (${length} vs. ${maxBytes})`);
}

type StreamOutboxes = {
  /** For sockets to which chunks may be written as they are. */
  readonly chunks: Outboxes;
  /** For responses that only node can write. */
  readonly lines: Outboxes;
};

/** One stream's response. Nothing is sent before the first line, as in etcd. */
class NodeOutput implements StreamOutput {
  readonly #req: IncomingMessage;
  readonly #res: ServerResponse;
  readonly #cors: RawHeaders;
  readonly #outboxes: StreamOutboxes;
  readonly #options: NodeDoorOptions;
  /** There is one as soon as the head is sent. */
  #outbox: Outbox | undefined;
  onRoom: () => void = () => {};

  constructor(
    req: IncomingMessage,
    res: ServerResponse,
    cors: RawHeaders,
    outboxes: StreamOutboxes,
    options: NodeDoorOptions,
  ) {
    this.#req = req;
    this.#res = res;
    this.#cors = cors;
    this.#outboxes = outboxes;
    this.#options = options;
  }

  line(line: Buffer): boolean {
    this.#outbox ??= this.#start();
    this.#outbox.push(line);
    return this.#outbox.hasRoom;
  }

  end(error?: StatusError): void {
    const res = this.#res;
    if (this.#outbox === undefined && error !== undefined) {
      send(res, error.http, [...this.#cors, ...JSON_TYPE], streamErrorBody(error));
      return this.#release();
    }
    this.#outbox?.flush();
    if (res.destroyed) return;
    if (this.#outbox === undefined) res.writeHead(200, [...this.#cors, ...JSON_TYPE]);
    res.end(error === undefined ? undefined : streamErrorBody(error));
    this.#release();
  }

  refuse(error: StatusError): void {
    send(this.#res, error.http, [...this.#cors, ...JSON_TYPE], errorBody(error));
    this.#release();
  }

  #start(): Outbox {
    const res = this.#res;
    res.writeHead(200, [...this.#cors, ...GRPC_TYPE]);
    res.flushHeaders();
    const options = { limitBytes: this.#options.bufferedBytes, onRoom: () => this.onRoom() };
    // A pipelined response has no socket yet, and HTTP/1.0 has no chunks: those go through node.
    const socket = res.chunkedEncoding ? res.socket : null;
    return socket === null
      ? new Outbox(this.#outboxes.lines, res, options)
      : new Outbox(this.#outboxes.chunks, socket, options);
  }

  /** The answer is complete; what the client still sends is read and dropped, for a while. */
  #release(): void {
    if (this.#req.complete) return;
    this.#options.bodyDeadline.add(this.#req);
    this.#req.once('close', () => this.#options.bodyDeadline.settle(this.#req));
    this.#req.resume();
  }
}
