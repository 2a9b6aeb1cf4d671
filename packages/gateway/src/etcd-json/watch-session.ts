import { ERRORS, KvError } from '@muster/contract';
import type {
  CallOptions,
  EtcdApi,
  ResponseHeader,
  WatchHandle,
  WatchRequest,
  WatchResponse,
} from '@muster/kv';
import type { GatewayLimits } from '../limits.ts';
import type { JsonValue } from './json-value.ts';
import { type WatchStreamRequest, watchStreamRequest } from './requests.ts';
import { StatusError } from './status-error.ts';
import type { StreamOutput, StreamSession } from './stream.ts';
import { watchBatchLine, watchFragmentLines, watchMessageLine } from './watch-line.ts';

/** etcd's `--max-request-bytes` plus 512 KiB: where a watch that allows fragments is cut. */
const FRAGMENT_BYTES = 2 * 1024 * 1024;

/** In answers that belong to no watch: a refused creation, progress of the whole stream. */
const NO_WATCH_ID = -1n;

type Watcher = {
  readonly id: bigint;
  readonly fragment: boolean;
  readonly progressNotify: boolean;
  handle: WatchHandle | undefined;
  created: boolean;
  /** Progress asked for by a progress request and not yet delivered. */
  progressAwaited: boolean;
};

type CreateRequest = WatchStreamRequest & { readonly type: 'create' };

/** `/v3/watch`: many watches over one stream, created, cancelled and asked for progress by messages. */
export class WatchSession implements StreamSession {
  readonly #api: EtcdApi;
  readonly #options: CallOptions;
  readonly #limits: GatewayLimits;
  readonly #output: StreamOutput;
  readonly #onReady: () => void;
  readonly #watchers = new Map<bigint, Watcher>();
  /** Watches that were told "full" and wait for room. */
  readonly #stalled = new Set<Watcher>();
  #nextId = 0n;
  #busy = false;
  #full = false;
  #closed = false;
  #lastHeader: ResponseHeader | undefined;
  /** Lowest revision that the watches asked for progress have answered with so far; undefined when none is asked. */
  #progressRevision: number | undefined;

  constructor(
    api: EtcdApi,
    options: CallOptions,
    limits: GatewayLimits,
    output: StreamOutput,
    onReady: () => void,
  ) {
    this.#api = api;
    this.#options = options;
    this.#limits = limits;
    this.#output = output;
    this.#onReady = onReady;
  }

  get ready(): boolean {
    return !this.#busy && !this.#full;
  }

  message(value: JsonValue): void {
    const request = watchStreamRequest(value);
    switch (request.type) {
      case 'create':
        return this.#create(request);
      case 'cancel':
        return this.#cancel(request.watchId);
      case 'progress':
        return this.#requestProgress();
      case 'none':
        return;
    }
  }

  /** A watch outlives the end of its requests. */
  inputEnded(): void {}

  room(): void {
    this.#full = false;
    const stalled = [...this.#stalled];
    this.#stalled.clear();
    for (const watcher of stalled) {
      if (this.#full) this.#stalled.add(watcher);
      else watcher.handle?.resume();
    }
    if (this.ready) this.#onReady();
  }

  close(): void {
    this.#closed = true;
    for (const watcher of this.#watchers.values()) watcher.handle?.cancel();
    this.#watchers.clear();
    this.#stalled.clear();
  }

  #create(request: CreateRequest): void {
    const refusal = this.#refusal(request);
    if (refusal !== undefined) return this.#refuse(refusal);
    const watcher: Watcher = {
      id: request.watchId === 0n ? this.#freeId() : request.watchId,
      fragment: request.fragment,
      progressNotify: request.watch.progressNotify === true,
      handle: undefined,
      created: false,
      progressAwaited: false,
    };
    this.#busy = true;
    this.#watchers.set(watcher.id, watcher);
    try {
      watcher.handle = this.#api.watch(
        request.watch as WatchRequest,
        (response) => this.#deliver(watcher, response),
        this.#options,
      );
    } catch (thrown) {
      this.#forgetRefused(watcher);
      this.#refuse(KvError.from(thrown).message);
    }
  }

  /** A refused creation uses up no id. */
  #forgetRefused(watcher: Watcher): void {
    this.#forget(watcher);
    if (watcher.id === this.#nextId - 1n) this.#nextId = watcher.id;
  }

  #refusal(request: CreateRequest): string | undefined {
    if (this.#watchers.size >= this.#limits.subscriptionsPerSocket) return ERRORS.TOO_MANY_REQUESTS.text;
    if (request.watchId !== 0n && this.#watchers.has(request.watchId)) return ERRORS.WATCH_DUPLICATE_ID.text;
    return undefined;
  }

  #freeId(): bigint {
    while (this.#watchers.has(this.#nextId)) this.#nextId++;
    return this.#nextId++;
  }

  /** Answers a creation that came to nothing. */
  #refuse(reason: string): void {
    this.#withHeader((header) =>
      this.#send(
        watchMessageLine({
          header,
          watchId: NO_WATCH_ID,
          created: true,
          canceled: true,
          cancelReason: reason,
        }),
      ),
    );
  }

  #cancel(watchId: bigint): void {
    const watcher = this.#watchers.get(watchId);
    if (watcher === undefined) return;
    watcher.handle?.cancel();
    this.#forget(watcher);
    this.#withHeader((header) => this.#send(watchMessageLine({ header, watchId, canceled: true })));
  }

  /** Answered once every watch has said that it is up to date, hence never before one that lags. */
  #requestProgress(): void {
    if (this.#watchers.size === 0) return;
    this.#progressRevision = Number.MAX_SAFE_INTEGER;
    for (const watcher of this.#watchers.values()) {
      if (watcher.progressAwaited) continue;
      watcher.progressAwaited = true;
      watcher.handle?.requestProgress();
    }
  }

  #deliver(watcher: Watcher, response: WatchResponse): boolean {
    if (this.#closed) return true;
    this.#lastHeader = response.header;
    switch (response.type) {
      case 'created':
        watcher.created = true;
        this.#send(watchMessageLine({ header: response.header, watchId: watcher.id, created: true }));
        this.#answered();
        break;
      case 'events':
        this.#sendEvents(watcher, response);
        break;
      case 'progress':
        this.#progress(watcher, response.header);
        break;
      case 'canceled':
        this.#canceled(watcher, response);
        return true;
    }
    if (this.#full) this.#stalled.add(watcher);
    return !this.#full;
  }

  #sendEvents(watcher: Watcher, response: WatchResponse & { readonly type: 'events' }): void {
    const { batch, header } = response;
    if (!watcher.fragment || batch.events.length < 2) {
      return this.#send(watchBatchLine(batch, header, watcher.id));
    }
    for (const line of watchFragmentLines(batch, header, watcher.id, FRAGMENT_BYTES)) this.#send(line);
  }

  #progress(watcher: Watcher, header: ResponseHeader): void {
    if (!watcher.progressAwaited) {
      if (watcher.progressNotify) this.#send(watchMessageLine({ header, watchId: watcher.id }));
      return;
    }
    watcher.progressAwaited = false;
    this.#progressRevision = Math.min(this.#progressRevision ?? 0, header.revision ?? 0);
    this.#answerProgress(header);
  }

  #answerProgress(header: ResponseHeader): void {
    const revision = this.#progressRevision;
    if (revision === undefined || revision === Number.MAX_SAFE_INTEGER) return;
    for (const watcher of this.#watchers.values()) if (watcher.progressAwaited) return;
    this.#progressRevision = undefined;
    this.#send(watchMessageLine({ header: { ...header, revision }, watchId: NO_WATCH_ID }));
  }

  #canceled(watcher: Watcher, response: WatchResponse & { readonly type: 'canceled' }): void {
    const { compactRevision, reason, header } = response;
    if (!watcher.created) {
      this.#forgetRefused(watcher);
      const cancelReason = reason || ERRORS.COMPACTED.text;
      this.#send(
        watchMessageLine({ header, watchId: NO_WATCH_ID, created: true, canceled: true, cancelReason }),
      );
      return this.#answered();
    }
    this.#forget(watcher);
    if (compactRevision > 0) {
      // etcd leaves the revision out here.
      const bare = { clusterId: header.clusterId, memberId: header.memberId, raftTerm: header.raftTerm };
      this.#send(watchMessageLine({ header: bare, watchId: watcher.id, canceled: true, compactRevision }));
    } else {
      this.#send(watchMessageLine({ header, watchId: watcher.id, canceled: true, cancelReason: reason }));
    }
  }

  #forget(watcher: Watcher): void {
    this.#watchers.delete(watcher.id);
    this.#stalled.delete(watcher);
    if (watcher.progressAwaited && this.#lastHeader !== undefined) this.#answerProgress(this.#lastHeader);
  }

  #send(line: Buffer): void {
    if (!this.#output.line(line)) this.#full = true;
  }

  #answered(): void {
    this.#busy = false;
    if (this.ready) this.#onReady();
  }

  /** For answers that no watch gives, the header comes from the member's status; requests wait meanwhile. */
  #withHeader(answer: (header: ResponseHeader) => void): void {
    this.#busy = true;
    this.#api.status({ ...this.#options, internal: true }).then(
      (status) => this.#answerWith(status.header, answer),
      (thrown) => {
        if (this.#closed) return;
        if (this.#lastHeader === undefined) this.#output.end(StatusError.from(thrown));
        else this.#answerWith(this.#lastHeader, answer);
      },
    );
  }

  #answerWith(header: ResponseHeader, answer: (header: ResponseHeader) => void): void {
    if (this.#closed) return;
    answer(header);
    this.#answered();
  }
}
