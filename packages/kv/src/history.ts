import { KvError } from '@muster/contract';
import { keyRange, rangeContains } from './key-range.ts';
import type { MvccStore } from './mvcc-store.ts';
import { type Change, decodeChange } from './records.ts';
import { revisionKey, revisionMain } from './revision.ts';
import type { Event } from './types.ts';
import type { HistorySlice } from './watch-refill.ts';

export type EventsOptions = {
  /** The keys that are asked for, as in a range request; absent is all of them. */
  readonly key?: Uint8Array;
  readonly rangeEnd?: Uint8Array;
  /** Read previous values; true when absent. */
  readonly prevKv?: boolean;
  /** Revisions to look at, whether they hold anything of the range or not; at least one is. */
  readonly maxRevisions: number;
  /** Bytes of keys and values to return; one revision is returned whole even when it alone is more. */
  readonly maxBytes: number;
};

const ALL_FROM = new Uint8Array(0);
const ALL_END = new Uint8Array(1);

/**
 * The changes in [from, to], whole revisions in order, as events. Throws `COMPACTED` when `from` is below the compact
 * revision (at it is legal). A previous value is of the state at modRevision - 1, and absent when that is compacted.
 */
export function eventsBetween(
  store: MvccStore,
  from: number,
  to: number,
  options: EventsOptions,
): HistorySlice {
  const { compactRevision } = store;
  if (from < compactRevision) throw new KvError('COMPACTED', { extra: { compactRevision } });
  const range = keyRange(options.key ?? ALL_FROM, options.key === undefined ? ALL_END : options.rangeEnd);
  const last = Math.min(to, store.currentRevision, from + Math.max(1, options.maxRevisions) - 1);
  const bounds = { from: revisionKey(Math.max(0, from), 0), to: revisionKey(last + 1, 0) };
  const events: Event[] = [];
  let whole = 0;
  let bytes = 0;
  let revision = -1;
  for (const [key, record] of store.engine.iterate('revisions', bounds)) {
    const main = revisionMain(key);
    if (main !== revision) {
      if (revision >= 0 && bytes > options.maxBytes) return cut(events, whole, revision);
      revision = main;
      whole = events.length;
    }
    const change = decodeChange(main, record);
    if (!rangeContains(range, change.kv.key)) continue;
    const event = toEvent(store, main, change, (options.prevKv ?? true) && main > compactRevision);
    events.push(event);
    bytes += record.length + (event.prevKv?.value.length ?? 0);
  }
  if (bytes > options.maxBytes && whole > 0) return cut(events, whole, revision);
  return { events, nextRevision: Math.max(from, last + 1) };
}

/** Drops `revision`, the one that was too much, unless it is all there is. */
function cut(events: Event[], whole: number, revision: number): HistorySlice {
  if (whole === 0) return { events, nextRevision: revision + 1 };
  events.length = whole;
  return { events, nextRevision: revision };
}

function toEvent(store: MvccStore, main: number, { deleted, kv, prev }: Change, withPrev: boolean): Event {
  const type = deleted ? 'delete' : 'put';
  const prevKv = withPrev ? store.stateBefore(main, prev) : undefined;
  return prevKv === undefined ? { type, kv } : { type, kv, prevKv };
}
