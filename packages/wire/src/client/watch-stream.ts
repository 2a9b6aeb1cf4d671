import type { ClientDuplexStream, ServiceError } from '@grpc/grpc-js';
import type { Clock, Timer } from '@muster/base';
import type { WatchMessage, WatchStreamRequest } from '../convert/watch.ts';
import { type CallFailure, failureOf } from './failure.ts';
import { CLIENT_LIMITS } from './limits.ts';
import type { RemoteWatch } from './remote-watch.ts';

/** One watch's place on a stream; the watch has left it when `watch` is gone. */
type Place = { watch: RemoteWatch | undefined; id: bigint | undefined };

type WatchStreamHooks = {
  /** A watch was created: the stream works. */
  onCreated(): void;
  /** The server refused or ended one watch; it is off the stream. */
  onCanceled(watch: RemoteWatch, answer: WatchMessage): void;
  /** The stream is over, with those that were on it. Not after `close`. */
  onEnd(failure: CallFailure, watches: readonly RemoteWatch[]): void;
  /** The last watch has left. */
  onEmpty(): void;
};

/** One stream with many watches. Servers answer creations in their order, which is how they are told apart. */
export class WatchStream {
  readonly token: string | undefined;
  /** No more watches: what it was opened with is out of date. */
  stale = false;
  /** Whether the server answers requests for progress only when everything has been sent. */
  progressTrusted = false;
  readonly #stream: ClientDuplexStream<WatchStreamRequest, WatchMessage>;
  readonly #clock: Clock;
  readonly #hooks: WatchStreamHooks;
  readonly #places = new Map<RemoteWatch, Place>();
  readonly #byId = new Map<bigint, Place>();
  readonly #waiting: Place[] = [];
  readonly #creating: Place[] = [];
  #progressTimer: Timer | undefined;
  #closed = false;

  constructor(
    stream: ClientDuplexStream<WatchStreamRequest, WatchMessage>,
    token: string | undefined,
    clock: Clock,
    hooks: WatchStreamHooks,
  ) {
    this.#stream = stream;
    this.token = token;
    this.#clock = clock;
    this.#hooks = hooks;
    stream.on('data', (answer: WatchMessage) => this.#take(answer));
    stream.on('error', (error: ServiceError) => this.#end(failureOf(error)));
    stream.on('end', () => this.#end(failureOf({ code: 14, details: 'Connection dropped' } as ServiceError)));
  }

  get size(): number {
    return this.#places.size;
  }

  has(watch: RemoteWatch): boolean {
    return this.#places.has(watch);
  }

  add(watch: RemoteWatch): void {
    const place: Place = { watch, id: undefined };
    this.#places.set(watch, place);
    this.#waiting.push(place);
    this.#create();
  }

  remove(watch: RemoteWatch): void {
    const place = this.#places.get(watch);
    if (!place) return;
    this.#places.delete(watch);
    place.watch = undefined;
    if (place.id !== undefined) this.#cancel(place.id);
    if (this.#places.size === 0) this.#hooks.onEmpty();
  }

  /** Asks, and again until no watch on the stream wants to know any more. */
  requestProgress(): void {
    if (this.#closed || this.#progressTimer) return;
    const wanting = [...this.#byId.values()].some(({ watch }) => watch?.wantsProgress);
    if (!wanting) return;
    this.#write({ type: 'progress' });
    this.#progressTimer = this.#clock.schedule(CLIENT_LIMITS.progressRetryMs, () => {
      this.#progressTimer = undefined;
      this.requestProgress();
    });
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    if (this.#progressTimer) this.#clock.cancel(this.#progressTimer);
    this.#stream.cancel();
  }

  #create(): void {
    while (this.#creating.length < CLIENT_LIMITS.watchCreatesInFlight) {
      const place = this.#waiting.shift();
      if (!place) return;
      const { watch } = place;
      if (!watch) continue;
      this.#creating.push(place);
      const request = { ...watch.request, startRevision: watch.startRevision };
      this.#write({ type: 'create', watch: request, watchId: 0n, fragment: true });
    }
  }

  #cancel(watchId: bigint): void {
    this.#write({ type: 'cancel', watchId });
  }

  #write(message: WatchStreamRequest): void {
    if (!this.#closed) this.#stream.write(message);
  }

  #take(answer: WatchMessage): void {
    if (this.#closed) return;
    if (answer.created) return this.#created(answer);
    const { header, events = [] } = answer;
    if (answer.watchId === -1n && !answer.canceled && events.length === 0) {
      for (const { watch } of this.#byId.values()) watch?.progress(header, true, this.progressTrusted);
      return;
    }
    const place = this.#byId.get(answer.watchId);
    if (answer.canceled) {
      this.#byId.delete(answer.watchId);
      if (place?.watch) this.#canceled(place.watch, answer);
      return;
    }
    if (!place?.watch) return;
    if (events.length === 0 && !answer.fragment) place.watch.progress(header, false, true);
    else place.watch.events(header, events, answer.fragment ?? false);
  }

  #created(answer: WatchMessage): void {
    const place = this.#creating.shift();
    this.#create();
    if (!place) return;
    const { watch } = place;
    if (answer.canceled) {
      if (watch) this.#canceled(watch, answer);
      return;
    }
    place.id = answer.watchId;
    this.#byId.set(answer.watchId, place);
    this.#hooks.onCreated();
    if (!watch) return this.#cancel(answer.watchId);
    watch.created(answer.header);
    if (watch.wantsProgress) this.requestProgress();
  }

  #canceled(watch: RemoteWatch, answer: WatchMessage): void {
    this.#places.delete(watch);
    this.#hooks.onCanceled(watch, answer);
    if (this.#places.size === 0) this.#hooks.onEmpty();
  }

  #end(failure: CallFailure): void {
    if (this.#closed) return;
    this.#closed = true;
    if (this.#progressTimer) this.#clock.cancel(this.#progressTimer);
    this.#stream.cancel();
    this.#hooks.onEnd(failure, [...this.#places.keys()]);
  }
}
