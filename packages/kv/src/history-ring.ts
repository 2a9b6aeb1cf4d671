import { assert } from '@muster/base';
import type { Event } from './types.ts';
import { eventBytes } from './watch-filter.ts';

type Slot = { readonly events: readonly Event[]; readonly bytes: number };

/**
 * The newest revisions with their events, bounded by count and by bytes: where a watcher that fell a little behind
 * is refilled from without touching the store. Holds a gapless run of revisions; a gap empties it.
 */
export class HistoryRing {
  readonly #slots: (Slot | undefined)[];
  readonly #maxBytes: number;
  #first = 1;
  #next = 1;
  #bytes = 0;

  /** @param maxRevisions a power of two */
  constructor(maxRevisions: number, maxBytes: number) {
    assert(
      maxRevisions > 0 && (maxRevisions & (maxRevisions - 1)) === 0,
      `ring of ${maxRevisions} revisions: not a power of two`,
    );
    this.#slots = new Array<Slot | undefined>(maxRevisions).fill(undefined);
    this.#maxBytes = maxBytes;
  }

  /** The oldest revision held; with `length` 0, the revision after the last one that was. */
  get firstRevision(): number {
    return this.#first;
  }

  get length(): number {
    return this.#next - this.#first;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Adds the events of `revision`; drops the oldest revisions that no longer fit, if need be this one too. */
  push(revision: number, events: readonly Event[]): void {
    if (revision !== this.#next) this.clear(revision);
    let bytes = 0;
    for (const event of events) bytes += eventBytes(event);
    if (this.length === this.#slots.length) this.#dropOldest();
    this.#slots[revision & (this.#slots.length - 1)] = { events, bytes };
    this.#next = revision + 1;
    this.#bytes += bytes;
    while (this.#bytes > this.#maxBytes) this.#dropOldest();
  }

  /** The events of a revision in [firstRevision, firstRevision + length). */
  at(revision: number): readonly Event[] {
    assert(
      revision >= this.#first && revision < this.#next,
      () => `revision ${revision} is not in the ring [${this.#first}, ${this.#next})`,
    );
    return (this.#slots[revision & (this.#slots.length - 1)] as Slot).events;
  }

  /** Empties the ring; the next revision expected is `nextRevision`. */
  clear(nextRevision: number): void {
    if (this.length > 0) this.#slots.fill(undefined);
    this.#first = nextRevision;
    this.#next = nextRevision;
    this.#bytes = 0;
  }

  #dropOldest(): void {
    const at = this.#first & (this.#slots.length - 1);
    this.#bytes -= (this.#slots[at] as Slot).bytes;
    this.#slots[at] = undefined;
    this.#first++;
  }
}
