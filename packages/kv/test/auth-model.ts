/** The rules of users, roles and permissions (reference 2.14) once more, as plainly as they can be said. */
import type { ErrorCode } from '@muster/contract';
import type { Permission } from '../src/auth-api.ts';
import type { Command } from '../src/commands.ts';
import type { RequestOp, TxnRequest } from '../src/types.ts';

type Verdict = ErrorCode | 'ok';
type Holder = { readonly name: string; readonly revision: number } | 'anonymous';
type ModelRole = Map<string, Permission>;

const text = (bytes: Uint8Array): string => String.fromCharCode(...bytes);
const END = '\u0100';

/** [from, to) of what a request or a permission names. */
function span(key: Uint8Array, rangeEnd: Uint8Array = new Uint8Array(0)): [string, string] {
  if (rangeEnd.length === 0) return [text(key), `${text(key)}\0`];
  if (text(rangeEnd) === '\0') return [text(key), END];
  const [from, to] = [text(key), text(rangeEnd)];
  return from < to ? [from, to] : [from, `${from}\0`];
}

export class AuthModel {
  readonly users = new Map<string, Set<string>>();
  readonly roles = new Map<string, ModelRole>();
  /** Lease to the keys attached to it. */
  readonly leases = new Map<bigint, Set<string>>();
  enabled = false;
  revision = 1;

  /** What a management command answers; applies it. */
  manage(command: Command): Verdict {
    const verdict = this.#manage(command);
    if (verdict === 'changed') this.revision++;
    return verdict === 'changed' || verdict === 'same' ? 'ok' : verdict;
  }

  #manage(command: Command): ErrorCode | 'changed' | 'same' {
    const { users, roles, enabled } = this;
    switch (command.type) {
      case 'authEnable':
        if (enabled) return 'same';
        if (!users.has('root')) return 'ROOT_USER_MISSING';
        if (!users.get('root')?.has('root')) return 'ROOT_ROLE_MISSING';
        this.enabled = true;
        return 'changed';
      case 'authDisable':
        this.enabled = false;
        return enabled ? 'changed' : 'same';
      case 'userAdd':
        if (command.name === '') return 'USER_EMPTY';
        if (users.has(command.name)) return 'USER_EXISTS';
        users.set(command.name, new Set());
        return 'changed';
      case 'userDelete':
        if (enabled && command.name === 'root') return 'INVALID_AUTH_MANAGEMENT';
        return users.delete(command.name) ? 'changed' : 'USER_NOT_FOUND';
      case 'userChangePassword':
        return users.has(command.name) ? 'changed' : 'USER_NOT_FOUND';
      case 'userGrantRole': {
        const held = users.get(command.user);
        if (!held) return 'USER_NOT_FOUND';
        if (command.role !== 'root' && !roles.has(command.role)) return 'ROLE_NOT_FOUND';
        if (held.has(command.role)) return 'same';
        held.add(command.role);
        return 'changed';
      }
      case 'userRevokeRole':
        if (enabled && command.name === 'root' && command.role === 'root') return 'INVALID_AUTH_MANAGEMENT';
        if (!users.has(command.name)) return 'USER_NOT_FOUND';
        return users.get(command.name)?.delete(command.role) ? 'changed' : 'ROLE_NOT_GRANTED';
      case 'roleAdd':
        if (command.name === '') return 'ROLE_EMPTY';
        if (roles.has(command.name)) return 'ROLE_EXISTS';
        roles.set(command.name, new Map());
        return 'changed';
      case 'roleDelete':
        if (enabled && command.role === 'root') return 'INVALID_AUTH_MANAGEMENT';
        if (!roles.delete(command.role)) return 'ROLE_NOT_FOUND';
        for (const held of users.values()) held.delete(command.role);
        return 'changed';
      case 'roleGrantPermission': {
        const { key, rangeEnd = new Uint8Array(0) } = command.permission;
        const isEmpty = rangeEnd.length > 0 && text(rangeEnd) !== '\0' && text(key) >= text(rangeEnd);
        if (key.length === 0 || isEmpty) return 'INVALID_AUTH_MANAGEMENT';
        const role = roles.get(command.name);
        if (!role) return 'ROLE_NOT_FOUND';
        role.set(`${text(key)}|${text(rangeEnd)}`, command.permission);
        return 'changed';
      }
      case 'roleRevokePermission': {
        const role = roles.get(command.role);
        if (!role) return 'ROLE_NOT_FOUND';
        const known = role.delete(`${text(command.key)}|${text(command.rangeEnd)}`);
        return known ? 'changed' : 'PERMISSION_NOT_GRANTED';
      }
      default:
        throw new Error(`${command.type} manages nothing`);
    }
  }

  /** Whether a command may be done, before what it does is looked at. */
  judge(who: Holder, command: Command): Verdict {
    if (!this.enabled || command.type === 'authEnable') return 'ok';
    if (who === 'anonymous') return 'USER_EMPTY';
    if (who.revision !== this.revision) return 'AUTH_OLD_REVISION';
    const held = this.users.get(who.name);
    if (!held) return 'PERMISSION_DENIED';
    return held.has('root') || this.#allowed(who.name, command) ? 'ok' : 'PERMISSION_DENIED';
  }

  #allowed(name: string, command: Command): boolean {
    if (command.type === 'leaseGrant') return true;
    if (command.type === 'leaseRevoke') return this.#mayWriteLease(name, command.id);
    if (command.type === 'put') return this.#mayOp(name, command);
    if (command.type === 'deleteRange') return this.#mayOp(name, command);
    if (command.type === 'txn') return this.#mayTxn(name, command.txn);
    return false;
  }

  #mayTxn(name: string, { compare, success, failure }: TxnRequest): boolean {
    return (
      compare.every((c) => this.may(name, 'read', c.key, c.rangeEnd)) &&
      [...success, ...failure].every((op) => this.#mayOp(name, op))
    );
  }

  #mayOp(name: string, op: RequestOp): boolean {
    switch (op.type) {
      case 'range':
        return this.may(name, 'read', op.range.key, op.range.rangeEnd);
      case 'put': {
        const { key, prevKv, lease = 0n } = op.put;
        const mayRead = !prevKv || this.may(name, 'read', key);
        return this.may(name, 'write', key) && mayRead && this.#mayWriteLease(name, lease);
      }
      case 'deleteRange': {
        const { key, rangeEnd, prevKv } = op.deleteRange;
        const mayRead = !prevKv || this.may(name, 'read', key, rangeEnd);
        return this.may(name, 'write', key, rangeEnd) && mayRead;
      }
      case 'txn':
        return this.#mayTxn(name, op.txn);
      case 'none':
        return true;
    }
  }

  #mayWriteLease(name: string, id: bigint): boolean {
    const keys = [...(this.leases.get(id) ?? [])];
    return keys.every((key) =>
      this.may(
        name,
        'write',
        Uint8Array.from(key, (c) => c.charCodeAt(0)),
      ),
    );
  }

  /**
   * A gap in what is granted would begin where the request does, or where something granted ends: it is enough to look
   * at those places.
   */
  may(name: string, what: 'read' | 'write', key: Uint8Array, rangeEnd?: Uint8Array): boolean {
    const held = [...(this.users.get(name) ?? [])];
    const granted = held
      .flatMap((role) => [...(this.roles.get(role)?.values() ?? [])])
      .filter(({ type }) => type === what || type === 'readwrite')
      .map((permission) => span(permission.key, permission.rangeEnd));
    const [from, to] = span(key, rangeEnd);
    const places = [from, ...granted.map(([, end]) => end).filter((end) => end > from && end < to)];
    return places.every((place) => granted.some(([start, end]) => start <= place && place < end));
  }
}
