import { KvError } from '@muster/contract';
import type {
  AdminApi,
  Alarm,
  AlarmRequest,
  CallOptions,
  CoreApi,
  EngineView,
  HashKvResult,
  SnapshotChunk,
  StatusResult,
  WithHeader,
} from '@muster/kv';
import { hashKvOfView, storeHashOfView } from '@muster/kv';
import { NONE } from '@muster/raft';
import { hashed } from './hashing.ts';
import type { LocalCalls } from './local-calls.ts';
import type { Member } from './member.ts';
import type { StorageUpkeep } from './ports.ts';

type Maintenance = Pick<CoreApi, 'status' | 'alarm' | 'hash' | 'hashKv' | 'moveLeader'> &
  Pick<AdminApi, 'defragment' | 'snapshot' | 'downgrade'>;

export type MaintenanceOptions = {
  /** What Status reports; plain semver, because clients parse it. */
  readonly version: string;
  /** Of the storage format, as etcd counts them, such as `3.6.0`. */
  readonly storageVersion?: string;
  readonly quotaBytes: number;
  /** Without it this member takes no snapshots and cannot be defragmented. */
  readonly upkeep?: StorageUpkeep;
};

const STORAGE_VERSION_DEFAULT = '3.6.0';
const SEMVER = /^\d+\.\d+(\.\d+)?$/;

/** The maintenance calls of `LocalApi`: all of this one member, but for alarms. */
export class LocalMaintenance implements Maintenance {
  readonly #calls: LocalCalls;
  readonly #member: Member;
  readonly #options: MaintenanceOptions;

  constructor(calls: LocalCalls, options: MaintenanceOptions) {
    this.#calls = calls;
    this.#member = calls.member;
    this.#options = options;
  }

  async status(..._: readonly unknown[]): Promise<WithHeader<StatusResult>> {
    const member = this.#member;
    const raft = member.raftStatus();
    const { total, inUse } = member.machine.size();
    const alarms = member.machine.alarms();
    const errors = alarms.map((a) => `memberID:${a.memberId} alarm:${a.alarm.toUpperCase()} `);
    if (raft.leader === NONE) errors.push('etcdserver: no leader');
    return this.#calls.withHeader({
      version: this.#options.version,
      dbSize: total,
      dbSizeInUse: inUse,
      leader: raft.leader,
      raftIndex: raft.commit,
      raftTerm: raft.term,
      raftAppliedIndex: member.applied,
      errors,
      isLearner: raft.confState.learners.includes(member.id),
      dbSizeQuota: this.#options.quotaBytes,
      storageVersion: this.#storageVersion,
      downgrade: { enabled: false, targetVersion: '' },
    });
  }

  async alarm(
    request: AlarmRequest,
    options: CallOptions = {},
  ): Promise<WithHeader<{ readonly alarms: readonly Alarm[] }>> {
    const { action, memberId, alarm } = request;
    if (action === 'get') {
      this.#calls.admit(options);
      const all = this.#member.machine.alarms();
      // The member in a listing is not looked at, as in etcd.
      const alarms = all.filter((a) => alarm === 'none' || a.alarm === alarm);
      return this.#calls.withHeader({ alarms });
    }
    const result = await this.#calls.write({ type: 'alarm', action, memberId, alarm }, options, 'alarm');
    return this.#calls.withHeader({ alarms: result.alarms });
  }

  async hash(options: CallOptions = {}): Promise<WithHeader<{ readonly hash: number }>> {
    this.#calls.admit(options);
    return this.#calls.withHeader({ hash: await hashed(this.#member, storeHashOfView, options.signal) });
  }

  async hashKv(
    request: { readonly revision: number },
    options: CallOptions = {},
  ): Promise<WithHeader<HashKvResult>> {
    this.#calls.admit(options);
    const steps = (view: EngineView) => hashKvOfView(view, request.revision);
    return this.#calls.withHeader(await hashed(this.#member, steps, options.signal));
  }

  async moveLeader(
    request: { readonly targetId: bigint },
    options: CallOptions = {},
  ): Promise<WithHeader<unknown>> {
    this.#calls.admit(options);
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

  async defragment(options: CallOptions = {}): Promise<WithHeader<unknown>> {
    this.#calls.admit(options);
    try {
      await this.#upkeep().defragment();
    } catch (error) {
      throw KvError.from(error);
    }
    return this.#calls.withHeader({});
  }

  snapshot(options: CallOptions = {}): AsyncIterable<SnapshotChunk> {
    return translated(this.#upkeep().snapshot(options.signal));
  }

  #upkeep(): StorageUpkeep {
    const { upkeep } = this.#options;
    if (!upkeep) throw new KvError('UNIMPLEMENTED');
    return upkeep;
  }

  /**
   * There is one storage format yet, so that no older version could read it: what etcd says of a target that is not one
   * minor below is true of every target.
   */
  async downgrade(
    request: { readonly action: 'validate' | 'enable' | 'cancel' | number; readonly version: string },
    _options?: CallOptions,
  ): Promise<WithHeader<{ readonly version: string }>> {
    const { action, version } = request;
    if (action === 'cancel') throw new KvError('DOWNGRADE_NONE');
    if (action !== 'validate' && action !== 'enable') {
      throw new KvError('BAD_REQUEST', { detail: `unknown downgrade action ${action}` });
    }
    if (!SEMVER.test(version)) throw new KvError('DOWNGRADE_BAD_FORMAT');
    throw new KvError('DOWNGRADE_BAD_VERSION');
  }

  get #storageVersion(): string {
    return this.#options.storageVersion ?? STORAGE_VERSION_DEFAULT;
  }
}

async function* translated<T>(items: AsyncIterable<T>): AsyncGenerator<T, void, undefined> {
  try {
    yield* items;
  } catch (error) {
    throw KvError.from(error);
  }
}
