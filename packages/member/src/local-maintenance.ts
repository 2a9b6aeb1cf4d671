import { KvError } from '@muster/contract';
import type {
  AdminApi,
  Alarm,
  AlarmRequest,
  CallOptions,
  CoreApi,
  HashKvResult,
  SnapshotChunk,
  StatusResult,
  WithHeader,
} from '@muster/kv';
import { NONE } from '@muster/raft';
import type { LocalCalls } from './local-calls.ts';
import type { Member } from './member.ts';

type Maintenance = Pick<CoreApi, 'status' | 'alarm' | 'hash' | 'hashKv' | 'moveLeader'> &
  Pick<AdminApi, 'defragment' | 'snapshot' | 'downgrade'>;

/** The maintenance calls of `LocalApi`: all of this one member, but for alarms. */
export class LocalMaintenance implements Maintenance {
  readonly #calls: LocalCalls;
  readonly #member: Member;
  readonly #version: string;
  readonly #quotaBytes: number;

  constructor(calls: LocalCalls, options: { readonly version: string; readonly quotaBytes: number }) {
    this.#calls = calls;
    this.#member = calls.member;
    this.#version = options.version;
    this.#quotaBytes = options.quotaBytes;
  }

  async status(..._: readonly unknown[]): Promise<WithHeader<StatusResult>> {
    const member = this.#member;
    const raft = member.raftStatus();
    const { total, inUse } = member.machine.size();
    const alarms = member.machine.alarms();
    const errors = alarms.map((a) => `memberID:${a.memberId} alarm:${a.alarm.toUpperCase()} `);
    if (raft.leader === NONE) errors.push('etcdserver: no leader');
    return this.#calls.withHeader({
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
      return this.#calls.withHeader({ alarms });
    }
    const result = await this.#calls.write({ type: 'alarm', action, memberId, alarm }, options, 'alarm');
    return this.#calls.withHeader({ alarms: result.alarms });
  }

  async hash(..._: readonly unknown[]): Promise<WithHeader<{ readonly hash: number }>> {
    return this.#calls.withHeader({ hash: this.#member.machine.storeHash() });
  }

  async hashKv(
    request: { readonly revision: number },
    _options?: CallOptions,
  ): Promise<WithHeader<HashKvResult>> {
    return this.#calls.withHeader(this.#member.machine.hashKv(request.revision));
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
    return this.#calls.withHeader({});
  }

  defragment(..._: readonly unknown[]): Promise<WithHeader<unknown>> {
    return Promise.reject(new KvError('UNIMPLEMENTED'));
  }

  snapshot(..._: readonly unknown[]): AsyncIterable<SnapshotChunk> {
    throw new KvError('UNIMPLEMENTED');
  }

  downgrade(..._: readonly unknown[]): Promise<WithHeader<{ readonly version: string }>> {
    return Promise.reject(new KvError('UNIMPLEMENTED'));
  }
}
