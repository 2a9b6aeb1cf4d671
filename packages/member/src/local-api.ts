import { KvError } from '@muster/contract';
import {
  type CallOptions,
  type Command,
  type CompactRequest,
  type DeleteRangeRequest,
  type DeleteRangeResult,
  type EtcdApi,
  isReadOnlyTxn,
  isSerializableTxn,
  type LeaseGrantRequest,
  type LeaseGrantResult,
  type LeaseTimeToLiveResult,
  type PutRequest,
  type PutResult,
  type RangeRequest,
  type RangeResult,
  type TxnRequest,
  type TxnResult,
  validateDeleteRange,
  validatePut,
  validateRange,
  validateTxn,
  type WatchHandle,
  type WatchRequest,
  type WatchSink,
  type WithHeader,
} from '@muster/kv';
import type { LeaderCall } from './leader-calls.ts';
import { LocalAuth } from './local-auth.ts';
import { LocalCalls } from './local-calls.ts';
import { LocalCluster } from './local-cluster.ts';
import { LocalMaintenance } from './local-maintenance.ts';
import type { Member } from './member.ts';

/** `EtcdApi` over a member of this process: promises begin here. */
export class LocalApi implements EtcdApi {
  readonly #member: Member;
  readonly #calls: LocalCalls;
  readonly #cluster: LocalCluster;
  readonly #maintenance: LocalMaintenance;
  readonly #auth: LocalAuth;

  /** `version` is what Status reports; plain semver, because clients parse it. */
  constructor(member: Member, options: { readonly version: string; readonly quotaBytes: number }) {
    this.#member = member;
    this.#calls = new LocalCalls(member);
    this.#cluster = new LocalCluster(this.#calls);
    this.#maintenance = new LocalMaintenance(this.#calls, options);
    this.#auth = new LocalAuth();
  }

  async range(request: RangeRequest, options: CallOptions = {}): Promise<WithHeader<RangeResult>> {
    validateRange(request);
    if (!request.serializable) await this.#calls.barrier(options);
    return this.#calls.withHeader(this.#member.machine.range(request));
  }

  async put(request: PutRequest, options: CallOptions = {}): Promise<WithHeader<PutResult>> {
    validatePut(request);
    const result = await this.#calls.write({ type: 'put', put: request }, options, 'put');
    return this.#calls.withHeader(result.put);
  }

  async deleteRange(
    request: DeleteRangeRequest,
    options: CallOptions = {},
  ): Promise<WithHeader<DeleteRangeResult>> {
    validateDeleteRange(request);
    const result = await this.#calls.write(
      { type: 'deleteRange', deleteRange: request },
      options,
      'deleteRange',
    );
    return this.#calls.withHeader(result.deleteRange);
  }

  async txn(request: TxnRequest, options: CallOptions = {}): Promise<WithHeader<TxnResult>> {
    validateTxn(request, this.#member.limits.txnOpsMax);
    if (isReadOnlyTxn(request)) {
      if (!isSerializableTxn(request)) await this.#calls.barrier(options);
      return this.#calls.withHeader(this.#member.machine.readTxn(request));
    }
    const result = await this.#calls.write({ type: 'txn', txn: request }, options, 'txn');
    return this.#calls.withHeader(result.txn);
  }

  async compact(request: CompactRequest, options: CallOptions = {}): Promise<WithHeader<unknown>> {
    const physical = request.physical ?? false;
    await this.#calls.write({ type: 'compact', revision: request.revision, physical }, options, 'compact');
    if (physical) {
      await new Promise<void>((resolve) => this.#member.whenCompacted(resolve));
      await new Promise<void>((resolve, reject) =>
        this.#member.engine.flush((error) => (error ? reject(KvError.from(error)) : resolve())),
      );
    }
    return this.#calls.withHeader({});
  }

  async leaseGrant(
    request: LeaseGrantRequest,
    options: CallOptions = {},
  ): Promise<WithHeader<LeaseGrantResult>> {
    const id = request.id === 0n ? this.#newLeaseId() : request.id;
    const command: Command = { type: 'leaseGrant', id, ttlSeconds: request.ttlSeconds };
    const result = await this.#calls.write(command, options, 'leaseGrant');
    return this.#calls.withHeader({ id: result.id, ttlSeconds: result.ttlSeconds });
  }

  async leaseRevoke(
    request: { readonly id: bigint },
    options: CallOptions = {},
  ): Promise<WithHeader<unknown>> {
    await this.#calls.write({ type: 'leaseRevoke', id: request.id }, options, 'leaseRevoke');
    return this.#calls.withHeader({});
  }

  async leaseKeepAlive(
    request: { readonly id: bigint },
    options: CallOptions = {},
  ): Promise<WithHeader<{ readonly id: bigint; readonly ttlSeconds: number }>> {
    const answer = await this.#calls.callLeader({ type: 'keepAlive', id: request.id }, options, 'keepAlive');
    return this.#calls.withHeader({ id: request.id, ttlSeconds: answer.ttlSeconds });
  }

  async leaseTimeToLive(
    request: { readonly id: bigint; readonly keys?: boolean },
    options: CallOptions = {},
  ): Promise<WithHeader<LeaseTimeToLiveResult>> {
    const call: LeaderCall = { type: 'timeToLive', id: request.id, keys: request.keys ?? false };
    const { ttlSeconds, grantedTtlSeconds, keys } = await this.#calls.callLeader(call, options, 'timeToLive');
    return this.#calls.withHeader({ id: request.id, ttlSeconds, grantedTtlSeconds, keys });
  }

  async leaseLeases(options: CallOptions = {}): Promise<WithHeader<{ readonly leases: readonly bigint[] }>> {
    await this.#calls.barrier(options);
    return this.#calls.withHeader({ leases: this.#member.machine.leases.list().map((lease) => lease.id) });
  }

  watch(request: WatchRequest, sink: WatchSink, options: CallOptions = {}): WatchHandle {
    const handle = this.#member.hub.watch(request, sink);
    options.signal?.addEventListener('abort', () => handle.cancel(), { once: true });
    return handle;
  }

  memberList(...args: Parameters<EtcdApi['memberList']>): ReturnType<EtcdApi['memberList']> {
    return this.#cluster.memberList(...args);
  }

  memberAdd(...args: Parameters<EtcdApi['memberAdd']>): ReturnType<EtcdApi['memberAdd']> {
    return this.#cluster.memberAdd(...args);
  }

  memberRemove(...args: Parameters<EtcdApi['memberRemove']>): ReturnType<EtcdApi['memberRemove']> {
    return this.#cluster.memberRemove(...args);
  }

  memberUpdate(...args: Parameters<EtcdApi['memberUpdate']>): ReturnType<EtcdApi['memberUpdate']> {
    return this.#cluster.memberUpdate(...args);
  }

  memberPromote(...args: Parameters<EtcdApi['memberPromote']>): ReturnType<EtcdApi['memberPromote']> {
    return this.#cluster.memberPromote(...args);
  }

  status(...args: Parameters<EtcdApi['status']>): ReturnType<EtcdApi['status']> {
    return this.#maintenance.status(...args);
  }

  alarm(...args: Parameters<EtcdApi['alarm']>): ReturnType<EtcdApi['alarm']> {
    return this.#maintenance.alarm(...args);
  }

  hash(...args: Parameters<EtcdApi['hash']>): ReturnType<EtcdApi['hash']> {
    return this.#maintenance.hash(...args);
  }

  hashKv(...args: Parameters<EtcdApi['hashKv']>): ReturnType<EtcdApi['hashKv']> {
    return this.#maintenance.hashKv(...args);
  }

  moveLeader(...args: Parameters<EtcdApi['moveLeader']>): ReturnType<EtcdApi['moveLeader']> {
    return this.#maintenance.moveLeader(...args);
  }

  defragment(...args: Parameters<EtcdApi['defragment']>): ReturnType<EtcdApi['defragment']> {
    return this.#maintenance.defragment(...args);
  }

  snapshot(...args: Parameters<EtcdApi['snapshot']>): ReturnType<EtcdApi['snapshot']> {
    return this.#maintenance.snapshot(...args);
  }

  downgrade(...args: Parameters<EtcdApi['downgrade']>): ReturnType<EtcdApi['downgrade']> {
    return this.#maintenance.downgrade(...args);
  }

  authEnable(...args: Parameters<EtcdApi['authEnable']>): ReturnType<EtcdApi['authEnable']> {
    return this.#auth.authEnable(...args);
  }

  authDisable(...args: Parameters<EtcdApi['authDisable']>): ReturnType<EtcdApi['authDisable']> {
    return this.#auth.authDisable(...args);
  }

  authStatus(...args: Parameters<EtcdApi['authStatus']>): ReturnType<EtcdApi['authStatus']> {
    return this.#auth.authStatus(...args);
  }

  authenticate(...args: Parameters<EtcdApi['authenticate']>): ReturnType<EtcdApi['authenticate']> {
    return this.#auth.authenticate(...args);
  }

  userAdd(...args: Parameters<EtcdApi['userAdd']>): ReturnType<EtcdApi['userAdd']> {
    return this.#auth.userAdd(...args);
  }

  userGet(...args: Parameters<EtcdApi['userGet']>): ReturnType<EtcdApi['userGet']> {
    return this.#auth.userGet(...args);
  }

  userList(...args: Parameters<EtcdApi['userList']>): ReturnType<EtcdApi['userList']> {
    return this.#auth.userList(...args);
  }

  userDelete(...args: Parameters<EtcdApi['userDelete']>): ReturnType<EtcdApi['userDelete']> {
    return this.#auth.userDelete(...args);
  }

  userChangePassword(
    ...args: Parameters<EtcdApi['userChangePassword']>
  ): ReturnType<EtcdApi['userChangePassword']> {
    return this.#auth.userChangePassword(...args);
  }

  userGrantRole(...args: Parameters<EtcdApi['userGrantRole']>): ReturnType<EtcdApi['userGrantRole']> {
    return this.#auth.userGrantRole(...args);
  }

  userRevokeRole(...args: Parameters<EtcdApi['userRevokeRole']>): ReturnType<EtcdApi['userRevokeRole']> {
    return this.#auth.userRevokeRole(...args);
  }

  roleAdd(...args: Parameters<EtcdApi['roleAdd']>): ReturnType<EtcdApi['roleAdd']> {
    return this.#auth.roleAdd(...args);
  }

  roleGet(...args: Parameters<EtcdApi['roleGet']>): ReturnType<EtcdApi['roleGet']> {
    return this.#auth.roleGet(...args);
  }

  roleList(...args: Parameters<EtcdApi['roleList']>): ReturnType<EtcdApi['roleList']> {
    return this.#auth.roleList(...args);
  }

  roleDelete(...args: Parameters<EtcdApi['roleDelete']>): ReturnType<EtcdApi['roleDelete']> {
    return this.#auth.roleDelete(...args);
  }

  roleGrantPermission(
    ...args: Parameters<EtcdApi['roleGrantPermission']>
  ): ReturnType<EtcdApi['roleGrantPermission']> {
    return this.#auth.roleGrantPermission(...args);
  }

  roleRevokePermission(
    ...args: Parameters<EtcdApi['roleRevokePermission']>
  ): ReturnType<EtcdApi['roleRevokePermission']> {
    return this.#auth.roleRevokePermission(...args);
  }

  /** Positive and not in use here; a clash elsewhere is refused when it is applied. */
  #newLeaseId(): bigint {
    for (;;) {
      const id = this.#member.prng.uint64() & 0x7fff_ffff_ffff_ffffn;
      if (id !== 0n && !this.#member.machine.leases.get(id)) return id;
    }
  }
}
