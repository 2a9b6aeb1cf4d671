import { ERRORS, KvError } from '@muster/contract';
import type { CallOptions, EtcdApi, ResponseHeader, WatchHandle, WatchResponse } from '@muster/kv';
import { encodeFramed } from '../convert/codec.ts';
import {
  batchFrame,
  fragmentFrames,
  type WatchMessage,
  type WatchStreamRequest,
  watchRequest,
  watchResponse,
} from '../convert/watch.ts';
import { statusOf } from '../grpc/grpc-status.ts';
import type { StreamOutput, StreamSession } from '../grpc/route.ts';

type WatchSessionOptions = {
  readonly api: EtcdApi;
  readonly options: CallOptions;
  readonly output: StreamOutput;
  readonly onReady: () => void;
  /** Where a watch that allows fragments is cut. */
  readonly fragmentBytes: number;
};

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

/** In answers that belong to no watch: a refused creation, progress of the whole stream. */
const NO_WATCH_ID = -1n;
/** Watches on one stream; more are refused. */
const WATCHES_MAX = 100_000;

/** Many watches over one stream, created, cancelled and asked for progress by requests (reference 2.8). */
export class WatchSession implements StreamSession {
  readonly #with: WatchSessionOptions;
  readonly #watchers = new Map<bigint, Watcher>();
  /** Watches that were told "full" and wait for room. */
  readonly #stalled = new Set<Watcher>();
  #nextId = 0n;
  #busy = false;
  #full = false;
  #closed = false;
  /** Lowest revision that the watches asked for progress have answered with so far; undefined when none is asked. */
  #progressRevision: number | undefined;
  #lastHeader: ResponseHeader | undefined;

  constructor(options: WatchSessionOptions) {
    // The end of the stream ends its watches by `close`: each that listened to the signal would be kept until then.
    const { signal: _, ...lasting } = options.options;
    this.#with = { ...options, options: lasting };
  }

  get ready(): boolean {
    return !this.#busy && !this.#full;
  }

  message(bytes: Uint8Array): void {
    const request = watchRequest.read(bytes);
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

  /** Watches outlive the end of the requests. */
  inputEnded(): void {}

  room(): void {
    this.#full = false;
    const stalled = [...this.#stalled];
    this.#stalled.clear();
    for (const watcher of stalled) {
      if (this.#full) this.#stalled.add(watcher);
      else watcher.handle?.resume();
    }
    if (this.ready) this.#with.onReady();
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
    const { api, options } = this.#with;
    try {
      watcher.handle = api.watch(request.watch, (response) => this.#deliver(watcher, response), options);
    } catch (thrown) {
      this.#forgetRefused(watcher);
      this.#refuse(KvError.from(thrown).message);
    }
  }

  #refusal({ watchId }: CreateRequest): string | undefined {
    if (watchId !== 0n && this.#watchers.has(watchId)) return ERRORS.WATCH_DUPLICATE_ID.text;
    return this.#watchers.size >= WATCHES_MAX ? ERRORS.TOO_MANY_REQUESTS.text : undefined;
  }

  #freeId(): bigint {
    while (this.#watchers.has(this.#nextId)) this.#nextId++;
    return this.#nextId++;
  }

  /** A refused creation uses up no id. */
  #forgetRefused(watcher: Watcher): void {
    this.#forget(watcher);
    if (watcher.id === this.#nextId - 1n) this.#nextId = watcher.id;
  }

  /** Answers a creation that came to nothing. */
  #refuse(cancelReason: string): void {
    this.#withHeader((header) =>
      this.#send({ header, watchId: NO_WATCH_ID, created: true, canceled: true, cancelReason }),
    );
  }

  #cancel(watchId: bigint): void {
    const watcher = this.#watchers.get(watchId);
    if (watcher === undefined) return;
    watcher.handle?.cancel();
    this.#forget(watcher);
    this.#withHeader((header) => this.#send({ header, watchId, canceled: true }));
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
        this.#send({ header: response.header, watchId: watcher.id, created: true });
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

  #sendEvents(watcher: Watcher, { batch, header }: WatchResponse & { readonly type: 'events' }): void {
    if (!watcher.fragment) return this.#sendFrame(batchFrame(batch, header, watcher.id));
    const frames = fragmentFrames(batch, header, watcher.id, this.#with.fragmentBytes);
    for (const frame of frames) this.#sendFrame(frame);
  }

  #progress(watcher: Watcher, header: ResponseHeader): void {
    if (!watcher.progressAwaited) {
      if (watcher.progressNotify) this.#send({ header, watchId: watcher.id });
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
    this.#send({ header: { ...header, revision }, watchId: NO_WATCH_ID });
  }

  #canceled(watcher: Watcher, response: WatchResponse & { readonly type: 'canceled' }): void {
    const { compactRevision, reason, header } = response;
    if (!watcher.created) {
      this.#forgetRefused(watcher);
      const cancelReason = reason || ERRORS.COMPACTED.text;
      this.#send({ header, watchId: NO_WATCH_ID, created: true, canceled: true, cancelReason });
      return this.#answered();
    }
    this.#forget(watcher);
    if (compactRevision > 0) {
      // etcd leaves the revision out here.
      const bare = { clusterId: header.clusterId, memberId: header.memberId, raftTerm: header.raftTerm };
      this.#send({ header: bare, watchId: watcher.id, canceled: true, compactRevision });
    } else {
      this.#send({ header, watchId: watcher.id, canceled: true, cancelReason: reason });
    }
  }

  #forget(watcher: Watcher): void {
    this.#watchers.delete(watcher.id);
    this.#stalled.delete(watcher);
    if (watcher.progressAwaited && this.#lastHeader !== undefined) this.#answerProgress(this.#lastHeader);
  }

  #send(message: WatchMessage): void {
    this.#sendFrame(encodeFramed(watchResponse, message));
  }

  #sendFrame(frame: Buffer): void {
    if (!this.#with.output.send(frame)) this.#full = true;
  }

  #answered(): void {
    this.#busy = false;
    if (this.ready) this.#with.onReady();
  }

  /** For answers that no watch gives, the header comes from the member's status; requests wait meanwhile. */
  #withHeader(answer: (header: ResponseHeader) => void): void {
    this.#busy = true;
    const { api, output } = this.#with;
    api.status({ internal: true }).then(
      (status) => this.#answerWith(status.header, answer),
      (thrown) => {
        if (!this.#closed) output.end(statusOf(thrown));
      },
    );
  }

  #answerWith(header: ResponseHeader, answer: (header: ResponseHeader) => void): void {
    if (this.#closed) return;
    answer(header);
    this.#answered();
  }
}
