import { KvError } from '@muster/contract';
import {
  type CallOptions,
  type Command,
  type CompactRequest,
  checkLease,
  checkRead,
  checkReadAll,
  checkRoot,
  checkTxn,
  checkUser,
  type DeleteRangeRequest,
  type DeleteRangeResult,
  type EtcdApi,
  isReadOnlyTxn,
  isSerializableTxn,
  type LeaseGrantRequest,
  type LeaseGrantResult,
  type LeaseTable,
  type LeaseTimeToLiveResult,
  type PutRequest,
  type PutResult,
  type RangeRequest,
  type RangeResult,
  type SnapshotChunk,
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
import type { AuthPorts } from './auth-ports.ts';
import type { LeaderCall } from './leader-calls.ts';
import { LocalAuth } from './local-auth.ts';
import { LocalCalls } from './local-calls.ts';
import { LocalCluster } from './local-cluster.ts';
import { LocalMaintenance, type MaintenanceOptions } from './local-maintenance.ts';
import type { Member } from './member.ts';

/** `EtcdApi` over a member of this process: promises begin here. */
export class LocalApi implements EtcdApi {
  readonly #member: Member;
  readonly #calls: LocalCalls;
  readonly #cluster: LocalCluster;
  readonly #maintenance: LocalMaintenance;
  readonly #auth: LocalAuth;

  constructor(member: Member, options: MaintenanceOptions & { readonly auth: AuthPorts }) {
    this.#member = member;
    this.#calls = new LocalCalls(member, options.auth.signedTokens);
    this.#cluster = new LocalCluster(this.#calls);
    this.#maintenance = new LocalMaintenance(this.#calls, options);
    this.#auth = new LocalAuth(this.#calls, options.auth);
  }

  /** Whether calls need a user now, as this member knows. */
  get authEnabled(): boolean {
    return this.#calls.gate.enabled;
  }

  async range(request: RangeRequest, options: CallOptions = {}): Promise<WithHeader<RangeResult>> {
    validateRange(request);
    const { key, rangeEnd, serializable = false } = request;
    this.#calls.admit(options, serializable);
    return this.#calls.permitRead(
      options,
      serializable,
      (auth, origin) => checkRead(auth, origin, key, rangeEnd),
      () => this.#calls.withHeader(this.#member.machine.range(request)),
    );
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
      this.#calls.admit(options);
      return this.#calls.permitRead(
        options,
        isSerializableTxn(request),
        (auth, origin) => checkTxn(auth, origin, this.#leases, request),
        () => this.#calls.withHeader(this.#member.machine.readTxn(request)),
      );
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
    const ttlSeconds = Math.max(request.ttlSeconds, this.#member.minLeaseTtlSeconds);
    const command: Command = { type: 'leaseGrant', id, ttlSeconds };
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
    await this.#calls
      .permit(options, (auth, origin) => checkLease(auth, origin, this.#leases, request.id))
      .catch(passUnidentified);
    const answer = await this.#calls.callLeader({ type: 'keepAlive', id: request.id }, options, 'keepAlive');
    return this.#calls.withHeader({ id: request.id, ttlSeconds: answer.ttlSeconds });
  }

  async leaseTimeToLive(
    request: { readonly id: bigint; readonly keys?: boolean },
    options: CallOptions = {},
  ): Promise<WithHeader<LeaseTimeToLiveResult>> {
    const call: LeaderCall = { type: 'timeToLive', id: request.id, keys: request.keys ?? false };
    await this.#calls.permit(options, checkUser);
    const { ttlSeconds, grantedTtlSeconds, keys } = await this.#calls.callLeader(call, options, 'timeToLive');
    await this.#calls.permit(options, (auth, origin) => checkReadAll(auth, origin, keys));
    return this.#calls.withHeader({ id: request.id, ttlSeconds, grantedTtlSeconds, keys });
  }

  async leaseLeases(options: CallOptions = {}): Promise<WithHeader<{ readonly leases: readonly bigint[] }>> {
    return this.#calls.permitRead(
      options,
      false,
      (auth, origin) => checkReadAll(auth, origin, this.#leases.attachedKeys()),
      () => this.#calls.withHeader({ leases: this.#leases.list().map((lease) => lease.id) }),
    );
  }

  watch(request: WatchRequest, sink: WatchSink, options: CallOptions = {}): WatchHandle {
    const handle = this.#calls.watch(request, sink, options);
    options.signal?.addEventListener('abort', () => handle.cancel(), { once: true });
    return handle;
  }

  /**
   * For anybody, with authentication too: Patroni and other clients ask for the members before they log in. So in
   * etcd 3.4.
   */
  memberList(...args: Parameters<EtcdApi['memberList']>): ReturnType<EtcdApi['memberList']> {
    return this.#cluster.memberList(...args);
  }

  memberAdd(...args: Parameters<EtcdApi['memberAdd']>): ReturnType<EtcdApi['memberAdd']> {
    return this.#asRoot(args[1], () => this.#cluster.memberAdd(...args));
  }

  memberRemove(...args: Parameters<EtcdApi['memberRemove']>): ReturnType<EtcdApi['memberRemove']> {
    return this.#asRoot(args[1], () => this.#cluster.memberRemove(...args));
  }

  memberUpdate(...args: Parameters<EtcdApi['memberUpdate']>): ReturnType<EtcdApi['memberUpdate']> {
    return this.#asRoot(args[1], () => this.#cluster.memberUpdate(...args));
  }

  memberPromote(...args: Parameters<EtcdApi['memberPromote']>): ReturnType<EtcdApi['memberPromote']> {
    return this.#asRoot(args[1], () => this.#cluster.memberPromote(...args));
  }

  status(...args: Parameters<EtcdApi['status']>): ReturnType<EtcdApi['status']> {
    return this.#asUser(args[0], () => this.#maintenance.status(...args));
  }

  alarm(...args: Parameters<EtcdApi['alarm']>): ReturnType<EtcdApi['alarm']> {
    // To raise or clear one takes root: that is judged with the command.
    return this.#asUser(args[1], () => this.#maintenance.alarm(...args));
  }

  hash(...args: Parameters<EtcdApi['hash']>): ReturnType<EtcdApi['hash']> {
    return this.#asRoot(args[0], () => this.#maintenance.hash(...args));
  }

  hashKv(...args: Parameters<EtcdApi['hashKv']>): ReturnType<EtcdApi['hashKv']> {
    return this.#asRoot(args[1], () => this.#maintenance.hashKv(...args));
  }

  moveLeader(...args: Parameters<EtcdApi['moveLeader']>): ReturnType<EtcdApi['moveLeader']> {
    return this.#asRoot(args[1], () => this.#maintenance.moveLeader(...args));
  }

  defragment(...args: Parameters<EtcdApi['defragment']>): ReturnType<EtcdApi['defragment']> {
    return this.#asRoot(args[0], () => this.#maintenance.defragment(...args));
  }

  snapshot(...args: Parameters<EtcdApi['snapshot']>): ReturnType<EtcdApi['snapshot']> {
    return this.#snapshot(...args);
  }

  downgrade(...args: Parameters<EtcdApi['downgrade']>): ReturnType<EtcdApi['downgrade']> {
    return this.#asRoot(args[1], () => this.#maintenance.downgrade(...args));
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

  async *#snapshot(options: CallOptions = {}): AsyncGenerator<SnapshotChunk> {
    await this.#calls.permit(options, checkRoot);
    yield* this.#maintenance.snapshot(options);
  }

  async #asUser<T>(options: CallOptions = {}, run: () => Promise<T>): Promise<T> {
    await this.#calls.permit(options, checkUser);
    return run();
  }

  async #asRoot<T>(options: CallOptions = {}, run: () => Promise<T>): Promise<T> {
    await this.#calls.permit(options, checkRoot);
    return run();
  }

  /** Of the state in force: an installed snapshot brings another table. */
  get #leases(): LeaseTable {
    return this.#member.machine.leases;
  }

  /** Positive and not in use here; a clash elsewhere is refused when it is applied. */
  #newLeaseId(): bigint {
    for (;;) {
      const id = this.#member.prng.uint64() & 0x7fff_ffff_ffff_ffffn;
      if (id !== 0n && !this.#member.machine.leases.get(id)) return id;
    }
  }
}

const UNIDENTIFIED: ReadonlySet<string> = new Set(['USER_EMPTY', 'INVALID_AUTH_TOKEN', 'AUTH_OLD_REVISION']);

/**
 * A renewal is taken from whoever knows the lease, as in etcd 3.4: Patroni gives up its database's primary when
 * its token has expired and a renewal tells it so. Whom a token identifies still needs the rights.
 */
function passUnidentified(error: unknown): void {
  if (!UNIDENTIFIED.has(KvError.from(error).code)) throw error;
}
