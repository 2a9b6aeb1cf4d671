import type {
  Compare,
  DeleteRangeResult,
  Event,
  KeyValue,
  PutResult,
  RangeResult,
  RequestOp,
  ResponseHeader,
  ResponseOp,
  TxnRequest,
  TxnResult,
} from '@muster/kv';

/** A decoded JSON object, as etcd's gateway sends it: zero values are left out, 64-bit numbers are strings. */
export type Json = { readonly [name: string]: unknown };

export const object = (value: unknown): Json => (value ?? {}) as Json;
export const list = (value: unknown): readonly Json[] => (value ?? []) as readonly Json[];
export const number = (value: unknown): number => Number(value ?? 0);
export const text = (value: unknown): string => (value ?? '') as string;
export const flag = (value: unknown): boolean => value === true;
export const big = (value: unknown): bigint => BigInt((value as string | undefined) ?? 0);
export const bytes = (value: unknown): Uint8Array => new Uint8Array(Buffer.from(text(value), 'base64'));
export const base64 = (value: Uint8Array | undefined): string | undefined =>
  value === undefined ? undefined : Buffer.from(value).toString('base64');

export function decodeHeader(value: unknown): ResponseHeader {
  const header = object(value);
  return {
    clusterId: big(header.cluster_id),
    memberId: big(header.member_id),
    raftTerm: number(header.raft_term),
    ...(header.revision !== undefined && { revision: number(header.revision) }),
  };
}

function decodeKv(value: unknown): KeyValue {
  const kv = object(value);
  return {
    key: bytes(kv.key),
    value: bytes(kv.value),
    createRevision: number(kv.create_revision),
    modRevision: number(kv.mod_revision),
    version: number(kv.version),
    lease: big(kv.lease),
  };
}

export function decodeEvent(value: Json): Event {
  const type = value.type === 'DELETE' ? 'delete' : 'put';
  const kv = decodeKv(value.kv);
  return value.prev_kv === undefined ? { type, kv } : { type, kv, prevKv: decodeKv(value.prev_kv) };
}

const revisionOf = (value: Json): number => number(object(value.header).revision);

export function decodeRange(value: Json): RangeResult {
  return {
    revision: revisionOf(value),
    kvs: list(value.kvs).map(decodeKv),
    more: flag(value.more),
    count: number(value.count),
  };
}

export function decodePut(value: Json): PutResult {
  const revision = revisionOf(value);
  return value.prev_kv === undefined ? { revision } : { revision, prevKv: decodeKv(value.prev_kv) };
}

export function decodeDelete(value: Json): DeleteRangeResult {
  return {
    revision: revisionOf(value),
    deleted: number(value.deleted),
    prevKvs: list(value.prev_kvs).map(decodeKv),
  };
}

export function decodeTxn(value: Json): TxnResult {
  return {
    revision: revisionOf(value),
    succeeded: flag(value.succeeded),
    responses: list(value.responses).map(decodeResponseOp),
  };
}

function decodeResponseOp(value: Json): ResponseOp {
  if (value.response_range) return { type: 'range', range: decodeRange(object(value.response_range)) };
  if (value.response_put) return { type: 'put', put: decodePut(object(value.response_put)) };
  if (value.response_txn) return { type: 'txn', txn: decodeTxn(object(value.response_txn)) };
  if (value.response_delete_range) {
    return { type: 'deleteRange', deleteRange: decodeDelete(object(value.response_delete_range)) };
  }
  throw new Error(`unknown response in a txn: ${JSON.stringify(value)}`);
}

/** A request of ours with etcd's names and spellings. `undefined` members vanish in JSON. */
export function encodeFields(request: object): Json {
  const out: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(request)) out[snake(name)] = encodeValue(value);
  return out;
}

const snake = (name: string): string => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

function encodeValue(value: unknown): unknown {
  if (value instanceof Uint8Array) return base64(value);
  if (typeof value === 'bigint' || typeof value === 'number') return String(value);
  return typeof value === 'string' ? value.toUpperCase() : value;
}

export function encodeTxn(txn: TxnRequest): Json {
  return {
    compare: txn.compare.map(encodeCompare),
    success: txn.success.map(encodeOp),
    failure: txn.failure.map(encodeOp),
  };
}

function encodeOp(op: RequestOp): Json {
  if (op.type === 'range') return { request_range: encodeFields(op.range) };
  if (op.type === 'put') return { request_put: encodeFields(op.put) };
  if (op.type === 'deleteRange') return { request_delete_range: encodeFields(op.deleteRange) };
  return op.type === 'txn' ? { request_txn: encodeTxn(op.txn) } : {};
}

const OPERAND_NAMES = { version: 'version', create: 'create_revision', mod: 'mod_revision' } as const;

function encodeCompare(compare: Compare): Json {
  const { operand, result, target } = compare;
  const head = {
    key: base64(compare.key),
    range_end: base64(compare.rangeEnd),
    result: typeof result === 'number' ? result : snake(result).toUpperCase(),
    target: typeof target === 'number' ? target : target.toUpperCase(),
  };
  if (operand === undefined) return head;
  if (operand.kind === 'value') return { ...head, value: base64(operand.bytes) };
  if (operand.kind === 'lease') return { ...head, lease: String(operand.id) };
  return { ...head, [OPERAND_NAMES[operand.kind]]: String(operand.number) };
}
