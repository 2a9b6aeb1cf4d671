import { compareBytes, utf8 } from '@muster/base';
import { KvError } from '@muster/contract';
import type { Event, KeyValue } from '../src/types.ts';
import type { HistoryQuery, HistorySlice, HistorySource } from '../src/watch-hub.ts';

/** A put, or a delete when there is no value. */
export type Change = { readonly key: string | Uint8Array; readonly value?: string };

/** The plainest store that can feed a watch hub: every event that ever was, in one array. */
export class WatchHistory implements HistorySource {
  currentRevision = 1;
  compactRevision = -1;
  /** Every event, oldest first, with the previous value. */
  readonly log: Event[] = [];
  /** Calls of eventsBetween. */
  reads = 0;
  readonly #live = new Map<string, KeyValue>();

  /** Applies changes as one revision, in order; deletes of missing keys are left out. */
  write(changes: readonly Change[]): { revision: number; events: Event[] } {
    const revision = ++this.currentRevision;
    const events: Event[] = [];
    for (const { key: given, value } of changes) {
      const key = typeof given === 'string' ? utf8(given) : given;
      const id = key.join();
      const previous = this.#live.get(id);
      if (value === undefined && !previous) continue;
      const event =
        value === undefined ? deletion(key, revision, previous) : put(key, value, revision, previous);
      if (value === undefined) this.#live.delete(id);
      else this.#live.set(id, event.kv);
      events.push(event);
    }
    this.log.push(...events);
    return { revision, events };
  }

  compact(revision: number): void {
    this.compactRevision = revision;
  }

  eventsBetween(from: number, to: number, query: HistoryQuery): HistorySlice {
    this.reads++;
    if (from < this.compactRevision) throw new KvError('COMPACTED');
    const nextRevision = Math.min(to + 1, from + query.maxRevisions);
    const events = this.log
      .filter((e) => e.kv.modRevision >= from && e.kv.modRevision < nextRevision && holds(query, e.kv.key))
      .map((e) => (e.kv.modRevision > this.compactRevision ? e : { type: e.type, kv: e.kv }));
    return { events, nextRevision };
  }
}

/** Whether a range as in a request holds a key, read straight off etcd's rules. */
export function holds(range: { key: Uint8Array; rangeEnd?: Uint8Array }, key: Uint8Array): boolean {
  const from = range.key.length === 0 ? new Uint8Array([0]) : range.key;
  const end = range.rangeEnd ?? new Uint8Array(0);
  if (end.length === 0) return compareBytes(from, key) === 0;
  if (compareBytes(key, from) < 0) return false;
  return (end.length === 1 && end[0] === 0) || compareBytes(key, end) < 0;
}

function put(key: Uint8Array, value: string, revision: number, previous: KeyValue | undefined): Event {
  const kv: KeyValue = {
    key,
    value: utf8(value),
    createRevision: previous?.createRevision ?? revision,
    modRevision: revision,
    version: (previous?.version ?? 0) + 1,
    lease: 0n,
  };
  return { type: 'put', kv, ...(previous && { prevKv: previous }) };
}

function deletion(key: Uint8Array, revision: number, previous: KeyValue | undefined): Event {
  const kv = {
    key,
    value: new Uint8Array(0),
    createRevision: 0,
    modRevision: revision,
    version: 0,
    lease: 0n,
  };
  return { type: 'delete', kv, ...(previous && { prevKv: previous }) };
}
