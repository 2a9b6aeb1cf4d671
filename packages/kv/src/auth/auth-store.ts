import { assert, compareBytes, EMPTY_BYTES } from '@muster/base';
import { KvError } from '@muster/contract';
import type { Permission } from '../auth-api.ts';
import type { Engine } from '../engine.ts';
import type { AuthCommand, AuthCommandType } from './auth-commands.ts';
import {
  AUTH_META_KEY,
  type AuthRole,
  type AuthUser,
  authKey,
  decodeAuthMeta,
  decodeAuthRole,
  decodeAuthUser,
  encodeAuthMeta,
  encodeAuthRole,
  encodeAuthUser,
  roleKey,
  userKey,
} from './auth-records.ts';
import { EVERY_RIGHT, GrantedRights, isPermissionRange, type KeyRights } from './key-rights.ts';

/** The user and the role that can do everything. The role need not be added for the user to hold it. */
export const ROOT = 'root';

/** etcd's: a cluster without users is at revision 1. */
const FIRST_AUTH_REVISION = 1;

export type AuthResult =
  | { readonly type: Exclude<AuthCommandType, 'authenticate'> }
  /** What the client sends from now on: the random half, and where in the log the other half stands. */
  | { readonly type: 'authenticate'; readonly token: string };

/**
 * Users and roles as they are replicated (reference 2.14): in memory, and in table `auth`. Every change moves the
 * authentication revision by one; what finds nothing to change leaves it. Rights are gathered once per user and
 * revision.
 */
export class AuthStore {
  readonly #engine: Engine;
  readonly #users = new Map<string, AuthUser>();
  readonly #roles = new Map<string, AuthRole>();
  readonly #rights = new Map<string, KeyRights>();
  #enabled = false;
  #revision = FIRST_AUTH_REVISION;

  constructor(engine: Engine) {
    this.#engine = engine;
    for (const [key, record] of engine.iterate('auth')) {
      const { kind, name } = authKey(key);
      if (kind === 'user') this.#users.set(name, decodeAuthUser(name, record));
      else if (kind === 'role') this.#roles.set(name, decodeAuthRole(name, record));
      else ({ enabled: this.#enabled, revision: this.#revision } = decodeAuthMeta(record));
    }
  }

  get enabled(): boolean {
    return this.#enabled;
  }

  get revision(): number {
    return this.#revision;
  }

  user(name: string): AuthUser | undefined {
    return this.#users.get(name);
  }

  /** Ascending by name. */
  users(): AuthUser[] {
    return [...this.#users.values()].sort(byName);
  }

  role(name: string): AuthRole | undefined {
    return this.#roles.get(name);
  }

  /** Ascending by name. */
  roles(): AuthRole[] {
    return [...this.#roles.values()].sort(byName);
  }

  isRoot(username: string): boolean {
    return this.#users.get(username)?.roles.includes(ROOT) === true;
  }

  /** What a user may do with keys now; `undefined` of one that is not there. */
  rightsOf(username: string): KeyRights | undefined {
    const known = this.#rights.get(username);
    if (known !== undefined) return known;
    const user = this.#users.get(username);
    if (user === undefined) return undefined;
    const granted = user.roles.flatMap((role) => this.#roles.get(role)?.permissions ?? []);
    const rights = user.roles.includes(ROOT) ? EVERY_RIGHT : new GrantedRights(granted);
    this.#rights.set(username, rights);
    return rights;
  }

  /**
   * Applies one command of the log at `index`. Throws a `KvError` with nothing changed. Who may ask for it has been
   * looked at before.
   */
  apply(command: AuthCommand, index: number): AuthResult {
    if (command.type === 'authenticate') return this.#authenticate(command, index);
    if (this.#change(command)) this.#moveRevision();
    return { type: command.type };
  }

  #authenticate(
    { name, token, authRevision }: Extract<AuthCommand, { readonly type: 'authenticate' }>,
    index: number,
  ): AuthResult {
    if (!this.#enabled) throw new KvError('AUTH_NOT_ENABLED');
    // The password was compared with what may no longer be the user's: whoever asked compares again.
    if (authRevision !== this.#revision) throw new KvError('AUTH_OLD_REVISION');
    assert(this.#users.has(name), () => `a token for a user that revision ${authRevision} does not have`);
    return { type: 'authenticate', token: `${token}.${index}` };
  }

  /** True when something changed. */
  #change(command: Exclude<AuthCommand, { readonly type: 'authenticate' }>): boolean {
    switch (command.type) {
      case 'authEnable':
        return this.#enable();
      case 'authDisable':
        return this.#disable();
      case 'userAdd':
        return this.#addUser(command);
      case 'userDelete':
        return this.#deleteUser(command.name);
      case 'userChangePassword':
        return this.#changePassword(command.name, command.hashedPassword);
      case 'userGrantRole':
        return this.#grantRole(command.user, command.role);
      case 'userRevokeRole':
        return this.#revokeRole(command.name, command.role);
      case 'roleAdd':
        return this.#addRole(command.name);
      case 'roleDelete':
        return this.#deleteRole(command.role);
      case 'roleGrantPermission':
        return this.#grantPermission(command.name, command.permission);
      case 'roleRevokePermission':
        return this.#revokePermission(command.role, command.key, command.rangeEnd);
    }
  }

  #enable(): boolean {
    if (this.#enabled) return false;
    const root = this.#users.get(ROOT);
    if (root === undefined) throw new KvError('ROOT_USER_MISSING');
    if (!root.roles.includes(ROOT)) throw new KvError('ROOT_ROLE_MISSING');
    this.#enabled = true;
    return true;
  }

  #disable(): boolean {
    if (!this.#enabled) return false;
    this.#enabled = false;
    return true;
  }

  #addUser(command: Extract<AuthCommand, { readonly type: 'userAdd' }>): boolean {
    const { name, hashedPassword, noPassword } = command;
    if (name === '') throw new KvError('USER_EMPTY');
    if (this.#users.has(name)) throw new KvError('USER_EXISTS');
    this.#putUser({ name, hashedPassword: noPassword ? '' : hashedPassword, noPassword, roles: [] });
    return true;
  }

  #deleteUser(name: string): boolean {
    if (this.#enabled && name === ROOT) throw rootProtected('user root cannot be deleted');
    this.#userOr404(name);
    this.#users.delete(name);
    this.#engine.delete('auth', userKey(name));
    return true;
  }

  /** One without a password stays without, as in etcd. */
  #changePassword(name: string, hashedPassword: string): boolean {
    const user = this.#userOr404(name);
    this.#putUser({ ...user, hashedPassword: user.noPassword ? '' : hashedPassword });
    return true;
  }

  #grantRole(name: string, role: string): boolean {
    const user = this.#userOr404(name);
    if (role !== ROOT) this.#roleOr404(role);
    if (user.roles.includes(role)) return false;
    this.#putUser({ ...user, roles: [...user.roles, role].sort(byText) });
    return true;
  }

  #revokeRole(name: string, role: string): boolean {
    if (this.#enabled && name === ROOT && role === ROOT) {
      throw rootProtected('role root cannot be taken from user root');
    }
    const user = this.#userOr404(name);
    if (!user.roles.includes(role)) throw new KvError('ROLE_NOT_GRANTED');
    this.#putUser({ ...user, roles: user.roles.filter((each) => each !== role) });
    return true;
  }

  #addRole(name: string): boolean {
    if (name === '') throw new KvError('ROLE_EMPTY');
    if (this.#roles.has(name)) throw new KvError('ROLE_EXISTS');
    this.#putRole({ name, permissions: [] });
    return true;
  }

  #deleteRole(name: string): boolean {
    if (this.#enabled && name === ROOT) throw rootProtected('role root cannot be deleted');
    this.#roleOr404(name);
    this.#roles.delete(name);
    this.#engine.delete('auth', roleKey(name));
    for (const user of [...this.#users.values()]) {
      if (!user.roles.includes(name)) continue;
      this.#putUser({ ...user, roles: user.roles.filter((role) => role !== name) });
    }
    return true;
  }

  #grantPermission(name: string, permission: Permission): boolean {
    if (!isPermissionRange(permission.key, permission.rangeEnd)) {
      const detail =
        'the permission is for no key: expected a key, and a range end above it or of one zero byte';
      throw new KvError('INVALID_AUTH_MANAGEMENT', { detail });
    }
    const role = this.#roleOr404(name);
    const others = role.permissions.filter((each) => compareRanges(each, permission) !== 0);
    this.#putRole({ name, permissions: [...others, kept(permission)].sort(compareRanges) });
    return true;
  }

  #revokePermission(name: string, key: Uint8Array, rangeEnd: Uint8Array): boolean {
    const role = this.#roleOr404(name);
    const left = role.permissions.filter((each) => compareRanges(each, { key, rangeEnd }) !== 0);
    if (left.length === role.permissions.length) throw new KvError('PERMISSION_NOT_GRANTED');
    this.#putRole({ name, permissions: left });
    return true;
  }

  #userOr404(name: string): AuthUser {
    const user = this.#users.get(name);
    if (user === undefined) throw new KvError('USER_NOT_FOUND');
    return user;
  }

  #roleOr404(name: string): AuthRole {
    const role = this.#roles.get(name);
    if (role === undefined) throw new KvError('ROLE_NOT_FOUND');
    return role;
  }

  #putUser(user: AuthUser): void {
    this.#users.set(user.name, user);
    this.#engine.put('auth', userKey(user.name), encodeAuthUser(user));
  }

  #putRole(role: AuthRole): void {
    this.#roles.set(role.name, role);
    this.#engine.put('auth', roleKey(role.name), encodeAuthRole(role));
  }

  #moveRevision(): void {
    this.#revision++;
    this.#rights.clear();
    const meta = { enabled: this.#enabled, revision: this.#revision };
    this.#engine.put('auth', AUTH_META_KEY, encodeAuthMeta(meta));
  }
}

function rootProtected(detail: string): KvError {
  return new KvError('INVALID_AUTH_MANAGEMENT', { detail: `${detail} while authentication is on` });
}

/** Own bytes, and no range end where it says nothing: what came in is a view of a larger message. */
function kept({ type, key, rangeEnd }: Permission): Permission {
  if (rangeEnd === undefined || rangeEnd.length === 0) return { type, key: key.slice() };
  return { type, key: key.slice(), rangeEnd: rangeEnd.slice() };
}

type Range = { readonly key: Uint8Array; readonly rangeEnd?: Uint8Array };

function compareRanges(a: Range, b: Range): number {
  return compareBytes(a.key, b.key) || compareBytes(a.rangeEnd ?? EMPTY_BYTES, b.rangeEnd ?? EMPTY_BYTES);
}

function byName(a: { readonly name: string }, b: { readonly name: string }): number {
  return byText(a.name, b.name);
}

/** The same everywhere, unlike an order that follows the language of the machine. */
function byText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
