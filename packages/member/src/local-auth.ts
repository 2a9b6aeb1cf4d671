import { utf8 } from '@muster/base';
import { KvError } from '@muster/contract';
import {
  type AuthApi,
  type AuthStore,
  type CallOptions,
  checkRoot,
  checkUser,
  type Origin,
  type Permission,
  ROOT,
  type UserAddRequest,
  type WithHeader,
} from '@muster/kv';
import type { AuthPorts } from './auth-ports.ts';
import type { LocalCalls } from './local-calls.ts';
import { PasswordGuard } from './password-guard.ts';

const TOKEN_LETTERS = 16;
/** Times that a login starts over because users or roles changed while its password was checked. */
const LOGIN_RETRIES = 8;
/** bcrypt looks at no more; the rest would be left out without a word. */
const PASSWORD_BYTES_MAX = 72;
/** Names are keys in backups, and bbolt takes no longer ones. */
const NAME_BYTES_MAX = 32_768;
const BCRYPT_TEXT = /^\$2[abxy]\$\d\d\$[./A-Za-z0-9]{53}$/;
const NO_RANGE_END = new Uint8Array(0);

/** What newer etcd shows of the role root, whatever was granted to it: everything. */
const ROOT_PERMISSIONS: readonly Permission[] = [
  { type: 'readwrite', key: new Uint8Array(0), rangeEnd: new Uint8Array(1) },
];

type Name = { readonly name: string };
type Credentials = { readonly name: string; readonly password: string };

/** The calls of `LocalApi` about users, roles and credentials. Passwords are hashed and compared on this member. */
export class LocalAuth implements AuthApi {
  readonly #calls: LocalCalls;
  readonly #ports: AuthPorts;
  readonly #guard: PasswordGuard;

  constructor(calls: LocalCalls, ports: AuthPorts) {
    this.#calls = calls;
    this.#ports = ports;
    this.#guard = new PasswordGuard(calls.member.clock, ports.passwords);
  }

  async authEnable(options: CallOptions = {}): Promise<WithHeader<unknown>> {
    await this.#calls.write({ type: 'authEnable' }, options, 'authEnable');
    return this.#calls.withHeader({});
  }

  async authDisable(options: CallOptions = {}): Promise<WithHeader<unknown>> {
    await this.#calls.write({ type: 'authDisable' }, options, 'authDisable');
    return this.#calls.withHeader({});
  }

  async authStatus(
    options: CallOptions = {},
  ): Promise<WithHeader<{ readonly enabled: boolean; readonly authRevision: number }>> {
    return this.#calls.permitRead(options, false, checkRoot, () => {
      const { enabled, revision } = this.#auth;
      return this.#calls.withHeader({ enabled, authRevision: revision });
    });
  }

  async authenticate(
    { name, password }: Credentials,
    options: CallOptions = {},
  ): Promise<WithHeader<{ readonly token: string }>> {
    await this.#calls.barrier(options);
    let right: string | undefined;
    for (let retries = 0; retries <= LOGIN_RETRIES; retries++) {
      const { enabled, revision } = this.#auth;
      if (!enabled) throw new KvError('AUTH_NOT_ENABLED');
      const user = this.#auth.user(name);
      if (user?.noPassword) throw new KvError('AUTH_NO_PASSWORD_USER');
      // What was found right once needs no second look while it is the same.
      if (right === undefined || right !== user?.hashedPassword) {
        await this.#checkPassword(name, password, user?.hashedPassword, options.source);
        right = user?.hashedPassword;
        if (this.#auth.revision !== revision) continue;
      }
      const token = await this.#issue(name, revision, options);
      if (token !== undefined) return this.#calls.withHeader({ token });
    }
    throw new KvError('AUTH_OLD_REVISION');
  }

  async userAdd(request: UserAddRequest, options: CallOptions = {}): Promise<WithHeader<unknown>> {
    await this.#calls.permit(options, checkRoot);
    const { name, noPassword = false } = request;
    if (name === '') throw new KvError('USER_EMPTY');
    checkLength(name);
    const hashedPassword = noPassword ? '' : await this.#hashOf(request);
    await this.#calls.write({ type: 'userAdd', name, hashedPassword, noPassword }, options, 'userAdd');
    return this.#calls.withHeader({});
  }

  async userGet(
    { name }: Name,
    options: CallOptions = {},
  ): Promise<WithHeader<{ readonly roles: readonly string[] }>> {
    const check = (auth: AuthStore, origin: Origin): void => {
      if (usernameOf(origin) === name) checkUser(auth, origin);
      else checkRoot(auth, origin);
    };
    return this.#calls.permitRead(options, false, check, () => {
      const user = this.#auth.user(name);
      if (!user) throw new KvError('USER_NOT_FOUND');
      return this.#calls.withHeader({ roles: user.roles });
    });
  }

  async userList(options: CallOptions = {}): Promise<WithHeader<{ readonly users: readonly string[] }>> {
    return this.#calls.permitRead(options, false, checkRoot, () =>
      this.#calls.withHeader({ users: this.#auth.users().map((user) => user.name) }),
    );
  }

  async userDelete({ name }: Name, options: CallOptions = {}): Promise<WithHeader<unknown>> {
    await this.#calls.write({ type: 'userDelete', name }, options, 'userDelete');
    return this.#calls.withHeader({});
  }

  async userChangePassword(
    request: { readonly name: string; readonly password: string; readonly hashedPassword?: string },
    options: CallOptions = {},
  ): Promise<WithHeader<unknown>> {
    await this.#calls.permit(options, checkRoot);
    const { name } = request;
    const hashedPassword = await this.#hashOf(request);
    await this.#calls.write(
      { type: 'userChangePassword', name, hashedPassword },
      options,
      'userChangePassword',
    );
    return this.#calls.withHeader({});
  }

  async userGrantRole(
    { user, role }: { readonly user: string; readonly role: string },
    options: CallOptions = {},
  ): Promise<WithHeader<unknown>> {
    await this.#calls.write({ type: 'userGrantRole', user, role }, options, 'userGrantRole');
    return this.#calls.withHeader({});
  }

  async userRevokeRole(
    { name, role }: { readonly name: string; readonly role: string },
    options: CallOptions = {},
  ): Promise<WithHeader<unknown>> {
    await this.#calls.write({ type: 'userRevokeRole', name, role }, options, 'userRevokeRole');
    return this.#calls.withHeader({});
  }

  async roleAdd({ name }: Name, options: CallOptions = {}): Promise<WithHeader<unknown>> {
    checkLength(name);
    await this.#calls.write({ type: 'roleAdd', name }, options, 'roleAdd');
    return this.#calls.withHeader({});
  }

  async roleGet(
    { role: name }: { readonly role: string },
    options: CallOptions = {},
  ): Promise<WithHeader<{ readonly permissions: readonly Permission[] }>> {
    const check = (auth: AuthStore, origin: Origin): void => {
      const own = auth.user(usernameOf(origin) ?? '')?.roles.includes(name) === true;
      if (own) checkUser(auth, origin);
      else checkRoot(auth, origin);
    };
    return this.#calls.permitRead(options, false, check, () => {
      const role = this.#auth.role(name);
      if (!role) throw new KvError('ROLE_NOT_FOUND');
      return this.#calls.withHeader({ permissions: name === ROOT ? ROOT_PERMISSIONS : role.permissions });
    });
  }

  async roleList(options: CallOptions = {}): Promise<WithHeader<{ readonly roles: readonly string[] }>> {
    return this.#calls.permitRead(options, false, checkRoot, () =>
      this.#calls.withHeader({ roles: this.#auth.roles().map((role) => role.name) }),
    );
  }

  async roleDelete(
    { role }: { readonly role: string },
    options: CallOptions = {},
  ): Promise<WithHeader<unknown>> {
    await this.#calls.write({ type: 'roleDelete', role }, options, 'roleDelete');
    return this.#calls.withHeader({});
  }

  async roleGrantPermission(
    { name, permission }: { readonly name: string; readonly permission: Permission | undefined },
    options: CallOptions = {},
  ): Promise<WithHeader<unknown>> {
    if (permission === undefined) throw new KvError('PERMISSION_NOT_GIVEN');
    await this.#calls.write(
      { type: 'roleGrantPermission', name, permission },
      options,
      'roleGrantPermission',
    );
    return this.#calls.withHeader({});
  }

  async roleRevokePermission(
    {
      role,
      key,
      rangeEnd = NO_RANGE_END,
    }: { readonly role: string; readonly key: Uint8Array; readonly rangeEnd?: Uint8Array },
    options: CallOptions = {},
  ): Promise<WithHeader<unknown>> {
    await this.#calls.write(
      { type: 'roleRevokePermission', role, key, rangeEnd },
      options,
      'roleRevokePermission',
    );
    return this.#calls.withHeader({});
  }

  get #auth(): AuthStore {
    return this.#calls.member.machine.auth;
  }

  async #checkPassword(
    name: string,
    password: string,
    hashed: string | undefined,
    source: string | undefined,
  ): Promise<void> {
    if (await this.#guard.check(name, password, hashed, source)) return;
    // The name of somebody who is not there may be a password typed into the wrong field.
    this.#ports.log?.('warn', 'a login was refused', {
      ...(hashed === undefined ? {} : { user: name }),
      ...(source === undefined ? {} : { source }),
    });
    throw new KvError('AUTH_FAILED');
  }

  /** `undefined` when users or roles have changed since `revision`. */
  async #issue(name: string, revision: number, options: CallOptions): Promise<string | undefined> {
    const { signedTokens, randomText } = this.#ports;
    if (signedTokens) return signedTokens.sign({ username: name, revision });
    const token = randomText(TOKEN_LETTERS);
    const own = { ...options, internal: true };
    try {
      const command = { type: 'authenticate', name, token, authRevision: revision } as const;
      return (await this.#calls.replicate(command, own, 'authenticate')).token;
    } catch (error) {
      if (error instanceof KvError && error.code === 'AUTH_OLD_REVISION') return undefined;
      throw error;
    }
  }

  /** A hash that was made elsewhere counts only where no password is given. */
  async #hashOf(request: { readonly password: string; readonly hashedPassword?: string }): Promise<string> {
    const { password, hashedPassword = '' } = request;
    if (password === '' && hashedPassword !== '') {
      if (BCRYPT_TEXT.test(hashedPassword)) return hashedPassword;
      throw new KvError('INVALID_AUTH_MANAGEMENT', { detail: "expected a hash as bcrypt's text" });
    }
    if (utf8(password).length > PASSWORD_BYTES_MAX) {
      const detail = `the password is longer than ${PASSWORD_BYTES_MAX} bytes, which is all that bcrypt looks at`;
      throw new KvError('INVALID_AUTH_MANAGEMENT', { detail });
    }
    return this.#guard.hash(password);
  }
}

function checkLength(name: string): void {
  if (utf8(name).length <= NAME_BYTES_MAX) return;
  throw new KvError('INVALID_AUTH_MANAGEMENT', { detail: `the name is longer than ${NAME_BYTES_MAX} bytes` });
}

function usernameOf(origin: Origin): string | undefined {
  return typeof origin === 'object' ? origin.username : undefined;
}
