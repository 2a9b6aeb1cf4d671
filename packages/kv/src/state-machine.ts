import { assert } from '@muster/base';
import { KvError } from '@muster/contract';
import type { HashKvResult } from './api.ts';
import { Applier, type ApplyResult, runTxn } from './applier.ts';
import { alarmRefusal, commandCost, isReadOnlyTxn, isSerializableTxn } from './apply-guards.ts';
import { checkCommand, type Origin } from './auth/auth-checks.ts';
import { AuthStore } from './auth/auth-store.ts';
import { ClusterTable } from './cluster-table.ts';
import type { Command } from './commands.ts';
import { Compactor } from './compaction.ts';
import type { Engine } from './engine.ts';
import { type EventsOptions, eventsBetween } from './history.ts';
import { LeaseTable } from './lease-table.ts';
import { MvccStore, RevisionWriter } from './mvcc-store.ts';
import { readRange } from './range.ts';
import { encodeStoreMeta, readStoreMeta, STORE_META_KEY, type StoreMeta } from './state-records.ts';
import type { StoreCounters } from './store-counters.ts';
import { hashKvSteps, runSteps, storeHashSteps } from './store-hash.ts';
import type { Alarm, Event, MemberInfo, RangeRequest, RangeResult, TxnRequest, TxnResult } from './types.ts';
import type { HistorySlice } from './watch-refill.ts';

/** Records that one `compactStep` looks at: a few milliseconds of work. */
export const COMPACTION_BATCH = 512;

export type StateMachineOptions = {
  /** Grants below it are raised to it. All members must agree on it, or their leases differ. */
  readonly minLeaseTtlSeconds: number;
  /** Bytes in use at which writes are refused; 0 or absent is no quota. Decides answers, never the state. */
  readonly quotaBytes?: number;
  readonly compactionBatch?: number;
};

/**
 * What applying a command came to. With `error` nothing changed and `events` is empty, but for one case that etcd has:
 * a write that was allowed and crosses the quota happens and is still answered with `NO_SPACE`.
 */
export type ApplyOutcome = {
  /** The store's revision afterwards. */
  readonly revision: number;
  /** The changes of `revision`, in order of sub-revision; empty when the command made none. They must not change. */
  readonly events: readonly Event[];
} & (
  | { readonly result: ApplyResult }
  /** `applied` is what was done all the same: the one that fills the store takes place, and its answer is an error. */
  | { readonly error: KvError; readonly applied?: ApplyResult }
);

/**
 * The replicated state: etcd's semantics over an Engine. Deterministic: equal commands in equal order make equal
 * states, whatever the clock, the machine or the progress of a compaction.
 *
 * It opens from `meta`, leases, members and alarms; the data is not read. The caller seals units: after a batch of
 * `apply` and `compactStep` it calls `flushMeta`, then `engine.commit`.
 */
export class StateMachine {
  readonly leases: LeaseTable;
  readonly auth: AuthStore;
  readonly #engine: Engine;
  readonly #store: MvccStore;
  readonly #cluster: ClusterTable;
  readonly #compactor: Compactor;
  readonly #applier: Applier;
  readonly #quotaBytes: number;
  #metaChanged = false;
  /** Of the engine when last asked, and what was written since, about. */
  #bytesInUse = 0;
  #bytesSince = 0;

  constructor(engine: Engine, options: StateMachineOptions) {
    this.#engine = engine;
    this.leases = new LeaseTable(engine);
    this.auth = new AuthStore(engine);
    this.#store = new MvccStore(engine, this.leases);
    this.#cluster = new ClusterTable(engine);
    const meta = readStoreMeta(engine);
    this.#store.currentRevision = meta.currentRevision;
    this.#store.compactRevision = meta.compactRevision;
    this.#compactor = new Compactor(this.#store, options.compactionBatch ?? COMPACTION_BATCH, meta);
    this.#quotaBytes = options.quotaBytes ?? 0;
    this.#bytesInUse = this.#quotaBytes === 0 ? 0 : engine.size().inUse;
    this.#applier = new Applier({
      store: this.#store,
      cluster: this.#cluster,
      auth: this.auth,
      minLeaseTtlSeconds: options.minLeaseTtlSeconds,
      onCompact: (revision) => this.#compact(revision),
    });
  }

  get currentRevision(): number {
    return this.#store.currentRevision;
  }

  /** -1 when never compacted. */
  get compactRevision(): number {
    return this.#store.compactRevision;
  }

  /** Since this machine was opened. */
  get counters(): Readonly<StoreCounters> {
    return this.#store.counters;
  }

  /** While false, events carry no previous values and each change of a live key costs one read less. */
  get wantPrevValues(): boolean {
    return this.#store.wantPrevValues;
  }

  set wantPrevValues(wanted: boolean) {
    this.#store.wantPrevValues = wanted;
  }

  /** `index` is the command's place in the log: half of each token that is issued there. */
  apply(command: Command, origin: Origin = 'anonymous', index = 0): ApplyOutcome {
    const refusal = alarmRefusal(command, this.#cluster) ?? this.refusalFor(command, origin);
    if (refusal) return { revision: this.currentRevision, events: [], error: refusal };
    const before = this.currentRevision;
    const fits = this.quotaAllows(command);
    try {
      const { result, events } = this.#applier.run(command, index);
      const revision = this.currentRevision;
      assert(revision === before + (events.length > 0 ? 1 : 0), () => `revision ${before} -> ${revision}`);
      if (revision !== before) this.#metaChanged = true;
      this.#bytesSince += commandCost(command);
      if (fits) return { revision, events, result };
      return { revision, events, error: new KvError('NO_SPACE'), applied: result };
    } catch (thrown) {
      if (!(thrown instanceof KvError)) throw thrown;
      return { revision: this.currentRevision, events: [], error: thrown };
    }
  }

  /** Why a command may not be done for its origin as things stand, or `undefined`. */
  refusalFor(command: Command, origin: Origin): KvError | undefined {
    if (!this.auth.enabled) return undefined;
    try {
      checkCommand(this.auth, origin, this.leases, command);
      return undefined;
    } catch (error) {
      if (error instanceof KvError) return error;
      throw error;
    }
  }

  /**
   * False when the command would take the store over its quota: whoever takes requests in then raises the NOSPACE
   * alarm and refuses. Always true of commands that a full store takes.
   */
  quotaAllows(command: Command): boolean {
    if (this.#quotaBytes === 0) return true;
    const cost = commandCost(command);
    return cost === 0 || this.#bytesInUse + this.#bytesSince + cost < this.#quotaBytes;
  }

  /** Throws `COMPACTED` or `FUTURE_REVISION`. */
  range(request: RangeRequest): RangeResult {
    const { currentRevision } = this;
    const asked = request.revision ?? 0;
    if (asked > 0) this.#store.checkReadable(asked);
    return readRange(this.#store, request, asked > 0 ? asked : currentRevision, currentRevision);
  }

  /** A transaction that can change nothing, read in place. Throws `COMPACTED` or `FUTURE_REVISION`. */
  readTxn(request: TxnRequest): TxnResult {
    assert(isReadOnlyTxn(request), 'a transaction that writes has to be applied');
    return runTxn(this.#store, new RevisionWriter(this.#store), request);
  }

  isReadOnlyTxn(request: TxnRequest): boolean {
    return isReadOnlyTxn(request);
  }

  isSerializableTxn(request: TxnRequest): boolean {
    return isSerializableTxn(request);
  }

  /**
   * History for the watch hub: the changes in [fromRevision, toRevision], whole revisions. Throws `COMPACTED`
   * (`extra.compactRevision`) when `fromRevision` is below the compact revision; at it is legal.
   */
  eventsBetween(fromRevision: number, toRevision: number, options: EventsOptions): HistorySlice {
    return eventsBetween(this.#store, fromRevision, toRevision, options);
  }

  /**
   * etcd's HashKV; `revision` 0 is the current one. Reads all of the data at once: seconds for millions of keys. A
   * member that serves goes over a view of the engine instead, in steps (`hashKvSteps`).
   */
  hashKv(revision: number): HashKvResult {
    return runSteps(hashKvSteps(this.#engine, this.#meta(), revision));
  }

  /** Of the whole replicated state, equal on members that have applied the same. Reads all of the data at once. */
  storeHash(): number {
    return runSteps(storeHashSteps(this.#engine, this.#meta()));
  }

  /** True while a compaction has records left to remove. */
  get compactionPending(): boolean {
    return this.#compactor.pending;
  }

  /** One slice of removal; true when nothing is left. `flushMeta` and a commit must follow, as after `apply`. */
  compactStep(): boolean {
    if (this.#compactor.pending) this.#metaChanged = true;
    return this.#compactor.step();
  }

  /** Writes the revisions to `meta` if they changed. To be called before each `engine.commit`. */
  flushMeta(): void {
    if (this.#metaChanged) {
      this.#engine.put('meta', STORE_META_KEY, encodeStoreMeta(this.#meta()));
      this.#metaChanged = false;
    }
    if (this.#quotaBytes === 0) return;
    this.#bytesInUse = this.#engine.size().inUse;
    this.#bytesSince = 0;
  }

  /** Ordered by member, then by kind. */
  alarms(): readonly Alarm[] {
    return this.#cluster.alarms();
  }

  /** Ascending by id, without removed ones. */
  members(): readonly MemberInfo[] {
    return this.#cluster.members();
  }

  /** Ids that were members once, ascending. */
  removedMembers(): readonly bigint[] {
    return this.#cluster.removedIds();
  }

  /** Adds or replaces a member of a new cluster. */
  setMember(member: MemberInfo): void {
    this.#cluster.setMember(member);
  }

  removeMember(id: bigint): void {
    this.#cluster.removeMember(id);
  }

  /** True of an id that was a member once: it must never be one again. */
  isRemovedMember(id: bigint): boolean {
    return this.#cluster.isRemoved(id);
  }

  /** Bytes on disk and in use. */
  size(): { readonly total: number; readonly inUse: number } {
    return this.#engine.size();
  }

  #compact(revision: number): void {
    this.#store.compactRevision = revision;
    this.#compactor.schedule(revision);
    this.#metaChanged = true;
  }

  #meta(): StoreMeta {
    return {
      currentRevision: this.currentRevision,
      compactRevision: this.compactRevision,
      finishedRevision: this.#compactor.finishedRevision,
      compaction: this.#compactor.state,
    };
  }
}
