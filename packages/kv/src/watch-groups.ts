import { binaryString } from '@muster/base';
import { IntervalIndex } from './interval-index.ts';
import type { Event } from './types.ts';
import { passesFilters, type WatchOptions, type WatchRange, withoutPrevKv } from './watch-filter.ts';

/**
 * All watchers of one range with the same options. Those in `synced` have every event up to the newest revision and
 * take each new batch as the same object; the others are cursors elsewhere.
 */
export class WatchGroup<W> {
  readonly range: WatchRange;
  readonly options: WatchOptions;
  readonly synced: W[] = [];
  /** Watchers of any state; the group is dropped at zero. */
  members = 0;
  /** The first revision that was matched against this group. */
  since: number;
  /** The newest revision >= `since` with an event for this group; 0 when there was none. */
  lastMatched = 0;
  /** Of revision `lastMatched` while it is published, and only when somebody is synced. */
  events: Event[] = [];

  constructor(range: WatchRange, options: WatchOptions, since: number) {
    this.range = range;
    this.options = options;
    this.since = since;
  }

  /** True when nothing for this group happened at `revision` or later, as far as the group can tell. */
  quietSince(revision: number): boolean {
    return revision >= this.since && this.lastMatched < revision;
  }
}

/** Up to eight groups share a range: one for each combination of options. */
type Slot<W> = (WatchGroup<W> | undefined)[];

/**
 * Finds the groups that an event belongs to: single keys by hash, ranges by an interval tree, so that thousands of
 * different ranges cost a few comparisons an event and not a walk over all of them.
 */
export class WatchGroups<W> {
  readonly #exact = new Map<string, Slot<W>>();
  readonly #ranges = new IntervalIndex<Slot<W>>();
  readonly #found: Slot<W>[] = [];
  readonly #all = new Set<WatchGroup<W>>();

  get size(): number {
    return this.#all.size;
  }

  [Symbol.iterator](): IterableIterator<WatchGroup<W>> {
    return this.#all.values();
  }

  /** The group of (range, options), made when it is not there. `range` is not empty. */
  ensure(range: WatchRange, options: WatchOptions, since: number): WatchGroup<W> {
    const slot = this.#slot(range) ?? this.#addSlot(range);
    const at = variant(options);
    let group = slot[at];
    if (!group) {
      group = new WatchGroup<W>(range, options, since);
      slot[at] = group;
      this.#all.add(group);
    }
    return group;
  }

  remove(group: WatchGroup<W>): void {
    const { range } = group;
    const slot = this.#slot(range) as Slot<W>;
    slot[variant(group.options)] = undefined;
    this.#all.delete(group);
    if (slot.some((g) => g !== undefined)) return;
    if (range.kind === 'exact') this.#exact.delete(range.start);
    else this.#ranges.delete(range.start, range.end);
  }

  /** Matches the events of one revision; returns the groups that got any, in no particular order. */
  match(revision: number, events: readonly Event[]): readonly WatchGroup<W>[] {
    if (this.#all.size === 0) return NO_GROUPS;
    const touched: WatchGroup<W>[] = [];
    for (const event of events) {
      const key = binaryString(event.kv.key);
      const exact = this.#exact.get(key);
      if (exact) offer(exact, event, revision, touched);
      if (this.#ranges.size === 0) continue;
      this.#found.length = 0;
      this.#ranges.stab(key, this.#found);
      for (const slot of this.#found) offer(slot, event, revision, touched);
    }
    return touched;
  }

  #slot(range: WatchRange): Slot<W> | undefined {
    return range.kind === 'exact' ? this.#exact.get(range.start) : this.#ranges.get(range.start, range.end);
  }

  #addSlot(range: WatchRange): Slot<W> {
    const slot: Slot<W> = new Array<WatchGroup<W> | undefined>(8).fill(undefined);
    if (range.kind === 'exact') this.#exact.set(range.start, slot);
    else this.#ranges.insert(range.start, range.end, slot);
    return slot;
  }
}

const NO_GROUPS: readonly never[] = [];

function variant(options: WatchOptions): number {
  return (options.noPut ? 1 : 0) | (options.noDelete ? 2 : 0) | (options.prevKv ? 4 : 0);
}

function offer<W>(slot: Slot<W>, event: Event, revision: number, touched: WatchGroup<W>[]): void {
  let plain: Event | undefined;
  for (const group of slot) {
    if (!group || !passesFilters(group.options, event)) continue;
    if (group.lastMatched !== revision) {
      group.lastMatched = revision;
      group.events = [];
      touched.push(group);
    }
    if (group.synced.length === 0) continue;
    group.events.push(group.options.prevKv ? event : (plain ??= withoutPrevKv(event)));
  }
}
