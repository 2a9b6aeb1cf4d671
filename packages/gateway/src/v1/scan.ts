/** Reads a span in slices of bounded size, all of them at one revision. */
import { concatBytes } from '@muster/base';
import { KvError } from '@muster/contract';
import type { CallOptions, EtcdApi, KeyValue, RangeRequest, ResponseHeader } from '@muster/kv';
import type { GatewayLimits } from '../limits.ts';
import type { KeySpan } from './keys.ts';

type ScanOptions = {
  readonly span: KeySpan;
  /** 0 or absent pins the revision that the first slice shows. */
  readonly revision?: number;
  readonly keysOnly?: boolean;
  readonly serializable?: boolean;
  readonly descending?: boolean;
  readonly minModRevision?: number;
  /** At most this many entries in all. */
  readonly limit?: number;
};

type Slice = {
  readonly header: ResponseHeader;
  /** What all slices show. */
  readonly revision: number;
  readonly kvs: readonly KeyValue[];
  readonly more: boolean;
  /** Keys in the rest of the span, as of this slice. */
  readonly count: number;
};

const ZERO = new Uint8Array([0]);

/** The least key above `key`. */
export function keyAfter(key: Uint8Array): Uint8Array {
  return concatBytes(key, ZERO);
}

/** Slices in order, at least one. Their sizes follow from how large the entries turn out to be. */
export async function* scan(
  api: EtcdApi,
  options: ScanOptions,
  limits: GatewayLimits,
  call: CallOptions,
): AsyncGenerator<Slice, void, void> {
  let { key, rangeEnd } = options.span;
  let revision = options.revision ?? 0;
  let left = options.limit ?? Number.POSITIVE_INFINITY;
  let items = 0;
  let bytes = 0;
  for (;;) {
    const size = options.keysOnly ? limits.scanItems : sliceItems(items, bytes, limits);
    const request: RangeRequest = {
      key,
      ...(rangeEnd === undefined ? {} : { rangeEnd }),
      revision,
      limit: Math.min(size, left),
      ...(options.keysOnly ? { keysOnly: true } : {}),
      ...(options.serializable ? { serializable: true } : {}),
      ...(options.descending ? { sortOrder: 'descend', sortTarget: 'key' } : {}),
      ...(options.minModRevision === undefined ? {} : { minModRevision: options.minModRevision }),
    };
    const { header, kvs, more, count } = await api.range(request, call);
    if (revision === 0) revision = header.revision ?? 0;
    yield { header, revision, kvs, more, count };
    items += kvs.length;
    left -= kvs.length;
    for (const kv of kvs) bytes += kv.key.length + kv.value.length;
    const last = kvs.at(-1);
    if (!more || !last || left <= 0) return;
    if (options.descending) rangeEnd = last.key;
    else key = keyAfter(last.key);
  }
}

function sliceItems(items: number, bytes: number, limits: GatewayLimits): number {
  if (items === 0) return limits.sliceItemsFirst;
  const fitting = Math.floor(limits.sliceBytes / Math.max(1, bytes / items));
  return Math.max(1, Math.min(limits.scanItems, fitting));
}

/** All of a span, where an answer needs it whole; more than the limit is refused. */
export async function scanAll(
  api: EtcdApi,
  options: ScanOptions,
  limits: GatewayLimits,
  call: CallOptions,
): Promise<{
  readonly header: ResponseHeader;
  readonly revision: number;
  readonly kvs: readonly KeyValue[];
}> {
  const all: KeyValue[] = [];
  let first: Slice | undefined;
  for await (const slice of scan(api, options, limits, call)) {
    first ??= slice;
    for (const kv of slice.kvs) all.push(kv);
    if (all.length > limits.scanItemsTotal) {
      throw new KvError('UNPROCESSABLE', {
        detail: `the selection has more than ${limits.scanItemsTotal} keys; a narrower one expected`,
      });
    }
  }
  const { header, revision } = first as Slice;
  return { header, revision, kvs: all };
}
