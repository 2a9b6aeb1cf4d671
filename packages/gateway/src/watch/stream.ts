/** One subscription as an HTTP response: Server-Sent Events or newline-delimited JSON. */
import type { Timer } from '@muster/base';
import type { GapReason, KvError, StreamFrame } from '@muster/contract';
import type { CallOptions } from '@muster/kv';
import type { ClusterWatch } from '../v1/cluster-state.ts';
import type { V1Context } from '../v1/context.ts';
import { type Cursor, formatCursor } from '../v1/cursors.ts';
import { problemOf } from '../v1/errors.ts';
import type { EncodedRevision } from './encode.ts';
import type { Selection } from './selection.ts';
import { type Outlet, Subscription } from './subscription.ts';

export type StreamFormat = 'sse' | 'ndjson';

type StreamRequest = {
  readonly format: StreamFormat;
  /** Keys, or the cluster's state. */
  readonly selection: Selection | 'cluster';
  readonly from?: Cursor;
  readonly snapshot: boolean;
  readonly coalesce: boolean;
  readonly call: CallOptions;
};

/** Milliseconds after which an EventSource reconnects. */
const RETRY_MS = 1000;

const EVENT_NAMES: Readonly<Record<StreamFrame['t'], string>> = {
  subd: 'subscribed',
  snap: 'snapshot',
  ev: 'change',
  bm: 'bookmark',
  gap: 'gap',
  lag: 'lag',
  cluster: 'cluster',
  end: 'end',
};

export function streamHeaders(format: StreamFormat, epoch: string): Record<string, string> {
  return {
    'content-type': format === 'sse' ? 'text/event-stream' : 'application/x-ndjson',
    'cache-control': 'no-store',
    'x-accel-buffering': 'no',
    'x-content-type-options': 'nosniff',
    'x-store-epoch': epoch,
    vary: 'Accept',
  };
}

/** Where a stream's bytes go. */
type Sink = { write(bytes: Uint8Array): void; room(): boolean; close(): void };

/** Open streams, so that they can be ended in order. */
export interface StreamOwner {
  add(stream: WatchStream): void;
  remove(stream: WatchStream): void;
}

export class WatchStream implements Outlet {
  readonly #context: V1Context;
  readonly #cluster: ClusterWatch;
  readonly #request: StreamRequest;
  readonly #owner: StreamOwner;
  readonly #epoch: string;
  readonly #release: () => void;
  readonly #subscription: Subscription | undefined;
  #sink: Sink | undefined;
  #heartbeat: Timer | undefined;
  #stopCluster = (): void => {};

  constructor(
    context: V1Context,
    cluster: ClusterWatch,
    owner: StreamOwner,
    epoch: string,
    request: StreamRequest,
  ) {
    this.#context = context;
    this.#cluster = cluster;
    this.#owner = owner;
    this.#epoch = epoch;
    this.#request = request;
    this.#release = context.takeStream();
    const { selection, from, snapshot, coalesce } = request;
    if (selection !== 'cluster') {
      const options = { ...(from ? { from } : {}), snapshot, coalesce };
      this.#subscription = new Subscription(context, selection, this, options, () => request.call);
    }
  }

  response(): Response {
    const body = new ReadableStream<Uint8Array>(
      {
        start: (controller) => this.#start(controller),
        pull: () => this.#subscription?.pump(),
        cancel: () => this.#stop(),
      },
      new ByteLengthQueuingStrategy({ highWaterMark: this.#context.limits.bufferedBytes }),
    );
    return new Response(body, { headers: streamHeaders(this.#request.format, this.#epoch) });
  }

  /** Ends the stream; the client is told why and may come back at once. */
  end(error: KvError): void {
    if (!this.#sink) return;
    this.#frame({ t: 'end', problem: problemOf(error) });
    const sink = this.#sink;
    this.#stop();
    sink.close();
  }

  get hasRoom(): boolean {
    return this.#sink?.room() ?? false;
  }

  readyForRevision(): boolean {
    return this.hasRoom;
  }

  subscribed(mode: 'resume' | 'snapshot', rev: number): void {
    this.#frame({ t: 'subd', mode, rev, epoch: this.#epoch }, mode === 'resume' ? rev : undefined);
  }

  snapshot(rev: number, items: string, more: boolean, replace: boolean): void {
    const members = `"rev":${rev},"more":${more}${replace ? ',"replace":true' : ''},"items":${items}}`;
    this.#write(this.#text('snap', members, more ? undefined : rev));
  }

  revision(encoded: EncodedRevision): void {
    const key = this.#request.format === 'sse' ? `sse ${this.#epoch}` : 'ndjson';
    const frames = encoded.frames(key, (events, part, parts) => {
      const cut = parts === 1 ? '' : `"part":[${part},${parts}],`;
      const members = `"rev":${encoded.rev},${cut}"events":${events}}`;
      return Buffer.from(this.#text('ev', members, part === parts ? encoded.rev : undefined));
    });
    for (const frame of frames) this.#sink?.write(frame);
  }

  gap(reason: GapReason, from: string, to: number): void {
    this.#frame({ t: 'gap', reason, from, to });
  }

  progress(rev: number): void {
    this.#frame({ t: 'bm', rev }, rev);
  }

  ended(error: KvError): void {
    this.end(error);
  }

  #start(controller: ReadableStreamDefaultController<Uint8Array>): void {
    this.#sink = {
      write: (bytes) => controller.enqueue(bytes),
      room: () => (controller.desiredSize ?? 0) > 0,
      close: () => controller.close(),
    };
    this.#owner.add(this);
    // The first byte at once: the client, and every proxy between, then knows that the stream stands.
    if (this.#request.format === 'sse') this.#write(`retry: ${RETRY_MS}\n\n`);
    this.#scheduleHeartbeat();
    if (this.#subscription) this.#subscription.start(this.#epoch);
    else this.#startCluster();
  }

  #startCluster(): void {
    this.#stopCluster = this.#cluster.listen((state) => {
      // A state that finds no room is dropped: the next one says all of it again.
      if (this.hasRoom) this.#frame({ t: 'cluster', ...state });
    });
  }

  #scheduleHeartbeat(): void {
    const { clock, limits } = this.#context;
    this.#heartbeat = clock.schedule(limits.heartbeatMs, () => {
      this.#scheduleHeartbeat();
      if (!this.hasRoom) return;
      if (this.#request.format === 'sse') this.#write(':\n\n');
      if (this.#subscription) this.#subscription.requestProgress();
      else if (this.#request.format === 'ndjson') this.#write('\n');
    });
  }

  #frame(frame: StreamFrame, cursorRevision?: number): void {
    const { t, ...members } = frame;
    this.#write(this.#text(t, JSON.stringify(members).slice(1), cursorRevision));
  }

  /** One frame. `members` is the rest of its JSON object, with the closing brace. */
  #text(t: StreamFrame['t'], members: string, cursorRevision?: number): string {
    if (this.#request.format === 'ndjson') return `{"t":"${t}",${members}\n`;
    const id = cursorRevision === undefined ? '' : `id: ${formatCursor(this.#epoch, cursorRevision)}\n`;
    return `${id}event: ${EVENT_NAMES[t]}\ndata: {${members}\n\n`;
  }

  #write(text: string): void {
    this.#sink?.write(Buffer.from(text));
  }

  #stop(): void {
    if (!this.#sink) return;
    this.#sink = undefined;
    this.#subscription?.close();
    this.#stopCluster();
    if (this.#heartbeat) this.#context.clock.cancel(this.#heartbeat);
    this.#release();
    this.#owner.remove(this);
  }
}
