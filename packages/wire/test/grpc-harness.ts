/** A gRPC server over a store in memory, and a client of nothing but HTTP/2 frames. */
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect,
  createServer,
  type IncomingHttpHeaders,
} from 'node:http2';
import type { AddressInfo } from 'node:net';
import { type Clock, deferred } from '@muster/base';
import { type ConcurrencyApi, createConcurrency } from '@muster/kv';
import { StoreApi } from '../../gateway/test/store-api.ts';
import { NodeClock } from '../src/client/node-clock.ts';
import { type Codec, encodeFramed } from '../src/convert/codec.ts';
import type { Method } from '../src/convert/methods.ts';
import type { GrpcLimits } from '../src/grpc/grpc-limits.ts';
import { GrpcServer } from '../src/grpc/grpc-server.ts';
import type { GrpcObserver } from '../src/grpc/observer.ts';

type Options = {
  readonly limits?: Partial<GrpcLimits>;
  readonly health?: () => 'serving' | 'notServing';
  readonly observer?: GrpcObserver;
  /** Of the server alone; the store has the machine's. */
  readonly clock?: Clock;
  readonly api?: StoreApi;
  readonly concurrency?: (api: StoreApi) => ConcurrencyApi;
};

export type Rig = {
  readonly api: StoreApi;
  readonly server: GrpcServer;
  readonly session: ClientHttp2Session;
  readonly port: number;
  connect(): ClientHttp2Session;
  close(): Promise<void>;
};

export async function startGrpc(options: Options = {}): Promise<Rig> {
  const clock = new NodeClock();
  const api = options.api ?? new StoreApi(clock);
  const server = new GrpcServer({
    api,
    concurrency: (options.concurrency ?? createConcurrency)(api),
    clock: options.clock ?? clock,
    ...(options.limits === undefined ? {} : { limits: options.limits }),
    ...(options.health === undefined ? {} : { health: options.health }),
    ...(options.observer === undefined ? {} : { observer: options.observer }),
  });
  const http2 = createServer(server.http2Options);
  server.attach(http2);
  const listening = deferred<void>();
  http2.listen(0, '127.0.0.1', () => listening.resolve());
  await listening.promise;
  const { port } = http2.address() as AddressInfo;
  const sessions: ClientHttp2Session[] = [];
  const open = (): ClientHttp2Session => {
    const session = connect(`http://127.0.0.1:${port}`);
    session.on('error', () => {});
    sessions.push(session);
    return session;
  };
  return {
    api,
    server,
    session: open(),
    port,
    connect: open,
    async close() {
      for (const session of sessions) session.destroy();
      await server.close(0);
      await new Promise((resolve) => http2.close(resolve));
    },
  };
}

export type Answer = {
  readonly headers: IncomingHttpHeaders;
  /** Undefined when the answer was one frame of headers. */
  readonly trailers: IncomingHttpHeaders | undefined;
  readonly body: Buffer;
  readonly status: number;
  readonly text: string;
};

/** One call as it is on the wire. */
export class RawCall {
  readonly stream: ClientHttp2Stream;
  readonly answer: Promise<Answer>;
  #body = Buffer.alloc(0);
  #wanted: (() => void) | undefined;

  constructor(session: ClientHttp2Session, path: string, headers: Readonly<Record<string, string>> = {}) {
    this.stream = session.request({
      ':method': 'POST',
      ':path': path,
      'content-type': 'application/grpc',
      te: 'trailers',
      ...headers,
    });
    const answered = deferred<Answer>();
    this.answer = answered.promise;
    this.answer.catch(() => {});
    let head: IncomingHttpHeaders = {};
    let trailers: IncomingHttpHeaders | undefined;
    this.stream.on('response', (fields) => (head = fields));
    this.stream.on('trailers', (fields) => (trailers = fields));
    this.stream.on('data', (chunk: Buffer) => {
      this.#body = Buffer.concat([this.#body, chunk]);
      this.#wanted?.();
    });
    this.stream.on('error', (error) => answered.reject(error));
    this.stream.on('close', () => {
      const end = trailers ?? head;
      answered.resolve({
        headers: head,
        trailers,
        body: this.#body,
        status: Number(end['grpc-status']),
        text: decodeURIComponent(String(end['grpc-message'] ?? '')),
      });
      this.#wanted?.();
    });
  }

  send<T>(codec: Codec<T>, value: T): void {
    this.stream.write(encodeFramed(codec, value));
  }

  /** The next message of the answer. */
  async next<T>(codec: Codec<T>): Promise<T> {
    for (;;) {
      const length = this.#body.length < 5 ? undefined : this.#body.readUInt32BE(1);
      if (length !== undefined && this.#body.length >= 5 + length) {
        const message = Uint8Array.from(this.#body.subarray(5, 5 + length));
        this.#body = this.#body.subarray(5 + length);
        return codec.read(message);
      }
      if (this.stream.destroyed) throw new Error('the stream ended before a message');
      const wanted = deferred<void>();
      this.#wanted = () => wanted.resolve();
      await wanted.promise;
    }
  }
}

/** A call with one request whose body is `body`, prefix and all. */
export function exchange(
  session: ClientHttp2Session,
  path: string,
  body: Uint8Array,
  headers: Readonly<Record<string, string>> = {},
): Promise<Answer> {
  const call = new RawCall(session, path, headers);
  call.stream.end(body);
  return call.answer;
}

export async function unary<Request, Response>(
  session: ClientHttp2Session,
  method: Method<Request, Response>,
  request: Request,
  headers: Readonly<Record<string, string>> = {},
): Promise<Answer & { readonly message: Response | undefined }> {
  const answer = await exchange(session, method.path, encodeFramed(method.request, request), headers);
  const message =
    answer.body.length === 0 ? undefined : method.response.read(Uint8Array.from(answer.body.subarray(5)));
  return { ...answer, message };
}
