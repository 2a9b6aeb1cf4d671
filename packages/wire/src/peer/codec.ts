/**
 * Messages between members as bytes. The layout is version 1 of the peer protocol: a kind byte, then fields in the
 * order written here. Versions are negotiated in the handshake; within a version the layout never changes.
 */
import { assert, assertNever } from '@muster/base';
import type { PeerMessage } from '@muster/member';
import type { ConfState, Entry, Message, MessageType, ProposalRefusal, SnapshotMeta } from '@muster/raft';
import { ByteReader, type ByteWriter, MalformedFrame } from './bytes.ts';
import { PEER_LIMITS } from './limits.ts';

type MessageOf<T extends MessageType> = Extract<Message, { readonly type: T }>;
type Addressed = Pick<Message, 'from' | 'to' | 'term'>;

/** Numbers on the wire; never reused, new ones go to the end. */
const CODES = [
  'append',
  'appendResponse',
  'heartbeat',
  'heartbeatResponse',
  'vote',
  'voteResponse',
  'preVote',
  'preVoteResponse',
  'snapshot',
  'timeoutNow',
  'readIndex',
  'readIndexResponse',
  'propose',
  'transferLeader',
  'proposeRefused',
] as const satisfies readonly MessageType[];

const CODE_OF: Readonly<Record<MessageType, number>> = Object.fromEntries(
  CODES.map((type, code) => [type, code]),
) as Record<MessageType, number>;

const REFUSALS = [
  'noLeader',
  'transferring',
  'overloaded',
  'notMember',
  'confChangePending',
  'invalidConfChange',
] as const satisfies readonly ProposalRefusal[];

const KIND_RAFT = 0;
const KIND_REQUEST = 1;
const KIND_RESPONSE = 2;

export function encodePeerMessage(writer: ByteWriter, message: PeerMessage): void {
  switch (message.type) {
    case 'raft':
      writer.u8(KIND_RAFT);
      encodeRaftMessage(writer, message.message);
      return;
    case 'request':
    case 'response':
      writer.u8(message.type === 'request' ? KIND_REQUEST : KIND_RESPONSE);
      writer.varint(message.id);
      writer.raw(message.body);
      return;
    default:
      assertNever(message, 'peer message');
  }
}

/** `bytes` is one whole message; bodies and entry data are views of it. Throws `MalformedFrame`. */
export function decodePeerMessage(bytes: Uint8Array): PeerMessage {
  const reader = new ByteReader(bytes);
  const kind = reader.u8();
  if (kind === KIND_RAFT) {
    const message = decodeRaftMessage(reader);
    reader.end();
    return { type: 'raft', message };
  }
  if (kind !== KIND_REQUEST && kind !== KIND_RESPONSE) {
    throw new MalformedFrame(`unknown kind of peer message: ${kind}`);
  }
  const id = reader.varint();
  return { type: kind === KIND_REQUEST ? 'request' : 'response', id, body: reader.rest() };
}

/** An upper bound of what `encodePeerMessage` will write, without encoding. */
export function peerMessageBytes(message: PeerMessage): number {
  const overhead = 96;
  if (message.type !== 'raft') return overhead + message.body.length;
  const raft = message.message;
  switch (raft.type) {
    case 'append':
    case 'propose': {
      let bytes = overhead;
      for (const entry of raft.entries) bytes += 16 + entry.data.length;
      return bytes;
    }
    case 'snapshot':
      return overhead + 40 + 8 * idsOf(raft.snapshot.confState);
    default:
      return overhead;
  }
}

function idsOf(state: ConfState): number {
  return (
    state.voters.length + state.votersOutgoing.length + state.learners.length + state.learnersNext.length
  );
}

export function encodeRaftMessage(writer: ByteWriter, message: Message): void {
  writer.u8(CODE_OF[message.type]);
  writer.u64(message.from);
  writer.u64(message.to);
  writer.varint(message.term);
  switch (message.type) {
    case 'append':
      encodeAppend(writer, message);
      return;
    case 'appendResponse':
      writer.varint(message.index);
      writer.bool(message.reject);
      writer.varint(message.hintIndex);
      writer.varint(message.hintTerm);
      return;
    case 'heartbeat':
      writer.varint(message.commit);
      writer.varint(message.context);
      return;
    case 'vote':
    case 'preVote':
      writer.varint(message.lastIndex);
      writer.varint(message.lastTerm);
      writer.bool(message.transfer);
      writer.varint(message.commit);
      writer.varint(message.commitTerm);
      return;
    case 'voteResponse':
    case 'preVoteResponse':
      writer.bool(message.reject);
      writer.varint(message.commit);
      writer.varint(message.commitTerm);
      return;
    case 'snapshot':
      encodeSnapshotMeta(writer, message.snapshot);
      return;
    case 'timeoutNow':
      return;
    case 'heartbeatResponse':
    case 'readIndex':
      writer.varint(message.context);
      return;
    case 'readIndexResponse':
      writer.varint(message.context);
      writer.varint(message.index);
      return;
    case 'propose':
      writer.varint(message.context);
      writer.varint(message.entries.length);
      for (const entry of message.entries) encodeData(writer, entry);
      return;
    case 'transferLeader':
      writer.u64(message.target);
      return;
    case 'proposeRefused':
      writer.varint(message.context);
      writer.u8(REFUSALS.indexOf(message.reason));
      return;
    default:
      assertNever(message, 'raft message');
  }
}

/** Entry data are views of the reader's bytes. */
export function decodeRaftMessage(reader: ByteReader): Message {
  const code = reader.u8();
  const type = CODES[code];
  if (type === undefined) throw new MalformedFrame(`unknown raft message: ${code}`);
  const base: Addressed = { from: reader.u64(), to: reader.u64(), term: reader.varint() };
  switch (type) {
    case 'append':
      return decodeAppend(reader, base);
    case 'appendResponse':
      return {
        type,
        ...base,
        index: reader.varint(),
        reject: reader.bool(),
        hintIndex: reader.varint(),
        hintTerm: reader.varint(),
      };
    case 'heartbeat':
      return { type, ...base, commit: reader.varint(), context: reader.varint() };
    case 'vote':
    case 'preVote':
      return {
        type,
        ...base,
        lastIndex: reader.varint(),
        lastTerm: reader.varint(),
        transfer: reader.bool(),
        commit: reader.varint(),
        commitTerm: reader.varint(),
      };
    case 'voteResponse':
    case 'preVoteResponse':
      return { type, ...base, reject: reader.bool(), commit: reader.varint(), commitTerm: reader.varint() };
    case 'snapshot':
      return { type, ...base, snapshot: decodeSnapshotMeta(reader) };
    case 'timeoutNow':
      return { type, ...base };
    case 'heartbeatResponse':
    case 'readIndex':
      return { type, ...base, context: reader.varint() };
    case 'readIndexResponse':
      return { type, ...base, context: reader.varint(), index: reader.varint() };
    case 'propose':
      return decodePropose(reader, base);
    case 'transferLeader':
      return { type, ...base, target: reader.u64() };
    case 'proposeRefused':
      return { type, ...base, context: reader.varint(), reason: refusalOf(reader.u8()) };
    default:
      return assertNever(type, 'raft message');
  }
}

/** Indexes are not written: entries follow (prevIndex, prevTerm) without a gap. */
function encodeAppend(writer: ByteWriter, message: MessageOf<'append'>): void {
  writer.varint(message.prevIndex);
  writer.varint(message.prevTerm);
  writer.varint(message.commit);
  writer.varint(message.entries.length);
  let index = message.prevIndex;
  for (const entry of message.entries) {
    index++;
    assert(entry.index === index, () => `entry ${entry.index} at the place of ${index}`);
    writer.varint(entry.term);
    encodeData(writer, entry);
  }
}

function decodeAppend(reader: ByteReader, base: Addressed): Message {
  const prevIndex = reader.varint();
  const prevTerm = reader.varint();
  const commit = reader.varint();
  const count = countOf(reader, 2);
  if (!Number.isSafeInteger(prevIndex + count)) throw new MalformedFrame('an entry index exceeds 2^53 - 1');
  const entries: Entry[] = [];
  for (let i = 1; i <= count; i++) {
    const term = reader.varint();
    const tagged = reader.varint();
    const type = tagged % 2 === 1 ? 'config' : 'normal';
    entries.push({ term, index: prevIndex + i, type, data: reader.raw(Math.floor(tagged / 2)) });
  }
  return { type: 'append', ...base, prevIndex, prevTerm, entries, commit };
}

function decodePropose(reader: ByteReader, base: Addressed): Message {
  const context = reader.varint();
  const count = countOf(reader, 1);
  const entries: Pick<Entry, 'type' | 'data'>[] = [];
  for (let i = 0; i < count; i++) {
    const tagged = reader.varint();
    const type = tagged % 2 === 1 ? 'config' : 'normal';
    entries.push({ type, data: reader.raw(Math.floor(tagged / 2)) });
  }
  return { type: 'propose', ...base, context, entries };
}

function refusalOf(code: number): ProposalRefusal {
  const reason = REFUSALS[code];
  if (reason === undefined) throw new MalformedFrame(`unknown reason of a refused proposal: ${code}`);
  return reason;
}

/** The lowest bit of the length says `config`. */
function encodeData(writer: ByteWriter, entry: Pick<Entry, 'type' | 'data'>): void {
  writer.varint(entry.data.length * 2 + (entry.type === 'config' ? 1 : 0));
  writer.raw(entry.data);
}

/** A count is believed only as far as the bytes that are there could carry it. */
function countOf(reader: ByteReader, bytesEach: number, max = Number.MAX_SAFE_INTEGER): number {
  const count = reader.varint();
  if (count > max || count * bytesEach > reader.remaining) {
    throw new MalformedFrame(`a list of ${count} in ${reader.remaining} bytes`);
  }
  return count;
}

function encodeSnapshotMeta(writer: ByteWriter, meta: SnapshotMeta): void {
  writer.varint(meta.index);
  writer.varint(meta.term);
  const state = meta.confState;
  for (const ids of [state.voters, state.votersOutgoing, state.learners, state.learnersNext]) {
    writer.varint(ids.length);
    for (const id of ids) writer.u64(id);
  }
  writer.bool(state.autoLeave);
}

function decodeSnapshotMeta(reader: ByteReader): SnapshotMeta {
  const index = reader.varint();
  const term = reader.varint();
  const ids = (): bigint[] => {
    const count = countOf(reader, 8, PEER_LIMITS.confStateIds);
    return Array.from({ length: count }, () => reader.u64());
  };
  const confState: ConfState = {
    voters: ids(),
    votersOutgoing: ids(),
    learners: ids(),
    learnersNext: ids(),
    autoLeave: reader.bool(),
  };
  return { index, term, confState };
}
