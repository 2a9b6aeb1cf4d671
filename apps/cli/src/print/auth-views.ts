import type { Permission, WithHeader } from '@muster/kv';
import { prefixEnd } from '../range.ts';
import { type GoValue, goQuote, omitEmpty } from './go-text.ts';
import { headerFields, headerJson } from './header.ts';
import type { Text, View } from './printer.ts';

const OPEN_ENDED = Uint8Array.of(0);
const PERMISSION_NUMBERS = { read: 0, write: 1, readwrite: 2 } as const;

export function userView(name: string, result: WithHeader<{ readonly roles: readonly string[] }>): View {
  return {
    simple: () => [`User: ${name}\n`, ['Roles:', ...result.roles].join(' '), '\n'],
    fields: () => [headerFields(result.header), ...result.roles.map((role) => `"Role" : ${goQuote(role)}\n`)],
    message: () => ({
      name: 'AuthUserGetResponse',
      fields: omitEmpty({ header: headerJson(result.header), roles: result.roles }),
    }),
  };
}

export function namesView(
  kind: 'users' | 'roles',
  result: WithHeader<unknown>,
  names: readonly string[],
): View {
  const [message, label] =
    kind === 'users' ? ['AuthUserListResponse', 'User'] : ['AuthRoleListResponse', 'Role'];
  return {
    simple: () => names.map((name) => `${name}\n`),
    fields: () => [headerFields(result.header), ...names.map((name) => `"${label}" : ${goQuote(name)}\n`)],
    message: () => ({
      name: message,
      fields: omitEmpty({ header: headerJson(result.header), [kind]: names }),
    }),
  };
}

export function roleView(
  name: string,
  result: WithHeader<{ readonly permissions: readonly Permission[] }>,
): View {
  const { header, permissions } = result;
  return {
    simple: () => roleText(name, permissions),
    fields: () => [
      headerFields(header),
      ...permissions.map(
        (one) =>
          `"PermType" : ${one.type.toUpperCase()}\n"Key" : ${goQuote(one.key)}\n` +
          `"RangeEnd" : ${goQuote(one.rangeEnd ?? new Uint8Array())}\n`,
      ),
    ],
    message: () => ({
      name: 'AuthRoleGetResponse',
      fields: omitEmpty({ header: headerJson(header), perm: permissions.map(permissionFields) }),
    }),
  };
}

function permissionFields(one: Permission): GoValue {
  return omitEmpty({ permType: PERMISSION_NUMBERS[one.type], key: one.key, range_end: one.rangeEnd });
}

/** As `role get` and `user get --detail` list a role. */
export function roleText(name: string, permissions: readonly Permission[]): Text {
  const lines = (types: readonly string[]) =>
    permissions
      .filter((one) => types.includes(one.type))
      .flatMap((one) => ['\t', ...rangeText(one.key, one.rangeEnd, true), '\n']);
  return [
    `Role ${name}\n`,
    'KV Read:\n',
    ...lines(['read', 'readwrite']),
    'KV Write:\n',
    ...lines(['write', 'readwrite']),
  ];
}

/** `key`, `[a, b)` or `[a, <open ended>`; with the prefix that the range is. */
export function rangeText(key: Uint8Array, rangeEnd: Uint8Array | undefined, withPrefix: boolean): Text {
  if (!rangeEnd || rangeEnd.length === 0) return [key];
  if (equal(rangeEnd, OPEN_ENDED)) return ['[', key, ', <open ended>'];
  const isPrefix = withPrefix && equal(prefixEnd(key), rangeEnd);
  return ['[', key, ', ', rangeEnd, ')', ...(isPrefix ? [' (prefix ', key, ')'] : [])];
}

function equal(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}
