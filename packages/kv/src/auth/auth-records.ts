/** Records of table `auth`: `m` is what belongs to no user, `u` and a name a user, `r` and a name a role. */
import { utf8, utf8Text } from '@muster/base';
import type { Permission, PermissionType } from '../auth-api.ts';
import { ByteReader, ByteWriter } from '../byte-codec.ts';

const FORMAT = 1;
const NO_PASSWORD = 1;
const HAS_RANGE_END = 0x80;
const USER = 0x75;
const ROLE = 0x72;

/** In the order of their numbers in etcd's `Permission.Type`. */
export const PERMISSION_TYPES: readonly PermissionType[] = ['read', 'write', 'readwrite'];

export const AUTH_META_KEY: Uint8Array = utf8('m');

/** `hashedPassword` is bcrypt's text; empty of a user who can only come in by certificate. */
export type AuthUser = {
  readonly name: string;
  readonly hashedPassword: string;
  readonly noPassword: boolean;
  /** Ascending. */
  readonly roles: readonly string[];
};

/** `permissions` ascend by key, then by range end. */
export type AuthRole = { readonly name: string; readonly permissions: readonly Permission[] };

type AuthMeta = { readonly enabled: boolean; readonly revision: number };

const writer = new ByteWriter();

export const userKey = (name: string): Uint8Array => nameKey(USER, name);
export const roleKey = (name: string): Uint8Array => nameKey(ROLE, name);

function nameKey(kind: number, name: string): Uint8Array {
  writer.u8(kind);
  writer.raw(utf8(name));
  return writer.take();
}

/** Which record a key of the table belongs to. */
export function authKey(key: Uint8Array): { readonly kind: 'meta' | 'user' | 'role'; readonly name: string } {
  const name = utf8Text(key.subarray(1));
  if (key[0] === USER) return { kind: 'user', name };
  return { kind: key[0] === ROLE ? 'role' : 'meta', name };
}

function open(bytes: Uint8Array, what: string): ByteReader {
  const reader = new ByteReader(bytes);
  const format = reader.u8();
  if (format !== FORMAT)
    throw new Error(`${what} is of format ${format}; this version reads format ${FORMAT}`);
  return reader;
}

export function encodeAuthMeta({ enabled, revision }: AuthMeta): Uint8Array {
  writer.u8(FORMAT);
  writer.u8(enabled ? 1 : 0);
  writer.varint(revision);
  return writer.take();
}

export function decodeAuthMeta(bytes: Uint8Array): AuthMeta {
  const reader = open(bytes, 'the authentication record');
  const enabled = reader.u8() === 1;
  return { enabled, revision: reader.varint() };
}

export function encodeAuthUser(user: AuthUser): Uint8Array {
  writer.u8(FORMAT);
  writer.u8(user.noPassword ? NO_PASSWORD : 0);
  writer.text(user.hashedPassword);
  writer.varint(user.roles.length);
  for (const role of user.roles) writer.text(role);
  return writer.take();
}

export function decodeAuthUser(name: string, bytes: Uint8Array): AuthUser {
  const reader = open(bytes, `the record of a user`);
  const flags = reader.u8();
  const hashedPassword = reader.text();
  const roles = reader.list(() => reader.text());
  return { name, hashedPassword, noPassword: (flags & NO_PASSWORD) !== 0, roles };
}

export function encodeAuthRole(role: AuthRole): Uint8Array {
  writer.u8(FORMAT);
  writer.varint(role.permissions.length);
  for (const permission of role.permissions) writePermission(writer, permission);
  return writer.take();
}

export function decodeAuthRole(name: string, bytes: Uint8Array): AuthRole {
  const reader = open(bytes, 'the record of a role');
  return { name, permissions: reader.list(() => readPermission(reader)) };
}

export function writePermission(to: ByteWriter, { type, key, rangeEnd }: Permission): void {
  to.u8(PERMISSION_TYPES.indexOf(type) | (rangeEnd === undefined ? 0 : HAS_RANGE_END));
  to.bytes(key);
  if (rangeEnd !== undefined) to.bytes(rangeEnd);
}

export function readPermission(from: ByteReader): Permission {
  const flags = from.u8();
  const type = PERMISSION_TYPES[flags & ~HAS_RANGE_END];
  if (type === undefined) throw from.malformed('a permission of unknown type');
  const key = from.bytes();
  return (flags & HAS_RANGE_END) === 0 ? { type, key } : { type, key, rangeEnd: from.bytes() };
}
