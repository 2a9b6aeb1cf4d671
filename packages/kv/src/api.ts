import type { AuthApi } from './auth-api.ts';
import type {
  Alarm,
  AlarmType,
  DeleteRangeRequest,
  DeleteRangeResult,
  Event,
  KeyValue,
  MemberInfo,
  PutRequest,
  PutResult,
  RangeRequest,
  RangeResult,
  TxnRequest,
  TxnResult,
} from './types.ts';

/**
 * EtcdApi, the one seam. A local member and a remote cluster implement it; the gateway and the gRPC server serve it.
 * Every call rejects with a `KvError` out of `contract/errors.ts` and nothing else.
 */
export interface EtcdApi extends CoreApi, AuthApi, AdminApi {}

/** Data, leases, watches, and what every member can say of itself and its cluster. */
export interface CoreApi {
  range(request: RangeRequest, options?: CallOptions): Promise<WithHeader<RangeResult>>;
  put(request: PutRequest, options?: CallOptions): Promise<WithHeader<PutResult>>;
  deleteRange(request: DeleteRangeRequest, options?: CallOptions): Promise<WithHeader<DeleteRangeResult>>;
  txn(request: TxnRequest, options?: CallOptions): Promise<WithHeader<TxnResult>>;
  /** `physical` waits until the removal is done and committed. */
  compact(request: CompactRequest, options?: CallOptions): Promise<WithHeader<unknown>>;

  leaseGrant(request: LeaseGrantRequest, options?: CallOptions): Promise<WithHeader<LeaseGrantResult>>;
  leaseRevoke(request: { readonly id: bigint }, options?: CallOptions): Promise<WithHeader<unknown>>;
  /** An unknown or expired lease answers `ttlSeconds: 0`, not an error. */
  leaseKeepAlive(
    request: { readonly id: bigint },
    options?: CallOptions,
  ): Promise<WithHeader<{ readonly id: bigint; readonly ttlSeconds: number }>>;
  /** An unknown lease answers `ttlSeconds: -1`, not an error. */
  leaseTimeToLive(
    request: { readonly id: bigint; readonly keys?: boolean },
    options?: CallOptions,
  ): Promise<WithHeader<LeaseTimeToLiveResult>>;
  leaseLeases(options?: CallOptions): Promise<WithHeader<{ readonly leases: readonly bigint[] }>>;

  /**
   * Starts one watch. The sink gets `created` first, later in its own turn, never from inside this call. Nothing is
   * ever queued for a sink that said it is full: it becomes a cursor and is refilled from history after `resume`.
   */
  watch(request: WatchRequest, sink: WatchSink, options?: CallOptions): WatchHandle;

  memberList(
    request?: { readonly linearizable?: boolean },
    options?: CallOptions,
  ): Promise<WithHeader<{ readonly members: readonly MemberInfo[] }>>;
  /** Of the answering member alone; works on a learner and without a leader. */
  status(options?: CallOptions): Promise<WithHeader<StatusResult>>;
  alarm(
    request: AlarmRequest,
    options?: CallOptions,
  ): Promise<WithHeader<{ readonly alarms: readonly Alarm[] }>>;
  hash(options?: CallOptions): Promise<WithHeader<{ readonly hash: number }>>;
  /** `revision` 0 is the current one. */
  hashKv(request: { readonly revision: number }, options?: CallOptions): Promise<WithHeader<HashKvResult>>;
  /** Hands leadership to a voter; resolves when it leads. */
  moveLeader(request: { readonly targetId: bigint }, options?: CallOptions): Promise<WithHeader<unknown>>;
}

/** Changes of the cluster itself, and upkeep. All of it takes root where authentication is on. */
export interface AdminApi {
  /** A new member, as voter or learner. Its id follows from its peer URLs, the cluster's token and the time. */
  memberAdd(
    request: { readonly peerUrls: readonly string[]; readonly isLearner?: boolean },
    options?: CallOptions,
  ): Promise<WithHeader<{ readonly member: MemberInfo; readonly members: readonly MemberInfo[] }>>;
  memberRemove(request: { readonly id: bigint }, options?: CallOptions): Promise<WithHeader<MembersResult>>;
  /** Replaces the peer URLs. */
  memberUpdate(
    request: { readonly id: bigint; readonly peerUrls: readonly string[] },
    options?: CallOptions,
  ): Promise<WithHeader<MembersResult>>;
  /** A learner that has caught up becomes a voter. */
  memberPromote(request: { readonly id: bigint }, options?: CallOptions): Promise<WithHeader<MembersResult>>;
  /** Gives storage that is no longer used back. Of the answering member alone. */
  defragment(options?: CallOptions): Promise<WithHeader<unknown>>;
  /**
   * A consistent copy of the whole store as etcd's file format, then its checksum. Of the answering member alone;
   * the iterator may be abandoned with `return()`. Throws from `next()`.
   */
  snapshot(options?: CallOptions): AsyncIterable<SnapshotChunk>;
  downgrade(
    request: { readonly action: 'validate' | 'enable' | 'cancel' | number; readonly version: string },
    options?: CallOptions,
  ): Promise<WithHeader<{ readonly version: string }>>;
}

export type MembersResult = { readonly members: readonly MemberInfo[] };

/** The last one holds the 32 bytes of SHA-256 over all the others, and `remainingBytes` 0. */
export type SnapshotChunk = {
  readonly blob: Uint8Array;
  /** Bytes of the file that follow this chunk, the checksum not counted. */
  readonly remainingBytes: number;
  /** Of the storage format, such as `3.6.0`. */
  readonly version: string;
};

export type CallOptions = {
  /** Milliseconds the caller is willing to wait; the member's own request timeout bounds it. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
  /** Credential as it came with the request; checked where authentication is on. */
  readonly token?: string;
  /** Common name of the verified client certificate: the user where no token came. Over gRPC alone, as in etcd. */
  readonly certificateName?: string;
  /** Network address of the client, where one is known: guesses at passwords count by it. */
  readonly source?: string;
  /**
   * Metadata `hasleader`: refused with NO_LEADER when the member sees no leader; a watch is canceled with that text
   * once there has been none for three election timeouts.
   */
  readonly requireLeader?: boolean;
  /** The server's own housekeeping, never out of a request: no authentication, every right. */
  readonly internal?: boolean;
};

/** etcd's response header. `revision` is absent only where etcd leaves it out (member list). */
export type ResponseHeader = {
  readonly clusterId: bigint;
  readonly memberId: bigint;
  readonly revision?: number;
  readonly raftTerm: number;
};

export type WithHeader<T> = T & { readonly header: ResponseHeader };

export type CompactRequest = { readonly revision: number; readonly physical?: boolean };

/** `id` 0n lets the server choose; `ttlSeconds` below the minimum is raised to it. */
export type LeaseGrantRequest = { readonly id: bigint; readonly ttlSeconds: number };
export type LeaseGrantResult = { readonly id: bigint; readonly ttlSeconds: number };
export type LeaseTimeToLiveResult = {
  readonly id: bigint;
  /** Remaining whole seconds, floored; -1 for an unknown lease. */
  readonly ttlSeconds: number;
  readonly grantedTtlSeconds: number;
  readonly keys: readonly Uint8Array[];
};

export type WatchFilter = 'noput' | 'nodelete';

export type WatchRequest = {
  /** Empty is taken as `\0`. */
  readonly key: Uint8Array;
  readonly rangeEnd?: Uint8Array;
  /** 0 or absent: after the current revision. */
  readonly startRevision?: number;
  readonly filters?: readonly WatchFilter[];
  readonly prevKv?: boolean;
  /** Periodic `progress` messages while synced and idle. */
  readonly progressNotify?: boolean;
};

/**
 * Events for one watcher. `events` holds whole revisions only, ascending, at least one event. Watches over the same
 * range with the same options get the *same object*, so an encoder may keep its bytes in a `WeakMap` by batch.
 */
export type WatchBatch = {
  /** Of a live batch its one revision; of a historical one the store's revision at the time, as in etcd. */
  readonly headerRevision: number;
  /** The last revision that `events` hold. */
  readonly lastRevision: number;
  readonly events: readonly Event[];
};

export type WatchResponse =
  | { readonly type: 'created'; readonly header: ResponseHeader }
  | { readonly type: 'events'; readonly header: ResponseHeader; readonly batch: WatchBatch }
  /** Everything the watcher asked for up to `header.revision` has been delivered before this. */
  | { readonly type: 'progress'; readonly header: ResponseHeader }
  /**
   * The last message. `compactRevision` > 0 when history was gone; `reason` is etcd's text otherwise. Alone, with no
   * `created` before it, when the watch is refused: etcd's `created` and `canceled` in one message.
   */
  | {
      readonly type: 'canceled';
      readonly header: ResponseHeader;
      readonly compactRevision: number;
      readonly reason: string;
    };

/**
 * Takes what a watch delivers, synchronously and in order; it must not throw. Returning `false` says "full": nothing
 * more comes until `handle.resume()`. What was passed in is delivered even when `false` is returned.
 */
export type WatchSink = (response: WatchResponse) => boolean;

export interface WatchHandle {
  /** Nothing is delivered afterwards, not even `canceled`. Idempotent. */
  cancel(): void;
  /** The sink has room again. */
  resume(): void;
  /** True when every event up to the store's current revision has been delivered. */
  readonly synced: boolean;
  /** The first revision not yet delivered: where a resume would start. */
  readonly nextRevision: number;
  /** The sink gets a `progress` once it is synced (at once, in a later turn, when it is now). */
  requestProgress(): void;
}

export type StatusResult = {
  readonly version: string;
  /** Bytes; never 0. */
  readonly dbSize: number;
  readonly dbSizeInUse: number;
  /** 0n when there is none. */
  readonly leader: bigint;
  readonly raftIndex: number;
  readonly raftTerm: number;
  readonly raftAppliedIndex: number;
  readonly errors: readonly string[];
  readonly isLearner: boolean;
  readonly dbSizeQuota: number;
  /** Of the storage format, such as `3.6.0`; absent from servers that do not say. */
  readonly storageVersion?: string;
  readonly downgrade?: { readonly enabled: boolean; readonly targetVersion: string };
};

export type AlarmRequest = {
  readonly action: 'get' | 'activate' | 'deactivate';
  /** `get` does not look at it; the others mean exactly this member, 0n none. */
  readonly memberId: bigint;
  readonly alarm: AlarmType;
};

export type HashKvResult = {
  readonly hash: number;
  /** -1 when never compacted. */
  readonly compactRevision: number;
  readonly hashRevision: number;
};

/**
 * etcd's lock and election services. On a local member they are recipes over `EtcdApi`; on a remote cluster its own
 * services are called. Keys are ordinary keys: `name/<lease in hex>`, the queue is ordered by create revision.
 */
export interface ConcurrencyApi {
  /** Resolves when the lock is held. `lease` 0n is one of 60 s that nobody keeps alive. Giving up leaves no key behind. */
  lock(
    request: { readonly name: Uint8Array; readonly lease: bigint },
    options?: CallOptions,
  ): Promise<WithHeader<{ readonly key: Uint8Array }>>;
  unlock(request: { readonly key: Uint8Array }, options?: CallOptions): Promise<WithHeader<unknown>>;
  campaign(
    request: { readonly name: Uint8Array; readonly lease: bigint; readonly value: Uint8Array },
    options?: CallOptions,
  ): Promise<WithHeader<{ readonly leader: LeaderKey }>>;
  proclaim(
    request: { readonly leader: LeaderKey | undefined; readonly value: Uint8Array },
    options?: CallOptions,
  ): Promise<WithHeader<unknown>>;
  leader(
    request: { readonly name: Uint8Array },
    options?: CallOptions,
  ): Promise<WithHeader<{ readonly kv: KeyValue }>>;
  /** The leader now, then each change of it or of its value; waits while there is none. Ends by the signal. */
  observe(
    request: { readonly name: Uint8Array },
    options?: CallOptions,
  ): AsyncIterable<WithHeader<{ readonly kv: KeyValue }>>;
  resign(
    request: { readonly leader: LeaderKey | undefined },
    options?: CallOptions,
  ): Promise<WithHeader<unknown>>;
}

export type LeaderKey = {
  readonly name: Uint8Array;
  readonly key: Uint8Array;
  /** Create revision of the key. */
  readonly rev: number;
  readonly lease: bigint;
};
