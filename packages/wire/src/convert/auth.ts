import type { AuthApi, Permission, UserAddRequest, WithHeader } from '@muster/kv';
import type { Permission as PermissionMessage } from '../gen/auth_pb.js';
import {
  AuthDisableRequestSchema,
  AuthEnableRequestSchema,
  AuthenticateRequestSchema,
  AuthenticateResponseSchema,
  AuthRoleAddRequestSchema,
  AuthRoleDeleteRequestSchema,
  AuthRoleGetRequestSchema,
  AuthRoleGetResponseSchema,
  AuthRoleGrantPermissionRequestSchema,
  AuthRoleListRequestSchema,
  AuthRoleListResponseSchema,
  AuthRoleRevokePermissionRequestSchema,
  AuthStatusRequestSchema,
  AuthStatusResponseSchema,
  AuthUserAddRequestSchema,
  AuthUserChangePasswordRequestSchema,
  AuthUserDeleteRequestSchema,
  AuthUserGetRequestSchema,
  AuthUserGetResponseSchema,
  AuthUserGrantRoleRequestSchema,
  AuthUserListRequestSchema,
  AuthUserListResponseSchema,
  AuthUserRevokeRoleRequestSchema,
} from '../gen/rpc_pb.js';
import { codecOf, emptyCodec } from './codec.ts';
import { headerMessage, headerOf, numberOf } from './header.ts';
import { nameOf, PERMISSION_TYPES } from './names.ts';

type Request<M extends keyof AuthApi> = Parameters<AuthApi[M]>[0];

export const authEnableRequest = emptyCodec(AuthEnableRequestSchema);
export const authDisableRequest = emptyCodec(AuthDisableRequestSchema);
export const authStatusRequest = emptyCodec(AuthStatusRequestSchema);
export const userListRequest = emptyCodec(AuthUserListRequestSchema);
export const roleListRequest = emptyCodec(AuthRoleListRequestSchema);

export const authStatusResponse = codecOf(
  AuthStatusResponseSchema,
  (result: WithHeader<{ readonly enabled: boolean; readonly authRevision: number }>) => ({
    header: headerMessage(result.header),
    enabled: result.enabled,
    authRevision: BigInt(result.authRevision),
  }),
  ({ header, enabled, authRevision }) => ({
    header: headerOf(header),
    enabled,
    authRevision: numberOf(authRevision),
  }),
);

export const authenticateRequest = codecOf(
  AuthenticateRequestSchema,
  ({ name, password }: Request<'authenticate'>) => ({ name, password }),
  ({ name, password }) => ({ name, password }),
);

export const authenticateResponse = codecOf(
  AuthenticateResponseSchema,
  ({ header, token }: WithHeader<{ readonly token: string }>) => ({ header: headerMessage(header), token }),
  ({ header, token }) => ({ header: headerOf(header), token }),
);

export const userAddRequest = codecOf(
  AuthUserAddRequestSchema,
  ({ name, password, hashedPassword, noPassword }: UserAddRequest) => ({
    name,
    password,
    hashedPassword: hashedPassword ?? '',
    ...(noPassword === undefined ? {} : { options: { noPassword } }),
  }),
  ({ name, password, hashedPassword, options }): UserAddRequest => ({
    name,
    password,
    ...(hashedPassword === '' ? {} : { hashedPassword }),
    ...(options === undefined ? {} : { noPassword: options.noPassword }),
  }),
);

const nameFields = {
  write: ({ name }: { readonly name: string }) => ({ name }),
  read: ({ name }: { readonly name: string }) => ({ name }),
};
const roleFields = {
  write: ({ role }: { readonly role: string }) => ({ role }),
  read: ({ role }: { readonly role: string }) => ({ role }),
};

export const userGetRequest = codecOf(AuthUserGetRequestSchema, nameFields.write, nameFields.read);
export const userDeleteRequest = codecOf(AuthUserDeleteRequestSchema, nameFields.write, nameFields.read);
export const roleAddRequest = codecOf(AuthRoleAddRequestSchema, nameFields.write, nameFields.read);
export const roleGetRequest = codecOf(AuthRoleGetRequestSchema, roleFields.write, roleFields.read);
export const roleDeleteRequest = codecOf(AuthRoleDeleteRequestSchema, roleFields.write, roleFields.read);

export const userGetResponse = codecOf(
  AuthUserGetResponseSchema,
  ({ header, roles }: WithHeader<{ readonly roles: readonly string[] }>) => ({
    header: headerMessage(header),
    roles: [...roles],
  }),
  ({ header, roles }) => ({ header: headerOf(header), roles }),
);

export const userListResponse = codecOf(
  AuthUserListResponseSchema,
  ({ header, users }: WithHeader<{ readonly users: readonly string[] }>) => ({
    header: headerMessage(header),
    users: [...users],
  }),
  ({ header, users }) => ({ header: headerOf(header), users }),
);

export const userChangePasswordRequest = codecOf(
  AuthUserChangePasswordRequestSchema,
  ({ name, password, hashedPassword }: Request<'userChangePassword'>) => ({
    name,
    password,
    hashedPassword: hashedPassword ?? '',
  }),
  ({ name, password, hashedPassword }): Request<'userChangePassword'> => ({
    name,
    password,
    ...(hashedPassword === '' ? {} : { hashedPassword }),
  }),
);

export const userGrantRoleRequest = codecOf(
  AuthUserGrantRoleRequestSchema,
  ({ user, role }: Request<'userGrantRole'>) => ({ user, role }),
  ({ user, role }) => ({ user, role }),
);

export const userRevokeRoleRequest = codecOf(
  AuthUserRevokeRoleRequestSchema,
  ({ name, role }: Request<'userRevokeRole'>) => ({ name, role }),
  ({ name, role }) => ({ name, role }),
);

export const roleListResponse = codecOf(
  AuthRoleListResponseSchema,
  ({ header, roles }: WithHeader<{ readonly roles: readonly string[] }>) => ({
    header: headerMessage(header),
    roles: [...roles],
  }),
  ({ header, roles }) => ({ header: headerOf(header), roles }),
);

function permissionMessage({ type, key, rangeEnd }: Permission) {
  return {
    permType: PERMISSION_TYPES.indexOf(type),
    key,
    ...(rangeEnd === undefined ? {} : { rangeEnd }),
  };
}

function permissionOf({ permType, key, rangeEnd }: PermissionMessage): Permission {
  const type = nameOf(PERMISSION_TYPES, permType, 'permission type');
  return rangeEnd.length === 0 ? { type, key } : { type, key, rangeEnd };
}

export const roleGetResponse = codecOf(
  AuthRoleGetResponseSchema,
  ({ header, permissions }: WithHeader<{ readonly permissions: readonly Permission[] }>) => ({
    header: headerMessage(header),
    perm: permissions.map(permissionMessage),
  }),
  ({ header, perm }) => ({ header: headerOf(header), permissions: perm.map(permissionOf) }),
);

export const roleGrantPermissionRequest = codecOf(
  AuthRoleGrantPermissionRequestSchema,
  ({ name, permission }: Request<'roleGrantPermission'>) => ({
    name,
    ...(permission === undefined ? {} : { perm: permissionMessage(permission) }),
  }),
  ({ name, perm }): Request<'roleGrantPermission'> => ({
    name,
    permission: perm === undefined ? undefined : permissionOf(perm),
  }),
);

export const roleRevokePermissionRequest = codecOf(
  AuthRoleRevokePermissionRequestSchema,
  ({ role, key, rangeEnd }: Request<'roleRevokePermission'>) => ({
    role,
    key,
    ...(rangeEnd === undefined ? {} : { rangeEnd }),
  }),
  ({ role, key, rangeEnd }): Request<'roleRevokePermission'> =>
    rangeEnd.length === 0 ? { role, key } : { role, key, rangeEnd },
);
