export type { CallOptions } from '../core/caller.ts';
export type { Client, ConnectOptions } from '../core/client.ts';
export type { ClusterView } from '../core/cluster-view.ts';
export {
  bytesCodec,
  type Codec,
  jsonCodec,
  type RawValue,
  rawCodec,
  type StandardSchema,
  textCodec,
} from '../core/codec.ts';
export type { Cursor } from '../core/cursor.ts';
export type { Duration } from '../core/duration.ts';
export type { Entry, Key } from '../core/entry.ts';
export { type ClientErrorCode, MusterError, type MusterErrorCode, type ProblemLike } from '../core/errors.ts';
export type {
  ConditionOptions,
  GetOptions,
  Kv,
  Listing,
  ListOptions,
  Page,
  PutOptions,
  PutResult,
  Selection,
  Txn,
  TxnCompare,
  TxnOp,
  TxnOpResult,
  TxnResult,
} from '../core/kv.ts';
export type { LossReason } from '../core/lease-session.ts';
export type { Lease, Leases } from '../core/leases.ts';
export type { Auth } from '../core/login.ts';
export type { Health, RegistrationEvent, RegistrationState } from '../core/registration.ts';
export type {
  Diff,
  Instance,
  InstanceFilter,
  RemovalReason,
  ServiceView,
  Stale,
} from '../core/service-view.ts';
export type {
  DrainOptions,
  InstanceDescription,
  RegisterOptions,
  Registration,
  Services,
  ShutdownOptions,
} from '../core/services.ts';
export type { ConnectionStatus, Logger, Off } from '../core/status.ts';
export type {
  Change,
  ChangeBatch,
  Watch,
  WatchOptions,
  WatchSelector,
  WatchStatus,
} from '../core/watcher.ts';
export { connect } from './connect.ts';
