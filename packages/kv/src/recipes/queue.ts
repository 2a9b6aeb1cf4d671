/**
 * The queue that etcd's locks and elections are made of (reference 2.11): one key per lease under a name, ordered by
 * create revision; whoever is first holds.
 */
import { concatBytes, EMPTY_BYTES, prefixEnd, utf8 } from '@muster/base';
import { KvError } from '@muster/contract';
import type { CallOptions, EtcdApi, ResponseHeader, WithHeader } from '../api.ts';
import type { Compare, KeyValue, RangeRequest, RequestOp, TxnResult } from '../types.ts';
import { onAbort, throwIfAborted, withoutSignal } from './abort.ts';
import { KeyEvents } from './key-events.ts';

/** Of a lease that the caller did not bring, in seconds. */
const OWN_LEASE_TTL_SECONDS = 60;
/** How often leaving the queue is tried while the cluster is between leaders. Each try waits as long as a request may. */
const LEAVE_ATTEMPTS = 5;

export type Place = {
  readonly prefix: Uint8Array;
  readonly key: Uint8Array;
  readonly lease: bigint;
  /** The lease was granted for this place and goes with it. */
  readonly ownLease: boolean;
  /** What orders the queue. */
  readonly createRevision: number;
  /** False: the same lease stood in the queue before. */
  readonly created: boolean;
  readonly value: Uint8Array;
  /** Nobody stood before it when it was taken. */
  readonly first: boolean;
  readonly header: ResponseHeader;
};

export type QueueRequest = {
  readonly name: Uint8Array;
  readonly lease: bigint;
  readonly value: Uint8Array;
};

export function prefixOf(name: Uint8Array): Uint8Array {
  return concatBytes(name, SLASH);
}
const SLASH = utf8('/');

/** The key that stands first under a prefix. */
export function firstUnder(prefix: Uint8Array): RangeRequest {
  return { key: prefix, rangeEnd: prefixEnd(prefix), sortTarget: 'create', sortOrder: 'ascend', limit: 1 };
}

export const createdAt = (key: Uint8Array, revision: number): Compare => ({
  key,
  target: 'create',
  result: 'equal',
  operand: { kind: 'create', number: revision },
});

const read = (range: RangeRequest): RequestOp => ({ type: 'range', range });

function rangeOf(result: TxnResult, index: number): readonly KeyValue[] {
  const response = result.responses[index];
  if (response?.type !== 'range')
    throw new KvError('INTERNAL', { detail: 'a txn answered another operation' });
  return response.range.kvs;
}

export function revisionOf(header: ResponseHeader): number {
  if (header.revision === undefined)
    throw new KvError('INTERNAL', { detail: 'an answer without a revision' });
  return header.revision;
}

/** Queues over any store. Stateless: what stands in the queue is in the store alone. */
export class Queue {
  readonly #api: EtcdApi;

  constructor(api: EtcdApi) {
    this.#api = api;
  }

  /**
   * Takes a place, or finds the one that the lease has. The caller's signal does not cut the write short: only its
   * outcome says what there is to take back.
   */
  async enter({ name, lease, value }: QueueRequest, options: CallOptions): Promise<Place> {
    throwIfAborted(options.signal);
    const patient = withoutSignal(options);
    const id = lease === 0n ? await this.grant(patient) : lease;
    const prefix = prefixOf(name);
    const key = concatBytes(prefix, utf8(id.toString(16)));
    const owner = read(firstUnder(prefix));
    let result: WithHeader<TxnResult>;
    try {
      result = await this.#api.txn(
        {
          compare: [createdAt(key, 0)],
          success: [{ type: 'put', put: { key, value, lease: id } }, owner],
          failure: [read({ key }), owner],
        },
        patient,
      );
    } catch (error) {
      // The lease is nobody else's: with it goes whatever an unknown outcome left.
      if (lease === 0n) await this.#take(() => this.#api.leaseRevoke({ id }, housekeeping(options)));
      throw error;
    }
    const own = result.succeeded ? undefined : rangeOf(result, 0)[0];
    const createRevision = own?.createRevision ?? revisionOf(result.header);
    const before = rangeOf(result, 1)[0];
    return {
      prefix,
      key,
      lease: id,
      ownLease: lease === 0n,
      createRevision,
      created: result.succeeded,
      value: own?.value ?? value,
      first: before === undefined || before.createRevision === createRevision,
      header: result.header,
    };
  }

  /**
   * Resolves with the header of the read that found nobody before the place. A lost place rejects with
   * SESSION_EXPIRED, a fired signal with its reason; nothing is taken back here.
   */
  async turn(place: Place, options: CallOptions): Promise<ResponseHeader> {
    for (;;) {
      const result = await this.#untilAborted(this.#look(place, options), options.signal);
      const own = rangeOf(result, 0)[0];
      if (own?.createRevision !== place.createRevision) throw new KvError('SESSION_EXPIRED');
      const before = rangeOf(result, 1)[0];
      if (before === undefined) return result.header;
      await this.#deletionOf([before.key, place.key], revisionOf(result.header) + 1, options);
    }
  }

  /**
   * Takes the place back. One that the lease had before stays when it has come first by now: another call of the same
   * lease may have been told so. Does not reject: where the cluster cannot be written, the lease's end does it.
   */
  leave(place: Place, options: CallOptions): Promise<void> {
    const { key, prefix, createRevision, lease } = place;
    const quiet = housekeeping(options);
    if (place.ownLease) return this.#take(() => this.#api.leaseRevoke({ id: lease }, quiet));
    const remove: RequestOp = { type: 'deleteRange', deleteRange: { key } };
    const nobodyBefore: Compare = {
      key: prefix,
      rangeEnd: prefixEnd(prefix),
      target: 'create',
      result: 'greater',
      operand: { kind: 'create', number: createRevision - 1 },
    };
    const unlessFirst: RequestOp = {
      type: 'txn',
      txn: { compare: [nobodyBefore], success: [], failure: [remove] },
    };
    const success = [place.created ? remove : unlessFirst];
    return this.#take(() =>
      this.#api.txn({ compare: [createdAt(key, createRevision)], success, failure: [] }, quiet),
    );
  }

  /** A lease of a minute that nobody keeps alive. */
  async grant(options: CallOptions): Promise<bigint> {
    const { id } = await this.#api.leaseGrant({ id: 0n, ttlSeconds: OWN_LEASE_TTL_SECONDS }, options);
    return id;
  }

  #look({ key, prefix, createRevision }: Place, options: CallOptions): Promise<WithHeader<TxnResult>> {
    const older: RangeRequest = {
      key: prefix,
      rangeEnd: prefixEnd(prefix),
      maxCreateRevision: createRevision - 1,
      sortTarget: 'create',
      sortOrder: 'descend',
      limit: 1,
    };
    return this.#api.txn(
      { compare: [], success: [read({ key }), read({ ...older, keysOnly: true })], failure: [] },
      withoutSignal(options),
    );
  }

  /** Resolves when one of the keys is deleted, or when that can no longer be told and has to be looked up. */
  async #deletionOf(keys: readonly Uint8Array[], startRevision: number, options: CallOptions): Promise<void> {
    const watches = keys.map(
      (key) => new KeyEvents(this.#api, { key, startRevision, filters: ['noput'] }, options),
    );
    try {
      await Promise.race(watches.map((watch) => watch.next()));
    } finally {
      for (const watch of watches) watch.close();
    }
  }

  async #untilAborted<T>(call: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
    let stop = (): void => {};
    const aborted = new Promise<never>((_, reject) => {
      stop = onAbort(signal, reject);
    });
    try {
      return await Promise.race([call, aborted]);
    } finally {
      stop();
    }
  }

  async #take(call: () => Promise<unknown>): Promise<void> {
    for (let attempt = 1; attempt <= LEAVE_ATTEMPTS; attempt++) {
      try {
        await call();
        return;
      } catch (error) {
        if (!KvError.from(error).row.retryable) return;
      }
    }
  }
}

/** The server takes back what it wrote for somebody who is gone, whatever that user may do by now. */
function housekeeping(options: CallOptions): CallOptions {
  return { ...withoutSignal(options), internal: true };
}

export const NO_VALUE = EMPTY_BYTES;
