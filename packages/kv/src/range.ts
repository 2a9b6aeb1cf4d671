import { compareBytes } from '@muster/base';
import type { Entry } from './engine.ts';
import { type KeyRange, keyRange } from './key-range.ts';
import type { MvccStore } from './mvcc-store.ts';
import { decodeHead, isDeletion, type KeyHead } from './records.ts';
import type { KeyValue, RangeRequest, RangeResult, SortTarget } from './types.ts';

const NO_VALUE = new Uint8Array(0);

/** A key of the answer before its value is read; `kv` is there when reading it could not be avoided. */
type Found = {
  readonly key: Uint8Array;
  readonly head: KeyHead;
  kv: KeyValue | undefined;
};

/**
 * etcd's range at `revision` (reference 2.2): read, filter, sort, limit, strip. The answer's `revision` is
 * `visibleRevision`, the store's newest as the caller sees it. The request and the revision have been checked.
 */
export function readRange(
  store: MvccStore,
  request: RangeRequest,
  revision: number,
  visibleRevision: number,
): RangeResult {
  store.counters.ranges++;
  const scan = new Scan(store, request, revision, visibleRevision);
  const range = keyRange(request.key, request.rangeEnd);
  if (range.kind === 'single') scan.take(request.key, store.engine.get('keys', request.key));
  else for (const [key, record] of headsIn(store, range)) scan.take(key, record);
  if (request.countOnly) return { revision: visibleRevision, kvs: [], more: false, count: scan.count };
  sortFound(store, scan.found, request);
  const limit = limitOf(request);
  const more = scan.more || scan.found.length > limit;
  if (scan.found.length > limit) scan.found.length = limit;
  const kvs = scan.found.map((found) => toKeyValue(store, found, request.keysOnly === true));
  return { revision: visibleRevision, kvs, more, count: scan.count };
}

/** The records of table `keys` in a range that is not a single key. */
export function headsIn(store: MvccStore, range: Exclude<KeyRange, { kind: 'single' }>): Iterable<Entry> {
  if (range.kind === 'empty') return [];
  const { from, to } = range;
  return store.engine.iterate('keys', to === undefined ? { from } : { from, to });
}

function limitOf({ limit }: RangeRequest): number {
  return limit !== undefined && limit > 0 ? limit : Number.POSITIVE_INFINITY;
}

class Scan {
  readonly found: Found[] = [];
  count = 0;
  more = false;
  readonly #store: MvccStore;
  readonly #request: RangeRequest;
  readonly #revision: number;
  readonly #collectMax: number;
  /** No record is newer than `#revision`. */
  readonly #atNewest: boolean;

  constructor(store: MvccStore, request: RangeRequest, revision: number, visibleRevision: number) {
    this.#store = store;
    this.#request = request;
    this.#revision = revision;
    this.#collectMax = collectMax(request);
    this.#atNewest = revision === visibleRevision;
  }

  /** A key and its record in table `keys`. */
  take(key: Uint8Array, record: Uint8Array | undefined): void {
    if (record === undefined) return;
    // Nothing but the count is left to tell, as for all of a large range beyond a small limit.
    if (this.#atNewest && (this.more || this.#request.countOnly)) {
      if (!isDeletion(record)) this.count++;
      return;
    }
    const head = decodeHead(record);
    if (head.main <= this.#revision) {
      if (head.deleted) return;
      this.#add({ key, head, kv: undefined });
      return;
    }
    if (head.depth === 0) return;
    const kv = this.#store.stateAt(head, this.#revision);
    if (kv !== undefined) this.#add({ key, head, kv });
  }

  #add(found: Found): void {
    this.count++;
    const request = this.#request;
    if (request.countOnly || this.more || !passesFilters(found, request)) return;
    if (this.found.length >= this.#collectMax) this.more = true;
    else this.found.push(found);
  }
}

/**
 * How many keys are read in key order before the sort. With an explicit order other than theirs, or with bounds, all are sorted first
 * and cut afterwards. A sort target without either has etcd sort the limit and the one key more that it read to know
 * whether there is one (seen on etcd 3.4.23: a limit of 3 may answer the 1st, 3rd and 4th key).
 */
function collectMax(request: RangeRequest): number {
  const { sortOrder, sortTarget = 'key' } = request;
  if (sortOrder === 'ascend' && sortTarget === 'key') return limitOf(request);
  if (sortOrder === 'ascend' || sortOrder === 'descend') return Number.POSITIVE_INFINITY;
  if (sortTarget === 'key') return limitOf(request);
  return hasBounds(request) ? Number.POSITIVE_INFINITY : limitOf(request) + 1;
}

function hasBounds(request: RangeRequest): boolean {
  const { minModRevision, maxModRevision, minCreateRevision, maxCreateRevision } = request;
  return Boolean(minModRevision || maxModRevision || minCreateRevision || maxCreateRevision);
}

const modOf = ({ head, kv }: Found): number => (kv === undefined ? head.main : kv.modRevision);
const createOf = ({ head, kv }: Found): number => (kv ?? head).createRevision;
const versionOf = ({ head, kv }: Found): number => (kv ?? head).version;

/** The bounds are inclusive; 0 is no bound. */
function passesFilters(found: Found, request: RangeRequest): boolean {
  const { minModRevision, maxModRevision, minCreateRevision, maxCreateRevision } = request;
  if (minModRevision && modOf(found) < minModRevision) return false;
  if (maxModRevision && modOf(found) > maxModRevision) return false;
  if (minCreateRevision && createOf(found) < minCreateRevision) return false;
  if (maxCreateRevision && createOf(found) > maxCreateRevision) return false;
  return true;
}

/** Ties keep the order of the keys, in both directions. */
function sortFound(store: MvccStore, found: Found[], request: RangeRequest): void {
  const target = request.sortTarget ?? 'key';
  const descend = request.sortOrder === 'descend';
  if (target === 'key') {
    if (descend) found.reverse();
    return;
  }
  if (target === 'value') for (const each of found) each.kv ??= store.valueOf(each.head);
  const compare = COMPARE[target];
  found.sort(descend ? (a, b) => compare(b, a) : compare);
}

const COMPARE: Record<Exclude<SortTarget, 'key'>, (a: Found, b: Found) => number> = {
  version: (a, b) => versionOf(a) - versionOf(b),
  create: (a, b) => createOf(a) - createOf(b),
  mod: (a, b) => modOf(a) - modOf(b),
  value: (a, b) => compareBytes((a.kv as KeyValue).value, (b.kv as KeyValue).value),
};

function toKeyValue(store: MvccStore, found: Found, keysOnly: boolean): KeyValue {
  if (!keysOnly) return found.kv ?? store.valueOf(found.head);
  const { key, head, kv } = found;
  if (kv !== undefined) return { ...kv, value: NO_VALUE };
  const { createRevision, version, lease } = head;
  return { key, value: NO_VALUE, createRevision, modRevision: head.main, version, lease };
}
