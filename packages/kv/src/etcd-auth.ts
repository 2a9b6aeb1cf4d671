/** Users, roles and the state of authentication as etcd's backend holds them (reference 1.3, authpb). */
import { prefixEnd, utf8, utf8Text } from '@muster/base';
import {
  AUTH_META_KEY,
  type AuthRole,
  type AuthUser,
  authKey,
  decodeAuthMeta,
  decodeAuthRole,
  decodeAuthUser,
  encodeAuthMeta,
  encodeAuthRole,
  encodeAuthUser,
  PERMISSION_TYPES,
  roleKey,
  userKey,
} from './auth/auth-records.ts';
import type { Permission } from './auth-api.ts';
import { ByteWriter } from './byte-codec.ts';
import type { EngineReader, Entry } from './engine.ts';
import {
  BackendDamaged,
  ProtoReader,
  writeBytesField,
  writeElement,
  writeNumberField,
} from './etcd-proto.ts';

const ENABLED_KEY = 'authEnabled';
const REVISION_KEY = 'authRevision';

const writer = new ByteWriter();
const inner = new ByteWriter();

type AuthBuckets = {
  readonly auth: Iterable<Entry>;
  readonly roles: Iterable<Entry>;
  readonly users: Iterable<Entry>;
};

export function authBuckets(reader: EngineReader): AuthBuckets {
  return { auth: stateOf(reader), roles: named(reader, 'role'), users: named(reader, 'user') };
}

function stateOf(reader: EngineReader): Entry[] {
  const record = reader.get('auth', AUTH_META_KEY);
  if (record === undefined) return [];
  const { enabled, revision } = decodeAuthMeta(record);
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(revision));
  const entries: Entry[] = enabled ? [[utf8(ENABLED_KEY), new Uint8Array([1])]] : [];
  return [...entries, [utf8(REVISION_KEY), bytes]];
}

function* named(reader: EngineReader, kind: 'role' | 'user'): Generator<Entry> {
  const from = kind === 'role' ? roleKey('') : userKey('');
  for (const [key, record] of reader.iterate('auth', { from, to: prefixEnd(from) })) {
    const { name } = authKey(key);
    const bytes =
      kind === 'role' ? etcdRole(decodeAuthRole(name, record)) : etcdUser(decodeAuthUser(name, record));
    yield [utf8(name), bytes];
  }
}

function etcdUser(user: AuthUser): Uint8Array {
  writeBytesField(writer, 1, utf8(user.name));
  writeBytesField(writer, 2, utf8(user.hashedPassword));
  for (const role of user.roles) writeElement(writer, 3, utf8(role));
  writeNumberField(inner, 1, user.noPassword ? 1 : 0);
  writeElement(writer, 4, inner.take());
  return writer.take();
}

function etcdRole(role: AuthRole): Uint8Array {
  writeBytesField(writer, 1, utf8(role.name));
  for (const { type, key, rangeEnd } of role.permissions) {
    writeNumberField(inner, 1, PERMISSION_TYPES.indexOf(type));
    writeBytesField(inner, 2, key);
    if (rangeEnd !== undefined) writeBytesField(inner, 3, rangeEnd);
    writeElement(writer, 2, inner.take());
  }
  return writer.take();
}

/** What the entries of bucket `auth` make of table `auth`. */
export function authStateRecord(entries: Iterable<Entry>): Entry | undefined {
  let enabled = false;
  let revision = 0;
  for (const [key, value] of entries) {
    const name = utf8Text(key);
    if (name === ENABLED_KEY) enabled = value[0] === 1;
    if (name !== REVISION_KEY) continue;
    if (value.length !== 8) throw new BackendDamaged('the revision of authentication is damaged');
    revision = Number(new DataView(value.buffer, value.byteOffset, 8).getBigUint64(0));
    if (!Number.isSafeInteger(revision))
      throw new BackendDamaged('the revision of authentication is damaged');
  }
  return revision === 0 && !enabled ? undefined : [AUTH_META_KEY, encodeAuthMeta({ enabled, revision })];
}

export function userRecord(bytes: Uint8Array): Entry {
  const reader = new ProtoReader(bytes, 'a user');
  let name = '';
  let hashedPassword = '';
  let noPassword = false;
  const roles: string[] = [];
  while (reader.next()) {
    if (reader.field === 1) name = utf8Text(reader.bytes());
    else if (reader.field === 2) hashedPassword = utf8Text(reader.bytes());
    else if (reader.field === 3) roles.push(utf8Text(reader.bytes()));
    else if (reader.field === 4) {
      const options = new ProtoReader(reader.bytes(), 'the options of a user');
      while (options.next()) if (options.field === 1) noPassword = options.number() === 1;
    }
  }
  if (name === '') throw new BackendDamaged('a user without a name');
  return [userKey(name), encodeAuthUser({ name, hashedPassword, noPassword, roles: roles.sort() })];
}

export function roleRecord(bytes: Uint8Array): Entry {
  const reader = new ProtoReader(bytes, 'a role');
  let name = '';
  const permissions: Permission[] = [];
  while (reader.next()) {
    if (reader.field === 1) name = utf8Text(reader.bytes());
    else if (reader.field === 2) permissions.push(permissionOf(reader.bytes()));
  }
  if (name === '') throw new BackendDamaged('a role without a name');
  return [roleKey(name), encodeAuthRole({ name, permissions })];
}

function permissionOf(bytes: Uint8Array): Permission {
  const reader = new ProtoReader(bytes, 'a permission');
  let kind = 0;
  let key: Uint8Array = new Uint8Array(0);
  let rangeEnd: Uint8Array | undefined;
  while (reader.next()) {
    if (reader.field === 1) kind = reader.number();
    else if (reader.field === 2) key = reader.bytes();
    else if (reader.field === 3) rangeEnd = reader.bytes();
  }
  const type = PERMISSION_TYPES[kind];
  if (type === undefined) throw new BackendDamaged(`a permission of unknown kind ${kind}`);
  return rangeEnd === undefined || rangeEnd.length === 0 ? { type, key } : { type, key, rangeEnd };
}
