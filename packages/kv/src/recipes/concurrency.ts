import { equalBytes, prefixEnd } from '@muster/base';
import { KvError } from '@muster/contract';
import type { CallOptions, ConcurrencyApi, EtcdApi, LeaderKey, ResponseHeader, WithHeader } from '../api.ts';
import type { KeyValue } from '../types.ts';
import { onAbort, throwIfAborted } from './abort.ts';
import { KeyEvents } from './key-events.ts';
import {
  createdAt,
  firstUnder,
  NO_VALUE,
  type Place,
  prefixOf,
  Queue,
  type QueueRequest,
  revisionOf,
} from './queue.ts';

/**
 * etcd's lock and election services over any store (reference 2.11). Errors are those of the calls inside, and
 * SESSION_EXPIRED and ELECTION_*; on the wire `grpcCodeOfRecipe` says their code.
 *
 * A caller gives up through `signal` alone: its reason is what the call rejects with when that is a `KvError`, CANCELED
 * otherwise. The call then settles once its key is gone again.
 */
export function createConcurrency(api: EtcdApi): ConcurrencyApi {
  return new Recipes(api);
}

class Recipes implements ConcurrencyApi {
  readonly #api: EtcdApi;
  readonly #queue: Queue;

  constructor(api: EtcdApi) {
    this.#api = api;
    this.#queue = new Queue(api);
  }

  async lock(
    request: { readonly name: Uint8Array; readonly lease: bigint },
    options: CallOptions = {},
  ): Promise<WithHeader<{ readonly key: Uint8Array }>> {
    const { place, header } = await this.#first({ ...request, value: NO_VALUE }, options);
    return { header, key: place.key };
  }

  async unlock(
    { key }: { readonly key: Uint8Array },
    options: CallOptions = {},
  ): Promise<WithHeader<unknown>> {
    const { header } = await this.#api.deleteRange({ key }, options);
    return { header };
  }

  async campaign(
    request: QueueRequest,
    options: CallOptions = {},
  ): Promise<WithHeader<{ readonly leader: LeaderKey }>> {
    const { place } = await this.#first(request, options);
    const { key, createRevision, lease, header } = place;
    return { header, leader: { name: request.name, key, rev: createRevision, lease } };
  }

  async proclaim(
    { leader, value }: { readonly leader: LeaderKey | undefined; readonly value: Uint8Array },
    options: CallOptions = {},
  ): Promise<WithHeader<unknown>> {
    if (leader === undefined) throw new KvError('ELECTION_LEADER_MISSING');
    const lease = leader.lease === 0n ? await this.#queue.grant(options) : leader.lease;
    return {
      header: await this.#proclaim({ key: leader.key, createRevision: leader.rev, lease }, value, options),
    };
  }

  async leader(
    { name }: { readonly name: Uint8Array },
    options: CallOptions = {},
  ): Promise<WithHeader<{ readonly kv: KeyValue }>> {
    const { header, kvs } = await this.#api.range(firstUnder(prefixOf(name)), options);
    const kv = kvs[0];
    if (kv === undefined) throw new KvError('ELECTION_NO_LEADER');
    return { header, kv };
  }

  async resign(
    { leader }: { readonly leader: LeaderKey | undefined },
    options: CallOptions = {},
  ): Promise<WithHeader<unknown>> {
    if (leader === undefined) throw new KvError('ELECTION_LEADER_MISSING');
    const { header } = await this.#api.txn(
      {
        compare: [createdAt(leader.key, leader.rev)],
        success: [{ type: 'deleteRange', deleteRange: { key: leader.key } }],
        failure: [],
      },
      options,
    );
    return { header };
  }

  observe(
    { name }: { readonly name: Uint8Array },
    options: CallOptions = {},
  ): AsyncIterable<WithHeader<{ readonly kv: KeyValue }>> {
    const api = this.#api;
    return {
      [Symbol.asyncIterator]() {
        // A generator that waits does not hear `return`: it has to be woken first.
        const stop = new AbortController();
        const stopListening = onAbort(options.signal, () => stop.abort());
        const leaders = leadersOf(api, prefixOf(name), { ...options, signal: stop.signal });
        const end = (): void => {
          stopListening();
          stop.abort();
        };
        return {
          async next() {
            if (stop.signal.aborted) return { done: true, value: undefined };
            try {
              const next = await leaders.next();
              if (next.done) end();
              return next;
            } catch (error) {
              const stopped = stop.signal.aborted;
              end();
              if (stopped) return { done: true, value: undefined };
              throw error;
            }
          },
          async return() {
            end();
            await leaders.return(undefined);
            return { done: true, value: undefined };
          },
        };
      },
    };
  }

  /** Queues up and waits. Whatever ends the wait before the turn comes, the place is given back. */
  async #first(
    request: QueueRequest,
    options: CallOptions,
  ): Promise<{ readonly place: Place; readonly header: ResponseHeader }> {
    const place = await this.#queue.enter(request, options);
    let waiting = !place.first;
    try {
      throwIfAborted(options.signal);
      if (!equalBytes(place.value, request.value)) await this.#proclaim(place, request.value, options);
      const header = waiting ? await this.#queue.turn(place, options) : place.header;
      waiting = false;
      throwIfAborted(options.signal);
      return { place, header };
    } catch (error) {
      // What the lease held before this call stays held.
      if (place.created || waiting) await this.#queue.leave(place, options);
      throw error;
    }
  }

  async #proclaim(
    { key, createRevision, lease }: Pick<Place, 'key' | 'createRevision' | 'lease'>,
    value: Uint8Array,
    options: CallOptions,
  ): Promise<ResponseHeader> {
    const { header, succeeded } = await this.#api.txn(
      {
        compare: [createdAt(key, createRevision)],
        success: [{ type: 'put', put: { key, value, lease } }],
        failure: [],
      },
      options,
    );
    if (!succeeded) throw new KvError('ELECTION_NOT_LEADER');
    return header;
  }
}

type Leader = WithHeader<{ readonly kv: KeyValue }>;

async function* leadersOf(
  api: EtcdApi,
  prefix: Uint8Array,
  options: CallOptions,
): AsyncGenerator<Leader, undefined, undefined> {
  for (;;) {
    const { header, kvs } = await api.range(firstUnder(prefix), options);
    const now: Leader | undefined =
      kvs[0] === undefined
        ? await firstPut(api, prefix, revisionOf(header), options)
        : { header, kv: kvs[0] };
    if (now === undefined) continue;
    yield now;
    yield* valuesOf(api, now, options);
  }
}

/** The next put under an empty prefix; `undefined` when the history of it is gone. */
async function firstPut(
  api: EtcdApi,
  prefix: Uint8Array,
  revision: number,
  options: CallOptions,
): Promise<Leader | undefined> {
  const request = { key: prefix, rangeEnd: prefixEnd(prefix), startRevision: revision + 1 };
  const events = new KeyEvents(api, { ...request, filters: ['nodelete'] }, options);
  try {
    const next = await events.next();
    if (next === 'compacted') return undefined;
    const { kv } = next.batch.events[0] as { readonly kv: KeyValue };
    return { header: { ...next.header, revision: kv.modRevision }, kv };
  } finally {
    events.close();
  }
}

/** What a leader proclaims from now on, until its key is gone. */
async function* valuesOf(
  api: EtcdApi,
  { header, kv: { key } }: Leader,
  options: CallOptions,
): AsyncGenerator<Leader, undefined, undefined> {
  const events = new KeyEvents(api, { key, startRevision: revisionOf(header) + 1 }, options);
  try {
    for (;;) {
      const next = await events.next();
      if (next === 'compacted') return;
      for (const { type, kv } of next.batch.events) {
        if (type === 'delete') return;
        yield { header: { ...next.header, revision: kv.modRevision }, kv };
      }
    }
  } finally {
    events.close();
  }
}
