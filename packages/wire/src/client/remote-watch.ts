import type { Clock } from '@muster/base';
import type {
  CallOptions,
  Event,
  ResponseHeader,
  WatchHandle,
  WatchRequest,
  WatchResponse,
  WatchSink,
} from '@muster/kv';
import { CLIENT_LIMITS } from './limits.ts';

/** What a watch asks of whoever keeps it on a stream. */
export type WatchOwner = {
  /** Put the watch on a stream, from `startRevision` on. */
  attach(watch: RemoteWatch): void;
  /** Take it off its stream, for good or until it is attached again. */
  detach(watch: RemoteWatch): void;
  /** It would like to be told progress; ask again until it got it. */
  wantProgress(watch: RemoteWatch): void;
};

/** About what a response holds on to. */
function bytesOf(response: WatchResponse): number {
  if (response.type !== 'events') return 0;
  let bytes = 0;
  for (const { kv, prevKv } of response.batch.events) {
    bytes += kv.key.length + kv.value.length + (prevKv ? prevKv.key.length + prevKv.value.length : 0);
  }
  return bytes;
}

/**
 * One watch, whatever becomes of the streams that carry it: knows what has come, puts fragments together, drops what
 * comes twice, and holds a bounded amount for a sink that is full. Beyond that it leaves its stream, so that it never
 * holds up others, and comes back by revision.
 */
export class RemoteWatch implements WatchHandle {
  readonly request: WatchRequest;
  readonly options: CallOptions | undefined;
  readonly #sink: WatchSink;
  readonly #owner: WatchOwner;
  readonly #clock: Clock;
  readonly #held: WatchResponse[] = [];
  #heldBytes = 0;
  #full = false;
  #done = false;
  /** Off its stream because the sink is full. */
  #parked = false;
  #createdTold = false;
  /** First revision that has not come yet; 0 or less: as the request says. */
  #expected: number;
  /** First revision that the sink has not been given. */
  #next: number;
  /** Events of the last revision of a fragmented answer: more of it may follow. */
  #partial: Event[] = [];
  #newestSeen = 0;
  #wantsProgress = false;
  /** False while the server may still be reading history for this watch. */
  #caughtUp = false;
  #lastSeenMs: number;

  constructor(
    request: WatchRequest,
    sink: WatchSink,
    options: CallOptions | undefined,
    owner: WatchOwner,
    clock: Clock,
  ) {
    this.request = request;
    this.options = options;
    this.#sink = sink;
    this.#owner = owner;
    this.#clock = clock;
    this.#expected = request.startRevision ?? 0;
    this.#next = this.#expected;
    this.#lastSeenMs = clock.nowMs();
  }

  /** Where the server is to begin. */
  get startRevision(): number {
    return this.#expected;
  }

  get done(): boolean {
    return this.#done;
  }

  get wantsProgress(): boolean {
    return this.#wantsProgress;
  }

  get synced(): boolean {
    return (
      this.#createdTold && !this.#done && !this.#parked && this.#caughtUp && this.#next > this.#newestSeen
    );
  }

  get nextRevision(): number {
    return this.#next;
  }

  cancel(): void {
    if (this.#done) return;
    this.#end();
    this.#owner.detach(this);
  }

  /** Goes on in a later turn: a sink is never called from inside a call on its handle. */
  resume(): void {
    if (this.#done || !this.#full) return;
    this.#clock.defer(() => this.#refill());
  }

  requestProgress(): void {
    if (this.#done || this.#wantsProgress) return;
    this.#wantsProgress = true;
    this.#owner.wantProgress(this);
  }

  // ---- what its stream tells it ----

  created(header: ResponseHeader): void {
    if (this.#parked) return;
    const revision = header.revision ?? 0;
    this.#seen(header);
    this.#partial = [];
    if (this.#expected === 0) this.#expected = revision + 1;
    this.#caughtUp = this.#expected > revision;
    if (this.#createdTold) return;
    this.#createdTold = true;
    this.#take({ type: 'created', header });
  }

  /** `more`: the last of these events' revision may be continued in the next answer. */
  events(header: ResponseHeader, events: readonly Event[], more: boolean): void {
    if (this.#parked) return;
    this.#seen(header);
    const whole = this.#whole(events, more);
    const last = whole.at(-1);
    if (last === undefined) return;
    const headerRevision = header.revision ?? 0;
    const lastRevision = last.kv.modRevision;
    this.#expected = lastRevision + 1;
    // History is answered with the store's revision: having got that one, there is no history left.
    if (lastRevision >= headerRevision) this.#caughtUp = true;
    this.#take({ type: 'events', header, batch: { headerRevision, lastRevision, events: whole } });
  }

  /** `trusted`: the server says so only when everything up to there has been sent to this watch. */
  progress(header: ResponseHeader, requested: boolean, trusted: boolean): void {
    const revision = header.revision ?? 0;
    const quietMs = this.#clock.nowMs() - this.#lastSeenMs;
    if (this.#parked || (requested && !this.#wantsProgress)) return;
    if (!trusted && !this.#caughtUp && quietMs < CLIENT_LIMITS.progressQuietMs) return;
    // Of a watch that starts in the future nothing is due yet.
    if (revision < this.#expected - 1) return;
    this.#seen(header);
    this.#caughtUp = true;
    this.#expected = revision + 1;
    const asked = this.#wantsProgress || (this.request.progressNotify ?? false);
    this.#wantsProgress = false;
    if (asked) this.#take({ type: 'progress', header });
  }

  /** The server's last word, or what stands for it. The watch is on no stream any more. */
  canceled(header: ResponseHeader, compactRevision: number, reason: string): void {
    this.#take({ type: 'canceled', header, compactRevision, reason });
  }

  // ---- to the sink ----

  #seen(header: ResponseHeader): void {
    this.#newestSeen = Math.max(this.#newestSeen, header.revision ?? 0);
    this.#lastSeenMs = this.#clock.nowMs();
  }

  /** Events of whole revisions that have not come before. */
  #whole(events: readonly Event[], more: boolean): readonly Event[] {
    let all = this.#partial.length > 0 ? [...this.#partial, ...events] : events;
    this.#partial = [];
    const first = all[0];
    if (first && first.kv.modRevision < this.#expected) {
      all = all.filter((event) => event.kv.modRevision >= this.#expected);
    }
    if (!more) return all;
    const last = all.at(-1)?.kv.modRevision;
    const cut = all.findIndex((event) => event.kv.modRevision === last);
    if (cut < 0) return all;
    this.#partial = all.slice(cut);
    return all.slice(0, cut);
  }

  #take(response: WatchResponse): void {
    if (this.#done || this.#parked) return;
    if (this.#full || this.#held.length > 0) this.#hold(response);
    else this.#deliver(response);
  }

  #hold(response: WatchResponse): void {
    this.#held.push(response);
    this.#heldBytes += bytesOf(response);
    const { heldResponses, heldBytes } = CLIENT_LIMITS;
    if (this.#held.length <= heldResponses && this.#heldBytes <= heldBytes) return;
    if (response.type === 'canceled') return;
    this.#parked = true;
    this.#partial = [];
    this.#owner.detach(this);
  }

  #deliver(response: WatchResponse): void {
    const revision = response.header.revision ?? 0;
    if (response.type === 'created') this.#next = Math.max(this.#next, this.#expected);
    else if (response.type === 'events') this.#next = response.batch.lastRevision + 1;
    else if (response.type === 'progress') this.#next = Math.max(this.#next, revision + 1);
    else this.#end();
    this.#full = !this.#sink(response);
  }

  #refill(): void {
    if (this.#done) return;
    this.#full = false;
    while (!this.#full && !this.#done) {
      const response = this.#held.shift();
      if (response === undefined) break;
      this.#heldBytes -= bytesOf(response);
      this.#deliver(response);
    }
    if (this.#full || this.#done || !this.#parked) return;
    this.#parked = false;
    this.#caughtUp = false;
    this.#owner.attach(this);
    if (this.#wantsProgress) this.#owner.wantProgress(this);
  }

  #end(): void {
    this.#done = true;
    this.#held.length = 0;
    this.#heldBytes = 0;
    this.#partial = [];
  }
}
