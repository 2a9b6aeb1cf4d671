/** `/v1/txn` and `/v1/batch`. */
import { utf8 } from '@muster/base';
import {
  type BatchResultResource,
  KvError,
  leaseIdFromHex,
  type TxnCompareResource,
  type TxnOpResource,
  type TxnOpResultResource,
  type TxnRequestResource,
  type TxnResultResource,
} from '@muster/contract';
import type { Compare, RequestOp, ResponseOp, TxnRequest, TxnResult } from '@muster/kv';
import { revisionOf, type V1Context } from '../context.ts';
import { type Encoding, entryOf } from '../entries.ts';
import { base64Bytes, intervalSpan, type KeySpan, prefixSpan } from '../keys.ts';
import type { V1Request } from '../router.ts';
import { json, storeHeaders } from './kv.ts';

/** Nested txns deeper than this are refused. */
const TXN_DEPTH_MAX = 16;

export async function txn(context: V1Context, request: V1Request<'txn'>): Promise<Response> {
  const body = await request.json();
  const result = await context.api.txn(txnOf(body, '', 1), request.call);
  const resource = txnResult(result, request.query.encoding ?? 'auto', body);
  return json(resource, 200, storeHeaders(context, result.header));
}

export async function batch(context: V1Context, request: V1Request<'batch'>): Promise<Response> {
  const { ops } = await request.json();
  const success = ops.map((op, i) => opOf(op, `/ops/${i}`, 1));
  const result = await context.api.txn({ compare: [], success, failure: [] }, request.call);
  const encoding = request.query.encoding ?? 'auto';
  const body: BatchResultResource = {
    revision: revisionOf(result.header),
    results: result.responses.map((response, i) => opResult(response, encoding, ops[i])),
  };
  return json(body, 200, storeHeaders(context, result.header));
}

function txnOf(request: TxnRequestResource, pointer: string, depth: number): TxnRequest {
  if (depth > TXN_DEPTH_MAX) {
    throw new KvError('BAD_REQUEST', {
      detail: `body ${pointer}: at most ${TXN_DEPTH_MAX} txns within each other expected`,
    });
  }
  return {
    compare: (request.if ?? []).map((compare) => compareOf(compare)),
    success: (request.then ?? []).map((op, i) => opOf(op, `${pointer}/then/${i}`, depth)),
    failure: (request.else ?? []).map((op, i) => opOf(op, `${pointer}/else/${i}`, depth)),
  };
}

type Names = {
  readonly key?: string;
  readonly keyBase64?: string;
  readonly prefix?: string;
  readonly start?: string;
  readonly end?: string;
};

function spanOf(names: Names): KeySpan {
  if (names.key !== undefined) return { key: utf8(names.key) };
  if (names.keyBase64 !== undefined) return { key: base64Bytes(names.keyBase64, 'keyBase64') };
  if (names.prefix !== undefined) return prefixSpan(utf8(names.prefix));
  return intervalSpan(utf8(names.start as string), names.end === undefined ? undefined : utf8(names.end));
}

const RESULTS = { '=': 'equal', '!=': 'notEqual', '<': 'less', '>': 'greater' } as const;

function compareOf(compare: TxnCompareResource): Compare {
  const span = spanOf(compare);
  const result = RESULTS[compare.op ?? '='];
  const number = (kind: 'mod' | 'create' | 'version', value: number): Compare => ({
    ...span,
    result,
    target: kind,
    operand: { kind, number: value },
  });
  if (compare.modRevision !== undefined) return number('mod', compare.modRevision);
  if (compare.createRevision !== undefined) return number('create', compare.createRevision);
  if (compare.version !== undefined) return number('version', compare.version);
  if (compare.lease !== undefined) {
    const id = leaseIdFromHex(compare.lease) as bigint;
    return { ...span, result, target: 'lease', operand: { kind: 'lease', id } };
  }
  if (compare.exists !== undefined) {
    const exists = compare.exists === (result !== 'notEqual');
    const operand = { kind: 'version', number: 0 } as const;
    return { ...span, result: exists ? 'greater' : 'equal', target: 'version', operand };
  }
  return { ...span, result, target: 'value', operand: { kind: 'value', bytes: valueBytes(compare) } };
}

function valueBytes(from: {
  readonly value?: string;
  readonly valueBase64?: string;
  readonly json?: unknown;
}): Uint8Array {
  if (from.value !== undefined) return utf8(from.value);
  if (from.valueBase64 !== undefined) return base64Bytes(from.valueBase64, 'valueBase64');
  return utf8(JSON.stringify(from.json));
}

function opOf(op: TxnOpResource, pointer: string, depth: number): RequestOp {
  if (op.put) {
    const { lease, keepLease, prev } = op.put;
    const put = {
      ...spanOf(op.put),
      value: valueBytes(op.put),
      ...(lease === undefined ? {} : { lease: leaseIdFromHex(lease) as bigint }),
      ...(keepLease ? { ignoreLease: true } : {}),
      ...(prev ? { prevKv: true } : {}),
    };
    return { type: 'put', put };
  }
  if (op.get) {
    const { limit, keysOnly, countOnly } = op.get;
    const range = {
      ...spanOf(op.get),
      ...(limit === undefined ? {} : { limit }),
      ...(keysOnly ? { keysOnly } : {}),
      ...(countOnly ? { countOnly } : {}),
    };
    return { type: 'range', range };
  }
  if (op.delete) {
    return {
      type: 'deleteRange',
      deleteRange: { ...spanOf(op.delete), ...(op.delete.prev ? { prevKv: true } : {}) },
    };
  }
  return { type: 'txn', txn: txnOf(op.txn as TxnRequestResource, `${pointer}/txn`, depth + 1) };
}

function txnResult(
  result: TxnResult,
  encoding: Encoding,
  request: TxnRequestResource | undefined,
): TxnResultResource {
  const ops = result.succeeded ? request?.then : request?.else;
  return {
    succeeded: result.succeeded,
    revision: result.revision,
    results: result.responses.map((response, i) => opResult(response, encoding, ops?.[i])),
  };
}

function opResult(
  response: ResponseOp,
  encoding: Encoding,
  op: TxnOpResource | undefined,
): TxnOpResultResource {
  switch (response.type) {
    case 'put':
      return { put: response.put.prevKv ? { prev: entryOf(response.put.prevKv, encoding) } : {} };
    case 'range': {
      const { count, kvs, more } = response.range;
      const items = kvs.map((kv) => entryOf(kv, encoding, op?.get?.keysOnly === true));
      return { get: { count, items, ...(more ? { more } : {}) } };
    }
    case 'deleteRange': {
      const { deleted, prevKvs } = response.deleteRange;
      return {
        delete: {
          deleted,
          ...(prevKvs.length > 0 ? { prev: prevKvs.map((kv) => entryOf(kv, encoding)) } : {}),
        },
      };
    }
    case 'txn':
      return { txn: txnResult(response.txn, encoding, op?.txn) };
  }
}
