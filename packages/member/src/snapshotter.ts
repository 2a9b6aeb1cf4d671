import { backoffDelayMs, type Clock, type Prng } from '@muster/base';
import type { Message, NodeId, SnapshotMeta } from '@muster/raft';
import type { MemberLog } from './member-log.ts';
import type { PeerTransport, SnapshotStore } from './ports.ts';
import { decodeRaftMeta } from './raft-meta.ts';

type SnapshotMessage = Message & { readonly type: 'snapshot' };

/** Between attempts to one peer. */
const RETRY = { firstMs: 100, maxMs: 10_000 } as const;

/**
 * Sends the whole state to a peer whose next entries are no longer in the log. Raft asks with the state of the
 * moment; what leaves is an image of that or a later index, and its message says which.
 */
export class Snapshotter {
  readonly #store: SnapshotStore;
  readonly #transport: PeerTransport;
  readonly #log: MemberLog;
  readonly #clock: Clock;
  readonly #prng: Prng;
  readonly #keep: number;
  readonly #report: (to: NodeId, ok: boolean) => void;
  readonly #sending = new Set<NodeId>();
  /** Failures in a row. */
  readonly #failures = new Map<NodeId, number>();
  #image: { readonly name: string; readonly meta: SnapshotMeta } | undefined;
  #waiters: ((error: Error | undefined) => void)[] = [];
  sent = 0;
  failed = 0;

  constructor(options: {
    readonly store: SnapshotStore;
    readonly transport: PeerTransport;
    readonly clock: Clock;
    readonly prng: Prng;
    readonly log: MemberLog;
    readonly keep: number;
    readonly report: (to: NodeId, ok: boolean) => void;
  }) {
    this.#store = options.store;
    this.#transport = options.transport;
    this.#log = options.log;
    this.#clock = options.clock;
    this.#prng = options.prng;
    this.#keep = options.keep;
    this.#report = options.report;
  }

  /** The lowest index that images under way stand at: the log behind it must stay, or they would be in vain. */
  holdIndex(): number {
    if (this.#sending.size === 0) return Number.POSITIVE_INFINITY;
    return this.#image ? this.#image.meta.index : 0;
  }

  send(message: SnapshotMessage): void {
    const to = message.to;
    if (this.#sending.has(to)) return;
    this.#sending.add(to);
    this.#withImage(message.snapshot.index, (error) => {
      const image = this.#image;
      if (error || !image) return this.#finish(to, error ?? new Error('no image was made'));
      this.#log('info', 'sending a snapshot', {
        to: to.toString(16),
        index: image.meta.index,
        name: image.name,
      });
      this.#transport.sendSnapshot(to, { ...message, snapshot: image.meta }, image.name, (failure) =>
        this.#finish(to, failure),
      );
    });
  }

  /** Raft asks again as soon as it hears of a failure: it hears of it later each time. */
  #finish(to: NodeId, error: Error | undefined): void {
    this.#sending.delete(to);
    if (!error) {
      this.sent++;
      this.#failures.delete(to);
      this.#store.prune(this.#keep);
      return this.#report(to, true);
    }
    this.failed++;
    this.#image = undefined;
    const failures = this.#failures.get(to) ?? 0;
    this.#failures.set(to, failures + 1);
    this.#log('warn', 'sending a snapshot failed', { to: to.toString(16), error: error.message });
    this.#clock.schedule(backoffDelayMs(RETRY, failures, this.#prng), () => this.#report(to, false));
  }

  /** An image of at least `index`; peers that ask while one is being made share it. */
  #withImage(index: number, done: (error: Error | undefined) => void): void {
    if (this.#image && this.#image.meta.index >= index) return done(undefined);
    this.#waiters.push(done);
    if (this.#waiters.length > 1) return;
    this.#store.create((error, image) => {
      if (!error) this.#image = { name: image.name, meta: decodeRaftMeta(image.raftMeta) };
      const waiters = this.#waiters;
      this.#waiters = [];
      for (const waiter of waiters) waiter(error);
    });
  }
}
