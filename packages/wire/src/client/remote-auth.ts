import type { AuthApi, CallOptions, Permission, UserAddRequest, WithHeader } from '@muster/kv';
import { ETCD_METHODS as M } from '../convert/methods.ts';
import type { Caller } from './caller.ts';

/** Users and roles of a remote cluster. */
export class RemoteAuth implements AuthApi {
  protected readonly caller: Caller;

  constructor(caller: Caller) {
    this.caller = caller;
  }

  authEnable(options?: CallOptions): Promise<WithHeader<unknown>> {
    return this.caller.unary(M.authEnable, {}, 'once', options);
  }

  authDisable(options?: CallOptions): Promise<WithHeader<unknown>> {
    return this.caller.unary(M.authDisable, {}, 'once', options);
  }

  authStatus(
    options?: CallOptions,
  ): Promise<WithHeader<{ readonly enabled: boolean; readonly authRevision: number }>> {
    return this.caller.unary(M.authStatus, {}, 'repeatable', options);
  }

  authenticate(
    request: { readonly name: string; readonly password: string },
    options?: CallOptions,
  ): Promise<WithHeader<{ readonly token: string }>> {
    return this.caller.unary(M.authenticate, request, 'repeatable', options);
  }

  userAdd(request: UserAddRequest, options?: CallOptions): Promise<WithHeader<unknown>> {
    return this.caller.unary(M.userAdd, request, 'once', options);
  }

  userGet(
    request: { readonly name: string },
    options?: CallOptions,
  ): Promise<WithHeader<{ readonly roles: readonly string[] }>> {
    return this.caller.unary(M.userGet, request, 'repeatable', options);
  }

  userList(options?: CallOptions): Promise<WithHeader<{ readonly users: readonly string[] }>> {
    return this.caller.unary(M.userList, {}, 'repeatable', options);
  }

  userDelete(request: { readonly name: string }, options?: CallOptions): Promise<WithHeader<unknown>> {
    return this.caller.unary(M.userDelete, request, 'once', options);
  }

  userChangePassword(
    request: { readonly name: string; readonly password: string; readonly hashedPassword?: string },
    options?: CallOptions,
  ): Promise<WithHeader<unknown>> {
    return this.caller.unary(M.userChangePassword, request, 'once', options);
  }

  userGrantRole(
    request: { readonly user: string; readonly role: string },
    options?: CallOptions,
  ): Promise<WithHeader<unknown>> {
    return this.caller.unary(M.userGrantRole, request, 'once', options);
  }

  userRevokeRole(
    request: { readonly name: string; readonly role: string },
    options?: CallOptions,
  ): Promise<WithHeader<unknown>> {
    return this.caller.unary(M.userRevokeRole, request, 'once', options);
  }

  roleAdd(request: { readonly name: string }, options?: CallOptions): Promise<WithHeader<unknown>> {
    return this.caller.unary(M.roleAdd, request, 'once', options);
  }

  roleGet(
    request: { readonly role: string },
    options?: CallOptions,
  ): Promise<WithHeader<{ readonly permissions: readonly Permission[] }>> {
    return this.caller.unary(M.roleGet, request, 'repeatable', options);
  }

  roleList(options?: CallOptions): Promise<WithHeader<{ readonly roles: readonly string[] }>> {
    return this.caller.unary(M.roleList, {}, 'repeatable', options);
  }

  roleDelete(request: { readonly role: string }, options?: CallOptions): Promise<WithHeader<unknown>> {
    return this.caller.unary(M.roleDelete, request, 'once', options);
  }

  roleGrantPermission(
    request: { readonly name: string; readonly permission: Permission | undefined },
    options?: CallOptions,
  ): Promise<WithHeader<unknown>> {
    return this.caller.unary(M.roleGrantPermission, request, 'once', options);
  }

  roleRevokePermission(
    request: { readonly role: string; readonly key: Uint8Array; readonly rangeEnd?: Uint8Array },
    options?: CallOptions,
  ): Promise<WithHeader<unknown>> {
    return this.caller.unary(M.roleRevokePermission, request, 'once', options);
  }
}
