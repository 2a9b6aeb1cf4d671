import { KvError } from '@muster/contract';
import type { RequestOp } from '@muster/kv';
import type { EtcdClient } from '../client.ts';
import { Failure } from '../failure.ts';
import { pause } from '../pause.ts';
import type { Marker, MarkerKey } from './marker.ts';

const TRIES_MAX = 20;
const RETRY_MS = 250;

/** Writes to the destination: operations together with the marker that tells of them, once each. */
export class ImportTarget {
  readonly #client: EtcdClient;
  readonly #marker: MarkerKey;
  readonly #opsMax: number;
  readonly #signal: AbortSignal;
  /** Of the destination, after the last write. */
  revision = 0;

  constructor(client: EtcdClient, marker: MarkerKey, opsMax: number, signal: AbortSignal) {
    this.#client = client;
    this.#marker = marker;
    this.#opsMax = opsMax;
    this.#signal = signal;
  }

  /** More operations than fit into one transaction go before it; to do them again does no harm. */
  async apply(operations: readonly RequestOp[], marker: Marker): Promise<void> {
    const room = this.#opsMax - 1;
    let from = 0;
    for (; operations.length - from > room; from += room)
      await this.#commit(operations.slice(from, from + room));
    await this.#commit(operations.slice(from), marker);
  }

  /** A failure that leaves open whether it was done is settled by reading the marker. */
  async #commit(operations: readonly RequestOp[], marker?: Marker): Promise<void> {
    const next = marker && this.#marker.encode(marker);
    const written: RequestOp[] = next ? [{ type: 'put', put: { key: this.#marker.key, value: next } }] : [];
    const request = { compare: [this.#marker.guard()], success: [...operations, ...written], failure: [] };
    for (let attempt = 1; ; attempt++) {
      try {
        const { succeeded, header } = await this.#client.api.txn(request, this.#client.options(this.#signal));
        if (!succeeded && !(attempt > 1 && next && (await this.#holds(next)))) {
          throw new Failure('the marker key changed: another import writes to the same destination');
        }
        this.revision = header.revision ?? this.revision;
        if (next) this.#marker.wrote(next);
        return;
      } catch (error) {
        const again = error instanceof KvError && error.row.retryable && attempt < TRIES_MAX;
        if (!again || this.#signal.aborted) throw error;
        await pause(RETRY_MS, this.#signal);
      }
    }
  }

  async #holds(bytes: Uint8Array): Promise<boolean> {
    const { kvs } = await this.#client.api.range(
      { key: this.#marker.key },
      this.#client.options(this.#signal),
    );
    return kvs[0] !== undefined && Buffer.from(kvs[0].value).equals(bytes);
  }
}
