import { type Clock, compareBytes, crc32c, type Timer, utf8 } from '@muster/base';
import { KvError } from '@muster/contract';
import type {
  Alarm,
  AlarmRequest,
  CompactRequest,
  CoreApi,
  DeleteRangeRequest,
  DeleteRangeResult,
  Event,
  HashKvResult,
  KeyValue,
  LeaseGrantRequest,
  LeaseGrantResult,
  LeaseTimeToLiveResult,
  MemberInfo,
  PutRequest,
  PutResult,
  RangeRequest,
  RangeResult,
  RequestOp,
  ResponseHeader,
  ResponseOp,
  StatusResult,
  TxnRequest,
  TxnResult,
  WatchHandle,
  WatchRequest,
  WatchSink,
  WithHeader,
} from '@muster/kv';
import {
  checkPut,
  checkTxn,
  flatOps,
  holds,
  isReadOnly,
  keyText,
  rangeOf,
  type State,
  select,
} from './model-txn.ts';
import { ModelWatch } from './model-watch.ts';

const TXN_OPS_MAX = 128;
const REQUEST_BYTES_MAX = 1.5 * 1024 * 1024;
const TTL_MIN_SECONDS = 2;
const TTL_MAX_SECONDS = 9_000_000_000;
const NO_BYTES = new Uint8Array(0);
const MEMBER_ID = 1n;

type Lease = { readonly id: bigint; readonly ttlSeconds: number; dueMs: number };

/**
 * etcd in memory, made to be obviously right and nothing else: a whole copy of the state for every revision, one list
 * of all events, no concurrency. Slow on purpose. Faster implementations are compared with it.
 */
export class EtcdModel implements CoreApi {
  readonly events: Event[] = [];
  readonly #clock: Clock;
  readonly #states = new Map<number, State>([[1, new Map()]]);
  readonly #leases = new Map<bigint, Lease>();
  readonly #watches = new Set<ModelWatch>();
  #alarms: Alarm[] = [];
  #revision = 1;
  #compactRevision = -1;
  #leaseCounter = 1_000_000n;
  #expiry: Timer | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get revision(): number {
    return this.#revision;
  }

  get compactRevision(): number {
    return this.#compactRevision;
  }

  header(revision: number): ResponseHeader {
    return { clusterId: 7n, memberId: MEMBER_ID, raftTerm: 2, revision };
  }

  async range(request: RangeRequest): Promise<WithHeader<RangeResult>> {
    if (request.key.length === 0) throw new KvError('EMPTY_KEY');
    const { revision = 0 } = request;
    const state = this.#stateAt(revision <= 0 ? this.#revision : revision, this.#revision);
    return this.#answer({ revision: this.#revision, ...rangeOf(state, request) });
  }

  async put(request: PutRequest): Promise<WithHeader<PutResult>> {
    checkPut(request);
    const op: RequestOp = { type: 'put', put: request };
    const response = this.#write([op]).responses[0];
    return this.#answer((response as Extract<ResponseOp, { type: 'put' }>).put);
  }

  async deleteRange(request: DeleteRangeRequest): Promise<WithHeader<DeleteRangeResult>> {
    if (request.key.length === 0) throw new KvError('EMPTY_KEY');
    const response = this.#write([{ type: 'deleteRange', deleteRange: request }]).responses[0];
    return this.#answer((response as Extract<ResponseOp, { type: 'deleteRange' }>).deleteRange);
  }

  async txn(request: TxnRequest): Promise<WithHeader<TxnResult>> {
    checkTxn(request, TXN_OPS_MAX);
    return this.#answer(this.#write([{ type: 'txn', txn: request }]).txn as TxnResult);
  }

  async compact(request: CompactRequest): Promise<WithHeader<unknown>> {
    if (request.revision <= this.#compactRevision) throw new KvError('COMPACTED');
    if (request.revision > this.#revision) throw new KvError('FUTURE_REVISION');
    this.#compactRevision = request.revision;
    return this.#answer({});
  }

  async leaseGrant(request: LeaseGrantRequest): Promise<WithHeader<LeaseGrantResult>> {
    this.#refuseWithoutSpace();
    if (request.ttlSeconds > TTL_MAX_SECONDS) throw new KvError('LEASE_TTL_TOO_LARGE');
    const id = request.id === 0n ? ++this.#leaseCounter : request.id;
    if (this.#leases.has(id)) throw new KvError('LEASE_EXISTS');
    const ttlSeconds = Math.max(TTL_MIN_SECONDS, request.ttlSeconds);
    this.#leases.set(id, { id, ttlSeconds, dueMs: this.#clock.nowMs() + ttlSeconds * 1000 });
    this.#watchExpiry();
    return this.#answer({ id, ttlSeconds });
  }

  async leaseRevoke(request: { readonly id: bigint }): Promise<WithHeader<unknown>> {
    if (!this.#leases.has(request.id)) throw new KvError('LEASE_NOT_FOUND');
    this.#revoke(request.id);
    return this.#answer({});
  }

  async leaseKeepAlive(request: {
    readonly id: bigint;
  }): Promise<WithHeader<{ readonly id: bigint; readonly ttlSeconds: number }>> {
    const lease = this.#leases.get(request.id);
    if (lease) lease.dueMs = this.#clock.nowMs() + lease.ttlSeconds * 1000;
    return this.#answer({ id: request.id, ttlSeconds: lease?.ttlSeconds ?? 0 });
  }

  async leaseTimeToLive(request: {
    readonly id: bigint;
    readonly keys?: boolean;
  }): Promise<WithHeader<LeaseTimeToLiveResult>> {
    const lease = this.#leases.get(request.id);
    if (!lease) return this.#answer({ id: request.id, ttlSeconds: -1, grantedTtlSeconds: 0, keys: [] });
    return this.#answer({
      id: lease.id,
      ttlSeconds: Math.floor((lease.dueMs - this.#clock.nowMs()) / 1000),
      grantedTtlSeconds: lease.ttlSeconds,
      keys: request.keys ? this.#keysOf(lease.id) : [],
    });
  }

  async leaseLeases(): Promise<WithHeader<{ readonly leases: readonly bigint[] }>> {
    return this.#answer({ leases: [...this.#leases.keys()] });
  }

  watch(request: WatchRequest, sink: WatchSink): WatchHandle {
    const watch: ModelWatch = new ModelWatch(this, request, sink, {
      end: (ended) => this.#watches.delete(ended),
      later: () => this.#clock.defer(() => watch.pump(false)),
    });
    this.#watches.add(watch);
    this.#clock.defer(() => watch.pump(false));
    return watch;
  }

  async memberList(): Promise<WithHeader<{ readonly members: readonly MemberInfo[] }>> {
    const member = { id: MEMBER_ID, name: 'model', peerUrls: ['http://127.0.0.1:1'], isLearner: false };
    const { revision: _, ...header } = this.header(0);
    return { members: [{ ...member, clientUrls: ['http://127.0.0.1:2'] }], header };
  }

  async status(): Promise<WithHeader<StatusResult>> {
    return this.#answer({
      version: '3.6.0',
      dbSize: 4096,
      dbSizeInUse: 4096,
      leader: MEMBER_ID,
      raftIndex: this.#revision,
      raftTerm: 2,
      raftAppliedIndex: this.#revision,
      errors: this.#alarms.map((a) => `memberID:${a.memberId} alarm:${a.alarm.toUpperCase()} `),
      isLearner: false,
      dbSizeQuota: 0,
    });
  }

  async alarm(request: AlarmRequest): Promise<WithHeader<{ readonly alarms: readonly Alarm[] }>> {
    const { action, memberId, alarm } = request;
    const exact = (a: Alarm) => a.memberId === memberId && a.alarm === alarm;
    const asked = (a: Alarm) => alarm === 'none' || a.alarm === alarm;
    if (action === 'get') return this.#answer({ alarms: this.#alarms.filter(asked) });
    const removed = this.#alarms.filter(exact);
    this.#alarms = this.#alarms.filter((a) => !exact(a));
    if (action === 'deactivate') return this.#answer({ alarms: removed });
    if (alarm !== 'none') this.#alarms.push({ memberId, alarm });
    return this.#answer({ alarms: this.#alarms.filter(exact) });
  }

  async hash(): Promise<WithHeader<{ readonly hash: number }>> {
    return this.#answer({ hash: crc32c(utf8(JSON.stringify(this.events.map(plain)))) });
  }

  /** Equal for equal kept history; not etcd's own formula. */
  async hashKv(request: { readonly revision: number }): Promise<WithHeader<HashKvResult>> {
    const hashRevision = request.revision || this.#revision;
    if (hashRevision > this.#revision) throw new KvError('FUTURE_REVISION');
    if (hashRevision < this.#compactRevision) throw new KvError('COMPACTED');
    const kept = [...this.#stateAt(Math.max(1, this.#compactRevision), this.#revision).values()].map(plainKv);
    const since = this.events.filter(
      (e) => e.kv.modRevision > this.#compactRevision && e.kv.modRevision <= hashRevision,
    );
    const hash = crc32c(utf8(JSON.stringify([kept, since.map(plain)])));
    return this.#answer({ hash, compactRevision: this.#compactRevision, hashRevision });
  }

  async moveLeader(request: { readonly targetId: bigint }): Promise<WithHeader<unknown>> {
    if (request.targetId !== MEMBER_ID) throw new KvError('BAD_LEADER_TRANSFEREE');
    return this.#answer({});
  }

  #answer<T>(result: T): WithHeader<T> {
    return { ...result, header: this.header(this.#revision) };
  }

  #stateAt(revision: number, current: number): State {
    if (revision > current) throw new KvError('FUTURE_REVISION');
    if (revision < this.#compactRevision) throw new KvError('COMPACTED');
    return this.#states.get(revision) ?? new Map();
  }

  get #now(): State {
    return this.#states.get(this.#revision) as State;
  }

  #refuseWithoutSpace(): void {
    if (this.#alarms.some((a) => a.alarm === 'nospace')) throw new KvError('NO_SPACE');
  }

  /** Runs operations as one revision, if they change anything. Throws before anything changes. */
  #write(ops: readonly RequestOp[]): { responses: ResponseOp[]; txn: TxnResult | undefined } {
    const size = ops.reduce((sum, op) => sum + sizeOf(op), 0);
    const readOnly = ops.every((op) => op.type === 'txn' && isReadOnly(op.txn));
    if (size > REQUEST_BYTES_MAX && !readOnly) throw new KvError('REQUEST_TOO_LARGE');
    if (ops.some(writesSpace)) this.#refuseWithoutSpace();
    const outer: TxnRequest = { compare: [], success: ops, failure: [] };
    const executed = flatOps(this.#now, outer);
    this.#checkPuts(executed, ops[0]?.type === 'put');
    for (const op of executed) if (op.type === 'range') this.#checkRange(op.range);
    const run = new WriteRun(this.#now, this.#revision, (revision, current) =>
      this.#stateAt(revision, current),
    );
    const responses = run.ops(this.#now, ops);
    if (run.events.length > 0) this.#commit(run.state, run.events);
    const first = responses[0];
    return { responses, txn: first?.type === 'txn' ? { ...first.txn, revision: this.#revision } : undefined };
  }

  /** A put of its own looks at the lease first, one in a txn at the key, as earlier deletes of the txn leave it. */
  #checkPuts(ops: readonly RequestOp[], alone: boolean): void {
    const left = new Map(this.#now);
    for (const op of ops) {
      if (op.type === 'deleteRange') {
        for (const kv of select(left, op.deleteRange)) left.delete(keyText(kv.key));
      }
      if (op.type !== 'put') continue;
      const { key, lease, ignoreValue, ignoreLease } = op.put;
      const noLease = lease && !this.#leases.has(lease);
      if (noLease && alone) throw new KvError('LEASE_NOT_FOUND');
      if ((ignoreValue || ignoreLease) && !left.has(keyText(key))) throw new KvError('KEY_NOT_FOUND');
      if (noLease) throw new KvError('LEASE_NOT_FOUND');
    }
  }

  #checkRange({ revision }: RangeRequest): void {
    if (revision) this.#stateAt(revision, this.#revision);
  }

  #commit(state: State, events: readonly Event[]): void {
    const before = this.#now;
    this.#revision++;
    this.#states.set(this.#revision, state);
    for (const { type, kv } of events) {
      const prevKv = before.get(keyText(kv.key));
      this.events.push(prevKv ? { type, kv, prevKv } : { type, kv });
    }
    for (const watch of [...this.#watches]) watch.pump(true);
  }

  #keysOf(lease: bigint): Uint8Array[] {
    return [...this.#now.values()].filter((kv) => kv.lease === lease).map((kv) => kv.key);
  }

  #revoke(id: bigint): void {
    this.#leases.delete(id);
    const keys = this.#keysOf(id).sort(compareBytes);
    const ops = keys.map((key): RequestOp => ({ type: 'deleteRange', deleteRange: { key } }));
    const run = new WriteRun(this.#now, this.#revision, () => this.#now);
    run.ops(this.#now, ops);
    if (run.events.length > 0) this.#commit(run.state, run.events);
  }

  #watchExpiry(): void {
    this.#expiry ??= this.#clock.schedule(100, () => {
      this.#expiry = undefined;
      const due = [...this.#leases.values()].filter((lease) => lease.dueMs <= this.#clock.nowMs());
      for (const lease of due) this.#revoke(lease.id);
      if (this.#leases.size > 0) this.#watchExpiry();
    });
  }
}

/** One write under way: the new state, its events, and the answers. */
class WriteRun {
  readonly state: Map<string, KeyValue>;
  readonly events: Event[] = [];
  readonly #before: number;
  readonly #stateAt: (revision: number, current: number) => State;

  constructor(state: State, revision: number, stateAt: (revision: number, current: number) => State) {
    this.state = new Map(state);
    this.#before = revision;
    this.#stateAt = stateAt;
  }

  /** The revision that an inner answer tells: the new one once something was written. */
  get #revision(): number {
    return this.events.length > 0 ? this.#before + 1 : this.#before;
  }

  ops(before: State, ops: readonly RequestOp[]): ResponseOp[] {
    return ops.map((op): ResponseOp => {
      if (op.type === 'put') return { type: 'put', put: this.#put(op.put) };
      if (op.type === 'range') return { type: 'range', range: this.#range(op.range) };
      if (op.type === 'deleteRange')
        return { type: 'deleteRange', deleteRange: this.#delete(op.deleteRange) };
      if (op.type === 'txn') return { type: 'txn', txn: this.#txn(before, op.txn) };
      throw new Error('an empty operation passed the checks');
    });
  }

  #txn(before: State, txn: TxnRequest): TxnResult {
    const succeeded = txn.compare.every((compare) => holds(before, compare));
    const chosen = succeeded ? txn.success : txn.failure;
    return { succeeded, responses: this.ops(before, chosen), revision: this.#revision };
  }

  #put(put: PutRequest): PutResult {
    const id = keyText(put.key);
    const previous = this.state.get(id);
    const revision = this.#before + 1;
    const kv: KeyValue = {
      key: put.key,
      value: put.ignoreValue && previous ? previous.value : (put.value ?? NO_BYTES),
      createRevision: previous?.createRevision ?? revision,
      modRevision: revision,
      version: (previous?.version ?? 0) + 1,
      lease: put.ignoreLease && previous ? previous.lease : (put.lease ?? 0n),
    };
    this.state.set(id, kv);
    this.events.push({ type: 'put', kv });
    return { revision, ...(put.prevKv && previous && { prevKv: previous }) };
  }

  #delete(request: DeleteRangeRequest): DeleteRangeResult {
    const doomed = select(this.state, request);
    for (const { key } of doomed) {
      const modRevision = this.#before + 1;
      this.state.delete(keyText(key));
      const kv = { key, value: NO_BYTES, createRevision: 0, modRevision, version: 0, lease: 0n };
      this.events.push({ type: 'delete', kv });
    }
    return { revision: this.#revision, deleted: doomed.length, prevKvs: request.prevKv ? doomed : [] };
  }

  #range(request: RangeRequest): RangeResult {
    const { revision = 0 } = request;
    const state = revision <= 0 ? this.state : this.#stateAt(revision, this.#before);
    return { revision: this.#revision, ...rangeOf(state, request) };
  }
}

function sizeOf(op: RequestOp): number {
  if (op.type === 'put') return op.put.key.length + (op.put.value?.length ?? 0) + 16;
  if (op.type !== 'txn') return 64;
  return [...op.txn.success, ...op.txn.failure].reduce((sum, inner) => sum + sizeOf(inner), 16);
}

/** Whether an operation is refused while there is no space: a put, or a txn with one in either branch. */
function writesSpace(op: RequestOp): boolean {
  if (op.type === 'put') return true;
  return op.type === 'txn' && [...op.txn.success, ...op.txn.failure].some(writesSpace);
}

const plainKv = (kv: KeyValue) => [
  keyText(kv.key),
  keyText(kv.value),
  kv.modRevision,
  kv.version,
  String(kv.lease),
];
const plain = (event: Event) => [event.type, ...plainKv(event.kv)];
