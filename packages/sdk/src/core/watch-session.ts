import { assert } from '@muster/base';
import type { ClientFrame, Problem, ServerFrame, SubFrame, WatchSelection } from '@muster/contract';
import { type Cursor, cursorOf, type Position } from './cursor.ts';
import { MusterError } from './errors.ts';

/** The frames that concern one subscription. */
export type SubscriptionFrame = Extract<
  ServerFrame,
  { readonly t: 'subd' | 'snap' | 'ev' | 'gap' | 'lag' | 'end' }
>;

/** What a session must know of the things it watches. `identity` names one of them for ever. */
export type WireShape<I, E> = {
  identity(item: I): string;
  modRevision(item: I): number;
  event(event: E): WireEvent<I>;
};

type WireEvent<I> =
  | { readonly type: 'put'; readonly identity: string; readonly item: I; readonly prev?: I }
  | {
      readonly type: 'delete';
      readonly identity: string;
      readonly modRevision: number;
      readonly prev?: I;
      readonly filtered?: boolean;
    };

type Cause = 'live' | 'snapshot' | 'repair';

export type SessionChange<I> =
  | { readonly type: 'put'; readonly item: I; readonly prev?: I; readonly cause: Cause }
  | {
      readonly type: 'delete';
      readonly identity: string;
      readonly prev?: I;
      readonly cause: 'live' | 'repair';
      /** It exists still, but the selection does not include it any more. */
      readonly filtered?: boolean;
    };

/** One revision, one whole snapshot or one repair: taken as a whole or not at all. */
export type SessionBatch<I> = {
  readonly at: Position;
  readonly changes: readonly SessionChange<I>[];
  /** With this the consumer is level with the store: the end of a snapshot or repair. */
  readonly synced: boolean;
  /** What it takes of the window until it is consumed. */
  readonly credit: number;
};

export type SessionOutput<I> =
  | { readonly type: 'batch'; readonly batch: SessionBatch<I> }
  /** Nothing happened to the selection up to here. */
  | { readonly type: 'bookmark'; readonly at: Position }
  | { readonly type: 'status'; readonly status: SessionStatus }
  /** The peer broke the protocol or is behind what was seen already: talk to another one. */
  | { readonly type: 'violation'; readonly detail: string }
  /** The server ended this subscription; the same may be asked again later. */
  | { readonly type: 'resubscribe'; readonly error: MusterError }
  /** The server ended it for good. */
  | { readonly type: 'failed'; readonly error: MusterError };

export type SessionStatus =
  | { readonly state: 'detached' }
  | { readonly state: 'subscribing' }
  | { readonly state: 'snapshot'; readonly repair: boolean }
  | { readonly state: 'live' }
  /** The server has stopped reading for this subscription until credit comes back. */
  | { readonly state: 'lagging'; readonly behind: number }
  | { readonly state: 'ended' };

type Phase<I> =
  | { readonly kind: 'detached' }
  | { readonly kind: 'subscribing'; readonly id: string; readonly epoch: string }
  | {
      readonly kind: 'snapshot';
      readonly id: string;
      readonly epoch: string;
      /** `undefined` until the first chunk says it. */
      rev: number | undefined;
      readonly items: Map<string, I>;
    }
  | { readonly kind: 'live'; readonly id: string; readonly epoch: string; lagging: boolean }
  | { readonly kind: 'ended' };

type Known<I> = { readonly modRevision: number; readonly item: I | undefined };

type WatchSessionOptions<I, E> = {
  readonly selection: WatchSelection;
  readonly shape: WireShape<I, E>;
  readonly from?: Position;
  /** Begin with everything that is selected now. */
  readonly snapshot: boolean;
  /** Revisions that may wait for the consumer. */
  readonly credit: number;
  /**
   * After a gap, compare with a new snapshot and report the difference. Otherwise go on from then, and remember nothing.
   */
  readonly repair: boolean;
  /** Keep whole items, so that deletes and repairs can carry the previous one. Else only revisions are kept. */
  readonly keepItems: boolean;
};

/**
 * One subscription across any number of sockets. Pure: frames in, outputs out, no clock and no I/O.
 *
 * What must hold, whatever is cut, repeated or missing:
 * - `received` moves only by a wholly received revision, the end of a snapshot, or a bookmark; every subscription
 *   resumes from it, so nothing between two sockets is lost.
 * - a revision comes out whole or not at all, each once, ascending within an epoch.
 * - after a repair, applying all that came out gives exactly what the server has.
 *
 * A session begun without a snapshot does not know what existed before: a repair cannot report the deletion of a key
 * that it never saw.
 */
export class WatchSession<I, E> {
  readonly #options: WatchSessionOptions<I, E>;
  readonly #known = new Map<string, Known<I>>();
  #phase: Phase<I> = { kind: 'detached' };
  #received: Position | undefined;
  /** `known` holds all of the selection, not only what changed since the start. */
  #complete = false;
  #everSynced = false;
  /** Batches handed out and not yet consumed, and those of them that the server does not count any more. */
  #outstanding = 0;
  #carried = 0;
  #parts: { readonly rev: number; readonly of: number; next: number; readonly events: E[] } | undefined;

  constructor(options: WatchSessionOptions<I, E>) {
    this.#options = options;
    this.#received = options.from;
  }

  /** The last position wholly received, delivered to the consumer or waiting in its queue. */
  get received(): Cursor | undefined {
    return this.#received && cursorOf(this.#received);
  }

  /** So much waits for the consumer that nothing more may be asked for: `subscribe` must wait until this is false. */
  get full(): boolean {
    return this.#outstanding >= this.#options.credit;
  }

  get size(): number {
    return this.#known.size;
  }

  get status(): SessionStatus {
    const phase = this.#phase;
    switch (phase.kind) {
      case 'snapshot':
        return { state: 'snapshot', repair: this.#everSynced };
      case 'live':
        return phase.lagging ? { state: 'lagging', behind: 0 } : { state: 'live' };
      default:
        return { state: phase.kind };
    }
  }

  /** Begins on a socket. Whatever was half received on an earlier one is forgotten. */
  subscribe(id: string, epoch: string): SubFrame {
    assert(!this.full, 'a full session subscribes');
    this.#parts = undefined;
    this.#carried = this.#outstanding;
    this.#phase = { kind: 'subscribing', id, epoch };
    return {
      t: 'sub',
      id,
      sel: this.#options.selection,
      ...(this.#received && { from: cursorOf(this.#received) }),
      ...(!this.#received && this.#options.snapshot && { snapshot: true }),
      credit: this.#window(),
    };
  }

  /** The socket is gone. */
  detach(): void {
    this.#parts = undefined;
    if (this.#phase.kind !== 'ended') this.#phase = { kind: 'detached' };
  }

  end(): void {
    this.#phase = { kind: 'ended' };
  }

  /**
   * The consumer is done with everything up to `at`, `credit` revisions since the last call. Returns the frame that
   * opens the window again, if there is a socket for it. A revision of another epoch acknowledges nothing of this one.
   */
  consumed(at: Position, credit: number): ClientFrame | undefined {
    this.#outstanding = Math.max(0, this.#outstanding - credit);
    const widened = this.#carried > 0;
    this.#carried = Math.max(0, this.#carried - credit);
    const phase = this.#phase;
    if (phase.kind !== 'live' && phase.kind !== 'snapshot') return undefined;
    if (phase.kind === 'live') phase.lagging = false;
    const rev = at.epoch === phase.epoch ? at.rev : 0;
    return { t: 'ack', id: phase.id, rev, ...(widened && { credit: this.#window() }) };
  }

  /** What waits from an earlier socket is not acknowledged on this one, so it narrows the window instead. */
  #window(): number {
    return Math.max(1, this.#options.credit - this.#carried);
  }

  receive(frame: SubscriptionFrame): SessionOutput<I>[] {
    const phase = this.#phase;
    if (phase.kind === 'detached' || phase.kind === 'ended' || phase.id !== frame.id) return [];
    switch (frame.t) {
      case 'subd':
        return this.#onSubscribed(phase, frame.mode, frame.rev);
      case 'snap':
        return this.#onSnapshot(phase, frame.rev, frame.items as readonly I[], frame.more);
      case 'ev':
        return this.#onEvents(phase, frame.rev, frame.events as readonly E[], frame.part);
      case 'gap':
        return this.#onGap(phase);
      case 'lag':
        if (phase.kind === 'live') phase.lagging = true;
        return [{ type: 'status', status: { state: 'lagging', behind: frame.behind } }];
      case 'end':
        return this.#onEnd(frame.problem);
    }
  }

  /** The server has told everything up to `rev`. */
  bookmark(rev: number): SessionOutput<I>[] {
    const phase = this.#phase;
    if (phase.kind !== 'live' || phase.lagging || this.#parts) return [];
    if (this.#received && this.#received.epoch === phase.epoch && rev <= this.#received.rev) return [];
    this.#received = { epoch: phase.epoch, rev };
    return [{ type: 'bookmark', at: this.#received }];
  }

  #onSubscribed(phase: Attached<I>, mode: 'resume' | 'snapshot', rev: number): SessionOutput<I>[] {
    if (phase.kind !== 'subscribing') return violation(`subd for ${phase.id} came twice`);
    const { id, epoch } = phase;
    if (mode === 'snapshot') {
      this.#phase = { kind: 'snapshot', id, epoch, rev: undefined, items: new Map() };
      return [{ type: 'status', status: this.status }];
    }
    this.#phase = { kind: 'live', id, epoch, lagging: false };
    const outputs: SessionOutput<I>[] = [{ type: 'status', status: this.status }];
    // A watch "from now on" starts exactly here: until something is received this is where it must resume.
    this.#received ??= { epoch, rev };
    if (!this.#everSynced || !this.#options.repair) {
      this.#everSynced = true;
      outputs.push({ type: 'batch', batch: { at: this.#received, changes: [], synced: true, credit: 0 } });
    }
    return outputs;
  }

  #onGap(phase: Attached<I>): SessionOutput<I>[] {
    this.#parts = undefined;
    if (!this.#options.repair) {
      this.#received = undefined;
      this.detach();
      return [
        { type: 'resubscribe', error: new MusterError('COMPACTED', 'history is gone', { retryable: true }) },
      ];
    }
    // The server forgets what it has sent before a gap, so its whole window is open again.
    this.#carried = this.#outstanding;
    this.#phase = { kind: 'snapshot', id: phase.id, epoch: phase.epoch, rev: undefined, items: new Map() };
    return [{ type: 'status', status: this.status }];
  }

  #onSnapshot(phase: Attached<I>, rev: number, items: readonly I[], more: boolean): SessionOutput<I>[] {
    if (phase.kind !== 'snapshot') return violation(`snapshot for ${phase.id} that nothing announced`);
    if (phase.rev !== rev) phase.items.clear();
    phase.rev = rev;
    for (const item of items) phase.items.set(this.#options.shape.identity(item), item);
    if (more) return [];
    const received = this.#received;
    if (received && received.epoch === phase.epoch && rev < received.rev) {
      return violation(`snapshot at revision ${rev}, behind ${received.rev} seen before`);
    }
    if (this.#overflows()) return this.#tooSlow();
    const changes = this.#diff(phase.items, phase.epoch);
    const at = { epoch: phase.epoch, rev };
    this.#received = at;
    this.#complete = true;
    this.#everSynced = true;
    this.#phase = { kind: 'live', id: phase.id, epoch: phase.epoch, lagging: false };
    return [
      { type: 'batch', batch: { at, changes, synced: true, credit: 1 } },
      { type: 'status', status: this.status },
    ];
  }

  /** The least list of changes that turns what is known into `items`, which become what is known. */
  #diff(items: ReadonlyMap<string, I>, epoch: string): SessionChange<I>[] {
    const { shape } = this.#options;
    const changes: SessionChange<I>[] = [];
    const cause: Cause = this.#everSynced ? 'repair' : 'snapshot';
    const sameEpoch = this.#received?.epoch === epoch;
    for (const [identity, known] of this.#known) {
      if (items.has(identity)) continue;
      this.#known.delete(identity);
      changes.push({ type: 'delete', identity, cause: 'repair', ...prevOf(known) });
    }
    for (const [identity, item] of items) {
      const modRevision = shape.modRevision(item);
      const known = this.#known.get(identity);
      this.#learn(identity, modRevision, item);
      // What an incomplete session does not know, its consumer may still have: everything up to the cursor.
      const seen = known
        ? known.modRevision === modRevision
        : !this.#complete && modRevision <= (this.#received?.rev ?? -1);
      if (seen && sameEpoch) continue;
      changes.push({ type: 'put', item, cause, ...prevOf(known) });
    }
    return changes;
  }

  #onEvents(
    phase: Attached<I>,
    rev: number,
    events: readonly E[],
    part: readonly [number, number] | undefined,
  ): SessionOutput<I>[] {
    if (phase.kind !== 'live') return violation(`events for ${phase.id} before it was live`);
    const whole = part ? this.#collect(rev, events, part) : this.#parts ? undefined : events;
    if (whole === undefined) return violation(`revision ${rev} came in parts that do not fit`);
    if (whole === 'more') return [];
    const received = this.#received;
    const again = received !== undefined && received.epoch === phase.epoch && rev <= received.rev;
    // Nothing new, but consuming it acknowledges it.
    if (again) return [{ type: 'batch', batch: { at: received, changes: [], synced: false, credit: 0 } }];
    if (this.#overflows()) return this.#tooSlow();
    const at = { epoch: phase.epoch, rev };
    const changes: SessionChange<I>[] = [];
    for (const event of whole) {
      const change = this.#apply(this.#options.shape.event(event), rev);
      if (change) changes.push(change);
    }
    this.#received = at;
    return [{ type: 'batch', batch: { at, changes, synced: false, credit: 1 } }];
  }

  /**
   * What waits for the consumer is bounded even where the window is not: a server may repair gaps again and again while
   * nobody takes anything. Returns whether one more batch is too many, and counts it if not.
   */
  #overflows(): boolean {
    if (this.#outstanding >= 2 * this.#options.credit + 2) return true;
    this.#outstanding++;
    return false;
  }

  #tooSlow(): SessionOutput<I>[] {
    this.detach();
    const text = 'more waits for the consumer than was asked for: going on when it has caught up';
    return [{ type: 'resubscribe', error: new MusterError('RATE_LIMITED', text, { retryable: true }) }];
  }

  #collect(
    rev: number,
    events: readonly E[],
    [n, of]: readonly [number, number],
  ): readonly E[] | 'more' | undefined {
    this.#parts ??= { rev, of, next: 1, events: [] };
    const parts = this.#parts;
    if (parts.rev !== rev || parts.of !== of || parts.next !== n) return undefined;
    for (const event of events) parts.events.push(event);
    parts.next++;
    if (n < of) return 'more';
    this.#parts = undefined;
    return parts.events;
  }

  #apply(event: WireEvent<I>, rev: number): SessionChange<I> | undefined {
    const known = this.#known.get(event.identity);
    if (event.type === 'put') {
      const modRevision = this.#options.shape.modRevision(event.item);
      if (known && known.modRevision >= modRevision) return undefined;
      this.#learn(event.identity, modRevision, event.item);
      return {
        type: 'put',
        item: event.item,
        cause: 'live',
        ...(event.prev ? { prev: event.prev } : prevOf(known)),
      };
    }
    if (known && known.modRevision > rev) return undefined;
    this.#known.delete(event.identity);
    return {
      type: 'delete',
      identity: event.identity,
      cause: 'live',
      ...(event.prev ? { prev: event.prev } : prevOf(known)),
      ...(event.filtered && { filtered: true }),
    };
  }

  #learn(identity: string, modRevision: number, item: I): void {
    if (!this.#options.repair) return;
    this.#known.set(identity, { modRevision, item: this.#options.keepItems ? item : undefined });
  }

  #onEnd(problem: Problem | undefined): SessionOutput<I>[] {
    this.#parts = undefined;
    const error = problem
      ? MusterError.fromProblem(problem, Number(problem.status) || 500)
      : new MusterError('CLOSED', 'the server ended the watch', { retryable: true });
    if (error.retryable) {
      this.#phase = { kind: 'detached' };
      return [{ type: 'resubscribe', error }];
    }
    this.#phase = { kind: 'ended' };
    return [{ type: 'failed', error }];
  }
}

type Attached<I> = Exclude<Phase<I>, { kind: 'detached' } | { kind: 'ended' }>;

function violation(detail: string): [{ type: 'violation'; detail: string }] {
  return [{ type: 'violation', detail }];
}

function prevOf<I>(known: Known<I> | undefined): { prev?: I } {
  return known?.item === undefined ? {} : { prev: known.item };
}
