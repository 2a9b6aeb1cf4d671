/** Requests of `EtcdApi` as etcd's messages. */
import type { MessageInitShape } from '@bufbuild/protobuf';
import type {
  AlarmType,
  Compare,
  CompareResult,
  CompareTarget,
  DeleteRangeRequest,
  LeaderKey,
  Permission,
  PutRequest,
  RangeRequest,
  RequestOp,
  SortOrder,
  SortTarget,
  TxnRequest,
  WatchRequest,
} from '@muster/kv';
import type { PermissionSchema } from '../gen/auth_pb.js';
import type { LeaderKeySchema } from '../gen/election_pb.js';
import type {
  CompareSchema,
  DeleteRangeRequestSchema,
  PutRequestSchema,
  RangeRequestSchema,
  RequestOpSchema,
  TxnRequestSchema,
  WatchCreateRequestSchema,
} from '../gen/rpc_pb.js';

const SORT_ORDERS: Record<SortOrder, number> = { none: 0, ascend: 1, descend: 2 };
const SORT_TARGETS: Record<SortTarget, number> = { key: 0, version: 1, create: 2, mod: 3, value: 4 };
const RESULTS: Record<CompareResult & string, number> = { equal: 0, greater: 1, less: 2, notEqual: 3 };
const TARGETS: Record<CompareTarget & string, number> = { version: 0, create: 1, mod: 2, value: 3, lease: 4 };
const ALARMS: Record<AlarmType, number> = { none: 0, nospace: 1, corrupt: 2 };
const PERMISSIONS = { read: 0, write: 1, readwrite: 2 } as const;
const FILTERS = { noput: 0, nodelete: 1 } as const;

const int64 = (value: number | undefined): bigint => (value === undefined ? 0n : BigInt(value));
const EMPTY = new Uint8Array();

export function encodeRange(request: RangeRequest): MessageInitShape<typeof RangeRequestSchema> {
  return {
    key: request.key,
    rangeEnd: request.rangeEnd ?? EMPTY,
    limit: int64(request.limit),
    revision: int64(request.revision),
    sortOrder: SORT_ORDERS[request.sortOrder ?? 'none'],
    sortTarget: SORT_TARGETS[request.sortTarget ?? 'key'],
    serializable: request.serializable ?? false,
    keysOnly: request.keysOnly ?? false,
    countOnly: request.countOnly ?? false,
    minModRevision: int64(request.minModRevision),
    maxModRevision: int64(request.maxModRevision),
    minCreateRevision: int64(request.minCreateRevision),
    maxCreateRevision: int64(request.maxCreateRevision),
  };
}

export function encodePut(request: PutRequest): MessageInitShape<typeof PutRequestSchema> {
  return {
    key: request.key,
    value: request.value ?? EMPTY,
    lease: request.lease ?? 0n,
    prevKv: request.prevKv ?? false,
    ignoreValue: request.ignoreValue ?? false,
    ignoreLease: request.ignoreLease ?? false,
  };
}

export function encodeDelete(request: DeleteRangeRequest): MessageInitShape<typeof DeleteRangeRequestSchema> {
  return { key: request.key, rangeEnd: request.rangeEnd ?? EMPTY, prevKv: request.prevKv ?? false };
}

export function encodeTxn(request: TxnRequest): MessageInitShape<typeof TxnRequestSchema> {
  return {
    compare: request.compare.map(encodeCompare),
    success: request.success.map(encodeOp),
    failure: request.failure.map(encodeOp),
  };
}

function encodeOp(op: RequestOp): MessageInitShape<typeof RequestOpSchema> {
  switch (op.type) {
    case 'range':
      return { request: { case: 'requestRange', value: encodeRange(op.range) } };
    case 'put':
      return { request: { case: 'requestPut', value: encodePut(op.put) } };
    case 'deleteRange':
      return { request: { case: 'requestDeleteRange', value: encodeDelete(op.deleteRange) } };
    case 'txn':
      return { request: { case: 'requestTxn', value: encodeTxn(op.txn) } };
    case 'none':
      return {};
  }
}

function encodeCompare(compare: Compare): MessageInitShape<typeof CompareSchema> {
  const { key, rangeEnd, result, target } = compare;
  const operand = encodeOperand(compare);
  return {
    key,
    rangeEnd: rangeEnd ?? EMPTY,
    result: typeof result === 'number' ? result : RESULTS[result],
    target: typeof target === 'number' ? target : TARGETS[target],
    ...(operand === undefined ? {} : { targetUnion: operand }),
  };
}

function encodeOperand({ operand }: Compare): MessageInitShape<typeof CompareSchema>['targetUnion'] {
  switch (operand?.kind) {
    case undefined:
      return undefined;
    case 'value':
      return { case: 'value', value: operand.bytes };
    case 'lease':
      return { case: 'lease', value: operand.id };
    case 'version':
      return { case: 'version', value: BigInt(operand.number) };
    case 'create':
      return { case: 'createRevision', value: BigInt(operand.number) };
    case 'mod':
      return { case: 'modRevision', value: BigInt(operand.number) };
  }
}

/** Always asks for fragments: they are put together again, by revision. */
export function encodeWatch(
  request: WatchRequest,
  startRevision: number,
): MessageInitShape<typeof WatchCreateRequestSchema> {
  return {
    key: request.key,
    rangeEnd: request.rangeEnd ?? EMPTY,
    startRevision: BigInt(startRevision),
    progressNotify: request.progressNotify ?? false,
    filters: (request.filters ?? []).map((filter) => FILTERS[filter]),
    prevKv: request.prevKv ?? false,
    fragment: true,
  };
}

export const encodeAlarmType = (alarm: AlarmType): number => ALARMS[alarm];

export function encodePermission(permission: Permission): MessageInitShape<typeof PermissionSchema> {
  return {
    permType: PERMISSIONS[permission.type],
    key: permission.key,
    rangeEnd: permission.rangeEnd ?? EMPTY,
  };
}

export function encodeLeaderKey(leader: LeaderKey): MessageInitShape<typeof LeaderKeySchema> {
  return { name: leader.name, key: leader.key, rev: BigInt(leader.rev), lease: leader.lease };
}
