import { KvError } from '@muster/contract';
import type { ResponseHeader, WatchResponse } from './api.ts';
import type { HistoryRing } from './history-ring.ts';
import type { Event } from './types.ts';
import { eventBytes, passesFilters, rangeHolds, withoutPrevKv } from './watch-filter.ts';
import type { WatchGroup } from './watch-groups.ts';
import type { Watcher } from './watcher.ts';

/** The store, as the watch hub reads it. */
export interface HistorySource {
  readonly currentRevision: number;
  /** -1 when never compacted. */
  readonly compactRevision: number;
  /**
   * The events of a range in [fromRevision, toRevision], whole revisions, ascending, with `prevKv` where it is kept
   * (only needed when `prevKv` is asked for). Looks at no more than `maxRevisions` revisions and stops before the
   * revision that would exceed `maxBytes`, but always looks at one. Everything below `nextRevision`, which is at
   * most toRevision + 1, has been looked at. Throws KvError COMPACTED when fromRevision is below the compact
   * revision.
   */
  eventsBetween(fromRevision: number, toRevision: number, options: HistoryQuery): HistorySlice;
}

export type HistoryQuery = {
  readonly key: Uint8Array;
  /** As in a range request: empty is the single key, one zero byte is to the end. */
  readonly rangeEnd: Uint8Array;
  readonly prevKv: boolean;
  readonly maxRevisions: number;
  readonly maxBytes: number;
};

export type HistorySlice = { readonly events: readonly Event[]; readonly nextRevision: number };

/** A slice made for a cursor: what to send, if anything, where it stands then, and how many revisions it cost. */
type Refill = {
  readonly next: number;
  readonly response: WatchResponse | undefined;
  readonly cost: number;
};

type RefillLimits = { readonly batchRevisions: number; readonly batchBytes: number };
type Group = WatchGroup<Watcher>;

/** Slices kept for cursors that stand at the same place; bounds what the cache holds to this many batches. */
const REFILLS_KEPT = 8;

/**
 * Makes historical batches, from the ring where it reaches back far enough and from the store otherwise. The last few
 * are kept until the store moves on, so that a crowd of cursors of one group at one place shares each batch.
 */
export class RefillCache {
  readonly #source: HistorySource;
  readonly #ring: HistoryRing;
  readonly #limits: RefillLimits;
  #kept: { readonly group: Group; readonly from: number; readonly refill: Refill }[] = [];

  constructor(source: HistorySource, ring: HistoryRing, limits: RefillLimits) {
    this.#source = source;
    this.#ring = ring;
    this.#limits = limits;
  }

  clear(): void {
    if (this.#kept.length > 0) this.#kept = [];
  }

  /** The next slice for a cursor of `group` at `from`, no further than `newest`. */
  slice(
    group: Group,
    from: number,
    newest: number,
    header: (revision: number) => ResponseHeader,
  ): Refill | 'compacted' {
    if (from < this.#source.compactRevision) return 'compacted';
    for (const kept of this.#kept) {
      if (kept.group === group && kept.from === from) return { ...kept.refill, cost: 0 };
    }
    const inRing = from >= this.#ring.firstRevision;
    const found = inRing ? this.#fromRing(group, from, newest) : this.#fromSource(group, from, newest);
    if (found === 'compacted') return found;
    const refill = { next: found.nextRevision, cost: found.nextRevision - from, response: undefined };
    const last = found.events.at(-1);
    if (!last) return refill;
    const headerRevision = this.#source.currentRevision;
    const batch = { headerRevision, lastRevision: last.kv.modRevision, events: found.events };
    const response: WatchResponse = { type: 'events', header: header(headerRevision), batch };
    if (this.#kept.length >= REFILLS_KEPT) this.#kept.shift();
    this.#kept.push({ group, from, refill: { ...refill, response } });
    return { ...refill, response };
  }

  #fromRing(group: Group, from: number, newest: number): HistorySlice {
    const { batchRevisions, batchBytes } = this.#limits;
    const { prevKv } = group.options;
    // The ring may know what compaction has taken from the store; etcd shows no such previous value.
    const compacted = this.#source.compactRevision;
    const events: Event[] = [];
    let revisions = 0;
    let bytes = 0;
    let revision = from;
    for (; revision <= newest && revisions < batchRevisions && bytes < batchBytes; revision++) {
      const before = events.length;
      for (const event of this.#ring.at(revision)) {
        if (!passesFilters(group.options, event) || !rangeHolds(group.range, event.kv.key)) continue;
        const shown = prevKv && revision > compacted ? event : withoutPrevKv(event);
        events.push(shown);
        bytes += eventBytes(shown);
      }
      if (events.length > before) revisions++;
    }
    return { events, nextRevision: revision };
  }

  #fromSource(group: Group, from: number, newest: number): HistorySlice | 'compacted' {
    const { range, options } = group;
    try {
      const { events, nextRevision } = this.#source.eventsBetween(from, newest, {
        key: range.key,
        rangeEnd: range.rangeEnd,
        prevKv: options.prevKv,
        maxRevisions: this.#limits.batchRevisions,
        maxBytes: this.#limits.batchBytes,
      });
      const kept = events.filter((event) => passesFilters(options, event));
      return { events: options.prevKv ? kept : kept.map(withoutPrevKv), nextRevision };
    } catch (error) {
      if (error instanceof KvError && error.code === 'COMPACTED') return 'compacted';
      throw error;
    }
  }
}
