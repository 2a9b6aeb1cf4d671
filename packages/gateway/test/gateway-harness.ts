/** The whole gateway over a store in memory, on a port of its own, for tests. */
import { createServer, request as httpRequest, type IncomingHttpHeaders, type Server } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { Prng } from '@muster/base';
import { createConcurrency, type EtcdApi } from '@muster/kv';
import { RealClock } from '../../../test/support/real-clock.ts';
import { createGateway, type Gateway, type GatewayOptions } from '../src/gateway.ts';
import { gatewayLimits } from '../src/limits.ts';
import { createMetrics } from '../src/ops/metrics.ts';
import { createV1 } from '../src/v1/index.ts';
import { StoreApi } from './store-api.ts';

const PORTS = { low: 21_630, high: 21_699 };
let nextPort = PORTS.low + (process.pid % 40);

export type TestServer = {
  readonly gateway: Gateway;
  readonly api: EtcdApi;
  readonly server: Server;
  readonly port: number;
  /** What was logged as an error. */
  readonly errors: object[];
  stop(): Promise<void>;
};

export function testGateway(options: Partial<GatewayOptions> = {}): {
  gateway: Gateway;
  api: EtcdApi;
  errors: object[];
} {
  const clock = new RealClock();
  const api = options.api ?? new StoreApi(clock);
  const errors: object[] = [];
  const limits = options.limits ?? gatewayLimits();
  const prng = new Prng('gateway test');
  const log = { debug() {}, info() {}, warn() {}, error: (fields: object) => errors.push(fields) };
  const gateway = createGateway({
    api,
    concurrency: createConcurrency(api),
    clock,
    prng,
    limits,
    metrics: createMetrics(),
    version: () => ({ server: '3.6.1', cluster: '3.6.0', storage: '3.6.0' }),
    log,
    v1: createV1({ api, clock, prng, limits, log, memberHealth: () => true }),
    ...options,
  });
  return { gateway, api, errors };
}

export async function startServer(options: Partial<GatewayOptions> = {}): Promise<TestServer> {
  const { gateway, api, errors } = testGateway(options);
  const server = createServer(gateway.serverOptions, gateway.listener);
  server.on('upgrade', gateway.upgrade);
  await listen(server);
  const { port } = server.address() as AddressInfo;
  const stop = async (): Promise<void> => {
    const drained = gateway.drain();
    gateway.close();
    await drained;
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  };
  return { gateway, api, server, port, errors, stop };
}

async function listen(server: Server): Promise<void> {
  for (let tries = PORTS.high - PORTS.low; ; tries--) {
    const port = nextPort++;
    if (nextPort > PORTS.high) nextPort = PORTS.low;
    const error = await new Promise<NodeJS.ErrnoException | undefined>((resolve) => {
      server.once('error', resolve);
      server.listen(port, '127.0.0.1', () => resolve(undefined));
    });
    server.removeAllListeners('error');
    if (error === undefined) return;
    if (tries === 0 || error.code !== 'EADDRINUSE') throw error;
  }
}

export type Answer = {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
  readonly json: unknown;
};

export type Ask = {
  readonly method?: string;
  readonly body?: string | Buffer;
  readonly headers?: Readonly<Record<string, string>>;
};

/** One request over node's own client, on a connection of its own. */
export function ask(
  port: number,
  path: string,
  { method = 'POST', body, headers = {} }: Ask = {},
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const req = httpRequest({ host: '127.0.0.1', port, path, method, headers, agent: false }, (res) => {
      const chunks: Buffer[] = [];
      res.on('data', (chunk) => chunks.push(chunk));
      res.on('error', reject);
      res.on('end', () => {
        const text = Buffer.concat(chunks).toString();
        resolve({ status: res.statusCode as number, headers: res.headers, text, json: parse(text) });
      });
    });
    req.on('error', reject);
    req.end(body);
  });
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** A streaming call over a raw socket: what it has answered so far, and what it is sent. */
export class RawStream {
  readonly socket: Socket;
  #received = '';
  #head: string | undefined;
  #body = '';
  #changed: (() => void) | undefined;
  closed = false;

  constructor(port: number, path: string, headers = '') {
    this.socket = connect(port, '127.0.0.1');
    this.socket.on('error', () => {});
    this.socket.setEncoding('latin1').on('data', (text: string) => this.#take(text));
    this.socket.on('close', () => {
      this.closed = true;
      this.#changed?.();
    });
    this.socket.write(`POST ${path} HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n${headers}\r\n`);
  }

  send(text: string): void {
    this.socket.write(`${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`);
  }

  endInput(): void {
    this.socket.write('0\r\n\r\n');
  }

  /** `undefined` while no head has come. */
  get status(): number | undefined {
    return this.#head === undefined ? undefined : Number(this.#head.split(' ')[1]);
  }

  get head(): string {
    return this.#head ?? '';
  }

  /** Whole lines so far, and what stands after the last one. */
  get lines(): string[] {
    return this.#body.split('\n');
  }

  get results(): unknown[] {
    return this.lines.slice(0, -1).map((line) => JSON.parse(line));
  }

  /** Resolves when `condition` holds; rejects when the connection ends before. */
  async until(condition: (stream: RawStream) => boolean, timeoutMs = 5000): Promise<this> {
    const deadline = performance.now() + timeoutMs;
    while (!condition(this)) {
      if (this.closed) throw new Error(`the connection ended after: ${this.#received}`);
      const left = deadline - performance.now();
      if (left <= 0) throw new Error(`nothing more came after: ${this.#received.slice(-2000)}`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left);
        this.#changed = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    return this;
  }

  count(n: number): Promise<this> {
    return this.until((stream) => stream.lines.length > n);
  }

  /** True when the last chunk has come. */
  get complete(): boolean {
    return this.#complete;
  }

  close(): void {
    this.socket.destroy();
  }

  #complete = false;

  #take(text: string): void {
    this.#received += text;
    if (this.#head === undefined) {
      const end = this.#received.indexOf('\r\n\r\n');
      if (end < 0) return;
      this.#head = this.#received.slice(0, end);
      this.#received = this.#received.slice(end + 4);
    }
    this.#dechunk();
    this.#changed?.();
  }

  #dechunk(): void {
    if (!/transfer-encoding: chunked/i.test(this.head)) {
      this.#body += this.#received;
      this.#received = '';
      return;
    }
    for (;;) {
      const line = this.#received.indexOf('\r\n');
      if (line < 0) return;
      const size = Number.parseInt(this.#received.slice(0, line), 16);
      if (this.#received.length < line + 2 + size + 2) return;
      this.#body += Buffer.from(this.#received.slice(line + 2, line + 2 + size), 'latin1').toString();
      this.#received = this.#received.slice(line + 2 + size + 2);
      if (size === 0) this.#complete = true;
    }
  }
}
