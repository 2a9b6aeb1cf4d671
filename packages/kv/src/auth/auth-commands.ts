/** The replicated commands about users, roles and credentials, and their bytes. Passwords come hashed. */
import type { Permission } from '../auth-api.ts';
import type { ByteReader, ByteWriter } from '../byte-codec.ts';
import { readPermission, writePermission } from './auth-records.ts';

export type AuthCommand =
  | { readonly type: 'authEnable' }
  | { readonly type: 'authDisable' }
  /** `authRevision` is that at which the password was found right; `token` is the random half of the new token. */
  | {
      readonly type: 'authenticate';
      readonly name: string;
      readonly token: string;
      readonly authRevision: number;
    }
  | {
      readonly type: 'userAdd';
      readonly name: string;
      readonly hashedPassword: string;
      readonly noPassword: boolean;
    }
  | { readonly type: 'userDelete'; readonly name: string }
  | { readonly type: 'userChangePassword'; readonly name: string; readonly hashedPassword: string }
  | { readonly type: 'userGrantRole'; readonly user: string; readonly role: string }
  | { readonly type: 'userRevokeRole'; readonly name: string; readonly role: string }
  | { readonly type: 'roleAdd'; readonly name: string }
  | { readonly type: 'roleDelete'; readonly role: string }
  | { readonly type: 'roleGrantPermission'; readonly name: string; readonly permission: Permission }
  | {
      readonly type: 'roleRevokePermission';
      readonly role: string;
      readonly key: Uint8Array;
      readonly rangeEnd: Uint8Array;
    };

export type AuthCommandType = AuthCommand['type'];

/** In the order of their numbers in the log, after the other commands: only ever append. */
export const AUTH_COMMANDS = [
  'authEnable',
  'authDisable',
  'authenticate',
  'userAdd',
  'userDelete',
  'userChangePassword',
  'userGrantRole',
  'userRevokeRole',
  'roleAdd',
  'roleDelete',
  'roleGrantPermission',
  'roleRevokePermission',
] as const satisfies readonly AuthCommandType[];

const KINDS: ReadonlySet<string> = new Set(AUTH_COMMANDS);

export function isAuthCommand<T extends { readonly type: string }>(
  command: T,
): command is Extract<T, { readonly type: AuthCommandType }> {
  return KINDS.has(command.type);
}

export function isAuthCommandType(type: string): type is AuthCommandType {
  return KINDS.has(type);
}

export function writeAuthCommand(writer: ByteWriter, command: AuthCommand): void {
  switch (command.type) {
    case 'authEnable':
    case 'authDisable':
      return;
    case 'authenticate':
      writer.text(command.name);
      writer.text(command.token);
      return writer.varint(command.authRevision);
    case 'userAdd':
      writer.text(command.name);
      writer.text(command.hashedPassword);
      return writer.u8(command.noPassword ? 1 : 0);
    case 'userChangePassword':
      writer.text(command.name);
      return writer.text(command.hashedPassword);
    case 'userDelete':
    case 'roleAdd':
      return writer.text(command.name);
    case 'userGrantRole':
      writer.text(command.user);
      return writer.text(command.role);
    case 'userRevokeRole':
      writer.text(command.name);
      return writer.text(command.role);
    case 'roleDelete':
      return writer.text(command.role);
    case 'roleGrantPermission':
      writer.text(command.name);
      return writePermission(writer, command.permission);
    case 'roleRevokePermission':
      writer.text(command.role);
      writer.bytes(command.key);
      return writer.bytes(command.rangeEnd);
  }
}

export function readAuthCommand(type: AuthCommandType, reader: ByteReader): AuthCommand {
  switch (type) {
    case 'authEnable':
    case 'authDisable':
      return { type };
    case 'authenticate':
      return { type, name: reader.text(), token: reader.text(), authRevision: reader.varint() };
    case 'userAdd':
      return { type, name: reader.text(), hashedPassword: reader.text(), noPassword: reader.u8() === 1 };
    case 'userChangePassword':
      return { type, name: reader.text(), hashedPassword: reader.text() };
    case 'userDelete':
    case 'roleAdd':
      return { type, name: reader.text() };
    case 'userGrantRole':
      return { type, user: reader.text(), role: reader.text() };
    case 'userRevokeRole':
      return { type, name: reader.text(), role: reader.text() };
    case 'roleDelete':
      return { type, role: reader.text() };
    case 'roleGrantPermission':
      return { type, name: reader.text(), permission: readPermission(reader) };
    case 'roleRevokePermission':
      return { type, role: reader.text(), key: reader.bytes(), rangeEnd: reader.bytes() };
  }
}
