import type { Event, RequestOp } from '@muster/kv';

export type Revision = { readonly revision: number; readonly events: readonly Event[] };

/** Events in groups of one revision each, as they were committed. */
export function* byRevision(events: readonly Event[]): Generator<Revision> {
  for (let from = 0; from < events.length; ) {
    const revision = (events[from] as Event).kv.modRevision;
    let to = from + 1;
    while (to < events.length && (events[to] as Event).kv.modRevision === revision) to++;
    yield { revision, events: events.slice(from, to) };
    from = to;
  }
}

/** The request that does to `key` what the event did; `lease` 0n is none. */
export function operationOf(event: Event, key: Uint8Array, lease: bigint): RequestOp {
  if (event.type === 'delete') return { type: 'deleteRange', deleteRange: { key } };
  return { type: 'put', put: { key, value: event.kv.value, ...(lease !== 0n && { lease }) } };
}
