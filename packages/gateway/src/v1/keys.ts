/** Which keys a request means. */
import { EMPTY_BYTES, prefixEnd, utf8 } from '@muster/base';
import { fromBase64, KvError } from '@muster/contract';

/** etcd's range: no `rangeEnd` is the one key. */
export type KeySpan = { readonly key: Uint8Array; readonly rangeEnd?: Uint8Array };

const ZERO = new Uint8Array([0]);

/** Every key there is. */
export const ALL_KEYS: Required<KeySpan> = { key: ZERO, rangeEnd: ZERO };

export function prefixSpan(prefix: Uint8Array): Required<KeySpan> {
  return prefix.length === 0 ? ALL_KEYS : { key: prefix, rangeEnd: prefixEnd(prefix) };
}

/** From `start` on, up to `end` (not included) or to the end of the keyspace. */
export function intervalSpan(start: Uint8Array, end: Uint8Array | undefined): Required<KeySpan> {
  return { key: start.length === 0 ? ZERO : start, rangeEnd: end ?? ZERO };
}

/** The bytes of a base64 member that the schema has let through, or BAD_REQUEST. */
export function base64Bytes(text: string, name: string): Uint8Array {
  const bytes = fromBase64(text);
  if (bytes === undefined)
    throw new KvError('BAD_REQUEST', { detail: `${name} is not base64: its length is off` });
  return bytes;
}

type SpanQuery = {
  readonly key?: string;
  readonly keyB64?: string;
  readonly prefix?: string;
  readonly prefixB64?: string;
  readonly start?: string;
  readonly startB64?: string;
  readonly end?: string;
  readonly endB64?: string;
};

/** The one key that the query names, if it names one. */
export function keyOfQuery(query: Pick<SpanQuery, 'key' | 'keyB64'>): Uint8Array | undefined {
  if (query.key !== undefined && query.keyB64 !== undefined) throw oneOf('key, keyB64');
  if (query.key !== undefined) return utf8(query.key);
  return query.keyB64 === undefined ? undefined : base64Bytes(query.keyB64, 'keyB64');
}

/** The one key that the query must name. */
export function requireQueryKey(query: Pick<SpanQuery, 'key' | 'keyB64'>): Uint8Array {
  const key = keyOfQuery(query);
  if (key === undefined) throw oneOf('key, keyB64 (or PUT /v1/kv/{key})');
  return key;
}

/** The span that the query selects; `undefined` when it says nothing. */
export function spanOfQuery(query: SpanQuery): Required<KeySpan> | undefined {
  const bytes = (
    text: string | undefined,
    base64: string | undefined,
    name: string,
  ): Uint8Array | undefined => {
    if (text !== undefined && base64 !== undefined) throw oneOf(`${name}, ${name}B64`);
    if (text !== undefined) return utf8(text);
    return base64 === undefined ? undefined : base64Bytes(base64, `${name}B64`);
  };
  const prefix = bytes(query.prefix, query.prefixB64, 'prefix');
  const start = bytes(query.start, query.startB64, 'start');
  const end = bytes(query.end, query.endB64, 'end');
  if (keyOfQuery(query) !== undefined && (prefix ?? start ?? end) !== undefined)
    throw oneOf('key, prefix, start');
  if (prefix !== undefined && (start ?? end) !== undefined) throw oneOf('prefix, start and end');
  if (prefix !== undefined) return prefixSpan(prefix);
  if (start === undefined && end === undefined) return undefined;
  return intervalSpan(start ?? EMPTY_BYTES, end);
}

/** The prefix that the query names; no bytes when it names none. */
export function prefixOfQuery(query: SpanQuery): Uint8Array {
  if (query.prefix !== undefined) return utf8(query.prefix);
  return query.prefixB64 === undefined ? EMPTY_BYTES : base64Bytes(query.prefixB64, 'prefixB64');
}

/** A longer key than the limit cannot be meant. */
export function requireKeySize(key: Uint8Array, limit: number): void {
  if (key.length === 0) throw new KvError('EMPTY_KEY');
  if (key.length > limit) {
    throw new KvError('BAD_REQUEST', {
      detail: `the key has ${key.length} bytes; at most ${limit} expected`,
    });
  }
}

function oneOf(names: string): KvError {
  return new KvError('BAD_REQUEST', {
    detail: `query: exactly one of ${names} expected`,
    extra: { errors: [{ in: 'query', pointer: '', expected: `exactly one of ${names}` }] },
  });
}
