import { utf8 } from '@muster/base';
import type { ClientFrame, ServerFrame } from '@muster/contract';
import type { HttpRequest, HttpResponse, Socket, SocketHandlers, Transport } from '../src/core/transport.ts';

/** A socket whose other end is the test. */
export class FakeSocket implements Socket {
  readonly url: string;
  readonly sent: ClientFrame[] = [];
  closed: number | undefined;
  readonly #handlers: SocketHandlers;

  constructor(url: string, handlers: SocketHandlers) {
    this.url = url;
    this.#handlers = handlers;
  }

  get endpoint(): string {
    return this.url.replace(/^ws/, 'http').replace('/v1/watch', '');
  }

  send(text: string): void {
    this.sent.push(JSON.parse(text) as ClientFrame);
  }

  close(code = 1000): void {
    this.closed = code;
  }

  open(): void {
    this.#handlers.onOpen();
  }

  say(frame: ServerFrame): void {
    this.#handlers.onMessage(JSON.stringify(frame));
  }

  /** Opens and greets, as a healthy member does. */
  welcome(epoch = 'e1', rev = 1): void {
    this.open();
    const limits = { subs: 10, frameBytes: 1000, credit: 1000 };
    this.say({ t: 'welcome', v: 1, session: 's', epoch, rev, heartbeatMs: 15_000, limits });
  }

  /** The connection breaks. */
  lose(): void {
    this.#handlers.onClose(1006, '');
  }

  /** The subscriptions asked for on this socket. */
  get subs(): Extract<ClientFrame, { t: 'sub' }>[] {
    return this.sent.filter((frame) => frame.t === 'sub');
  }
}

export type Answer = {
  readonly status: number;
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
};

/** A network whose other end is the test. */
export class FakeTransport implements Transport {
  readonly sockets: FakeSocket[] = [];
  readonly requests: HttpRequest[] = [];
  /** Answers a request, or throws a `TransportError`. */
  respond: (request: HttpRequest) => Answer | Promise<Answer> = () => ({ status: 200, body: {} });

  get socket(): FakeSocket {
    const socket = this.sockets.at(-1);
    if (!socket) throw new Error('no socket was opened');
    return socket;
  }

  async request(request: HttpRequest): Promise<HttpResponse> {
    this.requests.push(request);
    const aborted = new Promise<never>((_resolve, reject) => {
      request.signal.addEventListener('abort', () => reject(new Error('aborted')), { once: true });
    });
    const { status, body, headers } = await Promise.race([this.respond(request), aborted]);
    return { status, body: utf8(JSON.stringify(body ?? {})), header: (name) => headers?.[name] };
  }

  openSocket(
    url: string,
    _protocols: readonly string[],
    _headers: Readonly<Record<string, string>>,
    handlers: SocketHandlers,
  ): Socket {
    const socket = new FakeSocket(url, handlers);
    this.sockets.push(socket);
    return socket;
  }

  async close(): Promise<void> {}
}

/** Lets everything that waits only for promises happen. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 5; i++) await new Promise((resolve) => setImmediate(resolve));
}
