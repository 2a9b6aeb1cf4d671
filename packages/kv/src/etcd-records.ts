/** The records of etcd's backend (reference 1.3, 2.1): revisions with their key-values, leases, alarms. */
import { hex } from '@muster/base';
import { ByteWriter } from './byte-codec.ts';
import {
  BackendDamaged,
  ProtoReader,
  writeBigField,
  writeBytesField,
  writeNumberField,
} from './etcd-proto.ts';
import type { Revision } from './revision.ts';
import type { Alarm, AlarmType, KeyValue } from './types.ts';

const SEPARATOR = 0x5f;
const TOMBSTONE_MARK = 0x74;
const REVISION_BYTES = 17;
const ALARM_TYPES: readonly AlarmType[] = ['none', 'nospace', 'corrupt'];

const writer = new ByteWriter({ pooling: true });

/** 8 bytes main, `_`, 8 bytes sub; `t` behind them marks a deletion. */
export function etcdRevisionKey(at: Revision, deleted = false): Uint8Array {
  const key = new Uint8Array(deleted ? REVISION_BYTES + 1 : REVISION_BYTES);
  const view = new DataView(key.buffer);
  view.setUint32(0, Math.floor(at.main / 2 ** 32));
  view.setUint32(4, at.main >>> 0);
  key[8] = SEPARATOR;
  view.setUint32(13, at.sub);
  if (deleted) key[REVISION_BYTES] = TOMBSTONE_MARK;
  return key;
}

export function parseRevisionKey(key: Uint8Array): Revision & { readonly deleted: boolean } {
  const deleted = key.length === REVISION_BYTES + 1 && key[REVISION_BYTES] === TOMBSTONE_MARK;
  if ((key.length !== REVISION_BYTES && !deleted) || key[8] !== SEPARATOR) {
    throw new BackendDamaged(`"${hex(key)}" is no revision of etcd's`);
  }
  const view = new DataView(key.buffer, key.byteOffset, key.byteLength);
  const main = view.getUint32(0) * 2 ** 32 + view.getUint32(4);
  const sub = view.getUint32(9) * 2 ** 32 + view.getUint32(13);
  if (main > Number.MAX_SAFE_INTEGER || sub >= 2 ** 32) {
    throw new BackendDamaged(`revision "${hex(key)}" is larger than any that there can be`);
  }
  return { main, sub, deleted };
}

/** mvccpb.KeyValue. Of a deletion the key alone. */
export function etcdKeyValue(kv: KeyValue, deleted: boolean): Uint8Array {
  writeBytesField(writer, 1, kv.key);
  if (!deleted) {
    writeNumberField(writer, 2, kv.createRevision);
    writeNumberField(writer, 3, kv.modRevision);
    writeNumberField(writer, 4, kv.version);
    writeBytesField(writer, 5, kv.value);
    writeBigField(writer, 6, kv.lease);
  }
  return writer.take();
}

const NO_BYTES = new Uint8Array(0);

export function parseKeyValue(bytes: Uint8Array): KeyValue {
  const reader = new ProtoReader(bytes, 'a key-value');
  const kv = { key: NO_BYTES, value: NO_BYTES, createRevision: 0, modRevision: 0, version: 0, lease: 0n };
  while (reader.next()) {
    if (reader.field === 1) kv.key = reader.bytes() as typeof NO_BYTES;
    else if (reader.field === 2) kv.createRevision = reader.number();
    else if (reader.field === 3) kv.modRevision = reader.number();
    else if (reader.field === 4) kv.version = reader.number();
    else if (reader.field === 5) kv.value = reader.bytes() as typeof NO_BYTES;
    else if (reader.field === 6) kv.lease = BigInt.asIntN(64, reader.big());
  }
  if (kv.key.length === 0) throw new BackendDamaged('a key-value without a key');
  return kv;
}

type EtcdLease = {
  readonly id: bigint;
  readonly ttlSeconds: number;
  readonly remainingTtlSeconds: number;
};

/** leasepb.Lease; `id` keeps its bits. */
export function etcdLease({ id, ttlSeconds, remainingTtlSeconds }: EtcdLease): Uint8Array {
  writeBigField(writer, 1, id);
  writeNumberField(writer, 2, ttlSeconds);
  writeNumberField(writer, 3, remainingTtlSeconds);
  return writer.take();
}

export function parseLease(bytes: Uint8Array): EtcdLease {
  const reader = new ProtoReader(bytes, 'a lease');
  const lease = { id: 0n, ttlSeconds: 0, remainingTtlSeconds: 0 };
  while (reader.next()) {
    if (reader.field === 1) lease.id = BigInt.asIntN(64, reader.big());
    else if (reader.field === 2) lease.ttlSeconds = reader.number();
    else if (reader.field === 3) lease.remainingTtlSeconds = reader.number();
  }
  return lease;
}

/** etcdserverpb.AlarmMember, which is the key of its own entry. */
export function etcdAlarm(alarm: Alarm): Uint8Array {
  writeBigField(writer, 1, alarm.memberId);
  writeNumberField(writer, 2, ALARM_TYPES.indexOf(alarm.alarm));
  return writer.take();
}

export function parseAlarm(bytes: Uint8Array): Alarm {
  const reader = new ProtoReader(bytes, 'an alarm');
  let memberId = 0n;
  let kind = 0;
  while (reader.next()) {
    if (reader.field === 1) memberId = reader.big();
    else if (reader.field === 2) kind = reader.number();
  }
  const alarm = ALARM_TYPES[kind];
  if (alarm === undefined) throw new BackendDamaged(`an alarm of unknown kind ${kind}`);
  return { memberId, alarm };
}
