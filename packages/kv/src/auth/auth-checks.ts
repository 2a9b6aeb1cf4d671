/** Who may do what (reference 1.2, column Auth; 2.14). The same rules where requests come in and where they apply. */
import { assertNever } from '@muster/base';
import { KvError } from '@muster/contract';
import type { Command } from '../commands.ts';
import type { LeaseTable } from '../lease-table.ts';
import type { DeleteRangeRequest, PutRequest, RequestOp, TxnRequest } from '../types.ts';
import type { AuthStore } from './auth-store.ts';
import type { KeyRights } from './key-rights.ts';

/** A user, and the authentication revision at which that was found out. */
export type Identity = { readonly username: string; readonly authRevision: number };

/**
 * Where a command comes from: the servers themselves, who may do anything; a request that named no user, as all do
 * while authentication is off; or a user.
 */
export type Origin = 'internal' | 'anonymous' | Identity;

/** Throws `USER_EMPTY`, `AUTH_OLD_REVISION` or `PERMISSION_DENIED`; `undefined` is: everything may be done. */
function rightsOf(auth: AuthStore, origin: Origin): KeyRights | undefined {
  if (!auth.enabled || origin === 'internal') return undefined;
  if (origin === 'anonymous') throw new KvError('USER_EMPTY');
  if (origin.authRevision !== auth.revision) throw new KvError('AUTH_OLD_REVISION');
  const rights = auth.rightsOf(origin.username);
  if (rights === undefined) throw denied();
  return rights;
}

/** Throws unless the origin is somebody; see `rightsOf`. */
export function checkUser(auth: AuthStore, origin: Origin): void {
  rightsOf(auth, origin);
}

/** Throws unless the origin holds the role root. */
export function checkRoot(auth: AuthStore, origin: Origin): void {
  if (rightsOf(auth, origin) === undefined) return;
  if (!auth.isRoot((origin as Identity).username)) throw denied();
}

export function checkRead(auth: AuthStore, origin: Origin, key: Uint8Array, rangeEnd?: Uint8Array): void {
  requireRead(rightsOf(auth, origin), key, rangeEnd);
}

/** Every key is to be read. */
export function checkReadAll(auth: AuthStore, origin: Origin, keys: Iterable<Uint8Array>): void {
  const rights = rightsOf(auth, origin);
  if (rights === undefined) return;
  for (const key of keys) requireRead(rights, key);
}

/** The keys of a lease are to be written: to renew or revoke it, or to attach another. */
export function checkLease(auth: AuthStore, origin: Origin, leases: LeaseTable, id: bigint): void {
  const rights = rightsOf(auth, origin);
  if (rights !== undefined) requireLease(rights, leases, id);
}

export function checkTxn(auth: AuthStore, origin: Origin, leases: LeaseTable, txn: TxnRequest): void {
  const rights = rightsOf(auth, origin);
  if (rights !== undefined) requireTxn(rights, leases, txn);
}

/** Throws what keeps a command from being applied for its origin. */
export function checkCommand(auth: AuthStore, origin: Origin, leases: LeaseTable, command: Command): void {
  if (!auth.enabled || origin === 'internal') return;
  switch (command.type) {
    case 'put': {
      const rights = rightsOf(auth, origin);
      return rights && requirePut(rights, leases, command.put);
    }
    case 'deleteRange': {
      const rights = rightsOf(auth, origin);
      return rights && requireDeleteRange(rights, command.deleteRange);
    }
    case 'txn':
      return checkTxn(auth, origin, leases, command.txn);
    case 'leaseRevoke':
      return checkLease(auth, origin, leases, command.id);
    case 'leaseGrant':
    case 'noop':
      return checkUser(auth, origin);
    case 'authEnable':
    case 'authenticate':
      // Enabling what is enabled does nothing; a password was found right.
      return;
    case 'memberAdd':
    case 'memberRemove':
    case 'memberPromote':
      // They come with a change of raft's own configuration, which is in force by now: judged where asked for.
      return;
    case 'compact':
    case 'alarm':
    case 'leaseCheckpoint':
    case 'memberAttributes':
    case 'memberUpdate':
    case 'authDisable':
    case 'userAdd':
    case 'userDelete':
    case 'userChangePassword':
    case 'userGrantRole':
    case 'userRevokeRole':
    case 'roleAdd':
    case 'roleDelete':
    case 'roleGrantPermission':
    case 'roleRevokePermission':
      return checkRoot(auth, origin);
    default:
      return assertNever(command, 'command');
  }
}

function requirePut(rights: KeyRights, leases: LeaseTable, { key, lease = 0n, prevKv }: PutRequest): void {
  requireWrite(rights, key);
  if (lease !== 0n) requireLease(rights, leases, lease);
  if (prevKv) requireRead(rights, key);
}

function requireDeleteRange(rights: KeyRights, { key, rangeEnd, prevKv }: DeleteRangeRequest): void {
  requireWrite(rights, key, rangeEnd);
  if (prevKv) requireRead(rights, key, rangeEnd);
}

/** Every compare, and every operation of both branches however deep: also what will not run tells something. */
function requireTxn(rights: KeyRights, leases: LeaseTable, txn: TxnRequest): void {
  for (const { key, rangeEnd } of txn.compare) requireRead(rights, key, rangeEnd);
  for (const op of txn.success) requireOp(rights, leases, op);
  for (const op of txn.failure) requireOp(rights, leases, op);
}

function requireOp(rights: KeyRights, leases: LeaseTable, op: RequestOp): void {
  switch (op.type) {
    case 'range':
      return requireRead(rights, op.range.key, op.range.rangeEnd);
    case 'put':
      return requirePut(rights, leases, op.put);
    case 'deleteRange':
      return requireDeleteRange(rights, op.deleteRange);
    case 'txn':
      return requireTxn(rights, leases, op.txn);
    case 'none':
      return;
  }
}

function requireLease(rights: KeyRights, leases: LeaseTable, id: bigint): void {
  for (const key of leases.keysOf(id)) requireWrite(rights, key);
}

function requireRead(rights: KeyRights | undefined, key: Uint8Array, rangeEnd?: Uint8Array): void {
  if (rights !== undefined && !rights.mayRead(key, rangeEnd)) throw denied();
}

function requireWrite(rights: KeyRights, key: Uint8Array, rangeEnd?: Uint8Array): void {
  if (!rights.mayWrite(key, rangeEnd)) throw denied();
}

function denied(): KvError {
  return new KvError('PERMISSION_DENIED');
}
