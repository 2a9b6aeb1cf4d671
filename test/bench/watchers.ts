/**
 * Watches by the thousand, at as little cost per event as this side can have: raw sockets, and events counted by a
 * mark that each one's text has once.
 */
import { randomBytes } from 'node:crypto';
import { connect, type Socket } from 'node:net';

export type WatchKind =
  /** A streamed response of POST /v3/watch. */
  | 'http'
  /** The same stream over a WebSocket at /v3/watch. */
  | 'socket'
  /** A WebSocket of Muster's own protocol at /v1/watch. */
  | 'v1';

type Protocol = {
  readonly mark: Buffer;
  readonly ready: string;
  hello(host: string): (string | Buffer)[];
  /** What to send when events have come in, if anything. */
  acknowledge?(chunk: Buffer): Buffer | undefined;
};

const PREFIX = 'watched/';
export const WATCHED_KEY: string = Buffer.from(`${PREFIX}key`).toString('base64');
const CREATE = JSON.stringify({
  create_request: {
    key: Buffer.from(PREFIX).toString('base64'),
    range_end: Buffer.from('watched0').toString('base64'),
  },
});
/** Revisions that /v1 may have on the way to one socket, and after how many events they are acknowledged. */
const CREDIT = 1024;
const ACKNOWLEDGE_EVERY = 256;

const PROTOCOLS: Record<WatchKind, Protocol> = {
  http: {
    mark: Buffer.from('"kv":{'),
    ready: '"created":true',
    hello: (host) => [
      `POST /v3/watch HTTP/1.1\r\nhost: ${host}\r\ncontent-type: application/json\r\ncontent-length: ${CREATE.length}\r\n\r\n${CREATE}`,
    ],
  },
  socket: {
    mark: Buffer.from('"kv":{'),
    ready: '"created":true',
    hello: (host) => [upgrade(host, '/v3/watch'), textFrame(CREATE)],
  },
  v1: {
    mark: Buffer.from('"type":"put"'),
    ready: '"t":"subd"',
    hello: (host) => [
      upgrade(host, '/v1/watch', 'watch.v1+json'),
      Buffer.concat([
        textFrame('{"t":"hello","v":1}'),
        textFrame(JSON.stringify({ t: 'sub', id: 'w', sel: { kv: { prefix: PREFIX } }, credit: CREDIT })),
      ]),
    ],
    acknowledge(chunk) {
      const at = chunk.lastIndexOf('"rev":');
      const revision = at < 0 ? undefined : /^\d+(?=\D)/.exec(chunk.toString('latin1', at + 6, at + 24))?.[0];
      return revision === undefined ? undefined : textFrame(`{"t":"ack","id":"w","rev":${revision}}`);
    },
  },
};

function upgrade(host: string, path: string, protocol?: string): string {
  const lines = [
    `GET ${path} HTTP/1.1`,
    `host: ${host}`,
    'connection: Upgrade',
    'upgrade: websocket',
    'sec-websocket-version: 13',
    `sec-websocket-key: ${randomBytes(16).toString('base64')}`,
    ...(protocol ? [`sec-websocket-protocol: ${protocol}`] : []),
  ];
  return `${lines.join('\r\n')}\r\n\r\n`;
}

/** A client's text frame, masked with zeros. */
function textFrame(text: string): Buffer {
  const body = Buffer.from(text);
  const head =
    body.length < 126 ? [0x81, 0x80 | body.length] : [0x81, 0xfe, body.length >> 8, body.length & 255];
  return Buffer.concat([Buffer.from([...head, 0, 0, 0, 0]), body]);
}

/** One watch: counts the events that it is told of. */
class Watcher {
  readonly #protocol: Protocol;
  readonly #socket: Socket;
  readonly #onEvents: (count: number) => void;
  readonly ready: Promise<void>;
  #resolveReady!: () => void;
  #head: string | undefined = '';
  /** The end of the last chunk, where a mark may have begun. */
  #rest = Buffer.alloc(0);
  #unacknowledged = 0;
  #toSend: (string | Buffer)[];

  constructor(
    kind: WatchKind,
    host: string,
    onEvents: (count: number) => void,
    onEnd: (why: string) => void,
  ) {
    this.#protocol = PROTOCOLS[kind];
    this.#onEvents = onEvents;
    this.ready = new Promise((resolve) => {
      this.#resolveReady = resolve;
    });
    const [address, port] = host.split(':') as [string, string];
    this.#toSend = this.#protocol.hello(host);
    this.#socket = connect(Number(port), address, () => this.#socket.write(this.#toSend.shift() as string));
    this.#socket.setNoDelay(true);
    this.#socket.on('data', (chunk) => this.#take(chunk));
    this.#socket.on('error', (error) => onEnd(error.message));
    this.#socket.on('close', () => onEnd(`closed after ${this.#head ?? ''}`));
  }

  close(): void {
    this.#socket.destroy();
  }

  #take(chunk: Buffer): void {
    if (this.#head !== undefined) return this.#begin(chunk);
    const { mark } = this.#protocol;
    const data = this.#rest.length > 0 ? Buffer.concat([this.#rest, chunk]) : chunk;
    let count = 0;
    let from = 0;
    for (let at = data.indexOf(mark); at >= 0; at = data.indexOf(mark, from)) {
      count++;
      from = at + mark.length;
    }
    // A copy: the chunk is part of a buffer that would be kept.
    this.#rest = Buffer.from(data.subarray(Math.max(from, data.length - mark.length + 1)));
    if (count === 0) return;
    this.#onEvents(count);
    this.#unacknowledged += count;
    if (this.#unacknowledged < ACKNOWLEDGE_EVERY) return;
    const acknowledgement = this.#protocol.acknowledge?.(data);
    if (!acknowledgement) return;
    this.#unacknowledged = 0;
    this.#socket.write(acknowledgement);
  }

  #begin(chunk: Buffer): void {
    this.#head += chunk.toString('latin1');
    if (this.#toSend.length > 0 && this.#head?.includes('\r\n\r\n')) {
      this.#socket.write(this.#toSend.shift() as Buffer);
    }
    if (!this.#head?.includes(this.#protocol.ready)) return;
    this.#head = undefined;
    this.#resolveReady();
  }
}

/** `count` watches of one prefix; `total` resolves when they have been told of `events` events together. */
export class Watchers {
  readonly #watchers: Watcher[] = [];
  #left = 0;
  #done: (() => void) | undefined;
  #fail: ((error: Error) => void) | undefined;
  #closing = false;

  async open(kind: WatchKind, host: string, count: number): Promise<void> {
    const BATCH = 50;
    const failed = new Promise<never>((_resolve, reject) => {
      this.#fail = reject;
    });
    while (this.#watchers.length < count) {
      const batch = Array.from({ length: Math.min(BATCH, count - this.#watchers.length) }, () =>
        this.#watcher(kind, host),
      );
      this.#watchers.push(...batch);
      await Promise.race([failed, Promise.all(batch.map((watcher) => watcher.ready))]);
    }
    failed.catch(() => {});
  }

  total(events: number): Promise<void> {
    this.#left = events;
    return new Promise((resolve, reject) => {
      this.#done = resolve;
      this.#fail = reject;
    });
  }

  close(): void {
    this.#closing = true;
    for (const watcher of this.#watchers) watcher.close();
  }

  #watcher(kind: WatchKind, host: string): Watcher {
    return new Watcher(
      kind,
      host,
      (count) => {
        this.#left -= count;
        if (this.#left <= 0) this.#done?.();
      },
      (why) => {
        if (!this.#closing) this.#fail?.(new Error(`a ${kind} watch of ${host} ended: ${why}`));
      },
    );
  }
}
