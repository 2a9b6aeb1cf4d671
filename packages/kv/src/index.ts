export type * from './api.ts';
export type { ApplyResult } from './applier.ts';
export { isReadOnlyTxn, isSerializableTxn } from './apply-guards.ts';
export {
  checkLease,
  checkRead,
  checkReadAll,
  checkRoot,
  checkTxn,
  checkUser,
  type Identity,
  type Origin,
} from './auth/auth-checks.ts';
export type { AuthCommand } from './auth/auth-commands.ts';
export type { AuthRole, AuthUser } from './auth/auth-records.ts';
export { type AuthStore, ROOT } from './auth/auth-store.ts';
export type * from './auth-api.ts';
export { type Command, decodeCommand, encodeCommand, type RequestId } from './commands.ts';
export {
  type Bounds,
  type Engine,
  type EngineReader,
  type EngineView,
  type Entry,
  TABLES,
  type Table,
} from './engine.ts';
export { type BackendBucket, type BackendStamp, etcdBuckets } from './etcd-backend.ts';
export { BackendImport, type ImportOptions } from './etcd-import.ts';
export { BackendDamaged } from './etcd-proto.ts';
export type { EventsOptions } from './history.ts';
export { type Lease, type LeaseCheckpoint, type LeaseTable, MAX_LEASE_TTL_SECONDS } from './lease-table.ts';
export { MemoryEngine, type MemoryEngineOptions } from './memory-engine.ts';
export { createConcurrency } from './recipes/concurrency.ts';
export { validateDeleteRange, validatePut, validateRange, validateTxn } from './request-validation.ts';
export {
  type ApplyOutcome,
  COMPACTION_BATCH,
  StateMachine,
  type StateMachineOptions,
} from './state-machine.ts';
export { hashKvOfView, type Steps, storeHashOfView } from './store-hash.ts';
export type * from './types.ts';
export { fragmentEvents } from './watch-filter.ts';
export {
  DEFAULT_WATCH_LIMITS,
  type HistoryQuery,
  type HistorySlice,
  type HistorySource,
  WatchHub,
  type WatchHubOptions,
  type WatchLimits,
  type WatchStats,
} from './watch-hub.ts';
