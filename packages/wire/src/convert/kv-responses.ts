/** Answers of the key-value service. */
import type {
  DeleteRangeResult,
  KeyValue,
  PutResult,
  RangeResult,
  ResponseHeader,
  WithHeader,
} from '@muster/kv';
import { handCodec } from './codec.ts';
import { NO_HEADER, readHeader, writeHeader } from './header.ts';
import { readKeyValue, writeKeyValue, writeKeyValues } from './key-value.ts';
import type { ProtoReader } from './proto-reader.ts';
import type { ProtoWriter } from './proto-writer.ts';

/** Everything behind the header. */
export function writeRangeResult(writer: ProtoWriter, result: RangeResult): void {
  writer.integer(4, result.count);
  writer.flag(3, result.more);
  writeKeyValues(writer, 2, result.kvs);
}

export function readRangeResult(reader: ProtoReader, end: number): WithHeader<RangeResult> {
  const kvs: KeyValue[] = [];
  let header: ResponseHeader = NO_HEADER;
  let more = false;
  let count = 0;
  while (reader.more(end)) {
    const tag = reader.tag();
    if (tag === 0x0a) header = readHeader(reader);
    else if (tag === 0x12) kvs.push(readKeyValue(reader));
    else if (tag === 0x18) more = reader.flag();
    else if (tag === 0x20) count = reader.integer();
    else reader.unknown(tag, 4);
  }
  return { header, revision: header.revision ?? 0, kvs, more, count };
}

export function writePutResult(writer: ProtoWriter, result: PutResult): void {
  if (result.prevKv !== undefined) writeKeyValue(writer, 2, result.prevKv);
}

export function readPutResult(reader: ProtoReader, end: number): WithHeader<PutResult> {
  let header: ResponseHeader = NO_HEADER;
  let prevKv: KeyValue | undefined;
  while (reader.more(end)) {
    const tag = reader.tag();
    if (tag === 0x0a) header = readHeader(reader);
    else if (tag === 0x12) prevKv = readKeyValue(reader);
    else reader.unknown(tag, 2);
  }
  const revision = header.revision ?? 0;
  return prevKv === undefined ? { header, revision } : { header, revision, prevKv };
}

export function writeDeleteRangeResult(writer: ProtoWriter, result: DeleteRangeResult): void {
  writeKeyValues(writer, 3, result.prevKvs);
  writer.integer(2, result.deleted);
}

export function readDeleteRangeResult(reader: ProtoReader, end: number): WithHeader<DeleteRangeResult> {
  const prevKvs: KeyValue[] = [];
  let header: ResponseHeader = NO_HEADER;
  let deleted = 0;
  while (reader.more(end)) {
    const tag = reader.tag();
    if (tag === 0x0a) header = readHeader(reader);
    else if (tag === 0x10) deleted = reader.integer();
    else if (tag === 0x1a) prevKvs.push(readKeyValue(reader));
    else reader.unknown(tag, 3);
  }
  return { header, revision: header.revision ?? 0, deleted, prevKvs };
}

/** A codec for an answer: what `writeResult` writes, behind the header. */
export function answerCodec<T extends { readonly header: ResponseHeader }>(
  writeResult: (writer: ProtoWriter, result: T) => void,
  read: (reader: ProtoReader, end: number) => T,
) {
  return handCodec<T>((writer, result) => {
    writeResult(writer, result);
    writeHeader(writer, result.header);
  }, read);
}

export const rangeResponse = answerCodec(writeRangeResult, readRangeResult);
export const putResponse = answerCodec(writePutResult, readPutResult);
export const deleteRangeResponse = answerCodec(writeDeleteRangeResult, readDeleteRangeResult);

/** Answers that say nothing but when. */
export const headerResponse = answerCodec<WithHeader<unknown>>(
  () => {},
  (reader, end) => {
    let header: ResponseHeader = NO_HEADER;
    while (reader.more(end)) {
      const tag = reader.tag();
      if (tag === 0x0a) header = readHeader(reader);
      else reader.unknown(tag, 1);
    }
    return { header };
  },
);
