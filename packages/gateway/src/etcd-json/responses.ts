/**
 * etcd's answers as JSON text: proto field names in the proto's order, 64-bit integers as strings, base64 bytes, zero
 * values left out, an empty message that is set kept as `{}`.
 */
import type {
  Alarm,
  DeleteRangeResult,
  HashKvResult,
  KeyValue,
  LeaseGrantResult,
  LeaseTimeToLiveResult,
  MemberInfo,
  MembersResult,
  PutResult,
  RangeResult,
  ResponseOp,
  SnapshotChunk,
  StatusResult,
  TxnResult,
  WithHeader,
} from '@muster/kv';
import { encodeBase64 } from './base64.ts';
import { bytes, flag, list, number, object, openWithHeader, text } from './json-members.ts';
import { goString } from './status-error.ts';

export function keyValueJson(kv: KeyValue): string {
  let text = '';
  if (kv.key.length > 0) text += `,"key":"${encodeBase64(kv.key)}"`;
  if (kv.createRevision !== 0) text += `,"create_revision":"${kv.createRevision}"`;
  if (kv.modRevision !== 0) text += `,"mod_revision":"${kv.modRevision}"`;
  if (kv.version !== 0) text += `,"version":"${kv.version}"`;
  if (kv.value.length > 0) text += `,"value":"${encodeBase64(kv.value)}"`;
  if (kv.lease !== 0n) text += `,"lease":"${kv.lease}"`;
  return `{${text.slice(1)}}`;
}

function keyValuesJson(name: string, kvs: readonly KeyValue[]): string {
  if (kvs.length === 0) return '';
  if (kvs.length === 1) return `,"${name}":[${keyValueJson(kvs[0] as KeyValue)}]`;
  return `,"${name}":[${kvs.map(keyValueJson).join(',')}]`;
}

function rangeMembers(result: RangeResult): string {
  let text = keyValuesJson('kvs', result.kvs);
  if (result.more) text += ',"more":true';
  if (result.count !== 0) text += `,"count":"${result.count}"`;
  return text;
}

function putMembers(result: PutResult): string {
  return result.prevKv === undefined ? '' : `,"prev_kv":${keyValueJson(result.prevKv)}`;
}

function deleteRangeMembers(result: DeleteRangeResult): string {
  const deleted = result.deleted === 0 ? '' : `,"deleted":"${result.deleted}"`;
  return deleted + keyValuesJson('prev_kvs', result.prevKvs);
}

function txnMembers(result: TxnResult): string {
  const succeeded = result.succeeded ? ',"succeeded":true' : '';
  if (result.responses.length === 0) return succeeded;
  return `${succeeded},"responses":[${result.responses.map(responseOpJson).join(',')}]`;
}

/** Inside a txn a header has the revision alone, and that of a nested txn is set and empty. */
function responseOpJson(op: ResponseOp): string {
  const header = (revision: number): string => `{"header":${revision ? `{"revision":"${revision}"}` : '{}'}`;
  switch (op.type) {
    case 'range':
      return `{"response_range":${header(op.range.revision)}${rangeMembers(op.range)}}}`;
    case 'put':
      return `{"response_put":${header(op.put.revision)}${putMembers(op.put)}}}`;
    case 'deleteRange':
      return `{"response_delete_range":${header(op.deleteRange.revision)}${deleteRangeMembers(op.deleteRange)}}}`;
    case 'txn':
      return `{"response_txn":{"header":{}${txnMembers(op.txn)}}}`;
  }
}

export function rangeJson(result: WithHeader<RangeResult>): string {
  return `${openWithHeader(result.header)}${rangeMembers(result)}}`;
}

export function putJson(result: WithHeader<PutResult>): string {
  return `${openWithHeader(result.header)}${putMembers(result)}}`;
}

export function deleteRangeJson(result: WithHeader<DeleteRangeResult>): string {
  return `${openWithHeader(result.header)}${deleteRangeMembers(result)}}`;
}

export function txnJson(result: WithHeader<TxnResult>): string {
  return `${openWithHeader(result.header)}${txnMembers(result)}}`;
}

export function headerOnlyJson(result: WithHeader<unknown>): string {
  return `${openWithHeader(result.header)}}`;
}

export function leaseGrantJson(result: WithHeader<LeaseGrantResult>): string {
  return `${openWithHeader(result.header)}${number('ID', result.id)}${number('TTL', result.ttlSeconds)}}`;
}

/** The answer to one keepalive; `TTL` is absent when the lease is gone. */
export function leaseKeepAliveJson(
  result: WithHeader<{ readonly id: bigint; readonly ttlSeconds: number }>,
): string {
  return leaseGrantJson(result);
}

export function leaseTimeToLiveJson(result: WithHeader<LeaseTimeToLiveResult>): string {
  const keys = result.keys.map((key) => `"${encodeBase64(key)}"`);
  return `${leaseGrantJson(result).slice(0, -1)}${number('grantedTTL', result.grantedTtlSeconds)}${list('keys', keys)}}`;
}

export function leaseLeasesJson(result: WithHeader<{ readonly leases: readonly bigint[] }>): string {
  const leases = result.leases.map((id) => `{"ID":"${id}"}`);
  return `${openWithHeader(result.header)}${list('leases', leases)}}`;
}

function memberJson(member: MemberInfo): string {
  const members =
    number('ID', member.id) +
    text('name', member.name) +
    list('peerURLs', member.peerUrls.map(goString)) +
    list('clientURLs', member.clientUrls.map(goString)) +
    flag('isLearner', member.isLearner);
  return object(members);
}

export function membersJson(result: WithHeader<MembersResult>): string {
  return `${openWithHeader(result.header)}${list('members', result.members.map(memberJson))}}`;
}

export function memberAddJson(result: WithHeader<MembersResult & { readonly member: MemberInfo }>): string {
  const members = list('members', result.members.map(memberJson));
  return `${openWithHeader(result.header)},"member":${memberJson(result.member)}${members}}`;
}

export function statusJson(result: WithHeader<StatusResult>, storageVersion: string): string {
  return (
    openWithHeader(result.header) +
    text('version', result.version) +
    number('dbSize', result.dbSize) +
    number('leader', result.leader) +
    number('raftIndex', result.raftIndex) +
    number('raftTerm', result.raftTerm) +
    number('raftAppliedIndex', result.raftAppliedIndex) +
    list('errors', result.errors.map(goString)) +
    number('dbSizeInUse', result.dbSizeInUse) +
    flag('isLearner', result.isLearner) +
    text('storageVersion', result.storageVersion ?? storageVersion) +
    number('dbSizeQuota', result.dbSizeQuota) +
    downgradeInfo(result.downgrade) +
    '}'
  );
}

function downgradeInfo(downgrade: StatusResult['downgrade']): string {
  if (downgrade === undefined) return '';
  const members = flag('enabled', downgrade.enabled) + text('targetVersion', downgrade.targetVersion);
  return `,"downgradeInfo":${object(members)}`;
}

export function downgradeJson(result: WithHeader<{ readonly version: string }>): string {
  return `${openWithHeader(result.header)}${text('version', result.version)}}`;
}

export function snapshotChunkJson({ blob, remainingBytes, version }: SnapshotChunk): string {
  return object(number('remaining_bytes', remainingBytes) + bytes('blob', blob) + text('version', version));
}

const ALARM_NAMES = { none: '', nospace: 'NOSPACE', corrupt: 'CORRUPT' } as const;

function alarmJson(alarm: Alarm): string {
  return object(number('memberID', alarm.memberId) + text('alarm', ALARM_NAMES[alarm.alarm]));
}

export function alarmListJson(result: WithHeader<{ readonly alarms: readonly Alarm[] }>): string {
  return `${openWithHeader(result.header)}${list('alarms', result.alarms.map(alarmJson))}}`;
}

const uint32 = (name: string, value: number): string => (value ? `,"${name}":${value}` : '');

export function hashJson(result: WithHeader<{ readonly hash: number }>): string {
  return `${openWithHeader(result.header)}${uint32('hash', result.hash)}}`;
}

export function hashKvJson(result: WithHeader<HashKvResult>): string {
  const members =
    uint32('hash', result.hash) +
    number('compact_revision', result.compactRevision) +
    number('hash_revision', result.hashRevision);
  return `${openWithHeader(result.header)}${members}}`;
}
