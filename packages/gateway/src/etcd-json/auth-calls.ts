import type { AuthApi } from '@muster/kv';
import {
  authStatusJson,
  changePasswordRequest,
  credentialsRequest,
  grantPermissionRequest,
  grantRoleRequest,
  nameRequest,
  permissionsJson,
  revokePermissionRequest,
  revokeRoleRequest,
  roleRequest,
  rolesJson,
  tokenJson,
  userAddRequest,
  usersJson,
} from './auth-messages.ts';
import { emptyRequest } from './requests.ts';
import { headerOnlyJson } from './responses.ts';
import { type UnaryRoute, unary } from './unary.ts';

/** etcd's auth service by path. */
export function authCalls(api: AuthApi): Record<string, UnaryRoute> {
  return { ...switchCalls(api), ...userCalls(api), ...roleCalls(api) };
}

function switchCalls(api: AuthApi): Record<string, UnaryRoute> {
  return {
    'auth/enable': unary((value, options) => {
      emptyRequest(value);
      return api.authEnable(options).then(headerOnlyJson);
    }),
    'auth/disable': unary((value, options) => {
      emptyRequest(value);
      return api.authDisable(options).then(headerOnlyJson);
    }),
    'auth/status': unary((value, options) => {
      emptyRequest(value);
      return api.authStatus(options).then(authStatusJson);
    }),
    'auth/authenticate': {
      ...unary((value, options) => api.authenticate(credentialsRequest(value), options).then(tokenJson)),
      wantsSource: true,
    },
  };
}

function userCalls(api: AuthApi): Record<string, UnaryRoute> {
  return {
    'auth/user/add': unary((value, options) =>
      api.userAdd(userAddRequest(value), options).then(headerOnlyJson),
    ),
    'auth/user/get': unary((value, options) => api.userGet(nameRequest(value), options).then(rolesJson)),
    'auth/user/list': unary((value, options) => {
      emptyRequest(value);
      return api.userList(options).then(usersJson);
    }),
    'auth/user/delete': unary((value, options) =>
      api.userDelete(nameRequest(value), options).then(headerOnlyJson),
    ),
    'auth/user/changepw': unary((value, options) =>
      api.userChangePassword(changePasswordRequest(value), options).then(headerOnlyJson),
    ),
    'auth/user/grant': unary((value, options) =>
      api.userGrantRole(grantRoleRequest(value), options).then(headerOnlyJson),
    ),
    'auth/user/revoke': unary((value, options) =>
      api.userRevokeRole(revokeRoleRequest(value), options).then(headerOnlyJson),
    ),
  };
}

function roleCalls(api: AuthApi): Record<string, UnaryRoute> {
  return {
    'auth/role/add': unary((value, options) => api.roleAdd(nameRequest(value), options).then(headerOnlyJson)),
    'auth/role/get': unary((value, options) =>
      api.roleGet(roleRequest(value), options).then(permissionsJson),
    ),
    'auth/role/list': unary((value, options) => {
      emptyRequest(value);
      return api.roleList(options).then(rolesJson);
    }),
    'auth/role/delete': unary((value, options) =>
      api.roleDelete(roleRequest(value), options).then(headerOnlyJson),
    ),
    'auth/role/grant': unary((value, options) =>
      api.roleGrantPermission(grantPermissionRequest(value), options).then(headerOnlyJson),
    ),
    'auth/role/revoke': unary((value, options) =>
      api.roleRevokePermission(revokePermissionRequest(value), options).then(headerOnlyJson),
    ),
  };
}
