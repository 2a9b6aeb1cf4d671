/** Records of the small tables: leases, members, alarms, and the store's own entry in `meta`. */
import { utf8 } from '@muster/base';
import { ByteReader, ByteWriter } from './byte-codec.ts';
import type { EngineReader } from './engine.ts';
import { type Revision, revisionKey, revisionMain, revisionSub } from './revision.ts';
import type { Alarm, AlarmType, MemberInfo } from './types.ts';

/** A fresh store stands at 1, so that the first write gets revision 2, and was never compacted. */
export const FIRST_REVISION = 1;
export const NEVER_COMPACTED = -1;

const FORMAT = 1;
const LEARNER = 1;
const REMOVED = 2;

export const STORE_META_KEY: Uint8Array = utf8('store');

/** A compaction under way: everything it has to remove before `cursor` is removed. */
export type CompactionState = { readonly target: number; readonly cursor: Revision };
export type StoreMeta = {
  readonly currentRevision: number;
  readonly compactRevision: number;
  /** The revision up to which removal is complete; -1 when nothing was ever removed. */
  readonly finishedRevision: number;
  readonly compaction: CompactionState | undefined;
};

const writer = new ByteWriter();

function open(bytes: Uint8Array, what: string): ByteReader {
  const reader = new ByteReader(bytes);
  const format = reader.u8();
  if (format !== FORMAT)
    throw new Error(`${what} is of format ${format}; this version reads format ${FORMAT}`);
  return reader;
}

export function encodeStoreMeta(meta: StoreMeta): Uint8Array {
  writer.u8(FORMAT);
  writer.varint(meta.currentRevision);
  writer.signedVarint(meta.compactRevision);
  writer.signedVarint(meta.finishedRevision);
  writer.u8(meta.compaction === undefined ? 0 : 1);
  if (meta.compaction !== undefined) {
    writer.varint(meta.compaction.target);
    writer.raw(revisionKey(meta.compaction.cursor.main, meta.compaction.cursor.sub));
  }
  return writer.take();
}

function decodeStoreMeta(bytes: Uint8Array): StoreMeta {
  const reader = open(bytes, 'the store record');
  const currentRevision = reader.varint();
  const compactRevision = reader.signedVarint();
  const finishedRevision = reader.signedVarint();
  if (reader.u8() === 0) return { currentRevision, compactRevision, finishedRevision, compaction: undefined };
  const target = reader.varint();
  const cursor = reader.rest();
  const at = { main: revisionMain(cursor), sub: revisionSub(cursor) };
  return { currentRevision, compactRevision, finishedRevision, compaction: { target, cursor: at } };
}

const EMPTY_STORE_META: StoreMeta = {
  currentRevision: FIRST_REVISION,
  compactRevision: NEVER_COMPACTED,
  finishedRevision: NEVER_COMPACTED,
  compaction: undefined,
};

export function readStoreMeta(engine: EngineReader): StoreMeta {
  const record = engine.get('meta', STORE_META_KEY);
  return record === undefined ? EMPTY_STORE_META : decodeStoreMeta(record);
}

/** A 64-bit id as a table key. Signed ids keep their bits. */
export function idKey(id: bigint): Uint8Array {
  writer.u64(id);
  return writer.take();
}

export function idOfKey(key: Uint8Array): bigint {
  return new ByteReader(key).u64();
}

export type LeaseRecord = { readonly ttlSeconds: number; readonly remainingTtlSeconds: number };

export function encodeLease(lease: LeaseRecord): Uint8Array {
  writer.u8(FORMAT);
  writer.varint(lease.ttlSeconds);
  writer.varint(lease.remainingTtlSeconds);
  return writer.take();
}

export function decodeLease(bytes: Uint8Array): LeaseRecord {
  const reader = open(bytes, 'a lease record');
  const ttlSeconds = reader.varint();
  return { ttlSeconds, remainingTtlSeconds: reader.varint() };
}

/** A member, or what is left of a removed one: its id must never come back. */
export type MemberRecord = MemberInfo & { readonly removed: boolean };

export function encodeMember(member: MemberRecord): Uint8Array {
  writer.u8(FORMAT);
  writer.u8((member.isLearner ? LEARNER : 0) | (member.removed ? REMOVED : 0));
  writer.text(member.name);
  for (const urls of [member.peerUrls, member.clientUrls]) {
    writer.varint(urls.length);
    for (const url of urls) writer.text(url);
  }
  return writer.take();
}

export function decodeMember(id: bigint, bytes: Uint8Array): MemberRecord {
  const reader = open(bytes, 'a member record');
  const flags = reader.u8();
  const name = reader.text();
  const peerUrls = reader.list(() => reader.text());
  const clientUrls = reader.list(() => reader.text());
  const isLearner = (flags & LEARNER) !== 0;
  return { id, name, peerUrls, clientUrls, isLearner, removed: (flags & REMOVED) !== 0 };
}

const ALARM_TYPES: readonly AlarmType[] = ['none', 'nospace', 'corrupt'];

export function alarmKey(alarm: Alarm): Uint8Array {
  writer.u64(alarm.memberId);
  writer.u8(ALARM_TYPES.indexOf(alarm.alarm));
  return writer.take();
}

export function alarmOfKey(key: Uint8Array): Alarm {
  const reader = new ByteReader(key);
  const memberId = reader.u64();
  return { memberId, alarm: ALARM_TYPES[reader.u8()] ?? 'none' };
}
