import type { CallOptions, WithHeader } from './api.ts';

export type PermissionType = 'read' | 'write' | 'readwrite';

/** Of the keys in [key, rangeEnd); `rangeEnd` as in a range request. */
export type Permission = {
  readonly type: PermissionType;
  readonly key: Uint8Array;
  readonly rangeEnd?: Uint8Array;
};

/**
 * Users, roles and credentials (reference 2.14). Passwords are hashed by whoever receives them; what is replicated,
 * and `hashedPassword`, is bcrypt's text.
 */
export interface AuthApi {
  authEnable(options?: CallOptions): Promise<WithHeader<unknown>>;
  authDisable(options?: CallOptions): Promise<WithHeader<unknown>>;
  authStatus(
    options?: CallOptions,
  ): Promise<WithHeader<{ readonly enabled: boolean; readonly authRevision: number }>>;
  authenticate(
    request: { readonly name: string; readonly password: string },
    options?: CallOptions,
  ): Promise<WithHeader<{ readonly token: string }>>;
  userAdd(request: UserAddRequest, options?: CallOptions): Promise<WithHeader<unknown>>;
  userGet(
    request: { readonly name: string },
    options?: CallOptions,
  ): Promise<WithHeader<{ readonly roles: readonly string[] }>>;
  userList(options?: CallOptions): Promise<WithHeader<{ readonly users: readonly string[] }>>;
  userDelete(request: { readonly name: string }, options?: CallOptions): Promise<WithHeader<unknown>>;
  userChangePassword(
    request: { readonly name: string; readonly password: string; readonly hashedPassword?: string },
    options?: CallOptions,
  ): Promise<WithHeader<unknown>>;
  userGrantRole(
    request: { readonly user: string; readonly role: string },
    options?: CallOptions,
  ): Promise<WithHeader<unknown>>;
  userRevokeRole(
    request: { readonly name: string; readonly role: string },
    options?: CallOptions,
  ): Promise<WithHeader<unknown>>;
  roleAdd(request: { readonly name: string }, options?: CallOptions): Promise<WithHeader<unknown>>;
  roleGet(
    request: { readonly role: string },
    options?: CallOptions,
  ): Promise<WithHeader<{ readonly permissions: readonly Permission[] }>>;
  roleList(options?: CallOptions): Promise<WithHeader<{ readonly roles: readonly string[] }>>;
  roleDelete(request: { readonly role: string }, options?: CallOptions): Promise<WithHeader<unknown>>;
  /** `permission` absent is refused: `permission not given`. */
  roleGrantPermission(
    request: { readonly name: string; readonly permission: Permission | undefined },
    options?: CallOptions,
  ): Promise<WithHeader<unknown>>;
  roleRevokePermission(
    request: { readonly role: string; readonly key: Uint8Array; readonly rangeEnd?: Uint8Array },
    options?: CallOptions,
  ): Promise<WithHeader<unknown>>;
}

export type UserAddRequest = {
  readonly name: string;
  readonly password: string;
  readonly hashedPassword?: string;
  /** Can only come in by certificate. */
  readonly noPassword?: boolean;
};
