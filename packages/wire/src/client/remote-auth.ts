import type { DescMessage, DescMethod, MessageInitShape, MessageShape } from '@bufbuild/protobuf';
import type { AuthApi, CallOptions, Permission, UserAddRequest, WithHeader } from '@muster/kv';
import { Auth, type ResponseHeader as HeaderMessage } from '../gen/rpc_pb.js';
import type { Caller, Repeat } from './caller.ts';
import { decodeHeader, decodePermission } from './decode.ts';
import { encodePermission } from './encode.ts';

/** One call in terms of messages. */
type Unary<I extends DescMessage, O extends DescMessage> = DescMethod & { input: I; output: O };

/** Answers that carry a header. */
export type Headed = { readonly header?: HeaderMessage | undefined };

/** Users and roles of a remote cluster, and how all its calls are made. */
export class RemoteAuth implements AuthApi {
  protected readonly caller: Caller;

  constructor(caller: Caller) {
    this.caller = caller;
  }

  /** One call, its answer's header decoded and the rest as `decode` says. */
  protected async call<I extends DescMessage, O extends DescMessage, T>(
    method: Unary<I, O>,
    request: MessageInitShape<I>,
    repeat: Repeat,
    options: CallOptions | undefined,
    decode: (answer: MessageShape<O>) => T,
  ): Promise<WithHeader<T>> {
    const answer = await this.caller.unary(method, request, repeat, options);
    return { header: decodeHeader((answer as Headed).header), ...decode(answer) };
  }

  authEnable(options?: CallOptions): Promise<WithHeader<unknown>> {
    return this.call(Auth.method.authEnable, {}, 'once', options, nothing);
  }

  authDisable(options?: CallOptions): Promise<WithHeader<unknown>> {
    return this.call(Auth.method.authDisable, {}, 'once', options, nothing);
  }

  authStatus(
    options?: CallOptions,
  ): Promise<WithHeader<{ readonly enabled: boolean; readonly authRevision: number }>> {
    return this.call(Auth.method.authStatus, {}, 'repeatable', options, ({ enabled, authRevision }) => ({
      enabled,
      authRevision: Number(authRevision),
    }));
  }

  authenticate(
    request: { readonly name: string; readonly password: string },
    options?: CallOptions,
  ): Promise<WithHeader<{ readonly token: string }>> {
    return this.call(Auth.method.authenticate, request, 'repeatable', options, ({ token }) => ({ token }));
  }

  userAdd(request: UserAddRequest, options?: CallOptions): Promise<WithHeader<unknown>> {
    const { name, password, hashedPassword = '', noPassword = false } = request;
    const message = { name, password, hashedPassword, options: { noPassword } };
    return this.call(Auth.method.userAdd, message, 'once', options, nothing);
  }

  userGet(
    request: { readonly name: string },
    options?: CallOptions,
  ): Promise<WithHeader<{ readonly roles: readonly string[] }>> {
    return this.call(Auth.method.userGet, request, 'repeatable', options, ({ roles }) => ({ roles }));
  }

  userList(options?: CallOptions): Promise<WithHeader<{ readonly users: readonly string[] }>> {
    return this.call(Auth.method.userList, {}, 'repeatable', options, ({ users }) => ({ users }));
  }

  userDelete(request: { readonly name: string }, options?: CallOptions): Promise<WithHeader<unknown>> {
    return this.call(Auth.method.userDelete, request, 'once', options, nothing);
  }

  userChangePassword(
    request: { readonly name: string; readonly password: string; readonly hashedPassword?: string },
    options?: CallOptions,
  ): Promise<WithHeader<unknown>> {
    return this.call(Auth.method.userChangePassword, request, 'once', options, nothing);
  }

  userGrantRole(
    request: { readonly user: string; readonly role: string },
    options?: CallOptions,
  ): Promise<WithHeader<unknown>> {
    return this.call(Auth.method.userGrantRole, request, 'once', options, nothing);
  }

  userRevokeRole(
    request: { readonly name: string; readonly role: string },
    options?: CallOptions,
  ): Promise<WithHeader<unknown>> {
    return this.call(Auth.method.userRevokeRole, request, 'once', options, nothing);
  }

  roleAdd(request: { readonly name: string }, options?: CallOptions): Promise<WithHeader<unknown>> {
    return this.call(Auth.method.roleAdd, request, 'once', options, nothing);
  }

  roleGet(
    request: { readonly role: string },
    options?: CallOptions,
  ): Promise<WithHeader<{ readonly permissions: readonly Permission[] }>> {
    return this.call(Auth.method.roleGet, request, 'repeatable', options, ({ perm }) => ({
      permissions: perm.map(decodePermission),
    }));
  }

  roleList(options?: CallOptions): Promise<WithHeader<{ readonly roles: readonly string[] }>> {
    return this.call(Auth.method.roleList, {}, 'repeatable', options, ({ roles }) => ({ roles }));
  }

  roleDelete(request: { readonly role: string }, options?: CallOptions): Promise<WithHeader<unknown>> {
    return this.call(Auth.method.roleDelete, request, 'once', options, nothing);
  }

  roleGrantPermission(
    request: { readonly name: string; readonly permission: Permission | undefined },
    options?: CallOptions,
  ): Promise<WithHeader<unknown>> {
    const { name, permission } = request;
    const message = permission === undefined ? { name } : { name, perm: encodePermission(permission) };
    return this.call(Auth.method.roleGrantPermission, message, 'once', options, nothing);
  }

  roleRevokePermission(
    request: { readonly role: string; readonly key: Uint8Array; readonly rangeEnd?: Uint8Array },
    options?: CallOptions,
  ): Promise<WithHeader<unknown>> {
    return this.call(Auth.method.roleRevokePermission, request, 'once', options, nothing);
  }
}

/** For answers that are their header alone. */
export const nothing = (): Record<never, never> => ({});
