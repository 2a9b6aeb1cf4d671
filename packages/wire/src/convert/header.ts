/** The header that every answer has, and the numbers that generated messages hold as bigint. */
import type { ResponseHeader } from '@muster/kv';
import type { ResponseHeader as HeaderMessage } from '../gen/rpc_pb.js';
import type { ProtoReader } from './proto-reader.ts';
import { ProtoWriter } from './proto-writer.ts';

let lastIds: { readonly clusterId: bigint; readonly memberId: bigint; readonly bytes: Buffer } | undefined;
const scratch = new ProtoWriter();

/** Ids hardly ever change, while encoding a bigint costs as much as the rest of a small answer. */
function idBytes(header: ResponseHeader): Buffer {
  if (lastIds?.clusterId === header.clusterId && lastIds.memberId === header.memberId) return lastIds.bytes;
  scratch.id(2, header.memberId);
  scratch.id(1, header.clusterId);
  lastIds = { clusterId: header.clusterId, memberId: header.memberId, bytes: scratch.take() };
  return lastIds.bytes;
}

/** As field 1, where every answer has it. */
export function writeHeader(writer: ProtoWriter, header: ResponseHeader): void {
  const mark = writer.size;
  writer.integer(4, header.raftTerm);
  writer.integer(3, header.revision ?? 0);
  writer.raw(idBytes(header));
  writer.message(1, mark);
}

/** The header of an answer inside a transaction's: the revision alone. */
export function writeRevisionHeader(writer: ProtoWriter, revision: number): void {
  const mark = writer.size;
  writer.integer(3, revision);
  writer.message(1, mark);
}

export const NO_HEADER: ResponseHeader = { clusterId: 0n, memberId: 0n, raftTerm: 0 };

export function readHeader(reader: ProtoReader): ResponseHeader {
  const end = reader.message();
  let clusterId = 0n;
  let memberId = 0n;
  let revision = 0;
  let raftTerm = 0;
  while (reader.more(end)) {
    const tag = reader.tag();
    if (tag === 0x08) clusterId = reader.unsigned();
    else if (tag === 0x10) memberId = reader.unsigned();
    else if (tag === 0x18) revision = reader.integer();
    else if (tag === 0x20) raftTerm = reader.integer();
    else reader.unknown(tag, 4);
  }
  reader.leave(end);
  return revision === 0 ? { clusterId, memberId, raftTerm } : { clusterId, memberId, revision, raftTerm };
}

/** An int64 or uint64 of a generated message; one beyond the safe integers is taken as the nearest of these. */
export function numberOf(value: bigint): number {
  if (value > MAX_SAFE) return Number.MAX_SAFE_INTEGER;
  return value < -MAX_SAFE ? Number.MIN_SAFE_INTEGER : Number(value);
}
const MAX_SAFE = BigInt(Number.MAX_SAFE_INTEGER);

/** For generated messages. */
export function headerMessage(header: ResponseHeader) {
  return {
    clusterId: header.clusterId,
    memberId: header.memberId,
    revision: BigInt(header.revision ?? 0),
    raftTerm: BigInt(header.raftTerm),
  };
}

/** Out of generated messages; an answer without one (etcd 3.4 has such) has zeros. */
export function headerOf(message: HeaderMessage | undefined): ResponseHeader {
  if (message === undefined) return NO_HEADER;
  const { clusterId, memberId, revision, raftTerm } = message;
  const ids = { clusterId, memberId, raftTerm: numberOf(raftTerm) };
  return revision === 0n ? ids : { ...ids, revision: numberOf(revision) };
}
