import { ERRORS } from '@muster/contract';
import type { WatchHandle, WatchRequest, WatchResponse, WatchSink } from '@muster/kv';
import { Client } from 'undici';
import { WebSocket } from 'ws';
import {
  decodeEvent,
  decodeHeader,
  encodeFields,
  flag,
  type Json,
  list,
  number,
  object,
  text,
} from './json-codec.ts';

/** What both transports share: lines of JSON in, `WatchResponse`s out, held back while the sink is full. */
abstract class JsonWatch implements WatchHandle {
  readonly #sink: WatchSink;
  readonly #held: WatchResponse[] = [];
  #full = false;
  #ended = false;
  #next: number;
  #newestHeader = 0;
  #created = false;

  constructor(request: WatchRequest, sink: WatchSink) {
    this.#sink = sink;
    this.#next = request.startRevision ?? 0;
  }

  /** Ends the connection. */
  protected abstract disconnect(): void;
  /** Stops and starts reading. */
  protected abstract pause(paused: boolean): void;
  abstract requestProgress(): void;

  cancel(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.disconnect();
  }

  resume(): void {
    this.#full = false;
    while (!this.#full && !this.#ended) {
      const response = this.#held.shift();
      if (!response) break;
      this.#deliver(response);
    }
    if (!this.#full && !this.#ended) this.pause(false);
  }

  /** As far as the messages tell: nothing older than the newest header is missing. */
  get synced(): boolean {
    return this.#created && !this.#ended && this.#next > this.#newestHeader;
  }

  get nextRevision(): number {
    return this.#next;
  }

  protected takeLine(line: string): void {
    const json = JSON.parse(line) as Json;
    if (json.error) return this.takeEnd(text(object(json.error).message));
    const result = object(json.result);
    const header = decodeHeader(result.header);
    if (flag(result.canceled)) {
      const compactRevision = number(result.compact_revision);
      this.#take({ type: 'canceled', header, compactRevision, reason: text(result.cancel_reason) });
    } else if (flag(result.created)) {
      this.#take({ type: 'created', header });
    } else if (result.events) {
      const events = list(result.events).map(decodeEvent);
      const lastRevision = events.at(-1)?.kv.modRevision ?? 0;
      const batch = { headerRevision: header.revision ?? 0, lastRevision, events };
      this.#take({ type: 'events', header, batch });
    } else {
      this.#take({ type: 'progress', header });
    }
  }

  /** The server ended the stream. */
  protected takeEnd(reason: string): void {
    const header = { clusterId: 0n, memberId: 0n, raftTerm: 0 };
    this.#take({ type: 'canceled', header, compactRevision: 0, reason });
  }

  #take(response: WatchResponse): void {
    if (this.#ended) return;
    if (this.#full) this.#held.push(response);
    else this.#deliver(response);
  }

  #deliver(response: WatchResponse): void {
    const revision = response.header.revision ?? 0;
    this.#newestHeader = Math.max(this.#newestHeader, revision);
    if (response.type === 'created') this.#created = true;
    if (response.type === 'created' && this.#next === 0) this.#next = revision + 1;
    if (response.type === 'events') this.#next = response.batch.lastRevision + 1;
    if (response.type === 'progress') this.#next = Math.max(this.#next, revision + 1);
    if (response.type === 'canceled') this.cancel();
    this.#full = !this.#sink(response);
    if (this.#full && !this.#ended) this.pause(true);
  }
}

const createLine = (request: WatchRequest): string => {
  const { filters, ...fields } = request;
  const names = filters?.map((filter) => filter.toUpperCase());
  return `${JSON.stringify({ create_request: { ...encodeFields(fields), filters: names } })}\n`;
};

/** One watch as one chunked HTTP answer. */
export class HttpWatch extends JsonWatch {
  readonly #client: Client;
  #resumeReading: (() => void) | undefined;
  #paused = false;

  constructor(url: string, request: WatchRequest, sink: WatchSink) {
    super(request, sink);
    this.#client = new Client(url, { bodyTimeout: 0, headersTimeout: 0 });
    this.#read(createLine(request)).then(
      () => this.takeEnd(ERRORS.WATCH_CANCELED.text),
      (error) => this.takeEnd(String(error)),
    );
  }

  requestProgress(): void {
    throw new Error('progress cannot be requested over HTTP/1.1: the request body has ended');
  }

  protected disconnect(): void {
    this.#client.destroy();
  }

  protected pause(paused: boolean): void {
    this.#paused = paused;
    if (!paused) this.#resumeReading?.();
  }

  async #read(body: string): Promise<void> {
    const response = await this.#client.request({ path: '/v3/watch', method: 'POST', body });
    let rest = '';
    for await (const chunk of response.body.setEncoding('utf8')) {
      const lines = (rest + chunk).split('\n');
      rest = lines.pop() as string;
      for (const line of lines) this.takeLine(line);
      if (this.#paused) {
        await new Promise<void>((resolve) => {
          this.#resumeReading = resolve;
        });
      }
    }
    if (rest !== '') this.takeLine(rest);
  }
}

/** One watch on one WebSocket, as etcd's proxy offers it. */
export class SocketWatch extends JsonWatch {
  readonly #socket: WebSocket;

  constructor(url: string, request: WatchRequest, sink: WatchSink) {
    super(request, sink);
    this.#socket = new WebSocket(`${url.replace(/^http/, 'ws')}/v3/watch`, { perMessageDeflate: false });
    this.#socket.on('open', () => this.#socket.send(createLine(request)));
    this.#socket.on('message', (data) => this.takeLine(String(data)));
    this.#socket.on('error', (error) => this.takeEnd(error.message));
    this.#socket.on('close', () => this.takeEnd(ERRORS.WATCH_CANCELED.text));
  }

  requestProgress(): void {
    this.#socket.send('{"progress_request":{}}\n');
  }

  protected disconnect(): void {
    this.#socket.terminate();
  }

  protected pause(paused: boolean): void {
    if (this.#socket.readyState !== WebSocket.OPEN) return;
    if (paused) this.#socket.pause();
    else this.#socket.resume();
  }
}
