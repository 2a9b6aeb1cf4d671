import type { Clock } from '@muster/base';
import type { ServerFrame, SubFrame, WatchSelection } from '@muster/contract';
import type { Attachment, Connection, NamedFrame, Subscriber, Verdict } from './connection.ts';
import type { Position } from './cursor.ts';
import { closedError, type MusterError } from './errors.ts';
import { WATCH_CREDIT } from './limits.ts';
import { type SessionBatch, type SessionStatus, WatchSession, type WireShape } from './watch-session.ts';

type SubscriptionHandlers<I> = {
  /** A whole batch. Its holder calls `consumed` with it when it is done. */
  onBatch(batch: SessionBatch<I>): void;
  onBookmark(at: Position): void;
  onStatus(status: SessionStatus, cause: string | undefined): void;
  /** Ended for good by the server. */
  onFailed(error: MusterError): void;
};

export type SubscriptionOptions<I, E> = {
  readonly connection: Connection;
  readonly clock: Clock;
  readonly selection: WatchSelection;
  readonly shape: WireShape<I, E>;
  readonly from?: Position;
  readonly snapshot: boolean;
  readonly keepItems: boolean;
  /** Default true. */
  readonly repair?: boolean;
};

/** A watch session joined to the client's connection: what it puts out goes to the handlers, acknowledgements go back. */
export class Subscription<I, E> implements Subscriber {
  readonly #session: WatchSession<I, E>;
  readonly #handlers: SubscriptionHandlers<I>;
  readonly #clock: Clock;
  readonly #attachment: Attachment;
  #ack: { at: Position; credit: number } | undefined;
  #closed = false;

  constructor(options: SubscriptionOptions<I, E>, handlers: SubscriptionHandlers<I>) {
    this.#handlers = handlers;
    this.#clock = options.clock;
    this.#session = new WatchSession({
      selection: options.selection,
      shape: options.shape,
      snapshot: options.snapshot,
      credit: WATCH_CREDIT,
      keepItems: options.keepItems,
      repair: options.repair ?? true,
      ...(options.from && { from: options.from }),
    });
    this.#attachment = options.connection.attach(this);
  }

  get status(): SessionStatus {
    return this.#session.status;
  }

  /** How many things are known to be in the selection; all of them once a snapshot was seen. */
  get size(): number {
    return this.#session.size;
  }

  /** Acknowledgements of one turn go out as one frame. */
  consumed(batch: SessionBatch<I>): void {
    if (this.#ack) {
      this.#ack.at = batch.at;
      this.#ack.credit += batch.credit;
      return;
    }
    this.#ack = { at: batch.at, credit: batch.credit };
    this.#clock.defer(() => {
      const ack = this.#ack;
      this.#ack = undefined;
      if (this.#closed || !ack) return;
      const frame = this.#session.consumed(ack.at, ack.credit);
      if (frame) this.#attachment.send(frame);
      else if (this.#session.status.state === 'detached' && !this.#session.full) this.#attachment.subscribe();
    });
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#session.end();
    this.#attachment.close();
  }

  subscribe(id: string, epoch: string): SubFrame | undefined {
    if (this.#session.full) return undefined;
    const frame = this.#session.subscribe(id, epoch);
    this.#handlers.onStatus(this.#session.status, undefined);
    return frame;
  }

  detached(cause: string): void {
    if (this.#closed) return;
    this.#session.detach();
    this.#handlers.onStatus(this.#session.status, cause);
  }

  closed(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#session.end();
    this.#handlers.onFailed(closedError('the client'));
  }

  bookmark(rev: number): void {
    this.#handle(this.#session.bookmark(rev));
  }

  receive(frame: NamedFrame): Verdict {
    if (frame.t === 'cluster' || (frame.t as ServerFrame['t']) === 'bm') return 'ok';
    return this.#handle(this.#session.receive(frame as Parameters<WatchSession<I, E>['receive']>[0]));
  }

  #handle(outputs: ReturnType<WatchSession<I, E>['receive']>): Verdict {
    for (const output of outputs) {
      switch (output.type) {
        case 'batch':
          this.#handlers.onBatch(output.batch);
          break;
        case 'bookmark':
          this.#handlers.onBookmark(output.at);
          break;
        case 'status':
          this.#handlers.onStatus(output.status, undefined);
          break;
        case 'violation':
          return { violation: output.detail };
        case 'resubscribe':
          this.#handlers.onStatus(this.#session.status, output.error.message);
          return 'again';
        case 'failed':
          this.#closed = true;
          this.#handlers.onFailed(output.error);
          return 'done';
      }
    }
    return 'ok';
  }
}
