import { KvError } from '@muster/contract';
import {
  type Alarm,
  type AlarmRequest,
  type ApplyOutcome,
  type CallOptions,
  type Command,
  type CompactRequest,
  type DeleteRangeRequest,
  type DeleteRangeResult,
  type EtcdApi,
  type HashKvResult,
  isReadOnlyTxn,
  isSerializableTxn,
  type LeaseGrantRequest,
  type LeaseGrantResult,
  type LeaseTimeToLiveResult,
  type MemberInfo,
  type PutRequest,
  type PutResult,
  type RangeRequest,
  type RangeResult,
  type StatusResult,
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
import { NONE } from '@muster/raft';
import type { LeaderAnswer, LeaderCall } from './leader-calls.ts';
import type { Member } from './member.ts';

type Result<T extends ApplyResult['type']> = Extract<ApplyResult, { type: T }>;
type ApplyResult = Extract<ApplyOutcome, { result: unknown }>['result'];

/** `EtcdApi` over a member of this process: promises begin here. */
export class LocalApi implements EtcdApi {
  readonly #member: Member;
  readonly #version: string;
  readonly #quotaBytes: number;

  /** `version` is what Status reports; plain semver, because clients parse it. */
  constructor(member: Member, options: { readonly version: string; readonly quotaBytes: number }) {
    this.#member = member;
    this.#version = options.version;
    this.#quotaBytes = options.quotaBytes;
  }

  async range(request: RangeRequest, options: CallOptions = {}): Promise<WithHeader<RangeResult>> {
    validateRange(request);
    if (!request.serializable) await this.#barrier(options);
    return this.#withHeader(this.#member.machine.range(request));
  }

  async put(request: PutRequest, options: CallOptions = {}): Promise<WithHeader<PutResult>> {
    validatePut(request);
    const result = await this.#write({ type: 'put', put: request }, options, 'put');
    return this.#withHeader(result.put);
  }

  async deleteRange(
    request: DeleteRangeRequest,
    options: CallOptions = {},
  ): Promise<WithHeader<DeleteRangeResult>> {
    validateDeleteRange(request);
    const result = await this.#write({ type: 'deleteRange', deleteRange: request }, options, 'deleteRange');
    return this.#withHeader(result.deleteRange);
  }

  async txn(request: TxnRequest, options: CallOptions = {}): Promise<WithHeader<TxnResult>> {
    validateTxn(request, this.#member.limits.txnOpsMax);
    if (isReadOnlyTxn(request)) {
      if (!isSerializableTxn(request)) await this.#barrier(options);
      return this.#withHeader(this.#member.machine.readTxn(request));
    }
    const result = await this.#write({ type: 'txn', txn: request }, options, 'txn');
    return this.#withHeader(result.txn);
  }

  async compact(request: CompactRequest, options: CallOptions = {}): Promise<WithHeader<unknown>> {
    const physical = request.physical ?? false;
    await this.#write({ type: 'compact', revision: request.revision, physical }, options, 'compact');
    if (physical) {
      await new Promise<void>((resolve) => this.#member.whenCompacted(resolve));
      await new Promise<void>((resolve, reject) =>
        this.#member.engine.flush((error) => (error ? reject(KvError.from(error)) : resolve())),
      );
    }
    return this.#withHeader({});
  }

  async leaseGrant(
    request: LeaseGrantRequest,
    options: CallOptions = {},
  ): Promise<WithHeader<LeaseGrantResult>> {
    const id = request.id === 0n ? this.#newLeaseId() : request.id;
    const command: Command = { type: 'leaseGrant', id, ttlSeconds: request.ttlSeconds };
    const result = await this.#write(command, options, 'leaseGrant');
    return this.#withHeader({ id: result.id, ttlSeconds: result.ttlSeconds });
  }

  async leaseRevoke(
    request: { readonly id: bigint },
    options: CallOptions = {},
  ): Promise<WithHeader<unknown>> {
    await this.#write({ type: 'leaseRevoke', id: request.id }, options, 'leaseRevoke');
    return this.#withHeader({});
  }

  async leaseKeepAlive(
    request: { readonly id: bigint },
    options: CallOptions = {},
  ): Promise<WithHeader<{ readonly id: bigint; readonly ttlSeconds: number }>> {
    const answer = await this.#callLeader({ type: 'keepAlive', id: request.id }, options, 'keepAlive');
    return this.#withHeader({ id: request.id, ttlSeconds: answer.ttlSeconds });
  }

  async leaseTimeToLive(
    request: { readonly id: bigint; readonly keys?: boolean },
    options: CallOptions = {},
  ): Promise<WithHeader<LeaseTimeToLiveResult>> {
    const call: LeaderCall = { type: 'timeToLive', id: request.id, keys: request.keys ?? false };
    const { ttlSeconds, grantedTtlSeconds, keys } = await this.#callLeader(call, options, 'timeToLive');
    return this.#withHeader({ id: request.id, ttlSeconds, grantedTtlSeconds, keys });
  }

  async leaseLeases(options: CallOptions = {}): Promise<WithHeader<{ readonly leases: readonly bigint[] }>> {
    await this.#barrier(options);
    return this.#withHeader({ leases: this.#member.machine.leases.list().map((lease) => lease.id) });
  }

  watch(request: WatchRequest, sink: WatchSink, options: CallOptions = {}): WatchHandle {
    const handle = this.#member.hub.watch(request, sink);
    options.signal?.addEventListener('abort', () => handle.cancel(), { once: true });
    return handle;
  }

  async memberList(
    request: { readonly linearizable?: boolean } = {},
    options: CallOptions = {},
  ): Promise<WithHeader<{ readonly members: readonly MemberInfo[] }>> {
    if (request.linearizable) await this.#barrier(options);
    // etcd leaves the revision out of this one header.
    return { members: this.#member.machine.members(), header: this.#member.header(undefined) };
  }

  async status(): Promise<WithHeader<StatusResult>> {
    const member = this.#member;
    const raft = member.raftStatus();
    const { total, inUse } = member.machine.size();
    const alarms = member.machine.alarms();
    const errors = alarms.map((a) => `memberID:${a.memberId} alarm:${a.alarm.toUpperCase()} `);
    if (raft.leader === NONE) errors.push('etcdserver: no leader');
    return this.#withHeader({
      version: this.#version,
      dbSize: total,
      dbSizeInUse: inUse,
      leader: raft.leader,
      raftIndex: raft.commit,
      raftTerm: raft.term,
      raftAppliedIndex: member.applied,
      errors,
      isLearner: raft.confState.learners.includes(member.id),
      dbSizeQuota: this.#quotaBytes,
    });
  }

  async alarm(
    request: AlarmRequest,
    options: CallOptions = {},
  ): Promise<WithHeader<{ readonly alarms: readonly Alarm[] }>> {
    const { action, memberId, alarm } = request;
    if (action === 'get') {
      const all = this.#member.machine.alarms();
      // The member in a listing is not looked at, as in etcd.
      const alarms = all.filter((a) => alarm === 'none' || a.alarm === alarm);
      return this.#withHeader({ alarms });
    }
    const result = await this.#write({ type: 'alarm', action, memberId, alarm }, options, 'alarm');
    return this.#withHeader({ alarms: result.alarms });
  }

  async hash(): Promise<WithHeader<{ readonly hash: number }>> {
    return this.#withHeader({ hash: this.#member.machine.storeHash() });
  }

  async hashKv(request: { readonly revision: number }): Promise<WithHeader<HashKvResult>> {
    return this.#withHeader(this.#member.machine.hashKv(request.revision));
  }

  async moveLeader(
    request: { readonly targetId: bigint },
    options: CallOptions = {},
  ): Promise<WithHeader<unknown>> {
    const member = this.#member;
    if (!member.isLeader) throw new KvError(member.soft.leader === NONE ? 'NO_LEADER' : 'NOT_LEADER');
    if (!member.raftStatus().confState.voters.includes(request.targetId)) {
      throw new KvError('BAD_LEADER_TRANSFEREE');
    }
    const timeoutMs = Math.min(options.timeoutMs ?? member.requestTimeoutMs, member.requestTimeoutMs);
    const leads = await new Promise<boolean>((resolve) =>
      member.transferLeadership(request.targetId, timeoutMs, resolve),
    );
    if (!leads) throw new KvError('TIMEOUT_LEADER_TRANSFER');
    return this.#withHeader({});
  }

  #withHeader<T extends object>(result: T): WithHeader<T> {
    const revision = (result as { revision?: number }).revision ?? this.#member.machine.currentRevision;
    return { ...result, header: this.#member.header(revision) };
  }

  #barrier(options: CallOptions): Promise<void> {
    return new Promise((resolve, reject) => {
      const stop = onAbort(options.signal, reject);
      this.#member.read(options.timeoutMs, (error) => {
        stop();
        if (error) reject(error);
        else resolve();
      });
    });
  }

  async #write<T extends ApplyResult['type']>(
    command: Command,
    options: CallOptions,
    type: T,
  ): Promise<Result<T>> {
    if (!this.#member.machine.quotaAllows(command)) await this.#refuseForSpace(options);
    return this.#replicate(command, options, type);
  }

  /** etcd's rule: whoever meets the quota raises the alarm for itself, and the alarm stops writes everywhere. */
  async #refuseForSpace(options: CallOptions): Promise<never> {
    const memberId = this.#member.id;
    const raised = this.#member.machine
      .alarms()
      .some((a) => a.memberId === memberId && a.alarm === 'nospace');
    if (!raised) {
      await this.#replicate(
        { type: 'alarm', action: 'activate', memberId, alarm: 'nospace' },
        options,
        'alarm',
      );
    }
    throw new KvError('NO_SPACE');
  }

  #replicate<T extends ApplyResult['type']>(
    command: Command,
    options: CallOptions,
    type: T,
  ): Promise<Result<T>> {
    return new Promise((resolve, reject) => {
      const stop = onAbort(options.signal, reject);
      this.#member.submit(command, options.timeoutMs, (outcome, error) => {
        stop();
        if (error) reject(error);
        else if (!outcome) reject(new KvError('INTERNAL', { detail: 'a write ended without an outcome' }));
        else if ('error' in outcome) reject(outcome.error);
        else if (outcome.result.type !== type) {
          reject(new KvError('INTERNAL', { detail: `${command.type} answered ${outcome.result.type}` }));
        } else resolve(outcome.result as Result<T>);
      });
    });
  }

  #callLeader<T extends 'keepAlive' | 'timeToLive'>(
    call: LeaderCall,
    options: CallOptions,
    type: T,
  ): Promise<Extract<LeaderAnswer, { type: T }>> {
    return new Promise((resolve, reject) => {
      const stop = onAbort(options.signal, reject);
      this.#member.callLeader(call, options.timeoutMs, (answer, error) => {
        stop();
        if (error) reject(error);
        else if (answer?.type !== type)
          reject(new KvError('INTERNAL', { detail: `${type} answered ${answer?.type}` }));
        else resolve(answer as Extract<LeaderAnswer, { type: T }>);
      });
    });
  }

  /** Positive and not in use here; a clash elsewhere is refused when it is applied. */
  #newLeaseId(): bigint {
    for (;;) {
      const id = this.#member.prng.uint64() & 0x7fff_ffff_ffff_ffffn;
      if (id !== 0n && !this.#member.machine.leases.get(id)) return id;
    }
  }
}

/** Rejects when the caller gives up; returns how to stop listening. */
function onAbort(signal: AbortSignal | undefined, reject: (error: KvError) => void): () => void {
  if (!signal) return () => {};
  const abort = () => reject(new KvError('CANCELED'));
  if (signal.aborted) abort();
  else signal.addEventListener('abort', abort, { once: true });
  return () => signal.removeEventListener('abort', abort);
}
