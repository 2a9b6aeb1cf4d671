/** What a subscription selects, and how its items and events are written. */
import { utf8 } from '@muster/base';
import type { Instance, KvSelection, ServiceSelection } from '@muster/contract';
import type { Event, KeyValue, WatchFilter } from '@muster/kv';
import { entryOf, keyName } from '../v1/entries.ts';
import {
  DEFAULT_NAMESPACE,
  type InstanceFilter,
  instanceName,
  instanceOf,
  matchesFilter,
  serviceSpan,
} from '../v1/instances.ts';
import { base64Bytes, intervalSpan, type KeySpan, prefixSpan } from '../v1/keys.ts';

/** A selection of keys in the store. Selections of equal `span`, `filters` and `prevKv` share upstream batches. */
export type Selection = {
  readonly span: KeySpan;
  readonly filters: readonly WatchFilter[];
  readonly prevKv: boolean;
  /** No values in snapshots. */
  readonly keysOnly: boolean;
  /** Equal shapes write equal text for the same batch. */
  readonly shape: string;
  /** JSON text, or `undefined` when the selection does not have it. */
  item(kv: KeyValue): string | undefined;
  event(event: Event): string | undefined;
};

export function kvSelection(from: KvSelection): Selection {
  const keysOnly = from.keysOnly === true;
  const prevKv = from.prevKv === true;
  return {
    span: spanOf(from),
    filters: filtersOf(from.only),
    prevKv,
    keysOnly,
    shape: keysOnly ? 'keys' : 'kv',
    item: (kv) => JSON.stringify(entryOf(kv, 'auto', keysOnly)),
    event: (event) => kvEvent(event, keysOnly),
  };
}

function spanOf(from: KvSelection): KeySpan {
  if (from.key !== undefined) return { key: utf8(from.key) };
  if (from.keyBase64 !== undefined) return { key: base64Bytes(from.keyBase64, 'keyBase64') };
  if (from.prefix !== undefined) return prefixSpan(utf8(from.prefix));
  if (from.prefixBase64 !== undefined) return prefixSpan(base64Bytes(from.prefixBase64, 'prefixBase64'));
  return intervalSpan(utf8(from.start ?? ''), from.end === undefined ? undefined : utf8(from.end));
}

function filtersOf(only: KvSelection['only']): WatchFilter[] {
  if (!only) return [];
  const filters: WatchFilter[] = [];
  if (!only.includes('put')) filters.push('noput');
  if (!only.includes('delete')) filters.push('nodelete');
  return filters;
}

function kvEvent({ type, kv, prevKv }: Event, keysOnly: boolean): string {
  const prev = prevKv ? { prev: entryOf(prevKv, 'auto', keysOnly) } : {};
  if (type === 'put') return JSON.stringify({ type, entry: entryOf(kv, 'auto', keysOnly), ...prev });
  return JSON.stringify({ type, ...keyName(kv.key), modRevision: kv.modRevision, ...prev });
}

/**
 * Instances that pass the filters. One that passed before a change and does not after it is told as a delete that
 * says `filtered`; one that passed neither before nor after is not told at all.
 */
export function serviceSelection(from: ServiceSelection): Selection {
  const ns = from.ns ?? DEFAULT_NAMESPACE;
  const { name: _, ns: __, ...filter } = from;
  const shown = (kv: KeyValue | undefined): Instance | undefined => {
    const instance = kv && instanceOf(kv, ns);
    return instance && matchesFilter(instance, filter as InstanceFilter) ? instance : undefined;
  };
  return {
    span: serviceSpan(ns, from.name),
    filters: [],
    prevKv: true,
    keysOnly: false,
    shape: `service ${JSON.stringify([ns, filter])}`,
    item: (kv) => {
      const instance = shown(kv);
      return instance && JSON.stringify(instance);
    },
    event: (event) => serviceEvent(event, ns, shown),
  };
}

function serviceEvent(
  { type, kv, prevKv }: Event,
  ns: string,
  shown: (kv: KeyValue | undefined) => Instance | undefined,
): string | undefined {
  const name = instanceName(kv.key, ns);
  if (!name) return undefined;
  const before = shown(prevKv);
  const prev = before ? { prev: before } : {};
  const now = type === 'put' ? shown(kv) : undefined;
  if (now) return JSON.stringify({ type: 'put', instance: now, ...prev });
  // A compacted previous value is unknown: a delete too many does no harm.
  if (!before && (type === 'put' || prevKv)) return undefined;
  const filtered = type === 'put' ? { filtered: true } : {};
  return JSON.stringify({ type: 'delete', ...name, modRevision: kv.modRevision, ...filtered, ...prev });
}
