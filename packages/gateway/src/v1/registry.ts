/** Registration, heartbeat, override and deregistration, in terms of leases, puts and txns alone. */
import { equalBytes } from '@muster/base';
import {
  type Heartbeat,
  type InstancePatch,
  type InstancePut,
  idToHex,
  KvError,
  leaseIdFromHex,
  parseSeconds,
} from '@muster/contract';
import type { CallOptions, Compare, KeyValue, PutRequest, ResponseHeader } from '@muster/kv';
import { revisionOf, type V1Context } from './context.ts';
import { type EtagList, matchRevisions } from './etags.ts';
import { decodeStored, encodeStored, instanceKey, type StoredInstance, storedFromPut } from './instances.ts';
import { preconditionFailed } from './routes/kv.ts';

export type InstanceId = { readonly ns: string; readonly service: string; readonly id: string };

export type Registered = {
  readonly header: ResponseHeader;
  readonly created: boolean;
  readonly lease: bigint;
  readonly ttlSeconds: number;
  /** Of the instance's key. */
  readonly modRevision: number;
};

type Held = { readonly lease: bigint; readonly ttlSeconds: number };
type Current = { readonly header: ResponseHeader; readonly kv: KeyValue | undefined };

export class Registry {
  readonly #context: V1Context;

  constructor(context: V1Context) {
    this.#context = context;
  }

  /** Registers, renews, or takes over. Sent twice it does the same as sent once. */
  async register(name: InstanceId, put: InstancePut, call: CallOptions): Promise<Registered> {
    const ttlSeconds = this.#ttl(put.ttl);
    const wanted = put.leaseId === undefined ? undefined : (leaseIdFromHex(put.leaseId) as bigint);
    if (wanted === 0n)
      throw new KvError('BAD_REQUEST', { detail: 'body /leaseId: an id other than 0 expected' });
    let granted: Held | undefined;
    let used: Held | undefined;
    try {
      for (let attempt = 0; attempt < this.#context.limits.casAttempts; attempt++) {
        const current = await this.#read(name, call);
        const before = current.kv && decodeStored(current.kv.value);
        const value = encodeStored(storedFromPut(put, ttlSeconds, before));
        const kept = await this.#keptLease(current.kv, before, wanted, ttlSeconds, call);
        if (kept && current.kv && equalBytes(current.kv.value, value)) {
          const { modRevision } = current.kv;
          return { header: current.header, created: false, ...kept, modRevision };
        }
        const held = kept ?? (granted ??= await this.#grant(wanted, ttlSeconds, call));
        const header = await this.#putIf(name, current.kv, { value, lease: held.lease }, call);
        if (header === 'conflict') continue;
        if (header === 'lease gone') {
          granted = undefined;
          continue;
        }
        used = held;
        return { header, created: !current.kv, ...held, modRevision: revisionOf(header) };
      }
      throw conflict();
    } finally {
      // One of the caller's choice is the caller's to keep.
      if (granted && granted !== used && wanted === undefined) await this.#revoke(granted.lease, call);
    }
  }

  /** Renews the lease of a registration, and writes `health` and `load` where they changed. */
  async heartbeat(name: InstanceId, beat: Heartbeat, call: CallOptions): Promise<Registered> {
    for (let attempt = 0; attempt < this.#context.limits.casAttempts; attempt++) {
      const current = await this.#readNear(name, call);
      const { kv } = current;
      if (!kv || kv.lease === 0n) throw expired(name);
      const kept = await this.#context.api.leaseKeepAlive({ id: kv.lease }, call);
      if (kept.ttlSeconds <= 0) throw expired(name);
      const registered = { created: false, lease: kv.lease, ttlSeconds: kept.ttlSeconds };
      const before = decodeStored(kv.value);
      const value = encodeStored({ ...(before ?? { status: 'up', health: 'unknown' }), ...beat });
      if (before === undefined || equalBytes(encodeStored(before), value)) {
        return { ...registered, header: current.header, modRevision: kv.modRevision };
      }
      const header = await this.#putIf(name, kv, { value, ignoreLease: true }, call);
      if (typeof header !== 'string') return { ...registered, header, modRevision: revisionOf(header) };
    }
    throw conflict();
  }

  /** Sets or takes away overrides; gives the key as it is then. */
  async patch(
    name: InstanceId,
    patch: InstancePatch,
    match: EtagList | undefined,
    call: CallOptions,
  ): Promise<Current & { readonly kv: KeyValue }> {
    for (let attempt = 0; attempt < this.#context.limits.casAttempts; attempt++) {
      const current = await this.#read(name, call);
      const { kv } = current;
      if (!kv) throw missing(name);
      if (match && match !== '*' && !matchRevisions(match).includes(kv.modRevision)) {
        throw preconditionFailed(kv, current.header);
      }
      const before: StoredInstance = decodeStored(kv.value) ?? { status: 'up', health: 'unknown' };
      const override = Object.fromEntries(
        Object.entries({ ...before.override, ...patch }).filter(([, value]) => value !== null),
      );
      const { override: _, ...own } = before;
      const value = encodeStored(Object.keys(override).length === 0 ? own : { ...own, override });
      if (equalBytes(value, kv.value)) return { ...current, kv };
      const header = await this.#putIf(name, kv, { value, ignoreLease: true }, call);
      if (typeof header === 'string') continue;
      return { header, kv: { ...kv, value, version: kv.version + 1, modRevision: revisionOf(header) } };
    }
    throw conflict();
  }

  /** Deletes the registration and revokes its lease when no other key hangs on it. */
  async deregister(name: InstanceId, lease: bigint | undefined, call: CallOptions): Promise<ResponseHeader> {
    const key = instanceKey(name.ns, name.service, name.id);
    const compare: Compare[] =
      lease === undefined
        ? []
        : [{ key, target: 'lease', result: 'equal', operand: { kind: 'lease', id: lease } }];
    const result = await this.#context.api.txn(
      {
        compare,
        success: [{ type: 'deleteRange', deleteRange: { key, prevKv: true } }],
        failure: [{ type: 'range', range: { key, keysOnly: true } }],
      },
      call,
    );
    const response = result.responses[0];
    const kv =
      response?.type === 'deleteRange'
        ? response.deleteRange.prevKvs[0]
        : response?.type === 'range'
          ? response.range.kvs[0]
          : undefined;
    if (!kv) throw missing(name);
    if (!result.succeeded) {
      throw new KvError('CONFLICT', { detail: `${name.id} is registered under lease ${idToHex(kv.lease)}` });
    }
    if (kv.lease !== 0n) await this.#revokeUnused(kv.lease, call);
    return result.header;
  }

  #ttl(ttl: string | number | undefined): number {
    const {
      instanceTtlSeconds,
      instanceTtlMinSeconds: least,
      instanceTtlMaxSeconds: most,
    } = this.#context.limits;
    const seconds = ttl === undefined ? instanceTtlSeconds : (parseSeconds(ttl) as number);
    if (seconds < least || seconds > most) {
      throw new KvError('BAD_REQUEST', {
        detail: `body /ttl: ${seconds} s given, ${least} to ${most} s expected`,
        extra: { errors: [{ in: 'body', pointer: '/ttl', expected: `${least} to ${most} seconds` }] },
      });
    }
    return seconds;
  }

  async #read(name: InstanceId, call: CallOptions, serializable = false): Promise<Current> {
    const key = instanceKey(name.ns, name.service, name.id);
    const { header, kvs } = await this.#context.api.range({ key, serializable }, call);
    return { header, kv: kvs[0] };
  }

  /** A heartbeat needs the lease id only, which hardly ever changes: what this member has will do when it is there. */
  async #readNear(name: InstanceId, call: CallOptions): Promise<Current> {
    const near = await this.#read(name, call, true);
    return near.kv ? near : this.#read(name, call);
  }

  /** The registration's lease, renewed, when it may stay; else `undefined`. */
  async #keptLease(
    kv: KeyValue | undefined,
    before: StoredInstance | undefined,
    wanted: bigint | undefined,
    ttlSeconds: number,
    call: CallOptions,
  ): Promise<Held | undefined> {
    if (!kv || kv.lease === 0n || (wanted !== undefined && wanted !== kv.lease)) return undefined;
    // The length of a lease cannot be changed: another ttl is another lease, unless the caller insists on this one.
    if (before?.ttl !== ttlSeconds && wanted === undefined) return undefined;
    const renewed = await this.#context.api.leaseKeepAlive({ id: kv.lease }, call);
    return renewed.ttlSeconds > 0 ? { lease: kv.lease, ttlSeconds: renewed.ttlSeconds } : undefined;
  }

  /** A lease of the caller's choice that is there already is one whose answer was lost: it is renewed. */
  async #grant(wanted: bigint | undefined, ttlSeconds: number, call: CallOptions): Promise<Held> {
    try {
      const granted = await this.#context.api.leaseGrant({ id: wanted ?? 0n, ttlSeconds }, call);
      return { lease: granted.id, ttlSeconds: granted.ttlSeconds };
    } catch (error) {
      if (wanted === undefined || KvError.from(error).code !== 'LEASE_EXISTS') throw error;
      const renewed = await this.#context.api.leaseKeepAlive({ id: wanted }, call);
      // Gone in between: the put says so, and the next attempt grants it.
      return { lease: wanted, ttlSeconds: renewed.ttlSeconds || ttlSeconds };
    }
  }

  async #revoke(lease: bigint, call: CallOptions): Promise<void> {
    await this.#context.api
      .leaseRevoke({ id: lease }, { ...call, internal: true })
      .catch((error: unknown) => {
        this.#context.log.debug({ err: error, lease: idToHex(lease) }, 'unused lease not revoked');
      });
  }

  async #putIf(
    name: InstanceId,
    kv: KeyValue | undefined,
    write: Omit<PutRequest, 'key'>,
    call: CallOptions,
  ): Promise<ResponseHeader | 'conflict' | 'lease gone'> {
    const key = instanceKey(name.ns, name.service, name.id);
    const compare: Compare = {
      key,
      target: 'mod',
      result: 'equal',
      operand: { kind: 'mod', number: kv?.modRevision ?? 0 },
    };
    try {
      const success = [{ type: 'put', put: { key, ...write } } as const];
      const result = await this.#context.api.txn({ compare: [compare], success, failure: [] }, call);
      return result.succeeded ? result.header : 'conflict';
    } catch (error) {
      if (KvError.from(error).code === 'LEASE_NOT_FOUND') return 'lease gone';
      throw error;
    }
  }

  async #revokeUnused(lease: bigint, call: CallOptions): Promise<void> {
    try {
      const { ttlSeconds, keys } = await this.#context.api.leaseTimeToLive({ id: lease, keys: true }, call);
      if (ttlSeconds >= 0 && keys.length === 0) await this.#context.api.leaseRevoke({ id: lease }, call);
    } catch (error) {
      // The registration is gone, which was asked for; the lease runs out by itself.
      this.#context.log.debug({ err: error, lease: idToHex(lease) }, 'lease not revoked');
    }
  }
}

function missing(name: InstanceId): KvError {
  return new KvError('NOT_FOUND', { detail: `service ${name.service} has no instance ${name.id}` });
}

function expired(name: InstanceId): KvError {
  return new KvError('INSTANCE_EXPIRED', {
    detail: `${name.service}/${name.id} is not registered: PUT it again`,
  });
}

function conflict(): KvError {
  return new KvError('CONFLICT', { detail: 'the instance changes faster than it can be written: try again' });
}
