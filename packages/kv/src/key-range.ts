import { compareBytes, EMPTY_BYTES } from '@muster/base';

/**
 * etcd's way to name keys: no `rangeEnd` is the one key, a single zero byte is "to the end of the keyspace", anything
 * else the half-open interval [key, rangeEnd), which is empty when key >= rangeEnd.
 */
export type KeyRange =
  | { readonly kind: 'single'; readonly key: Uint8Array }
  /** `to` absent is to the end. */
  | { readonly kind: 'interval'; readonly from: Uint8Array; readonly to?: Uint8Array }
  | { readonly kind: 'empty' };

export function keyRange(key: Uint8Array, rangeEnd: Uint8Array = EMPTY_BYTES): KeyRange {
  if (rangeEnd.length === 0) return { kind: 'single', key };
  if (rangeEnd.length === 1 && rangeEnd[0] === 0) return { kind: 'interval', from: key };
  if (compareBytes(key, rangeEnd) >= 0) return { kind: 'empty' };
  return { kind: 'interval', from: key, to: rangeEnd };
}

export function rangeContains(range: KeyRange, key: Uint8Array): boolean {
  switch (range.kind) {
    case 'single':
      return compareBytes(key, range.key) === 0;
    case 'interval':
      return (
        compareBytes(key, range.from) >= 0 && (range.to === undefined || compareBytes(key, range.to) < 0)
      );
    case 'empty':
      return false;
  }
}
