import type { PermissionType } from '@muster/kv';
import { badArgs } from '../failure.ts';
import type { Run } from '../line/command.ts';
import { namesView, rangeText, roleView } from '../print/auth-views.ts';
import { doneView } from '../print/cluster-views.ts';
import type { Text } from '../print/printer.ts';
import { bytesOf, type KeyRange, prefixEnd } from '../range.ts';
import type { PERMISSION_FLAGS } from '../tree/auth.ts';

type NoFlags = Record<never, never>;

export const roleAdd: Run<NoFlags> = async (call) => {
  const name = roleName(call.args, 'add');
  const { api, options } = await call.connect();
  const result = await api.roleAdd({ name }, options(call.signal));
  await call.printer.print(doneView(`Role ${name} created\n`, 'AuthRoleAddResponse', result));
};

export const roleDelete: Run<NoFlags> = async (call) => {
  const role = roleName(call.args, 'delete');
  const { api, options } = await call.connect();
  const result = await api.roleDelete({ role }, options(call.signal));
  await call.printer.print(doneView(`Role ${role} deleted\n`, 'AuthRoleDeleteResponse', result));
};

export const roleGet: Run<NoFlags> = async (call) => {
  const role = roleName(call.args, 'get');
  const { api, options } = await call.connect();
  await call.printer.print(roleView(role, await api.roleGet({ role }, options(call.signal))));
};

export const roleList: Run<NoFlags> = async (call) => {
  if (call.args.length > 0) throw badArgs('role list command requires no arguments');
  const { api, options } = await call.connect();
  const result = await api.roleList(options(call.signal));
  await call.printer.print(namesView('roles', result, result.roles));
};

function roleName(args: readonly string[], action: string): string {
  if (args.length !== 1) throw badArgs(`role ${action} command requires role name as its argument`);
  return args[0] as string;
}

export const roleGrantPermission: Run<typeof PERMISSION_FLAGS> = async (call) => {
  const [name, kind, ...range] = call.args;
  if (name === undefined || kind === undefined || range.length === 0) {
    throw badArgs('role grant command requires role name, permission type, and key [endkey] as its argument');
  }
  const type = kind.toLowerCase();
  if (!isPermissionType(type)) throw badArgs(`invalid permission type: ${kind}`);
  const permission = { type, ...permissionRange(range, call.flags) };
  const { api, options } = await call.connect();
  const result = await api.roleGrantPermission({ name, permission }, options(call.signal));
  await call.printer.print(doneView(`Role ${name} updated\n`, 'AuthRoleGrantPermissionResponse', result));
};

function isPermissionType(text: string): text is PermissionType {
  return text === 'read' || text === 'write' || text === 'readwrite';
}

export const roleRevokePermission: Run<typeof PERMISSION_FLAGS> = async (call) => {
  const [role, ...range] = call.args;
  if (role === undefined || range.length === 0) {
    throw badArgs('role revoke-permission command requires role name and key [endkey] as its argument');
  }
  const { key, rangeEnd } = permissionRange(range, call.flags);
  const { api, options } = await call.connect();
  const request = { role, key, ...(rangeEnd && { rangeEnd }) };
  const result = await api.roleRevokePermission(request, options(call.signal));
  const view = doneView('', 'AuthRoleRevokePermissionResponse', result);
  const shown = rangeText(bytesOf(range[0] as string), rangeEnd, false);
  const text: Text = [
    `Permission of ${rangeEnd ? 'range' : 'key'} `,
    ...shown,
    ` is revoked from role ${role}\n`,
  ];
  await call.printer.print({ ...view, simple: () => text });
};

const FROM_HERE = Uint8Array.of(0);

/** An empty key is the first one where a prefix or all that follows is meant. */
function permissionRange(
  [first, end]: readonly string[],
  flags: { readonly prefix: boolean; readonly 'from-key': boolean },
): KeyRange {
  const key = bytesOf(first as string);
  if (flags.prefix && flags['from-key'])
    throw badArgs('--from-key and --prefix flags are mutually exclusive');
  if (end !== undefined && flags.prefix) throw badArgs('unexpected endkey argument with --prefix flag');
  if (end !== undefined && flags['from-key'])
    throw badArgs('unexpected endkey argument with --from-key flag');
  if (flags.prefix || flags['from-key']) {
    if (key.length === 0) return { key: FROM_HERE, rangeEnd: FROM_HERE };
    return { key, rangeEnd: flags.prefix ? prefixEnd(key) : FROM_HERE };
  }
  return end === undefined ? { key } : { key, rangeEnd: bytesOf(end) };
}
