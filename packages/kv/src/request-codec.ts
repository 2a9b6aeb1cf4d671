/** Bytes of the requests that commands carry. What is absent takes one bit of a flags byte. */
import type { ByteReader, ByteWriter } from './byte-codec.ts';
import type {
  Compare,
  DeleteRangeRequest,
  PutRequest,
  RangeRequest,
  RequestOp,
  SortOrder,
  SortTarget,
  TxnRequest,
} from './types.ts';

const HAS_VALUE = 1;
const HAS_LEASE = 2;
const PREV_KV = 4;
const IGNORE_VALUE = 8;
const IGNORE_LEASE = 16;
const HAS_RANGE_END = 1;

export function writePut(writer: ByteWriter, put: PutRequest): void {
  let flags = 0;
  if (put.value !== undefined) flags |= HAS_VALUE;
  if (put.lease !== undefined && put.lease !== 0n) flags |= HAS_LEASE;
  if (put.prevKv) flags |= PREV_KV;
  if (put.ignoreValue) flags |= IGNORE_VALUE;
  if (put.ignoreLease) flags |= IGNORE_LEASE;
  writer.u8(flags);
  writer.bytes(put.key);
  if (put.value !== undefined) writer.bytes(put.value);
  if (flags & HAS_LEASE) writer.u64(put.lease as bigint);
}

export function readPut(reader: ByteReader): PutRequest {
  const flags = reader.u8();
  const key = reader.bytes();
  const put: Writable<PutRequest> = { key };
  if (flags & HAS_VALUE) put.value = reader.bytes();
  if (flags & HAS_LEASE) put.lease = reader.i64();
  if (flags & PREV_KV) put.prevKv = true;
  if (flags & IGNORE_VALUE) put.ignoreValue = true;
  if (flags & IGNORE_LEASE) put.ignoreLease = true;
  return put;
}

export function writeDeleteRange(writer: ByteWriter, { key, rangeEnd, prevKv }: DeleteRangeRequest): void {
  writer.u8((rangeEnd === undefined ? 0 : HAS_RANGE_END) | (prevKv ? PREV_KV : 0));
  writer.bytes(key);
  if (rangeEnd !== undefined) writer.bytes(rangeEnd);
}

export function readDeleteRange(reader: ByteReader): DeleteRangeRequest {
  const flags = reader.u8();
  const request: Writable<DeleteRangeRequest> = { key: reader.bytes() };
  if (flags & HAS_RANGE_END) request.rangeEnd = reader.bytes();
  if (flags & PREV_KV) request.prevKv = true;
  return request;
}

export function writeTxn(writer: ByteWriter, { compare, success, failure }: TxnRequest): void {
  writer.varint(compare.length);
  for (const each of compare) writeCompare(writer, each);
  for (const ops of [success, failure]) {
    writer.varint(ops.length);
    for (const op of ops) writeOp(writer, op);
  }
}

export function readTxn(reader: ByteReader): TxnRequest {
  const compare = reader.list(() => readCompare(reader));
  const success = reader.list(() => readOp(reader));
  return { compare, success, failure: reader.list(() => readOp(reader)) };
}

const OPS = ['none', 'range', 'put', 'deleteRange', 'txn'] as const satisfies readonly RequestOp['type'][];

function writeOp(writer: ByteWriter, op: RequestOp): void {
  writer.u8(OPS.indexOf(op.type));
  if (op.type === 'range') writeRange(writer, op.range);
  else if (op.type === 'put') writePut(writer, op.put);
  else if (op.type === 'deleteRange') writeDeleteRange(writer, op.deleteRange);
  else if (op.type === 'txn') writeTxn(writer, op.txn);
}

function readOp(reader: ByteReader): RequestOp {
  const type = OPS[reader.u8()];
  switch (type) {
    case 'range':
      return { type, range: readRange(reader) };
    case 'put':
      return { type, put: readPut(reader) };
    case 'deleteRange':
      return { type, deleteRange: readDeleteRange(reader) };
    case 'txn':
      return { type, txn: readTxn(reader) };
    case 'none':
      return { type };
    default:
      throw reader.malformed('an operation of unknown kind');
  }
}

// --- compares ---

const RESULTS: readonly unknown[] = ['equal', 'greater', 'less', 'notEqual'];
const TARGETS: readonly unknown[] = ['version', 'create', 'mod', 'value', 'lease'];
const NO_OPERAND = 5;

/** Known words by their place, a number outside etcd's enum as itself. */
function writeEnum(writer: ByteWriter, words: readonly unknown[], value: string | number): void {
  writer.u8(typeof value === 'number' ? 1 : 0);
  writer.signedVarint(typeof value === 'number' ? value : words.indexOf(value));
}

function readEnum<T>(reader: ByteReader, words: readonly unknown[]): T {
  const known = reader.u8() === 0;
  const number = reader.signedVarint();
  const value = known ? words[number] : number;
  if (value === undefined) throw reader.malformed('a compare of unknown kind');
  return value as T;
}

function writeCompare(writer: ByteWriter, compare: Compare): void {
  const { key, rangeEnd, result, target, operand } = compare;
  writer.u8(rangeEnd === undefined ? 0 : HAS_RANGE_END);
  writer.bytes(key);
  if (rangeEnd !== undefined) writer.bytes(rangeEnd);
  writeEnum(writer, RESULTS, result);
  writeEnum(writer, TARGETS, target);
  writer.u8(operand === undefined ? NO_OPERAND : TARGETS.indexOf(operand.kind));
  if (operand === undefined) return;
  if (operand.kind === 'value') writer.bytes(operand.bytes);
  else if (operand.kind === 'lease') writer.u64(operand.id);
  else writer.signedVarint(operand.number);
}

function readCompare(reader: ByteReader): Compare {
  const hasRangeEnd = reader.u8() === HAS_RANGE_END;
  const compare: Writable<Compare> = {
    key: reader.bytes(),
    ...(hasRangeEnd ? { rangeEnd: reader.bytes() } : {}),
    result: readEnum<Compare['result']>(reader, RESULTS),
    target: readEnum<Compare['target']>(reader, TARGETS),
  };
  const kind = reader.u8();
  if (kind !== NO_OPERAND) compare.operand = readOperand(reader, TARGETS[kind]);
  return compare;
}

function readOperand(reader: ByteReader, kind: unknown): NonNullable<Compare['operand']> {
  switch (kind) {
    case 'value':
      return { kind, bytes: reader.bytes() };
    case 'lease':
      return { kind, id: reader.i64() };
    case 'version':
    case 'create':
    case 'mod':
      return { kind, number: reader.signedVarint() };
    default:
      throw reader.malformed('an operand of unknown kind');
  }
}

// --- ranges ---

const NUMBERS = [
  'limit',
  'revision',
  'minModRevision',
  'maxModRevision',
  'minCreateRevision',
  'maxCreateRevision',
] as const;
const BOOLEANS = ['serializable', 'keysOnly', 'countOnly'] as const;
const ORDERS: readonly SortOrder[] = ['none', 'ascend', 'descend'];
const SORTS: readonly SortTarget[] = ['key', 'version', 'create', 'mod', 'value'];

/** Presence bits: range end, order, target, then the numbers, then the booleans. */
function writeRange(writer: ByteWriter, range: RangeRequest): void {
  let bits = range.rangeEnd === undefined ? 0 : 1;
  if (range.sortOrder !== undefined) bits |= 2;
  if (range.sortTarget !== undefined) bits |= 4;
  NUMBERS.forEach((name, i) => {
    if (range[name] !== undefined) bits |= 8 << i;
  });
  BOOLEANS.forEach((name, i) => {
    if (range[name]) bits |= 8 << (NUMBERS.length + i);
  });
  writer.varint(bits);
  writer.bytes(range.key);
  if (range.rangeEnd !== undefined) writer.bytes(range.rangeEnd);
  if (range.sortOrder !== undefined) writer.u8(ORDERS.indexOf(range.sortOrder));
  if (range.sortTarget !== undefined) writer.u8(SORTS.indexOf(range.sortTarget));
  for (const name of NUMBERS) if (range[name] !== undefined) writer.signedVarint(range[name]);
}

function readRange(reader: ByteReader): RangeRequest {
  const bits = reader.varint();
  const range: Writable<RangeRequest> = { key: reader.bytes() };
  if (bits & 1) range.rangeEnd = reader.bytes();
  if (bits & 2) range.sortOrder = wordAt(reader, ORDERS);
  if (bits & 4) range.sortTarget = wordAt(reader, SORTS);
  NUMBERS.forEach((name, i) => {
    if (bits & (8 << i)) range[name] = reader.signedVarint();
  });
  BOOLEANS.forEach((name, i) => {
    if (bits & (8 << (NUMBERS.length + i))) range[name] = true;
  });
  return range;
}

function wordAt<T>(reader: ByteReader, words: readonly T[]): T {
  const word = words[reader.u8()];
  if (word === undefined) throw reader.malformed('a sort of unknown kind');
  return word;
}

type Writable<T> = { -readonly [K in keyof T]: T[K] };
