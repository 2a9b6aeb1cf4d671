import { type Command, verb } from '../line/command.ts';
import { bool, string } from '../line/flag.ts';

export const USER_ADD_FLAGS = {
  interactive: bool('Read password from stdin instead of interactive terminal', true),
  'new-user-password': string('Supply password from the command line flag'),
  'no-password': bool('Create a user without password (CN based auth only)'),
};
export const USER_GET_FLAGS = { detail: bool('Show permissions of roles granted to the user') };
export const USER_PASSWD_FLAGS = {
  interactive: bool('If true, read password from stdin instead of interactive terminal', true),
};
export const PERMISSION_FLAGS = {
  'from-key': bool('keys that are greater than or equal to the given key using byte compare'),
  prefix: bool('keys with the given prefix'),
};

const auth = () => import('../commands/auth.ts');
const user = () => import('../commands/user.ts');
const role = () => import('../commands/role.ts');

export const AUTH_COMMANDS: readonly Command[] = [
  {
    name: 'auth',
    summary: 'Enable or disable authentication',
    children: [
      verb({
        name: 'disable',
        summary: 'Disables authentication',
        usage: '',
        flags: {},
        load: async () => (await auth()).authDisable,
      }),
      verb({
        name: 'enable',
        summary: 'Enables authentication',
        usage: '',
        flags: {},
        load: async () => (await auth()).authEnable,
      }),
      verb({
        name: 'status',
        summary: 'Returns authentication status',
        usage: '',
        flags: {},
        load: async () => (await auth()).authStatus,
      }),
    ],
  },
  {
    name: 'user',
    summary: 'User related commands',
    children: [
      verb({
        name: 'add',
        summary: 'Adds a new user',
        usage: '<user name or user:password> [options]',
        flags: USER_ADD_FLAGS,
        load: async () => (await user()).userAdd,
      }),
      verb({
        name: 'delete',
        summary: 'Deletes a user',
        usage: '<user name>',
        flags: {},
        load: async () => (await user()).userDelete,
      }),
      verb({
        name: 'get',
        summary: 'Gets detailed information of a user',
        usage: '<user name> [options]',
        flags: USER_GET_FLAGS,
        load: async () => (await user()).userGet,
      }),
      verb({
        name: 'grant-role',
        summary: 'Grants a role to a user',
        usage: '<user name> <role name>',
        flags: {},
        load: async () => (await user()).userGrantRole,
      }),
      verb({
        name: 'list',
        summary: 'Lists all users',
        usage: '',
        flags: {},
        load: async () => (await user()).userList,
      }),
      verb({
        name: 'passwd',
        summary: 'Changes password of user',
        usage: '<user name> [options]',
        flags: USER_PASSWD_FLAGS,
        load: async () => (await user()).userPasswd,
      }),
      verb({
        name: 'revoke-role',
        summary: 'Revokes a role from a user',
        usage: '<user name> <role name>',
        flags: {},
        load: async () => (await user()).userRevokeRole,
      }),
    ],
  },
  {
    name: 'role',
    summary: 'Role related commands',
    children: [
      verb({
        name: 'add',
        summary: 'Adds a new role',
        usage: '<role name>',
        flags: {},
        load: async () => (await role()).roleAdd,
      }),
      verb({
        name: 'delete',
        summary: 'Deletes a role',
        usage: '<role name>',
        flags: {},
        load: async () => (await role()).roleDelete,
      }),
      verb({
        name: 'get',
        summary: 'Gets detailed information of a role',
        usage: '<role name>',
        flags: {},
        load: async () => (await role()).roleGet,
      }),
      verb({
        name: 'grant-permission',
        summary: 'Grants a key to a role',
        usage: '[options] <role name> <permission type> <key> [endkey]',
        flags: PERMISSION_FLAGS,
        load: async () => (await role()).roleGrantPermission,
      }),
      verb({
        name: 'list',
        summary: 'Lists all roles',
        usage: '',
        flags: {},
        load: async () => (await role()).roleList,
      }),
      verb({
        name: 'revoke-permission',
        summary: 'Revokes a key from a role',
        usage: '<role name> <key> [endkey]',
        flags: PERMISSION_FLAGS,
        load: async () => (await role()).roleRevokePermission,
      }),
    ],
  },
];
