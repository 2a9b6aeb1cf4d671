/** What is asked, in this order, before a command may change anything: first the alarms, then the store itself. */
import { KvError } from '@muster/contract';
import type { Command } from './commands.ts';
import type { MvccStore } from './mvcc-store.ts';
import type { AlarmType, PutRequest, RequestOp, TxnRequest } from './types.ts';

/** Bytes that a put or a grant is taken to need beyond its key and value (reference 8.5). */
const PUT_COST = 256;
const LEASE_GRANT_COST = 64;

type AlarmView = { readonly has: (alarm: AlarmType) => boolean };

/** The error with which an alarm refuses a command, or `undefined`. */
export function alarmRefusal(command: Command, alarms: AlarmView): KvError | undefined {
  if (alarms.has('corrupt') && stoppedByCorruption(command)) return new KvError('CORRUPT');
  if (alarms.has('nospace') && commandCost(command) > 0) return new KvError('NO_SPACE');
  return undefined;
}

/** Bytes that a command is taken to add to the store; 0 for those that a full store still takes. */
export function commandCost(command: Command): number {
  switch (command.type) {
    case 'put':
      return putCost(command.put);
    case 'txn':
      return txnCost(command.txn);
    case 'leaseGrant':
      return LEASE_GRANT_COST;
    default:
      return 0;
  }
}

function putCost(put: PutRequest): number {
  return PUT_COST + put.key.length + (put.value?.length ?? 0);
}

/** The larger of what both branches put. */
function txnCost({ success, failure }: TxnRequest): number {
  return Math.max(opsCost(success), opsCost(failure));
}

function opsCost(ops: readonly RequestOp[]): number {
  let cost = 0;
  for (const op of ops) {
    if (op.type === 'put') cost += putCost(op.put);
    else if (op.type === 'txn') cost += txnCost(op.txn);
  }
  return cost;
}

function stoppedByCorruption(command: Command): boolean {
  switch (command.type) {
    case 'put':
    case 'deleteRange':
    case 'compact':
    case 'leaseGrant':
    case 'leaseRevoke':
      return true;
    case 'txn':
      return !isReadOnlyTxn(command.txn);
    default:
      return false;
  }
}

/** Throws when a put cannot be: an unknown lease, or a key that is to lend its value or lease and is not there. */
export function checkPut(store: MvccStore, put: PutRequest, keyExists: () => boolean): void {
  checkLease(store, put);
  checkKey(put, keyExists);
}

/** The same of a put in a transaction, where etcd looks at the key before the lease. */
export function checkTxnPut(store: MvccStore, put: PutRequest, keyExists: () => boolean): void {
  checkKey(put, keyExists);
  checkLease(store, put);
}

function checkLease(store: MvccStore, { lease = 0n, ignoreLease }: PutRequest): void {
  if (lease !== 0n && !ignoreLease) store.leases.checkExists(lease);
}

function checkKey(put: PutRequest, exists: () => boolean): void {
  if ((put.ignoreValue || put.ignoreLease) && !exists()) throw new KvError('KEY_NOT_FOUND');
}

/** Throws when a compaction at `revision` cannot be: etcd refuses to compact what is compacted, or is yet to come. */
export function checkCompact(store: MvccStore, revision: number): void {
  const { compactRevision, currentRevision } = store;
  const extra = { compactRevision, revision: currentRevision };
  if (revision <= compactRevision) throw new KvError('COMPACTED', { extra });
  if (revision > currentRevision) throw new KvError('FUTURE_REVISION', { extra });
}

/** True when neither branch can change anything: such a transaction needs no log entry. */
export function isReadOnlyTxn({ success, failure }: TxnRequest): boolean {
  const readOnly = (op: RequestOp): boolean =>
    op.type === 'range' || op.type === 'none' || (op.type === 'txn' && isReadOnlyTxn(op.txn));
  return success.every(readOnly) && failure.every(readOnly);
}

/** True when every range in it may be answered from local state; so may an empty transaction. */
export function isSerializableTxn({ success, failure }: TxnRequest): boolean {
  const serializable = (op: RequestOp): boolean => {
    if (op.type === 'range') return op.range.serializable === true;
    return op.type !== 'txn' || isSerializableTxn(op.txn);
  };
  return success.every(serializable) && failure.every(serializable);
}
