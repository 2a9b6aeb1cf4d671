import { type Deferred, deferred } from '@muster/base';
import { KvError } from '@muster/contract';
import type { CallOptions, EtcdApi, WatchHandle, WatchRequest, WatchResponse } from '../api.ts';
import { onAbort, withoutSignal } from './abort.ts';

/** Batches that wait for a slow reader; the watch itself waits beyond that. */
const QUEUE_MAX = 16;

type EventsResponse = Extract<WatchResponse, { type: 'events' }>;

/** One watch, read batch by batch. Has to be closed. */
export class KeyEvents {
  readonly #handle: WatchHandle;
  readonly #stopListening: () => void;
  readonly #queue: EventsResponse[] = [];
  #waiting: Deferred<EventsResponse | 'compacted'> | undefined;
  #end: KvError | 'compacted' | undefined;
  #full = false;

  constructor(api: Pick<EtcdApi, 'watch'>, request: WatchRequest, options: CallOptions) {
    this.#handle = api.watch(request, (response) => this.#take(response), withoutSignal(options));
    this.#stopListening = onAbort(options.signal, (reason) => {
      this.#finish(reason);
      this.#handle.cancel();
    });
  }

  /**
   * The next events; `compacted` when those that would come next are gone, after which the state has to be read again.
   * Rejects when the watch is canceled, and when the signal fires.
   */
  next(): Promise<EventsResponse | 'compacted'> {
    const first = this.#queue.shift();
    if (first !== undefined) {
      if (this.#full && this.#queue.length === 0) {
        this.#full = false;
        this.#handle.resume();
      }
      return Promise.resolve(first);
    }
    if (this.#end === 'compacted') return Promise.resolve(this.#end);
    if (this.#end !== undefined) return Promise.reject(this.#end);
    this.#waiting = deferred();
    return this.#waiting.promise;
  }

  close(): void {
    this.#stopListening();
    this.#handle.cancel();
  }

  #take(response: WatchResponse): boolean {
    if (response.type === 'events') {
      if (this.#waiting !== undefined) this.#settle((waiting) => waiting.resolve(response));
      else this.#queue.push(response);
      this.#full = this.#queue.length >= QUEUE_MAX;
      return !this.#full;
    }
    if (response.type === 'canceled') {
      const { compactRevision, reason } = response;
      this.#finish(compactRevision > 0 ? 'compacted' : canceled(reason));
    }
    return true;
  }

  #finish(end: KvError | 'compacted'): void {
    this.#end ??= end;
    this.#settle((waiting) => (end === 'compacted' ? waiting.resolve(end) : waiting.reject(end)));
  }

  #settle(how: (waiting: Deferred<EventsResponse | 'compacted'>) => void): void {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    if (waiting !== undefined) how(waiting);
  }
}

function canceled(reason: string): KvError {
  return KvError.fromText(reason) ?? new KvError('WATCH_CANCELED', { detail: reason });
}
