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
import { ETCD_METHODS as M } from '../convert/methods.ts';
import type { Caller } from './caller.ts';
import type { KeepAlives } from './keep-alives.ts';
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
    return this.caller.unary(M.range, request, 'repeatable', options);
  }

  put(request: PutRequest, options?: CallOptions): Promise<WithHeader<PutResult>> {
    return this.caller.unary(M.put, request, 'once', options);
  }

  deleteRange(request: DeleteRangeRequest, options?: CallOptions): Promise<WithHeader<DeleteRangeResult>> {
    return this.caller.unary(M.deleteRange, request, 'once', options);
  }

  txn(request: TxnRequest, options?: CallOptions): Promise<WithHeader<TxnResult>> {
    return this.caller.unary(M.txn, request, onlyReads(request) ? 'repeatable' : 'once', options);
  }

  compact(request: CompactRequest, options?: CallOptions): Promise<WithHeader<unknown>> {
    return this.caller.unary(M.compact, request, 'once', options);
  }

  /** Repeated only when the server chooses the id: a chosen one would then be found in use. */
  leaseGrant(request: LeaseGrantRequest, options?: CallOptions): Promise<WithHeader<LeaseGrantResult>> {
    return this.caller.unary(M.leaseGrant, request, request.id === 0n ? 'repeatable' : 'once', options);
  }

  leaseRevoke(request: { readonly id: bigint }, options?: CallOptions): Promise<WithHeader<unknown>> {
    return this.caller.unary(M.leaseRevoke, request, 'repeatable', options);
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
    return this.caller.unary(M.leaseTimeToLive, request, 'repeatable', options);
  }

  leaseLeases(options?: CallOptions): Promise<WithHeader<{ readonly leases: readonly bigint[] }>> {
    return this.caller.unary(M.leaseLeases, {}, 'repeatable', options);
  }

  watch(request: WatchRequest, sink: WatchSink, options?: CallOptions): WatchHandle {
    return this.#watches.watch(request, sink, options);
  }
}

function onlyReads(txn: TxnRequest): boolean {
  const reads = (op: RequestOp) => op.type === 'range' || (op.type === 'txn' && onlyReads(op.txn));
  return txn.success.every(reads) && txn.failure.every(reads);
}
