import type { Event } from '@muster/kv';
import type { Revision } from '../replay.ts';

/** Well below the 1.5 MiB that a request may have. */
const BATCH_BYTES = 512 * 1024;

/**
 * Puts changes of a state together, in their order, up to `opsMax` at once; each comes with the last revision in it.
 * Only for keys that come once each. Keys with leases stay by themselves: of locks and elections it counts who was first.
 */
export function* stateBatches(revisions: Iterable<Revision>, opsMax: number): Generator<Revision> {
  let events: Event[] = [];
  let bytes = 0;
  let last = 0;
  for (const next of revisions) {
    const isLeased = next.events.some(({ kv }) => kv.lease !== 0n);
    const size = next.events.reduce((sum, { kv }) => sum + kv.key.length + kv.value.length, 0);
    const fits = !isLeased && events.length + next.events.length <= opsMax && bytes + size <= BATCH_BYTES;
    if (events.length > 0 && !fits) {
      yield { revision: last, events };
      events = [];
      bytes = 0;
    }
    if (isLeased) yield next;
    else {
      events.push(...next.events);
      bytes += size;
      last = next.revision;
    }
  }
  if (events.length > 0) yield { revision: last, events };
}
