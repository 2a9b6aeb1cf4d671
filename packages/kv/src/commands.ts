/**
 * The replicated commands and their bytes in the log. Byte 0 is the format version, byte 1 the kind of command, then
 * the request id and the command's own fields. Decoded keys and values are views into the given bytes.
 */
import { assertNever } from '@muster/base';
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
] as const satisfies readonly Command['type'][];
const KIND_NUMBERS = new Map<string, number>(KINDS.map((kind, number) => [kind, number]));
const ALARMS: readonly AlarmType[] = ['none', 'nospace', 'corrupt'];

const writer = new ByteWriter({ pooling: true });

export function encodeCommand(requestId: RequestId, command: Command): Uint8Array {
  writer.u8(FORMAT);
  writer.u8(KIND_NUMBERS.get(command.type) as number);
  writer.u64(requestId.member);
  writer.varint(requestId.sequence);
  writeBody(command);
  return writer.take();
}

/** Throws `AssertionFailed` on bytes that `encodeCommand` did not make: the log below is checksummed. */
export function decodeCommand(bytes: Uint8Array): {
  readonly requestId: RequestId;
  readonly command: Command;
} {
  const reader = new ByteReader(bytes);
  const format = reader.u8();
  if (format !== FORMAT) throw reader.malformed(`a command of format ${format}`);
  const kind = KINDS[reader.u8()];
  if (kind === undefined) throw reader.malformed('a command of unknown kind');
  const requestId = { member: reader.u64(), sequence: reader.varint() };
  const command = readBody(kind, reader);
  reader.finish();
  return { requestId, command };
}

function writeBody(command: Command): void {
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
      writer.varint(command.clientUrls.length);
      for (const url of command.clientUrls) writer.text(url);
      return;
    case 'noop':
      return;
    default:
      assertNever(command, 'command');
  }
}

function readBody(kind: Command['type'], reader: ByteReader): Command {
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
