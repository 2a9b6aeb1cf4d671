import { EMPTY_BYTES } from '@muster/base';
import type {
  Compare,
  RequestOp,
  ResponseHeader,
  ResponseOp,
  TxnRequest,
  TxnResult,
  WithHeader,
} from '@muster/kv';
import { handCodec } from './codec.ts';
import { NO_HEADER, readHeader, writeRevisionHeader } from './header.ts';
import {
  readDeleteRange,
  readPut,
  readRange,
  writeDeleteRange,
  writePut,
  writeRange,
} from './kv-requests.ts';
import {
  answerCodec,
  readDeleteRangeResult,
  readPutResult,
  readRangeResult,
  writeDeleteRangeResult,
  writePutResult,
  writeRangeResult,
} from './kv-responses.ts';
import { COMPARE_RESULTS, COMPARE_TARGETS, numberOfName } from './names.ts';
import { ProtoError, type ProtoReader } from './proto-reader.ts';
import type { ProtoWriter } from './proto-writer.ts';

/** As deep as transactions may nest; what the operations' budget allows is far less. */
const DEPTH_MAX = 64;

function writeCompare(writer: ProtoWriter, field: number, compare: Compare): void {
  const mark = writer.size;
  writer.bytes(64, compare.rangeEnd);
  writeOperand(writer, compare.operand);
  writer.bytes(3, compare.key);
  writer.integer(2, numberOfName(COMPARE_TARGETS, compare.target));
  writer.integer(1, numberOfName(COMPARE_RESULTS, compare.result));
  writer.message(field, mark);
}

function writeOperand(writer: ProtoWriter, operand: Compare['operand']): void {
  switch (operand?.kind) {
    case undefined:
      return;
    case 'version':
      return writer.setInteger(4, operand.number);
    case 'create':
      return writer.setInteger(5, operand.number);
    case 'mod':
      return writer.setInteger(6, operand.number);
    case 'value':
      return writer.setBytes(7, operand.bytes);
    case 'lease':
      return writer.setId(8, operand.id);
  }
}

function readCompare(reader: ProtoReader): Compare {
  const end = reader.message();
  let key = EMPTY_BYTES;
  let rangeEnd: Uint8Array | undefined;
  let result = 0;
  let target = 0;
  let operand: Compare['operand'];
  while (reader.more(end)) {
    const tag = reader.tag();
    if (tag === 0x08) result = reader.enum();
    else if (tag === 0x10) target = reader.enum();
    else if (tag === 0x1a) key = reader.bytes();
    else if (tag === RANGE_END_TAG) rangeEnd = reader.bytes();
    else operand = readOperand(reader, tag) ?? operand;
  }
  reader.leave(end);
  return {
    key,
    ...(rangeEnd === undefined ? {} : { rangeEnd }),
    result: COMPARE_RESULTS[result] ?? result,
    target: COMPARE_TARGETS[target] ?? target,
    ...(operand === undefined ? {} : { operand }),
  };
}
const RANGE_END_TAG = 64 * 8 + 2;

function readOperand(reader: ProtoReader, tag: number): Compare['operand'] {
  switch (tag) {
    case 0x20:
      return { kind: 'version', number: reader.integer() };
    case 0x28:
      return { kind: 'create', number: reader.integer() };
    case 0x30:
      return { kind: 'mod', number: reader.integer() };
    case 0x3a:
      return { kind: 'value', bytes: reader.bytes() };
    case 0x40:
      return { kind: 'lease', id: reader.signed() };
  }
  reader.unknown(tag, 8);
  return undefined;
}

function writeRequestOp(writer: ProtoWriter, field: number, op: RequestOp): void {
  const mark = writer.size;
  switch (op.type) {
    case 'range':
      writeRange(writer, op.range);
      writer.message(1, mark);
      break;
    case 'put':
      writePut(writer, op.put);
      writer.message(2, mark);
      break;
    case 'deleteRange':
      writeDeleteRange(writer, op.deleteRange);
      writer.message(3, mark);
      break;
    case 'txn':
      writeTxn(writer, op.txn);
      writer.message(4, mark);
      break;
    case 'none':
      break;
  }
  writer.message(field, mark);
}

function readRequestOp(reader: ProtoReader, depth: number): RequestOp {
  const end = reader.message();
  let op: RequestOp = { type: 'none' };
  while (reader.more(end)) {
    const tag = reader.tag();
    if (tag !== 0x0a && tag !== 0x12 && tag !== 0x1a && tag !== 0x22) {
      reader.unknown(tag, 4);
      continue;
    }
    const inner = reader.message();
    if (tag === 0x0a) op = { type: 'range', range: readRange(reader, inner) };
    else if (tag === 0x12) op = { type: 'put', put: readPut(reader, inner) };
    else if (tag === 0x1a) op = { type: 'deleteRange', deleteRange: readDeleteRange(reader, inner) };
    else op = { type: 'txn', txn: readTxn(reader, inner, depth + 1) };
    reader.leave(inner);
  }
  reader.leave(end);
  return op;
}

function writeTxn(writer: ProtoWriter, request: TxnRequest): void {
  const { compare, success, failure } = request;
  for (let i = failure.length - 1; i >= 0; i--) writeRequestOp(writer, 3, failure[i] as RequestOp);
  for (let i = success.length - 1; i >= 0; i--) writeRequestOp(writer, 2, success[i] as RequestOp);
  for (let i = compare.length - 1; i >= 0; i--) writeCompare(writer, 1, compare[i] as Compare);
}

function readTxn(reader: ProtoReader, end: number, depth: number): TxnRequest {
  if (depth > DEPTH_MAX) throw new ProtoError('transactions nested too deep');
  const compare: Compare[] = [];
  const success: RequestOp[] = [];
  const failure: RequestOp[] = [];
  while (reader.more(end)) {
    const tag = reader.tag();
    if (tag === 0x0a) compare.push(readCompare(reader));
    else if (tag === 0x12) success.push(readRequestOp(reader, depth));
    else if (tag === 0x1a) failure.push(readRequestOp(reader, depth));
    else reader.unknown(tag, 3);
  }
  return { compare, success, failure };
}

export const txnRequest = handCodec(writeTxn, (reader, end) => readTxn(reader, end, 0));

/** Inside a transaction a header has the revision alone, and that of a nested transaction is set and empty. */
function writeResponseOp(writer: ProtoWriter, op: ResponseOp): void {
  const mark = writer.size;
  switch (op.type) {
    case 'range':
      writeRangeResult(writer, op.range);
      writeRevisionHeader(writer, op.range.revision);
      writer.message(1, mark);
      break;
    case 'put':
      writePutResult(writer, op.put);
      writeRevisionHeader(writer, op.put.revision);
      writer.message(2, mark);
      break;
    case 'deleteRange':
      writeDeleteRangeResult(writer, op.deleteRange);
      writeRevisionHeader(writer, op.deleteRange.revision);
      writer.message(3, mark);
      break;
    case 'txn':
      writeTxnResult(writer, op.txn);
      writeRevisionHeader(writer, 0);
      writer.message(4, mark);
      break;
  }
  writer.message(3, mark);
}

function readResponseOp(reader: ProtoReader, depth: number): ResponseOp {
  const end = reader.message();
  let op: ResponseOp | undefined;
  while (reader.more(end)) {
    const tag = reader.tag();
    if (tag !== 0x0a && tag !== 0x12 && tag !== 0x1a && tag !== 0x22) {
      reader.unknown(tag, 4);
      continue;
    }
    const inner = reader.message();
    if (tag === 0x0a) op = { type: 'range', range: bare(readRangeResult(reader, inner)) };
    else if (tag === 0x12) op = { type: 'put', put: bare(readPutResult(reader, inner)) };
    else if (tag === 0x1a)
      op = { type: 'deleteRange', deleteRange: bare(readDeleteRangeResult(reader, inner)) };
    else op = { type: 'txn', txn: bare(readTxnResult(reader, inner, depth + 1)) };
    reader.leave(inner);
  }
  reader.leave(end);
  if (op === undefined) throw new ProtoError('an answer with nothing set');
  return op;
}

function bare<T extends object>(result: WithHeader<T>): T {
  const { header: _, ...rest } = result;
  return rest as unknown as T;
}

function writeTxnResult(writer: ProtoWriter, result: TxnResult): void {
  const { responses } = result;
  for (let i = responses.length - 1; i >= 0; i--) writeResponseOp(writer, responses[i] as ResponseOp);
  writer.flag(2, result.succeeded);
}

function readTxnResult(reader: ProtoReader, end: number, depth: number): WithHeader<TxnResult> {
  if (depth > DEPTH_MAX) throw new ProtoError('transactions nested too deep');
  const responses: ResponseOp[] = [];
  let header: ResponseHeader = NO_HEADER;
  let succeeded = false;
  while (reader.more(end)) {
    const tag = reader.tag();
    if (tag === 0x0a) header = readHeader(reader);
    else if (tag === 0x10) succeeded = reader.flag();
    else if (tag === 0x1a) responses.push(readResponseOp(reader, depth));
    else reader.unknown(tag, 3);
  }
  return { header, revision: header.revision ?? 0, succeeded, responses };
}

export const txnResponse = answerCodec<WithHeader<TxnResult>>(writeTxnResult, (reader, end) =>
  readTxnResult(reader, end, 0),
);
