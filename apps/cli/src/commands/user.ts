import { badArgs } from '../failure.ts';
import type { Io } from '../io.ts';
import type { Call, Run } from '../line/command.ts';
import { namesView, roleText, userView } from '../print/auth-views.ts';
import { doneView } from '../print/cluster-views.ts';
import type { Text } from '../print/printer.ts';
import type { USER_ADD_FLAGS, USER_GET_FLAGS, USER_PASSWD_FLAGS } from '../tree/auth.ts';
import { firstLine, readPassword } from './password.ts';

type NoFlags = Record<never, never>;

/** The password comes with the name, by flag, as a line of the input, or is typed twice. */
export const userAdd: Run<typeof USER_ADD_FLAGS> = async (call) => {
  const { args, flags, io } = call;
  const given = only(args, 'user add command requires user name as its argument');
  const { name, password } = await newUser(given, flags, io);
  const { api, options } = await call.connect();
  const request = { name, password, ...(flags['no-password'] && { noPassword: true }) };
  const result = await api.userAdd(request, options(call.signal));
  await call.printer.print(doneView(`User ${name} created\n`, 'AuthUserAddResponse', result));
};

async function newUser(
  given: string,
  flags: Parameters<typeof userAdd>[0]['flags'],
  io: Io,
): Promise<{ readonly name: string; readonly password: string }> {
  if (flags['no-password']) return { name: given, password: '' };
  if (flags['new-user-password'] !== '') return { name: given, password: flags['new-user-password'] };
  const colon = given.indexOf(':');
  if (colon === 0) throw badArgs('empty user name is not allowed');
  if (colon > 0) return { name: given.slice(0, colon), password: given.slice(colon + 1) };
  return { name: given, password: await newPassword(given, flags.interactive, io) };
}

async function newPassword(name: string, interactive: boolean, io: Io): Promise<string> {
  if (!interactive) return firstLine(io);
  const password = await readPassword(`Password of ${name}: `, io);
  const again = await readPassword(`Type password of ${name} again for confirmation: `, io);
  if (password !== again) throw badArgs('given passwords are different');
  return password;
}

export const userPasswd: Run<typeof USER_PASSWD_FLAGS> = async (call) => {
  const name = only(call.args, 'user passwd command requires user name as its argument');
  const password = await newPassword(name, call.flags.interactive, call.io);
  const { api, options } = await call.connect();
  const result = await api.userChangePassword({ name, password }, options(call.signal));
  await call.printer.print(doneView('Password updated\n', 'AuthUserChangePasswordResponse', result));
};

export const userDelete: Run<NoFlags> = async (call) => {
  const name = only(call.args, 'user delete command requires user name as its argument');
  const { api, options } = await call.connect();
  const result = await api.userDelete({ name }, options(call.signal));
  await call.printer.print(doneView(`User ${name} deleted\n`, 'AuthUserDeleteResponse', result));
};

export const userGet: Run<typeof USER_GET_FLAGS> = async (call) => {
  const name = only(call.args, 'user get command requires user name as its argument');
  const { api, options } = await call.connect();
  const result = await api.userGet({ name }, options(call.signal));
  if (!call.flags.detail) return call.printer.print(userView(name, result));
  const roles: Text[] = [];
  for (const role of result.roles) {
    roles.push(['\n', ...roleText(role, (await api.roleGet({ role }, options(call.signal))).permissions)]);
  }
  await call.printer.print({ ...userView(name, result), simple: () => [`User: ${name}\n`, ...roles.flat()] });
};

export const userList: Run<NoFlags> = async (call) => {
  if (call.args.length > 0) throw badArgs('user list command requires no arguments');
  const { api, options } = await call.connect();
  const result = await api.userList(options(call.signal));
  await call.printer.print(namesView('users', result, result.users));
};

export const userGrantRole: Run<NoFlags> = async (call) => {
  const [user, role] = pair(call, 'user grant command requires user name and role name as its argument');
  const { api, options } = await call.connect();
  const result = await api.userGrantRole({ user, role }, options(call.signal));
  const line = `Role ${role} is granted to user ${user}\n`;
  await call.printer.print(doneView(line, 'AuthUserGrantRoleResponse', result));
};

export const userRevokeRole: Run<NoFlags> = async (call) => {
  const [name, role] = pair(call, 'user revoke-role requires user name and role name as its argument');
  const { api, options } = await call.connect();
  const result = await api.userRevokeRole({ name, role }, options(call.signal));
  const line = `Role ${role} is revoked from user ${name}\n`;
  await call.printer.print(doneView(line, 'AuthUserRevokeRoleResponse', result));
};

function only(args: readonly string[], otherwise: string): string {
  if (args.length !== 1) throw badArgs(otherwise);
  return args[0] as string;
}

function pair({ args }: Pick<Call, 'args'>, otherwise: string): readonly [string, string] {
  if (args.length !== 2) throw badArgs(otherwise);
  return args as readonly [string, string];
}
