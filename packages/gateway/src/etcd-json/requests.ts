/** The request messages of etcd's JSON, and the domain requests they stand for. */
import { EMPTY_BYTES } from '@muster/base';
import { KvError } from '@muster/contract';
import type {
  AlarmRequest,
  CompactRequest,
  Compare,
  DeleteRangeRequest,
  EtcdApi,
  LeaseGrantRequest,
  PutRequest,
  RangeRequest,
  RequestOp,
  SortOrder,
  SortTarget,
  TxnRequest,
  WatchFilter,
  WatchRequest,
} from '@muster/kv';
import {
  type Decoded,
  decodeMessage,
  enumField,
  enumSpec,
  field,
  type MessageSpec,
  messageField,
} from './decode.ts';
import type { JsonValue } from './json-value.ts';

type Value = JsonValue | undefined;

const SORT_ORDER = enumSpec('etcdserverpb.RangeRequest_SortOrder', ['NONE', 'ASCEND', 'DESCEND']);
const SORT_TARGET = enumSpec('etcdserverpb.RangeRequest_SortTarget', [
  'KEY',
  'VERSION',
  'CREATE',
  'MOD',
  'VALUE',
]);
const COMPARE_RESULT = enumSpec('etcdserverpb.Compare_CompareResult', [
  'EQUAL',
  'GREATER',
  'LESS',
  'NOT_EQUAL',
]);
const COMPARE_TARGET = enumSpec('etcdserverpb.Compare_CompareTarget', [
  'VERSION',
  'CREATE',
  'MOD',
  'VALUE',
  'LEASE',
]);
const FILTER_TYPE = enumSpec('etcdserverpb.WatchCreateRequest_FilterType', ['NOPUT', 'NODELETE']);
const ALARM_TYPE = enumSpec('etcdserverpb.AlarmType', ['NONE', 'NOSPACE', 'CORRUPT']);
const ALARM_ACTION = enumSpec('etcdserverpb.AlarmRequest_AlarmAction', ['GET', 'ACTIVATE', 'DEACTIVATE']);
const DOWNGRADE_ACTION = enumSpec('etcdserverpb.DowngradeRequest_DowngradeAction', [
  'VALIDATE',
  'ENABLE',
  'CANCEL',
]);

const RANGE: MessageSpec = {
  fields: [
    field('key', 'bytes'),
    field('range_end', 'bytes'),
    field('limit', 'count'),
    field('revision', 'count'),
    enumField('sort_order', SORT_ORDER),
    enumField('sort_target', SORT_TARGET),
    field('serializable', 'bool'),
    field('keys_only', 'bool'),
    field('count_only', 'bool'),
    field('min_mod_revision', 'count'),
    field('max_mod_revision', 'count'),
    field('min_create_revision', 'count'),
    field('max_create_revision', 'count'),
  ],
};

const PUT: MessageSpec = {
  fields: [
    field('key', 'bytes'),
    field('value', 'bytes'),
    field('lease', 'int64'),
    field('prev_kv', 'bool'),
    field('ignore_value', 'bool'),
    field('ignore_lease', 'bool'),
  ],
};

const DELETE_RANGE: MessageSpec = {
  fields: [field('key', 'bytes'), field('range_end', 'bytes'), field('prev_kv', 'bool')],
};

const REQUEST_OP: MessageSpec = {
  fields: [
    messageField('request_range', () => RANGE),
    messageField('request_put', () => PUT),
    messageField('request_delete_range', () => DELETE_RANGE),
    messageField('request_txn', () => TXN),
  ],
};

const COMPARE: MessageSpec = {
  fields: [
    enumField('result', COMPARE_RESULT),
    enumField('target', COMPARE_TARGET),
    field('key', 'bytes'),
    field('range_end', 'bytes'),
    field('version', 'count'),
    field('create_revision', 'count'),
    field('mod_revision', 'count'),
    field('value', 'bytes'),
    field('lease', 'int64'),
  ],
};

const TXN: MessageSpec = {
  fields: [
    messageField('compare', () => COMPARE, { repeated: true }),
    messageField('success', () => REQUEST_OP, { repeated: true }),
    messageField('failure', () => REQUEST_OP, { repeated: true }),
  ],
};

const COMPACTION: MessageSpec = { fields: [field('revision', 'count'), field('physical', 'bool')] };
const LEASE_GRANT: MessageSpec = {
  fields: [field('TTL', 'count', { to: 'ttlSeconds' }), field('ID', 'int64', { to: 'id' })],
};
const LEASE_ID: MessageSpec = { fields: [field('ID', 'int64', { to: 'id' })] };
const LEASE_TIME_TO_LIVE: MessageSpec = {
  fields: [field('ID', 'int64', { to: 'id' }), field('keys', 'bool')],
};
const MEMBER_LIST: MessageSpec = { fields: [field('linearizable', 'bool')] };
const ALARM: MessageSpec = {
  fields: [enumField('action', ALARM_ACTION), field('memberID', 'uint64'), enumField('alarm', ALARM_TYPE)],
};
const HASH_KV: MessageSpec = { fields: [field('revision', 'count')] };
const MOVE_LEADER: MessageSpec = { fields: [field('targetID', 'uint64')] };
const MEMBER_ADD: MessageSpec = {
  fields: [field('peerURLs', 'string', { to: 'peerUrls', repeated: true }), field('isLearner', 'bool')],
};
const MEMBER_ID: MessageSpec = { fields: [field('ID', 'uint64', { to: 'id' })] };
const MEMBER_UPDATE: MessageSpec = {
  fields: [
    field('ID', 'uint64', { to: 'id' }),
    field('peerURLs', 'string', { to: 'peerUrls', repeated: true }),
  ],
};
const DOWNGRADE: MessageSpec = {
  fields: [enumField('action', DOWNGRADE_ACTION), field('version', 'string')],
};
const WATCH_CREATE: MessageSpec = {
  fields: [
    field('key', 'bytes'),
    field('range_end', 'bytes'),
    field('start_revision', 'count'),
    field('progress_notify', 'bool'),
    enumField('filters', FILTER_TYPE, { repeated: true }),
    field('prev_kv', 'bool'),
    field('watch_id', 'int64'),
    field('fragment', 'bool'),
  ],
};
const WATCH_CANCEL: MessageSpec = { fields: [field('watch_id', 'int64')] };
const EMPTY: MessageSpec = { fields: [] };
const WATCH: MessageSpec = {
  fields: [
    messageField('create_request', () => WATCH_CREATE),
    messageField('cancel_request', () => WATCH_CANCEL),
    messageField('progress_request', () => EMPTY),
  ],
};

const SORT_ORDERS: readonly SortOrder[] = ['none', 'ascend', 'descend'];
const SORT_TARGETS: readonly SortTarget[] = ['key', 'version', 'create', 'mod', 'value'];
const RESULTS = ['equal', 'greater', 'less', 'notEqual'] as const;
const TARGETS = ['version', 'create', 'mod', 'value', 'lease'] as const;
const ALARM_TYPES = ['none', 'nospace', 'corrupt'] as const;
const ALARM_ACTIONS = ['get', 'activate', 'deactivate'] as const;
const DOWNGRADE_ACTIONS = ['validate', 'enable', 'cancel'] as const;
const FILTERS: readonly WatchFilter[] = ['noput', 'nodelete'];

export function rangeRequest(value: Value): RangeRequest {
  return toRange(decodeMessage(RANGE, value));
}

export function putRequest(value: Value): PutRequest {
  return withKey(decodeMessage(PUT, value)) as PutRequest;
}

export function deleteRangeRequest(value: Value): DeleteRangeRequest {
  return withKey(decodeMessage(DELETE_RANGE, value)) as DeleteRangeRequest;
}

export function txnRequest(value: Value): TxnRequest {
  return toTxn(decodeMessage(TXN, value));
}

export function compactRequest(value: Value): CompactRequest {
  return { revision: 0, ...decodeMessage(COMPACTION, value) };
}

export function leaseGrantRequest(value: Value): LeaseGrantRequest {
  return { id: 0n, ttlSeconds: 0, ...decodeMessage(LEASE_GRANT, value) };
}

/** Revoke and keepalive. */
export function leaseIdRequest(value: Value): { readonly id: bigint } {
  return { id: 0n, ...decodeMessage(LEASE_ID, value) };
}

export function leaseTimeToLiveRequest(value: Value): { readonly id: bigint; readonly keys?: boolean } {
  return { id: 0n, ...decodeMessage(LEASE_TIME_TO_LIVE, value) };
}

export function memberListRequest(value: Value): { readonly linearizable?: boolean } {
  return decodeMessage(MEMBER_LIST, value);
}

/** For calls whose request has no fields: it still has to be an object. */
export function emptyRequest(value: Value): void {
  decodeMessage(EMPTY, value);
}

export function alarmRequest(value: Value): AlarmRequest {
  const { action, memberID, alarm } = decodeMessage(ALARM, value);
  return {
    action: known(ALARM_ACTIONS, action, 'alarm action'),
    memberId: (memberID as bigint | undefined) ?? 0n,
    alarm: known(ALARM_TYPES, alarm, 'alarm type'),
  };
}

export function hashKvRequest(value: Value): { readonly revision: number } {
  return { revision: 0, ...decodeMessage(HASH_KV, value) };
}

export function moveLeaderRequest(value: Value): { readonly targetId: bigint } {
  const { targetID } = decodeMessage(MOVE_LEADER, value);
  return { targetId: (targetID as bigint | undefined) ?? 0n };
}

type MemberUrls = { readonly peerUrls: readonly string[] };

export function memberAddRequest(value: Value): MemberUrls & { readonly isLearner?: boolean } {
  return { peerUrls: [], ...decodeMessage(MEMBER_ADD, value) };
}

/** Remove and promote. */
export function memberIdRequest(value: Value): { readonly id: bigint } {
  return { id: 0n, ...decodeMessage(MEMBER_ID, value) };
}

export function memberUpdateRequest(value: Value): MemberUrls & { readonly id: bigint } {
  return { id: 0n, peerUrls: [], ...decodeMessage(MEMBER_UPDATE, value) };
}

export function downgradeRequest(value: Value): Parameters<EtcdApi['downgrade']>[0] {
  const { action, version } = decodeMessage(DOWNGRADE, value);
  const number = (action as number | undefined) ?? 0;
  return { action: DOWNGRADE_ACTIONS[number] ?? number, version: (version as string | undefined) ?? '' };
}

/** `watchId` 0n lets the server choose. `none` has nothing set and is ignored. */
export type WatchStreamRequest =
  | {
      readonly type: 'create';
      readonly watch: WatchRequest;
      readonly watchId: bigint;
      readonly fragment: boolean;
    }
  | { readonly type: 'cancel'; readonly watchId: bigint }
  | { readonly type: 'progress' }
  | { readonly type: 'none' };

export function watchStreamRequest(value: Value): WatchStreamRequest {
  const { createRequest, cancelRequest, progressRequest } = decodeMessage(WATCH, value);
  if (progressRequest !== undefined) return { type: 'progress' };
  if (cancelRequest !== undefined) {
    return { type: 'cancel', watchId: ((cancelRequest as Decoded).watchId as bigint | undefined) ?? 0n };
  }
  if (createRequest === undefined) return { type: 'none' };
  const { watchId, fragment, filters, ...watch } = createRequest as Decoded;
  return {
    type: 'create',
    watch: { ...withKey(watch), filters: knownFilters(filters) } as WatchRequest,
    watchId: (watchId as bigint | undefined) ?? 0n,
    fragment: fragment === true,
  };
}

function knownFilters(numbers: unknown): WatchFilter[] {
  const named = ((numbers as number[] | undefined) ?? []).map((number) => FILTERS[number]);
  return named.filter((filter) => filter !== undefined);
}

function withKey(decoded: Decoded): Decoded & { readonly key: Uint8Array } {
  decoded.key ??= EMPTY_BYTES;
  return decoded as Decoded & { key: Uint8Array };
}

function toRange(decoded: Decoded): RangeRequest {
  const { sortOrder, sortTarget } = decoded;
  if (sortOrder === undefined && sortTarget === undefined) return withKey(decoded) as RangeRequest;
  const order = SORT_ORDERS[(sortOrder as number | undefined) ?? 0];
  const target = SORT_TARGETS[(sortTarget as number | undefined) ?? 0];
  if (order === undefined || target === undefined) {
    throw new KvError(decoded.key === undefined ? 'EMPTY_KEY' : 'INVALID_SORT_OPTION');
  }
  return { ...withKey(decoded), sortOrder: order, sortTarget: target };
}

function toTxn(decoded: Decoded): TxnRequest {
  const list = (name: string): Decoded[] => (decoded[name] as Decoded[] | undefined) ?? [];
  return {
    compare: list('compare').map(toCompare),
    success: list('success').map(toOp),
    failure: list('failure').map(toOp),
  };
}

/** Of several members of the oneof the last in the proto counts; etcd itself takes either. */
function toOp(decoded: Decoded): RequestOp {
  const { requestRange, requestPut, requestDeleteRange, requestTxn } = decoded;
  if (requestTxn !== undefined) return { type: 'txn', txn: toTxn(requestTxn as Decoded) };
  if (requestDeleteRange !== undefined) {
    const deleteRange = withKey(requestDeleteRange as Decoded) as DeleteRangeRequest;
    return { type: 'deleteRange', deleteRange };
  }
  if (requestPut !== undefined)
    return { type: 'put', put: withKey(requestPut as Decoded) as unknown as PutRequest };
  if (requestRange !== undefined) return { type: 'range', range: toRange(requestRange as Decoded) };
  return { type: 'none' };
}

function toCompare(decoded: Decoded): Compare {
  const result = (decoded.result as number | undefined) ?? 0;
  const target = (decoded.target as number | undefined) ?? 0;
  const operand = toOperand(decoded);
  return {
    key: (decoded.key as Uint8Array | undefined) ?? EMPTY_BYTES,
    ...(decoded.rangeEnd === undefined ? {} : { rangeEnd: decoded.rangeEnd as Uint8Array }),
    result: RESULTS[result] ?? result,
    target: TARGETS[target] ?? target,
    ...(operand === undefined ? {} : { operand }),
  };
}

function toOperand(decoded: Decoded): Compare['operand'] {
  const { version, createRevision, modRevision, value, lease } = decoded;
  if (lease !== undefined) return { kind: 'lease', id: lease as bigint };
  if (value !== undefined) return { kind: 'value', bytes: value as Uint8Array };
  if (modRevision !== undefined) return { kind: 'mod', number: modRevision as number };
  if (createRevision !== undefined) return { kind: 'create', number: createRevision as number };
  return version === undefined ? undefined : { kind: 'version', number: version as number };
}

function known<T>(names: readonly T[], number: unknown, what: string): T {
  const name = names[(number as number | undefined) ?? 0];
  if (name === undefined) {
    throw new KvError('BAD_REQUEST', { detail: `etcdserver: unknown ${what} ${String(number)}` });
  }
  return name;
}
