/** The requests and answers of etcd's auth service. */
import { EMPTY_BYTES } from '@muster/base';
import { KvError } from '@muster/contract';
import type { AuthApi, Permission, PermissionType, UserAddRequest, WithHeader } from '@muster/kv';
import {
  type Decoded,
  decodeMessage,
  enumField,
  enumSpec,
  field,
  type MessageSpec,
  messageField,
} from './decode.ts';
import { bytes, flag, list, number, object, openWithHeader, text } from './json-members.ts';
import type { JsonValue } from './json-value.ts';
import { goString } from './status-error.ts';

type Value = JsonValue | undefined;

const TYPES = enumSpec('authpb.Permission_Type', ['READ', 'WRITE', 'READWRITE']);
const PERMISSION_TYPES: readonly PermissionType[] = ['read', 'write', 'readwrite'];

const strings = (...names: readonly string[]): MessageSpec => ({
  fields: names.map((name) => field(name, 'string')),
});

const USER_ADD_OPTIONS: MessageSpec = { fields: [field('no_password', 'bool')] };
const USER_ADD: MessageSpec = {
  fields: [
    field('name', 'string'),
    field('password', 'string'),
    messageField('options', () => USER_ADD_OPTIONS),
    field('hashedPassword', 'string'),
  ],
};
const CHANGE_PASSWORD = strings('name', 'password', 'hashedPassword');
const NAME_AND_PASSWORD = strings('name', 'password');
const NAME = strings('name');
const ROLE = strings('role');
const USER_AND_ROLE = strings('user', 'role');
const NAME_AND_ROLE = strings('name', 'role');
const PERMISSION: MessageSpec = {
  fields: [enumField('permType', TYPES), field('key', 'bytes'), field('range_end', 'bytes')],
};
const GRANT_PERMISSION: MessageSpec = {
  fields: [field('name', 'string'), messageField('perm', () => PERMISSION)],
};
const REVOKE_PERMISSION: MessageSpec = {
  fields: [field('role', 'string'), field('key', 'bytes'), field('range_end', 'bytes')],
};

export function credentialsRequest(value: Value): Parameters<AuthApi['authenticate']>[0] {
  return { name: '', password: '', ...decodeMessage(NAME_AND_PASSWORD, value) };
}

export function userAddRequest(value: Value): UserAddRequest {
  const { options, ...rest } = decodeMessage(USER_ADD, value);
  const { noPassword } = (options as Decoded | undefined) ?? {};
  return { name: '', password: '', ...rest, ...(noPassword === true ? { noPassword } : {}) };
}

export function changePasswordRequest(value: Value): Parameters<AuthApi['userChangePassword']>[0] {
  return { name: '', password: '', ...decodeMessage(CHANGE_PASSWORD, value) };
}

/** A user to get or delete, a role to add. */
export function nameRequest(value: Value): { readonly name: string } {
  return { name: '', ...decodeMessage(NAME, value) };
}

/** A role to get or delete. */
export function roleRequest(value: Value): { readonly role: string } {
  return { role: '', ...decodeMessage(ROLE, value) };
}

export function grantRoleRequest(value: Value): Parameters<AuthApi['userGrantRole']>[0] {
  return { user: '', role: '', ...decodeMessage(USER_AND_ROLE, value) };
}

export function revokeRoleRequest(value: Value): Parameters<AuthApi['userRevokeRole']>[0] {
  return { name: '', role: '', ...decodeMessage(NAME_AND_ROLE, value) };
}

export function grantPermissionRequest(value: Value): Parameters<AuthApi['roleGrantPermission']>[0] {
  const { name, perm } = decodeMessage(GRANT_PERMISSION, value);
  return {
    name: (name as string | undefined) ?? '',
    permission: perm === undefined ? undefined : permission(perm as Decoded),
  };
}

export function revokePermissionRequest(value: Value): Parameters<AuthApi['roleRevokePermission']>[0] {
  return { role: '', key: EMPTY_BYTES, ...decodeMessage(REVOKE_PERMISSION, value) };
}

function permission({ permType, ...range }: Decoded): Permission {
  const type = PERMISSION_TYPES[(permType as number | undefined) ?? 0];
  if (type === undefined) {
    throw new KvError('BAD_REQUEST', { detail: `etcdserver: unknown permission type ${String(permType)}` });
  }
  return { key: EMPTY_BYTES, ...range, type };
}

/** READ is the enum's zero, which is left out. */
const TYPE_NAMES: Readonly<Record<PermissionType, string>> = {
  read: '',
  write: 'WRITE',
  readwrite: 'READWRITE',
};

function permissionJson({ type, key, rangeEnd }: Permission): string {
  return object(text('permType', TYPE_NAMES[type]) + bytes('key', key) + bytes('range_end', rangeEnd));
}

export function authStatusJson(
  result: WithHeader<{ readonly enabled: boolean; readonly authRevision: number }>,
): string {
  const members = flag('enabled', result.enabled) + number('authRevision', result.authRevision);
  return `${openWithHeader(result.header)}${members}}`;
}

export function tokenJson(result: WithHeader<{ readonly token: string }>): string {
  return `${openWithHeader(result.header)}${text('token', result.token)}}`;
}

export function rolesJson(result: WithHeader<{ readonly roles: readonly string[] }>): string {
  return `${openWithHeader(result.header)}${list('roles', result.roles.map(goString))}}`;
}

export function usersJson(result: WithHeader<{ readonly users: readonly string[] }>): string {
  return `${openWithHeader(result.header)}${list('users', result.users.map(goString))}}`;
}

export function permissionsJson(result: WithHeader<{ readonly permissions: readonly Permission[] }>): string {
  return `${openWithHeader(result.header)}${list('perm', result.permissions.map(permissionJson))}}`;
}
