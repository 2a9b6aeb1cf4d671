/** EtcdApi over the real state machine and watch hub in memory: one member without a log. */
import type { Clock } from '@muster/base';
import type { KvError } from '@muster/contract';
import {
  type Alarm,
  type AlarmRequest,
  type ApplyOutcome,
  type CallOptions,
  type Command,
  type CompactRequest,
  type DeleteRangeRequest,
  type EtcdApi,
  isReadOnlyTxn,
  type LeaseGrantRequest,
  type MemberInfo,
  MemoryEngine,
  type PutRequest,
  type RangeRequest,
  type ResponseHeader,
  StateMachine,
  type TxnRequest,
  validateDeleteRange,
  validatePut,
  validateRange,
  validateTxn,
  WatchHub,
  type WatchLimits,
  type WatchRequest,
  type WatchSink,
} from '@muster/kv';
import { RefusingAdmin } from './refusing-admin.ts';

type Result<T> = Extract<Extract<ApplyOutcome, { result: unknown }>['result'], { type: T }>;

export class StoreApi extends RefusingAdmin implements EtcdApi {
  readonly machine: StateMachine;
  readonly hub: WatchHub;
  clusterId = 0xabcd_ef01_2345_6789n;
  leader = 1n;
  members: MemberInfo[] = [
    {
      id: 1n,
      name: 'a',
      peerUrls: ['http://127.0.0.1:1'],
      clientUrls: ['http://127.0.0.1:2'],
      isLearner: false,
    },
    {
      id: 2n,
      name: 'b',
      peerUrls: ['http://127.0.0.1:3'],
      clientUrls: ['http://127.0.0.1:4'],
      isLearner: false,
    },
  ];
  /** What every call rejects with, while set. */
  failure: KvError | undefined;
  readonly #clock: Clock;
  readonly #deadlines = new Map<bigint, number>();
  #nextLease = 100n;

  constructor(clock: Clock, watchLimits: Partial<WatchLimits> = {}) {
    super();
    this.#clock = clock;
    this.machine = new StateMachine(new MemoryEngine(), { minLeaseTtlSeconds: 1 });
    this.machine.wantPrevValues = true;
    this.hub = new WatchHub({
      source: this.machine,
      clock,
      header: (revision) => this.header(revision),
      limits: watchLimits,
    });
  }

  header(revision = this.machine.currentRevision): ResponseHeader {
    return { clusterId: this.clusterId, memberId: 1n, revision, raftTerm: 7 };
  }

  async range(request: RangeRequest) {
    this.#begin();
    validateRange(request);
    return { header: this.header(), ...this.machine.range(request) };
  }

  async put(request: PutRequest) {
    this.#begin();
    validatePut(request);
    return { ...this.#apply({ type: 'put', put: request }, 'put').put, ...this.#now() };
  }

  async deleteRange(request: DeleteRangeRequest) {
    this.#begin();
    validateDeleteRange(request);
    const { deleteRange } = this.#apply({ type: 'deleteRange', deleteRange: request }, 'deleteRange');
    return { ...deleteRange, ...this.#now() };
  }

  async txn(request: TxnRequest) {
    this.#begin();
    validateTxn(request, 128);
    if (isReadOnlyTxn(request)) return { ...this.machine.readTxn(request), ...this.#now() };
    return { ...this.#apply({ type: 'txn', txn: request }, 'txn').txn, ...this.#now() };
  }

  async compact({ revision }: CompactRequest) {
    this.#begin();
    this.#apply({ type: 'compact', revision, physical: true }, 'compact');
    while (!this.machine.compactStep());
    return this.#now();
  }

  async leaseGrant({ id, ttlSeconds }: LeaseGrantRequest) {
    this.#begin();
    const granted = this.#apply(
      { type: 'leaseGrant', id: id || this.#nextLease++, ttlSeconds },
      'leaseGrant',
    );
    this.#deadlines.set(granted.id, this.#clock.nowMs() + granted.ttlSeconds * 1000);
    return { id: granted.id, ttlSeconds: granted.ttlSeconds, ...this.#now() };
  }

  async leaseRevoke({ id }: { id: bigint }) {
    this.#begin();
    this.#apply({ type: 'leaseRevoke', id }, 'leaseRevoke');
    this.#deadlines.delete(id);
    return this.#now();
  }

  async leaseKeepAlive({ id }: { id: bigint }) {
    this.#begin();
    const lease = this.machine.leases.get(id);
    if (lease) this.#deadlines.set(id, this.#clock.nowMs() + lease.ttlSeconds * 1000);
    return { id, ttlSeconds: lease?.ttlSeconds ?? 0, ...this.#now() };
  }

  async leaseTimeToLive({ id, keys }: { id: bigint; keys?: boolean }) {
    this.#begin();
    const lease = this.machine.leases.get(id);
    const left = Math.floor(((this.#deadlines.get(id) ?? 0) - this.#clock.nowMs()) / 1000);
    return {
      id,
      ttlSeconds: lease ? left : -1,
      grantedTtlSeconds: lease?.ttlSeconds ?? 0,
      keys: keys && lease ? this.machine.leases.keysOf(id) : [],
      ...this.#now(),
    };
  }

  async leaseLeases() {
    this.#begin();
    return { leases: this.machine.leases.list().map(({ id }) => id), ...this.#now() };
  }

  watch(request: WatchRequest, sink: WatchSink) {
    return this.hub.watch(request, sink);
  }

  async memberList() {
    this.#begin();
    return { members: this.members, ...this.#now() };
  }

  async status(_options?: CallOptions) {
    this.#begin();
    return {
      version: '3.6.0',
      dbSize: 1,
      dbSizeInUse: 1,
      leader: this.leader,
      raftIndex: 1,
      raftTerm: 7,
      raftAppliedIndex: 1,
      errors: [],
      isLearner: false,
      dbSizeQuota: 0,
      ...this.#now(),
    };
  }

  async alarm(_request: AlarmRequest) {
    const alarms: readonly Alarm[] = [];
    return { alarms, ...this.#now() };
  }

  async hash() {
    return { hash: this.machine.storeHash(), ...this.#now() };
  }

  async hashKv({ revision }: { revision: number }) {
    return { ...this.machine.hashKv(revision), ...this.#now() };
  }

  async moveLeader({ targetId }: { targetId: bigint }) {
    this.leader = targetId;
    return this.#now();
  }

  /** Revokes what is over, as a leader would by itself. */
  expireLeases(): void {
    for (const [id, deadline] of this.#deadlines) {
      if (deadline > this.#clock.nowMs()) continue;
      this.#deadlines.delete(id);
      this.#apply({ type: 'leaseRevoke', id }, 'leaseRevoke');
    }
  }

  #now(): { header: ResponseHeader } {
    return { header: this.header() };
  }

  #begin(): void {
    if (this.failure) throw this.failure;
    this.expireLeases();
  }

  #apply<T extends Command['type']>(command: Command, _type: T): Result<T> {
    const outcome = this.machine.apply(command);
    if ('error' in outcome) throw outcome.error;
    if (outcome.events.length > 0) this.hub.publish(outcome.revision, outcome.events);
    return outcome.result as Result<T>;
  }
}
