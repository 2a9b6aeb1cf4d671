import { KvError } from '@muster/contract';
import type { KeyValue } from '@muster/kv';
import type { EtcdClient } from '../client.ts';
import { watchMessages } from '../events.ts';
import { bytesOf, prefixEnd } from '../range.ts';

/** About how many bytes one page of keys brings. */
const PAGE_BYTES = 4 * 1024 * 1024;
const PAGE_KEYS_FIRST = 100;
const PAGE_KEYS_MAX = 10_000;

export type KeyRange = { readonly key: Uint8Array; readonly rangeEnd: Uint8Array };

export function rangeOfPrefix(prefix: string): KeyRange {
  if (prefix === '') return { key: Uint8Array.of(0), rangeEnd: Uint8Array.of(0) };
  const key = bytesOf(prefix);
  return { key, rangeEnd: prefixEnd(key) };
}

/** How many keys to ask for next, so that a page has about `PAGE_BYTES`. */
function nextLimit(kvs: readonly KeyValue[]): number {
  const bytes = kvs.reduce((sum, kv) => sum + kv.key.length + kv.value.length, 0);
  const fitting = bytes === 0 ? PAGE_KEYS_MAX : Math.floor((PAGE_BYTES * kvs.length) / bytes);
  return Math.max(1, Math.min(PAGE_KEYS_MAX, fitting));
}

/** Pages in the order of keys, all of one revision. */
export async function* pagesByKey(
  client: EtcdClient,
  range: KeyRange,
  revision: number,
  signal: AbortSignal,
): AsyncGenerator<readonly KeyValue[]> {
  let { key } = range;
  let limit = PAGE_KEYS_FIRST;
  for (;;) {
    const request = { key, rangeEnd: range.rangeEnd, limit, revision };
    const { kvs, more } = await client.api.range(request, client.options(signal));
    if (kvs.length > 0) yield kvs;
    const last = kvs.at(-1);
    if (!more || !last) return;
    key = Buffer.concat([last.key, Uint8Array.of(0)]);
    limit = nextLimit(kvs);
  }
}

/**
 * Pages in the order of changes, all of one revision, of keys that changed after `after`. What one revision changed is
 * never split over two pages.
 */
export async function* pagesByChange(
  client: EtcdClient,
  range: KeyRange,
  revision: number,
  after: number,
  signal: AbortSignal,
): AsyncGenerator<readonly KeyValue[]> {
  let limit = PAGE_KEYS_FIRST;
  let from = after + 1;
  for (;;) {
    const { kvs, more } = await client.api.range(
      { ...range, limit, revision, minModRevision: from, sortOrder: 'ascend', sortTarget: 'mod' },
      client.options(signal),
    );
    const last = kvs.at(-1);
    if (!last) return;
    // The last revision may go on behind the page: it comes with the next one.
    const whole = more ? kvs.filter((kv) => kv.modRevision < last.modRevision) : kvs;
    if (whole.length > 0) yield whole;
    if (!more) return;
    from = last.modRevision;
    limit = whole.length === 0 ? limit * 2 : nextLimit(kvs);
  }
}

export type SourceState = {
  readonly clusterId: bigint;
  readonly revision: number;
  /** 0 when never compacted. */
  readonly compacted: number;
};

/** A watch from the first revision tells how far back the history goes: it is canceled, or gets as far as progress. */
export async function sourceState(client: EtcdClient, signal: AbortSignal): Promise<SourceState> {
  const { header } = await client.api.range({ key: bytesOf('\0'), countOnly: true }, client.options(signal));
  const { clusterId, revision = 0 } = header;
  const probe = { key: bytesOf('\0'), startRevision: 1 };
  const messages = watchMessages(client.api, probe, signal, {}, (handle) => handle.requestProgress());
  for await (const message of messages) {
    if (message.type === 'created') continue;
    if (message.type === 'canceled') {
      if (message.compactRevision === 0) throw new KvError('INTERNAL', { detail: message.reason });
      return { clusterId, revision, compacted: message.compactRevision };
    }
    break;
  }
  return { clusterId, revision, compacted: 0 };
}
