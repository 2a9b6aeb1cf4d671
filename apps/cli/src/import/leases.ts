import { KvError } from '@muster/contract';
import type { EtcdClient } from '../client.ts';
import { pause } from '../pause.ts';
import { inParallel } from '../workers.ts';

/** Renewals at once. */
const RENEWALS = 16;
/** Leases are renewed this often at least within their TTL. */
const RENEWALS_PER_TTL = 3;
const ROUND_MIN_MS = 1_000;
const ROUND_MAX_SECONDS = 60;

/** The source's leases under the same ids at the destination, kept alive there while they live at the source. */
export class ImportedLeases {
  readonly #source: EtcdClient;
  readonly #target: EtcdClient;
  /** Ids to granted TTLs in seconds. */
  readonly #known = new Map<bigint, number>();

  constructor(source: EtcdClient, target: EtcdClient) {
    this.#source = source;
    this.#target = target;
  }

  get size(): number {
    return this.#known.size;
  }

  /** The lease to put a key under: itself, or none where it ended at the source meanwhile. */
  async ensure(id: bigint, signal: AbortSignal): Promise<bigint> {
    if (id === 0n || this.#known.has(id)) return id;
    const at = await this.#source.api.leaseTimeToLive({ id }, this.#source.options(signal));
    if (at.ttlSeconds <= 0) return 0n;
    try {
      const request = { id, ttlSeconds: at.grantedTtlSeconds };
      await this.#target.api.leaseGrant(request, this.#target.options(signal));
    } catch (error) {
      // From an earlier run.
      if (!(error instanceof KvError) || error.code !== 'LEASE_EXISTS') throw error;
    }
    this.#known.set(id, at.grantedTtlSeconds);
    return id;
  }

  /** Also those that no key hangs on. */
  async ensureAll(signal: AbortSignal): Promise<void> {
    const { leases } = await this.#source.api.leaseLeases(this.#source.options(signal));
    for (const id of leases) await this.ensure(id, signal);
  }

  /** A lease that is not there any more at the destination is granted anew when the next key needs it. */
  forget(id: bigint): void {
    this.#known.delete(id);
  }

  /** Renews until the signal aborts. What ended at the source is left to end here. */
  async keepAlive(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      let shortest = ROUND_MAX_SECONDS;
      for (const ttlSeconds of this.#known.values()) shortest = Math.min(shortest, ttlSeconds);
      await pause(Math.max(ROUND_MIN_MS, (shortest * 1000) / RENEWALS_PER_TTL), signal);
      const ids = [...this.#known.keys()];
      await inParallel(RENEWALS, async () => {
        for (let id = ids.pop(); id !== undefined && !signal.aborted; id = ids.pop())
          await this.#renew(id, signal);
      });
    }
  }

  async #renew(id: bigint, signal: AbortSignal): Promise<void> {
    try {
      const at = await this.#source.api.leaseTimeToLive({ id }, this.#source.options(signal));
      const gone =
        at.ttlSeconds <= 0 ||
        (await this.#target.api.leaseKeepAlive({ id }, this.#target.options(signal))).ttlSeconds <= 0;
      if (gone) this.#known.delete(id);
    } catch {
      // A cluster that is away for a moment: there are more rounds before the TTL is over.
    }
  }
}
