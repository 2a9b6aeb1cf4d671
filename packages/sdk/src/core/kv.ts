import {
  type EntryResource,
  type KeyPage,
  type PutResource,
  type TxnResultResource,
  toBase64,
} from '@muster/contract';
import { type Caller, type CallOptions, type CallResult, jsonOf } from './caller.ts';
import { type Codec, type RawValue, rawCodec, textCodec } from './codec.ts';
import { type Duration, durationMs } from './duration.ts';
import { type Entry, entryOf, type Key } from './entry.ts';
import { MusterError } from './errors.ts';

export type GetOptions<T> = CallOptions & {
  readonly codec?: Codec<T>;
  /** Read as of this revision. */
  readonly at?: number;
  /** `serializable` reads what the answering member has, without asking the others. Default linearizable. */
  readonly consistency?: 'linearizable' | 'serializable';
};

export type ConditionOptions = CallOptions & {
  /** Only over this modRevision; otherwise `PRECONDITION_FAILED`. */
  readonly ifRevision?: number;
};

export type PutOptions<T = unknown> = ConditionOptions & {
  readonly codec?: Codec<T>;
  /** Only when the key does not exist; otherwise `PRECONDITION_FAILED`. */
  readonly ifAbsent?: boolean;
  /** Attach the key to this lease. */
  readonly lease?: { readonly id: string } | string;
  /** Attach the key to a lease of its own that nobody renews: it goes when this has passed. Whole seconds, rounded up. */
  readonly ttl?: Duration;
};

export type PutResult = {
  readonly created: boolean;
  readonly revision: number;
  readonly createRevision: number;
  readonly modRevision: number;
  readonly version: number;
  readonly leaseId?: string;
};

/** A prefix, or a half-open range of keys; without `end` to the end of the keyspace. */
export type Selection =
  | string
  | { readonly prefix: string }
  | { readonly start: string; readonly end?: string };

export type ListOptions<T> = GetOptions<T> & {
  /** Entries in a page, at most 1000. */
  readonly pageSize?: number;
  readonly keysOnly?: boolean;
};

export type Page<T> = {
  /** All pages of a listing are of this one revision. */
  readonly revision: number;
  readonly cursor: string;
  readonly items: readonly Entry<T>[];
  readonly nextCursor?: string;
};

/** Awaited: the first page. Iterated: every entry, page after page, all of one revision. */
export type Listing<T> = AsyncIterable<Entry<T>> & PromiseLike<Page<T>>;

/** Compares, operations and results exactly as `POST /v1/txn` has them. */
export type TxnCompare = { readonly key: string; readonly op?: '=' | '!=' | '<' | '>' } & (
  | { readonly modRevision: number }
  | { readonly createRevision: number }
  | { readonly version: number }
  | { readonly value: string }
  | { readonly lease: string }
  | { readonly exists: boolean }
);
export type TxnOp =
  | {
      readonly put: {
        readonly key: string;
        readonly value: string;
        readonly lease?: string;
        readonly prev?: boolean;
      };
    }
  | { readonly get: { readonly key: string } | { readonly prefix: string; readonly limit?: number } }
  | {
      readonly delete: ({ readonly key: string } | { readonly prefix: string }) & { readonly prev?: boolean };
    };
export type Txn = {
  readonly if?: readonly TxnCompare[];
  readonly then?: readonly TxnOp[];
  readonly else?: readonly TxnOp[];
};
export type TxnOpResult = {
  readonly put?: { readonly prev?: Entry<RawValue> };
  readonly get?: { readonly count: number; readonly items: readonly Entry<RawValue>[] };
  readonly delete?: { readonly deleted: number; readonly prev?: readonly Entry<RawValue>[] };
};
export type TxnResult = {
  readonly succeeded: boolean;
  readonly revision: number;
  readonly results: readonly TxnOpResult[];
};

/**
 * Keys and values. Reads and conditional writes are repeated on other members until the deadline; an unconditional
 * write only while the server cannot have seen it, unless `idempotent` allows it.
 */
export interface Kv {
  /** `null` when there is no such key. */
  get<T = string>(key: Key, options?: GetOptions<T>): Promise<Entry<T> | null>;
  /** Text and bytes are stored as they are; anything else, without a codec, as JSON. */
  put<T>(key: Key, value: T, options?: PutOptions<T>): Promise<PutResult>;
  /** Whether there was a key to delete. */
  delete(key: Key, options?: ConditionOptions): Promise<boolean>;
  list<T = string>(selection: Selection, options?: ListOptions<T>): Listing<T>;
  /**
   * Reads, asks `change` for the new value and writes it over exactly what was read, again until nobody interferes.
   * `change` gets `null` for a missing key; `undefined` from it leaves everything as it is. When a write's fate is
   * unknown it fails as `ambiguous` instead of applying `change` twice.
   */
  update<T = string>(
    key: Key,
    change: (current: T | null) => T | undefined,
    options?: CallOptions & { readonly codec?: Codec<T> },
  ): Promise<Entry<T> | null>;
  /**
   * All or nothing, in one revision. Plain data rather than a builder: a builder with a method named `then` would be
   * taken for a promise by `await`.
   */
  txn(txn: Txn, options?: CallOptions): Promise<TxnResult>;
}

const JSON_HEADERS = { accept: 'application/json' } as const;
const DEFAULT_CODEC = textCodec as Codec<unknown>;

export function createKv(caller: Caller): Kv {
  const kv: Kv = {
    get: (key, options = {}) => get(caller, key, options),
    put: (key, value, options = {}) => put(caller, key, value, options),
    delete: (key, options = {}) => remove(caller, key, options),
    list: (selection, options = {}) => list(caller, selection, options),
    update: (key, change, options = {}) => update(kv, key, change, options),
    txn: (txn, options = {}) => commit(caller, txn, options),
  };
  return kv;
}

async function get<T>(caller: Caller, key: Key, options: GetOptions<T>): Promise<Entry<T> | null> {
  const query = keyQuery(key);
  if (options.at !== undefined) query.set('at', String(options.at));
  if (options.consistency) query.set('consistency', options.consistency);
  const response = await caller.call(
    { method: 'GET', path: `/v1/kv?${query}`, headers: JSON_HEADERS, repeat: 'safe', accept: [404] },
    options,
  );
  if (response.status === 404) return null;
  return entryOf(jsonOf<EntryResource>(response), codecOf(options.codec));
}

async function put<T>(caller: Caller, key: Key, value: T, options: PutOptions<T>): Promise<PutResult> {
  const query = keyQuery(key);
  const lease = typeof options.lease === 'object' ? options.lease.id : options.lease;
  if (lease !== undefined) query.set('lease', lease);
  if (options.ttl !== undefined) query.set('ttl', `${Math.ceil(durationMs(options.ttl, 'ttl') / 1000)}s`);
  const conditional = options.ifAbsent === true || options.ifRevision !== undefined;
  const response = await caller.call(
    {
      method: 'PUT',
      path: `/v1/kv?${query}`,
      headers: { ...JSON_HEADERS, 'content-type': 'application/octet-stream', ...conditionHeaders(options) },
      body: rawOf(value, options.codec),
      repeat: conditional ? 'conditional' : 'once',
    },
    options,
  );
  const result = jsonOf<PutResource>(response);
  const { created, revision, createRevision, modRevision, version } = result;
  return {
    created,
    revision,
    createRevision,
    modRevision,
    version,
    ...(result.lease !== undefined && { leaseId: result.lease }),
  };
}

async function remove(caller: Caller, key: Key, options: ConditionOptions): Promise<boolean> {
  const response = await caller.call(
    {
      method: 'DELETE',
      path: `/v1/kv?${keyQuery(key)}`,
      headers: { ...JSON_HEADERS, ...conditionHeaders(options) },
      repeat: options.ifRevision === undefined ? 'once' : 'conditional',
      accept: [404],
    },
    options,
  );
  if (response.status !== 404) return true;
  // A conditional delete that was sent twice and now finds nothing did its work the first time, or came too late.
  if (response.repeated && options.ifRevision !== undefined) {
    throw new MusterError('PRECONDITION_FAILED', 'the key is gone', { status: 404, ambiguous: true });
  }
  return false;
}

function list<T>(caller: Caller, selection: Selection, options: ListOptions<T>): Listing<T> {
  const query = selectionQuery(selection);
  if (options.pageSize !== undefined) query.set('limit', String(options.pageSize));
  if (options.keysOnly) query.set('keysOnly', 'true');
  if (options.at !== undefined) query.set('at', String(options.at));
  if (options.consistency) query.set('consistency', options.consistency);
  const page = async (cursor: string | undefined): Promise<Page<T>> => {
    if (cursor !== undefined) query.set('cursor', cursor);
    const response = await caller.call(
      { method: 'GET', path: `/v1/kv?${query}`, headers: JSON_HEADERS, repeat: 'safe' },
      options,
    );
    const wire = jsonOf<KeyPage>(response);
    const codec = options.keysOnly ? undecoded<T>() : codecOf(options.codec);
    const items = wire.items.map((item) => entryOf(item, codec));
    const { revision } = wire;
    return { revision, cursor: wire.cursor, items, ...(wire.nextCursor && { nextCursor: wire.nextCursor }) };
  };
  return {
    then: (onPage, onError) => page(undefined).then(onPage, onError),
    async *[Symbol.asyncIterator]() {
      let cursor: string | undefined;
      do {
        const next = await page(cursor);
        yield* next.items;
        cursor = next.nextCursor;
      } while (cursor !== undefined);
    },
  };
}

async function update<T>(
  kv: Kv,
  key: Key,
  change: (current: T | null) => T | undefined,
  options: CallOptions & { readonly codec?: Codec<T> },
): Promise<Entry<T> | null> {
  for (;;) {
    const current = await kv.get<T>(key, options);
    const value = change(current ? current.value : null);
    if (value === undefined) return current;
    const condition = current ? { ifRevision: current.modRevision } : { ifAbsent: true };
    try {
      const { createRevision, modRevision, version } = await kv.put(key, value, { ...options, ...condition });
      const leaseId = current?.leaseId;
      const name = typeof key === 'string' ? { key } : { key: new TextDecoder().decode(key), keyBytes: key };
      return {
        ...name,
        value,
        createRevision,
        modRevision,
        version,
        ...(leaseId !== undefined && { leaseId }),
      };
    } catch (thrown) {
      const error = MusterError.from(thrown);
      if (error.code !== 'PRECONDITION_FAILED' || error.ambiguous) throw error;
    }
  }
}

async function commit(caller: Caller, txn: Txn, options: CallOptions): Promise<TxnResult> {
  const reads = [...(txn.then ?? []), ...(txn.else ?? [])].every((op) => 'get' in op);
  const response: CallResult = await caller.call(
    {
      method: 'POST',
      path: '/v1/txn',
      headers: { ...JSON_HEADERS, 'content-type': 'application/json' },
      body: JSON.stringify(txn),
      repeat: reads ? 'safe' : 'once',
    },
    options,
  );
  const wire = jsonOf<TxnResultResource>(response);
  const raw = (entry: EntryResource) => entryOf(entry, rawCodec);
  return {
    succeeded: wire.succeeded,
    revision: wire.revision,
    results: wire.results.map((result) => ({
      ...(result.put && { put: result.put.prev ? { prev: raw(result.put.prev) } : {} }),
      ...(result.get && { get: { count: result.get.count, items: result.get.items.map(raw) } }),
      ...(result.delete && {
        delete: {
          deleted: result.delete.deleted,
          ...(result.delete.prev && { prev: result.delete.prev.map(raw) }),
        },
      }),
    })),
  };
}

function undecoded<T>(): Codec<T> {
  return { encode: () => '', decode: () => undefined as T };
}

function codecOf<T>(codec: Codec<T> | undefined): Codec<T> {
  return codec ?? (DEFAULT_CODEC as Codec<T>);
}

function rawOf<T>(value: T, codec: Codec<T> | undefined): RawValue {
  if (codec) return codec.encode(value);
  if (typeof value === 'string' || value instanceof Uint8Array) return value;
  return JSON.stringify(value);
}

function keyQuery(key: Key): URLSearchParams {
  return new URLSearchParams(typeof key === 'string' ? { key } : { keyB64: toBase64(key) });
}

function selectionQuery(selection: Selection): URLSearchParams {
  if (typeof selection === 'string') return new URLSearchParams({ prefix: selection });
  return new URLSearchParams({ ...selection });
}

function conditionHeaders(options: {
  readonly ifAbsent?: boolean;
  readonly ifRevision?: number;
}): Record<string, string> {
  if (options.ifAbsent === true) return { 'if-none-match': '*' };
  return options.ifRevision === undefined ? {} : { 'if-match': `"${options.ifRevision}"` };
}
