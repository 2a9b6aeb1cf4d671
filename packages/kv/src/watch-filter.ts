import { binaryString, compareBytes } from '@muster/base';
import type { WatchFilter } from './api.ts';
import type { Event } from './types.ts';

/**
 * The keys that one watch covers, ready to be compared: `start` <= key < `end`, as bytes and as binary strings.
 * `kind` 'exact' is a single key; an absent `end` of kind 'range' is "to the end of the keyspace".
 */
export type WatchRange = {
  readonly kind: 'exact' | 'range' | 'empty';
  readonly key: Uint8Array;
  readonly rangeEnd: Uint8Array;
  readonly start: string;
  readonly end: string;
};

/** Sorts after every binary string: the upper bound of a range without one. */
export const OPEN_END = '\u0100';

const ZERO_BYTE = new Uint8Array([0]);
const NO_BYTES = new Uint8Array(0);

/** etcd's reading of (key, range_end) in a watch: an empty key is `\0`, key >= range_end holds nothing. */
export function watchRange(key: Uint8Array, rangeEnd: Uint8Array = NO_BYTES): WatchRange {
  const from = key.length === 0 ? ZERO_BYTE : key;
  const start = binaryString(from);
  if (rangeEnd.length === 0) return { kind: 'exact', key: from, rangeEnd, start, end: `${start}\0` };
  if (rangeEnd.length === 1 && rangeEnd[0] === 0) {
    return { kind: 'range', key: from, rangeEnd, start, end: OPEN_END };
  }
  const kind = compareBytes(from, rangeEnd) < 0 ? 'range' : 'empty';
  return { kind, key: from, rangeEnd, start, end: binaryString(rangeEnd) };
}

/** Whether the range holds `key`, given as bytes: no string is made for it. */
export function rangeHolds(range: WatchRange, key: Uint8Array): boolean {
  if (range.kind === 'exact') return compareBytes(range.key, key) === 0;
  if (compareBytes(key, range.key) < 0) return false;
  return range.end === OPEN_END || compareBytes(key, range.rangeEnd) < 0;
}

/** What of a range's events a watch asked for. */
export type WatchOptions = {
  readonly noPut: boolean;
  readonly noDelete: boolean;
  readonly prevKv: boolean;
};

export function watchOptions(filters: readonly WatchFilter[] = [], prevKv = false): WatchOptions {
  return { noPut: filters.includes('noput'), noDelete: filters.includes('nodelete'), prevKv };
}

export function passesFilters(options: WatchOptions, event: Event): boolean {
  return event.type === 'put' ? !options.noPut : !options.noDelete;
}

/** The event as a watcher sees it that did not ask for previous values. */
export function withoutPrevKv(event: Event): Event {
  return event.prevKv === undefined ? event : { type: event.type, kv: event.kv };
}

/** Bytes that an event keeps alive, about: its keys and values and the objects around them. */
export function eventBytes(event: Event): number {
  const { kv, prevKv } = event;
  const previous = prevKv === undefined ? 0 : prevKv.key.length + prevKv.value.length + OBJECT_BYTES;
  return kv.key.length + kv.value.length + OBJECT_BYTES + previous;
}

const OBJECT_BYTES = 160;

/**
 * Cuts events into parts of at most `maxBytes` by `sizeOf`, each at least one event, in order: etcd's fragments of
 * one watch response. One part when all fit; no parts when there are no events.
 */
export function fragmentEvents<T>(
  events: readonly T[],
  sizeOf: (event: T) => number,
  maxBytes: number,
): readonly (readonly T[])[] {
  const parts: T[][] = [];
  let part: T[] = [];
  let bytes = 0;
  for (const event of events) {
    const size = sizeOf(event);
    if (part.length > 0 && bytes + size > maxBytes) {
      parts.push(part);
      part = [];
      bytes = 0;
    }
    part.push(event);
    bytes += size;
  }
  if (part.length > 0) parts.push(part);
  return parts;
}
