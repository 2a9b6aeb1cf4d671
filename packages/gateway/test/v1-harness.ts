/** `/v1` over a store in memory, for tests. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { getRequestListener } from '@hono/node-server';
import { type Clock, Prng } from '@muster/base';
import type { ServerFrame } from '@muster/contract';
import type { EtcdApi, WatchLimits } from '@muster/kv';
import { WebSocket, WebSocketServer } from 'ws';
import { RealClock } from '../../../test/support/real-clock.ts';
import { type GatewayLimits, gatewayLimits } from '../src/limits.ts';
import { createV1, type V1, type V1Deps } from '../src/v1/index.ts';
import { AnswerCheck } from './answer-check.ts';
import { StoreApi } from './store-api.ts';

export type TestV1 = {
  readonly v1: V1;
  readonly api: StoreApi;
  /** One request; a relative path. */
  ask(path: string, init?: RequestInit): Promise<Response>;
};

export type TestOptions = {
  readonly clock?: Clock;
  readonly limits?: Partial<GatewayLimits>;
  readonly watchLimits?: Partial<WatchLimits>;
  readonly deps?: Partial<V1Deps>;
  /** What stands between the gateway and the store. */
  readonly wrap?: (api: StoreApi) => EtcdApi;
};

export function testV1(options: TestOptions = {}): TestV1 {
  const clock = options.clock ?? new RealClock();
  const api = new StoreApi(clock, options.watchLimits);
  const v1 = createV1({
    api: options.wrap?.(api) ?? api,
    clock,
    prng: new Prng('v1 test'),
    limits: gatewayLimits(options.limits),
    log: { debug() {}, info() {}, warn: (fields, message) => console.error(message, fields) },
    memberHealth: () => true,
    ...options.deps,
  });
  const check = new AnswerCheck(v1.document);
  const ask = async (path: string, init?: RequestInit): Promise<Response> => {
    const response = await v1.app.request(`http://test${path}`, init);
    await check.check(init?.method ?? 'GET', path, response);
    return response;
  };
  return { v1, api, ask };
}

export async function json<T = Record<string, unknown>>(response: Response | Promise<Response>): Promise<T> {
  return (await (await response).json()) as T;
}

export const putJson = (
  body: unknown,
  method = 'PUT',
  headers: Record<string, string> = {},
): RequestInit => ({
  method,
  body: JSON.stringify(body),
  headers: { 'content-type': 'application/json', ...headers },
});

const PORTS = { low: 21_500, high: 21_599 };
let nextPort = PORTS.low + (process.pid % 80);

export type TestServer = TestV1 & { readonly port: number; stop(): Promise<void> };

/** The same on a port, with sockets. */
export async function serveV1(options: TestOptions = {}): Promise<TestServer> {
  const made = testV1(options);
  const server = createServer(getRequestListener(made.v1.app.fetch));
  const { frameBytes } = gatewayLimits(options.limits);
  const upgrades = new WebSocketServer({ noServer: true, perMessageDeflate: false, maxPayload: frameBytes });
  server.on('upgrade', (request, socket, head) => {
    const url = new URL(request.url ?? '/', 'http://test');
    const route = made.v1.sockets.find(({ path }) => path === url.pathname);
    if (!route) return socket.destroy();
    upgrades.handleUpgrade(request, socket, head, (ws) => route.accept(ws, request, url));
    return undefined;
  });
  for (;;) {
    const port = nextPort++;
    if (nextPort > PORTS.high) nextPort = PORTS.low;
    const error = await new Promise<Error | undefined>((resolve) => {
      server.once('error', resolve);
      server.listen(port, '127.0.0.1', () => resolve(undefined));
    });
    server.removeAllListeners('error');
    if (!error) break;
    if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error;
  }
  const stop = async (): Promise<void> => {
    for (const ws of upgrades.clients) ws.terminate();
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  };
  return { ...made, port: (server.address() as AddressInfo).port, stop };
}

type Frame<T extends ServerFrame['t']> = Extract<ServerFrame, { t: T }>;

/** A client that keeps every frame and lets a test await the next one of a kind. */
export class Watcher {
  readonly ws: WebSocket;
  readonly frames: ServerFrame[] = [];
  readonly closed: Promise<{ code: number; reason: string }>;
  #taken = 0;
  #changed = (): void => {};
  #over = false;

  constructor(port: number, protocols: string[] = []) {
    this.ws = new WebSocket(`ws://127.0.0.1:${port}/v1/watch`, ['watch.v1+json', ...protocols]);
    this.ws.on('message', (data) => {
      this.frames.push(JSON.parse(String(data)) as ServerFrame);
      this.#changed();
    });
    this.closed = new Promise((resolve) => {
      this.ws.on('close', (code, reason) => {
        this.#over = true;
        this.#changed();
        resolve({ code, reason: String(reason) });
      });
    });
    this.ws.on('error', () => {});
  }

  static async open(port: number, protocols?: string[]): Promise<Watcher> {
    const watcher = new Watcher(port, protocols);
    await new Promise((resolve) => watcher.ws.once('open', resolve));
    watcher.send({ t: 'hello', v: 1 });
    await watcher.next('welcome');
    return watcher;
  }

  send(frame: unknown): void {
    this.ws.send(typeof frame === 'string' ? frame : JSON.stringify(frame));
  }

  /** The next frame not yet taken, which must be of kind `t`. */
  async next<T extends ServerFrame['t']>(t: T): Promise<Frame<T>> {
    const frame = await this.#any();
    if (frame.t !== t) throw new Error(`${t} expected, got ${JSON.stringify(frame)}`);
    return frame as Frame<T>;
  }

  /** The next one of kind `t`, others left out. */
  async find<T extends ServerFrame['t']>(t: T): Promise<Frame<T>> {
    for (;;) {
      const frame = await this.#any();
      if (frame.t === t) return frame as Frame<T>;
    }
  }

  async #any(timeoutMs = 5000): Promise<ServerFrame> {
    const deadline = performance.now() + timeoutMs;
    while (this.frames.length <= this.#taken) {
      const left = deadline - performance.now();
      if (this.#over || left <= 0)
        throw new Error(`no frame came after ${JSON.stringify(this.frames.slice(-5))}`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left);
        this.#changed = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    return this.frames[this.#taken++] as ServerFrame;
  }
}
