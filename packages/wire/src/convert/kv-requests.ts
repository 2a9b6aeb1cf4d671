/** Requests of the key-value service. Unset fields stay absent. */
import { EMPTY_BYTES } from '@muster/base';
import { KvError } from '@muster/contract';
import type { CompactRequest, DeleteRangeRequest, PutRequest, RangeRequest } from '@muster/kv';
import { handCodec } from './codec.ts';
import { SORT_ORDERS, SORT_TARGETS } from './names.ts';
import type { ProtoReader } from './proto-reader.ts';
import type { ProtoWriter } from './proto-writer.ts';

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

export function writeRange(writer: ProtoWriter, request: RangeRequest): void {
  writer.integer(13, request.maxCreateRevision ?? 0);
  writer.integer(12, request.minCreateRevision ?? 0);
  writer.integer(11, request.maxModRevision ?? 0);
  writer.integer(10, request.minModRevision ?? 0);
  writer.flag(9, request.countOnly);
  writer.flag(8, request.keysOnly);
  writer.flag(7, request.serializable);
  writer.integer(6, SORT_TARGETS.indexOf(request.sortTarget ?? 'key'));
  writer.integer(5, SORT_ORDERS.indexOf(request.sortOrder ?? 'none'));
  writer.integer(4, request.revision ?? 0);
  writer.integer(3, request.limit ?? 0);
  writer.bytes(2, request.rangeEnd);
  writer.bytes(1, request.key);
}

/** Throws `INVALID_SORT_OPTION` for an order or target without a name. */
export function readRange(reader: ProtoReader, end: number): RangeRequest {
  const request: Mutable<RangeRequest> = { key: EMPTY_BYTES };
  let sorted = true;
  while (reader.more(end)) {
    const tag = reader.tag();
    switch (tag) {
      case 0x0a:
        request.key = reader.bytes();
        break;
      case 0x12:
        request.rangeEnd = reader.bytes();
        break;
      case 0x18:
        request.limit = reader.integer();
        break;
      case 0x20:
        request.revision = reader.integer();
        break;
      case 0x28:
        sorted = setName(request, 'sortOrder', SORT_ORDERS[reader.enum()]) && sorted;
        break;
      case 0x30:
        sorted = setName(request, 'sortTarget', SORT_TARGETS[reader.enum()]) && sorted;
        break;
      case 0x38:
        request.serializable = reader.flag();
        break;
      case 0x40:
        request.keysOnly = reader.flag();
        break;
      case 0x48:
        request.countOnly = reader.flag();
        break;
      default:
        readRevisionBound(reader, tag, request);
    }
  }
  if (!sorted) throw new KvError(request.key.length === 0 ? 'EMPTY_KEY' : 'INVALID_SORT_OPTION');
  return request;
}

function readRevisionBound(reader: ProtoReader, tag: number, request: Mutable<RangeRequest>): void {
  if (tag === 0x50) request.minModRevision = reader.integer();
  else if (tag === 0x58) request.maxModRevision = reader.integer();
  else if (tag === 0x60) request.minCreateRevision = reader.integer();
  else if (tag === 0x68) request.maxCreateRevision = reader.integer();
  else reader.unknown(tag, 13);
}

function setName<K extends 'sortOrder' | 'sortTarget'>(
  request: Mutable<RangeRequest>,
  field: K,
  name: RangeRequest[K],
): boolean {
  if (name === undefined) return false;
  (request as Mutable<Required<RangeRequest>>)[field] = name as Required<RangeRequest>[K];
  return true;
}

export function writePut(writer: ProtoWriter, request: PutRequest): void {
  writer.flag(6, request.ignoreLease);
  writer.flag(5, request.ignoreValue);
  writer.flag(4, request.prevKv);
  writer.id(3, request.lease ?? 0n);
  writer.bytes(2, request.value);
  writer.bytes(1, request.key);
}

export function readPut(reader: ProtoReader, end: number): PutRequest {
  const request: Mutable<PutRequest> = { key: EMPTY_BYTES };
  while (reader.more(end)) {
    const tag = reader.tag();
    if (tag === 0x0a) request.key = reader.bytes();
    else if (tag === 0x12) request.value = reader.bytes();
    else if (tag === 0x18) request.lease = reader.signed();
    else if (tag === 0x20) request.prevKv = reader.flag();
    else if (tag === 0x28) request.ignoreValue = reader.flag();
    else if (tag === 0x30) request.ignoreLease = reader.flag();
    else reader.unknown(tag, 6);
  }
  return request;
}

export function writeDeleteRange(writer: ProtoWriter, request: DeleteRangeRequest): void {
  writer.flag(3, request.prevKv);
  writer.bytes(2, request.rangeEnd);
  writer.bytes(1, request.key);
}

export function readDeleteRange(reader: ProtoReader, end: number): DeleteRangeRequest {
  const request: Mutable<DeleteRangeRequest> = { key: EMPTY_BYTES };
  while (reader.more(end)) {
    const tag = reader.tag();
    if (tag === 0x0a) request.key = reader.bytes();
    else if (tag === 0x12) request.rangeEnd = reader.bytes();
    else if (tag === 0x18) request.prevKv = reader.flag();
    else reader.unknown(tag, 3);
  }
  return request;
}

function writeCompaction(writer: ProtoWriter, request: CompactRequest): void {
  writer.flag(2, request.physical);
  writer.integer(1, request.revision);
}

function readCompaction(reader: ProtoReader, end: number): CompactRequest {
  const request: Mutable<CompactRequest> = { revision: 0 };
  while (reader.more(end)) {
    const tag = reader.tag();
    if (tag === 0x08) request.revision = reader.integer();
    else if (tag === 0x10) request.physical = reader.flag();
    else reader.unknown(tag, 2);
  }
  return request;
}

export const compactRequest = handCodec(writeCompaction, readCompaction);
export const rangeRequest = handCodec(writeRange, readRange);
export const putRequest = handCodec(writePut, readPut);
export const deleteRangeRequest = handCodec(writeDeleteRange, readDeleteRange);
