/**
 * The replicated commands and their bytes in the log. Byte 0 is the format version, byte 1 the kind of command and
 * where it comes from, then the request id, the user if there is one, and the command's own fields. Decoded keys and values are views into the given bytes.
 */
import { assertNever } from '@muster/base';
import type { Identity, Origin } from './auth/auth-checks.ts';
import {
  AUTH_COMMANDS,
  type AuthCommand,
  isAuthCommand,
  isAuthCommandType,
  readAuthCommand,
  writeAuthCommand,
} from './auth/auth-commands.ts';
import { ByteReader, ByteWriter } from './byte-codec.ts';
import { readDeleteRange, readPut, readTxn, writeDeleteRange, writePut, writeTxn } from './request-codec.ts';
import type { AlarmType, DeleteRangeRequest, PutRequest, TxnRequest } from './types.ts';

export type Command =
  | { readonly type: 'put'; readonly put: PutRequest }
  | { readonly type: 'deleteRange'; readonly deleteRange: DeleteRangeRequest }
  | { readonly type: 'txn'; readonly txn: TxnRequest }
  | { readonly type: 'compact'; readonly revision: number; readonly physical: boolean }
  /** `id` is chosen by whoever proposes, never 0. */
  | { readonly type: 'leaseGrant'; readonly id: bigint; readonly ttlSeconds: number }
  | { readonly type: 'leaseRevoke'; readonly id: bigint }
  | {
      readonly type: 'leaseCheckpoint';
      readonly checkpoints: readonly { readonly id: bigint; readonly remainingTtlSeconds: number }[];
    }
  | {
      readonly type: 'alarm';
      readonly action: 'activate' | 'deactivate';
      readonly memberId: bigint;
      readonly alarm: AlarmType;
    }
  | {
      readonly type: 'memberAttributes';
      readonly id: bigint;
      readonly name: string;
      readonly clientUrls: readonly string[];
    }
  /**
   * Changes of who the members are; all but the last are the context of a membership change in the log. `learnersMax`
   * is the proposer's, so that every member judges alike.
   */
  | {
      readonly type: 'memberAdd';
      readonly id: bigint;
      readonly peerUrls: readonly string[];
      readonly isLearner: boolean;
      readonly learnersMax: number;
    }
  | { readonly type: 'memberRemove'; readonly id: bigint }
  | { readonly type: 'memberPromote'; readonly id: bigint }
  | { readonly type: 'memberUpdate'; readonly id: bigint; readonly peerUrls: readonly string[] }
  | AuthCommand
  | { readonly type: 'noop' };

/** Who asked and for which of its requests, so that the asking member can answer its caller. */
export type RequestId = { readonly member: bigint; readonly sequence: number };

const FORMAT = 1;
/** In the order of their numbers in the log: only ever append. */
const KINDS = [
  'noop',
  'put',
  'deleteRange',
  'txn',
  'compact',
  'leaseGrant',
  'leaseRevoke',
  'leaseCheckpoint',
  'alarm',
  'memberAttributes',
  'memberAdd',
  'memberRemove',
  'memberPromote',
  'memberUpdate',
  ...AUTH_COMMANDS,
] as const satisfies readonly Command['type'][];
const KIND_NUMBERS = new Map<string, number>(KINDS.map((kind, number) => [kind, number]));
const ALARMS: readonly AlarmType[] = ['none', 'nospace', 'corrupt'];

const writer = new ByteWriter({ pooling: true });

/** A command of the servers' own. */
const INTERNAL = 0x40;
/** A command of a user: name and authentication revision follow the request id. */
const OF_USER = 0x80;
const KIND_BITS = 0x3f;

/** Throws `AssertionFailed` for a command that has no bytes: it would end every member that applies it. */
export function encodeCommand(
  requestId: RequestId,
  command: Command,
  origin: Origin = 'anonymous',
): Uint8Array {
  try {
    writer.u8(FORMAT);
    writer.u8((KIND_NUMBERS.get(command.type) as number) | originBits(origin));
    writer.u64(requestId.member);
    writer.varint(requestId.sequence);
    if (typeof origin === 'object') {
      writer.text(origin.username);
      writer.varint(origin.authRevision);
    }
    writeBody(command);
    return writer.take();
  } catch (error) {
    writer.drop();
    throw error;
  }
}

function originBits(origin: Origin): number {
  if (typeof origin === 'object') return OF_USER;
  return origin === 'internal' ? INTERNAL : 0;
}

/** Throws `AssertionFailed` on bytes that `encodeCommand` did not make: the log below is checksummed. */
export function decodeCommand(bytes: Uint8Array): {
  readonly requestId: RequestId;
  readonly command: Command;
  readonly origin: Origin;
} {
  const reader = new ByteReader(bytes);
  const format = reader.u8();
  if (format !== FORMAT) throw reader.malformed(`a command of format ${format}`);
  const tag = reader.u8();
  const kind = KINDS[tag & KIND_BITS];
  if (kind === undefined || (tag & OF_USER && tag & INTERNAL))
    throw reader.malformed('a command of unknown kind');
  const requestId = { member: reader.u64(), sequence: reader.varint() };
  const origin = readOrigin(tag, reader);
  const command = readBody(kind, reader);
  reader.finish();
  return { requestId, command, origin };
}

function readOrigin(tag: number, reader: ByteReader): Origin {
  if (tag & OF_USER) return { username: reader.text(), authRevision: reader.varint() } satisfies Identity;
  return tag & INTERNAL ? 'internal' : 'anonymous';
}

function writeBody(command: Command): void {
  if (isAuthCommand(command)) return writeAuthCommand(writer, command);
  switch (command.type) {
    case 'put':
      return writePut(writer, command.put);
    case 'deleteRange':
      return writeDeleteRange(writer, command.deleteRange);
    case 'txn':
      return writeTxn(writer, command.txn);
    case 'compact':
      writer.signedVarint(command.revision);
      return writer.u8(command.physical ? 1 : 0);
    case 'leaseGrant':
      writer.u64(command.id);
      return writer.signedVarint(command.ttlSeconds);
    case 'leaseRevoke':
      return writer.u64(command.id);
    case 'leaseCheckpoint':
      writer.varint(command.checkpoints.length);
      for (const { id, remainingTtlSeconds } of command.checkpoints) {
        writer.u64(id);
        writer.varint(remainingTtlSeconds);
      }
      return;
    case 'alarm':
      writer.u8(command.action === 'activate' ? 1 : 0);
      writer.u64(command.memberId);
      return writer.u8(ALARMS.indexOf(command.alarm));
    case 'memberAttributes':
      writer.u64(command.id);
      writer.text(command.name);
      return writeTexts(command.clientUrls);
    case 'memberAdd':
      writer.u64(command.id);
      writeTexts(command.peerUrls);
      writer.u8(command.isLearner ? 1 : 0);
      return writer.varint(command.learnersMax);
    case 'memberRemove':
    case 'memberPromote':
      return writer.u64(command.id);
    case 'memberUpdate':
      writer.u64(command.id);
      return writeTexts(command.peerUrls);
    case 'noop':
      return;
    default:
      assertNever(command, 'command');
  }
}

function writeTexts(texts: readonly string[]): void {
  writer.varint(texts.length);
  for (const text of texts) writer.text(text);
}

function readBody(kind: Command['type'], reader: ByteReader): Command {
  if (isAuthCommandType(kind)) return readAuthCommand(kind, reader);
  switch (kind) {
    case 'put':
      return { type: kind, put: readPut(reader) };
    case 'deleteRange':
      return { type: kind, deleteRange: readDeleteRange(reader) };
    case 'txn':
      return { type: kind, txn: readTxn(reader) };
    case 'compact':
      return { type: kind, revision: reader.signedVarint(), physical: reader.u8() === 1 };
    case 'leaseGrant':
      return { type: kind, id: reader.i64(), ttlSeconds: reader.signedVarint() };
    case 'leaseRevoke':
      return { type: kind, id: reader.i64() };
    case 'leaseCheckpoint':
      return { type: kind, checkpoints: readCheckpoints(reader) };
    case 'alarm':
      return readAlarm(reader);
    case 'memberAttributes': {
      const id = reader.u64();
      const name = reader.text();
      return { type: kind, id, name, clientUrls: reader.list(() => reader.text()) };
    }
    case 'memberAdd': {
      const id = reader.u64();
      const peerUrls = reader.list(() => reader.text());
      return { type: kind, id, peerUrls, isLearner: reader.u8() === 1, learnersMax: reader.varint() };
    }
    case 'memberRemove':
    case 'memberPromote':
      return { type: kind, id: reader.u64() };
    case 'memberUpdate':
      return { type: kind, id: reader.u64(), peerUrls: reader.list(() => reader.text()) };
    case 'noop':
      return { type: kind };
    default:
      return assertNever(kind, 'command');
  }
}

function readCheckpoints(reader: ByteReader): { id: bigint; remainingTtlSeconds: number }[] {
  return reader.list(() => {
    const id = reader.i64();
    return { id, remainingTtlSeconds: reader.varint() };
  });
}

function readAlarm(reader: ByteReader): Command {
  const action = reader.u8() === 1 ? 'activate' : 'deactivate';
  const memberId = reader.u64();
  const alarm = ALARMS[reader.u8()];
  if (alarm === undefined) throw reader.malformed('an alarm of unknown kind');
  return { type: 'alarm', action, memberId, alarm };
}
