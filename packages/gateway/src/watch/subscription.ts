/** One subscription to a selection of keys: a cursor, and at most a reference to one shared batch. */
import { type GapReason, KvError } from '@muster/contract';
import type { CallOptions, KeyValue, WatchHandle, WatchResponse } from '@muster/kv';
import { revisionOf, type V1Context } from '../v1/context.ts';
import { type Cursor, formatCursor } from '../v1/cursors.ts';
import { cancelReason } from '../v1/long-poll.ts';
import { scan } from '../v1/scan.ts';
import { type EncodedRevision, encodeBatch, jsonArrays } from './encode.ts';
import type { Selection } from './selection.ts';

/** Where a subscription's frames go. Calls come in the order in which the client is to see them. */
export interface Outlet {
  /** A further revision may be sent. `behind` says how many revisions wait, for an outlet that is out of credit. */
  readyForRevision(behind: number): boolean;
  /** There is room in the send buffer. */
  readonly hasRoom: boolean;
  subscribed(mode: 'resume' | 'snapshot', rev: number): void;
  snapshot(rev: number, items: string, more: boolean, replace: boolean): void;
  revision(encoded: EncodedRevision): void;
  gap(reason: GapReason, from: string, to: number): void;
  /** Everything up to `rev` has been passed in. */
  progress(rev: number): void;
  /** The last call. */
  ended(error: KvError): void;
}

export type SubscriptionOptions = {
  /** Continue after this. */
  readonly from?: Cursor;
  readonly snapshot?: boolean;
  readonly coalesce?: boolean;
};

type Pending = { readonly revisions: readonly EncodedRevision[]; readonly at: number; readonly last: number };

export class Subscription {
  readonly #context: V1Context;
  readonly #selection: Selection;
  readonly #outlet: Outlet;
  readonly #options: SubscriptionOptions;
  readonly #call: () => CallOptions;
  readonly #abort = new AbortController();
  #epoch = '';
  #handle: WatchHandle | undefined;
  /** The rest of the batch in which room ran out. */
  #pending: Pending | undefined;
  #heldCancel: (WatchResponse & { type: 'canceled' }) | undefined;
  /** The watch was told that there is no room. */
  #stalled = false;
  #subscribed = false;
  #snapshotting = false;
  #delivered = 0;
  #newest = 0;
  #closed = false;
  #wake = (): void => {};

  /** `call` is how its calls are made now: with which token. */
  constructor(
    context: V1Context,
    selection: Selection,
    outlet: Outlet,
    options: SubscriptionOptions,
    call: () => CallOptions,
  ) {
    this.#call = call;
    this.#context = context;
    this.#selection = selection;
    this.#outlet = outlet;
    this.#options = options;
  }

  /** Everything up to this revision has been passed to the outlet; `undefined` while a snapshot is under way. */
  get delivered(): number | undefined {
    if (!this.#subscribed || this.#snapshotting) return undefined;
    if (this.#pending || !this.#handle) return this.#delivered;
    return Math.max(this.#delivered, this.#handle.nextRevision - 1);
  }

  /** Waiting for its outlet. */
  get lagging(): boolean {
    return this.#stalled || this.#pending !== undefined;
  }

  /** `epoch` is the store's. */
  start(epoch: string): void {
    this.#epoch = epoch;
    const { from, snapshot } = this.#options;
    if (from && from.epoch !== epoch) {
      this.#repair('epoch', formatCursor(from.epoch, from.revision), 0);
    } else if (from) {
      this.#watch(from.revision + 1);
    } else if (snapshot) {
      void this.#snapshot(false);
    } else {
      this.#watch(0);
    }
  }

  /** The outlet may have room again. */
  pump(): void {
    if (this.#closed) return;
    this.#wake();
    const pending = this.#pending;
    if (pending && !this.#deliver(pending)) return;
    if (this.#heldCancel) {
      this.#canceled(this.#heldCancel);
      return;
    }
    if (!this.#stalled || !this.#outlet.readyForRevision(this.#behind())) return;
    this.#stalled = false;
    this.#handle?.resume();
  }

  /** The outlet gets `progress` when everything up to now has been passed to it. */
  requestProgress(): void {
    this.#handle?.requestProgress();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#handle?.cancel();
    this.#abort.abort();
    this.#wake();
  }

  #behind(): number {
    return Math.max(0, this.#newest - this.#delivered);
  }

  #watch(startRevision: number): void {
    const { span, filters, prevKv } = this.#selection;
    const request = { ...span, startRevision, filters, prevKv };
    this.#handle = this.#context.api.watch(
      request,
      (response) => this.#take(response, startRevision),
      this.#context.watchCall(this.#call()),
    );
  }

  #take(response: WatchResponse, startRevision: number): boolean {
    if (this.#closed) return true;
    this.#newest = Math.max(this.#newest, revisionOf(response.header));
    switch (response.type) {
      case 'created':
        this.#created(startRevision, revisionOf(response.header));
        return true;
      case 'events': {
        const { batch } = response;
        const merge = this.#options.coalesce === true;
        const revisions = encodeBatch(batch, this.#selection, merge, this.#context.limits.outFrameBytes);
        return this.#deliver({ revisions, at: 0, last: batch.lastRevision });
      }
      case 'progress':
        this.#delivered = Math.max(this.#delivered, revisionOf(response.header));
        this.#outlet.progress(this.#delivered);
        return true;
      case 'canceled':
        if (this.#pending) this.#heldCancel = response;
        else this.#canceled(response);
        return true;
    }
  }

  #created(startRevision: number, current: number): void {
    if (this.#subscribed) return;
    this.#subscribed = true;
    this.#delivered = startRevision === 0 ? current : startRevision - 1;
    this.#outlet.subscribed('resume', this.#delivered);
    const far = current - this.#delivered > this.#context.limits.replayRevisions;
    if (!far || !this.#options.coalesce) return;
    this.#handle?.cancel();
    this.#repair('overflow', formatCursor(this.#epoch, this.#delivered), current);
  }

  /** Passes on what there is room for and keeps the rest; true when there is room for more. */
  #deliver({ revisions, at, last }: Pending): boolean {
    this.#pending = undefined;
    for (let i = at; i < revisions.length; i++) {
      if (!this.#outlet.readyForRevision(this.#behind())) {
        this.#pending = { revisions, at: i, last };
        this.#stalled = true;
        return false;
      }
      const encoded = revisions[i] as EncodedRevision;
      this.#outlet.revision(encoded);
      this.#delivered = encoded.rev;
    }
    this.#delivered = Math.max(this.#delivered, last);
    return true;
  }

  #canceled({ compactRevision, reason, header }: WatchResponse & { type: 'canceled' }): void {
    this.#heldCancel = undefined;
    this.#handle = undefined;
    this.#stalled = false;
    if (compactRevision > 0) {
      this.#repair('compacted', formatCursor(this.#epoch, this.#delivered), revisionOf(header));
    } else {
      this.#end(cancelReason(0, reason));
    }
  }

  #repair(reason: GapReason, from: string, to: number): void {
    if (this.#subscribed) this.#outlet.gap(reason, from, to);
    void this.#snapshot(true, this.#subscribed ? undefined : () => this.#outlet.gap(reason, from, to));
  }

  async #snapshot(replace: boolean, onSubscribed?: () => void): Promise<void> {
    this.#snapshotting = true;
    for (let attempt = 1; !this.#closed; attempt++) {
      try {
        const revision = await this.#sendSnapshot(replace, onSubscribed);
        if (this.#closed) return;
        this.#snapshotting = false;
        this.#delivered = revision;
        this.#watch(revision + 1);
        return;
      } catch (thrown) {
        const error = KvError.from(thrown);
        // Compaction overtook the snapshot between two slices: a newer one, which replaces what was sent of this.
        if (error.code === 'COMPACTED' && attempt < this.#context.limits.snapshotAttempts) continue;
        this.#end(error);
        return;
      }
    }
  }

  async #sendSnapshot(replace: boolean, onSubscribed?: () => void): Promise<number> {
    const { api, limits } = this.#context;
    const { span, keysOnly } = this.#selection;
    const call: CallOptions = { ...this.#call(), signal: this.#abort.signal };
    let revision = 0;
    for await (const slice of scan(api, { span, keysOnly }, limits, call)) {
      if (this.#closed) return 0;
      revision = slice.revision;
      if (!this.#subscribed) {
        this.#subscribed = true;
        this.#outlet.subscribed('snapshot', revision);
        onSubscribed?.();
      }
      const chunks = jsonArrays(this.#items(slice.kvs), limits.outFrameBytes);
      for (const [i, chunk] of chunks.entries()) {
        await this.#room();
        if (this.#closed) return 0;
        this.#outlet.snapshot(revision, chunk, slice.more || i < chunks.length - 1, replace);
      }
    }
    return revision;
  }

  #items(kvs: readonly KeyValue[]): string[] {
    const out: string[] = [];
    for (const kv of kvs) {
      const item = this.#selection.item(kv);
      if (item !== undefined) out.push(item);
    }
    return out;
  }

  async #room(): Promise<void> {
    while (!this.#closed && !this.#outlet.hasRoom) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  #end(error: KvError): void {
    if (this.#closed) return;
    this.close();
    this.#outlet.ended(error);
  }
}
