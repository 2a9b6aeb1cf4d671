import { type Clock, type Deferred, deferred } from '@muster/base';
import type { KvEvent, KvItem, KvSelection } from '@muster/contract';
import { type Codec, textCodec } from './codec.ts';
import type { Connection } from './connection.ts';
import { type Cursor, cursorOf, type Position, positionOf } from './cursor.ts';
import { type Entry, entryOf, keyOfIdentity } from './entry.ts';
import { abortedError, MusterError } from './errors.ts';
import { KV_SHAPE } from './kv-shape.ts';
import { Subscription } from './subscription.ts';
import type { SessionBatch, SessionChange, SessionStatus } from './watch-session.ts';

/** What to watch: one key, everything with a prefix (a bare string is one), or a half-open range. */
export type WatchSelector =
  | string
  | { readonly key: string }
  | { readonly prefix: string }
  | { readonly start: string; readonly end?: string };

export type WatchOptions<T> = {
  /** Go on after this cursor. */
  readonly from?: Cursor;
  /** First everything that is there now. Default true, but false with `from` or `repair: false`. */
  readonly snapshot?: boolean;
  /** Report what was there before, kept in memory for the whole selection. Default false. */
  readonly previous?: boolean;
  /**
   * When history is gone, report the difference (default). `false` goes on from then, without what was missed, and
   * keeps no list of keys in memory: for what only shows news. Not together with a snapshot.
   */
  readonly repair?: boolean;
  readonly codec?: Codec<T>;
  readonly signal?: AbortSignal;
};

/**
 * `cause`: `live` as it happened; `snapshot` was there when the watch began; `repair` was found out by comparing, after
 * a gap in which the history itself was gone.
 */
export type Change<T> =
  | {
      readonly type: 'put';
      readonly entry: Entry<T>;
      readonly prev?: Entry<T>;
      readonly cause: 'live' | 'snapshot' | 'repair';
    }
  | {
      readonly type: 'delete';
      readonly key: string;
      /** Of a key that is not UTF-8. */
      readonly keyBytes?: Uint8Array;
      readonly prev?: Entry<T>;
      readonly cause: 'live' | 'repair';
    }
  /** Level with the store: the end of the snapshot, of a repair, or the start of a watch without either. */
  | { readonly type: 'synced'; readonly cursor: Cursor };

/** One revision, snapshot or repair, whole. */
export type ChangeBatch<T> = {
  readonly cursor: Cursor;
  readonly revision: number;
  readonly changes: readonly Change<T>[];
};

export type WatchStatus = SessionStatus;

/**
 * The changes of a selection, for ever: across lost sockets, members and compacted history. For one consumer, which
 * may be slow: then the server waits, and what waits here is bounded. Ending the loop ends the watch.
 *
 * At least once: `cursor` moves when the consumer comes back for more, so keep it *after* handling and hand it to
 * `from` later.
 */
export interface Watch<T> extends AsyncIterable<Change<T>>, AsyncDisposable {
  /** The first time it is level with the store. */
  readonly ready: Promise<Cursor>;
  /** Everything up to here has been taken by the consumer. */
  readonly cursor: Cursor | undefined;
  readonly status: WatchStatus;
  /** The same stream, a revision at a time. Use this or the plain iteration, not both. */
  batches(): AsyncIterableIterator<ChangeBatch<T>>;
  close(): Promise<void>;
}

type KvWatchOptions<T> = WatchOptions<T> & { readonly connection: Connection; readonly clock: Clock };

export class KvWatch<T> implements Watch<T> {
  readonly #subscription: Subscription<KvItem, KvEvent>;
  readonly #codec: Codec<T>;
  readonly #queue: SessionBatch<KvItem>[] = [];
  readonly #ready: Deferred<Cursor> = deferred();
  readonly #signal: AbortSignal | undefined;
  readonly #onAbort = () => this.#finish(abortedError(this.#signal as AbortSignal));
  #taken: SessionBatch<KvItem> | undefined;
  #cursor: Position | undefined;
  #wake: Deferred<void> | undefined;
  #ended: { readonly error: MusterError | undefined } | undefined;

  constructor(selector: WatchSelector, options: KvWatchOptions<T>) {
    const from = options.from === undefined ? undefined : positionOf(options.from);
    this.#codec = options.codec ?? (textCodec as Codec<unknown> as Codec<T>);
    this.#cursor = from;
    this.#signal = options.signal;
    this.#ready.promise.catch(() => {});
    if (options.signal?.aborted) throw abortedError(options.signal);
    options.signal?.addEventListener('abort', this.#onAbort, { once: true });
    const snapshot = options.snapshot ?? (from === undefined && options.repair !== false);
    if (snapshot && options.repair === false) {
      throw new MusterError('BAD_REQUEST', 'watch: a snapshot cannot go with repair: false');
    }
    const kv: KvSelection = {
      ...(typeof selector === 'string' ? { prefix: selector } : selector),
      ...(options.previous && { prevKv: true }),
    };
    this.#subscription = new Subscription(
      {
        connection: options.connection,
        clock: options.clock,
        selection: { kv },
        shape: KV_SHAPE,
        snapshot,
        repair: options.repair ?? true,
        keepItems: options.previous ?? false,
        ...(from && { from }),
      },
      {
        onBatch: (batch) => this.#push(batch),
        onBookmark: (at) => this.#onBookmark(at),
        onStatus: () => {},
        // Whoever closed the client knows.
        onFailed: (error) => this.#finish(error.code === 'CLOSED' ? undefined : error),
      },
    );
  }

  get ready(): Promise<Cursor> {
    return this.#ready.promise;
  }

  get cursor(): Cursor | undefined {
    return this.#cursor && cursorOf(this.#cursor);
  }

  get status(): WatchStatus {
    return this.#ended ? { state: 'ended' } : this.#subscription.status;
  }

  async *[Symbol.asyncIterator](): AsyncIterator<Change<T>> {
    for await (const batch of this.batches()) yield* batch.changes;
  }

  async *batches(): AsyncIterableIterator<ChangeBatch<T>> {
    try {
      for (;;) {
        this.#settle();
        const batch = this.#queue.shift();
        if (batch) {
          this.#taken = batch;
          yield this.#decode(batch);
        } else if (this.#ended) {
          if (this.#ended.error) throw this.#ended.error;
          return;
        } else {
          this.#wake = deferred();
          await this.#wake.promise;
        }
      }
    } finally {
      this.#finish(undefined);
    }
  }

  async close(): Promise<void> {
    this.#finish(undefined);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** The consumer came back: what it had is done. */
  #settle(): void {
    const batch = this.#taken;
    if (!batch) return;
    this.#taken = undefined;
    this.#cursor = batch.at;
    this.#subscription.consumed(batch);
  }

  /** The queue is bounded by the session: the window's revisions, and one snapshot or repair at a time. */
  #push(batch: SessionBatch<KvItem>): void {
    if (batch.synced) this.#ready.resolve(cursorOf(batch.at));
    this.#queue.push(batch);
    this.#wake?.resolve();
  }

  #onBookmark(at: Position): void {
    const last = this.#queue.at(-1) ?? this.#taken;
    if (!last) this.#cursor = at;
    else if (last !== this.#taken) this.#queue[this.#queue.length - 1] = { ...last, at };
  }

  #finish(error: MusterError | undefined): void {
    if (this.#ended) return;
    this.#ended = { error };
    this.#signal?.removeEventListener('abort', this.#onAbort);
    this.#subscription?.close();
    this.#ready.reject(error ?? new MusterError('CLOSED', 'the watch was closed before it was ready'));
    this.#wake?.resolve();
  }

  #decode(batch: SessionBatch<KvItem>): ChangeBatch<T> {
    const cursor = cursorOf(batch.at);
    const changes: Change<T>[] = batch.changes.map((change) => this.#change(change));
    if (batch.synced) changes.push({ type: 'synced', cursor });
    return { cursor, revision: batch.at.rev, changes };
  }

  #change(change: SessionChange<KvItem>): Change<T> {
    const prev = change.prev && { prev: entryOf(change.prev, this.#codec) };
    if (change.type === 'put') {
      return { type: 'put', entry: entryOf(change.item, this.#codec), cause: change.cause, ...prev };
    }
    return { type: 'delete', ...keyOfIdentity(change.identity), cause: change.cause, ...prev };
  }
}
