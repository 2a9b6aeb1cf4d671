import { EMPTY_BYTES } from '@muster/base';
import type { Event, KeyValue } from '@muster/kv';
import { ProtoError, type ProtoReader } from './proto-reader.ts';
import type { ProtoWriter } from './proto-writer.ts';

export function writeKeyValue(writer: ProtoWriter, field: number, kv: KeyValue): void {
  const mark = writer.size;
  writer.id(6, kv.lease);
  writer.bytes(5, kv.value);
  writer.integer(4, kv.version);
  writer.integer(3, kv.modRevision);
  writer.integer(2, kv.createRevision);
  writer.bytes(1, kv.key);
  writer.message(field, mark);
}

export function writeKeyValues(writer: ProtoWriter, field: number, kvs: readonly KeyValue[]): void {
  for (let i = kvs.length - 1; i >= 0; i--) writeKeyValue(writer, field, kvs[i] as KeyValue);
}

export function readKeyValue(reader: ProtoReader): KeyValue {
  const end = reader.message();
  let key = EMPTY_BYTES;
  let value = EMPTY_BYTES;
  let createRevision = 0;
  let modRevision = 0;
  let version = 0;
  let lease = 0n;
  while (reader.more(end)) {
    const tag = reader.tag();
    if (tag === 0x0a) key = reader.bytes();
    else if (tag === 0x10) createRevision = reader.integer();
    else if (tag === 0x18) modRevision = reader.integer();
    else if (tag === 0x20) version = reader.integer();
    else if (tag === 0x2a) value = reader.bytes();
    else if (tag === 0x30) lease = reader.signed();
    else reader.unknown(tag, 6);
  }
  reader.leave(end);
  return { key, value, createRevision, modRevision, version, lease };
}

export function writeEvent(writer: ProtoWriter, field: number, event: Event): void {
  const mark = writer.size;
  if (event.prevKv !== undefined) writeKeyValue(writer, 3, event.prevKv);
  writeKeyValue(writer, 2, event.kv);
  writer.integer(1, event.type === 'delete' ? 1 : 0);
  writer.message(field, mark);
}

export function readEvent(reader: ProtoReader): Event {
  const end = reader.message();
  let type: Event['type'] = 'put';
  let kv: KeyValue | undefined;
  let prevKv: KeyValue | undefined;
  while (reader.more(end)) {
    const tag = reader.tag();
    if (tag === 0x08) type = reader.enum() === 1 ? 'delete' : 'put';
    else if (tag === 0x12) kv = readKeyValue(reader);
    else if (tag === 0x1a) prevKv = readKeyValue(reader);
    else reader.unknown(tag, 3);
  }
  reader.leave(end);
  if (kv === undefined) throw new ProtoError('an event without its key');
  return prevKv === undefined ? { type, kv } : { type, kv, prevKv };
}
