import type {
  CallOptions,
  CompactRequest,
  DeleteRangeRequest,
  DeleteRangeResult,
  EtcdApi,
  LeaseGrantRequest,
  LeaseGrantResult,
  LeaseTimeToLiveResult,
  PutRequest,
  PutResult,
  RangeRequest,
  RangeResult,
  RequestOp,
  TxnRequest,
  TxnResult,
  WatchHandle,
  WatchRequest,
  WatchSink,
  WithHeader,
} from '@muster/kv';
import { KV, Lease } from '../gen/rpc_pb.js';
import type { Caller } from './caller.ts';
import { decodeDelete, decodePut, decodeRange, decodeTimeToLive, decodeTxn } from './decode.ts';
import { encodeDelete, encodePut, encodeRange, encodeTxn } from './encode.ts';
import type { KeepAlives } from './keep-alives.ts';
import { nothing } from './remote-auth.ts';
import { RemoteCluster } from './remote-cluster.ts';
import type { WatchClient } from './watch-client.ts';

/** `EtcdApi` of a remote cluster. */
export class RemoteApi extends RemoteCluster implements EtcdApi {
  readonly #watches: WatchClient;
  readonly #keepAlives: KeepAlives;

  constructor(caller: Caller, watches: WatchClient, keepAlives: KeepAlives) {
    super(caller);
    this.#watches = watches;
    this.#keepAlives = keepAlives;
  }

  range(request: RangeRequest, options?: CallOptions): Promise<WithHeader<RangeResult>> {
    return this.call(KV.method.range, encodeRange(request), 'repeatable', options, decodeRange);
  }

  put(request: PutRequest, options?: CallOptions): Promise<WithHeader<PutResult>> {
    return this.call(KV.method.put, encodePut(request), 'once', options, decodePut);
  }

  deleteRange(request: DeleteRangeRequest, options?: CallOptions): Promise<WithHeader<DeleteRangeResult>> {
    return this.call(KV.method.deleteRange, encodeDelete(request), 'once', options, decodeDelete);
  }

  txn(request: TxnRequest, options?: CallOptions): Promise<WithHeader<TxnResult>> {
    const repeat = onlyReads(request) ? 'repeatable' : 'once';
    return this.call(KV.method.txn, encodeTxn(request), repeat, options, decodeTxn);
  }

  compact(request: CompactRequest, options?: CallOptions): Promise<WithHeader<unknown>> {
    const message = { revision: BigInt(request.revision), physical: request.physical ?? false };
    return this.call(KV.method.compact, message, 'once', options, nothing);
  }

  /** Repeated only when the server chooses the id: a chosen one would then be found in use. */
  leaseGrant(request: LeaseGrantRequest, options?: CallOptions): Promise<WithHeader<LeaseGrantResult>> {
    const message = { ID: request.id, TTL: BigInt(request.ttlSeconds) };
    const repeat = request.id === 0n ? 'repeatable' : 'once';
    return this.call(Lease.method.leaseGrant, message, repeat, options, (answer) => ({
      id: answer.ID,
      ttlSeconds: Number(answer.TTL),
    }));
  }

  leaseRevoke(request: { readonly id: bigint }, options?: CallOptions): Promise<WithHeader<unknown>> {
    return this.call(Lease.method.leaseRevoke, { ID: request.id }, 'repeatable', options, nothing);
  }

  leaseKeepAlive(
    request: { readonly id: bigint },
    options?: CallOptions,
  ): Promise<WithHeader<{ readonly id: bigint; readonly ttlSeconds: number }>> {
    return this.#keepAlives.renew(request.id, options);
  }

  leaseTimeToLive(
    request: { readonly id: bigint; readonly keys?: boolean },
    options?: CallOptions,
  ): Promise<WithHeader<LeaseTimeToLiveResult>> {
    const message = { ID: request.id, keys: request.keys ?? false };
    return this.call(Lease.method.leaseTimeToLive, message, 'repeatable', options, decodeTimeToLive);
  }

  leaseLeases(options?: CallOptions): Promise<WithHeader<{ readonly leases: readonly bigint[] }>> {
    return this.call(Lease.method.leaseLeases, {}, 'repeatable', options, ({ leases }) => ({
      leases: leases.map(({ ID }) => ID),
    }));
  }

  watch(request: WatchRequest, sink: WatchSink, options?: CallOptions): WatchHandle {
    return this.#watches.watch(request, sink, options);
  }
}

function onlyReads(txn: TxnRequest): boolean {
  const reads = (op: RequestOp) => op.type === 'range' || (op.type === 'txn' && onlyReads(op.txn));
  return txn.success.every(reads) && txn.failure.every(reads);
}
