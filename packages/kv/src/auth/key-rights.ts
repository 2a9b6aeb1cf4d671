import { binaryString } from '@muster/base';
import type { Permission } from '../auth-api.ts';
import { IntervalSet } from '../interval-set.ts';
import { watchRange } from '../watch-filter.ts';

/** What one user may do with keys. */
export interface KeyRights {
  /** Whether every key of the range, as etcd names ranges, may be read. A range without keys counts as its first. */
  mayRead(key: Uint8Array, rangeEnd?: Uint8Array): boolean;
  mayWrite(key: Uint8Array, rangeEnd?: Uint8Array): boolean;
}

/** Of a user with the role root. */
export const EVERY_RIGHT: KeyRights = { mayRead: () => true, mayWrite: () => true };

/** The union of the intervals granted: a range that no single permission covers may still be covered by several. */
export class GrantedRights implements KeyRights {
  readonly #read = new IntervalSet();
  readonly #write = new IntervalSet();

  constructor(permissions: Iterable<Permission>) {
    for (const { type, key, rangeEnd } of permissions) {
      const [start, end] = interval(key, rangeEnd);
      if (type !== 'write') this.#read.add(start, end);
      if (type !== 'read') this.#write.add(start, end);
    }
  }

  mayRead(key: Uint8Array, rangeEnd?: Uint8Array): boolean {
    return this.#read.covers(...interval(key, rangeEnd));
  }

  mayWrite(key: Uint8Array, rangeEnd?: Uint8Array): boolean {
    return this.#write.covers(...interval(key, rangeEnd));
  }
}

function interval(key: Uint8Array, rangeEnd?: Uint8Array): [start: string, end: string] {
  const { kind, start, end } = watchRange(key, rangeEnd);
  // An empty key is where the keyspace begins, in a permission as in a request.
  if (kind === 'empty') return [start, `${start}\0`];
  return [start, end];
}

/** Whether a permission may be granted on this range: newer etcd refuses those that hold no key. */
export function isPermissionRange(key: Uint8Array, rangeEnd?: Uint8Array): boolean {
  if (key.length === 0) return false;
  if (rangeEnd === undefined || rangeEnd.length === 0) return true;
  if (rangeEnd.length === 1 && rangeEnd[0] === 0) return true;
  return binaryString(key) < binaryString(rangeEnd);
}
