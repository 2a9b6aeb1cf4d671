import { ERRORS } from '@muster/contract';
import type { Event, ResponseHeader, WatchHandle, WatchRequest, WatchResponse, WatchSink } from '@muster/kv';
import { covers } from './model-txn.ts';

/** What a watch of the model looks at. */
type WatchedStore = {
  readonly revision: number;
  readonly compactRevision: number;
  /** Every event ever, oldest first, each with its previous value. */
  readonly events: readonly Event[];
  header(revision: number): ResponseHeader;
};

const BATCH_REVISIONS = 1000;

/**
 * The plainest watch there can be: a cursor, and a look through all events whenever there might be something. The
 * owner calls `pump` after each change and once in a later turn after the start.
 */
export class ModelWatch implements WatchHandle {
  readonly #store: WatchedStore;
  readonly #request: WatchRequest;
  readonly #sink: WatchSink;
  readonly #onEnd: (watch: ModelWatch) => void;
  readonly #later: () => void;
  readonly #startedAt: number;
  readonly #lost: boolean;
  #created = false;
  #full = false;
  #ended = false;
  #wantsProgress = false;
  #next: number;

  constructor(
    store: WatchedStore,
    request: WatchRequest,
    sink: WatchSink,
    on: { readonly end: (watch: ModelWatch) => void; readonly later: () => void },
  ) {
    this.#store = store;
    this.#request = { ...request, key: request.key.length === 0 ? new Uint8Array([0]) : request.key };
    this.#sink = sink;
    this.#onEnd = on.end;
    this.#later = on.later;
    this.#startedAt = store.revision;
    this.#next = request.startRevision || store.revision + 1;
    this.#lost = this.#next < store.compactRevision;
  }

  cancel(): void {
    this.#ended = true;
    this.#onEnd(this);
  }

  resume(): void {
    this.#full = false;
    this.#later();
  }

  requestProgress(): void {
    this.#wantsProgress = true;
    this.#later();
  }

  get synced(): boolean {
    return this.#created && !this.#ended && this.#next > this.#store.revision;
  }

  get nextRevision(): number {
    return this.#next;
  }

  /** Delivers whatever can be delivered now. `live` is true inside the change that made the newest revision. */
  pump(live: boolean): void {
    if (this.#ended || this.#full || (live && !this.#created)) return;
    if (!this.#created && !this.#create()) return;
    if (this.#lost || (this.#next <= this.#store.revision && this.#next < this.#store.compactRevision)) {
      return this.#end(this.#store.compactRevision, '');
    }
    while (this.#next <= this.#store.revision) if (!this.#deliver(live)) return;
    if (!this.#wantsProgress || this.#store.revision < (this.#request.startRevision ?? 0)) return;
    this.#wantsProgress = false;
    this.#give({ type: 'progress', header: this.#store.header(this.#store.revision) });
  }

  #create(): boolean {
    const { key, rangeEnd, startRevision = 0 } = this.#request;
    this.#created = true;
    const end = rangeEnd ?? new Uint8Array(0);
    const open = end.length === 0 || (end.length === 1 && end[0] === 0);
    if (!open && !covers(this.#request, key)) this.#end(0, ERRORS.WATCH_EMPTY_RANGE.text);
    else if (startRevision < 0) this.#end(0, ERRORS.COMPACTED.text);
    else this.#give({ type: 'created', header: this.#store.header(this.#startedAt) });
    return !this.#ended && !this.#full;
  }

  /** One batch; false when there is no room for more. */
  #deliver(live: boolean): boolean {
    const { revision, events } = this.#store;
    const from = this.#next;
    const wanted = events.filter((e) => e.kv.modRevision >= from && this.#wants(e));
    const revisions = [...new Set(wanted.map((e) => e.kv.modRevision))].slice(0, BATCH_REVISIONS);
    const lastRevision = revisions.at(-1);
    if (lastRevision === undefined) {
      this.#next = revision + 1;
      return true;
    }
    const isLive = live && from === revision;
    this.#next = lastRevision + 1;
    const headerRevision = isLive ? lastRevision : revision;
    const shown = wanted.filter((e) => e.kv.modRevision <= lastRevision).map((e) => this.#shown(e));
    const batch = { headerRevision, lastRevision, events: shown };
    return this.#give({ type: 'events', header: this.#store.header(headerRevision), batch });
  }

  #wants(event: Event): boolean {
    const filter = event.type === 'put' ? 'noput' : 'nodelete';
    return covers(this.#request, event.kv.key) && !this.#request.filters?.includes(filter);
  }

  #shown(event: Event): Event {
    const known = event.kv.modRevision > this.#store.compactRevision;
    return this.#request.prevKv && known ? event : { type: event.type, kv: event.kv };
  }

  #give(response: WatchResponse): boolean {
    this.#full = !this.#sink(response);
    return !this.#full && !this.#ended;
  }

  #end(compactRevision: number, reason: string): void {
    this.cancel();
    this.#sink({
      type: 'canceled',
      header: this.#store.header(this.#store.revision),
      compactRevision,
      reason,
    });
  }
}
