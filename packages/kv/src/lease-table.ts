import { assert } from '@muster/base';
import { KvError } from '@muster/contract';
import type { Engine } from './engine.ts';
import { decodeLease, encodeLease, idKey, idOfKey, type LeaseRecord } from './state-records.ts';

/** etcd's upper bound of a time to live, in seconds. */
export const MAX_LEASE_TTL_SECONDS = 9_000_000_000;

const ID_BYTES = 8;
const NOTHING = new Uint8Array(0);

export type Lease = {
  readonly id: bigint;
  /** As granted. */
  readonly ttlSeconds: number;
  /** What was left at the last checkpoint; 0 when there is none: then all of it is. */
  readonly remainingTtlSeconds: number;
};

export type LeaseCheckpoint = { readonly id: bigint; readonly remainingTtlSeconds: number };

/**
 * The granted leases and the keys attached to each. It knows no clock: who leads decides when a lease is over. The
 * leases are in memory and in table `leases`; attachments are in table `leaseKeys` only, and read when asked for.
 */
export class LeaseTable {
  readonly #engine: Engine;
  readonly #leases = new Map<bigint, Lease>();

  constructor(engine: Engine) {
    this.#engine = engine;
    for (const [key, record] of engine.iterate('leases')) {
      const id = BigInt.asIntN(64, idOfKey(key));
      this.#leases.set(id, { id, ...decodeLease(record) });
    }
  }

  get size(): number {
    return this.#leases.size;
  }

  get(id: bigint): Lease | undefined {
    return this.#leases.get(id);
  }

  has(id: bigint): boolean {
    return this.#leases.has(id);
  }

  /** In order of granting since the store was opened, and of id before that. */
  list(): Lease[] {
    return [...this.#leases.values()];
  }

  /** The keys attached to a lease, ascending. */
  keysOf(id: bigint): Uint8Array[] {
    const from = idKey(id);
    const next = BigInt.asUintN(64, id) + 1n;
    const bounds = next > 0xffff_ffff_ffff_ffffn ? { from } : { from, to: idKey(next) };
    return [...this.#engine.iterate('leaseKeys', bounds)].map(([key]) => key.subarray(ID_BYTES));
  }

  /** The keys attached to any lease. */
  *attachedKeys(): Generator<Uint8Array> {
    for (const [key] of this.#engine.iterate('leaseKeys')) yield key.subarray(ID_BYTES);
  }

  /** Throws what etcd answers when a lease cannot be granted. Id 0 is nobody's: the caller has chosen one. */
  checkGrant(id: bigint, ttlSeconds: number): void {
    if (id === 0n) throw new KvError('LEASE_NOT_FOUND', { detail: 'lease id 0 cannot be granted' });
    if (ttlSeconds > MAX_LEASE_TTL_SECONDS) {
      const detail = `a TTL of ${ttlSeconds} s is above the largest, ${MAX_LEASE_TTL_SECONDS} s`;
      throw new KvError('LEASE_TTL_TOO_LARGE', { detail });
    }
    if (this.#leases.has(id)) throw new KvError('LEASE_EXISTS', { detail: `lease ${id} is already granted` });
  }

  checkExists(id: bigint): void {
    if (!this.#leases.has(id)) throw new KvError('LEASE_NOT_FOUND', { detail: `there is no lease ${id}` });
  }

  grant(id: bigint, ttlSeconds: number): Lease {
    assert(!this.#leases.has(id), () => `lease ${id} granted twice`);
    return this.#store({ id, ttlSeconds, remainingTtlSeconds: 0 });
  }

  /** Checkpoints of unknown leases are ignored: a revoke may have overtaken them. */
  checkpoint({ id, remainingTtlSeconds }: LeaseCheckpoint): void {
    const lease = this.#leases.get(id);
    if (lease)
      this.#store({ ...lease, remainingTtlSeconds: Math.min(remainingTtlSeconds, lease.ttlSeconds) });
  }

  /** Forgets a lease whose keys are detached already. */
  remove(id: bigint): void {
    assert(this.#leases.delete(id), () => `lease ${id} removed, but there is none`);
    this.#engine.delete('leases', idKey(id));
  }

  attach(id: bigint, key: Uint8Array): void {
    this.#engine.put('leaseKeys', attachmentKey(id, key), NOTHING);
  }

  detach(id: bigint, key: Uint8Array): void {
    this.#engine.delete('leaseKeys', attachmentKey(id, key));
  }

  #store(lease: Lease): Lease {
    const record: LeaseRecord = lease;
    this.#engine.put('leases', idKey(lease.id), encodeLease(record));
    this.#leases.set(lease.id, lease);
    return lease;
  }
}

/** The key in table `leases` of the lease that a key of table `leaseKeys` belongs to. */
export function leaseOfAttachment(key: Uint8Array): Uint8Array {
  return key.subarray(0, ID_BYTES);
}

/** Of an attachment in table `leaseKeys`. */
export function attachmentKey(id: bigint, key: Uint8Array): Uint8Array {
  const out = new Uint8Array(ID_BYTES + key.length);
  new DataView(out.buffer).setBigUint64(0, BigInt.asUintN(64, id));
  out.set(key, ID_BYTES);
  return out;
}
